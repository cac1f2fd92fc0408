package store

import (
	"errors"
	"fmt"
	"math"
	"math/rand/v2"
	"reflect"
	"slices"
	"testing"

	"pgregory.net/rapid"

	"github.com/pastcone/pastcone/event"
	"github.com/pastcone/pastcone/internal/wire"
)

// drawBlock draws a block in which each column is of one of several shapes, from unused to arbitrary.
// The numbers are not those of a real recording: a block has to give back whatever it is given.
func drawBlock(t *rapid.T, table *wire.Table) *wire.Block {
	rng := rand.New(rand.NewPCG(rapid.Uint64().Draw(t, "seed"), 7))
	n := rapid.SampledFrom([]int{0, 1, 2, 127, 128, 129, 300, 1000, 8192}).Draw(t, "rows")
	b := &wire.Block{Base: event.ID(rapid.Uint64Range(1, math.MaxUint64/2).Draw(t, "base")), Rows: make([]wire.Row, n), Arrived: rapid.Int64().Draw(t, "arrived")}
	column := func(name string) func() uint64 {
		shape := rapid.SampledFrom([]string{"unused", "constant", "few", "rising", "rare", "any"}).Draw(t, name)
		at := rng.Uint64() >> rng.IntN(64)
		return func() uint64 {
			switch shape {
			case "unused":
				return 0
			case "constant":
				return at
			case "few":
				return at + rng.Uint64N(5)
			case "rising":
				at += rng.Uint64N(1000)
				return at
			case "rare":
				if rng.IntN(20) > 0 {
					return 0
				}
			}
			return rng.Uint64() >> rng.IntN(64)
		}
	}
	time, seq, key, ordinal, peer, child := column("time"), column("seq"), column("key"), column("ordinal"), column("peer"), column("child")
	site, flags, kind, stream, parent := column("site"), column("flags"), column("kind"), column("stream"), column("parent")
	correlation, duration, position, source := column("correlation"), column("duration"), column("position"), column("source")
	parentForm, p, edges, causes, data, ext := column("parent form"), column("p"), column("edges"), column("causes"), column("data"), column("ext")
	payload := func(n uint64) (off, length uint32) {
		off = uint32(len(b.Arena))
		for range n % 200 {
			b.Arena = append(b.Arena, "abcdefgh"[rng.IntN(8)])
		}
		return off, uint32(n % 200)
	}
	for i := range b.Rows {
		r := &b.Rows[i]
		form := parentForm()
		*r = wire.Row{
			Record: wire.Record{
				Time: int64(time()), Seq: seq(), Key: wire.Name(key()), Ordinal: ordinal(), Peer: wire.Name(peer()),
				Child: wire.Name(child()), Site: wire.Site(site()), Flags: wire.Flags(flags()), Kind: event.Kind(kind()),
			},
			Stream: wire.Name(stream()), Parent: event.ID(parent()), Correlation: event.ID(correlation()),
			Duration: int64(duration()), Position: uint32(position()), Source: wire.SourceID(source()),
			ParentKind: event.EdgeKind(form), ParentConf: event.Confidence(form >> 8), CorrConf: event.Confidence(form >> 16),
			ParentP: float32(p()) / 1000,
		}
		if r.Parent == b.Base+event.ID(i) {
			r.Parent = 0 // an event is never its own parent
		}
		r.EdgeOff, r.EdgeLen = uint32(len(b.Edges)), uint32(edges()%4)
		for range r.EdgeLen {
			e := wire.Edge{Cause: event.ID(causes()), P: float32(p()), Kind: event.EdgeKind(form), Conf: event.Confidence(form)}
			if e.Cause == b.Base+event.ID(i) {
				e.Cause = 0
			}
			b.Edges = append(b.Edges, e)
		}
		r.DataOff, r.DataLen = payload(data())
		r.ExtOff, r.ExtLen = payload(ext())
	}
	for range rapid.IntRange(0, 3).Draw(t, "late") {
		b.Late = append(b.Late, wire.LateEdge{Effect: event.ID(causes()), Edge: wire.Edge{Cause: event.ID(causes()), P: 0.5, Kind: event.EdgeMessage, Conf: event.Inferred}})
	}
	if n == 0 && len(b.Late) == 0 {
		b.Late = []wire.LateEdge{{Effect: 2, Edge: wire.Edge{Cause: 1}}}
	}
	return b
}

func openEncoded(t testing.TB, raw []byte) *blockView {
	t.Helper()
	v := &blockView{raw: raw}
	if err := parseBlockHeader(raw, &v.h); err != nil {
		t.Fatal(err)
	}
	if err := v.checkAll(); err != nil {
		t.Fatal(err)
	}
	return v
}

// sameColumns compares stretches of rows; a column of no entries is equal to one that is nil.
func sameColumns(got, want *wire.Columns) error {
	g, w := reflect.ValueOf(got).Elem(), reflect.ValueOf(want).Elem()
	for i := range g.NumField() {
		name := g.Type().Field(i).Name
		if g.Field(i).Kind() == reflect.Slice {
			if g.Field(i).Len() != w.Field(i).Len() {
				return fmt.Errorf("%s: %d entries, want %d", name, g.Field(i).Len(), w.Field(i).Len())
			}
			for k := range g.Field(i).Len() {
				if a, b := g.Field(i).Index(k).Interface(), w.Field(i).Index(k).Interface(); a != b {
					return fmt.Errorf("%s[%d] = %v, want %v", name, k, a, b)
				}
			}
		} else if a, b := g.Field(i).Interface(), w.Field(i).Interface(); a != b {
			return fmt.Errorf("%s = %v, want %v", name, a, b)
		}
	}
	return nil
}

