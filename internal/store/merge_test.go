package store

import (
	"context"
	"errors"
	"slices"
	"strings"
	"sync/atomic"
	"syscall"
	"testing"
	"time"

	"github.com/pastcone/pastcone/event"
	"github.com/pastcone/pastcone/internal/wire"
)

// checkMerged checks that a snapshot has these blocks' rows and late edges, wherever they lie by now.
func checkMerged(t *testing.T, s *Snapshot, blocks []*wire.Block) {
	t.Helper()
	var got, want wire.Columns
	for _, b := range blocks {
		if len(b.Rows) > 0 {
			b.Columns(0, len(b.Rows), wire.ColAll, &want)
			if err := readSpan(s, b.Base, len(b.Rows), wire.ColAll, &got); err != nil {
				t.Fatal(err)
			}
			if err := sameColumns(&got, &want); err != nil {
				t.Fatalf("block %d: %v", b.Base, err)
			}
		}
		for _, l := range b.Late {
			if !slices.Contains(s.LateCauses(l.Effect), l.Edge) {
				t.Fatalf("the late edge to %d is gone: %v", l.Effect, s.LateCauses(l.Effect))
			}
		}
	}
	checkPruning(t, s)
}

// One event a commit: before the segment is sealed each costs a block, afterwards they share a few. Who has a snapshot of before keeps it.
func TestATrickleOfEventsIsMergedWhenItsSegmentIsSealed(t *testing.T) {
	path := t.TempDir()
	r := record(t, path, Options{CommitInterval: 1}, small)
	const events = 3000
	for i := range events {
		b := r.gen.Block(1)
		if i%500 == 300 {
			b.Late = []wire.LateEdge{{Effect: b.Base - 20, Edge: wire.Edge{Cause: b.Base - 3, P: 1, Kind: event.EdgeWake}}}
		}
		if err := errors.Join(r.w.Publish(context.Background(), b), r.w.Write(b)); err != nil {
			t.Fatal(err)
		}
		r.blocks = append(r.blocks, b)
		if i%100 == 0 { // so that there is more than one group
			r.wait(t)
		}
	}
	// A block may have late edges alone.
	only := &wire.Block{Base: r.end(), Late: []wire.LateEdge{{Effect: 7, Edge: wire.Edge{Cause: 9, P: 1, Kind: event.EdgeLock}}}}
	if err := errors.Join(r.w.Publish(context.Background(), only), r.w.Write(only)); err != nil {
		t.Fatal(err)
	}
	r.blocks = append(r.blocks, only)
	r.wait(t)

	other, err := OpenReader(path)
	if err != nil {
		t.Fatal(err)
	}
	defer func() { _ = other.Close() }()
	early := other.Snapshot()
	defer func() { _ = early.Close() }()
	before := r.w.Snapshot()
	if before.BlockCount() != events {
		t.Fatalf("%d blocks", before.BlockCount())
	}
	if before.live.s == nil {
		t.Fatal("there is no open segment")
	}
	oldName := before.live.s.name
	last := before.live.entries[len(before.live.entries)-1]
	apart := last.off + int64(last.length)
	if err := r.w.Close(); err != nil {
		t.Fatal(err)
	}
	if n := r.w.Stats().Merged; n < events-10 {
		t.Errorf("%d blocks were merged", n)
	}
	checkMerged(t, before, r.blocks)
	if names, _ := (osDir{path}).Names(); !slices.Contains(names, oldName) {
		t.Error("the file of a snapshot that is open was removed")
	}
	_ = before.Close()
	if names, _ := (osDir{path}).Names(); slices.Contains(names, oldName) {
		t.Errorf("the old file stays: %v", names)
	}

	reader, err := OpenReader(path)
	if err != nil {
		t.Fatal(err)
	}
	defer func() { _ = reader.Close() }()
	after := reader.Snapshot()
	defer func() { _ = after.Close() }()
	checkMerged(t, after, r.blocks)
	if n := after.BlockCount(); n != 1 {
		t.Errorf("%d blocks", n)
	}
	t.Logf("one event a commit: %.0f B an event, merged and with the index %.1f", float64(apart)/events, float64(after.Bytes())/events)
	if after.Bytes() > apart/8 {
		t.Errorf("%d bytes, merged and with the index %d", apart, after.Bytes())
	}
	report := verifyPath(t, path)
	if !report.OK() || report.Events != events {
		t.Errorf("verify: %+v", report)
	}

	// A reader of another process that had the old file keeps what it has, and goes on to the new one.
	checkMerged(t, early, r.blocks)
	late, err := other.Fresh()
	if err != nil {
		t.Fatal(err)
	}
	defer func() { _ = late.Close() }()
	checkMerged(t, late, r.blocks)
	if late.BlockCount() != 1 {
		t.Error("it does not see the merged segment")
	}
}

