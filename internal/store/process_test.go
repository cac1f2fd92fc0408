package store

import (
	"bufio"
	"context"
	"errors"
	"fmt"
	"math/rand/v2"
	"os"
	"os/exec"
	"strconv"
	"strings"
	"sync"
	"testing"
	"time"

	"github.com/pastcone/pastcone/event"
	"github.com/pastcone/pastcone/internal/store/shape"
	"github.com/pastcone/pastcone/internal/wire"
)

// roleEnv makes the test binary play another process.
const roleEnv = "PASTCONE_STORE_TEST_ROLE"

func TestMain(m *testing.M) {
	if path, ok := strings.CutPrefix(os.Getenv(roleEnv), "write "); ok {
		if err := writeForever(path); err != nil {
			fmt.Fprintln(os.Stderr, err)
			os.Exit(1)
		}
		os.Exit(0)
	}
	os.Exit(m.Run())
}

// writeForever writes blocks, whose content follows from their first id, and prints what is durable.
func writeForever(path string) error {
	w, err := Open(path, Options{CommitInterval: time.Millisecond, SegmentBytesMax: 1 << 20})
	if err != nil {
		return err
	}
	w.OnDurable(func(end event.ID) { fmt.Println(end) })
	fmt.Println(w.NextID())
	for {
		base := w.NextID()
		b, err := blockFrom(w.Table(), base)
		if err != nil {
			return err
		}
		if err := errors.Join(w.Publish(context.Background(), b), w.Write(b)); err != nil {
			return err
		}
	}
}

// blockFrom makes the block that begins with that id: always the same.
func blockFrom(t *wire.Table, base event.ID) (*wire.Block, error) {
	g, err := shape.New(t, 1, base, shape.Shape{Streams: 10, Funcs: 30, Seed: uint64(base)})
	if err != nil {
		return nil, err
	}
	return g.Block(100 + int(base%900)), nil
}

// compareWritten compares one block with what was written, from an id on, and gives the id behind it. When their segment is sealed
// neighbours are merged, so one block may hold several of those that were written.
func compareWritten(s *Snapshot, t *wire.Table, there wire.BlockInfo, from event.ID) (event.ID, error) {
	var got, want wire.Columns
	for from >= there.Base && from < there.Base+event.ID(there.Rows) {
		b, err := blockFrom(t, from)
		if err != nil {
			return from, err
		}
		low := int(from - there.Base)
		if low+len(b.Rows) > there.Rows {
			return from, fmt.Errorf("block %d ends within the %d events that were written at %d", there.Base, len(b.Rows), from)
		}
		rows := make([]uint16, len(b.Rows))
		for i := range rows {
			rows[i] = uint16(low + i) // #nosec G115 -- a block's row
		}
		b.Columns(0, len(b.Rows), wire.ColAll, &want)
		if err := s.ReadRows(there.Base, rows, wire.ColAll, &got); err != nil {
			return from, err
		}
		got.Base = from // ReadRows gives the block's
		if err := sameColumns(&got, &want); err != nil {
			return from, fmt.Errorf("what was written at %d: %w", from, err)
		}
		from += event.ID(len(b.Rows))
	}
	return from, nil
}

func TestAProcessThatIsKilledLosesNothingItHasAcknowledged(t *testing.T) {
	path := t.TempDir()
	rng := rand.New(rand.NewPCG(uint64(time.Now().UnixNano()), 1))
	acked, from := event.ID(1), event.ID(1) // blocks before from were compared in an earlier round
	for round := range 6 {
		cmd := exec.Command(os.Args[0])
		cmd.Env = append(os.Environ(), roleEnv+"=write "+path)
		cmd.Stderr = os.Stderr
		out, err := cmd.StdoutPipe()
		if err != nil {
			t.Fatal(err)
		}
		if err := cmd.Start(); err != nil {
			t.Fatal(err)
		}
		time.AfterFunc(30*time.Millisecond+time.Duration(rng.IntN(100))*time.Millisecond, func() { _ = cmd.Process.Kill() })
		lines := bufio.NewScanner(out)
		for lines.Scan() {
			id, err := strconv.ParseUint(lines.Text(), 10, 64)
			if err != nil {
				break // the last line may be torn
			}
			acked = max(acked, event.ID(id))
		}
		_ = cmd.Wait()

		start := time.Now()
		w, err := Open(path, Options{})
		if err != nil {
			t.Fatalf("round %d: %v", round, err)
		}
		t.Logf("round %d: %d acknowledged, %d there, opened in %v", round, acked, w.NextID(), time.Since(start))
		if w.NextID() < acked {
			t.Fatalf("round %d: it ends at %d, %d was acknowledged", round, w.NextID(), acked)
		}
		s := w.Snapshot()
		for _, there := range s.Blocks(wire.Prune{}) {
			if from, err = compareWritten(s, w.Table(), there, from); err != nil {
				t.Fatalf("round %d: %v", round, err)
			}
		}
		if from != w.NextID() {
			t.Fatalf("round %d: the blocks end at %d, the recording at %d", round, from, w.NextID())
		}
		_ = s.Close()
		if err := w.Close(); err != nil {
			t.Fatal(err)
		}
	}
	if acked < 1000 {
		t.Errorf("only %d events were acknowledged in all rounds", acked)
	}
}

func TestASecondWriterIsToldWhoTheFirstIs(t *testing.T) {
	path := t.TempDir()
	w, err := Open(path, Options{})
	if err != nil {
		t.Fatal(err)
	}
	_, err = Open(path, Options{})
	if !errors.Is(err, ErrLocked) || !strings.Contains(err.Error(), fmt.Sprintf("process %d", os.Getpid())) {
		t.Errorf("a second writer: %v", err)
	}
	if r, err := OpenReader(path); err != nil {
		t.Errorf("a reader: %v", err)
	} else if err := r.Close(); err != nil {
		t.Error(err)
	}
	if err := w.Close(); err != nil {
		t.Fatal(err)
	}
	if w, err = Open(path, Options{}); err != nil {
		t.Fatalf("after the first has closed it: %v", err)
	}
	if err := w.Close(); err != nil {
		t.Fatal(err)
	}
}

