package capture

import (
	"bytes"
	"context"
	"errors"
	"fmt"
	"os"
	"path/filepath"
	"strings"
	"testing"
	"time"

	"go.uber.org/goleak"

	"github.com/pastcone/pastcone/event"
	"github.com/pastcone/pastcone/internal/source"
	"github.com/pastcone/pastcone/internal/wire"
)

func TestMain(m *testing.M) {
	if path := os.Getenv(childRing); path != "" {
		child(path)
		return
	}
	goleak.VerifyTestMain(m)
}

// kept is a sink that keeps everything, in the order in which a correlator would see it.
type kept struct {
	table   *wire.Table
	events  []event.Event
	batches int
	rejects []source.Rejected
	pushErr error
}

func newKept() *kept { return &kept{table: wire.NewTable(64 << 20)} }

func (k *kept) Table() *wire.Table { return k.table }

func (k *kept) Push(_ context.Context, b *wire.Batch) error {
	if k.pushErr != nil {
		return k.pushErr
	}
	k.batches++
	i := 0
	for _, run := range b.Runs {
		for range run.Len {
			var e event.Event
			if err := b.Event(i, run.Stream, k.table, &e); err != nil {
				return err
			}
			k.events = append(k.events, e)
			i++
		}
	}
	if i != len(b.Records) {
		return errors.New("the runs' lengths do not add up to the records")
	}
	return nil
}

func (k *kept) Reject(r source.Rejected) error {
	r.Raw = append([]byte(nil), r.Raw...)
	k.rejects = append(k.rejects, r)
	return nil
}

// table writes a table of the simulated functions.
func functionTable(tb testing.TB) string {
	tb.Helper()
	var lines strings.Builder
	for i := 1; i <= simulatedFunctions; i++ {
		fmt.Fprintf(&lines, `{"id":%d,"func":"shop.f%d","file":"shop/shop.go","line":%d}`+"\n", i, i, 10*i)
	}
	path := filepath.Join(tb.TempDir(), "functions.ndjson")
	if err := os.WriteFile(path, []byte(lines.String()), 0o600); err != nil {
		tb.Fatal(err)
	}
	return path
}

// recording is a ring, a program and a collector that runs.
type recording struct {
	ring    *Ring
	program *simulated
	spool   string
	done    chan error
	stats   CollectStats

	collector *Collector
}

// collecting starts a collector for a simulated program in this same process. The process lives on after the program: so the collector
// is told by cancelling.
func collecting(tb testing.TB, ro RingOptions, co CollectOptions, ps int) (*recording, context.CancelFunc) {
	tb.Helper()
	ro.Functions = simulatedFunctions + 1
	ring, err := NewRing("", ro)
	if err != nil {
		tb.Fatal(err)
	}
	tb.Cleanup(func() {
		if err := ring.Close(); err != nil {
			tb.Error(err)
		}
	})
	r := &recording{ring: ring, spool: filepath.Join(tb.TempDir(), "spool.capture"), done: make(chan error, 1)}
	co.Spool = r.spool
	if co.Functions == "" {
		co.Functions = functionTable(tb)
	}
	if r.program, err = startProgram(ring.Path(), ps, testClock()); err != nil {
		tb.Fatal(err)
	}
	tb.Cleanup(func() { _ = r.program.close() })
	ctx, cancel := context.WithCancel(context.Background())
	c, err := NewCollector(ring, co)
	if err != nil {
		tb.Fatal(err)
	}
	r.collector = c
	go func() {
		err := c.Run(ctx)
		r.stats = c.Stats()
		r.done <- err
	}()
	return r, cancel
}

func readFile(tb testing.TB, path string) (*kept, Stats) {
	tb.Helper()
	text, err := os.ReadFile(path)
	if err != nil {
		tb.Fatal(err)
	}
	return readBytes(tb, text)
}

func readBytes(tb testing.TB, text []byte) (*kept, Stats) {
	tb.Helper()
	k := newKept()
	stats, err := Read(context.Background(), bytes.NewReader(text), "t.capture", Options{}, k)
	if err != nil {
		tb.Fatal(err)
	}
	return k, stats
}

