package main

import (
	"context"
	"fmt"
	"os"
	"path/filepath"
	"runtime"
	"sync"
	"sync/atomic"
	"time"

	"github.com/pastcone/pastcone/event"
	"github.com/pastcone/pastcone/internal/correlate"
	"github.com/pastcone/pastcone/internal/pipeline"
	"github.com/pastcone/pastcone/internal/ring"
	"github.com/pastcone/pastcone/internal/store"
	"github.com/pastcone/pastcone/internal/wire"
)

// recycled is a sink that gives blocks back to be filled again.
type recycled struct{ free []*wire.Block }

func (s *recycled) Emit(b *wire.Block) { s.free = append(s.free, b) }
func (s *recycled) Reject(wire.SourceID, wire.Name, *wire.Batch, *wire.Record, correlate.Reason) {
	panic("the generator's events are all good")
}

func (s *recycled) block() *wire.Block {
	if n := len(s.free); n > 0 {
		b := s.free[n-1]
		s.free = s.free[:n-1]
		*b = wire.Block{Rows: b.Rows[:0], Edges: b.Edges[:0], Arena: b.Arena[:0], Late: b.Late[:0]}
		return b
	}
	return &wire.Block{}
}

// correlating measures the correlator alone, on one core: batches in, blocks out. It is the processor time of its thread, which is
// the same when others use the machine.
func correlating(s settings) (map[string]float64, error) {
	table := wire.NewTable(1 << 26)
	f, err := newFountain(table)
	if err != nil {
		return nil, err
	}
	sink := &recycled{}
	c := correlate.New(correlate.Options{Table: table, Lateness: time.Second, NewBlock: sink.block}, sink)
	c.Open(1, false)
	runtime.LockOSThread()
	defer runtime.UnlockOSThread()
	took, n := time.Duration(0), 0
	for n < s.Events/4 {
		var round [32]*wire.Batch // made first, so that only the correlator is timed
		for i := range round {
			round[i] = f.next(2048, nil)
			round[i].Source = 1
		}
		began := threadTime()
		for _, b := range round {
			n += b.Len()
			c.Add(b)
		}
		took += threadTime() - began
	}
	return map[string]float64{"correlate ns": float64(took.Nanoseconds()) / float64(n)}, nil
}

// baseline records the same events without correlating them: ring, one goroutine that turns batches into blocks, the same pool of
// writers, the same store.
func baseline(s settings) (map[string]float64, error) {
	dir := filepath.Join(s.Dir, "baseline")
	defer func() { _ = os.RemoveAll(dir) }()
	w, err := store.Open(dir, store.Options{})
	if err != nil {
		return nil, err
	}
	src, err := w.AddSource(store.SourceInfo{Name: "busy"})
	if err != nil {
		return nil, err
	}
	f, err := newFountain(w.Table())
	if err != nil {
		return nil, err
	}
	batches := ring.New[*wire.Batch](256, ring.Block, nil)
	blocks := ring.New[*wire.Block](64, ring.Block, nil)
	var failed atomic.Pointer[error]
	writing, err := pipeline.NewPool(pipeline.Options[*wire.Block]{
		Name: "write", Queue: blocks, Count: func(b *wire.Block) int { return len(b.Rows) },
		New: func() (pipeline.Stage[*wire.Block], error) {
			return pipeline.StageFunc[*wire.Block](func(_ context.Context, b *wire.Block) error { return w.Write(b) }), nil
		},
		GaveUp: func(_ *wire.Block, err error) { failed.Store(&err) },
	})
	if err != nil {
		return nil, err
	}
	ctx := context.Background()
	if err := writing.Start(ctx); err != nil {
		return nil, err
	}
	var one sync.WaitGroup
	one.Go(func() {
		next := event.ID(1)
		b := emptyBlock(next)
		send := func() {
			if err := w.Publish(ctx, b); err != nil {
				failed.Store(&err)
				return
			}
			if err := blocks.Push(ctx, b); err != nil {
				failed.Store(&err)
			}
			next += event.ID(len(b.Rows)) // #nosec G115 -- a length
			b = emptyBlock(next)
		}
		for {
			batch, err := batches.Pop(ctx)
			if err != nil {
				break
			}
			at := 0
			for _, run := range batch.Runs {
				for range run.Len {
					copyRow(b, batch, &batch.Records[at], run.Stream, src)
					at++
					if len(b.Rows) == wire.BlockRowsMax {
						send()
					}
				}
			}
			batch.Done(next)
		}
		if len(b.Rows) > 0 {
			send()
		}
	})
	began, n := time.Now(), 0
	for n < s.Events {
		b := f.next(max(64, 2048), nil)
		n += b.Len()
		if err := batches.Push(ctx, b); err != nil {
			return nil, err
		}
	}
	batches.Close()
	one.Wait()
	if err := writing.Drain(ctx); err != nil {
		return nil, err
	}
	if err := w.WaitDurable(ctx, w.NextID()-1); err != nil {
		return nil, err
	}
	took := time.Since(began)
	if err := failed.Load(); err != nil {
		return nil, *err
	}
	return map[string]float64{"baseline events/s": float64(n) / took.Seconds()}, w.Close()
}

