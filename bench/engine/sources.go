package main

import (
	"bufio"
	"bytes"
	"context"
	"errors"
	"fmt"
	"io"
	"os"
	"path/filepath"
	rt "runtime/trace"
	"sync"
	"time"

	"golang.org/x/exp/trace"

	"github.com/pastcone/pastcone/bench/busy"
	"github.com/pastcone/pastcone/event"
	"github.com/pastcone/pastcone/internal/recorder"
	"github.com/pastcone/pastcone/internal/source"
	"github.com/pastcone/pastcone/internal/source/gotrace"
	"github.com/pastcone/pastcone/internal/source/ndjson"
	"github.com/pastcone/pastcone/internal/wire"
)

// nowhere is a sink that only counts.
type nowhere struct {
	table  *wire.Table
	events int
}

func (n *nowhere) Table() *wire.Table { return n.table }
func (n *nowhere) Push(_ context.Context, b *wire.Batch) error {
	n.events += b.Len()
	return nil
}
func (n *nowhere) Reject(r source.Rejected) error { return r }

// lines measures how fast event lines are read from a file: by the reader alone, and into a recording.
func lines(s settings) (map[string]float64, error) {
	path := filepath.Join(s.Dir, "busy.ndjson")
	bytes, err := writeLines(path, s.Lines)
	if err != nil {
		return nil, err
	}
	defer func() { _ = os.Remove(path) }()
	read := func(sink source.Sink) (ndjson.Stats, error) {
		f, err := os.Open(path) // #nosec G304 -- ours
		if err != nil {
			return ndjson.Stats{}, err
		}
		defer func() { _ = f.Close() }()
		st, err := ndjson.Read(context.Background(), f, path, ndjson.Options{}, sink)
		if err == nil && st.Events != int64(s.Lines) {
			err = fmt.Errorf("%d lines gave %+v", s.Lines, st)
		}
		return st, err
	}
	got := map[string]float64{"bytes a line": float64(bytes) / float64(s.Lines)}
	if _, err := read(&nowhere{table: wire.NewTable(1 << 26)}); err != nil { // once to warm up
		return nil, err
	}
	began := time.Now()
	if _, err := read(&nowhere{table: wire.NewTable(1 << 26)}); err != nil {
		return nil, err
	}
	got["lines/s, reader alone"] = float64(s.Lines) / time.Since(began).Seconds()

	dir := filepath.Join(s.Dir, "lines")
	defer func() { _ = os.RemoveAll(dir) }()
	r, err := recorder.Open(dir, recorder.Options{})
	if err != nil {
		return nil, err
	}
	began, computed := time.Now(), processorTime()
	in, err := r.Source(recorder.Spec{Name: "lines", Finite: true})
	if err != nil {
		return nil, err
	}
	if _, err := read(in); err != nil {
		return nil, err
	}
	if err := in.Close(context.Background(), true); err != nil {
		return nil, err
	}
	got["lines/s"] = float64(s.Lines) / time.Since(began).Seconds()
	got["lines cpu ns"] = float64((processorTime() - computed).Nanoseconds()) / float64(s.Lines)
	if err := settled(r, s.Lines); err != nil {
		return nil, err
	}
	return got, r.Close(context.Background())
}

// writeLines writes that many events as lines.
func writeLines(path string, n int) (size int64, err error) {
	f, err := os.Create(path) // #nosec G304 -- ours
	if err != nil {
		return 0, err
	}
	w := bufio.NewWriterSize(f, 1<<20)
	table := wire.NewTable(1 << 26)
	p, err := busy.New(1, table)
	if err != nil {
		return 0, err
	}
	var b wire.Batch
	var line []byte
	for n > 0 {
		b.Reset()
		p.Fill(&b, 1024)
		at := 0
		for _, run := range b.Runs {
			for range run.Len {
				var e event.Event
				if err := b.Event(at, run.Stream, table, &e); err != nil {
					return 0, err
				}
				at++
				line = append(event.AppendLine(line[:0], &e), '\n')
				if n--; n >= 0 {
					size += int64(len(line))
					if _, err := w.Write(line); err != nil {
						return 0, err
					}
				}
			}
		}
	}
	return size, errors.Join(w.Flush(), f.Close())
}

// traces measures the reading of a Go execution trace against the bare reader of x/exp/trace, in turns.
func traces(s settings) (map[string]float64, error) {
	var text bytes.Buffer
	if err := rt.Start(&text); err != nil {
		return nil, err
	}
	traced(8000)
	rt.Stop()
	var bare, ours durations
	var bareComputed, ourComputed time.Duration
	events, produced := 0, 0
	for range 5 {
		began, computed := time.Now(), processorTime()
		r, err := trace.NewReader(bytes.NewReader(text.Bytes()))
		if err != nil {
			return nil, err
		}
		events = 0
		for {
			if _, err = r.ReadEvent(); err != nil {
				break
			}
			events++
		}
		if err != io.EOF {
			return nil, err
		}
		bare = append(bare, time.Since(began))
		bareComputed += processorTime() - computed
		began, computed = time.Now(), processorTime()
		sink := &nowhere{table: wire.NewTable(64 << 20)}
		if _, err := gotrace.Read(context.Background(), bytes.NewReader(text.Bytes()), "bench.trace", gotrace.Options{}, sink); err != nil {
			return nil, err
		}
		ours = append(ours, time.Since(began))
		ourComputed += processorTime() - computed
		produced = sink.events
	}
	dir := filepath.Join(s.Dir, "trace")
	defer func() { _ = os.RemoveAll(dir) }()
	r, err := recorder.Open(dir, recorder.Options{})
	if err != nil {
		return nil, err
	}
	began := time.Now()
	in, err := r.Source(recorder.Spec{Name: "trace", Finite: true})
	if err != nil {
		return nil, err
	}
	if _, err := gotrace.Read(context.Background(), bytes.NewReader(text.Bytes()), "bench.trace", gotrace.Options{}, in); err != nil {
		return nil, err
	}
	if err := in.Close(context.Background(), true); err != nil {
		return nil, err
	}
	whole := time.Since(began)
	return map[string]float64{
		"trace bare events/s":  float64(events) / bare.quantile(0.5).Seconds(),
		"trace events/s":       float64(events) / ours.quantile(0.5).Seconds(),
		"trace bare cpu ns":    float64(bareComputed.Nanoseconds()) / float64(5*events),
		"trace cpu ns":         float64(ourComputed.Nanoseconds()) / float64(5*events),
		"trace share":          100 * bare.quantile(0.5).Seconds() / ours.quantile(0.5).Seconds(),
		"trace whole events/s": float64(events) / whole.Seconds(),
		"trace produced":       float64(produced),
	}, r.Close(context.Background())
}

// traced is a program to trace: workers behind a queue, replies, a lock, and goroutines that live shortly.
func traced(rounds int) {
	type job struct{ reply chan int }
	jobs := make(chan job)
	var running, asking sync.WaitGroup
	var mu sync.Mutex
	done := 0
	for range 8 {
		running.Go(func() {
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
		asking.Go(func() {
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
	asking.Wait()
	close(jobs)
	running.Wait()
}
