package store

import (
	"bytes"
	"context"
	"errors"
	"io/fs"
	"slices"
	"strings"
	"sync/atomic"
	"syscall"
	"testing"
	"time"

	"github.com/pastcone/pastcone/event"
	"github.com/pastcone/pastcone/internal/wire"
)

// recordIn is record on a directory in memory.
func recordIn(t *testing.T, dir *memDir, o Options) *recording {
	t.Helper()
	o.fs, o.CommitInterval = dir, 1
	if o.mergeSavedMin == 0 {
		o.mergeSavedMin = -1 // most tests are about blocks as they were written
	}
	return record(t, "", o, small)
}

// failing makes the next n operations of that kind on files with that prefix fail.
func failing(op, prefix string, n int64, err error) func(string, string) error {
	var left atomic.Int64
	left.Store(n)
	return func(o, name string) error {
		if o == op && strings.HasPrefix(name, prefix) && left.Add(-1) >= 0 {
			return err
		}
		return nil
	}
}

func (d *memDir) setFail(f func(string, string) error) {
	d.mu.Lock()
	defer d.mu.Unlock()
	d.fail = f
}

func (d *memDir) setSpace(n int64) {
	d.mu.Lock()
	defer d.mu.Unlock()
	d.space = n
}

// checkWhole closes the recording and checks that it holds all blocks, and nothing is wrong with it.
func checkWhole(t *testing.T, r *recording, dir *memDir) {
	t.Helper()
	if err := r.w.Close(); err != nil {
		t.Fatal(err)
	}
	checkOnDisk(t, dir, r.blocks)
}

func checkOnDisk(t *testing.T, dir *memDir, blocks []*wire.Block) {
	t.Helper()
	reader, err := openReader(dir)
	if err != nil {
		t.Fatal(err)
	}
	s := reader.Snapshot()
	checkHolds(t, s, blocks)
	_ = s.Close()
	report, err := verify(context.Background(), reader, nil)
	if err != nil || !report.OK() {
		t.Fatalf("verify: %v, %v", err, errors.Join(problems(report)...))
	}
}

func TestASyncThatFailsIsNeverTrustedAgain(t *testing.T) {
	for name, c := range map[string]struct {
		fault    func(string, string) error
		segments int
	}{
		"the sync of a segment":        {failing("sync", segmentPrefix, 1, syscall.EIO), 2},
		"two syncs of segments":        {failing("sync", segmentPrefix, 2, syscall.EIO), 2},
		"a write to a segment":         {failing("write", segmentPrefix, 1, syscall.EIO), 2},
		"a short write to a segment":   {failing("write", segmentPrefix, 1, shortWrite(100)), 2},
		"the sync of the texts":        {failing("sync", stringsPrefix, 1, syscall.EIO), 1},
		"a write to the texts":         {failing("write", stringsPrefix, 1, syscall.EIO), 1},
		"a short write to the texts":   {failing("write", stringsPrefix, 1, shortWrite(3)), 1},
		"the sync of the manifest":     {failing("sync", manifestName, 1, syscall.EIO), 2},
		"the sync of the directory":    {failing("sync directory", "", 1, syscall.EIO), 2},
		"the new name of the manifest": {failing("rename", manifestName, 1, syscall.EIO), 2},
	} {
		t.Run(name, func(t *testing.T) {
			dir := newMemDir()
			r := recordIn(t, dir, Options{SegmentBytesMax: 20 << 10})
			r.add(t, 300)
			r.wait(t)
			// A file that has failed is left alone: nobody knows what it holds.
			bad := map[string]bool{}
			dir.setFail(func(op, name string) error {
				if bad[name] && (op == "sync" || op == "write") {
					t.Errorf("%s of %s, which has failed before", op, name)
				}
				err := c.fault(op, name)
				if err != nil && !strings.HasPrefix(name, manifestName) {
					bad[name] = true
				}
				return err
			})
			for i := range 6 {
				if _, err := r.w.Table().Intern("new" + string(rune('a'+i))); err != nil {
					t.Fatal(err)
				}
				r.add(t, 300)
				r.wait(t) // acknowledged all the same: it was written again
			}
			if f := r.w.Stats().SyncFailures; f == 0 {
				t.Error("no failure was counted")
			}
			// What was acknowledged is there, whatever was lost of the file that failed.
			for seed := range uint64(3) {
				checkCrashed(t, dir.crash("torn", seed), r.blocks)
			}
			checkWhole(t, r, dir)
			if n := r.w.Stats().Segments; n < c.segments {
				t.Errorf("%d segments, want at least %d", n, c.segments)
			}
		})
	}
}

