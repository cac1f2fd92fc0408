package store

import (
	"context"
	"flag"
	"fmt"
	"math/rand/v2"
	"os"
	"runtime"
	"slices"
	"sync"
	"testing"
	"time"

	"github.com/pastcone/pastcone/event"
	"github.com/pastcone/pastcone/internal/store/shape"
	"github.com/pastcone/pastcone/internal/wire"
)

var benchEvents = flag.Int("events", 2_000_000, "events of the recording that the read benchmarks use; the targets are for 20,000,000")

// bigRecording makes a recording of that many events, and leaves it open.
func bigRecording(b *testing.B, dir string, events int) *recording {
	b.Helper()
	r := record(b, dir, Options{}, shape.Shape{})
	ch := make(chan *wire.Block, 2)
	var wg sync.WaitGroup
	for range runtime.GOMAXPROCS(0) {
		wg.Go(func() {
			for x := range ch {
				if err := r.w.Write(x); err != nil {
					b.Error(err)
				}
			}
		})
	}
	for n := 0; n < events; n += wire.BlockRowsMax {
		x := r.gen.Block(wire.BlockRowsMax)
		if err := r.w.Publish(context.Background(), x); err != nil {
			b.Fatal(err)
		}
		ch <- x
		r.blocks = append(r.blocks[:0], x)
	}
	close(ch)
	wg.Wait()
	r.wait(b)
	return r
}

// BenchmarkRecover opens a recording whose writer has died: the segment that it was writing is read whole.
func BenchmarkRecover(b *testing.B) {
	for b.Loop() {
		b.StopTimer()
		dir := b.TempDir()
		bigRecording(b, dir, *benchEvents).w.abandon()
		b.StartTimer()
		w, err := Open(dir, Options{})
		if err != nil {
			b.Fatal(err)
		}
		b.StopTimer()
		if err := w.Close(); err != nil {
			b.Fatal(err)
		}
		b.StartTimer()
	}
}

// latencies runs f often and reports its median and its 99th percentile.
func latencies(b *testing.B, f func(rng *rand.Rand)) {
	b.Helper()
	rng := rand.New(rand.NewPCG(3, 4))
	for range 50 {
		f(rng)
	}
	var all []time.Duration
	for b.Loop() {
		start := time.Now()
		f(rng)
		all = append(all, time.Since(start))
	}
	slices.Sort(all)
	b.ReportMetric(float64(all[len(all)/2].Nanoseconds())/1000, "p50-µs")
	b.ReportMetric(float64(all[len(all)*99/100].Nanoseconds())/1000, "p99-µs")
}

// BenchmarkRead asks what queries ask of a recording. The figures with targets are those of
//
//	go test -run - -bench Read ./internal/store -events 20000000
func BenchmarkRead(b *testing.B) {
	dir, err := os.MkdirTemp("", "store-bench")
	if err != nil {
		b.Fatal(err)
	}
	defer func() { _ = os.RemoveAll(dir) }()
	if err := bigRecording(b, dir, *benchEvents).w.Close(); err != nil {
		b.Fatal(err)
	}
	b.Run("open", func(b *testing.B) {
		for b.Loop() {
			r, err := OpenReader(dir)
			if err != nil {
				b.Fatal(err)
			}
			_ = r.Close()
		}
	})
	r, err := OpenReader(dir)
	if err != nil {
		b.Fatal(err)
	}
	defer func() { _ = r.Close() }()
	s := r.Snapshot()
	defer func() { _ = s.Close() }()
	var c wire.Columns
	_, end := s.Range()
	some := func(rng *rand.Rand) event.ID { return 1 + event.ID(rng.Uint64N(uint64(end-1))) }
	must := func(err error) {
		if err != nil {
			b.Fatal(err)
		}
	}
	b.Run("by id", func(b *testing.B) {
		latencies(b, func(rng *rand.Rand) {
			_, err := s.ReadRow(some(rng), wire.ColAll, &c)
			must(err)
		})
	})
	b.Run("chain of 50", func(b *testing.B) {
		latencies(b, func(rng *rand.Rand) {
			id := some(rng)
			for range 50 {
				i, err := s.ReadRow(id, wire.ColAll, &c)
				must(err)
				if id = c.Parent[i]; id <= 1 {
					id = some(rng)
				}
			}
		})
	})
	b.Run("children", func(b *testing.B) {
		latencies(b, func(rng *rand.Rand) {
			id := some(rng)
			for _, block := range s.Blocks(wire.Prune{Causes: []event.ID{id}}) {
				must(s.Read(block.Base, wire.ColParent|wire.ColFurther, &c))
			}
		})
	})
	b.Run("correlation of 100", func(b *testing.B) {
		latencies(b, func(rng *rand.Rand) {
			i, err := s.ReadRow(some(rng), wire.ColCorrelation, &c)
			must(err)
			of, n := c.Correlation[i], 0
			for _, block := range s.Blocks(wire.Prune{Correlations: []event.ID{of}}) {
				must(s.Read(block.Base, wire.ColCorrelation, &c))
				var rows []event.ID
				for i, x := range c.Correlation {
					if x == of {
						rows = append(rows, block.Base+event.ID(i))
					}
				}
				for _, id := range rows {
					if n++; n <= 100 {
						_, err := s.ReadRow(id, wire.ColAll, &c)
						must(err)
					}
				}
			}
		})
	})
	b.Run("time and function", func(b *testing.B) {
		texts := s.Table()
		latencies(b, func(rng *rand.Rand) {
			fn := texts.PlaceOf(wire.Site(1 + rng.IntN(300))).Func
			blocks := s.Blocks(wire.Prune{})
			from := blocks[rng.IntN(len(blocks))].TimeMin
			found := 0
			for _, block := range s.Blocks(wire.Prune{TimeMin: from, Funcs: []wire.Text{fn}}) {
				must(s.Read(block.Base, wire.ColTime|wire.ColSite, &c))
				for i, site := range c.Site {
					if c.Time[i] >= from && texts.PlaceOf(site).Func == fn {
						found++
					}
				}
				if found >= 1000 {
					break
				}
			}
		})
	})
	b.Run("kind site duration of all", func(b *testing.B) {
		for b.Loop() {
			var wg sync.WaitGroup
			blocks := s.Blocks(wire.Prune{})
			for k := range runtime.GOMAXPROCS(0) {
				wg.Go(func() {
					var c wire.Columns
					for i := k; i < len(blocks); i += runtime.GOMAXPROCS(0) {
						if err := s.Read(blocks[i].Base, wire.ColKind|wire.ColSite|wire.ColDuration, &c); err != nil {
							b.Error(err)
						}
					}
				})
			}
			wg.Wait()
		}
	})
	b.Run("verify", func(b *testing.B) {
		for b.Loop() {
			report, err := Verify(context.Background(), dir, nil)
			if err != nil || !report.OK() {
				b.Fatal(err, fmt.Sprint(problems(report)))
			}
		}
	})
}