func TestBlocksComeBackWholeInPartsAndByRow(t *testing.T) {
	table := wire.NewTable(1 << 20)
	encoders := map[Codec]*encoder{}
	for codec := range codecEnd {
		encoders[codec] = newEncoder(table, codec)
	}
	rapid.Check(t, func(t *rapid.T) {
		b := drawBlock(t, table)
		if err := checkBounds(b); err != nil {
			t.Fatal(err)
		}
		var e encoded
		codec := rapid.SampledFrom([]Codec{CodecNone, CodecZstd, CodecS2}).Draw(t, "codec")
		encoders[codec].encode(b, &e)
		setDurable(e.raw, 17)
		v := blockView{raw: e.raw}
		if err := parseBlockHeader(e.raw, &v.h); err != nil {
			t.Fatal(err)
		}
		if err := v.checkAll(); err != nil {
			t.Fatal(err)
		}
		if v.h.base != b.Base || v.h.rows != len(b.Rows) || v.h.durable != 17 || v.h.arrived != b.Arrived {
			t.Fatalf("header %+v", v.h)
		}
		late, err := v.lateEdges()
		if err != nil || !slices.Equal(late, b.Late) {
			t.Fatalf("late edges %v, want %v (%v)", late, b.Late, err)
		}
		if len(b.Rows) == 0 {
			return
		}
		low := rapid.IntRange(0, len(b.Rows)-1).Draw(t, "low")
		high := rapid.IntRange(low+1, len(b.Rows)).Draw(t, "high")
		some := wire.ColumnSet(rapid.Uint32Range(0, uint32(wire.ColAll)).Draw(t, "columns"))
		var got, want wire.Columns
		for _, c := range []struct {
			low, high int
			set       wire.ColumnSet
		}{{0, len(b.Rows), wire.ColAll}, {low, high, some}, {low, low + 1, wire.ColAll}} {
			b.Columns(c.low, c.high, c.set, &want)
			if err := v.columns(c.low, c.high, c.set, &got); err != nil {
				t.Fatal(err)
			}
			if err := sameColumns(&got, &want); err != nil {
				t.Fatalf("rows %d to %d, columns %b: %v", c.low, c.high, c.set, err)
			}
		}
		checkFilter(t, &v, b)
	})
}

// checkFilter checks that the block's filter knows everything that lies in it.
func checkFilter(t *rapid.T, v *blockView, b *wire.Block) {
	p, err := v.chunk(chunkFilter)
	if err != nil || len(p) == 0 {
		t.Fatalf("a filter of %d bytes, %v", len(p), err)
	}
	f, err := parseFilter(p)
	if err != nil {
		t.Fatal(err)
	}
	inside := func(id event.ID) bool { return id >= b.Base && id < v.h.end() }
	for i := range b.Rows {
		r := &b.Rows[i]
		switch {
		case r.Stream != 0 && !f.what.has8(filterKey(categoryStream, uint64(r.Stream))):
			t.Fatalf("row %d: stream %d is not in the filter", i, r.Stream)
		case r.Key != 0 && !f.what.has8(filterKey(categoryKey, uint64(r.Key))):
			t.Fatalf("row %d: key %d is not in the filter", i, r.Key)
		case !f.what.has8(filterKey(categoryFunc, 0)):
			t.Fatal("the function is not in the filter")
		case !inside(r.Correlation) && !f.why.has16(filterKey(categoryCorrelation, uint64(r.Correlation))):
			t.Fatalf("row %d: correlation %d is not in the filter", i, r.Correlation)
		case r.Parent != 0 && !inside(r.Parent) && !f.why.has16(filterKey(categoryCause, uint64(r.Parent))):
			t.Fatalf("row %d: parent %d is not in the filter", i, r.Parent)
		}
		for _, e := range b.Further(r) {
			if e.Cause != 0 && !inside(e.Cause) && !f.why.has16(filterKey(categoryCause, uint64(e.Cause))) {
				t.Fatalf("row %d: cause %d is not in the filter", i, e.Cause)
			}
		}
	}
}

func TestABlockBeyondItsBoundsIsRefused(t *testing.T) {
	for name, b := range map[string]*wire.Block{
		"too many rows":          {Rows: make([]wire.Row, wire.BlockRowsMax+1)},
		"too many further edges": {Edges: make([]wire.Edge, EdgesMax+1)},
		"too many late edges":    {Late: make([]wire.LateEdge, LateEdgesMax+1)},
		"an event with too much": {Rows: []wire.Row{{Record: wire.Record{DataLen: PayloadBytesMax + 1}}}},
		"too much data in all":   {Rows: slices.Repeat([]wire.Row{{Record: wire.Record{DataLen: PayloadBytesMax}}}, 17)},
	} {
		if err := checkBounds(b); !errors.Is(err, ErrTooLarge) {
			t.Errorf("%s: %v", name, err)
		}
	}
}