func TestWhatIsNoRecordingIsSaidSo(t *testing.T) {
	if _, err := OpenReader(t.TempDir() + "/none"); !errors.Is(err, ErrNotFound) {
		t.Errorf("no directory: %v", err)
	}
	if _, err := OpenReader(t.TempDir()); !errors.Is(err, ErrNotFound) {
		t.Errorf("an empty directory: %v", err)
	}
	if _, err := OpenReader(os.Args[0]); !errors.Is(err, ErrNotFound) {
		t.Errorf("a file: %v", err)
	}
	if _, err := Verify(context.Background(), t.TempDir(), nil); !errors.Is(err, ErrNotFound) {
		t.Errorf("verify: %v", err)
	}
	if _, err := Open(os.Args[0], Options{}); err == nil {
		t.Error("a file was opened for writing")
	}
}

// Readers of this process and of others, while a writer writes, seals, and removes what is old: each sees
// whole blocks, in order, without holes, and more and more of them.
func TestReadersSeeWholeBlocksWhileItIsWritten(t *testing.T) {
	path := t.TempDir()
	w, err := Open(path, Options{CommitInterval: time.Millisecond, SegmentBytesMax: 200 << 10, RetainBytesMax: 600 << 10})
	if err != nil {
		t.Fatal(err)
	}
	if _, err := w.AddSource(SourceInfo{Name: "test"}); err != nil {
		t.Fatal(err)
	}
	ctx, cancel := context.WithTimeout(context.Background(), time.Minute)
	defer cancel()
	var wg sync.WaitGroup
	read := func(name string, snapshot func() *Snapshot) {
		var last event.ID
		var c wire.Columns
		n := 0
		for ctx.Err() == nil {
			s := snapshot()
			first, end := s.Range()
			if end < last || s.Durable() > end {
				t.Errorf("%s: it ends at %d, durable up to %d; before, it ended at %d", name, end, s.Durable(), last)
			}
			last = end
			next := first
			if n, all := s.BlockCount(), len(s.Blocks(wire.Prune{})); n != all {
				t.Errorf("%s: %d blocks counted, %d given", name, n, all)
			}
			for _, b := range s.Blocks(wire.Prune{}) {
				if b.Base != next {
					t.Errorf("%s: block %d behind %d", name, b.Base, next)
				}
				next = b.Base + event.ID(b.Rows)
				if n++; n%5 > 0 {
					continue
				}
				if err := s.Read(b.Base, wire.ColStream|wire.ColData|wire.ColParent, &c); err != nil {
					t.Errorf("%s: %v", name, err)
				}
				if c.Len != b.Rows || !strings.HasPrefix(s.Table().NameOf(c.Stream[0]), "g") {
					t.Errorf("%s: %d rows of %d, stream %q", name, c.Len, b.Rows, s.Table().NameOf(c.Stream[0]))
				}
			}
			if next != end {
				t.Errorf("%s: blocks up to %d, it ends at %d", name, next, end)
			}
			s.LateCauses(1)
			if err := s.Close(); err != nil {
				t.Errorf("%s: %v", name, err)
			}
		}
	}
	other, err := OpenReader(path)
	if err != nil {
		t.Fatal(err)
	}
	for range 2 {
		wg.Go(func() { read("in this process", w.Snapshot) })
	}
	wg.Go(func() {
		read("in another", func() *Snapshot {
			s, err := other.Fresh()
			if err != nil {
				t.Errorf("refresh: %v", err)
			}
			return s
		})
	})
	old := w.Snapshot() // of nothing
	var held *Snapshot
	for start := time.Now(); ctx.Err() == nil; {
		if time.Since(start) > 2*time.Second && w.Stats().Removed.Segments > 0 {
			cancel()
		}
		b, err := blockFrom(w.Table(), w.NextID())
		if err != nil {
			t.Fatal(err)
		}
		if err := errors.Join(w.Publish(context.Background(), b), w.Write(b)); err != nil {
			t.Fatal(err)
		}
		if held == nil && b.Base > 20000 {
			held = w.Snapshot()
		}
	}
	wg.Wait()
	if d := other.Damages(); len(d) > 0 {
		t.Errorf("the other process saw damage: %v", d[0])
	}
	// What a snapshot holds stays, also when retention has removed it since.
	if held != nil {
		var c wire.Columns
		for _, b := range held.Blocks(wire.Prune{}) {
			if err := held.Read(b.Base, wire.ColAll, &c); err != nil {
				t.Errorf("held: %v", err)
			}
		}
		_ = held.Close()
	}
	_ = old.Close()
	if err := errors.Join(other.Close(), w.Close()); err != nil {
		t.Fatal(err)
	}
	removed := w.Stats().Removed
	if removed.Segments == 0 {
		t.Error("retention has removed nothing")
	}
	report, err := Verify(context.Background(), path, nil)
	if err != nil || !report.OK() || report.First != event.ID(1+removed.Events) {
		t.Errorf("verify: %+v, %v", report, err)
	}
	// Files are removed when nobody has them any more.
	files, err := os.ReadDir(path)
	if err != nil {
		t.Fatal(err)
	}
	segments := 0
	for _, f := range files {
		if strings.HasPrefix(f.Name(), segmentPrefix) {
			segments++
		}
	}
	if segments != report.Segments {
		t.Errorf("%d segment files, %d segments", segments, report.Segments)
	}
}
