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
	s.print(os.Stdout)
	return nil
}

// score is how a recording's correlations compare with its requests.
type score struct {
	events      int
	right       oracle.Share
	requests    map[string]bool
	differences []string // the first of them

	scored  []scored
	request map[event.ID]string
}

// scored is an event that has a request id.
type scored struct {
	id, founder event.ID
	name        string
	request     string
}

var errNoRequests = errors.New("no event has a request id in data.request: nothing to score by")

// scoreLines scores event lines.
func scoreLines(in io.Reader) (*score, error) {
	s := newScore()
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
		if err := s.add(&e); err != nil {
			return nil, fmt.Errorf("line %d: %w", n, err)
		}
	}
	if err := lines.Err(); err != nil {
		return nil, err
	}
	return s, s.compare()
}

func newScore() *score { return &score{requests: map[string]bool{}, request: map[event.ID]string{}} }

// add takes one event with its results.
func (s *score) add(e *event.Event) error {
	s.events++
	r, err := requestOf(e.Data)
	if err != nil || r == "" {
		return err
	}
	s.request[e.ID] = r
	s.requests[r] = true
	s.scored = append(s.scored, scored{e.ID, e.Correlation, fmt.Sprintf("%s#%d (%v %s)", e.Stream, e.Seq, e.Kind, e.Func), r})
	return nil
}

// compare compares, for each event with a request id, that of its correlation's founder.
func (s *score) compare() error {
	if len(s.scored) == 0 {
		return errNoRequests
	}
	for _, e := range s.scored {
		got := s.request[e.founder]
		s.right.Count(got == e.request)
		if got != e.request && len(s.differences) < 10 {
			s.differences = append(s.differences, fmt.Sprintf("event %d, %s, is of request %s; its correlation, founded by event %d, is of request %q",
				e.id, e.name, e.request, e.founder, got))
		}
	}
	return nil
}

// print says how it stands.
func (s *score) print(w io.Writer) {
	fmt.Fprintf(w, "%d events, %d of them with a request id, of %d requests\n", s.events, s.right.Of, len(s.requests))
	fmt.Fprintf(w, "in their request's correlation: %s (%d of %d)\n", percent(s.right), s.right.Part, s.right.Of)
	for _, d := range s.differences {
		fmt.Fprintln(w, d)
	}
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
