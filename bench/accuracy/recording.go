package main

import (
	"bufio"
	"encoding/json"
	"errors"
	"fmt"
	"io"
	"os"

	"github.com/pastcone/pastcone/event"
	"github.com/pastcone/pastcone/internal/oracle"
)

// lineBytesMax bounds a line of a recording's export.
const lineBytesMax = 16 << 20

// scoreFile scores the events of a recording by the request ids that its program wrote.
func scoreFile(path string) error {
	in := io.Reader(os.Stdin)
	if path != "-" {
		f, err := os.Open(path) // #nosec G304 -- the user names the file
		if err != nil {
			return err
		}
		defer f.Close()
		in = f
	}
	s, err := scoreLines(in)
	if err != nil {
		return fmt.Errorf("%s: %w", path, err)
	}
	fmt.Printf("%d events, %d of them with a request id, of %d requests\n", s.events, s.right.Of, s.requests)
	fmt.Printf("in their request's correlation: %s (%d of %d)\n", percent(s.right), s.right.Part, s.right.Of)
	for _, d := range s.differences {
		fmt.Println(d)
	}
	return nil
}

// score is how a recording's correlations compare with its requests.
type score struct {
	events, requests int
	right            oracle.Share
	differences      []string // the first of them
}

var errNoRequests = errors.New("no event has a request id in data.request: nothing to score by")

// scoreLines compares, for each event with a data.request, that of its correlation's founder.
func scoreLines(in io.Reader) (*score, error) {
	type scored struct {
		id, founder event.ID
		name        string
		request     string
	}
	s := &score{}
	var events []scored
	request := map[event.ID]string{}
	requests := map[string]bool{}
	lines := bufio.NewScanner(in)
	lines.Buffer(nil, lineBytesMax)
	for n := 1; lines.Scan(); n++ {
		e, err := event.ParseLine(lines.Bytes())
		if err != nil {
			return nil, fmt.Errorf("line %d: %w", n, err)
		}
		if e.ID == 0 {
			return nil, fmt.Errorf("line %d: no id: only exported event lines have results to score", n)
		}
		s.events++
		r, err := requestOf(e.Data)
		if err != nil {
			return nil, fmt.Errorf("line %d: %w", n, err)
		}
		if r == "" {
			continue
		}
		request[e.ID] = r
		requests[r] = true
		events = append(events, scored{e.ID, e.Correlation, fmt.Sprintf("%s#%d (%v %s)", e.Stream, e.Seq, e.Kind, e.Func), r})
	}
	if err := lines.Err(); err != nil {
		return nil, err
	}
	if len(events) == 0 {
		return nil, errNoRequests
	}
	s.requests = len(requests)
	for _, e := range events {
		got := request[e.founder]
		s.right.Of++
		if got == e.request {
			s.right.Part++
		} else if len(s.differences) < 10 {
			s.differences = append(s.differences, fmt.Sprintf("event %d, %s, is of request %s; its correlation, founded by event %d, is of request %q",
				e.id, e.name, e.request, e.founder, got))
		}
	}
	return s, nil
}

// requestOf gives the request id in an event's data, as text; empty if there is none.
func requestOf(data json.RawMessage) (string, error) {
	if len(data) == 0 {
		return "", nil
	}
	var fields struct {
		Request any `json:"request"`
	}
	if err := json.Unmarshal(data, &fields); err != nil {
		return "", fmt.Errorf("data: %w", err)
	}
	if fields.Request == nil {
		return "", nil
	}
	return fmt.Sprint(fields.Request), nil
}
