package correlate

import (
	"fmt"
	"testing"

	"github.com/pastcone/pastcone/event"
	"github.com/pastcone/pastcone/internal/wire"
)

// Of a finite source everything waits to the end for its causes; what its source says will not come is not waited for.
func TestACauseThatLeftNoRecordIsNotWaitedFor(t *testing.T) {
	for _, e := range []event.Event{
		{Kind: event.KindAcquire, Key: "l", Ordinal: 7},
		{Kind: event.KindAcquire, Key: "l"},
		{Kind: event.KindReceive, Key: "q", Ordinal: 7},
		{Kind: event.KindReceive, Message: "m"},
		{Kind: event.KindReceive, Key: "q"},
		{Kind: event.KindReceive, Key: "q", Peer: "b"},
		{Kind: event.KindReceive, Key: "q", Closed: true},
	} {
		e.Stream, e.Seq, e.Time = "a", 2, 1010
		t.Run(fmt.Sprintf("%s/%s", e.Kind, event.AppendLine(nil, &e)), func(t *testing.T) {
			for _, unseen := range []bool{true, false} {
				e.Unseen = unseen
				table := wire.NewTable(1 << 20)
				k := collect(t, table)
				c := New(Options{Table: table, Lateness: storyLateness}, k)
				c.Open(1, true)
				c.MarksStarts(1)
				b := batch(t, table, 1, storyLine{event: event.Event{Stream: "a", Seq: 1, Time: 1000, Kind: event.KindCall, Func: "f"}}, storyLine{event: e})
				done := false
				b.Done = func(event.ID) { done = true }
				c.Add(b)
				c.Flush()
				if done != unseen {
					t.Errorf("unseen is %v: the batch is done: %v", unseen, done)
				}
				if got := c.Stats().Waiting == 0; got != unseen {
					t.Errorf("unseen is %v: %d events wait", unseen, c.Stats().Waiting)
				}
				c.End(1)
			}
		})
	}
}
