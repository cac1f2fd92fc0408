package store

import (
	"encoding/binary"
	"errors"
	"fmt"
	"runtime/debug"
	"sort"
	"sync/atomic"

	"github.com/pastcone/pastcone/event"
	"github.com/pastcone/pastcone/internal/wire"
)

// A segment is a file: a header, blocks, and, once it is sealed, an index of them. Layout:
// docs/format/segment.md.
const (
	segmentMagic     = 0x47455350 // "PSEG"
	segmentHeadBytes = 64
	lostRowsMax      = 1 << 31

	// liveMapBytes is how much address space is set aside for a segment that still grows. It costs no
	// memory, and must hold the largest segment and one block of the largest size.
	liveMapBytes     = 1 << 31
	segmentBytesMost = 1 << 30 // what a segment's bound can be set to
)

func segmentHead(base event.ID) []byte {
	p := make([]byte, segmentHeadBytes)
	le := binary.LittleEndian
	le.PutUint32(p, segmentMagic)
	le.PutUint16(p[4:], FormatVersion)
	le.PutUint64(p[8:], uint64(base))
	le.PutUint32(p[segmentHeadBytes-4:], checksum(p[:segmentHeadBytes-4]))
	return p
}

func checkSegmentHead(p []byte, base event.ID) error {
	le := binary.LittleEndian
	switch {
	case len(p) < segmentHeadBytes || le.Uint32(p) != segmentMagic:
		return corrupt("no segment begins here")
	case le.Uint32(p[segmentHeadBytes-4:]) != checksum(p[:segmentHeadBytes-4]):
		return errChecksum
	case le.Uint16(p[4:]) != FormatVersion:
		return fmt.Errorf("%w: %d", ErrVersion, le.Uint16(p[4:]))
	case event.ID(le.Uint64(p[8:])) != base:
		return corrupt("it begins with id %d, not %d", le.Uint64(p[8:]), base)
	}
	return nil
}

// blockEntry is what is known of a block without reading it: enough to prune.
type blockEntry struct {
	off              int64
	length           int
	base             event.ID
	rows             int
	timeMin, timeMax int64
	kinds            uint32
	late             int
	filterOff        int // in the block
	filterLen        int // 0: none, and everything may be in it
	filterCRC        uint32
	lost             bool // its header is damaged: the rows are known to have been there, and that is all

	checked atomic.Uint32 // bit of each chunk whose checksum has been found right
	filter  atomic.Pointer[filter]
}

func newBlockEntry(h *blockHeader, off int64) *blockEntry {
	f := h.chunks[chunkFilter]
	return &blockEntry{
		off: off, length: h.length, base: h.base, rows: h.rows, timeMin: h.timeMin, timeMax: h.timeMax,
		kinds: h.kinds, late: h.late, filterOff: f.off, filterLen: f.length, filterCRC: f.crc,
	}
}

func (e *blockEntry) end() event.ID { return e.base + event.ID(e.rows) } // #nosec G115 -- a count

// segment is an open file of blocks. It is shared by all snapshots that were taken while it was
// listed, and by the writer; the last to let go of it closes the file, and removes it if retention
// has said so.
type segment struct {
	name string
	f    file
	m    mapping
	refs atomic.Int32
	drop atomic.Pointer[func()] // what is to be done when nobody needs it any more, beside closing
}

func newSegment(f file, name string, mapBytes int64) (*segment, error) {
	m, err := f.Map(mapBytes)
	if err != nil {
		_ = f.Close()
		return nil, err
	}
	s := &segment{name: name, f: f, m: m}
	s.refs.Store(1)
	return s, nil
}

func (s *segment) hold() { s.refs.Add(1) }

func (s *segment) release() error {
	if s.refs.Add(-1) > 0 {
		return nil
	}
	var err error
	if s.f != nil {
		err = errors.Join(s.m.Close(), s.f.Close())
	}
	if drop := s.drop.Load(); drop != nil {
		(*drop)()
	}
	return err
}

