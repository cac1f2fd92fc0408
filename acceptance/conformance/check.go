package main

import (
	"context"
	"errors"
	"fmt"
	"io"
	"os"
	"strconv"

	"github.com/pastcone/pastcone/event"
	"github.com/pastcone/pastcone/internal/source"
	"github.com/pastcone/pastcone/internal/source/capture"
	"github.com/pastcone/pastcone/internal/wire"
)

// tableBytesMax bounds the names of a capture that is checked.
const tableBytesMax = 256 << 20

// faultsMax is how many faults are told in words; all are counted.
const faultsMax = 10

// ledger is told the events of one program, and holds them against each other and against what the program says itself.
//
//  1. The numbers of each stream go up by one: nothing is missing in a stream that anything came after.
//  2. No two sends of a channel have the same ordinal, and no two receives.
//  3. Behind each send and receive of package stress stands its note: the value that the program had in its hands. A receive
//     with the same channel and ordinal as a send has the same value as it.
//  4. What package witness says of how far it had come (a call of step, with its arguments) is kept for each goroutine.
type ledger struct {
	table *wire.Table
	noted bool // the program is package stress: rule 3 holds

	streams map[wire.Name]*streamLedger
	funcs   map[wire.Site]string
	sends   map[operation]uint64 // whose receive has not come
	early   map[operation]uint64 // receives whose send has not come
	steps   map[uint64]uint64    // of package witness: the last step of each goroutine

	events, rejected                        uint64
	values, empties, closed, timers, starts uint64 // of receives: with a value, without, of a closed channel; timers' sends; streams
	matched                                 uint64 // receives whose send is there, with the same value if there is one
	wrong                                   uint64 // receives that met another value's send
	faults                                  []string
	faultsCount                             uint64
}

type operation struct {
	key     wire.Name
	ordinal uint64
}

type streamLedger struct {
	seq     uint64
	pending event.Kind // a send or receive whose note is next; KindInvalid: none
	of      operation
	empty   bool
	closed  bool
}

const noValue = ^uint64(0)

func newLedger(noted bool) *ledger {
	return &ledger{
		table: wire.NewTable(tableBytesMax), noted: noted, streams: map[wire.Name]*streamLedger{}, funcs: map[wire.Site]string{},
		sends: map[operation]uint64{}, early: map[operation]uint64{}, steps: map[uint64]uint64{},
	}
}

func (l *ledger) fault(format string, args ...any) {
	if l.faultsCount++; len(l.faults) < faultsMax {
		l.faults = append(l.faults, fmt.Sprintf(format, args...))
	}
}

// Table, Push and Reject make it a sink.
func (l *ledger) Table() *wire.Table { return l.table }

// Reject counts what the reader could not use.
func (l *ledger) Reject(r source.Rejected) error {
	l.rejected++
	l.fault("rejected: %s", r.Error())
	return nil
}

// Push takes events.
func (l *ledger) Push(_ context.Context, b *wire.Batch) error {
	at := 0
	for _, run := range b.Runs {
		s := l.streams[run.Stream]
		if s == nil {
			s = &streamLedger{}
			l.streams[run.Stream] = s
		}
		for i := range run.Len {
			r := &b.Records[at+int(i)]
			l.add(s, run.Stream, b, r)
		}
		at += int(run.Len)
	}
	l.events += uint64(len(b.Records))
	return nil
}

// funcOf gives the name of the function of a place.
func (l *ledger) funcOf(s wire.Site) string {
	name, ok := l.funcs[s]
	if !ok {
		name = l.table.FuncOf(s)
		l.funcs[s] = name
	}
	return name
}

func (l *ledger) name(n wire.Name) string { return l.table.NameOf(n) }

func (l *ledger) add(s *streamLedger, stream wire.Name, b *wire.Batch, r *wire.Record) {
	if r.Seq != s.seq+1 {
		l.fault("%s: number %d stands behind %d", l.name(stream), r.Seq, s.seq)
	}
	s.seq = r.Seq
	if s.pending != event.KindInvalid {
		l.note(s, stream, b, r)
	}
	switch r.Kind {
	case event.KindSend:
		here := operation{r.Key, r.Ordinal}
		if l.table.TextOf(stream.Text()) == "timer" {
			l.timers++
			l.send(here, noValue)
			return
		}
		l.awaits(s, event.KindSend, here, r.Flags)
	case event.KindReceive:
		here := operation{r.Key, r.Ordinal}
		switch {
		case r.Flags&wire.FlagClosed != 0:
			l.closed++
		case r.Flags&wire.FlagEmpty != 0:
			l.empties++
		default:
			l.values++
		}
		l.awaits(s, event.KindReceive, here, r.Flags)
	case event.KindStart:
		l.starts++
	case event.KindCall:
		if l.funcOf(r.Site) == "main.step" {
			if args, err := numbers(b.Data(r)); err == nil && len(args) == 2 {
				l.steps[args[0]] = max(l.steps[args[0]], args[1])
			} else {
				l.fault("%s, event %d: a step without its two numbers: %s", l.name(stream), r.Seq, b.Data(r))
			}
		}
	}
}

