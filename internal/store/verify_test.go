package store

import (
	"context"
	"errors"
	"slices"
	"strings"
	"testing"

	"github.com/pastcone/pastcone/event"
	"github.com/pastcone/pastcone/internal/store/shape"
	"github.com/pastcone/pastcone/internal/wire"
)

// Verify is also the judge of who writes: a correlator or an encoder that breaks a rule of causality is
// found, with the event.
func TestVerifyNamesEachBrokenRule(t *testing.T) {
	for want, harm := range map[string]func(b *wire.Block, r *wire.Row){
		"its kind is 30":               func(_ *wire.Block, r *wire.Row) { r.Kind = 30 },
		"stream 0":                     func(_ *wire.Block, r *wire.Row) { r.Stream = 0 },
		"seq 0":                        func(_ *wire.Block, r *wire.Row) { r.Seq = 0 },
		"source 0":                     func(_ *wire.Block, r *wire.Row) { r.Source = 0 },
		"there are events of source 9": func(_ *wire.Block, r *wire.Row) { r.Source = 9 },
		"place 77777, of":              func(_ *wire.Block, r *wire.Row) { r.Site = 77777 },
		"text 999, of":                 func(_ *wire.Block, r *wire.Row) { r.Key = 999 << nameTailBits },
		"a duration of -5 ns":          func(_ *wire.Block, r *wire.Row) { r.Duration = -5 },
		"parent: its cause":            func(_ *wire.Block, r *wire.Row) { r.Parent = 150 },
		"parent: kind 40":              func(_ *wire.Block, r *wire.Row) { r.ParentKind = 40 },
		"parent: it has no cause":      func(_ *wire.Block, r *wire.Row) { r.Parent = 0 },
		"probability 3":                func(_ *wire.Block, r *wire.Row) { r.ParentP = 3 },
		"correlation confidence 7":     func(_ *wire.Block, r *wire.Row) { r.CorrConf = 7 },
		"further edge: kind 0":         func(b *wire.Block, r *wire.Row) { r.EdgeOff, r.EdgeLen = addEdge(b, wire.Edge{Cause: 3}) },
		"further edge: its cause": func(b *wire.Block, r *wire.Row) {
			r.EdgeOff, r.EdgeLen = addEdge(b, wire.Edge{Cause: 199, Kind: event.EdgeLock})
		},
		"further edge: it has no cause": func(b *wire.Block, r *wire.Row) { r.EdgeOff, r.EdgeLen = addEdge(b, wire.Edge{Kind: event.EdgeLock}) },
		"it founded its correlation":    func(b *wire.Block, r *wire.Row) { r.Correlation, r.Position = b.Base+50, 3 },
		"correlation 0":                 func(_ *wire.Block, r *wire.Row) { r.Correlation = 0 },
		"its parent":                    func(_ *wire.Block, r *wire.Row) { r.Position++ },
		"extension":                     func(b *wire.Block, r *wire.Row) { r.ExtOff, r.ExtLen = 0, 5 },
		"an edge from 12 to 12": func(b *wire.Block, _ *wire.Row) {
			b.Late = []wire.LateEdge{{Effect: 12, Edge: wire.Edge{Cause: 12, Kind: 1}}}
		},
		"an edge from 9999 to 12": func(b *wire.Block, _ *wire.Row) {
			b.Late = []wire.LateEdge{{Effect: 12, Edge: wire.Edge{Cause: 9999, Kind: 1}}}
		},
		"an edge from 0 to 12": func(b *wire.Block, _ *wire.Row) { b.Late = []wire.LateEdge{{Effect: 12, Edge: wire.Edge{Kind: 1}}} },
	} {
		dir := newMemDir()
		r := recordIn(t, dir, Options{})
		b := r.gen.Block(200)
		// Row 50 is an event under another, with a parent in the same block.
		row := &b.Rows[50]
		*row = wire.Row{
			Record: wire.Record{Time: b.Rows[49].Time, Seq: 1000, Kind: event.KindLog}, Stream: b.Rows[0].Stream, Source: 1,
			Parent: 1, ParentKind: event.EdgeContext, ParentP: 1, Correlation: b.Rows[0].Correlation, Position: b.Rows[0].Position + 1,
		}
		if len(b.Arena) < 10 {
			t.Fatal("no data")
		}
		harm(b, row)
		if err := errors.Join(r.w.Publish(context.Background(), b), r.w.Write(b), r.w.Close()); err != nil {
			t.Fatal(err)
		}
		report := verifyIn(t, dir)
		if !strings.Contains(errors.Join(problems(report)...).Error(), want) {
			t.Errorf("want %q, found %v", want, errors.Join(problems(report)...))
		}
	}
}

