// Package trial puts a correlator through made-up programs and has it judged by the oracle.
//
//	program ──► loss ──► arrival ──► correlator ──► results ──► oracle.Judge
//
// It is what the property tests and the command that prints the accuracy have in common. A [Course] says
// how a program's events come: in order or late, whole or with losses, in batches of which size. Every
// decision is drawn from a [program.Chooser], so that a run can be repeated and shrunk.
//
// In the plan's words these are the accuracy tests of the EventCorrelator.
package trial

import (
	"fmt"
	"slices"
	"time"

	"github.com/pastcone/pastcone/event"
	"github.com/pastcone/pastcone/internal/correlate"
	"github.com/pastcone/pastcone/internal/oracle"
	"github.com/pastcone/pastcone/internal/oracle/program"
	"github.com/pastcone/pastcone/internal/wire"
)

// Order is how the events of a source arrive.
type Order int

// The orders of arrival.
const (
	InOrder    Order = iota // as they happened, from a live source
	Delayed                 // each late by up to the allowed lateness, from a live source
	Scrambled               // in any order, from a finite source
	StreamWise              // one stream after the other, from a finite source
	TooLate                 // some later than the allowed lateness, from a live source
)

// Course is how programs reach the correlator.
type Course struct {
	Order    Order
	Lateness time.Duration
	BatchMax int // events in a batch, at most
	Rows     int // in a block, at most; 0 is as many as a block holds

	LoseOneIn int // about one event in so many; 0 loses none
	Loss      program.LossKind
}

// Outcome is what came out of a correlator.
type Outcome struct {
	Results  []oracle.Result
	Rejected []Rejected
	Lost     []oracle.At
}

// Rejected is an event that the correlator did not take.
type Rejected struct {
	At  oracle.At
	Why correlate.Reason
}

// Run puts programs, each a source of its own, through a correlator, and gives the report. An error is
// something that no report is needed for: the correlator does not keep its contract.
func Run(c program.Chooser, course Course, programs ...*program.Program) (*oracle.Report, *Outcome, error) {
	var whole, arriving [][]event.Event
	var lost map[oracle.At]bool
	if course.LoseOneIn > 0 || course.Order == TooLate {
		lost = map[oracle.At]bool{}
	}
	for i, p := range programs {
		whole = append(whole, p.Events)
		left := p.Events
		if course.LoseOneIn > 0 {
			var gone []event.Event
			left, gone = program.Lose(c, course.Loss, course.LoseOneIn, p.Events)
			for _, e := range gone {
				lost[oracle.At{Source: i + 1, Stream: e.Stream, Seq: e.Seq}] = true
			}
		}
		arriving = append(arriving, course.arrange(c, len(programs), left))
	}
	truth, err := oracle.Correlate(whole...)
	if err != nil {
		return nil, nil, fmt.Errorf("the oracle: %w", err)
	}
	out, err := Correlate(course, program.Arrive(c, course.live(), course.BatchMax, arriving...))
	for at := range lost {
		out.Lost = append(out.Lost, at)
	}
	if err != nil {
		return nil, out, err
	}
	for _, r := range out.Rejected {
		if course.Order != TooLate {
			return nil, out, fmt.Errorf("%d events were rejected, among them %s: %v", len(out.Rejected), r.At, r.Why)
		}
		lost[r.At] = true
	}
	return oracle.Judge(truth, out.Results, lost), out, nil
}

// live says that the sources are live: what waits, waits up to the allowed lateness.
func (course Course) live() bool { return course.Order != Scrambled && course.Order != StreamWise }

// arrange puts events in the order in which they arrive.
func (course Course) arrange(c program.Chooser, sources int, events []event.Event) []event.Event {
	switch course.Order {
	case Delayed:
		late := int64(course.Lateness)
		if sources > 1 { // the rest is for sources that take turns: each may be ahead by its delay and a batch
			late /= 3
		}
		return program.Delay(c, late-program.SkewMax, events)
	case TooLate:
		return program.DelayTooLong(c, int64(course.Lateness)/2, 25, events)
	case Scrambled:
		return program.Shuffle(c, events)
	case StreamWise:
		return program.StreamWise(c, events)
	case InOrder:
	}
	return events
}

// sink keeps what a correlator gives.
type sink struct {
	table *wire.Table
	out   Outcome
	next  event.ID
	byID  map[event.ID]int
	err   error
}

