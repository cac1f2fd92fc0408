package store

import (
	"encoding/binary"

	"github.com/pastcone/pastcone/event"
	"github.com/pastcone/pastcone/internal/wire"
)

// The index of a sealed segment lies behind its blocks: an entry for each block, the late edges by
// effect and by cause, and the tails of all streams as they were at its end. The blocks' filters stay where
// they are; the entries say where. Layout: docs/format/index.md.
const (
	indexMagic        = 0x58444950 // "PIDX"
	indexHeadBytes    = 64
	indexEntryBytes   = 64
	indexTrailerBytes = 16
	indexFlagLost     = 1

	// segmentLateMax bounds the late edges of a segment, so that sealing it is bounded in memory: the
	// segment is closed when it has so many.
	segmentLateMax = 1 << 20
)

// indexInput is what an index is made of.
type indexInput struct {
	base, end event.ID
	entries   []*blockEntry
	late      []wire.LateEdge
	tails     []byte
	tailCount int
}

// appendIndex appends the index of a segment; at is where in the file it will begin.
func appendIndex(dst []byte, x *indexInput, at int64) []byte {
	start := len(dst)
	le := binary.LittleEndian
	byCause := sortLate(x.late)
	dst = append(dst, make([]byte, indexHeadBytes)...)
	for _, e := range x.entries {
		dst = appendEntry(dst, e)
	}
	entriesEnd := len(dst)
	for i := range x.late {
		dst = appendLateEdge(dst, &x.late[i])
	}
	for _, n := range byCause {
		dst = le.AppendUint32(dst, n)
	}
	lateEnd := len(dst)
	dst = append(dst, x.tails...)

	head := dst[start : start+indexHeadBytes]
	le.PutUint32(head, indexMagic)
	le.PutUint16(head[4:], FormatVersion)
	le.PutUint64(head[8:], uint64(x.base))
	le.PutUint64(head[16:], uint64(x.end))
	le.PutUint32(head[24:], uint32(len(x.entries))) // #nosec G115 -- bounded by the segment's size
	le.PutUint32(head[28:], uint32(len(x.late)))    // #nosec G115 -- bounded by segmentLateMax
	le.PutUint32(head[32:], uint32(x.tailCount))    // #nosec G115 -- bounded by tailsMax
	le.PutUint32(head[36:], uint32(len(x.tails)))   // #nosec G115 -- bounded by tailsMax
	le.PutUint32(head[40:], checksum(dst[start+indexHeadBytes:entriesEnd]))
	le.PutUint32(head[44:], checksum(dst[entriesEnd:lateEnd]))
	le.PutUint32(head[48:], checksum(dst[lateEnd:]))
	le.PutUint32(head[60:], checksum(head[:60]))

	trailer := len(dst)
	dst = le.AppendUint64(dst, uint64(at)) // #nosec G115 -- an offset
	dst = le.AppendUint32(dst, indexMagic)
	return le.AppendUint32(dst, checksum(dst[trailer:]))
}

func appendEntry(dst []byte, e *blockEntry) []byte {
	le := binary.LittleEndian
	flags := uint32(0)
	if e.lost {
		flags |= indexFlagLost
	}
	dst = le.AppendUint64(dst, uint64(e.off)) // #nosec G115 -- an offset
	dst = le.AppendUint64(dst, uint64(e.base))
	dst = le.AppendUint64(dst, uint64(e.timeMin)) // #nosec G115 -- two's complement
	dst = le.AppendUint64(dst, uint64(e.timeMax)) // #nosec G115 -- two's complement
	dst = le.AppendUint32(dst, uint32(e.length))  // #nosec G115 -- bounded by blockBytesMax
	dst = le.AppendUint32(dst, uint32(e.rows))    // #nosec G115 -- a span of ids in one file
	dst = le.AppendUint32(dst, e.kinds)
	dst = le.AppendUint32(dst, uint32(e.late))      // #nosec G115 -- bounded by LateEdgesMax
	dst = le.AppendUint32(dst, uint32(e.filterOff)) // #nosec G115 -- bounded by blockBytesMax
	dst = le.AppendUint32(dst, uint32(e.filterLen)) // #nosec G115 -- bounded by blockBytesMax
	dst = le.AppendUint32(dst, e.filterCRC)
	return le.AppendUint32(dst, flags)
}

// index is a segment's index, opened for reading.
type index struct {
	off       int64 // where the blocks end and it begins
	entries   []*blockEntry
	late      *lateIndex
	tails     []byte
	tailCount int
}

