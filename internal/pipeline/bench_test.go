package pipeline

import (
	"context"
	"fmt"
	"sync/atomic"
	"testing"
	"time"

	"github.com/pastcone/pastcone/internal/ring"
	"github.com/pastcone/pastcone/internal/wire"
)

// BenchmarkPool_Hop gives what a batch of 256 events costs on its way from a ring through a pool that does nothing.
func BenchmarkPool_Hop(b *testing.B) {
	for _, ordered := range []bool{false, true} {
		for _, workers := range []int{1, 2, 4} {
			b.Run(fmt.Sprintf("ordered=%v/workers=%d", ordered, workers), func(b *testing.B) {
				r := newRig(b, nothing, func(o *Options[*batch]) {
					o.Settings.WorkersMin, o.Settings.WorkersMax = workers, workers
					o.Ledger, o.Owners, o.Since = nil, nil, nil
					o.Deliver = nil
					if ordered {
						o.Deliver = func(context.Context, *batch) error { return nil }
					}
				}).start(b)
				v := &batch{events: 256}
				b.ReportAllocs()
				for b.Loop() {
					if err := r.ring.Push(background, v); err != nil {
						b.Fatal(err)
					}
				}
				if err := r.Drain(background); err != nil {
					b.Fatal(err)
				}
				b.ReportMetric(float64(b.Elapsed().Nanoseconds())/float64(b.N)/256, "ns/event")
			})
		}
	}
}

// BenchmarkPool_WorkerStart gives the time from the wish for a worker to its first look for a batch.
func BenchmarkPool_WorkerStart(b *testing.B) {
	var sum Summary
	for b.Loop() {
		r := newRig(b, nothing, nil).start(b)
		for r.Status().Latency.Start.Count == 0 {
			time.Sleep(10 * time.Microsecond)
		}
		sum = r.Status().Latency.Start
		if err := r.Drain(background); err != nil {
			b.Fatal(err)
		}
	}
	b.ReportMetric(float64(sum.Max.Nanoseconds()), "ns/last_start")
}

// BenchmarkPool_Recovery gives the time from a worker's crash to its next look for work; back-off is none.
func BenchmarkPool_Recovery(b *testing.B) {
	var n atomic.Int64
	r := newRig(b, func(context.Context, *batch) error {
		if n.Add(1)%2 == 1 {
			panic("boom")
		}
		return nil
	}, func(o *Options[*batch]) {
		o.Settings.WorkersMax, o.Settings.BackoffMin, o.Settings.BackoffMax = 1, 0, 0
		o.Restarts = Restarts{Max: 1 << 30, Within: time.Second, Pause: time.Second}
		o.Ledger, o.Owners = nil, nil
		o.Deliver = nil
	}).start(b)
	v := &batch{events: 1}
	for b.Loop() {
		if err := r.ring.Push(background, v); err != nil {
			b.Fatal(err)
		}
	}
	if err := r.Drain(background); err != nil {
		b.Fatal(err)
	}
	s := r.Status().Latency.Recovery
	b.ReportMetric(float64(s.P50.Nanoseconds()), "p50-ns/recovery")
	b.ReportMetric(float64(s.P99.Nanoseconds()), "p99-ns/recovery")
}

// BenchmarkLedger_Move is what a batch costs in the books: accepted and stored.
func BenchmarkLedger_Move(b *testing.B) {
	var l Ledger
	b.RunParallel(func(pb *testing.PB) {
		src := wire.SourceID(1)
		for pb.Next() {
			l.Accept(src, 256)
			l.Store(src, 256)
		}
	})
}

// BenchmarkLedger_Books is what reading them costs, with ten sources.
func BenchmarkLedger_Books(b *testing.B) {
	var l Ledger
	for src := range wire.SourceID(10) {
		l.Accept(src, 2)
		l.Shed(src, 1, "ring full")
	}
	for b.Loop() {
		l.Books()
	}
}

// BenchmarkHistogram_Record is what measuring one duration costs.
func BenchmarkHistogram_Record(b *testing.B) {
	var h Histogram
	b.RunParallel(func(pb *testing.PB) {
		for d := time.Duration(0); pb.Next(); d += 1000 {
			h.Record(d)
		}
	})
}

var _ Queue[*batch] = (*ring.Ring[*batch])(nil)
