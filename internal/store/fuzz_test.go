package store

import (
	"bytes"
	"errors"
	"flag"
	"fmt"
	"os"
	"path/filepath"
	"slices"
	"testing"
	"time"

	"pgregory.net/rapid"

	"github.com/pastcone/pastcone/event"
	"github.com/pastcone/pastcone/internal/wire"
)

var update = flag.Bool("update", false, "write the fuzz seeds and the fixture of the present format version anew")

// seed adds a seed, and writes it as a file if asked to.
func seed(f *testing.F, name string, p []byte) {
	f.Helper()
	f.Add(p)
	if !*update {
		return
	}
	dir := filepath.Join("testdata", "fuzz", f.Name())
	if err := os.MkdirAll(dir, 0o755); err != nil {
		f.Fatal(err)
	}
	text := fmt.Sprintf("go test fuzz v1\n[]byte(%q)\n", p)
	if err := os.WriteFile(filepath.Join(dir, name), []byte(text), 0o644); err != nil {
		f.Fatal(err)
	}
}

// quick fails if decoding hostile bytes takes long: bounds on memory and time are bounds on work.
func quick(t *testing.T) func() {
	start := time.Now()
	return func() {
		if d := time.Since(start); d > 5*time.Second {
			t.Errorf("it took %v", d)
		}
	}
}

func FuzzBlock(f *testing.F) {
	table := wire.NewTable(1 << 20)
	gen := rapid.Custom(func(t *rapid.T) *wire.Block { return drawBlock(t, table) })
	for i := range 12 {
		enc := newEncoder(table, Codec(i%3))
		var e encoded
		b := gen.Example(i)
		b.Rows = b.Rows[:min(len(b.Rows), 40+20*i)]
		enc.encode(b, &e)
		seed(f, fmt.Sprintf("block%d", i), slices.Clone(e.raw))
	}
	f.Fuzz(func(t *testing.T, raw []byte) {
		defer quick(t)()
		var v blockView
		if len(raw) < blockHeaderBytes {
			return
		}
		// Flipped bits are found by the checksums: behind them begins what this is about.
		raw = slices.Clone(raw)
		if n := int(raw[6]) | int(raw[7])<<8; n >= blockHeaderBytes && n <= len(raw) {
			setDurable(raw, 1)
		}
		if err := parseBlockHeader(raw, &v.h); err != nil || v.h.length > len(raw) {
			return
		}
		v.raw = raw
		var c wire.Columns
		if err := v.columns(0, v.h.rows, wire.ColAll, &c); err == nil && (c.Len != v.h.rows || len(c.Time) != v.h.rows || len(c.DataEnd) != v.h.rows) {
			t.Fatal("a block of another length")
		}
		if v.h.rows > 0 {
			_ = v.columns(v.h.rows/2, v.h.rows/2+1, wire.ColAll, &c)
			var rows []uint16
			for i := v.h.rows / 3; i < v.h.rows; i += 1 + i/2 {
				rows = append(rows, uint16(i))
			}
			if err := v.gather(rows, wire.ColAll, &c); err == nil && (c.Len != len(rows) || len(c.Time) != len(rows) || len(c.DataEnd) != len(rows)) {
				t.Fatal("another number of rows")
			}
			for _, by := range findable {
				found, _ := v.find(by, []uint64{0, uint64(v.h.base), 64}, nil)
				if n := len(found); n > 0 && int(found[n-1]) >= v.h.rows {
					t.Fatalf("row %d of %d", found[n-1], v.h.rows)
				}
			}
		}
		_, _ = v.lateEdges()
		_ = v.checkAll()
		if p, err := v.chunk(chunkFilter); err == nil {
			fuzzFilter(p)
		}
	})
}

// fuzzFilter asks a filter of any bytes for some keys.
func fuzzFilter(p []byte) {
	if f, err := parseFilter(p); err == nil {
		for key := range uint64(100) {
			f.what.has8(mix64(key))
			f.why.has16(mix64(key))
		}
	}
}

