package recorder

import (
	"context"
	"sync"
	"testing"

	"github.com/pastcone/pastcone/event"
	"github.com/pastcone/pastcone/internal/wire"
)

// A source may fill a batch again as soon as it hears that the batch is done. Here each is filled with nonsense at that very
// moment, in which the recorder, under the race detector above all, must not look at it any more.
func TestNobodyLooksAtABatchThatIsDone(t *testing.T) {
	const n = 400
	dir := t.TempDir()
	r := open(t, dir, Options{})
	in, err := r.Source(Spec{Name: "again", Finite: true})
	if err != nil {
		t.Fatal(err)
	}
	events := handedOver(n, "again")
	// Each receive comes before its send, so that batches are held until others have come.
	for i := 3; i+2 < len(events); i += 3 {
		events[i], events[i+1] = events[i+1], events[i]
	}
	var done sync.WaitGroup
	for from := 0; from < len(events); from += 4 {
		b := new(wire.Batch)
		for _, e := range events[from:min(from+4, len(events))] {
			if err := b.AddEvent(in.Table(), &e); err != nil {
				t.Fatal(err)
			}
		}
		done.Add(1)
		b.Done = func(last event.ID) {
			if last == 0 {
				t.Error("a batch was given up")
			}
			for i := range b.Records {
				b.Records[i] = wire.Record{Kind: event.KindExit, Seq: 77, Time: -1, ExtLen: 1 << 30, Flags: wire.FlagRoot}
			}
			for i := range b.Runs {
				b.Runs[i] = wire.Run{Stream: 1 << 60, Len: 99}
			}
			for i := range b.Arena {
				b.Arena[i] = '#'
			}
			b.Reset()
			done.Done()
		}
		if err := in.Push(within(t), b); err != nil {
			t.Fatal(err)
		}
	}
	if err := in.Close(within(t), true); err != nil {
		t.Fatal(err)
	}
	done.Wait()
	if err := r.Close(context.Background()); err != nil {
		t.Fatal(err)
	}
	all := readAll(t, dir)
	if len(all) != len(events) {
		t.Fatalf("%d events are kept, want %d", len(all), len(events))
	}
	checkHandedOver(t, all, "again", n)
}