// checkCrashed opens what a crash has left and checks that it holds all blocks.
func checkCrashed(t *testing.T, dir *memDir, blocks []*wire.Block) {
	t.Helper()
	var log bytes.Buffer
	w, err := Open("", crashOptions(dir, &log))
	if err != nil {
		t.Fatal(err)
	}
	s := w.Snapshot()
	checkHolds(t, s, blocks)
	_ = s.Close()
	if err := w.Close(); err != nil {
		t.Fatal(err)
	}
	if log.Len() > 0 {
		t.Fatal(log.String())
	}
}

func TestAWriterThatCanNotWriteAnywhereSaysSoAndGivesUp(t *testing.T) {
	dir := newMemDir()
	r := recordIn(t, dir, Options{})
	r.add(t, 100)
	r.wait(t)
	dir.setFail(failing("sync", segmentPrefix, 1000, syscall.EIO))
	b := r.gen.Block(100)
	if err := errors.Join(r.w.Publish(context.Background(), b), r.w.Write(b)); err != nil {
		t.Fatal(err)
	}
	if err := r.w.WaitDurable(context.Background(), b.Base); !errors.Is(err, ErrFailed) || !errors.Is(err, syscall.EIO) {
		t.Errorf("waiting: %v", err)
	}
	if err := r.w.Publish(context.Background(), r.gen.Block(10)); !errors.Is(err, ErrFailed) {
		t.Errorf("publishing: %v", err)
	}
	s := r.w.Snapshot()
	checkHolds(t, s, append(r.blocks, b)) // still readable
	_ = s.Close()
	dir.setFail(nil)
	if err := r.w.Close(); !errors.Is(err, ErrFailed) || !strings.Contains(err.Error(), "100 events from id 101 on were not written") {
		t.Errorf("closing: %v", err)
	}
	checkOnDisk(t, dir, r.blocks)
}

func TestAFullDiskRefusesStaysReadableAndGoesOn(t *testing.T) {
	dir := newMemDir()
	r := recordIn(t, dir, Options{})
	r.add(t, 1000)
	r.wait(t)
	dir.mu.Lock()
	dir.space = dir.used() + 3000
	dir.mu.Unlock()
	ctx := context.Background()
	var waiting []*wire.Block
	var refused *wire.Block
	for refused == nil {
		b := r.gen.Block(500)
		err := r.w.Publish(ctx, b)
		switch {
		case errors.Is(err, ErrNoSpace):
			refused = b
		case err != nil:
			t.Fatal(err)
		default:
			waiting = append(waiting, b)
			if err := r.w.Write(b); err != nil {
				t.Fatal(err)
			}
			if err := r.w.WaitDurable(ctx, b.Base); err == nil {
				r.blocks, waiting = append(r.blocks, b), nil
			} else if !errors.Is(err, ErrNoSpace) {
				t.Fatal(err)
			}
		}
	}
	if !r.w.Stats().Full {
		t.Error("the statistics do not say that the disk is full")
	}
	s := r.w.Snapshot()
	checkHolds(t, s, append(r.blocks, waiting...))
	_ = s.Close()
	other, err := openReader(dir)
	if err != nil {
		t.Fatal(err)
	}
	if s := other.Snapshot(); s.Durable() != r.end() {
		t.Errorf("another process sees it durable up to %d, want %d", s.Durable(), r.end())
	} else {
		checkHolds(t, s, append(r.blocks, waiting...)[:len(s.Blocks(wire.Prune{}))])
	}

	dir.setSpace(0)
	for {
		err := r.w.Publish(ctx, refused) // the same block, until there is room
		if err == nil {
			break
		}
		if !errors.Is(err, ErrNoSpace) {
			t.Fatal(err)
		}
		time.Sleep(10 * time.Millisecond)
	}
	if err := r.w.Write(refused); err != nil {
		t.Fatal(err)
	}
	r.blocks = append(append(r.blocks, waiting...), refused)
	r.wait(t)
	if r.w.Stats().Full {
		t.Error("the statistics still say that the disk is full")
	}
	checkWhole(t, r, dir)
}

