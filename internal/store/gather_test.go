package store

import (
	"errors"
	"path/filepath"
	"reflect"
	"slices"
	"testing"

	"pgregory.net/rapid"

	"github.com/pastcone/pastcone/event"
	"github.com/pastcone/pastcone/internal/wire"
)

var findable = []wire.ColumnSet{wire.ColStream, wire.ColCorrelation, wire.ColParent, wire.ColFurther}

// drawRows gives some of n rows, which rise.
func drawRows(t *rapid.T, n int) []uint16 {
	rows := rapid.SliceOfNDistinct(rapid.Uint16Range(0, uint16(n-1)), 1, min(n, 200), rapid.ID[uint16]).Draw(t, "rows") // #nosec G115 -- at most BlockRowsMax
	slices.Sort(rows)
	return rows
}

func TestGatheredValuesAreThoseThatAreThere(t *testing.T) {
	rapid.Check(t, func(t *rapid.T) {
		v := shapedValues(t)
		if len(v) == 0 {
			return
		}
		var w intWriter
		enc := w.append(nil, v, rapid.Bool().Draw(t, "ordered"))
		s, _, err := openInts(enc, len(v))
		if err != nil {
			t.Fatal(err)
		}
		rows := drawRows(t, len(v))
		got := make([]uint64, len(rows))
		if err := gatherInts(&s, rows, got); err != nil {
			t.Fatal(err)
		}
		for k, row := range rows {
			if got[k] != v[row] {
				t.Fatalf("value %d is %d, want %d", row, got[k], v[row])
			}
		}
	})
}

func TestRowsReadTogetherAreThoseReadOneByOne(t *testing.T) {
	table := wire.NewTable(1 << 20)
	encoders := map[Codec]*encoder{}
	for codec := range codecEnd {
		encoders[codec] = newEncoder(table, codec)
	}
	rapid.Check(t, func(t *rapid.T) {
		b := drawBlock(t, table)
		if len(b.Rows) == 0 {
			return
		}
		var e encoded
		encoders[rapid.SampledFrom([]Codec{CodecNone, CodecZstd, CodecS2}).Draw(t, "codec")].encode(b, &e)
		v := &blockView{raw: e.raw}
		if err := parseBlockHeader(e.raw, &v.h); err != nil {
			t.Fatal(err)
		}
		rows := drawRows(t, len(b.Rows))
		columns := wire.ColumnSet(rapid.Uint32Range(0, uint32(wire.ColAll)).Draw(t, "columns"))
		var got, want, one wire.Columns
		for _, set := range []wire.ColumnSet{columns, wire.ColAll} {
			if err := v.gather(rows, set, &got); err != nil {
				t.Fatal(err)
			}
			b.Gather(rows, set, &want)
			if err := sameColumns(&got, &want); err != nil {
				t.Fatalf("rows %v, columns %b: %v", rows, set, err)
			}
		}
		const public = wire.ColAll &^ wire.ColExt // which this test has any bytes in
		if err := v.gather(rows, public, &got); err != nil {
			t.Fatal(err)
		}
		for k, row := range rows {
			if err := v.columns(int(row), int(row)+1, public, &one); err != nil {
				t.Fatal(err)
			}
			var together, apart event.Event
			got.Base = b.Base + event.ID(row) - event.ID(k) // #nosec G115 -- an index
			if err := errors.Join(got.Event(k, table, &together), one.Event(0, table, &apart)); err != nil {
				t.Fatal(err)
			}
			if !reflect.DeepEqual(together, apart) {
				t.Fatalf("row %d:\ntogether %v\none by one %v", row, together, apart)
			}
		}
		for _, by := range findable {
			checkFind(t, v, b, by, &b.Rows[rows[0]], &b.Rows[rows[len(rows)-1]])
		}
	})
}

