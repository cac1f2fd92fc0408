package main

import (
	"context"
	"errors"
	"fmt"
	"io"
	"os"
	"path/filepath"
	"regexp"
	"slices"

	"github.com/pastcone/pastcone/event"
	"github.com/pastcone/pastcone/examples"
	"github.com/pastcone/pastcone/internal/instrument"
	"github.com/pastcone/pastcone/internal/launch"
	"github.com/pastcone/pastcone/internal/oracle"
	"github.com/pastcone/pastcone/internal/oracle/program"
	"github.com/pastcone/pastcone/internal/oracle/trial"
	"github.com/pastcone/pastcone/internal/source"
	"github.com/pastcone/pastcone/internal/source/capture"
	"github.com/pastcone/pastcone/internal/wire"
)

// measureRecorded records examples/checkout, in which nothing knows of Pastcone, under load, correlates what was recorded,
// holds the result against the oracle, and scores it by the request ids that are among the arguments of some calls.
func measureRecorded(w io.Writer, requests int) error {
	ctx, cancel := context.WithTimeout(context.Background(), realTimeMax)
	defer cancel()
	events, said, err := recordCheckout(ctx, requests)
	if err != nil {
		return fmt.Errorf("examples/checkout: %w", err)
	}
	fmt.Fprintf(w, "\nthe recorded program, examples/checkout, with no probe in it: %s\n", said)
	truth, err := oracle.Correlate(events)
	if err != nil {
		return err
	}
	course := trial.Course{Order: trial.StreamWise, Lateness: lateness, BatchMax: 256}
	out, err := trial.Correlate(course, program.Arrive(program.Seeded(1), false, course.BatchMax, events))
	if err != nil {
		return err
	}
	r := oracle.Judge(truth, out.Results, nil)
	results := make([]event.Event, len(out.Results))
	for i := range out.Results {
		results[i] = out.Results[i].Event
	}
	nested := nest(results)
	if err := nested.score(); err != nil {
		return err
	}
	nested.print(w)
	fmt.Fprintf(w, "against the oracle: right parents %s, correlations %s, edges %s; labelled exact: parents %s, correlations %s\n",
		percent(r.Parents), percent(r.Correlations), percent(r.AllEdges), percent(r.ExactParents), percent(r.ExactCorrelations))
	if !r.Fine() {
		return fmt.Errorf("examples/checkout: %d differences from the oracle\n%v", r.Wrong, r)
	}
	return nil
}

// tableBytesMax bounds the names of one run.
const tableBytesMax = 64 << 20

// collected is a sink that keeps the events.
type collected struct {
	table    *wire.Table
	events   []event.Event
	rejected int
}

func (c *collected) Table() *wire.Table { return c.table }

func (c *collected) Push(_ context.Context, b *wire.Batch) error {
	at := 0
	for _, run := range b.Runs {
		for range run.Len {
			var e event.Event
			if err := b.Event(at, run.Stream, c.table, &e); err != nil {
				return err
			}
			c.events = append(c.events, e)
			at++
		}
	}
	if b.Done != nil {
		b.Done(0)
	}
	return nil
}

func (c *collected) Reject(source.Rejected) error { c.rejected++; return nil }

// silent tells nobody.
type silent struct{}

func (silent) Say(string)            {}
func (silent) Step(string, int, int) {}

// recordCheckout builds and runs the program, and gives what it recorded and what it said.
func recordCheckout(ctx context.Context, requests int) ([]event.Event, string, error) {
	dir, err := os.MkdirTemp("", "accuracy")
	if err != nil {
		return nil, "", err
	}
	defer os.RemoveAll(dir) //nolint:errcheck // a directory of our own
	cache, err := os.UserCacheDir()
	if err != nil {
		return nil, "", err
	}
	o := instrument.Options{
		Dir: filepath.Join(cache, "pastcone", "examples"), CacheDir: filepath.Join(cache, "pastcone"), Packages: []string{examples.Checkout},
		Args: []string{examples.Module + "/examples/checkout/..."},
	}
	if err := examples.Write(o.Dir); err != nil {
		return nil, "", err
	}
	binary, err := launch.Build(ctx, o, "", silent{}, os.Stderr)
	if err != nil {
		return nil, "", err
	}
	said, err := os.Create(filepath.Join(dir, "said")) // #nosec G304 -- a file of our own
	if err != nil {
		return nil, "", err
	}
	defer said.Close() //nolint:errcheck // read back below
	sink := &collected{table: wire.NewTable(tableBytesMax)}
	out, err := launch.Run(ctx, launch.Options{
		Path: binary.Path, Args: []string{"-requests", fmt.Sprint(requests)}, Functions: binary.Functions, Entries: binary.Entries,
		Policy: capture.Block, Capture: filepath.Join(dir, "capture"), Sink: sink, Stdout: said,
	})
	if err != nil {
		return nil, "", err
	}
	text, err := os.ReadFile(said.Name())
	if err != nil {
		return nil, "", err
	}
	if out.Ended.Code != 0 || sink.rejected != 0 || out.Collected.Dropped != 0 {
		return nil, "", fmt.Errorf("%s, %d rejected, %d dropped, where nothing is to go wrong", out.Ended, sink.rejected, out.Collected.Dropped)
	}
	return sink.events, fmt.Sprintf("%s; %d events recorded", regexp.MustCompile(`\s+$`).ReplaceAllString(string(text), ""), len(sink.events)), nil
}

