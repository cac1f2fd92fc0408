package recorder_test

import (
	"context"
	"fmt"
	"testing"

	"github.com/pastcone/pastcone/event"
	"github.com/pastcone/pastcone/internal/correlate/shape"
	"github.com/pastcone/pastcone/internal/recorder"
	"github.com/pastcone/pastcone/internal/wire"
)

// BenchmarkEngine records the events of a busy program: batches in, all of it durable at the end. `make bench` measures the same
// with everything that was promised of it.
func BenchmarkEngine(b *testing.B) {
	for _, size := range []int{64, 512, 4096} {
		b.Run(fmt.Sprintf("batch=%d", size), func(b *testing.B) {
			r, err := recorder.Open(b.TempDir(), recorder.Options{})
			if err != nil {
				b.Fatal(err)
			}
			in, err := r.Source(recorder.Spec{Name: "busy"})
			if err != nil {
				b.Fatal(err)
			}
			p, err := shape.New(1, 2000, in.Table())
			if err != nil {
				b.Fatal(err)
			}
			free := make(chan *wire.Batch, 1024)
			n := 0
			b.ReportAllocs()
			b.ResetTimer()
			for n < b.N {
				batch := &wire.Batch{}
				select {
				case batch = <-free:
					batch.Reset()
				default:
				}
				p.Fill(batch, size)
				batch.Done = func(event.ID) {
					select {
					case free <- batch:
					default:
					}
				}
				n += batch.Len()
				if err := in.Push(context.Background(), batch); err != nil {
					b.Fatal(err)
				}
			}
			if err := in.Close(context.Background(), true); err != nil {
				b.Fatal(err)
			}
			b.StopTimer()
			b.ReportMetric(float64(n)/b.Elapsed().Seconds()/1e6, "M-events/s")
			if err := r.CheckSettled(); err != nil {
				b.Error(err)
			}
			if err := r.Close(context.Background()); err != nil {
				b.Fatal(err)
			}
		})
	}
}