func TestADiskThatIsFullAtTheEndLosesWhatWasNotAcknowledged(t *testing.T) {
	dir := newMemDir()
	r := recordIn(t, dir, Options{})
	r.add(t, 1000)
	r.wait(t)
	dir.setSpace(1)
	b := r.gen.Block(1000)
	if err := errors.Join(r.w.Publish(context.Background(), b), r.w.Write(b)); err != nil {
		t.Fatal(err)
	}
	if err := r.w.WaitDurable(context.Background(), b.Base); !errors.Is(err, ErrNoSpace) {
		t.Errorf("waiting: %v", err)
	}
	if err := r.w.Close(); !errors.Is(err, ErrNoSpace) || !strings.Contains(err.Error(), "1000 events from id 1001 on were not written") {
		t.Errorf("closing: %v", err)
	}
	checkOnDisk(t, dir, r.blocks) // readable while the disk is still full
	dir.setSpace(0)
	checkCrashed(t, dir, r.blocks)
}

func TestADirectoryThatCanNotBeWrittenCanBeRead(t *testing.T) {
	dir := newMemDir()
	r := recordIn(t, dir, Options{})
	r.add(t, 500)
	r.wait(t)
	if err := r.w.Close(); err != nil {
		t.Fatal(err)
	}
	for _, cause := range []error{syscall.EROFS, fs.ErrPermission} {
		dir.setFail(func(op, _ string) error {
			if slices.Contains([]string{"open", "list", "read", "size", "map"}, op) {
				return nil
			}
			return cause
		})
		if _, err := Open("", Options{fs: dir}); !errors.Is(err, ErrReadOnly) || !errors.Is(err, cause) {
			t.Errorf("open: %v, want one that says that it is read-only because of %v", err, cause)
		}
		checkOnDisk(t, dir, r.blocks)
	}
}

// A record of the string table that was written, and not synced, by a process that died is read by the next one, which
// then does not write it again: so it has to sync it before it writes blocks that use it.
func TestTextsOfADeadProcessAreDurableBeforeTheyAreUsed(t *testing.T) {
	dir := newMemDir()
	r := recordIn(t, dir, Options{})
	dir.setFail(func(op, name string) error {
		if op == "sync" && strings.HasPrefix(name, stringsPrefix) && len(dir.names[name].data) > 0 {
			dir.dead = true // the process dies behind the write
			return errPower
		}
		return nil
	})
	b := r.gen.Block(100)
	_ = r.w.Publish(context.Background(), b)
	_ = r.w.Write(b)
	r.w.abandon()
	dir.revive()
	dir.setFail(nil)
	w, err := Open("", Options{fs: dir})
	if err != nil {
		t.Fatal(err)
	}
	if b.Base != w.NextID() || len(w.Table().Texts()) < 10 {
		t.Fatalf("next id %d, %d texts", w.NextID(), len(w.Table().Texts()))
	}
	if err := errors.Join(w.Publish(context.Background(), b), w.Write(b), w.WaitDurable(context.Background(), b.Base)); err != nil {
		t.Fatal(err)
	}
	w.abandon()
	checkCrashed(t, dir.crash("lost", 1), []*wire.Block{b})
}

