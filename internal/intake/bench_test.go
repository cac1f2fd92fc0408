package intake

import (
	"fmt"
	"testing"

	"github.com/pastcone/pastcone/event"
	"github.com/pastcone/pastcone/internal/wire"
)

var payloads = []struct{ name, data string }{
	{"small", `{"order":%d,"user":"u17","ok":true}`},
	{"usual", `{"order":"ord-%06d","customer":{"id":4711,"name":"Ann Other","email":"ann@example.org"},"items":[{"sku":"A-1","count":2},{"sku":"B-7","count":1}],"total":1999,"ok":true}`},
	{"text", `{"message":"%d: could not reserve 3 of A-1 in warehouse north: connection reset by peer after 3 attempts, giving up on it for now and for good"}`},
	{"numbers", `{"at":1700000000%09d,"n":4711,"bytes":123456789,"ratio":0.25}`},
}

// benchBatch gives a batch of 2,500 events with that payload.
func benchBatch(tb testing.TB, table *wire.Table, format string) *wire.Batch {
	tb.Helper()
	b := new(wire.Batch)
	for i := range 2500 {
		e := event.Event{Stream: "g1", Seq: uint64(i + 1), Time: int64(i), Kind: event.KindLog, Data: fmt.Appendf(nil, format, i)}
		if err := b.AddEvent(table, &e); err != nil {
			tb.Fatal(err)
		}
	}
	return b
}

func BenchmarkProcess(b *testing.B) {
	for _, p := range append(payloads, struct{ name, data string }{"with a secret", `{"order":%d,"token":"abcdef","ok":true}`}) {
		b.Run(p.name, func(b *testing.B) {
			table := wire.NewTable(1 << 20)
			s, err := New(Options{Table: table})
			if err != nil {
				b.Fatal(err)
			}
			batch := benchBatch(b, table, p.data)
			arena, records := batch.Arena, append([]wire.Record(nil), batch.Records...)
			b.SetBytes(int64(len(arena)))
			b.ReportAllocs()
			for b.Loop() {
				batch.Arena = arena
				copy(batch.Records, records)
				if err := s.Process(batch); err != nil {
					b.Fatal(err)
				}
			}
			perBatch := float64(b.Elapsed().Nanoseconds()) / float64(b.N)
			b.ReportMetric(perBatch/float64(len(arena)), "ns/B")
			b.ReportMetric(perBatch/2500, "ns/event")
		})
	}
}
