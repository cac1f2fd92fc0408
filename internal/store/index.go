package store

import (
	"encoding/binary"

	"github.com/pastcone/pastcone/event"
	"github.com/pastcone/pastcone/internal/wire"
)

// The index of a sealed segment lies behind its blocks: an entry for each block, the late edges by
// effect and by cause, the tails of all streams as they were at its end, and the postings. The blocks' filters stay where
// they are; the entries say where. Layout: docs/format/index.md.
const (
	indexMagic          = 0x58444950 // "PIDX"
	indexVersion        = 2          // version 1 had no postings
	indexHeadBytes      = 96
	indexHeadBytes1     = 64 // of version 1
	indexEntryBytes     = 64
	indexTrailerBytes   = 16
	indexFlagLost       = 1
	indexFlagNoPostings = 2

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
	postings  *postingsBuilder
	unindexed []int // blocks that the postings know nothing of, rising
	texts     int   // what the string table must hold for the blocks
	places    int
}

// appendIndex appends the index of a segment; at is where in the file it will begin.
func appendIndex(dst []byte, x *indexInput, at int64) []byte {
	start := len(dst)
	le := binary.LittleEndian
	byCause := sortLate(x.late)
	dst = append(dst, make([]byte, indexHeadBytes)...)
	unindexed := x.unindexed
	for i, e := range x.entries {
		flags := uint32(0)
		if e.lost {
			flags |= indexFlagLost
		}
		if len(unindexed) > 0 && unindexed[0] == i {
			flags |= indexFlagNoPostings
			unindexed = unindexed[1:]
		}
		dst = appendEntry(dst, e, flags)
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
	tailsEnd := len(dst)
	dst = append(dst, x.postings.shards...)
	dst = append(dst, x.postings.groups...)
	directoryEnd := len(dst)
	dst = append(dst, x.postings.bodies...)

	head := dst[start : start+indexHeadBytes]
	le.PutUint32(head, indexMagic)
	le.PutUint16(head[4:], indexVersion)
	le.PutUint64(head[8:], uint64(x.base))
	le.PutUint64(head[16:], uint64(x.end))
	le.PutUint32(head[24:], uint32(len(x.entries))) // #nosec G115 -- bounded by the segment's size
	le.PutUint32(head[28:], uint32(len(x.late)))    // #nosec G115 -- bounded by segmentLateMax
	le.PutUint32(head[32:], uint32(x.tailCount))    // #nosec G115 -- bounded by tailsMax
	le.PutUint32(head[36:], uint32(len(x.tails)))   // #nosec G115 -- bounded by tailsMax
	le.PutUint32(head[40:], checksum(dst[start+indexHeadBytes:entriesEnd]))
	le.PutUint32(head[44:], checksum(dst[entriesEnd:lateEnd]))
	le.PutUint32(head[48:], checksum(dst[lateEnd:tailsEnd]))
	le.PutUint32(head[52:], uint32(len(x.postings.shards)/postingShardBytes)) // #nosec G115 -- a part of the segment
	le.PutUint32(head[56:], uint32(len(x.postings.groups)/postingGroupBytes)) // #nosec G115 -- a part of the segment
	le.PutUint32(head[60:], checksum(dst[tailsEnd:directoryEnd]))
	le.PutUint64(head[64:], uint64(len(x.postings.bodies)))
	le.PutUint32(head[72:], uint32(x.texts))  // #nosec G115 -- below TextsMax
	le.PutUint32(head[76:], uint32(x.places)) // #nosec G115 -- a Site has 32 bits
	le.PutUint32(head[indexHeadBytes-4:], checksum(head[:indexHeadBytes-4]))

	trailer := len(dst)
	dst = le.AppendUint64(dst, uint64(at)) // #nosec G115 -- an offset
	dst = le.AppendUint32(dst, indexMagic)
	return le.AppendUint32(dst, checksum(dst[trailer:]))
}

func appendEntry(dst []byte, e *blockEntry, flags uint32) []byte {
	le := binary.LittleEndian
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
	postings  *postings // nil: of version 1, which has none
	unindexed []int     // blocks that the postings know nothing of
	texts     int       // what the string table must hold for the blocks
	places    int
}

// indexHead is what the head of an index says.
type indexHead struct {
	bytes                            int
	blocks, late, tailCount, tails   uint64
	shards, groups, bodies           uint64
	entrySum, lateSum, tailSum, dirs uint32
	texts, places                    int
}

// parseIndexHead reads the head that p begins with, of either version.
func parseIndexHead(p []byte, base, end event.ID) (h indexHead, err error) {
	le := binary.LittleEndian
	h.bytes = indexHeadBytes1
	if le.Uint16(p[4:]) == indexVersion {
		h.bytes = indexHeadBytes
	}
	if len(p) < h.bytes || le.Uint32(p) != indexMagic || le.Uint32(p[h.bytes-4:]) != checksum(p[:h.bytes-4]) {
		return h, corrupt("the head of the index")
	}
	if v := le.Uint16(p[4:]); v == 0 || v > indexVersion {
		return h, ErrVersion
	}
	if event.ID(le.Uint64(p[8:])) != base || event.ID(le.Uint64(p[16:])) != end {
		return h, corrupt("an index of ids %d to %d, not %d to %d", le.Uint64(p[8:]), le.Uint64(p[16:]), base, end)
	}
	h.blocks, h.late = uint64(le.Uint32(p[24:])), uint64(le.Uint32(p[28:]))
	h.tailCount, h.tails = uint64(le.Uint32(p[32:])), uint64(le.Uint32(p[36:]))
	h.entrySum, h.lateSum, h.tailSum = le.Uint32(p[40:]), le.Uint32(p[44:]), le.Uint32(p[48:])
	if h.bytes == indexHeadBytes {
		h.shards, h.groups, h.dirs, h.bodies = uint64(le.Uint32(p[52:])), uint64(le.Uint32(p[56:])), le.Uint32(p[60:]), le.Uint64(p[64:])
		h.texts, h.places = int(le.Uint32(p[72:])), int(le.Uint32(p[76:]))
	}
	return h, nil
}

// parseIndex reads the index of a segment whose whole file p is, for ids [base, end). It checks what is relied on
// later: places in the file, the order of ids, numbers of late edges.
func parseIndex(p []byte, base, end event.ID) (*index, error) {
	le := binary.LittleEndian
	if len(p) < segmentHeadBytes+indexHeadBytes1+indexTrailerBytes {
		return nil, corrupt("a sealed segment of %d bytes", len(p))
	}
	trailer := p[len(p)-indexTrailerBytes:]
	if le.Uint32(trailer[8:]) != indexMagic || le.Uint32(trailer[12:]) != checksum(trailer[:12]) {
		return nil, corrupt("the trailer of the index")
	}
	off := le.Uint64(trailer)
	if off < segmentHeadBytes || off > uint64(len(p)-indexHeadBytes1-indexTrailerBytes) { // #nosec G115 -- not negative
		return nil, corrupt("an index at offset %d of %d", off, len(p))
	}
	rest := p[off : len(p)-indexTrailerBytes]
	h, err := parseIndexHead(rest, base, end)
	if err != nil {
		return nil, err
	}
	rest = rest[h.bytes:]
	sizes := [...]uint64{h.blocks * indexEntryBytes, h.late * (lateEdgeBytes + 4), h.tails, h.shards * postingShardBytes, h.groups * postingGroupBytes, h.bodies}
	left := uint64(len(rest))
	var parts [len(sizes)][]byte
	for i, size := range sizes {
		if size > left {
			return nil, corrupt("an index of %d bytes for %d blocks, %d late edges, %d bytes of tails, %d of postings", len(rest), h.blocks, h.late, h.tails, h.bodies)
		}
		at := uint64(len(rest)) - left
		parts[i] = rest[at : at+size]
		left -= size
	}
	if left > 0 || h.tailCount > h.tails {
		return nil, corrupt("%d bytes behind the parts of an index, %d tails in %d bytes", left, h.tailCount, h.tails)
	}
	at := h.blocks*indexEntryBytes + h.late*(lateEdgeBytes+4) + h.tails
	directory := rest[at : at+h.shards*postingShardBytes+h.groups*postingGroupBytes]
	if checksum(parts[0]) != h.entrySum || checksum(parts[1]) != h.lateSum || checksum(parts[2]) != h.tailSum || checksum(directory) != h.dirs {
		return nil, errChecksum
	}
	x := &index{off: int64(off), tails: parts[2], tailCount: int(h.tailCount), texts: h.texts, places: h.places} // #nosec G115 -- within the file
	if err := x.parseEntries(parts[0], base, end); err != nil {
		return nil, err
	}
	if h.bytes == indexHeadBytes {
		if x.postings, err = openPostings(parts[3], parts[4], parts[5], len(x.entries)); err != nil {
			return nil, err
		}
	}
	return x, x.parseLate(parts[1], int(h.late)) // #nosec G115 -- within the file
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
		if le.Uint32(p[60:])&indexFlagNoPostings != 0 {
			x.unindexed = append(x.unindexed, len(x.entries))
		}
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
