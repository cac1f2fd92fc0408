package main

import (
	"context"
	"fmt"
	"io/fs"
	"os"
	"path/filepath"
	"runtime"
	"time"

	"github.com/pastcone/pastcone/bench/busy"
	"github.com/pastcone/pastcone/event"
	"github.com/pastcone/pastcone/internal/recorder"
	"github.com/pastcone/pastcone/internal/wire"
)

// recording is where the whole recording is kept for the questions.
func recording(s settings) string { return filepath.Join(s.Dir, "whole") }

// fountain makes batches out of those that are done with, so that the events cost the engine's process no more memory than is
// under way.
type fountain struct {
	program *busy.Program
	free    chan *wire.Batch
}

func newFountain(t *wire.Table) (*fountain, error) {
	p, err := busy.New(1, t)
	return &fountain{program: p, free: make(chan *wire.Batch, 4096)}, err
}

// next gives a batch of at least n events. done, if set, hears of its last id.
func (f *fountain) next(n int, done func(b *wire.Batch, last event.ID)) *wire.Batch {
	var b *wire.Batch
	select {
	case b = <-f.free:
		b.Reset()
	default:
		b = &wire.Batch{}
	}
	f.program.Fill(b, n)
	b.Done = func(last event.ID) {
		if done != nil {
			done(b, last)
		}
		select {
		case f.free <- b:
		default:
		}
	}
	return b
}

// generator measures what making the events costs: it is part of every other figure.
func generator(s settings) (map[string]float64, error) {
	p, err := busy.New(1, wire.NewTable(1<<26))
	if err != nil {
		return nil, err
	}
	var b wire.Batch
	n, began := 0, time.Now()
	for n < s.Events/4 {
		b.Reset()
		p.Fill(&b, 2048)
		n += b.Len()
	}
	return map[string]float64{"generator ns": float64(time.Since(began).Nanoseconds()) / float64(n)}, nil
}

// record records all events at full speed.
func record(s settings) (map[string]float64, error) {
	dir := recording(s)
	if err := os.RemoveAll(dir); err != nil {
		return nil, err
	}
	r, err := recorder.Open(dir, recorder.Options{})
	if err != nil {
		return nil, err
	}
	in, err := r.Source(recorder.Spec{Name: "busy"})
	if err != nil {
		return nil, err
	}
	f, err := newFountain(in.Table())
	if err != nil {
		return nil, err
	}
	stop := watchMemory()
	began, computed := time.Now(), processorTime()
	n := 0
	for n < s.Events {
		b := f.next(batchEvents(s, r), nil)
		n += b.Len()
		if err := in.Push(context.Background(), b); err != nil {
			return nil, err
		}
	}
	if err := in.Close(context.Background(), true); err != nil {
		return nil, err
	}
	took, computed := time.Since(began), processorTime()-computed
	memory := stop()
	st := r.Status()
	if err := settled(r, n); err != nil {
		return nil, err
	}
	if err := r.Close(context.Background()); err != nil {
		return nil, err
	}
	bytes, err := bytesBelow(dir)
	if err != nil {
		return nil, err
	}
	each := func(p time.Duration, count uint64) float64 { return float64(n) / (float64(p) * float64(count)) * 1e9 }
	return map[string]float64{
		"events/s":                 float64(n) / took.Seconds(),
		"cpu ns":                   float64(computed.Nanoseconds()) / float64(n),
		"cpu events/s":             float64(n) / computed.Seconds() * float64(runtime.GOMAXPROCS(0)),
		"bytes":                    float64(bytes) / float64(n),
		"memory":                   float64(memory),
		"intake events/s a worker": each(st.Intake.Latency.Process.Mean, st.Intake.Latency.Process.Count),
		"write events/s a worker":  each(st.Write.Latency.Process.Mean, st.Write.Latency.Process.Count),
		"loss":                     float64(n) - float64(st.Books.Sources[0].Stored),
	}, nil
}

func batchEvents(s settings, r *recorder.Recorder) int {
	if s.Batch > 0 {
		return s.Batch
	}
	return max(64, r.BatchEvents())
}

// settled holds a recorder to what it was given: all stored, none shed, rejected or in flight.
func settled(r *recorder.Recorder, n int) error {
	if err := r.CheckSettled(); err != nil {
		return err
	}
	for _, a := range r.Books().Sources {
		if a.Accepted != uint64(n) || a.Stored != uint64(n) { // #nosec G115 -- a count
			return fmt.Errorf("of %d events: %+v", n, a)
		}
	}
	if g := r.Status().Gaps; g > 0 {
		return fmt.Errorf("%d gaps where nothing was lost", g)
	}
	return nil
}

func bytesBelow(dir string) (sum int64, err error) {
	err = filepath.WalkDir(dir, func(_ string, d fs.DirEntry, err error) error {
		if err != nil || d.IsDir() {
			return err
		}
		info, err := d.Info()
		if err == nil {
			sum += info.Size()
		}
		return err
	})
	return sum, err
}
