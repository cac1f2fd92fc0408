package main

import (
	"context"
	"fmt"
	"path/filepath"
	"sync"
	"sync/atomic"
	"time"

	"github.com/pastcone/pastcone/event"
	"github.com/pastcone/pastcone/internal/recorder"
	"github.com/pastcone/pastcone/internal/wire"
)

// arrival is a batch on its way: which id it ends with, and when it was accepted.
type arrival struct {
	last     event.ID
	accepted int64
}

// journey follows batches from their acceptance to where they can be read, and to the disk. A batch counts when the last of
// its events is there; the batches of a run are all of a size, so the quantiles are those of its events.
type journey struct {
	r *recorder.Recorder

	mu                 sync.Mutex
	waiting            []arrival
	queryable, durable durations
	unseen             atomic.Int64 // batches that were said to be readable and were not in a snapshot
	seen               int
}

// published hears of a batch whose last event has been published: it can be read from the head now. That this is so is looked at
// each hundredth time.
func (j *journey) published(b *wire.Batch, last event.ID) {
	now := time.Now().UnixNano()
	j.mu.Lock()
	defer j.mu.Unlock()
	j.queryable = append(j.queryable, time.Duration(now-b.Arrived))
	j.waiting = append(j.waiting, arrival{last, b.Arrived})
	if j.seen++; j.seen%100 == 0 {
		snapshot := j.r.Snapshot()
		if _, end := snapshot.Range(); end <= last {
			j.unseen.Add(1)
		}
		_ = snapshot.Close()
	}
}

// committed hears that everything before end is durable.
func (j *journey) committed(end event.ID) {
	now := time.Now().UnixNano()
	j.mu.Lock()
	defer j.mu.Unlock()
	kept := j.waiting[:0]
	for _, a := range j.waiting {
		if a.last < end {
			j.durable = append(j.durable, time.Duration(now-a.accepted))
		} else {
			kept = append(kept, a)
		}
	}
	j.waiting = kept
}

// warmup is how long events come before the times count: the streams begin, and memory is got from the system.
const warmup = time.Second

// pace records events at a rate for so long, a batch a millisecond, and gives how long they were under way.
func pace(s settings, name string, perSecond int, long time.Duration) (map[string]float64, error) {
	r, err := recorder.Open(filepath.Join(s.Dir, name), recorder.Options{})
	if err != nil {
		return nil, err
	}
	in, err := r.Source(recorder.Spec{Name: name})
	if err != nil {
		return nil, err
	}
	f, err := newFountain(in.Table())
	if err != nil {
		return nil, err
	}
	j := &journey{r: r}
	r.OnDurable(j.committed)
	stop := watchMemory()
	const beat = time.Millisecond
	each := max(1, perSecond/int(time.Second/beat))
	began, n, late := time.Now(), 0, time.Duration(0)
	warm := false
	for time.Since(began) < long+warmup {
		if !warm && time.Since(began) > warmup {
			warm = true
			j.mu.Lock()
			j.queryable, j.durable = j.queryable[:0], j.durable[:0]
			j.mu.Unlock()
		}
		due := began.Add(time.Duration(n) * time.Second / time.Duration(perSecond))
		if wait := time.Until(due); wait > 0 {
			time.Sleep(wait)
		} else {
			late = max(late, -wait)
		}
		b := f.next(each, j.published)
		n += b.Len()
		if err := in.Push(context.Background(), b); err != nil {
			return nil, err
		}
	}
	took := time.Since(began)
	if err := in.Close(context.Background(), true); err != nil {
		return nil, err
	}
	memory := stop()
	st := r.Status()
	if err := settled(r, n); err != nil {
		return nil, err
	}
	if err := r.Close(context.Background()); err != nil {
		return nil, err
	}
	if u := j.unseen.Load(); u > 0 {
		return nil, fmt.Errorf("%d batches were said to be readable and were not", u)
	}
	got := map[string]float64{
		name + " rate":            float64(n) / took.Seconds(),
		name + " behind":          float64(late),
		name + " memory":          float64(memory),
		name + " correlated mean": float64(st.Correlated.Mean),
		name + " correlated p50":  float64(st.Correlated.P50),
		name + " correlated p99":  float64(st.Correlated.P99),
		name + " loss":            float64(n) - float64(st.Books.Sources[0].Stored),
	}
	j.queryable.put(got, name+" queryable")
	j.durable.put(got, name+" durable")
	return got, nil
}

func paced(s settings) (map[string]float64, error) { return pace(s, "paced", 1_000_000, s.Paced) }

// planRates are the plan's own: 10,000 events/s for long, 20,000 in bursts.
func planRates(s settings) (map[string]float64, error) {
	got, err := pace(s, "sustained", 10_000, s.Sustained)
	if err != nil {
		return nil, err
	}
	burst, err := pace(s, "burst", 20_000, s.Burst)
	for key, v := range burst {
		got[key] = v
	}
	return got, err
}