func emptyBlock(base event.ID) *wire.Block {
	return &wire.Block{Base: base, Rows: make([]wire.Row, 0, wire.BlockRowsMax), Arrived: time.Now().UnixNano()}
}

// copyRow appends an event to a block as it is: each is its own correlation.
func copyRow(b *wire.Block, batch *wire.Batch, r *wire.Record, stream wire.Name, src wire.SourceID) {
	id := b.Base + event.ID(len(b.Rows)) // #nosec G115 -- a length
	row := wire.Row{Record: *r, Stream: stream, Source: src, Correlation: id, ParentConf: event.Exact, CorrConf: event.Exact}
	if r.DataLen > 0 {
		row.DataOff = uint32(len(b.Arena)) // #nosec G115 -- a block is small
		b.Arena = append(b.Arena, batch.Data(r)...)
	}
	b.Rows = append(b.Rows, row)
}

// handoff measures what it costs to hand events over: through the ring in chunks, as the flow does it, and one by one through a Go
// channel. Four producers, which copy each event in; one consumer, which looks at each.
func handoff(s settings) (map[string]float64, error) {
	const producers, chunk, capacity = 4, 256, 256
	ctx := context.Background()
	events := min(s.Events, 8_000_000)
	event := wire.Record{Time: 1, Seq: 1}
	measure := func(produce func(n int), consume func() (seen uint64), stop func()) (float64, error) {
		var writers, reader sync.WaitGroup
		var seen uint64
		began := time.Now()
		for range producers {
			writers.Go(func() { produce(events / producers) })
		}
		reader.Go(func() { seen = consume() })
		writers.Wait()
		stop()
		reader.Wait()
		took := float64(time.Since(began).Nanoseconds()) / float64(seen)
		if seen != uint64(events/producers*producers) { // #nosec G115 -- positive
			return 0, fmt.Errorf("%d of %d events arrived", seen, events)
		}
		return took, nil
	}
	r := ring.New[*wire.Batch](capacity, ring.Block, nil)
	free := sync.Pool{New: func() any { return &wire.Batch{Records: make([]wire.Record, 0, chunk)} }}
	ringNanos, err := measure(func(n int) {
		b := free.Get().(*wire.Batch)
		for range n {
			if b.Records = append(b.Records, event); len(b.Records) == chunk {
				_ = r.Push(ctx, b)
				b = free.Get().(*wire.Batch)
			}
		}
		_ = r.Push(ctx, b)
	}, func() (seen uint64) {
		for {
			b, err := r.Pop(ctx)
			if err != nil {
				return seen
			}
			for i := range b.Records {
				seen += b.Records[i].Seq
			}
			b.Reset()
			free.Put(b)
		}
	}, r.Close)
	if err != nil {
		return nil, err
	}
	c := make(chan wire.Record, capacity)
	channelNanos, err := measure(func(n int) {
		for range n {
			c <- event
		}
	}, func() (seen uint64) {
		for e := range c {
			seen += e.Seq
		}
		return seen
	}, func() { close(c) })
	return map[string]float64{"ring ns": ringNanos, "channel ns": channelNanos}, err
}

// workers measures how fast a worker starts, and how fast it is back after a panic, with the settings that the recorder uses.
func workers(s settings) (map[string]float64, error) {
	ctx := context.Background()
	open := func(least int, work func(int) error) (*pipeline.Pool[int], *ring.Ring[int], error) {
		q := ring.New[int](256, ring.Block, nil)
		set := pipeline.DefaultSettings()
		set.WorkersMin, set.WorkersMax = least, max(least, set.WorkersMax)
		p, err := pipeline.NewPool(pipeline.Options[int]{
			Name: "bench", Queue: q, Count: func(int) int { return 1 }, Settings: set,
			New: func() (pipeline.Stage[int], error) {
				return pipeline.StageFunc[int](func(_ context.Context, n int) error { return work(n) }), nil
			},
		})
		if err != nil {
			return nil, nil, err
		}
		return p, q, p.Start(ctx)
	}
	got := map[string]float64{}
	for range 20 {
		p, _, err := open(16, func(int) error { return nil })
		if err != nil {
			return nil, err
		}
		for p.Status().Latency.Start.Count < 16 {
			time.Sleep(100 * time.Microsecond)
		}
		sum := p.Status().Latency.Start
		got["worker start max"] = max(got["worker start max"], float64(sum.Max))
		got["worker start p50"] = float64(sum.P50)
		if err := p.Drain(ctx); err != nil {
			return nil, err
		}
	}
	var tried atomic.Int64
	p, q, err := open(1, func(int) error {
		if tried.Add(1)%2 == 1 {
			panic("as planned")
		}
		return nil
	})
	if err != nil {
		return nil, err
	}
	for range 15 { // below the restart intensity: each is a crash on its own
		if err := q.Push(ctx, 1); err != nil {
			return nil, err
		}
		for p.Status().Backlog.Batches > 0 || p.Status().Batches.InHand > 0 {
			time.Sleep(time.Millisecond)
		}
		time.Sleep(50 * time.Millisecond)
	}
	sum := p.Status().Latency.Recovery
	got["recovery max"], got["recovery p50"], got["recoveries"] = float64(sum.Max), float64(sum.P50), float64(sum.Count)
	return got, p.Drain(ctx)
}
