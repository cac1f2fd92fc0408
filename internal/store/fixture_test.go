package store

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

	"github.com/pastcone/pastcone/event"
	"github.com/pastcone/pastcone/internal/wire"
)

// testdata/v1 is a recording of format version 1, testdata/v1-index2 one of which the indexes are of version 2, and
// testdata/v1.txt what is in each of them. The last was made by
//
//	go test ./internal/store -run Fixture -update
//
// and none is made anew once its version is released: programs have to read what was written then.
const (
	fixtureDir       = "testdata/v1"
	fixtureDirIndex2 = "testdata/v1-index2"
)

// fixtureBlocks makes blocks with every kind, every field, every edge kind and confidence.
func fixtureBlocks(t *testing.T, table *wire.Table) (blocks []*wire.Block) {
	t.Helper()
	name := func(s string) wire.Name {
		n, err := table.Name(s)
		if err != nil {
			t.Fatal(err)
		}
		return n
	}
	id := event.ID(1)
	for n := range 6 {
		b := &wire.Block{Base: id, Arrived: int64(1_700_000_000_000_000_000 + n)}
		for i := range 30 + 30*n {
			site, err := table.SiteOf(fmt.Sprintf("example.com/shop.Step%dx", i%7), fmt.Sprintf("shop%dx.go", i%3), 10*i)
			if err != nil {
				t.Fatal(err)
			}
			r := wire.Row{
				Record: wire.Record{
					Time: int64(1_700_000_000_000_000_000 + uint64(id)*150), Seq: uint64(i/5 + 1), Site: site,
					Kind: event.Kind(1 + i%16), Flags: wire.Flags(1 << (i % 7)),
				},
				Stream: name(fmt.Sprintf("g%d", n*5+i%5+1)), Source: 1, Correlation: id, Duration: int64(i % 3 * 1000),
			}
			if i > 0 {
				r.Parent, r.ParentKind, r.ParentConf = id-1, event.EdgeKind(1+i%8), event.Confidence(i%2)
				r.Correlation, r.Position, r.CorrConf = b.Base, uint32(i), event.Confidence(i%3)
				r.ParentP = float32(i%4) / 4
			}
			if i%4 == 1 {
				r.Key, r.Ordinal, r.Peer = name(fmt.Sprintf("chan%d", i%6+1)), uint64(i), name("main")
				r.EdgeOff, r.EdgeLen = uint32(len(b.Edges)), 2
				b.Edges = append(b.Edges, wire.Edge{Cause: id / 2, P: 1, Kind: event.EdgeMessage}, wire.Edge{Kind: event.EdgeLock, Conf: event.Gap})
			}
			if i%9 == 2 {
				r.Child = name(fmt.Sprintf("worker%d", i))
			}
			if i%3 == 0 {
				r.DataOff = uint32(len(b.Arena))
				b.Arena = fmt.Appendf(b.Arena, `{"order":%d,"status":"ok"}`, i)
				r.DataLen = uint32(len(b.Arena)) - r.DataOff
			}
			if i%5 == 0 {
				r.ExtOff = uint32(len(b.Arena))
				b.Arena = wire.AppendExtension(b.Arena, &wire.Extension{
					Ref: fmt.Appendf(nil, "r%d", i), Message: []byte("m"), Causes: [][]byte{[]byte("a"), []byte("b")},
					Extra: []wire.ExtraField{{Name: []byte("later"), Value: []byte(`[1]`)}},
				})
				r.ExtLen = uint32(len(b.Arena)) - r.ExtOff
			}
			b.Rows = append(b.Rows, r)
			id++
		}
		if n > 1 {
			b.Late = []wire.LateEdge{{Effect: b.Base - 20, Edge: wire.Edge{Cause: b.Base, P: 0.25, Kind: event.EdgeWake, Conf: event.Inferred}}}
		}
		blocks = append(blocks, b)
	}
	return blocks
}

