package correlate

import (
	"fmt"
	"runtime"
	"testing"
	"time"

	"github.com/pastcone/pastcone/event"
	"github.com/pastcone/pastcone/internal/wire"
)

// What is held is what is counted: of every shape that can hold much, the heap does not grow beyond the bound, but for what
// maps and arrays have in reserve.
func TestTheHeapIsWithinTheBound(t *testing.T) {
	const most = 32 << 20
	for _, c := range []struct {
		story    string
		finite   bool
		lateness time.Duration
		event    func(l *load, i int) (stream wire.Name, r wire.Record)
	}{
		{"locks without ordinals, each taken and left once, by many", false, 1000, func(l *load, i int) (wire.Name, wire.Record) {
			r := wire.Record{Kind: event.KindAcquire, Seq: uint64(i/4000*2 + 1), Key: l.names[i%4000+i/4000*100]}
			if i/2000%2 == 1 {
				r.Kind, r.Seq = event.KindRelease, r.Seq+1
			}
			return l.names[i%2000], r
		}},
		{"locks without ordinals in a finite source: every acquire waits", true, time.Hour, func(l *load, i int) (wire.Name, wire.Record) {
			r := wire.Record{Kind: event.KindAcquire, Seq: uint64(i/20_000 + 1), Key: l.names[i%100_000]}
			if i%2 == 1 {
				r.Kind = event.KindRelease
			}
			return l.names[i%20_000], r
		}},
		{"releases of locks that nobody takes", false, 1000, func(l *load, i int) (wire.Name, wire.Record) {
			return l.names[0], wire.Record{Kind: event.KindRelease, Seq: uint64(i + 1), Key: l.names[i*7%200_000]}
		}},
		{"messages in order that nobody receives, of many keys", false, 1000, func(l *load, i int) (wire.Name, wire.Record) {
			return l.names[0], wire.Record{Kind: event.KindSend, Seq: uint64(i + 1), Key: l.names[i*7%200_000]}
		}},
		{"messages in order to receivers that are named", false, 1000, func(l *load, i int) (wire.Name, wire.Record) {
			return l.names[0], wire.Record{Kind: event.KindSend, Seq: uint64(i + 1), Key: l.names[i%300], Peer: l.names[i*7%200_000]}
		}},
		{"receives that wait, in a finite source", true, time.Hour, func(l *load, i int) (wire.Name, wire.Record) {
			return l.names[i%150_000], wire.Record{Kind: event.KindReceive, Seq: uint64(i/150_000 + 1), Key: l.names[i*7%200_000]}
		}},
		{"one event of each batch waits", true, time.Hour, func(l *load, i int) (wire.Name, wire.Record) {
			if i%1000 == 0 {
				return l.names[1+i/1000%100_000], wire.Record{Kind: event.KindLog, Seq: 2}
			}
			return l.names[0], wire.Record{Kind: event.KindStart, Seq: uint64(i - i/1000)}
		}},
	} {
		t.Run(c.story, func(t *testing.T) {
			l := newLoad(t, Options{Lateness: c.lateness, MemoryBytesMax: most})
			l.Open(1, c.finite)
			l.MarksStarts(1)
			l.names = make([]wire.Name, 200_000)
			for i := range l.names {
				l.names[i] = l.name(fmt.Sprint("n", i))
			}
			before := heapBytes()
			n := scale(t, 500_000)
			var heap int64
			for i := range n {
				s, r := c.event(l, i)
				if l.put(s, r); i%50_000 == 49_999 {
					l.sink.blocks = nil
					heap = max(heap, heapBytes()-before)
				}
			}
			l.pass()
			t.Logf("%d MB counted at most, the heap grew by %d MB: %+v", l.peak>>20, heap>>20, l.Stats())
			if l.peak > most+most/8 || heap > most+most/2 {
				t.Errorf("%d MB counted, the heap grew by %d MB, %d MB are allowed", l.peak>>20, heap>>20, most>>20)
			}
			runtime.KeepAlive(l)
		})
	}
}
