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
	"runtime"
	rt "runtime/trace"
	"slices"
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
	if b.Done != nil { // as a recorder that keeps up: the batch goes back to its source
		b.Done(event.ID(n.events)) // #nosec G115 -- a count
	}
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

// traceTurns is how often each of the two readers of traces reads the same one.
const traceTurns = 9

// traces measures the reading of a Go execution trace against the bare reader of x/exp/trace: in turns, each of them first in every
// other one, from the same state of memory, after one turn of each that does not count. The share is the middle of the turns'
// shares, so that what else the machine does for a while hits both.
func traces(s settings) (map[string]float64, error) {
	var text bytes.Buffer
	if err := rt.Start(&text); err != nil {
		return nil, err
	}
	traced(8000)
	rt.Stop()
	events, produced := 0, 0
	readers := [2]struct {
		read     func() error
		took     durations
		computed time.Duration
	}{
		{read: func() (err error) { events, err = readBare(text.Bytes()); return err }},
		{read: func() error {
			sink := &nowhere{table: wire.NewTable(64 << 20)}
			_, err := gotrace.Read(context.Background(), bytes.NewReader(text.Bytes()), "bench.trace", gotrace.Options{}, sink)
			produced = sink.events
			return err
		}},
	}
	var shares []float64
	for turn := range traceTurns + 1 {
		var took [2]time.Duration
		for k := range readers {
			who := (turn + k) % 2
			runtime.GC() // what was before is not on the account of whoever comes next
			began, computed := time.Now(), processorTime()
			if err := readers[who].read(); err != nil {
				return nil, err
			}
			took[who] = time.Since(began)
			if turn > 0 {
				readers[who].took = append(readers[who].took, took[who])
				readers[who].computed += processorTime() - computed
			}
		}
		if turn > 0 {
			shares = append(shares, took[0].Seconds()/took[1].Seconds())
		}
	}
	slices.Sort(shares)
	bare, ours := readers[0], readers[1]
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
		"trace bare events/s":  float64(events) / bare.took.quantile(0.5).Seconds(),
		"trace events/s":       float64(events) / ours.took.quantile(0.5).Seconds(),
		"trace bare cpu ns":    float64(bare.computed.Nanoseconds()) / float64(traceTurns*events),
		"trace cpu ns":         float64(ours.computed.Nanoseconds()) / float64(traceTurns*events),
		"trace share":          100 * shares[len(shares)/2],
		"trace whole events/s": float64(events) / whole.Seconds(),
		"trace produced":       float64(produced),
	}, r.Close(context.Background())
}

// readBare reads a trace with the reader of x/exp/trace alone, and counts its events.
func readBare(text []byte) (events int, err error) {
	r, err := trace.NewReader(bytes.NewReader(text))
	if err != nil {
		return 0, err
	}
	for {
		if _, err = r.ReadEvent(); err != nil {
			break
		}
		events++
	}
	if err != io.EOF {
		return events, err
	}
	return events, nil
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
