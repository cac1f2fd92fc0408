package store

import (
	"errors"
	"fmt"
	"io/fs"

	"github.com/pastcone/pastcone/event"
	"github.com/pastcone/pastcone/internal/wire"
)

// loaded is what opening a segment has found.
type loaded struct {
	viewSegment
	scan
}

// loadSegment opens a segment of the manifest, by its index or by reading its blocks. What is damaged is reported
// and stays in the list of blocks, so that the rest can be read. known is up to which id everything is
// known to be durable. gone is asked whether a file that is not there is lost: for a reader, it may as well
// have been removed since the manifest was read.
func loadSegment(dir fsys, meta segmentMeta, known event.ID, gone func() bool, report damage) (*loaded, error) {
	if meta.State == segmentSealed {
		seg, x, err := loadSealed(dir, meta)
		if err == nil {
			return &loaded{*seg, scan{entries: x.entries, off: x.off, next: meta.End, arrived: meta.Arrived, texts: x.texts, places: x.places}}, nil
		}
		if errors.Is(err, ErrVersion) {
			return nil, fmt.Errorf("%s: %w", meta.File, err)
		}
		if !errors.Is(err, fs.ErrNotExist) {
			report(&CorruptError{File: meta.File, Offset: meta.Bytes, Part: "index", Cause: err})
		}
	}
	l, err := loadByBlocks(dir, meta, known, report)
	if errors.Is(err, fs.ErrNotExist) && meta.State != segmentOpen && gone() {
		return loadMissing(meta, err, report), nil
	}
	return l, err
}

// loadSealed opens a sealed segment by its index.
func loadSealed(dir fsys, meta segmentMeta) (*viewSegment, *index, error) {
	f, err := dir.Open(meta.File, false, false)
	if err != nil {
		return nil, nil, err
	}
	if size, err := f.Size(); err != nil || size < meta.Bytes {
		return nil, nil, errors.Join(corrupt("a file of %d bytes, not %d", size, meta.Bytes), err, f.Close())
	}
	s, err := newSegment(f, meta.File, meta.Bytes)
	if err != nil {
		return nil, nil, err
	}
	var x *index
	err = s.guard(&blockEntry{}, func() error {
		if x, err = parseIndex(s.m.Bytes(0, int(meta.Bytes)), meta.Base, meta.End); err == nil && x.postings == nil {
			x.texts, x.places = s.stringsOf(x.entries)
		}
		return err
	})
	if err != nil {
		_ = s.release()
		return nil, nil, err
	}
	return &viewSegment{
		s: s, base: meta.Base, end: meta.End, entries: x.entries, late: x.late, bytes: meta.Bytes,
		tails: x.tails, tailCount: x.tailCount, sealed: true, postings: x.postings, unindexed: x.unindexed,
	}, x, nil
}

// stringsOf gives what the string table must hold for these blocks: what it must for the last of them. An index of version 1 does
// not say it.
func (s *segment) stringsOf(entries []*blockEntry) (texts, places int) {
	for i := len(entries) - 1; i >= 0; i-- {
		var h blockHeader
		if e := entries[i]; !e.lost && parseBlockHeader(s.m.Bytes(e.off, e.length), &h) == nil {
			return h.texts, h.places
		}
	}
	return 0, 0
}

// loadByBlocks opens a segment by reading its blocks: of one that may be torn, all of each; else the
// headers.
func loadByBlocks(dir fsys, meta segmentMeta, known event.ID, report damage) (*loaded, error) {
	f, err := dir.Open(meta.File, false, false)
	if err != nil {
		return nil, err
	}
	size, err := f.Size()
	if err != nil {
		return nil, errors.Join(err, f.Close())
	}
	mapped, stop := int64(liveMapBytes), event.ID(0)
	if meta.State != segmentOpen {
		size, stop, known = min(size, meta.Bytes), meta.End, meta.End
		mapped = size
	}
	s, err := newSegment(f, meta.File, mapped)
	if err != nil {
		return nil, err
	}
	l := &loaded{viewSegment{s: s, base: meta.Base, bytes: size}, scan{off: segmentHeadBytes, next: meta.Base}}
	err = s.guard(&blockEntry{}, func() error { return l.readBlocks(size, known, stop, meta, report) })
	if err != nil {
		_ = s.release()
		return nil, err
	}
	return l, nil
}

// readBlocks reads on where the scan has stopped.
func (l *loaded) readBlocks(size int64, known, stop event.ID, meta segmentMeta, report damage) error {
	if size < segmentHeadBytes && stop == 0 && known <= l.next {
		return nil // it was just being made
	}
	if l.off == segmentHeadBytes {
		if err := checkSegmentHead(l.s.m.Bytes(0, int(min(size, segmentHeadBytes))), meta.Base); err != nil {
			if errors.Is(err, ErrVersion) {
				return fmt.Errorf("%s: %w", meta.File, err)
			}
			report(&CorruptError{File: meta.File, Part: "header", Cause: err})
		}
	}
	l.s.scanBlocks(&l.scan, size, known, stop, meta.State == segmentOpen, report)
	l.viewSegment.end, l.viewSegment.entries = l.next, l.scan.entries
	return nil
}

// loadMissing stands in for a segment of which the file is gone.
func loadMissing(meta segmentMeta, cause error, report damage) *loaded {
	s := &segment{name: meta.File}
	s.refs.Store(1)
	e := &blockEntry{
		off: segmentHeadBytes, base: meta.Base, rows: int(meta.End - meta.Base), kinds: 1<<32 - 1, lost: true, // #nosec G115 -- a span of ids in one file
		timeMin: -1 << 63, timeMax: 1<<63 - 1,
	}
	report(s.corrupt(e, cause))
	entries := []*blockEntry{e}
	return &loaded{
		viewSegment{s: s, base: meta.Base, end: meta.End, entries: entries, bytes: meta.Bytes},
		scan{entries: entries, off: meta.Bytes, next: meta.End},
	}
}

// addTails brings the tails up to date with a segment's blocks. A damaged one is passed over.
func (seg *viewSegment) addTails(t *tails) {
	var c wire.Columns
	codes := make([]uint64, wire.BlockRowsMax)
	for _, e := range seg.entries {
		_ = seg.s.guard(e, func() error {
			var v blockView
			err := seg.s.open(e, &v)
			if err == nil {
				err = v.columns(0, e.rows, wire.ColStream|wire.ColSource|wire.ColSeq|wire.ColKind, &c)
			}
			if err == nil {
				clear(codes)
				err = v.streamCodes(codes[:e.rows])
			}
			if err == nil {
				t.addBlock(&c, codes[:e.rows])
			}
			return err
		})
	}
}

// loadTails finds the last event of each stream: from the newest index that has them, and the blocks
// behind it.
func loadTails(segs []viewSegment) *tails {
	t := newTails()
	from := len(segs)
	for from > 0 {
		seg := &segs[from-1]
		if seg.sealed && t.load(seg.tails, seg.tailCount) == nil {
			break
		}
		t = newTails()
		from--
	}
	for i := from; i < len(segs); i++ {
		segs[i].addTails(t)
	}
	for i := range segs {
		segs[i].tails = nil // they point into the file; nobody needs them any more
	}
	return t
}