// checkFind asks for the values that two rows have, for none, and for one that nobody has.
func checkFind(t *rapid.T, v *blockView, b *wire.Block, by wire.ColumnSet, first, second *wire.Row) {
	of := func(r *wire.Row) uint64 {
		switch by {
		case wire.ColStream:
			return uint64(r.Stream)
		case wire.ColCorrelation:
			return uint64(r.Correlation)
		case wire.ColParent:
			return uint64(r.Parent)
		}
		if edges := b.Further(r); len(edges) > 0 {
			return uint64(edges[len(edges)-1].Cause)
		}
		return 1<<60 + 1
	}
	for _, values := range [][]uint64{{of(first)}, {of(second), of(first)}, {1 << 60}, {0}, nil} {
		var want []uint16
		for i := range b.Rows {
			r := &b.Rows[i]
			found := by != wire.ColFurther && slices.Contains(values, of(r))
			if by == wire.ColFurther {
				found = slices.ContainsFunc(b.Further(r), func(e wire.Edge) bool { return slices.Contains(values, uint64(e.Cause)) })
			}
			if found {
				want = append(want, uint16(i)) // #nosec G115 -- at most BlockRowsMax
			}
		}
		got, err := v.find(by, values, nil)
		if err != nil || !slices.Equal(got, want) {
			t.Fatalf("by %b, %d: rows %v, want %v (%v)", by, values, got, want, err)
		}
		if head := b.Find(by, newValueSet(values).has, nil); !slices.Equal(head, want) {
			t.Fatalf("unwritten, by %b, %d: rows %v, want %v", by, values, head, want)
		}
	}
}

func TestRowsAreReadTogetherFromTheHeadAndFromFiles(t *testing.T) {
	r := record(t, filepath.Join(t.TempDir(), "rec"), Options{SegmentBytesMax: 100 << 10}, small)
	defer func() { _ = r.w.Close() }()
	for range 20 {
		r.add(t, 1000)
	}
	head := r.w.Snapshot()
	defer func() { _ = head.Close() }()
	r.wait(t)
	durable := r.w.Snapshot()
	defer func() { _ = durable.Close() }()
	var got, want wire.Columns
	for _, s := range []*Snapshot{head, durable} {
		for _, b := range r.blocks {
			rows := []uint16{0, uint16(len(b.Rows) / 2), uint16(len(b.Rows) - 1)}
			if err := s.ReadRows(b.Base, rows, wire.ColAll, &got); err != nil {
				t.Fatal(err)
			}
			b.Gather(rows, wire.ColAll, &want)
			if err := sameColumns(&got, &want); err != nil {
				t.Fatalf("block %d: %v", b.Base, err)
			}
			stream := uint64(b.Rows[len(b.Rows)/2].Stream)
			found, err := s.Find(b.Base, wire.ColStream, []uint64{stream}, nil)
			if want := b.Find(wire.ColStream, func(v uint64) bool { return v == stream }, nil); err != nil || !slices.Equal(found, want) {
				t.Fatalf("block %d: rows %v, want %v (%v)", b.Base, found, want, err)
			}
			for _, wrong := range [][]uint16{{uint16(len(b.Rows))}, {1, 0}, {1, 1}} {
				if err := s.ReadRows(b.Base, wrong, wire.ColAll, &got); !errors.Is(err, ErrOutOfRange) {
					t.Errorf("rows %d of a block of %d: %v", wrong, len(b.Rows), err)
				}
			}
			for _, by := range []wire.ColumnSet{0, wire.ColTime, wire.ColStream | wire.ColParent} {
				if _, err := s.Find(b.Base, by, []uint64{1}, nil); err == nil {
					t.Errorf("rows are found by columns %b", by)
				}
			}
		}
		for _, id := range []event.ID{0, r.end() + 1} {
			if err := s.ReadRows(id, []uint16{0}, wire.ColAll, &got); !errors.Is(err, ErrOutOfRange) {
				t.Errorf("block %d: %v", id, err)
			}
			if _, err := s.Find(id, wire.ColParent, []uint64{1}, nil); !errors.Is(err, ErrOutOfRange) {
				t.Errorf("block %d: %v", id, err)
			}
		}
	}
}
