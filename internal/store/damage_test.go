package store

import (
	"bytes"
	"context"
	"errors"
	"math/rand/v2"
	"os"
	"path/filepath"
	"slices"
	"strings"
	"testing"

	"github.com/pastcone/pastcone/event"
	"github.com/pastcone/pastcone/internal/wire"
)

// damaged makes a recording with late edges and everything in several segments. The last one is sealed, closed without an
// index, or left as a crash leaves it.
func damaged(t *testing.T, last string) (*memDir, []*wire.Block) {
	t.Helper()
	dir := newMemDir()
	r := recordIn(t, dir, Options{SegmentBytesMax: 30 << 10})
	for i := range 10 {
		if _, err := r.w.Table().Intern("text " + string(rune('a'+i))); err != nil {
			t.Fatal(err)
		}
		b := r.gen.Block(300)
		if i > 2 {
			b.Late = []wire.LateEdge{{Effect: b.Base - 10, Edge: wire.Edge{Cause: b.Base + 3, P: 1, Kind: event.EdgeMessage}}}
		}
		if err := errors.Join(r.w.Publish(context.Background(), b), r.w.Write(b)); err != nil {
			t.Fatal(err)
		}
		r.blocks = append(r.blocks, b)
		r.wait(t)
	}
	switch last {
	case "open":
		r.w.abandon()
	default:
		if err := r.w.Close(); err != nil {
			t.Fatal(err)
		}
	}
	return dir, r.blocks
}

// copyOf gives an independent copy of the directory.
func (d *memDir) copyOf() *memDir { return d.crash("kept", 0) }

func TestEveryFlippedBitIsFoundAndNamedAndTheRestIsReadable(t *testing.T) {
	for _, last := range []string{"sealed", "open"} {
		dir, blocks := damaged(t, last)
		rng := rand.New(rand.NewPCG(1, 9))
		tries := 400
		if testing.Short() {
			tries = 25
		}
		names, _ := dir.Names()
		names = slices.DeleteFunc(names, func(n string) bool { return n == liveName })
		for range tries {
			d := dir.copyOf()
			name := names[rng.IntN(len(names))]
			data := d.names[name].data
			at := rng.IntN(len(data))
			data[at] ^= 1 << rng.IntN(8)

			r, err := openReader(d)
			if err != nil { // only without a manifest is there nothing to read
				if name != manifestName || !(errors.Is(err, ErrCorrupt) || errors.Is(err, ErrVersion)) {
					t.Fatalf("%s, %s, byte %d: %v", last, name, at, err)
				}
				continue
			}
			report, err := verify(context.Background(), r, nil)
			if err != nil {
				t.Fatalf("%s, %s, byte %d: %v", last, name, at, err)
			}
			// Of the last block of a recording that was not closed nobody can say whether it was torn.
			tail := last == "open" && report.End < blocks[len(blocks)-1].Base+300
			if report.OK() && !tail {
				t.Fatalf("%s, %s, byte %d of %d: the flipped bit was not found", last, name, at, len(data))
			}
			for _, p := range report.Problems {
				if p.File == "" || p.Part == "" || p.Cause == nil || !errors.Is(p, ErrCorrupt) {
					t.Fatalf("%s, %s, byte %d: an unclear problem: %v", last, name, at, p)
				}
			}
			if !tail && !slices.ContainsFunc(report.Problems, func(p *CorruptError) bool { return p.File == name }) && name != manifestName {
				t.Fatalf("%s, %s, byte %d: blamed on others: %v", last, name, at, errors.Join(problems(report)...))
			}
			checkRestReadable(t, d, blocks, last+", "+name)

			// A writer opens it, goes on, and gives no id out twice.
			var log bytes.Buffer
			o := crashOptions(d, &log)
			o.mergeSavedMin = -1
			w, err := Open("", o)
			if err != nil {
				t.Fatalf("%s, %s, byte %d: %v", last, name, at, err)
			}
			if next := w.NextID(); next < report.End {
				t.Fatalf("%s, %s, byte %d: it goes on with id %d, ids up to %d are used", last, name, at, next, report.End)
			}
			if err := w.Close(); err != nil {
				t.Fatal(err)
			}
			checkRestReadable(t, d, blocks, "opened again, "+last+", "+name)
		}
	}
}