// compare holds what was read against what the program knows: each event once, in order, with its number, and none that was
// not.
func compare(t *testing.T, k *kept, gs []*simulatedG) {
	t.Helper()
	if early, total := compareEvents(t, k, gs); early > total/1000 {
		t.Errorf("%d of %d events are before their cause", early, total)
	}
}

// compareEvents gives how many receives are before their sends, or without, and the number of all events.
func compareEvents(t *testing.T, k *kept, gs []*simulatedG) (early, total int) {
	t.Helper()
	next := map[string]int{}
	byName := map[string]*simulatedG{}
	for _, g := range gs {
		byName[fmt.Sprintf("g%d", g.id)] = g
	}
	sends := map[string]bool{}
	for i := range k.events {
		e := &k.events[i]
		if e.Stream == "pastcone" {
			continue
		}
		g := byName[e.Stream]
		if g == nil {
			t.Fatalf("an event of %s, which is no stream of the program", e.Stream)
		}
		at := next[e.Stream]
		for at < len(g.notes) && g.notes[at].lost {
			at++
		}
		if at >= len(g.notes) {
			t.Fatalf("%s: more events than the program recorded: %s", e.Stream, event.AppendLine(nil, e))
		}
		n := g.notes[at]
		next[e.Stream] = at + 1
		if e.Seq != uint64(at+1) || e.Kind != forms[n.kind].kind || e.Ordinal != n.ordinal {
			t.Fatalf("%s: got %s, want number %d, %v, ordinal %d", e.Stream, event.AppendLine(nil, e), at+1, forms[n.kind].kind, n.ordinal)
		}
		if n.function != 0 && e.Func != fmt.Sprintf("shop.f%d", n.function) {
			t.Fatalf("%s %d: function %s, want %d", e.Stream, e.Seq, e.Func, n.function)
		}
		if n.entity != 0 && e.Key != fmt.Sprintf("chan%d", n.entity&0xffff_ffff|n.entity>>32<<32) {
			t.Fatalf("%s %d: key %s, want %d", e.Stream, e.Seq, e.Key, n.entity)
		}
		message := fmt.Sprint(e.Key, " ", e.Ordinal)
		switch e.Kind {
		case event.KindSend:
			sends[message] = true
		case event.KindReceive:
			if !sends[message] {
				early++
			}
		}
	}
	for name, g := range byName {
		for at := next[name]; at < len(g.notes); at++ {
			if !g.notes[at].lost {
				t.Fatalf("%s: event %d is missing", name, at+1)
			}
		}
		total += len(g.notes) - g.lost
	}
	return early, total
}

func (r *recording) finish(t testing.TB, cancel context.CancelFunc) {
	t.Helper()
	cancel()
	select {
	case err := <-r.done:
		if err != nil {
			t.Fatal(err)
		}
	case <-time.After(30 * time.Second):
		t.Fatal("the collector does not end")
	}
}

func TestCollect_EveryEventOnceInOrderWhileGoroutinesMove(t *testing.T) {
	for _, c := range []struct {
		story string
		ps    int
		ring  RingOptions
		o     CollectOptions
	}{
		{"one P", 1, RingOptions{}, CollectOptions{CallsPerSecondMax: -1}},
		{"four Ps", 4, RingOptions{}, CollectOptions{CallsPerSecondMax: -1}},
		{"a ring so small that the program waits", 4, RingOptions{Bytes: RingBytesMin}, CollectOptions{CallsPerSecondMax: -1}},
	} {
		t.Run(c.story, func(t *testing.T) {
			r, cancel := collecting(t, c.ring, c.o, c.ps)
			w := newWork(r.program, 20, 5)
			w.run(1, 2000)
			r.finish(t, cancel)
			k, stats := readFile(t, r.spool)
			if len(k.rejects) > 0 {
				t.Fatalf("rejected: %v", k.rejects[0])
			}
			compare(t, k, w.gs)
			t.Logf("%d events, %d batches, %d frames, %d bytes, %d passes, waited %v", stats.Events, stats.Batches, stats.Frames, stats.InputBytes, r.stats.Passes, r.stats.Blocked)
			if stats.Torn || stats.Ended != "left running" || stats.Records == 0 || r.stats.Records < uint64(stats.Records) {
				t.Errorf("%+v\n%+v", stats, r.stats)
			}
		})
	}
}