func addEdge(b *wire.Block, e wire.Edge) (off, length uint32) {
	b.Edges = append(b.Edges, e)
	return uint32(len(b.Edges) - 1), 1
}

func verifyIn(t *testing.T, dir *memDir) Report {
	t.Helper()
	r, err := openReader(dir)
	if err != nil {
		t.Fatal(err)
	}
	report, err := verify(context.Background(), r, nil)
	if err != nil {
		t.Fatal(err)
	}
	if report.OK() {
		return Report{Problems: []*CorruptError{{Cause: errors.New("nothing")}}}
	}
	return report
}

// An index or a filter that has right checksums and says something else than the block makes events disappear from
// answers: only a comparison finds it.
func TestVerifyHoldsIndexAndFilterAgainstTheBlocks(t *testing.T) {
	for want, harm := range map[string]func(e *blockEntry, late *[]wire.LateEdge){
		"postings: corrupt encoding: the postings of event": nil,
		"index: the entry does not say":                     func(e *blockEntry, _ *[]wire.LateEdge) { e.timeMax-- },
		"time 7 to":                                         func(e *blockEntry, _ *[]wire.LateEdge) { e.timeMin = 7 },
		"kinds 0":                                           func(e *blockEntry, _ *[]wire.LateEdge) { e.kinds = 0 },
		"filter: corrupt encoding: it can not":              func(e *blockEntry, _ *[]wire.LateEdge) { e.filterCRC++ },
		"1 late edges in the index, 2 in the":               func(_ *blockEntry, late *[]wire.LateEdge) { *late = (*late)[:1] },
		"late edge 0 of the index is not that":              func(_ *blockEntry, late *[]wire.LateEdge) { (*late)[0].Edge.P = 0.5 },
	} {
		dir := newMemDir()
		r := recordIn(t, dir, Options{})
		r.add(t, 100)
		b := r.gen.Block(200)
		b.Late = []wire.LateEdge{{Effect: 5, Edge: wire.Edge{Cause: 9, P: 1, Kind: event.EdgeLock}}, {Effect: 6, Edge: wire.Edge{Cause: 9, P: 1, Kind: event.EdgeLock}}}
		if err := errors.Join(r.w.Publish(context.Background(), b), r.w.Write(b), r.w.Close()); err != nil {
			t.Fatal(err)
		}
		rewriteIndex(t, dir, harm)
		report := verifyIn(t, dir)
		if !strings.Contains(errors.Join(problems(report)...).Error(), want) {
			t.Errorf("want %q, found %v", want, errors.Join(problems(report)...))
		}
	}
}

// rewriteIndex writes the index of the first segment anew, with something changed in it.
func rewriteIndex(t *testing.T, dir *memDir, harm func(e *blockEntry, late *[]wire.LateEdge)) {
	t.Helper()
	m, err := readManifest(dir)
	if err != nil {
		t.Fatal(err)
	}
	meta := m.Segments[0]
	seg, x, err := loadSealed(dir, meta)
	if err != nil {
		t.Fatal(err)
	}
	var late []wire.LateEdge
	for i := range x.late.n {
		late = append(late, x.late.edge(i))
	}
	refs := new(postingsBuilder)
	for _, e := range x.entries {
		refs.add(seg.s, e)
	}
	if harm != nil {
		harm(x.entries[0], &late)
	} else {
		refs.pairs = refs.pairs[1:]
	}
	refs.flush()
	p := appendIndex(nil, &indexInput{base: meta.Base, end: meta.End, entries: x.entries, late: late, postings: refs}, x.off)
	f := dir.names[meta.File]
	f.data = append(f.data[:x.off:x.off], p...)
	m.Segments[0].Bytes = int64(len(f.data))
	if err := errors.Join(replaceManifest(dir, m), seg.s.release()); err != nil {
		t.Fatal(err)
	}
}