// open opens a block for reading. Chunks are checked as they are asked for.
func (s *segment) open(e *blockEntry, v *blockView) error {
	if e.lost {
		return s.corrupt(e, corrupt("its header is damaged, %d events are lost", e.rows))
	}
	v.raw = s.m.Bytes(e.off, e.length)
	v.checked = &e.checked
	if err := parseBlockHeader(v.raw, &v.h); err != nil {
		return s.corrupt(e, err)
	}
	if v.h.base != e.base || v.h.rows != e.rows || v.h.length != e.length {
		return s.corrupt(e, corrupt("it holds %d rows from id %d in %d bytes, the index says %d from %d in %d",
			v.h.rows, v.h.base, v.h.length, e.rows, e.base, e.length))
	}
	return nil
}

// corrupt names the block, and the part of it if the cause does.
func (s *segment) corrupt(e *blockEntry, cause error) *CorruptError {
	c := &CorruptError{File: s.name, Block: e.base, Offset: e.off, Part: "block", Cause: cause}
	var part *chunkError
	if errors.As(cause, &part) {
		c.Part, c.Offset, c.Cause = chunkNames[part.chunk], e.off+int64(part.off), part.cause
	}
	return c
}

// guard makes a memory fault an error. Recordings are read as memory; when a file is cut off by somebody
// else, or its disk fails, the processor says so in the middle of a load. Only for code that holds no
// lock and whose half-done work is thrown away.
func (s *segment) guard(e *blockEntry, f func() error) (err error) {
	old := debug.SetPanicOnFault(true)
	defer func() {
		debug.SetPanicOnFault(old)
		if r := recover(); r != nil {
			fault, ok := r.(interface{ Addr() uintptr })
			if !ok {
				panic(r)
			}
			err = s.corrupt(e, fmt.Errorf("the file can not be read any more (memory fault at %#x): it was cut off, or its disk fails", fault.Addr()))
		}
	}()
	return f()
}

// read fills into with the wanted columns of rows [low, high) of a block.
func (s *segment) read(e *blockEntry, low, high int, want wire.ColumnSet, into *wire.Columns) error {
	return s.with(e, func(v *blockView) error { return v.columns(low, high, want, into) })
}

// with lets f read a block, and names the block in its error.
func (s *segment) with(e *blockEntry, f func(*blockView) error) error {
	return s.guard(e, func() error {
		var v blockView
		if err := s.open(e, &v); err != nil {
			return err
		}
		if err := f(&v); err != nil {
			return s.corrupt(e, err)
		}
		return nil
	})
}

// filterOf gives a block's filter, nil if it has none or a damaged one: then everything may be in it.
func (s *segment) filterOf(e *blockEntry) *filter {
	if f := e.filter.Load(); f != nil || e.filterLen == 0 || e.lost {
		return f
	}
	p := s.m.Bytes(e.off+int64(e.filterOff), e.filterLen)
	if checksum(p) != e.filterCRC {
		return nil
	}
	f, err := parseFilter(p)
	if err != nil {
		return nil
	}
	e.filter.Store(f)
	return f
}

// blockOf finds the block that holds id in a list of blocks.
func blockOf(entries []*blockEntry, id event.ID) (*blockEntry, bool) {
	i := sort.Search(len(entries), func(i int) bool { return entries[i].end() > id })
	if i == len(entries) || id < entries[i].base {
		return nil, false
	}
	return entries[i], true
}

// scan is what reading a segment's blocks one after the other has found.
type scan struct {
	entries []*blockEntry
	off     int64    // behind the last block
	next    event.ID // one more than its last id
	texts   int      // what the string table must hold for the blocks
	places  int
	arrived int64
}