func FuzzFilter(f *testing.F) {
	var b filterBuilder
	for n := range uint64(300) {
		b.what, b.why = append(b.what, mix64(n)), append(b.why, mix64(n+1000))
	}
	seed(f, "both", b.append(nil))
	b.reset()
	seed(f, "empty", b.append(nil))
	b.why = []uint64{7}
	seed(f, "one", b.append(nil))
	f.Fuzz(func(_ *testing.T, p []byte) { fuzzFilter(p) })
}

// FuzzPayload decodes pieces of any bytes, with their checksum put right.
func FuzzPayload(f *testing.F) {
	for c := range codecEnd {
		z := newCompressor(c)
		z.raw = append(z.raw, bytes.Repeat([]byte(`{"order":1}`), 20)...)
		_, pieces := z.appendPiece(nil, nil, 20)
		seed(f, c.String(), append([]byte{byte(c), 220}, pieces...))
	}
	f.Fuzz(func(t *testing.T, p []byte) {
		defer quick(t)()
		if len(p) < 2 {
			return
		}
		e := piece{rows: 1, raw: int(p[1]), codec: Codec(p[0]), stored: p[2:], crc: checksum(p[2:])}
		out, err := e.appendRaw(nil)
		if err == nil && len(out) != e.raw {
			t.Fatalf("%d bytes of %d", len(out), e.raw)
		}
		if cap(out) > 1<<20 {
			t.Fatalf("%d bytes for a claim of %d", cap(out), e.raw)
		}
	})
}

func FuzzManifest(f *testing.F) {
	m := &manifest{
		Created: time.Unix(1e9, 0).UTC(), FirstID: 5, NextID: 40, NextFile: 9, Strings: []string{stringsName(1)},
		Segments: []segmentMeta{
			{File: segmentName(2), State: segmentSealed, Base: 5, End: 20, Bytes: 1000},
			{File: segmentName(3), State: segmentClosed, Base: 20, End: 30, Bytes: 500, Failed: true},
			{File: segmentName(4), State: segmentOpen, Base: 30},
		},
		Sources: []SourceInfo{{ID: 1, Name: "a.ndjson", Format: "ndjson", Complete: true, Detail: map[string]string{"k": "v"}}},
	}
	p, err := encodeManifest(m)
	if err != nil {
		f.Fatal(err)
	}
	_, body, _ := bytes.Cut(p, []byte("\n"))
	seed(f, "all", body)
	seed(f, "empty", []byte(`{"first_id":1,"next_id":1}`))
	seed(f, "path", []byte(`{"first_id":1,"next_id":1,"strings":["strings-/../../x"]}`))
	f.Fuzz(func(t *testing.T, body []byte) {
		head := fmt.Sprintf("%s version=%d length=%d crc32c=%08x\n", manifestTitle, FormatVersion, len(body), checksum(body))
		m, err := decodeManifest(append([]byte(head), body...))
		if err != nil {
			return
		}
		again, err := encodeManifest(m)
		if err != nil {
			t.Fatal(err)
		}
		if _, err := decodeManifest(again); err != nil {
			t.Fatalf("what was right is not when it is written again: %v", err)
		}
		_, _ = decodeManifest(body)
	})
}

func FuzzStrings(f *testing.F) {
	texts := []string{"", "main", "orders.go", "a longer text"}
	places := []wire.Place{{}, {Func: 1, File: 2, Line: 7}}
	two := appendStrings(appendStrings(nil, texts, 1, places[:1], 1), texts, 4, places, 1)
	seed(f, "two records", two)
	seed(f, "a damaged one between", append(append(appendStrings(nil, texts[:2], 1, places[:1], 1), "????????"...), appendStrings(nil, texts, 3, places, 1)...))
	seed(f, "torn", two[:len(two)-1])
	f.Fuzz(func(t *testing.T, p []byte) {
		defer quick(t)()
		if len(p) >= stringsHeadBytes {
			p = slices.Clone(p)
			fixStrings(p)
		}
		d := newMemDir()
		d.names[stringsName(1)] = &memFile{d: d, data: p}
		table := wire.NewTable(1 << 20)
		r := stringsReader{table: table}
		err := r.read(d, []string{stringsName(1)}, lost, func(e *CorruptError) {})
		if err != nil && !errors.Is(err, ErrVersion) && !errors.Is(err, wire.ErrTableFull) && !errors.Is(err, wire.ErrCorrupt) {
			t.Fatal(err)
		}
		if r.off > int64(len(p)) {
			t.Fatalf("it ends at %d of %d", r.off, len(p))
		}
	})
}