func TestVerifyFindsAFilterThatDoesNotKnowItsBlock(t *testing.T) {
	dir := newMemDir()
	r := recordIn(t, dir, Options{})
	b := r.add(t, 200)
	r.wait(t)
	r.w.abandon()
	// The block stays as it is, but for a filter of nothing in the place of its own.
	f := dir.names[segmentName(r.w.nextFile-1)]
	var h blockHeader
	if err := parseBlockHeader(f.data[segmentHeadBytes:], &h); err != nil {
		t.Fatal(err)
	}
	c := h.chunks[chunkFilter]
	filter := f.data[segmentHeadBytes+c.off : segmentHeadBytes+c.off+c.length]
	clear(filter[filterHeadBytes:])
	filter[0] ^= 0x55
	h.chunks[chunkFilter].crc = checksum(filter)
	copy(f.data[segmentHeadBytes:], appendBlockHeader(nil, &h))
	report := verifyIn(t, dir)
	if got := errors.Join(problems(report)...).Error(); !strings.Contains(got, "it does not know everything of event") || !strings.Contains(got, "filter") {
		t.Errorf("block %d: %v", b.Base, got)
	}
}

func TestVerifyOfManyBlocksGoesBackForParents(t *testing.T) {
	dir := newMemDir()
	r := recordIn(t, dir, Options{})
	for range 2*lineagesMax + 50 {
		r.add(t, 20)
	}
	r.wait(t)
	if err := r.w.Close(); err != nil {
		t.Fatal(err)
	}
	reader, err := openReader(dir)
	if err != nil {
		t.Fatal(err)
	}
	var last Progress
	report, err := verify(context.Background(), reader, func(p Progress) {
		if p.Events < last.Events || p.Bytes > p.BytesAll {
			t.Errorf("progress %+v after %+v", p, last)
		}
		last = p
	})
	if err != nil || !report.OK() {
		t.Fatalf("%v, %v", err, problems(report))
	}
	if report.Blocks != 2*lineagesMax+50 || report.Events != uint64(20*report.Blocks) || last.Events != report.Events || report.Edges == 0 || report.End != r.end() {
		t.Errorf("%+v, %+v", report, last)
	}
	reader, _ = openReader(dir)
	ctx, cancel := context.WithCancel(context.Background())
	cancel()
	if _, err := verify(ctx, reader, nil); !errors.Is(err, context.Canceled) {
		t.Errorf("cancelled: %v", err)
	}
}

// Every byte of an encoded block, set to some other value behind a checksum that is right, gives an error or a block of the same
// length, and never a panic.
func TestHostileBlocksAreErrors(t *testing.T) {
	table := wire.NewTable(1 << 20)
	g, err := shape.New(table, 1, 1, shape.Shape{Streams: 5, Funcs: 25})
	if err != nil {
		t.Fatal(err)
	}
	_ = g.Block(300)
	b := g.Block(150)
	for i := range b.Rows {
		b.Rows[i].Child = wire.Name(i % 3)
		if i%9 == 0 {
			b.Rows[i].ExtOff, b.Rows[i].ExtLen = 0, 20
			b.Rows[i].ParentP = float32(i) / 150
		}
	}
	b.Late = []wire.LateEdge{{Effect: 1, Edge: wire.Edge{Cause: 2}}}
	failed, fine, step := 0, 0, 1
	if testing.Short() {
		step = 5
	}
	for codec := range codecEnd {
		var e encoded
		newEncoder(table, codec).encode(b, &e)
		var c wire.Columns
		for at := blockFixedBytes; at < len(e.raw); at += step {
			for _, x := range []byte{0, 1, 0x7f, 0x80, 0xff, e.raw[at] + 1, e.raw[at] - 1} {
				raw := slices.Clone(e.raw)
				raw[at] = x
				setDurable(raw, 1)
				var v blockView
				if parseBlockHeader(raw, &v.h) != nil || v.h.length > len(raw) {
					failed++
					continue
				}
				v.raw = raw
				err := errors.Join(v.columns(0, v.h.rows, wire.ColAll, &c), v.columns(77, 78, wire.ColAll, &c))
				_, lateErr := v.lateEdges()
				p, _ := v.chunk(chunkFilter)
				if f, err := parseFilter(p); err == nil {
					f.what.has8(99)
					f.why.has16(99)
				}
				if err != nil || lateErr != nil {
					failed++
				} else {
					fine++
				}
			}
		}
	}
	if failed < 1000/step || fine < 1000/step {
		t.Errorf("%d failed, %d went through: the test does not test what it says", failed, fine)
	}
}

