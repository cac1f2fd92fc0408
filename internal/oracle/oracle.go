// Package oracle says what the rules of causality give for a complete program, slowly and obviously,
// so that the correlator can be judged by something that shares no code with it.
//
// [Correlate] takes every event of a program, of one source or several, and works in three plain
// steps, each in a file of its own:
//
//  1. match: who meets whom (match.go). Which send belongs to which receive, which release let which
//     acquire in, which spawn made which stream. This needs no context, only the events.
//  2. order: an order in which every cause comes before its effect (order.go): the order of each
//     stream, and what step 1 found.
//  3. rules: one pass in that order (rules.go). Each stream is a stack of open calls; each event gets
//     its parent, its founder and its further edges from the sentences of ARCHITECTURE.md, one by one.
//
// Nothing is fast and nothing is forgotten: maps, text and scans over lists, memory for the whole
// program. What arrives late, or never, is not this package's business: it sees the program from
// outside, whole. A cause that is in no event of the program (a timer of the runtime, a reference to
// nothing) is a gap here too.
//
// [Judge] compares what a correlator gave with that [Truth]: on complete input everything must be
// equal, after loss nothing that is labelled exact may be wrong. [Order] answers happens-before
// for small programs from the transitive closure.
//
// The package is used by tests and by the command that prints the accuracy, never by the product. In
// the plan's words it is what the accuracy tests of the component EventCorrelator measure against.
package oracle

import (
	"errors"
	"fmt"
	"sort"
	"time"

	"github.com/pastcone/pastcone/event"
)

// At names an event: its source (from 1), its stream and its place in it. Ids depend on arrival, so
// results are compared by this.
type At struct {
	Source int
	Stream string
	Seq    uint64
}

// String gives "stream#seq", with the source in front where it is not the first.
func (a At) String() string {
	switch {
	case a == (At{}):
		return "nothing"
	case a.Source > 1:
		return fmt.Sprintf("%d:%s#%d", a.Source, a.Stream, a.Seq)
	}
	return fmt.Sprintf("%s#%d", a.Stream, a.Seq)
}

// Cause is one edge into an event.
type Cause struct {
	From    At
	Missing bool // the cause is in no event of the program; From is empty
	Kind    event.EdgeKind
	// ByOrder says that the two met in an order, first in, first out, and not by a name that both have.
	ByOrder bool
	// Inferred says that the two were joined by order of time alone, with several parties: that is the
	// rule, but it may not be called exact.
	Inferred bool
}

// String gives the edge for a person.
func (c Cause) String() string {
	if c.Missing {
		return c.Kind.String() + " from something missing"
	}
	return c.Kind.String() + " from " + c.From.String()
}

// Verdict is what the rules give for one event.
type Verdict struct {
	At    At
	Event event.Event // as the source gave it

	Parent     At // empty: none
	Founder    At // of its correlation; itself if it founds one
	Background bool
	Edges      []Cause // the parent's first, then the further ones; empty if there are none
	HasParent  bool    // the first edge is that of the parent (found or missing)
	Duration   time.Duration
	Position   uint32 // number of parents up to the founder
	Took       bool   // a receive that took on work

	// Sure says that nothing in the event's past was joined by order of time alone or is missing, so that
	// on complete input its results must be labelled exact.
	Sure bool
}

// Summary gives a verdict in a line, as stories expect it.
func (v *Verdict) Summary() string {
	founder := v.Founder.String()
	if v.Background {
		founder = "[" + founder + "]"
	}
	text := fmt.Sprintf("%s %s", v.Parent, founder)
	for i, c := range v.Edges {
		if i == 0 && v.HasParent && !c.Missing {
			continue
		}
		text += ", " + c.String()
		if c.Inferred {
			text += "?"
		}
	}
	return text
}

// Truth is a whole program with what the rules give for it, in an order in which causes come first.
type Truth struct {
	Verdicts []*Verdict
	byAt     map[At]*Verdict
}

// Of gives the verdict on one event, nil if there is no such event.
func (t *Truth) Of(a At) *Verdict { return t.byAt[a] }

// Len gives the number of events.
func (t *Truth) Len() int { return len(t.Verdicts) }

// Errors of programs that are no complete programs.
var (
	// ErrIncomplete says that the events do not make complete streams.
	ErrIncomplete = errors.New("not a complete program")
	// ErrCycle says that events wait for one another: no order has causes first.
	ErrCycle = errors.New("causes in a circle")
)

// node is an event on its way through the three steps.
type node struct {
	Verdict
	prev *node // the event before it in its stream, nil for the first
	idle bool  // its stream was idle before it

	// What match found.
	spawn    *node   // the spawn of the stream that begins with this event
	send     meeting // of a receive
	close    meeting // of a receive that found its channel closed
	release  meeting // of an acquire
	referred []*node // what its causes refer to, nil where nothing does
}

// meeting is the other end of a message, a close or a lock.
type meeting struct {
	wanted   bool // there has to be one
	with     *node
	byOrder  bool
	inferred bool
}

// Correlate gives the verdicts on a complete program: each argument is the events of one source, in
// any order.
func Correlate(sources ...[]event.Event) (*Truth, error) {
	var all []*node
	for i, events := range sources {
		nodes, err := collect(i+1, events)
		if err != nil {
			return nil, err
		}
		match(nodes)
		all = append(all, nodes...)
	}
	matchGlobalReferences(all)
	ordered, err := order(all)
	if err != nil {
		return nil, err
	}
	applyRules(ordered)
	t := &Truth{byAt: make(map[At]*Verdict, len(ordered))}
	for _, n := range ordered {
		t.Verdicts = append(t.Verdicts, &n.Verdict)
		t.byAt[n.At] = &n.Verdict
	}
	return t, nil
}

// collect makes nodes of a source's events, stream by stream, and refuses streams with holes.
func collect(source int, events []event.Event) ([]*node, error) {
	nodes := make([]*node, 0, len(events))
	for _, e := range events {
		nodes = append(nodes, &node{Verdict: Verdict{At: At{source, e.Stream, e.Seq}, Event: e}})
	}
	sort.Slice(nodes, func(i, j int) bool {
		a, b := nodes[i].At, nodes[j].At
		if a.Stream != b.Stream {
			return a.Stream < b.Stream
		}
		return a.Seq < b.Seq
	})
	for i, n := range nodes {
		if i > 0 && nodes[i-1].At.Stream == n.At.Stream {
			n.prev = nodes[i-1]
		}
		want := uint64(1)
		if n.prev != nil {
			want = n.prev.At.Seq + 1
		}
		if n.At.Seq != want {
			return nil, fmt.Errorf("%w: stream %q has %s where seq %d should be", ErrIncomplete, n.At.Stream, n.At, want)
		}
	}
	return nodes, nil
}
