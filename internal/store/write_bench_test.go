package store

import (
	"context"
	"runtime"
	"testing"

	"github.com/pastcone/pastcone/internal/store/shape"
	"github.com/pastcone/pastcone/internal/wire"
)

// BenchmarkWrite is blocks → durable: publish, encode on as many goroutines as there are processors,
// group commit. The blocks are made before, so that the generator's time does not count.
func BenchmarkWrite(b *testing.B) {
	for _, codec := range []Codec{CodecZstd, CodecS2} {
		b.Run(codec.String(), func(b *testing.B) {
			const n = 256 // 2 M events
			for b.Loop() {
				b.StopTimer()
				r := record(b, b.TempDir(), Options{Codec: codec}, shape.Shape{})
				blocks := make([]*wire.Block, n)
				for i := range blocks {
					blocks[i] = r.gen.Block(wire.BlockRowsMax)
				}
				b.StartTimer()
				ch := make(chan *wire.Block, 4)
				for range runtime.GOMAXPROCS(0) {
					go func() {
						for x := range ch {
							if err := r.w.Write(x); err != nil {
								b.Error(err)
							}
						}
					}()
				}
				for _, x := range blocks {
					if err := r.w.Publish(context.Background(), x); err != nil {
						b.Fatal(err)
					}
					ch <- x
				}
				close(ch)
				r.blocks = blocks
				r.wait(b)
				b.StopTimer()
				s := r.w.Stats()
				b.ReportMetric(float64(s.Bytes)/float64(s.Events), "B/event")
				if err := r.w.Close(); err != nil {
					b.Fatal(err)
				}
				b.StartTimer()
			}
			b.ReportMetric(float64(b.N)*n*wire.BlockRowsMax/b.Elapsed().Seconds()/1e6, "Mevents/s")
		})
	}
}