// The same of records of the string table, and of an index.
func TestHostileStringsAndIndexesAreErrors(t *testing.T) {
	texts := []string{"", "main", "orders.go", "x"}
	rec := appendStrings(nil, texts, 1, []wire.Place{{}, {Func: 1, File: 2, Line: 700}, {Func: 3}}, 1)
	failed := 0
	for at := range rec {
		for _, x := range []byte{0, 1, 0x80, 0xff, rec[at] + 1} {
			p := slices.Clone(rec)
			p[at] = x
			if at != 36 && at != 28 {
				fixStrings(p)
			}
			d := newMemDir()
			d.names[stringsName(1)] = &memFile{d: d, data: append(p, rec...)}
			r := stringsReader{table: wire.NewTable(1 << 16)}
			bad := 0
			err := r.read(d, []string{stringsName(1)}, lost, func(*CorruptError) { bad++ })
			if err != nil || bad > 0 {
				failed++
			}
		}
	}
	if failed < 50 {
		t.Errorf("only %d of %d harms were seen", failed, 5*len(rec))
	}

	x := &indexInput{base: 1, end: 21, entries: []*blockEntry{{off: 64, length: 200, base: 1, rows: 20, filterOff: 100, filterLen: 20}}}
	x.late = []wire.LateEdge{{Effect: 3, Edge: wire.Edge{Cause: 7}}, {Effect: 2, Edge: wire.Edge{Cause: 9}}}
	tails := newTails()
	tails.add(wire.Tail{Source: 1, Stream: 5, Seq: 9, ID: 4})
	x.tails, x.tailCount = tails.append(nil), 1
	x.postings = &postingsBuilder{blocks: 1, pairs: []uint64{postingKey(postingCause, 3) << postingBlockBits}}
	x.postings.flush()
	file := appendIndex(make([]byte, 264), x, 264)
	failed = 0
	for at := 264; at < len(file); at++ {
		for _, x := range []byte{0, 1, 0x80, 0xff, file[at] + 1} {
			p := slices.Clone(file)
			p[at] = x
			if at < len(file)-8 {
				fixIndex(p)
			}
			i, err := parseIndex(p, 1, 21)
			if err == nil {
				i.late.causes(3, nil)
				i.late.effects(7, nil)
				err = newTails().load(i.tails, i.tailCount)
			}
			if err == nil && i.postings != nil {
				_, err = i.postings.find(postingCause, 3, new(scratch), nil)
			}
			if err != nil {
				failed++
			}
		}
	}
	if failed < 300 {
		t.Errorf("only %d harms were seen", failed)
	}
}

func TestSourcesAreKept(t *testing.T) {
	dir := newMemDir()
	w, err := Open("", Options{fs: dir})
	if err != nil {
		t.Fatal(err)
	}
	id, err := w.AddSource(SourceInfo{Name: "a.ndjson", Format: "ndjson", Fingerprint: "f", Detail: map[string]string{"version": "1"}})
	if err != nil || id != 1 {
		t.Fatal(id, err)
	}
	added := w.Sources()[0].Added
	if err := w.UpdateSource(SourceInfo{ID: 1, Name: "a.ndjson", Format: "ndjson", Events: 7, Rejected: 2, Complete: true}); err != nil {
		t.Fatal(err)
	}
	if err := w.Close(); err != nil {
		t.Fatal(err)
	}
	r, err := openReader(dir)
	if err != nil {
		t.Fatal(err)
	}
	s := r.Sources()
	if len(s) != 1 || s[0].Events != 7 || s[0].Rejected != 2 || !s[0].Complete || !s[0].Added.Equal(added) || added.IsZero() {
		t.Errorf("%+v", s)
	}
	if r.Table() == nil {
		t.Error("no table")
	}
	if err := r.Close(); err != nil {
		t.Fatal(err)
	}
	if err := r.Close(); err != nil {
		t.Errorf("closing again: %v", err)
	}
	if _, err := r.Fresh(); !errors.Is(err, ErrClosed) {
		t.Errorf("a snapshot of what is closed: %v", err)
	}
}