func TestWhatAWriterIsNotMeantForIsRefused(t *testing.T) {
	dir := newMemDir()
	r := recordIn(t, dir, Options{UndurableBytesMax: 1})
	ctx := context.Background()
	b := r.add(t, 10)
	if err := r.w.Write(b); !errors.Is(err, ErrOrder) {
		t.Errorf("a block written twice: %v", err)
	}
	if err := r.w.Publish(ctx, b); !errors.Is(err, ErrOrder) {
		t.Errorf("a block published twice: %v", err)
	}
	if err := r.w.Publish(ctx, &wire.Block{Base: 11}); !errors.Is(err, ErrOrder) {
		t.Errorf("a block of nothing: %v", err)
	}
	if err := r.w.Publish(ctx, &wire.Block{Base: 11, Rows: make([]wire.Row, wire.BlockRowsMax+1)}); !errors.Is(err, ErrTooLarge) {
		t.Errorf("a block that is too large: %v", err)
	}
	r.wait(t)
	one := r.gen.Block(5)
	if err := r.w.Publish(ctx, one); err != nil {
		t.Fatal(err)
	}
	late, cancel := context.WithTimeout(ctx, time.Millisecond)
	defer cancel()
	if err := r.w.Publish(late, r.gen.Block(5)); !errors.Is(err, context.DeadlineExceeded) {
		t.Errorf("a block beyond what may be not durable: %v", err)
	}
	if err := r.w.WaitDurable(late, one.Base); !errors.Is(err, context.DeadlineExceeded) {
		t.Errorf("waiting for what nobody writes: %v", err)
	}
	if err := r.w.UpdateSource(SourceInfo{ID: 2}); err == nil {
		t.Error("a source that there is not was updated")
	}
	if err := r.w.Close(); err == nil || !strings.Contains(err.Error(), "5 events from id 11 on were not written") {
		t.Errorf("closing without writing all: %v", err)
	}
	if err := r.w.Close(); err != nil {
		t.Errorf("closing again: %v", err)
	}
	if err := r.w.Publish(ctx, one); !errors.Is(err, ErrClosed) {
		t.Errorf("publishing afterwards: %v", err)
	}
	if err := r.w.WaitDurable(ctx, 100); !errors.Is(err, ErrClosed) {
		t.Errorf("waiting afterwards: %v", err)
	}
	for _, o := range []Options{{SegmentBytesMax: 1}, {CommitInterval: -1}, {Codec: 9}, {TableBytesMax: 1 << 40}} {
		if _, err := Open("", o); err == nil || !strings.Contains(err.Error(), "has to be from") {
			t.Errorf("%+v: %v", o, err)
		}
	}
}

func TestAPanicWhileEncodingCanBeTriedAgain(t *testing.T) {
	dir := newMemDir()
	r := recordIn(t, dir, Options{})
	b := r.gen.Block(10)
	if err := r.w.Publish(context.Background(), b); err != nil {
		t.Fatal(err)
	}
	r.w.encoders.New = func() any { panic("out of luck") }
	func() {
		defer func() { _ = recover() }()
		_ = r.w.Write(b)
	}()
	r.w.encoders.New = func() any { return newEncoder(r.w.table, CodecS2) }
	if err := r.w.Write(b); err != nil {
		t.Fatal(err)
	}
	r.blocks = append(r.blocks, b)
	checkWhole(t, r, dir)
}