// parseIndex reads the index of a segment whose whole file p is, for ids [base, end). It checks what is relied on
// later: places in the file, the order of ids, numbers of late edges.
func parseIndex(p []byte, base, end event.ID) (*index, error) {
	le := binary.LittleEndian
	if len(p) < segmentHeadBytes+indexHeadBytes+indexTrailerBytes {
		return nil, corrupt("a sealed segment of %d bytes", len(p))
	}
	trailer := p[len(p)-indexTrailerBytes:]
	if le.Uint32(trailer[8:]) != indexMagic || le.Uint32(trailer[12:]) != checksum(trailer[:12]) {
		return nil, corrupt("the trailer of the index")
	}
	off := le.Uint64(trailer)
	if off < segmentHeadBytes || off > uint64(len(p)-indexHeadBytes-indexTrailerBytes) {
		return nil, corrupt("an index at offset %d of %d", off, len(p))
	}
	head := p[off : off+indexHeadBytes]
	rest := p[off+indexHeadBytes : len(p)-indexTrailerBytes]
	if le.Uint32(head) != indexMagic || le.Uint32(head[60:]) != checksum(head[:60]) {
		return nil, corrupt("the head of the index")
	}
	if v := le.Uint16(head[4:]); v != FormatVersion {
		return nil, ErrVersion
	}
	if event.ID(le.Uint64(head[8:])) != base || event.ID(le.Uint64(head[16:])) != end {
		return nil, corrupt("an index of ids %d to %d, not %d to %d", le.Uint64(head[8:]), le.Uint64(head[16:]), base, end)
	}
	blocks, late := uint64(le.Uint32(head[24:])), uint64(le.Uint32(head[28:]))
	tailCount, tails := le.Uint32(head[32:]), uint64(le.Uint32(head[36:]))
	entriesBytes, lateBytes := blocks*indexEntryBytes, late*(lateEdgeBytes+4)
	if uint64(len(rest)) != entriesBytes+lateBytes+tails || uint64(tailCount) > tails {
		return nil, corrupt("an index of %d bytes for %d blocks, %d late edges, %d bytes of tails", len(rest), blocks, late, tails)
	}
	entries, lateSection, tailSection := rest[:entriesBytes], rest[entriesBytes:entriesBytes+lateBytes], rest[entriesBytes+lateBytes:]
	if checksum(entries) != le.Uint32(head[40:]) || checksum(lateSection) != le.Uint32(head[44:]) || checksum(tailSection) != le.Uint32(head[48:]) {
		return nil, errChecksum
	}
	x := &index{off: int64(off), tails: tailSection, tailCount: int(tailCount)} // #nosec G115 -- within the file
	if err := x.parseEntries(entries, base, end); err != nil {
		return nil, err
	}
	return x, x.parseLate(lateSection, int(late)) // #nosec G115 -- within the file
}

func (x *index) parseEntries(p []byte, base, end event.ID) error {
	le := binary.LittleEndian
	at, next := int64(segmentHeadBytes), base
	x.entries = make([]*blockEntry, 0, len(p)/indexEntryBytes)
	for ; len(p) > 0; p = p[indexEntryBytes:] {
		e := &blockEntry{
			off: int64(le.Uint64(p)), base: event.ID(le.Uint64(p[8:])), timeMin: int64(le.Uint64(p[16:])), timeMax: int64(le.Uint64(p[24:])), // #nosec G115 -- checked below
			length: int(le.Uint32(p[32:])), rows: int(le.Uint32(p[36:])), kinds: le.Uint32(p[40:]), late: int(le.Uint32(p[44:])),
			filterOff: int(le.Uint32(p[48:])), filterLen: int(le.Uint32(p[52:])), filterCRC: le.Uint32(p[56:]), lost: le.Uint32(p[60:])&indexFlagLost != 0,
		}
		if e.off != at || e.base != next || e.end() < e.base || e.end() > end || int64(e.length) > x.off-at ||
			e.filterOff > e.length || e.filterLen > e.length-e.filterOff || (!e.lost && e.length < blockHeaderBytes) {
			return corrupt("the entry of the block at offset %d", e.off)
		}
		at, next = at+int64(e.length), e.end()
		x.entries = append(x.entries, e)
	}
	if at != x.off || next != end {
		return corrupt("entries up to offset %d and id %d, not %d and %d", at, next, x.off, end)
	}
	return nil
}

func (x *index) parseLate(p []byte, n int) error {
	x.late = &lateIndex{n: n, byEffect: p[:n*lateEdgeBytes], byCause: p[n*lateEdgeBytes:]}
	var effect, cause event.ID
	for i := range n {
		number := int(binary.LittleEndian.Uint32(x.late.byCause[4*i:]))
		if number >= n {
			return corrupt("late edge %d of %d", number, n)
		}
		e, c := x.late.edge(i).Effect, x.late.edge(number).Edge.Cause
		if e < effect || c < cause {
			return corrupt("late edges that are out of order")
		}
		effect, cause = e, c
	}
	return nil
}