// Emit keeps the events of a block.
func (s *sink) Emit(b *wire.Block) {
	if b.Base != s.next && len(b.Rows) > 0 {
		s.fail("a block with base %d where id %d is next", b.Base, s.next)
	}
	for i := range b.Rows {
		var e event.Event
		if err := b.Event(i, s.table, &e); err != nil {
			s.fail("row %d of block %d: %w", i, b.Base, err)
		}
		s.byID[e.ID] = len(s.out.Results)
		s.out.Results = append(s.out.Results, oracle.Result{Source: int(b.Rows[i].Source), Event: e})
	}
	s.next += event.ID(len(b.Rows)) // #nosec G115 -- a length
	for _, l := range b.Late {
		i, ok := s.byID[l.Effect]
		if !ok {
			s.fail("a late edge into id %d, which has not been given", l.Effect)
			continue
		}
		late := event.Edge{ID: l.Edge.Cause, Kind: l.Edge.Kind, Confidence: l.Edge.Conf, P: float64(l.Edge.P)}
		if late.Confidence == event.Exact {
			late.P = 1
		}
		s.out.Results[i].Late = append(s.out.Results[i].Late, late)
	}
}

// Reject notes a rejected event.
func (s *sink) Reject(src wire.SourceID, stream wire.Name, _ *wire.Batch, r *wire.Record, why correlate.Reason) {
	s.out.Rejected = append(s.out.Rejected, Rejected{oracle.At{Source: int(src), Stream: s.table.NameOf(stream), Seq: r.Seq}, why})
}

func (s *sink) fail(format string, args ...any) {
	if s.err == nil {
		s.err = fmt.Errorf(format, args...)
	}
}

// Correlate gives batches to a correlator, and takes what comes out of it.
func Correlate(course Course, batches []program.Batch) (*Outcome, error) {
	table := wire.NewTable(1 << 30)
	s := &sink{table: table, next: 1, byID: map[event.ID]int{}}
	c := correlate.New(correlate.Options{Table: table, FirstID: 1, Lateness: course.Lateness, MemoryBytesMax: 1 << 30, BlockRows: course.Rows}, s)
	open := map[int]bool{}
	var ending []wire.SourceID // that are over, and wait for what others may have
	var high int64
	var last []event.ID // for each batch what it was done with
	for _, batch := range batches {
		source := wire.SourceID(batch.Source) // #nosec G115 -- small
		if !open[batch.Source] {
			open[batch.Source] = true
			c.Open(source, !course.live())
		}
		b := &wire.Batch{Source: source}
		for i := range batch.Events {
			if err := b.AddEvent(table, &batch.Events[i]); err != nil {
				return &s.out, err
			}
			high = max(high, batch.Events[i].Time)
		}
		b.Arrived = high
		n := len(last)
		last = append(last, notDone)
		b.Done = func(id event.ID) {
			if last[n] != notDone || id >= s.next {
				s.fail("batch %d is done with id %d after %d, when id %d is the next", n, id, last[n], s.next)
			}
			last[n] = id
		}
		c.Add(b)
		c.Tick(high)
		if batch.Last {
			ending = append(ending, source)
		}
		ending = endAll(c, ending)
	}
	for range 10 * len(ending) { // as time goes by, nothing waits longer than the lateness
		high += int64(course.Lateness) + 2
		c.Tick(high)
		ending = endAll(c, ending)
	}
	if len(ending) > 0 {
		s.fail("sources %v wait for ever for what others may have", ending)
	}
	c.Finish()
	s.allDone(batches, last)
	return &s.out, s.err
}

// endAll ends the sources that need not wait any more for what others may have, and gives the rest.
func endAll(c *correlate.Correlator, ending []wire.SourceID) []wire.SourceID {
	return slices.DeleteFunc(ending, func(source wire.SourceID) bool {
		if c.Drains(source) {
			return false
		}
		c.End(source)
		return true
	})
}

// notDone stands for a batch that is not done.
const notDone = ^event.ID(0)

// allDone checks that each batch is done, with the largest id of its events.
func (s *sink) allDone(batches []program.Batch, last []event.ID) {
	ids := map[oracle.At]event.ID{}
	for _, r := range s.out.Results {
		if r.Event.Kind != event.KindGap {
			ids[oracle.At{Source: r.Source, Stream: r.Event.Stream, Seq: r.Event.Seq}] = r.Event.ID
		}
	}
	for i, b := range batches {
		largest := event.ID(0)
		for _, e := range b.Events {
			largest = max(largest, ids[oracle.At{Source: b.Source, Stream: e.Stream, Seq: e.Seq}])
		}
		if last[i] != largest {
			s.fail("batch %d is done with id %d, its largest is %d", i, last[i], largest)
		}
	}
}
