package store

import (
	"bytes"
	"context"
	"errors"
	"log/slog"
	"slices"
	"strings"
	"testing"
	"time"

	"github.com/pastcone/pastcone/event"
	"github.com/pastcone/pastcone/internal/store/shape"
	"github.com/pastcone/pastcone/internal/wire"
)

// workload is what a writer does in the crash tests: new texts all the time, segments that are
// full after a few blocks, late edges, sources, retention, a close in the middle. It notes what was acknowledged.
type workload struct {
	blocks  []*wire.Block // published, in order
	acked   event.ID      // everything below was said to be durable
	sources int           // so many were said to be added
	removed event.ID      // retention has removed everything below
}

func crashOptions(dir fsys, log *bytes.Buffer) Options {
	return Options{
		CommitInterval: 1, SegmentBytesMax: 6 << 10, mergeSavedMin: 1, fs: dir, now: func() time.Time { return time.Unix(1e9, 0) },
		Log: slog.New(slog.NewTextHandler(log, &slog.HandlerOptions{Level: slog.LevelError})),
	}
}

// run works until it is done or the power fails. Errors end it: what matters is what was acknowledged.
func (l *workload) run(dir fsys, rounds int) {
	var log bytes.Buffer
	for round := range rounds {
		o := crashOptions(dir, &log)
		o.RetainBytesMax = 9 << 10
		w, err := Open("", o)
		if err != nil {
			return
		}
		if !l.session(w, round) {
			w.abandon()
			return
		}
		if w.Close() != nil {
			return
		}
		l.acked = w.Durable()
	}
}

func (l *workload) session(w *Writer, round int) bool {
	if _, err := w.AddSource(SourceInfo{Name: "s", Format: "f"}); err != nil {
		return false
	}
	l.sources++
	g, err := shape.New(w.Table(), 1, w.NextID(), shape.Shape{Streams: 4, Funcs: 25, CorrelationMean: 8, Seed: uint64(round)})
	if err != nil {
		return false
	}
	for i := range 7 {
		if _, err := w.Table().Intern(strings.Repeat("new text ", 3) + string(rune('a'+round)) + string(rune('a'+i))); err != nil {
			return false
		}
		b := g.Block(20 + 30*(i%3))
		if b.Base > 40 {
			b.Late = append(b.Late, wire.LateEdge{Effect: b.Base - 30, Edge: wire.Edge{Cause: b.Base - 7, P: 1, Kind: event.EdgeMessage}})
		}
		if w.Publish(context.Background(), b) != nil || w.Write(b) != nil {
			return false
		}
		l.blocks = append(l.blocks, b)
		id := b.Base + event.ID(len(b.Rows)) - 1
		if i%2 == 0 { // every other block shares its commit with the next
			if w.WaitDurable(context.Background(), id) != nil {
				return false
			}
			l.acked = id + 1
		}
	}
	return true
}

// abandon ends a writer as a crash would, without writing anything more.
func (w *Writer) abandon() {
	w.setFailed(ErrFailed)
	w.mu.Lock()
	w.closing = true
	w.mu.Unlock()
	w.wakeCommitter()
	<-w.committed
	_ = w.sealing.stop()
	_ = w.letGo()
}

// check opens what the crash has left, compares it with what was acknowledged, goes on with it, and verifies it.
func (l *workload) check(t *testing.T, dir *memDir) {
	t.Helper()
	var log bytes.Buffer
	w, err := Open("", crashOptions(dir, &log))
	if err != nil {
		t.Fatalf("open: %v", err)
	}
	s := w.Snapshot()
	first, end := s.Range()
	if end < l.acked {
		t.Fatalf("it ends at %d, and %d was acknowledged", end, l.acked)
	}
	if got := len(w.Sources()); got < l.sources {
		t.Fatalf("%d sources, %d were acknowledged", got, l.sources)
	}
	l.compare(t, s, first, end)
	_ = s.Close()
	l.removed = max(l.removed, first)
	// It goes on, and what it has is in order.
	if !l.upTo(end).session(w, 20) {
		t.Fatal("it does not go on")
	}
	if err := w.Close(); err != nil {
		t.Fatal(err)
	}
	if strings.Contains(log.String(), "damaged") {
		t.Fatalf("a crash was taken for damage: %s", log.String())
	}
	r, err := openReader(dir)
	if err != nil {
		t.Fatal(err)
	}
	report, err := verify(context.Background(), r, nil)
	if err != nil || !report.OK() {
		t.Fatalf("verify: %v, %v", err, errors.Join(problems(report)...))
	}
}