// checkRestReadable checks that at most one block can not be read, and that the others are right.
func checkRestReadable(t *testing.T, d *memDir, blocks []*wire.Block, what string) {
	t.Helper()
	r, err := openReader(d)
	if err != nil {
		t.Fatal(err)
	}
	defer func() { _ = r.Close() }()
	s := r.Snapshot()
	defer func() { _ = s.Close() }()
	var got, want wire.Columns
	bad := 0
	for _, b := range blocks {
		for _, set := range []wire.ColumnSet{wire.ColAll, wire.ColKind | wire.ColTime} {
			b.Columns(0, len(b.Rows), set, &want)
			err := s.Read(b.Base, set, &got)
			var c *CorruptError
			switch {
			case errors.As(err, &c) || errors.Is(err, ErrOutOfRange):
				if set == wire.ColAll {
					bad++
				}
			case err != nil:
				t.Fatalf("%s: %v", what, err)
			default:
				if err := sameColumns(&got, &want); err != nil {
					t.Fatalf("%s: block %d is wrong, and nobody says so: %v", what, b.Base, err)
				}
			}
		}
	}
	if bad > 1 {
		t.Fatalf("%s: %d blocks can not be read any more", what, bad)
	}
	s.Blocks(wire.Prune{Causes: []event.ID{3}, Keys: []wire.Name{9}})
	s.LateCauses(3)
}

func TestWhatIsMissingIsNamedAndTheRestIsReadable(t *testing.T) {
	for name, c := range map[string]struct {
		harm  func(d *memDir)
		wants string
	}{
		"a segment": {func(d *memDir) { delete(d.names, "segment-00000002") }, "segment-00000002"},
		"the second half of a segment": {func(d *memDir) {
			f := d.names["segment-00000002"]
			f.data = f.data[:len(f.data)/2]
		}, "segment-00000002"},
		"all of a segment": {func(d *memDir) { d.names["segment-00000002"].data = nil }, "segment-00000002"},
		"the string table": {func(d *memDir) { d.names["strings-00000001"].data = nil }, "string table"},
		"the end of the string table": {func(d *memDir) {
			f := d.names["strings-00000001"]
			f.data = f.data[:len(f.data)-3]
		}, "string table"},
	} {
		d, blocks := damaged(t, "sealed")
		c.harm(d)
		r, err := openReader(d)
		if err != nil {
			t.Fatalf("%s: %v", name, err)
		}
		report, err := verify(context.Background(), r, nil)
		if err != nil || report.OK() || !strings.Contains(errors.Join(problems(report)...).Error(), c.wants) {
			t.Errorf("%s: %v, %v", name, err, errors.Join(problems(report)...))
		}
		if report.End != blocks[len(blocks)-1].Base+300 {
			t.Errorf("%s: ids end at %d", name, report.End)
		}
		var log bytes.Buffer
		w, err := Open("", crashOptions(d, &log))
		if err != nil {
			t.Fatalf("%s: %v", name, err)
		}
		if w.NextID() != report.End {
			t.Errorf("%s: it goes on with id %d", name, w.NextID())
		}
		texts := len(w.Table().Texts())
		if id, err := w.Table().Intern("a text that comes later"); err != nil || int(id) != texts {
			t.Errorf("%s: a new text gets id %d of %d (%v)", name, id, texts, err)
		}
		if err := w.Close(); err != nil {
			t.Fatal(err)
		}
	}
	d, _ := damaged(t, "sealed")
	delete(d.names, manifestName)
	if _, err := openReader(d); !errors.Is(err, ErrNotFound) {
		t.Errorf("reading without a manifest: %v", err)
	}
	if _, err := Open("", Options{fs: d}); !errors.Is(err, ErrCorrupt) {
		t.Errorf("writing over a recording without a manifest: %v", err)
	}
}

func TestAFileThatIsCutOffUnderAReaderIsAnErrorNotACrash(t *testing.T) {
	path := t.TempDir()
	r := record(t, path, Options{}, small)
	for range 30 {
		r.add(t, 8000)
	}
	r.wait(t)
	if err := r.w.Close(); err != nil {
		t.Fatal(err)
	}
	reader, err := OpenReader(path)
	if err != nil {
		t.Fatal(err)
	}
	s := reader.Snapshot()
	name := s.view.segs[0].s.name
	if err := os.Truncate(filepath.Join(path, name), 5000); err != nil {
		t.Fatal(err)
	}
	var c wire.Columns
	var damage *CorruptError
	if err := s.Read(r.blocks[20].Base, wire.ColAll, &c); !errors.As(err, &damage) || damage.File != name || damage.Block != r.blocks[20].Base {
		t.Errorf("reading a block: %v", err)
	}
	if _, err := s.ReadRow(r.blocks[25].Base, wire.ColAll, &c); !errors.As(err, &damage) {
		t.Errorf("reading a row: %v", err)
	}
	if n := len(s.Blocks(wire.Prune{Keys: []wire.Name{77}})); n < 20 {
		t.Errorf("%d blocks may match; of those that can not be asked, all may", n)
	}
	if n := s.LateEffects(5); n != nil {
		t.Errorf("late edges: %v", n)
	}
	_ = s.Close()
	report, err := verify(context.Background(), reader, nil)
	if err != nil || report.OK() {
		t.Errorf("verify: %+v, %v", report, err)
	}
}
