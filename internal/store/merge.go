package store

import (
	"encoding/binary"
	"errors"
	"fmt"
	"slices"

	"github.com/pastcone/pastcone/internal/wire"
)

// A source of few events makes small blocks, since what has come is written every few milliseconds: one event may cost what
// thirty do in a block of thousands. When a segment is sealed, neighbouring small blocks become one:
//
//  1. Count what that would save. If it is not worth it, or a block is damaged, the segment is sealed as it is.
//  2. Write another file: large blocks as they are, small ones together, up to 8,192 rows; then the index. Sync it.
//  3. Replace the entry of the manifest: from here on the new file is the segment.
//  4. Give readers of this process the new one. The old file is removed when the last snapshot that has it is closed.
//
// Ids stay what they are; only where they lie changes. A crash before the third step leaves the new file in no
// manifest, after it the old one: the next Open removes it. Nobody waits for any of it.
const (
	mergeRowsMax    = 2048    // a block of fewer rows is small
	mergePayloadMax = 1 << 24 // data and rarer fields of a block made of small ones, about
	mergeSavedMin   = 8       // blocks that have to be saved, and a quarter of all

	// segmentBlocksMax bounds what a segment's list of blocks takes in memory; a trickle of events reaches it
	// before the segment's bytes do.
	segmentBlocksMax = 1 << 18
)

// merger writes a segment anew.
type merger struct {
	s       *segment // the old one
	f       file
	name    string
	off     int64
	entries []*blockEntry

	enc     *encoder
	out     encoded
	b       wire.Block // of the small blocks that are waiting
	waiting []*blockEntry
	texts   int // that they need
	places  int
	c       wire.Columns
}

func (e *blockEntry) small() bool { return e.rows < mergeRowsMax }

// merges gives how many blocks merging would save, were it not for payloads.
func merges(entries []*blockEntry) (saved int) {
	rows := 0 // of the blocks that would be waiting; -1: none are
	for i, e := range entries {
		switch {
		case e.lost:
			return 0
		case !e.small():
			rows = -1
		case i > 0 && rows >= 0 && rows+e.rows <= wire.BlockRowsMax:
			saved++
			rows += e.rows
		default:
			rows = e.rows
		}
	}
	return saved
}

// merge writes the segment of a job into another file with its small blocks merged, and gives the job of that; nil if it is not
// worth it. The caller removes the file if it does not use it.
func (w *Writer) merge(j *sealJob) (*sealJob, error) {
	least := mergeSavedMin
	if w.o.mergeSavedMin != 0 {
		least = w.o.mergeSavedMin
	}
	if saved := merges(j.seg.entries); least < 0 || saved < least || saved*4 < len(j.seg.entries) {
		return nil, nil
	}
	m := &merger{s: j.seg.s, name: segmentName(w.newFileNumber()), off: segmentHeadBytes, enc: w.encoders.Get().(*encoder)}
	defer w.encoders.Put(m.enc)
	var err error
	if m.f, err = w.createFile(m.name, segmentHead(j.meta.Base)); err != nil {
		return nil, err
	}
	if err = m.blocks(j.seg.entries); err != nil {
		return nil, errors.Join(err, m.f.Close(), w.dir.Remove(m.name))
	}
	s, err := newSegment(m.f, m.name, m.off) // which has the file from here on
	if err != nil {
		return nil, errors.Join(err, w.dir.Remove(m.name))
	}
	merged := *j
	merged.meta.File, merged.meta.Bytes = m.name, m.off
	merged.seg = viewSegment{s: s, base: j.seg.base, end: j.seg.end, entries: m.entries, bytes: m.off}
	return &merged, nil
}

func (m *merger) blocks(entries []*blockEntry) error {
	for _, e := range entries {
		if !e.small() {
			if err := m.flush(); err != nil {
				return err
			}
			if err := m.copy(e); err != nil {
				return err
			}
			continue
		}
		if err := m.s.with(e, func(v *blockView) error { return m.read(e, v) }); err != nil {
			return err
		}
		if len(m.b.Arena) > mergePayloadMax || len(m.b.Edges) > EdgesMax/2 {
			if err := m.flush(); err != nil {
				return err
			}
		}
	}
	return m.flush()
}

// read adds a small block to those that are waiting; if it does not fit, they are written first.
func (m *merger) read(e *blockEntry, v *blockView) error {
	if err := v.columns(0, e.rows, wire.ColAll, &m.c); err != nil {
		return err
	}
	late, err := v.lateEdges()
	if err != nil {
		return err
	}
	if len(m.b.Rows)+e.rows > wire.BlockRowsMax || len(m.b.Edges)+len(m.c.Edges) > EdgesMax {
		if err := m.flush(); err != nil {
			return err
		}
	}
	b := &m.b
	if len(m.waiting) == 0 {
		b.Base, b.Arrived = e.base, v.h.arrived
	}
	m.waiting = append(m.waiting, e)
	m.texts, m.places = max(m.texts, v.h.texts), max(m.places, v.h.places)
	b.Arrived = min(b.Arrived, v.h.arrived)
	b.Late = append(b.Late, late...)
	for i := range m.c.Len {
		b.Rows = append(b.Rows, m.row(i))
	}
	return nil
}