// fixStrings puts the checksums of the first record right.
func fixStrings(p []byte) {
	le := func(at int) int { return int(p[at]) | int(p[at+1])<<8 | int(p[at+2])<<16 | int(p[at+3])<<24 }
	put := func(at int, v uint32) {
		p[at], p[at+1], p[at+2], p[at+3] = byte(v), byte(v>>8), byte(v>>16), byte(v>>24)
	}
	if n := le(8); n >= 0 && n <= len(p)-stringsHeadBytes {
		put(28, checksum(p[stringsHeadBytes:stringsHeadBytes+n]))
	}
	put(36, checksum(p[:36]))
}

func FuzzIndex(f *testing.F) {
	x := &indexInput{
		base: 1, end: 21, entries: []*blockEntry{{off: 64, length: 200, base: 1, rows: 20, filterOff: 100, filterLen: 20}},
		postings: &postingsBuilder{blocks: 1},
	}
	x.postings.flush()
	seed(f, "one block", appendIndex(nil, x, 264))
	seed(f, "version 1", indexOfVersion1(appendIndex(nil, x, 264)))
	x.late = []wire.LateEdge{{Effect: 3, Edge: wire.Edge{Cause: 7}}, {Effect: 2, Edge: wire.Edge{Cause: 9}}}
	tails := newTails()
	tails.add(wire.Tail{Source: 1, Stream: 5, Seq: 9, ID: 4})
	tails.add(wire.Tail{Source: 1, Stream: 6, Seq: 2, ID: 7, Exited: true})
	x.tails, x.tailCount = tails.append(nil), 2
	seed(f, "late edges and tails", appendIndex(nil, x, 264))
	x.postings = &postingsBuilder{blocks: 1}
	for _, key := range []uint64{postingKey(postingCause, 3), postingKey(postingCorrelation, 3), postingKey(postingCause, 17)} {
		x.postings.pairs = append(x.postings.pairs, key<<postingBlockBits)
	}
	x.postings.flush()
	seed(f, "postings", appendIndex(nil, x, 264))
	x.unindexed = []int{0}
	seed(f, "a block without postings", appendIndex(nil, x, 264))
	if _, err := parseIndex(append(make([]byte, 264), indexOfVersion1(appendIndex(nil, &indexInput{
		base: 1, end: 21, entries: x.entries, postings: new(postingsBuilder),
	}, 264))...), 1, 21); err != nil {
		f.Fatalf("an index of version 1: %v", err)
	}
	f.Fuzz(func(t *testing.T, p []byte) {
		defer quick(t)()
		file := append(make([]byte, 264), p...)
		fixIndex(file)
		x, err := parseIndex(file, 1, 21)
		if err != nil {
			return
		}
		for id := range event.ID(25) {
			x.late.causes(id, nil)
			x.late.effects(id, nil)
			blockOf(x.entries, id)
			if x.postings != nil {
				for what := range 2 {
					numbers, _ := x.postings.find(what, id, new(scratch), nil)
					for _, n := range numbers {
						if n >= len(x.entries) {
							t.Fatalf("block %d of %d", n, len(x.entries))
						}
					}
				}
			}
		}
		_ = newTails().load(x.tails, x.tailCount)
	})
}

