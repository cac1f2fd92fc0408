package store

import (
	"encoding/binary"
	"hash/crc32"
	"sync/atomic"

	"github.com/pastcone/pastcone/event"
	"github.com/pastcone/pastcone/internal/wire"
)

// FormatVersion is the version of the recording format that this program writes. It stands in the
// manifest and in the header of each block.
const FormatVersion = 1

// Bounds of a block. A block beyond them is refused when it is published, and taken for damage when it
// is read.
const (
	EdgesMax         = 1 << 20 // further edges of a block
	LateEdgesMax     = 1 << 20 // late edges in a block
	PayloadBytesMax  = 1 << 24 // data, or rarer fields, of one event
	blockBytesMax    = 1 << 30 // a block, encoded
	payloadTotalsMax = 1 << 30 // data, or rarer fields, of a block
	placesMost       = 1 << 25 // places that a block can need: more than fit into any string table
)

// The chunks of a block. A chunk that is missing stands for a column of zeros. The numbers are part of
// the format.
const (
	chunkTime = 1 + iota
	chunkStream
	chunkSeq
	chunkForm // kind, flags, site, source, and the kinds and confidences of the parent's edge
	chunkKey
	chunkOrdinal
	chunkPeer
	chunkChild
	chunkParent
	chunkParentP
	chunkCorrelation
	chunkPosition
	chunkDuration
	chunkFurther
	chunkData // lengths, and the table of pieces
	chunkDataPieces
	chunkExt
	chunkExtPieces
	chunkLate
	chunkFilter
	chunkEnd
)

var chunkNames = [chunkEnd]string{
	"?", "time", "stream", "seq", "form", "key", "ordinal", "peer", "child", "parent", "parent probability",
	"correlation", "position", "duration", "further edges", "data", "data pieces", "rarer fields",
	"rarer fields' pieces", "late edges", "filter",
}

const (
	blockMagic       = 0x4c424350 // "PCBL"
	blockFixedBytes  = 80         // header up to the chunk table
	chunkEntryBytes  = 12
	blockHeaderMax   = blockFixedBytes + chunkEntryBytes*(chunkEnd-1) + 4
	blockDurableAt   = 24 // offset of the field durable, which is set when the block is written
	blockTextsAt     = 64 // offset of the field texts, and behind it places
	blockAlignment   = 8
	blockHeaderBytes = blockFixedBytes + 4 // the shortest header
)

var castagnoli = crc32.MakeTable(crc32.Castagnoli)

func checksum(p []byte) uint32 { return crc32.Checksum(p, castagnoli) }

// blockHeader is what a block says of itself. Its layout is in docs/format/block.md.
type blockHeader struct {
	headerBytes int
	length      int // of the whole block, header included; a multiple of 8
	rows        int
	base        event.ID
	durable     event.ID // ids below it were durable when this block was written
	timeMin     int64
	timeMax     int64
	arrived     int64
	kinds       uint32 // bit 1<<kind of each kind in it
	late        int    // late edges
	texts       int    // what the string table must hold for it
	places      int
	chunks      [chunkEnd]chunkPlace
}

// chunkPlace is where in the block a chunk lies. Length 0: it is missing.
type chunkPlace struct {
	off, length int
	crc         uint32
}

// end gives one more than the last id.
func (h *blockHeader) end() event.ID { return h.base + event.ID(h.rows) } // #nosec G115 -- a count

// appendBlockHeader appends the header of a block whose chunks are given in the order of their places.
func appendBlockHeader(dst []byte, h *blockHeader) []byte {
	start := len(dst)
	n := 0
	for id := 1; id < chunkEnd; id++ {
		if h.chunks[id].length > 0 {
			n++
		}
	}
	le := binary.LittleEndian
	dst = le.AppendUint32(dst, blockMagic)
	dst = le.AppendUint16(dst, FormatVersion)
	dst = le.AppendUint16(dst, uint16(blockFixedBytes+n*chunkEntryBytes+4)) // #nosec G115 -- at most blockHeaderMax
	dst = le.AppendUint32(dst, uint32(h.length))                            // #nosec G115 -- bounded by blockBytesMax
	dst = le.AppendUint32(dst, uint32(h.rows))                              // #nosec G115 -- bounded by BlockRowsMax
	dst = le.AppendUint64(dst, uint64(h.base))
	dst = le.AppendUint64(dst, uint64(h.durable))
	dst = le.AppendUint64(dst, uint64(h.timeMin)) // #nosec G115 -- two's complement
	dst = le.AppendUint64(dst, uint64(h.timeMax)) // #nosec G115 -- two's complement
	dst = le.AppendUint64(dst, uint64(h.arrived)) // #nosec G115 -- two's complement
	dst = le.AppendUint32(dst, h.kinds)
	dst = le.AppendUint32(dst, uint32(h.late))   // #nosec G115 -- bounded by LateEdgesMax
	dst = le.AppendUint32(dst, uint32(h.texts))  // #nosec G115 -- bounded by TextsMax
	dst = le.AppendUint32(dst, uint32(h.places)) // #nosec G115 -- a Site has 32 bits
	dst = le.AppendUint32(dst, uint32(n))        // #nosec G115 -- below chunkEnd
	dst = le.AppendUint32(dst, 0)
	for id := 1; id < chunkEnd; id++ {
		c := h.chunks[id]
		if c.length == 0 {
			continue
		}
		dst = append(dst, byte(id), 0, 0, 0)
		dst = le.AppendUint32(dst, uint32(c.length)) // #nosec G115 -- bounded by blockBytesMax
		dst = le.AppendUint32(dst, c.crc)
	}
	return le.AppendUint32(dst, checksum(dst[start:]))
}