// awaits holds an operation until its note has come; without notes it is settled at once.
func (l *ledger) awaits(s *streamLedger, kind event.Kind, here operation, flags wire.Flags) {
	s.pending, s.of, s.empty, s.closed = kind, here, flags&wire.FlagEmpty != 0, flags&wire.FlagClosed != 0
	if !l.noted {
		s.pending = event.KindInvalid
		switch {
		case kind == event.KindSend:
			l.send(here, noValue)
		case !s.closed:
			l.receive(here, noValue)
		}
	}
}

// note takes the event behind a send or a receive, which is the program's note of it.
func (l *ledger) note(s *streamLedger, stream wire.Name, b *wire.Batch, r *wire.Record) {
	kind, here := s.pending, s.of
	s.pending = event.KindInvalid
	name := ""
	if r.Kind == event.KindCall {
		name = l.funcOf(r.Site)
	}
	value := noValue
	if name == "main.sent" || name == "main.received" {
		args, err := numbers(b.Data(r))
		if err != nil || len(args) != 1 {
			l.fault("%s, event %d: a note without its value: %s", l.name(stream), r.Seq, b.Data(r))
			return
		}
		value = args[0]
	}
	switch {
	case kind == event.KindSend && (name == "main.sent" || name == "main.sentEmpty" && s.empty):
		l.send(here, value)
	case kind == event.KindReceive && s.closed && name == "main.foundClosed":
	case kind == event.KindReceive && !s.closed && (name == "main.received" && !s.empty || name == "main.receivedEmpty"):
		l.receive(here, value)
	default:
		l.fault("%s: behind number %d, a %s of %s (empty %t, closed %t), stands a %s of %q, which is not its note",
			l.name(stream), s.seq-1, kind, l.name(here.key), s.empty, s.closed, r.Kind, name)
	}
}

func (l *ledger) send(here operation, value uint64) {
	if got, ok := l.early[here]; ok {
		delete(l.early, here)
		l.meet(here, value, got)
		return
	}
	if _, twice := l.sends[here]; twice {
		l.fault("%s: two sends have ordinal %d", l.name(here.key), here.ordinal)
	}
	l.sends[here] = value
}

func (l *ledger) receive(here operation, value uint64) {
	if sent, ok := l.sends[here]; ok {
		delete(l.sends, here)
		l.meet(here, sent, value)
		return
	}
	if _, twice := l.early[here]; twice {
		l.fault("%s: two receives have ordinal %d", l.name(here.key), here.ordinal)
	}
	l.early[here] = value
}

func (l *ledger) meet(here operation, sent, got uint64) {
	// A value that was sent and that nobody looked at is known at one end only.
	if got != noValue && sent != got {
		l.wrong++
		l.fault("%s, ordinal %d: sender %d sent its number %d, but number %d of sender %d was received",
			l.name(here.key), here.ordinal, sent>>numberBits, numberOf(sent), numberOf(got), got>>numberBits)
		return
	}
	l.matched++
}

// finish gives what is wrong with the whole.
func (l *ledger) finish() error {
	for here := range l.early {
		l.fault("%s: the receive with ordinal %d has no send", l.name(here.key), here.ordinal)
	}
	for stream, s := range l.streams {
		if s.pending != event.KindInvalid {
			l.fault("%s ends with a %s whose note is missing", l.name(stream), s.pending)
		}
	}
	return l.err()
}

func (l *ledger) err() error {
	if l.faultsCount == 0 {
		return nil
	}
	var all []error
	for _, f := range l.faults {
		all = append(all, errors.New(f))
	}
	return fmt.Errorf("%d faults: %w", l.faultsCount, errors.Join(all...))
}

// numbers reads the arguments of a call, {"args":{"v":1}}, which are all numbers. Millions of them come, so no JSON library is asked.
func numbers(data []byte) (all []uint64, err error) {
	for i := 0; i < len(data); {
		from := i + 1
		if data[i] != ':' && data[i] != '[' && data[i] != ',' {
			i++
			continue
		}
		for i = from; i < len(data) && data[i] >= '0' && data[i] <= '9'; i++ {
		}
		if i > from {
			n, err := strconv.ParseUint(string(data[from:i]), 10, 64)
			if err != nil {
				return nil, err
			}
			all = append(all, n)
		}
	}
	return all, nil
}

// checkCapture reads a capture file into a ledger.
func checkCapture(ctx context.Context, path string, l *ledger) (capture.Stats, error) {
	f, err := os.Open(path)
	if err != nil {
		return capture.Stats{}, err
	}
	defer f.Close() //nolint:errcheck // only read
	return capture.Read(ctx, io.Reader(f), path, capture.Options{}, l)
}
