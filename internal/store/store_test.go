package store

import (
	"context"
	"errors"
	"fmt"
	"path/filepath"
	"sync"
	"testing"
	"time"

	"github.com/pastcone/pastcone/event"
	"github.com/pastcone/pastcone/internal/query"
	"github.com/pastcone/pastcone/internal/store/shape"
	"github.com/pastcone/pastcone/internal/wire"
)

var _ query.Reader = (*Snapshot)(nil)

// recording is a writer under test with what it was given.
type recording struct {
	w      *Writer
	gen    *shape.Generator
	blocks []*wire.Block
}

func (r *recording) add(t testing.TB, rows int) *wire.Block {
	t.Helper()
	b := r.gen.Block(rows)
	if err := r.w.Publish(context.Background(), b); err != nil {
		t.Fatal(err)
	}
	if err := r.w.Write(b); err != nil {
		t.Fatal(err)
	}
	r.blocks = append(r.blocks, b)
	return b
}

func (r *recording) end() event.ID {
	b := r.blocks[len(r.blocks)-1]
	return b.Base + event.ID(len(b.Rows))
}

func (r *recording) wait(t testing.TB) {
	t.Helper()
	if err := r.w.WaitDurable(context.Background(), r.end()-1); err != nil {
		t.Fatal(err)
	}
}

// record opens a recording and a generator for it.
func record(t testing.TB, path string, o Options, s shape.Shape) *recording {
	t.Helper()
	w, err := Open(path, o)
	if err != nil {
		t.Fatal(err)
	}
	source, err := w.AddSource(SourceInfo{Name: "test", Format: "made up"})
	if err != nil {
		t.Fatal(err)
	}
	g, err := shape.New(w.Table(), source, w.NextID(), s)
	if err != nil {
		t.Fatal(err)
	}
	return &recording{w: w, gen: g}
}

var small = shape.Shape{Streams: 20, Funcs: 30}

// checkHolds checks that a snapshot holds exactly these blocks' rows, by block and by row.
func checkHolds(t testing.TB, s *Snapshot, blocks []*wire.Block) {
	t.Helper()
	var got, want wire.Columns
	next := event.ID(0)
	for _, b := range blocks {
		if len(b.Rows) == 0 {
			continue
		}
		if next == 0 {
			next = b.Base
		}
		if b.Base != next {
			t.Fatalf("block %d, want %d", b.Base, next)
		}
		next += event.ID(len(b.Rows))
		b.Columns(0, len(b.Rows), wire.ColAll, &want)
		if err := s.Read(b.Base, wire.ColAll, &got); err != nil {
			t.Fatal(err)
		}
		if err := sameColumns(&got, &want); err != nil {
			t.Fatalf("block %d: %v", b.Base, err)
		}
		for _, row := range []int{0, len(b.Rows) / 2, len(b.Rows) - 1} {
			id := b.Base + event.ID(row)
			i, err := s.ReadRow(id, wire.ColAll, &got)
			if err != nil {
				t.Fatal(err)
			}
			var g, w event.Event
			if err := errors.Join(got.Event(i, s.Table(), &g), b.Event(row, s.Table(), &w)); err != nil {
				t.Fatal(err)
			}
			if fmt.Sprint(g) != fmt.Sprint(w) {
				t.Fatalf("event %d:\n got %v\nwant %v", id, g, w)
			}
		}
	}
	if _, end := s.Range(); end != next {
		t.Fatalf("ends with id %d, want %d", end, next)
	}
	n := 0
	for _, info := range s.Blocks(wire.Prune{}) {
		n += info.Rows
	}
	if n != int(next-blocks[0].Base) {
		t.Fatalf("%d rows in all blocks", n)
	}
}

func TestARecordingGivesBackWhatWasWrittenNowLaterAndToOthers(t *testing.T) {
	dir := filepath.Join(t.TempDir(), "rec")
	r := record(t, dir, Options{SegmentBytesMax: 100 << 10}, small)
	defer func() { _ = r.w.Close() }()
	for range 40 {
		r.add(t, 1000)
	}
	head := r.w.Snapshot()
	checkHolds(t, head, r.blocks)
	r.wait(t)
	durable := r.w.Snapshot()
	checkHolds(t, durable, r.blocks)
	if durable.Durable() != r.end() {
		t.Errorf("durable up to %d, want %d", durable.Durable(), r.end())
	}

	other, err := OpenReader(dir)
	if err != nil {
		t.Fatal(err)
	}
	live := other.Snapshot()
	checkHolds(t, live, r.blocks)
	if live.Durable() != r.end() {
		t.Errorf("another process sees it durable up to %d, want %d", live.Durable(), r.end())
	}
	r.add(t, 500)
	r.wait(t)
	later := other.Snapshot()
	checkHolds(t, later, r.blocks)
	checkHolds(t, live, r.blocks[:40])

	if err := r.w.Close(); err != nil {
		t.Fatal(err)
	}
	checkHolds(t, head, r.blocks[:40])
	checkHolds(t, other.Snapshot(), r.blocks)
	again, err := OpenReader(dir)
	if err != nil {
		t.Fatal(err)
	}
	closed := again.Snapshot()
	checkHolds(t, closed, r.blocks)
	for _, s := range []*Snapshot{head, durable, live, later, closed} {
		if err := s.Close(); err != nil {
			t.Error(err)
		}
	}
	if err := errors.Join(other.Close(), again.Close()); err != nil {
		t.Error(err)
	}
}

func TestARecordingGoesOnWhereItWasClosed(t *testing.T) {
	dir := t.TempDir()
	var blocks []*wire.Block
	for range 4 {
		r := record(t, dir, Options{}, small)
		for range 3 {
			r.add(t, 700)
		}
		blocks = append(blocks, r.blocks...)
		if err := r.w.Close(); err != nil {
			t.Fatal(err)
		}
	}
	w, err := Open(dir, Options{})
	if err != nil {
		t.Fatal(err)
	}
	defer func() { _ = w.Close() }()
	s := w.Snapshot()
	defer func() { _ = s.Close() }()
	checkHolds(t, s, blocks)
	if len(w.Sources()) != 4 || w.Sources()[3].ID != 4 {
		t.Errorf("sources %v", w.Sources())
	}
}

func TestManyWritersInAnyOrder(t *testing.T) {
	r := record(t, t.TempDir(), Options{CommitInterval: time.Millisecond}, small)
	ch := make(chan *wire.Block, 100)
	var wg sync.WaitGroup
	for range 4 {
		wg.Go(func() {
			for b := range ch {
				if err := r.w.Write(b); err != nil {
					t.Error(err)
				}
			}
		})
	}
	for range 200 {
		b := r.gen.Block(300)
		if err := r.w.Publish(context.Background(), b); err != nil {
			t.Fatal(err)
		}
		r.blocks = append(r.blocks, b)
		ch <- b
	}
	close(ch)
	wg.Wait()
	r.wait(t)
	s := r.w.Snapshot()
	checkHolds(t, s, r.blocks)
	_ = s.Close()
	if err := r.w.Close(); err != nil {
		t.Fatal(err)
	}
}