func TestDurableIsToldInOrder(t *testing.T) {
	dir := newMemDir()
	r := recordIn(t, dir, Options{})
	var last atomic.Uint64
	r.w.OnDurable(func(end event.ID) {
		if uint64(end) <= last.Swap(uint64(end)) || r.w.Durable() != end {
			t.Errorf("durable up to %d, told %d", r.w.Durable(), end)
		}
	})
	for range 20 {
		r.add(t, 50)
	}
	r.wait(t)
	if got := event.ID(last.Load()); got != r.end() {
		t.Errorf("told %d, want %d", got, r.end())
	}
	checkWhole(t, r, dir)
	if _, err := Open("", Options{fs: dir}); err != nil {
		t.Fatal(err)
	}
	if _, err := Open("", Options{fs: dir}); !errors.Is(err, ErrLocked) {
		t.Errorf("a second writer: %v", err)
	}
}

// Whatever fails once while a recording is opened after a crash, or read: there is an error that wraps the cause, or it went
// without; nothing is lost by it, nothing is left locked, and the next try succeeds.
func TestEveryFailureWhileOpeningIsAnErrorAndHarmless(t *testing.T) {
	work := newMemDir()
	r := recordIn(t, work, Options{SegmentBytesMax: 20 << 10})
	for i := range 8 {
		if _, err := r.w.Table().Intern("text" + string(rune('a'+i))); err != nil {
			t.Fatal(err)
		}
		r.add(t, 300)
		r.wait(t)
	}
	r.w.abandon()
	failures := 0
	for at := 1; ; at++ {
		dir := work.crash("kept", uint64(at))
		dir.names[manifestNewName] = &memFile{d: dir, name: manifestNewName}
		var ops atomic.Int64
		fault := func(op, name string) error {
			if ops.Add(1) == int64(at) {
				return syscall.EIO
			}
			return nil
		}
		dir.setFail(fault)
		w, err := Open("", Options{fs: dir})
		if err == nil {
			err = w.Close() // when all is sealed that was not
		}
		done := ops.Load() < int64(at)
		if err != nil {
			failures++
			if !errors.Is(err, syscall.EIO) {
				t.Fatalf("operation %d: an error that hides its cause: %v", at, err)
			}
		}
		dir.setFail(nil)
		if dir.locked {
			t.Fatalf("operation %d: it is still locked", at)
		}
		checkCrashed(t, dir.crash("lost", 1), r.blocks)

		ops.Store(0)
		dir = work.crash("kept", 1)
		dir.setFail(fault)
		if reader, err := openReader(dir); err == nil {
			dir.setFail(nil)
			s := reader.Snapshot()
			if _, end := s.Range(); len(reader.Damages()) == 0 && end != r.end() {
				t.Fatalf("operation %d: a reader sees up to %d", at, end)
			}
			_ = s.Close()
			_ = reader.Close()
		} else if !errors.Is(err, syscall.EIO) {
			t.Fatalf("operation %d of a reader: %v", at, err)
		}
		if done {
			break
		}
	}
	if failures < 20 {
		t.Errorf("only %d operations mattered", failures)
	}
}

func TestTheFirstSyncOfARecordingFails(t *testing.T) {
	dir := newMemDir()
	r := recordIn(t, dir, Options{})
	dir.setFail(failing("write", segmentPrefix+"00000002", 1, syscall.EIO)) // the head of the first segment
	r.add(t, 100)
	r.wait(t)
	dir.setFail(nil)
	checkWhole(t, r, dir)

	dir = newMemDir()
	r = recordIn(t, dir, Options{})
	n := 0
	dir.setFail(func(op, name string) error { // its first block
		if op == "sync" && strings.HasPrefix(name, segmentPrefix) {
			if n++; n == 2 {
				return syscall.EIO
			}
		}
		return nil
	})
	r.add(t, 100)
	r.wait(t)
	dir.setFail(nil)
	if s := r.w.Stats(); s.Segments != 1 || s.SyncFailures != 1 {
		t.Errorf("%+v: a segment without blocks is not kept", s)
	}
	checkWhole(t, r, dir)
}