// writeFixture makes the recording: sealed segments, and one that its writer was killed on, with a block
// that is not whole.
func writeFixture(t *testing.T, dir string) {
	t.Helper()
	w, err := Open(dir, Options{SegmentBytesMax: 4 << 10, CommitInterval: 1, now: func() time.Time { return time.Unix(1.7e9, 0) }})
	if err != nil {
		t.Fatal(err)
	}
	if _, err := w.AddSource(SourceInfo{Name: "shop.ndjson", Format: "ndjson", Fingerprint: "0123", Events: 7, Complete: true}); err != nil {
		t.Fatal(err)
	}
	for _, b := range fixtureBlocks(t, w.Table()) {
		if err := errors.Join(w.Publish(context.Background(), b), w.Write(b), w.WaitDurable(context.Background(), b.Base)); err != nil {
			t.Fatal(err)
		}
	}
	w.abandon()
	m, err := readManifest(osDir{dir})
	if err != nil {
		t.Fatal(err)
	}
	name := filepath.Join(dir, m.Segments[len(m.Segments)-1].File)
	p, err := os.ReadFile(name)
	if err != nil {
		t.Fatal(err)
	}
	torn := append(p, p[segmentHeadBytes:segmentHeadBytes+300]...)
	if err := os.WriteFile(name, torn, 0o644); err != nil {
		t.Fatal(err)
	}
}

// describe writes all of a recording as text.
func describe(t *testing.T, s *Snapshot) []byte {
	t.Helper()
	var out bytes.Buffer
	var c wire.Columns
	for _, b := range s.Blocks(wire.Prune{}) {
		if err := s.Read(b.Base, wire.ColAll, &c); err != nil {
			t.Fatal(err)
		}
		for i := range c.Len {
			id, table := c.Base+event.ID(i), s.Table()
			place := table.PlaceOf(c.Site[i])
			fmt.Fprintf(&out, "%d %s/%d t%d %d %s %s:%d key %s/%d peer %s child %s source %d flags %d", id, table.NameOf(c.Stream[i]), c.Seq[i], c.Time[i],
				c.Kind[i], table.TextOf(place.Func), table.TextOf(place.File), place.Line, table.NameOf(c.Key[i]), c.Ordinal[i],
				table.NameOf(c.Peer[i]), table.NameOf(c.Child[i]), c.Source[i], c.Flags[i])
			fmt.Fprintf(&out, " parent %d %d %d p%v correlation %d %d +%d %dns further %v data %s ext %q\n", c.Parent[i], c.ParentKind[i], c.ParentConf[i], c.ParentP[i],
				c.Correlation[i], c.CorrConf[i], c.Position[i], c.Duration[i], c.FurtherOf(i), c.DataOf(i), c.ExtOf(i))
			for _, l := range s.LateCauses(id) {
				fmt.Fprintf(&out, "  late %v\n", l)
			}
		}
	}
	return out.Bytes()
}

func TestFixturesOfAllVersionsAreReadAsTheyWereWritten(t *testing.T) {
	golden := fixtureDir + ".txt"
	if *update {
		if err := os.RemoveAll(fixtureDirIndex2); err != nil {
			t.Fatal(err)
		}
		writeFixture(t, fixtureDirIndex2)
		if err := os.Remove(filepath.Join(fixtureDirIndex2, lockName)); err != nil {
			t.Fatal(err)
		}
	}
	want, err := os.ReadFile(golden)
	if err != nil {
		t.Fatal(err)
	}
	if n := strings.Count(string(want), "\n"); n < 600 {
		t.Fatalf("only %d lines are compared", n)
	}
	for fixture, postings := range map[string]bool{fixtureDir: false, fixtureDirIndex2: true} {
		t.Run(fixture, func(t *testing.T) { readFixture(t, fixture, want, postings) })
	}
}

