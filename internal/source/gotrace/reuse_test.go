package gotrace

import (
	"bytes"
	"context"
	"testing"

	"github.com/pastcone/pastcone/event"
	"github.com/pastcone/pastcone/internal/wire"
)

// through is a sink that is through with a batch at once, or a few batches later, and gives it back full of nonsense.
type through struct {
	*kept
	later []*wire.Batch
	lag   int
	id    event.ID // what it says of each batch
	seen  map[*wire.Batch]bool
}

func (s *through) Push(ctx context.Context, b *wire.Batch) error {
	s.seen[b] = true
	if err := s.kept.Push(ctx, b); err != nil {
		return err
	}
	s.later = append(s.later, b)
	if len(s.later) <= s.lag {
		return nil
	}
	b, s.later = s.later[0], s.later[1:]
	for i := range b.Records {
		b.Records[i] = wire.Record{Kind: event.KindExit, Seq: 77, Time: -1, ExtLen: 1 << 30, Flags: wire.FlagRoot}
	}
	for i := range b.Runs {
		b.Runs[i] = wire.Run{Stream: 99, Len: 99}
	}
	for i := range b.Arena {
		b.Arena[i] = '#'
	}
	b.Source, b.Arrived = 9, 9
	b.Done(s.id)
	return nil
}

func TestABatchThatNobodyHasAnyMoreIsFilledAgain(t *testing.T) {
	text := record(t, func() { busyProgram(100) })
	o := Options{BatchEvents: 128}
	fresh, _ := read(t, text, o)
	if fresh.batches < 8*batchesBack {
		t.Fatalf("%d batches: too few to tell", fresh.batches)
	}
	for _, c := range []struct {
		name    string
		lag     int
		id      event.ID
		batches func(batches int) bool // that may have been made
	}{
		{"the sink is through with each at once", 0, 1, func(n int) bool { return n == 1 }},
		{"the sink keeps three", 3, 1, func(n int) bool { return n == 4 }},
		{"the sink gave each up, and somebody may be at work on it still", 0, 0, func(n int) bool { return n == fresh.batches }},
	} {
		t.Run(c.name, func(t *testing.T) {
			s := &through{kept: newKept(), lag: c.lag, id: c.id, seen: map[*wire.Batch]bool{}}
			stats, err := Read(context.Background(), bytes.NewReader(text), "t.trace", o, s)
			if err != nil {
				t.Fatal(err)
			}
			check(t, s.kept, stats)
			if !c.batches(len(s.seen)) {
				t.Errorf("%d batches were handed over, in the memory of %d", s.batches, len(s.seen))
			}
			if len(s.events) != len(fresh.events) {
				t.Fatalf("%d events, want %d", len(s.events), len(fresh.events))
			}
			for i := range s.events {
				got, want := event.AppendLine(nil, &s.events[i]), event.AppendLine(nil, &fresh.events[i])
				if !bytes.Equal(got, want) || s.flags[i] != fresh.flags[i] {
					t.Fatalf("event %d is %s, flags %b\nwant %s, flags %b", i, got, s.flags[i], want, fresh.flags[i])
				}
			}
		})
	}
}