// indexOfVersion1 makes an index without late edges, tails and groups one of version 1: its head is shorter, and there are no shards.
func indexOfVersion1(p []byte) []byte {
	old := append(slices.Clone(p[:indexHeadBytes1]), p[indexHeadBytes:indexHeadBytes+indexEntryBytes]...)
	old = append(old, p[len(p)-indexTrailerBytes:]...)
	old[4] = 1
	clear(old[52:60])
	file := append(make([]byte, 264), old...)
	fixIndex(file)
	return file[264:]
}

// fixIndex puts the checksums of an index at offset 264 right.
func fixIndex(file []byte) {
	if len(file) < 264+indexHeadBytes1+indexTrailerBytes {
		return
	}
	put := func(p []byte, v uint32) { p[0], p[1], p[2], p[3] = byte(v), byte(v>>8), byte(v>>16), byte(v>>24) }
	get := func(p []byte) int { return int(p[0]) | int(p[1])<<8 | int(p[2])<<16 | int(p[3]&0x7f)<<24 }
	at, size := 264, indexHeadBytes1
	if file[at+4] == indexVersion && len(file) >= at+indexHeadBytes+indexTrailerBytes {
		size = indexHeadBytes
	}
	head, rest := file[at:at+size], file[at+size:len(file)-indexTrailerBytes]
	part := func(n, sum int) {
		if n <= len(rest) {
			put(head[sum:], checksum(rest[:n]))
			rest = rest[n:]
		}
	}
	part(get(head[24:])*indexEntryBytes, 40)
	part(get(head[28:])*(lateEdgeBytes+4), 44)
	if n := get(head[36:]); n <= len(rest) {
		part(n, 48)
	}
	if size == indexHeadBytes {
		part(get(head[52:])*postingShardBytes+get(head[56:])*postingGroupBytes, 60)
	}
	put(head[size-4:], checksum(head[:size-4]))
	trailer := file[len(file)-indexTrailerBytes:]
	put(trailer, 264)
	put(trailer[4:], 0)
	put(trailer[8:], indexMagic)
	put(trailer[12:], checksum(trailer[:12]))
}

// FuzzSegment reads the blocks of a segment of any bytes.
func FuzzSegment(f *testing.F) {
	table := wire.NewTable(1 << 20)
	enc := newEncoder(table, CodecNone)
	blocks := segmentHead(1)
	base := event.ID(1)
	for n := range 3 {
		b := &wire.Block{Base: base, Rows: make([]wire.Row, 5+n)}
		for i := range b.Rows {
			b.Rows[i].Stream, b.Rows[i].Seq = 1, uint64(i)
		}
		var e encoded
		enc.encode(b, &e)
		setDurable(e.raw, base)
		blocks = append(blocks, e.raw...)
		base += event.ID(len(b.Rows))
	}
	seed(f, "three blocks", blocks)
	seed(f, "torn", blocks[:len(blocks)-9])
	bad := slices.Clone(blocks)
	bad[segmentHeadBytes+20] ^= 4
	seed(f, "damaged header", bad)
	f.Fuzz(func(t *testing.T, p []byte) {
		defer quick(t)()
		d := newMemDir()
		d.names[segmentName(1)] = &memFile{d: d, data: p}
		for _, meta := range []segmentMeta{
			{File: segmentName(1), State: segmentOpen, Base: 1},
			{File: segmentName(1), State: segmentClosed, Base: 1, End: 19, Bytes: int64(len(p)) + 1},
		} {
			l, err := loadSegment(d, meta, 12, func() bool { return true }, func(*CorruptError) {})
			if err != nil {
				continue
			}
			next := event.ID(1)
			for _, e := range l.viewSegment.entries {
				if e.base != next || e.off+int64(e.length) > int64(len(p)) && !e.lost {
					t.Fatalf("block %d at %d behind %d", e.base, e.off, next)
				}
				next = e.end()
			}
			if meta.State == segmentClosed && next != meta.End {
				t.Fatalf("it ends with %d", next)
			}
		}
	})
}