// upTo is the workload of a recording that ends with that id: blocks that were never durable are not part
// of it, their ids are used anew.
func (l *workload) upTo(end event.ID) *workload {
	c := *l
	c.blocks = slices.Clone(l.blocks)
	for len(c.blocks) > 0 && c.blocks[len(c.blocks)-1].Base >= end {
		c.blocks = c.blocks[:len(c.blocks)-1]
	}
	return &c
}

func problems(r Report) (errs []error) {
	for _, p := range r.Problems {
		errs = append(errs, p)
	}
	return errs
}

// readSpan reads so many rows from an id on, which lie in one block: maybe together with others, when blocks were merged.
func readSpan(s *Snapshot, base event.ID, n int, want wire.ColumnSet, into *wire.Columns) error {
	infos := s.Blocks(wire.Prune{IDMin: base, IDMax: base})
	if n == 0 || len(infos) != 1 {
		return s.Read(base, want, into)
	}
	rows := make([]uint16, n)
	for i := range rows {
		rows[i] = uint16(int(base-infos[0].Base) + i)
	}
	err := s.ReadRows(base, rows, want, into)
	into.Base = base
	return err
}

// compare checks that ids from first up to end are the published events.
func (l *workload) compare(t *testing.T, s *Snapshot, first, end event.ID) {
	t.Helper()
	var got, want wire.Columns
	for _, b := range l.blocks {
		stop := b.Base + event.ID(len(b.Rows))
		if stop <= first || b.Base >= end {
			continue
		}
		if b.Base < first || stop > end {
			t.Fatalf("block %d to %d was torn apart: the recording has %d to %d", b.Base, stop, first, end)
		}
		b.Columns(0, len(b.Rows), wire.ColAll, &want)
		if err := readSpan(s, b.Base, len(b.Rows), wire.ColAll, &got); err != nil {
			t.Fatal(err)
		}
		if err := sameColumns(&got, &want); err != nil {
			t.Fatalf("block %d: %v", b.Base, err)
		}
		for i := range b.Rows {
			if got, want := s.Table().NameOf(b.Rows[i].Stream), "g"; !strings.HasPrefix(got, want) {
				t.Fatalf("event %d: stream %q", b.Base+event.ID(i), got)
			}
		}
		for _, e := range b.Late {
			if found := s.LateCauses(e.Effect); len(found) != 1 || found[0] != e.Edge {
				t.Fatalf("late edge to %d: %v", e.Effect, found)
			}
		}
	}
}

func TestACrashAtAnyMomentLosesNothingAcknowledgedAndInventsNothing(t *testing.T) {
	const rounds = 3
	dry := newMemDir()
	(&workload{}).run(dry, rounds)
	if dry.ops < 200 {
		t.Fatalf("the workload makes only %d changes", dry.ops)
	}
	step := 1
	if testing.Short() {
		step = 11
	}
	removed := event.ID(0)
	for at := 1; at <= dry.ops+5; at += step {
		dir := newMemDir()
		dir.crashAt = at
		l := &workload{}
		l.run(dir, rounds)
		for i, mode := range []string{"lost", "kept", "torn", "torn"} {
			after := dir.crash(mode, uint64(at*10+i))
			l.check(t, after)
			if t.Failed() {
				t.Fatalf("crash at change %d, %s", at, mode)
			}
		}
		// The power fails again while it recovers.
		again := dir.crash("torn", uint64(at))
		again.crashAt = 1 + at%12
		var log bytes.Buffer
		if w, err := Open("", crashOptions(again, &log)); err == nil {
			w.abandon()
		}
		l.check(t, again.crash("torn", uint64(at+1)))
		if t.Failed() {
			t.Fatalf("crash at change %d, and once more", at)
		}
		// Only the process dies; another goes on, and then the power fails.
		dir.revive()
		if w, err := Open("", crashOptions(dir, &log)); err == nil {
			next := l.upTo(w.NextID())
			dir.mu.Lock()
			dir.crashAt = dir.ops + 1 + at%40
			dir.mu.Unlock()
			next.session(w, 30)
			w.abandon()
			next.check(t, dir.crash([]string{"lost", "torn"}[at%2], uint64(at)))
		}
		if t.Failed() {
			t.Fatalf("the process dies at change %d, the power fails later", at)
		}
		removed = max(removed, l.removed)
	}
	if removed < 100 {
		t.Errorf("retention removed nothing beyond %d in all of this", removed)
	}
}