// scanBlocks reads the blocks of a segment from s.off on. Four rules:
//
//  1. A block is taken if its header, its place in the order of ids and (if verify is set) all its checksums
//     are right.
//  2. A block that is not right, and was durable, is damage: it is reported and stays in the list,
//     so that what can be read of it is, and its ids are not given out again.
//  3. One that is not right, and was not durable, is where the writer was when it died: the segment ends
//     before it. A reader of a live recording will find it whole a moment later.
//  4. Whether it was durable, the blocks behind it know: each says up to which id everything was
//     durable when it was written. So does known, from the manifest or the live file.
//
// It stops at size, or before the block that begins with id stop, if that is not 0.
func (s *segment) scanBlocks(c *scan, size int64, known, stop event.ID, verify bool, report damage) {
	looked := false
	for size-c.off >= blockHeaderBytes && (stop == 0 || c.next < stop) {
		var v blockView
		err := s.headerAt(c.off, size, &v.h)
		if err == nil && v.h.base != c.next {
			err = corrupt("it begins with id %d, not %d", v.h.base, c.next)
		}
		headerRight := err == nil
		if err == nil && verify {
			v.raw = s.m.Bytes(c.off, v.h.length)
			err = v.checkAll()
		}
		if err != nil {
			if !looked {
				known, looked = max(known, s.durableBehind(c.off, size, c.next)), true
			}
			if c.next >= known {
				return
			}
			if !headerRight {
				if !s.skipLost(c, size, known, stop, err, report) {
					return
				}
				continue
			}
		}
		e := newBlockEntry(&v.h, c.off)
		if err != nil {
			report(s.corrupt(e, err))
		} else if verify {
			e.checked.Store(1<<chunkEnd - 1)
		}
		c.add(e, &v.h)
	}
	if c.next < known && (stop == 0 || c.next < stop) {
		s.skipLost(c, size, known, stop, corrupt("the file ends before id %d", known), report)
	}
}

func (c *scan) add(e *blockEntry, h *blockHeader) {
	c.entries = append(c.entries, e)
	c.off, c.next = e.off+int64(e.length), e.end()
	if h != nil {
		c.texts, c.places, c.arrived = max(c.texts, h.texts), max(c.places, h.places), max(c.arrived, h.arrived)
	}
}

// headerAt reads the header of the block at off, which must lie before size as a whole.
func (s *segment) headerAt(off, size int64, h *blockHeader) error {
	if err := parseBlockHeader(s.m.Bytes(off, int(min(size-off, blockHeaderMax))), h); err != nil {
		return err
	}
	if int64(h.length) > size-off {
		return corrupt("%d bytes of %d", size-off, h.length)
	}
	return nil
}

// headerBehind looks for the next header behind off that is right and has an id of at least next.
func (s *segment) headerBehind(off, size int64, next event.ID, h *blockHeader) (int64, bool) {
	for off += blockAlignment; size-off >= blockHeaderBytes; off += blockAlignment {
		if binary.LittleEndian.Uint32(s.m.Bytes(off, 4)) == blockMagic &&
			parseBlockHeader(s.m.Bytes(off, int(min(size-off, blockHeaderMax))), h) == nil && h.base >= next {
			return off, true
		}
	}
	return 0, false
}

// durableBehind gives the highest id that a block at off or behind it says was durable.
func (s *segment) durableBehind(off, size int64, next event.ID) (durable event.ID) {
	var h blockHeader
	if s.headerAt(off, size, &h) == nil && h.base == next {
		// Its own word does not count, but where it ends is where to go on.
		off += int64(h.length) - blockAlignment
	}
	for {
		at, ok := s.headerBehind(off, size, next, &h)
		if !ok {
			return durable
		}
		durable = max(durable, h.durable)
		off = at
	}
}

// skipLost puts an entry without content in the list, for the ids up to the next block that is right, or up to
// known. It says whether there is anything left to read.
func (s *segment) skipLost(c *scan, size int64, known, stop event.ID, cause error, report damage) bool {
	var h blockHeader
	at, ok := s.headerBehind(c.off, size, c.next, &h)
	end, length := known, size-c.off
	if stop != 0 {
		end = stop
	}
	if ok {
		end, length = h.base, at-c.off
	}
	e := &blockEntry{
		off: c.off, length: int(length), base: c.next, rows: int(end - c.next), kinds: 1<<32 - 1, lost: true, // #nosec G115 -- a span of ids in one file
		timeMin: -1 << 63, timeMax: 1<<63 - 1,
	}
	if end-c.next > lostRowsMax {
		return false // no file holds so many: the claim itself is damage
	}
	report(s.corrupt(e, cause))
	if e.rows > 0 {
		c.add(e, nil)
	} else {
		c.off += length
	}
	return ok
}