// Large blocks are taken over as they are, and split what is merged.
func TestMergingKeepsLargeBlocksAsTheyAre(t *testing.T) {
	dir := newMemDir()
	r := recordIn(t, dir, Options{mergeSavedMin: 1})
	sizes := []int{10, 20, 5000, 30, 2047, 2047, 2047, 2047, 2048, 7, 1, 8192, 40, 3}
	for _, n := range sizes {
		r.add(t, n)
	}
	r.wait(t)
	if err := r.w.Close(); err != nil {
		t.Fatal(err)
	}
	reader, err := openReader(dir)
	if err != nil {
		t.Fatal(err)
	}
	s := reader.Snapshot()
	checkMerged(t, s, r.blocks)
	var rows []int
	for _, b := range s.Blocks(wire.Prune{}) {
		rows = append(rows, b.Rows)
	}
	if want := []int{30, 5000, 30 + 3*2047, 2047, 2048, 8, 8192, 43}; !slices.Equal(rows, want) {
		t.Errorf("blocks of %v rows, want %v", rows, want)
	}
	_ = s.Close()
	report, err := verify(context.Background(), reader, nil)
	if err != nil || !report.OK() {
		t.Errorf("verify: %v, %v", errors.Join(problems(report)...), err)
	}
}

// What is merged needs of the string table what its blocks needed, not what the table holds by now.
func TestMergedBlocksNeedNoMoreOfTheStringTable(t *testing.T) {
	dir := newMemDir()
	r := recordIn(t, dir, Options{mergeSavedMin: 1, SegmentBytesMax: 4 << 10})
	for i := range 12 {
		r.add(t, 20)
		r.wait(t)
		if _, err := r.w.Table().Intern("text " + string(rune('a'+i))); err != nil {
			t.Fatal(err)
		}
	}
	r.w.abandon() // with texts that are in no file
	if r.w.Stats().Merged == 0 {
		t.Fatal("nothing was merged")
	}
	reader, err := openReader(dir)
	if err != nil {
		t.Fatal(err)
	}
	s := reader.Snapshot()
	checkMerged(t, s, r.blocks)
	_ = s.Close()
	if d := reader.Damages(); len(d) > 0 {
		t.Errorf("texts are missed: %v", d[0])
	}
}

// Where merging is not possible, the segment is sealed as it is, nothing is lost, and nothing is left over.
func TestASegmentThatCanNotBeMergedIsSealedAsItIs(t *testing.T) {
	for story, harm := range map[string]func(d *memDir, old, merged string){
		"a block is damaged": func(d *memDir, old, _ string) {
			d.names[old].data[segmentHeadBytes+400] ^= 1
		},
		"no other file can be made":    func(d *memDir, _, _ string) { d.setFail(failing("create", segmentPrefix, 1, syscall.ENOSPC)) },
		"the other file is cut short":  func(d *memDir, _, merged string) { d.setFail(failingAfter("write", merged, 1, syscall.EIO)) },
		"its index can not be synced":  func(d *memDir, _, merged string) { d.setFail(failingAfter("sync", merged, 1, syscall.EIO)) },
		"the other can not be mapped":  func(d *memDir, _, merged string) { d.setFail(failing("map", merged, 1, syscall.ENOMEM)) },
		"the manifest is not replaced": func(d *memDir, _, _ string) { d.setFail(failingAfter("rename", manifestName, 1, syscall.EIO)) },
	} {
		t.Run(story, func(t *testing.T) {
			dir := newMemDir()
			r := recordIn(t, dir, Options{})
			for range 12 {
				r.add(t, 20)
			}
			r.wait(t)
			r.w.abandon()
			m, err := readManifest(dir)
			if err != nil {
				t.Fatal(err)
			}
			old, merged := m.Segments[0].File, segmentName(m.NextFile)
			harm(dir, old, merged)
			w, err := Open("", Options{fs: dir, mergeSavedMin: 1})
			if err != nil {
				t.Fatal(err)
			}
			for range 5000 { // closing writes a manifest of its own
				if w.Stats().Sealed > 0 {
					break
				}
				time.Sleep(time.Millisecond)
			}
			if err := w.Close(); err != nil {
				t.Fatal(err)
			}
			if n := w.Stats(); n.Merged != 0 || n.Sealed != 1 {
				t.Errorf("%d merged, %d sealed", n.Merged, n.Sealed)
			}
			reader, err := openReader(dir)
			if err != nil {
				t.Fatal(err)
			}
			defer func() { _ = reader.Close() }()
			s := reader.Snapshot()
			defer func() { _ = s.Close() }()
			blocks := r.blocks
			if story == "a block is damaged" {
				blocks = blocks[1:]
			}
			checkMerged(t, s, blocks)
			if s.BlockCount() != len(r.blocks) || !s.view.segs[0].sealed || s.view.segs[0].s.name != old {
				t.Errorf("%d blocks, %+v", s.BlockCount(), s.view.segs[0])
			}
			if names, _ := dir.Names(); slices.Contains(names, merged) && !strings.HasPrefix(story, "the manifest") {
				t.Errorf("a file is left over: %v", names)
			}
		})
	}
}

// failingAfter lets so many operations of that kind on files with that prefix pass, and the next one fail.
func failingAfter(op, prefix string, passes int64, err error) func(string, string) error {
	var seen atomic.Int64
	return func(o, name string) error {
		if o == op && strings.HasPrefix(name, prefix) && seen.Add(1) == passes+1 {
			return err
		}
		return nil
	}
}