// readFixture reads a fixture as it is, as a writer recovers it, and as it has sealed it.
func readFixture(t *testing.T, fixture string, want []byte, postings bool) {
	r, err := OpenReader(fixture)
	if err != nil {
		t.Fatal(err)
	}
	defer func() { _ = r.Close() }()
	s := r.Snapshot()
	defer func() { _ = s.Close() }()
	if !bytes.Equal(describe(t, s), want) {
		t.Fatal("the recording is not read as it was written")
	}
	sealed := 0
	for seg := range s.segments {
		if seg.sealed {
			sealed++
			if (seg.postings != nil) != postings {
				t.Errorf("%s: postings %v", seg.s.name, seg.postings != nil)
			}
		}
	}
	if sealed < 2 {
		t.Errorf("only %d sealed segments are read", sealed)
	}
	checkPruning(t, s)
	report, err := Verify(context.Background(), fixture, nil)
	if err != nil {
		t.Error(err)
	}
	for _, p := range report.Problems {
		if p.Part != "event" { // these were made to have every field, not to make sense
			t.Error(p)
		}
	}

	dir := t.TempDir()
	if err := os.CopyFS(dir, os.DirFS(fixture)); err != nil {
		t.Fatal(err)
	}
	w, err := Open(dir, Options{})
	if err != nil {
		t.Fatal(err)
	}
	ws := w.Snapshot()
	if !bytes.Equal(describe(t, ws), want) {
		t.Error("recovered, it is not what was written")
	}
	_ = ws.Close()
	if x := w.Sources(); len(x) != 1 || x[0].Fingerprint != "0123" || !x[0].Complete {
		t.Errorf("sources %+v", x)
	}
	if err := w.Close(); err != nil {
		t.Fatal(err)
	}
	again, err := OpenReader(dir)
	if err != nil {
		t.Fatal(err)
	}
	defer func() { _ = again.Close() }()
	as := again.Snapshot()
	defer func() { _ = as.Close() }()
	if !bytes.Equal(describe(t, as), want) {
		t.Error("sealed, it is not what was written")
	}
	checkPruning(t, as)
}

// checkPruning asks for the effects of every event, and for every correlation: the blocks that are given must hold all
// rows that the whole recording, read row by row, has of them.
func checkPruning(t *testing.T, s *Snapshot) {
	t.Helper()
	var c wire.Columns
	type asked struct {
		what int
		id   event.ID
	}
	in := map[asked]map[event.ID]bool{} // the blocks
	note := func(what int, id, base event.ID) {
		a := asked{what, id}
		if in[a] == nil {
			in[a] = map[event.ID]bool{}
		}
		in[a][base] = true
	}
	for _, b := range s.Blocks(wire.Prune{}) {
		if err := s.Read(b.Base, wire.ColCorrelation|wire.ColParent|wire.ColFurther, &c); err != nil {
			continue // damaged
		}
		for i := range c.Len {
			note(postingCorrelation, c.Correlation[i], b.Base)
			if c.Parent[i] != 0 {
				note(postingCause, c.Parent[i], b.Base)
			}
			for _, e := range c.FurtherOf(i) {
				if e.Cause != 0 {
					note(postingCause, e.Cause, b.Base)
				}
			}
		}
	}
	for a, blocks := range in {
		p := wire.Prune{Causes: []event.ID{a.id}}
		if a.what == postingCorrelation {
			p = wire.Prune{Correlations: []event.ID{a.id}}
		}
		given := map[event.ID]bool{}
		for _, b := range s.Blocks(p) {
			given[b.Base] = true
		}
		for base := range blocks {
			if !given[base] {
				t.Fatalf("block %d, which refers to event %d (%d), is left out", base, a.id, a.what)
			}
		}
	}
}

func TestALaterVersionIsRefusedNotGuessedAt(t *testing.T) {
	p, err := os.ReadFile(filepath.Join(fixtureDir, manifestName))
	if err != nil {
		t.Fatal(err)
	}
	dir := t.TempDir()
	later := bytes.Replace(p, []byte("version=1 "), []byte("version=2 "), 1)
	if err := os.WriteFile(filepath.Join(dir, manifestName), later, 0o600); err != nil {
		t.Fatal(err)
	}
	if _, err := OpenReader(dir); !errors.Is(err, ErrVersion) {
		t.Errorf("reading: %v", err)
	}
	if _, err := Open(dir, Options{}); !errors.Is(err, ErrVersion) {
		t.Errorf("writing: %v", err)
	}
}