// row makes a row of the columns again, with its edges and payload in the block.
func (m *merger) row(i int) wire.Row {
	b, c := &m.b, &m.c
	r := wire.Row{
		Record: wire.Record{
			Time: c.Time[i], Seq: c.Seq[i], Key: c.Key[i], Ordinal: c.Ordinal[i], Peer: c.Peer[i], Child: c.Child[i],
			Site: c.Site[i], Flags: c.Flags[i], Kind: c.Kind[i],
		},
		Stream: c.Stream[i], Parent: c.Parent[i], Correlation: c.Correlation[i], Duration: c.Duration[i], Position: c.Position[i], Source: c.Source[i],
		ParentKind: c.ParentKind[i], ParentConf: c.ParentConf[i], CorrConf: c.CorrConf[i], ParentP: c.ParentP[i],
	}
	edges, data, ext := c.FurtherOf(i), c.DataOf(i), c.ExtOf(i)
	r.EdgeOff, r.EdgeLen = uint32(len(b.Edges)), uint32(len(edges)) // #nosec G115 -- at most EdgesMax
	b.Edges = append(b.Edges, edges...)
	r.DataOff, r.DataLen = uint32(len(b.Arena)), uint32(len(data)) // #nosec G115 -- mergePayloadMax and one block's
	b.Arena = append(b.Arena, data...)
	r.ExtOff, r.ExtLen = uint32(len(b.Arena)), uint32(len(ext)) // #nosec G115 -- mergePayloadMax and one block's
	b.Arena = append(b.Arena, ext...)
	return r
}

// flush writes the blocks that are waiting as one.
func (m *merger) flush() error {
	defer func() {
		b := &m.b
		*b = wire.Block{Rows: b.Rows[:0], Edges: b.Edges[:0], Arena: b.Arena[:0], Late: b.Late[:0]}
		m.waiting, m.texts, m.places = m.waiting[:0], 0, 0
	}()
	switch len(m.waiting) {
	case 0:
		return nil
	case 1:
		return m.copy(m.waiting[0])
	}
	if err := checkBounds(&m.b); err != nil {
		return err
	}
	m.enc.encode(&m.b, &m.out)
	// What the table holds by now is more than these rows need, and not all durable.
	h := &m.out.h
	h.texts, h.places = m.texts, m.places
	binary.LittleEndian.PutUint32(m.out.raw[blockTextsAt:], uint32(h.texts))    // #nosec G115 -- below TextsMax
	binary.LittleEndian.PutUint32(m.out.raw[blockTextsAt+4:], uint32(h.places)) // #nosec G115 -- a Site has 32 bits
	setDurable(m.out.raw, h.base)
	entry := newBlockEntry(h, m.off)
	entry.checked.Store(1<<chunkEnd - 1) // made from memory a moment ago
	return m.write(entry, m.out.raw)
}

// copy writes a block as it is.
func (m *merger) copy(e *blockEntry) error {
	return m.s.with(e, func(v *blockView) error { return m.write(newBlockEntry(&v.h, m.off), v.raw) })
}

func (m *merger) write(e *blockEntry, raw []byte) error {
	if err := writeAll(m.f, raw, m.off); err != nil {
		return fmt.Errorf("%s: offset %d: %w", m.name, m.off, err)
	}
	m.entries = append(m.entries, e)
	m.off += int64(len(raw))
	return nil
}

// sealMerged merges the job's segment, seals what comes of it, and puts it in the place of the old one. done is false if the
// segment is as it was, and has to be sealed as it is.
func (w *Writer) sealMerged(j *sealJob) (done bool, err error) {
	merged, err := w.merge(j)
	if merged == nil || err != nil {
		return false, err
	}
	defer func() { _ = merged.seg.s.release() }()
	size, err := writeIndex(w.dir, merged)
	if err != nil {
		return false, errors.Join(err, w.dir.Remove(merged.meta.File))
	}
	sealed := merged.meta
	sealed.State, sealed.Bytes = segmentSealed, size
	err = w.replaceSegment(j.meta.File, sealed)
	if errors.Is(err, errGone) {
		_ = w.dir.Remove(sealed.File)
		return true, nil
	}
	if err != nil {
		return false, err // either manifest may be on disk: both files stay, and the next Open removes one
	}
	w.stats.sealed.Add(1)
	w.stats.merged.Add(uint64(len(j.seg.entries) - len(merged.seg.entries))) // #nosec G115 -- it saves some
	return true, w.show(j.meta.File, sealed)
}

// replaceSegment puts another entry in the place of the segment of that file in the manifest.
func (w *Writer) replaceSegment(file string, meta segmentMeta) error {
	return w.updateManifest(func(m *manifest) error {
		i := slices.IndexFunc(m.Segments, func(s segmentMeta) bool { return s.File == file })
		if i < 0 {
			return errGone
		}
		m.Segments[i] = meta
		return nil
	})
}

// show gives readers of this process a sealed segment in the place of the one of that file. If it is another file, the old one is removed when
// nobody has it any more.
func (w *Writer) show(file string, sealed segmentMeta) error {
	seg, _, err := loadSealed(w.dir, sealed)
	if err != nil {
		return fmt.Errorf("%s: the index that was just written: %w", sealed.File, err)
	}
	seg.tails = nil
	w.mu.Lock()
	defer w.mu.Unlock()
	if file != sealed.File {
		for _, old := range w.view.segs {
			if old.s.name == file {
				remove := func() { _ = w.dir.Remove(file) } // if it fails, the next Open does it
				old.s.drop.Store(&remove)
			}
		}
	}
	w.setView(w.view.replace(file, *seg))
	return nil
}