// setDurable writes the field of that name into an encoded header.
func setDurable(block []byte, durable event.ID) {
	n := int(binary.LittleEndian.Uint16(block[6:]))
	binary.LittleEndian.PutUint64(block[blockDurableAt:], uint64(durable))
	binary.LittleEndian.PutUint32(block[n-4:], checksum(block[:n-4]))
}

// parseBlockHeader reads the header that p begins with; p need not hold the whole block.
func parseBlockHeader(p []byte, h *blockHeader) error {
	le := binary.LittleEndian
	if len(p) < blockHeaderBytes || le.Uint32(p) != blockMagic {
		return corrupt("no block begins here")
	}
	n := int(le.Uint16(p[6:]))
	if n < blockHeaderBytes || n > blockHeaderMax || n > len(p) {
		return corrupt("a header of %d bytes", n)
	}
	if le.Uint32(p[n-4:]) != checksum(p[:n-4]) {
		return errChecksum
	}
	if v := le.Uint16(p[4:]); v != FormatVersion {
		return ErrVersion
	}
	*h = blockHeader{
		headerBytes: n, length: int(le.Uint32(p[8:])), rows: int(le.Uint32(p[12:])),
		base: event.ID(le.Uint64(p[16:])), durable: event.ID(le.Uint64(p[24:])),
		timeMin: int64(le.Uint64(p[32:])), timeMax: int64(le.Uint64(p[40:])), // #nosec G115 -- two's complement
		arrived: int64(le.Uint64(p[48:])), kinds: le.Uint32(p[56:]), late: int(le.Uint32(p[60:])), // #nosec G115 -- two's complement
		texts: int(le.Uint32(p[64:])), places: int(le.Uint32(p[68:])),
	}
	if h.rows > wire.BlockRowsMax || h.base == 0 || h.end() < h.base || h.late > LateEdgesMax || h.texts > wire.TextsMax || h.places > placesMost || (h.rows == 0 && h.late == 0) {
		return corrupt("%d rows from id %d, %d late edges", h.rows, h.base, h.late)
	}
	count := int(le.Uint32(p[72:]))
	if blockFixedBytes+count*chunkEntryBytes+4 != n {
		return corrupt("%d chunks in a header of %d bytes", count, n)
	}
	off := n
	for i := range count {
		entry := p[blockFixedBytes+i*chunkEntryBytes:]
		id, length := int(entry[0]), int(le.Uint32(entry[4:]))
		if id == 0 || id >= chunkEnd || h.chunks[id].length != 0 || length == 0 || length > blockBytesMax-off {
			return corrupt("chunk %d of %d bytes", id, length)
		}
		h.chunks[id] = chunkPlace{off, length, le.Uint32(entry[8:])}
		off += length
	}
	if h.length != align(off) {
		return corrupt("a length of %d where the chunks have %d", h.length, off)
	}
	return nil
}

func align(n int) int { return (n + blockAlignment - 1) &^ (blockAlignment - 1) }

// blockView is an encoded block, opened for reading.
type blockView struct {
	h   blockHeader
	raw []byte // of the whole block
	// checked, if set, has a bit for each chunk whose checksum has been found right. Without it, none is
	// looked at.
	checked *atomic.Uint32
}

func (v *blockView) chunk(id int) ([]byte, error) {
	c := v.h.chunks[id]
	if c.length == 0 {
		return nil, nil
	}
	p := v.raw[c.off : c.off+c.length : c.off+c.length]
	if v.checked != nil && v.checked.Load()>>id&1 == 0 {
		if checksum(p) != c.crc {
			return nil, &chunkError{id, c.off, errChecksum}
		}
		v.checked.Or(1 << id)
	}
	return p, nil
}

// chunkError names the chunk that is damaged; the store adds where the block lies.
type chunkError struct {
	chunk, off int
	cause      error
}

func (e *chunkError) Error() string { return chunkNames[e.chunk] + ": " + e.cause.Error() }

// checkAll checks the header's claims against the whole block: each chunk, and the padding.
func (v *blockView) checkAll() error {
	end := v.h.headerBytes
	for id := 1; id < chunkEnd; id++ {
		c := v.h.chunks[id]
		if c.length > 0 && checksum(v.raw[c.off:c.off+c.length]) != c.crc {
			return &chunkError{id, c.off, errChecksum}
		}
		end += c.length
	}
	for _, b := range v.raw[end:v.h.length] {
		if b != 0 {
			return corrupt("padding that is not zero")
		}
	}
	return nil
}
