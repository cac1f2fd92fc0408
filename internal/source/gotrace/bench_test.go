package gotrace

import (
	"bytes"
	"context"
	"io"
	"sync"
	"testing"
	"time"

	"golang.org/x/exp/trace"

	"github.com/pastcone/pastcone/event"
	"github.com/pastcone/pastcone/internal/source"
	"github.com/pastcone/pastcone/internal/wire"
)

// discard is a sink that keeps nothing.
type discard struct {
	table  *wire.Table
	events int
	runs   int
}

func (d *discard) Table() *wire.Table { return d.table }
func (d *discard) Push(_ context.Context, b *wire.Batch) error {
	d.events += b.Len()
	d.runs += len(b.Runs)
	b.Done(event.ID(d.events)) // #nosec G115 -- a count
	return nil
}
func (d *discard) Reject(r source.Rejected) error { return r }

// busyProgram has workers behind queues, replies, locks and short-lived goroutines.
func busyProgram(rounds int) {
	type job struct{ reply chan int }
	jobs := make(chan job)
	var workers, clients sync.WaitGroup
	var mu sync.Mutex
	done := 0
	for range 8 {
		workers.Go(func() {
			for j := range jobs {
				mu.Lock()
				done++
				n := done
				mu.Unlock()
				j.reply <- n
			}
		})
	}
	for range 16 {
		clients.Go(func() {
			reply := make(chan int)
			for i := range rounds {
				jobs <- job{reply}
				<-reply
				if i%16 == 0 {
					var one sync.WaitGroup
					one.Go(func() {})
					one.Wait()
				}
			}
		})
	}
	clients.Wait()
	close(jobs)
	workers.Wait()
}

// BenchmarkRead reads the same trace in turns with the bare trace reader and with Read: the ratio of their speeds is
// what the decoding of a trace costs beyond what its own reader does. Of each the fastest turn counts, so that other work
// of the machine does not.
func BenchmarkRead(b *testing.B) {
	text := record(b, func() { busyProgram(8000) })
	b.SetBytes(int64(len(text)))
	bare, ours := time.Hour, time.Hour
	events, turns := 0, 0
	d := &discard{table: wire.NewTable(64 << 20)}
	for b.Loop() {
		begin := time.Now()
		r, err := trace.NewReader(bytes.NewReader(text))
		if err != nil {
			b.Fatal(err)
		}
		for {
			if _, err = r.ReadEvent(); err != nil {
				break
			}
			events++
		}
		if err != io.EOF {
			b.Fatal(err)
		}
		bare = min(bare, time.Since(begin))
		begin = time.Now()
		if _, err := Read(context.Background(), bytes.NewReader(text), "bench.trace", Options{}, d); err != nil {
			b.Fatal(err)
		}
		ours = min(ours, time.Since(begin))
		turns++
	}
	b.ReportMetric(float64(events/turns)/bare.Seconds()/1e6, "M-bare-events/s")
	b.ReportMetric(float64(events/turns)/ours.Seconds()/1e6, "M-events/s")
	b.ReportMetric(100*bare.Seconds()/ours.Seconds(), "%-of-bare")
	b.ReportMetric(float64(d.events)/float64(d.runs), "events/run")
	b.ReportMetric(float64(d.events)/float64(events), "out/in")
}