// nesting tells which request each event belongs to by what its program's own structure says: it lies between the call and
// the return of a function that has the request's id among its arguments, or in a goroutine that was spawned there. That
// takes nothing from the correlator but the numbers of its events.
type nesting struct {
	events  []event.Event
	request []string // of each event; "" where the structure does not say

	right       oracle.Share
	requests    int
	differences []string
}

var requestID = regexp.MustCompile(`"(r-\d{6})"`)

// nest finds the requests.
func nest(events []event.Event) *nesting {
	n := &nesting{events: events, request: make([]string, len(events))}
	streams := map[string][]int{}
	for i := range events {
		streams[events[i].Stream] = append(streams[events[i].Stream], i)
	}
	spawned := map[string]string{} // what a stream was spawned for
	var walk func(stream string)
	walk = func(stream string) {
		inherited, open := spawned[stream], []string{}
		for _, i := range streams[stream] {
			e := &events[i]
			now := inherited
			if len(open) > 0 {
				now = open[len(open)-1]
			}
			if e.Kind == event.KindCall {
				if m := requestID.FindSubmatch(e.Data); m != nil {
					now = string(m[1])
				}
				open = append(open, now)
			}
			n.request[i] = now
			switch {
			case e.Kind == event.KindReturn && len(open) > 0:
				open = open[:len(open)-1]
			case e.Kind == event.KindSpawn && now != "":
				spawned[e.Child] = now
				walk(e.Child)
			}
		}
	}
	for _, at := range streams {
		slices.SortFunc(at, func(a, b int) int { return int(events[a].Seq) - int(events[b].Seq) }) // #nosec G115 -- small
	}
	for stream, at := range streams {
		if first := &events[at[0]]; first.Kind != event.KindStart || spawned[stream] == "" {
			walk(stream)
		}
	}
	return n
}

// score compares. The first event of a request is in its handler; the founder of its correlation has to be a declared root,
// of this request alone. Right is every event of the request that has that founder.
func (n *nesting) score() error {
	byID := map[event.ID]*event.Event{}
	order := make([]int, len(n.events))
	for i := range n.events {
		byID[n.events[i].ID] = &n.events[i]
		order[i] = i
	}
	slices.SortFunc(order, func(a, b int) int { return int(n.events[a].ID) - int(n.events[b].ID) }) // #nosec G115 -- small
	founder, of := map[string]event.ID{}, map[event.ID]string{}
	for _, i := range order {
		e, request := &n.events[i], n.request[i]
		if request == "" {
			continue
		}
		if _, known := founder[request]; !known {
			root := byID[e.Correlation]
			if root == nil || !root.Root {
				return fmt.Errorf("request %s: its first event, %s#%d, is in the correlation of event %d, which is no root", request, e.Stream, e.Seq, e.Correlation)
			}
			if other, taken := of[e.Correlation]; taken {
				return fmt.Errorf("requests %s and %s have the same founder, event %d", request, other, e.Correlation)
			}
			founder[request], of[e.Correlation] = e.Correlation, request
		}
		n.right.Count(e.Correlation == founder[request])
		if e.Correlation != founder[request] && len(n.differences) < 10 {
			n.differences = append(n.differences, fmt.Sprintf("event %d, %s#%d (%v %s), is of request %s, founded by event %d; its correlation is founded by event %d",
				e.ID, e.Stream, e.Seq, e.Kind, e.Func, request, founder[request], e.Correlation))
		}
	}
	n.requests = len(founder)
	if n.requests == 0 {
		return errors.New("no call has a request id among its arguments: nothing to score by")
	}
	return nil
}

func (n *nesting) print(w io.Writer) {
	fmt.Fprintf(w, "%d events, %d of them within calls and goroutines of one of %d requests\n", len(n.events), n.right.Of, n.requests)
	fmt.Fprintf(w, "in their request's correlation: %s (%d of %d)\n", percent(n.right), n.right.Part, n.right.Of)
	for _, d := range n.differences {
		fmt.Fprintln(w, d)
	}
}
