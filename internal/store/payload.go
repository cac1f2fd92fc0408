package store

import (
	"encoding/binary"
	"fmt"
	"sync"
	"sync/atomic"

	"github.com/klauspost/compress/s2"
	"github.com/klauspost/compress/zstd"
)

// A block's payload (the data of its events, and their rarer fields) is compressed in pieces of some
// 16 KiB, so that one event's data costs the decoding of one piece: some 12 µs. An event is never
// split between two.
//
//	lengths chunk:  sequence of the rows' lengths; uvarint number of pieces; of each piece:
//	                uvarint rows, uvarint raw bytes, uvarint stored bytes, codec byte, CRC32C
//	pieces chunk:   the pieces' stored bytes, one behind the other
const pieceBytes = 16 << 10

// Codec is how payloads are compressed.
type Codec uint8

// The codecs. The numbers are part of the format.
const (
	CodecNone Codec = iota
	CodecZstd       // half the bytes of s2 at a third of its speed
	CodecS2
	codecEnd
)

func (c Codec) String() string {
	switch c {
	case CodecNone:
		return "none"
	case CodecZstd:
		return "zstd"
	case CodecS2:
		return "s2"
	case codecEnd:
	}
	return fmt.Sprintf("codec(%d)", uint8(c))
}

// compressor compresses pieces; each encoder has one of its own.
type compressor struct {
	codec Codec
	zstd  *zstd.Encoder
	raw   []byte
}

func newCompressor(c Codec) *compressor {
	z := &compressor{codec: c}
	if c == CodecZstd {
		e, err := zstd.NewWriter(nil, zstd.WithEncoderLevel(zstd.SpeedFastest), zstd.WithEncoderConcurrency(1),
			zstd.WithEncoderCRC(false), zstd.WithWindowSize(2*pieceBytes), zstd.WithLowerEncoderMem(true), zstd.WithSingleSegment(true))
		if err != nil {
			panic("store: zstd refuses constant options: " + err.Error())
		}
		z.zstd = e
	}
	return z
}

// appendPiece appends one piece to pieces, compressed if that makes it shorter, and its entry to table.
func (z *compressor) appendPiece(table, pieces []byte, rows int) (newTable, newPieces []byte) {
	start := len(pieces)
	codec := z.codec
	switch z.codec {
	case CodecZstd:
		pieces = z.zstd.EncodeAll(z.raw, pieces)
	case CodecS2:
		most := s2.MaxEncodedLen(len(z.raw))
		pieces = append(pieces, make([]byte, most)...)
		pieces = pieces[:start+len(s2.Encode(pieces[start:], z.raw))]
	case CodecNone, codecEnd:
	}
	if codec == CodecNone || len(pieces)-start >= len(z.raw) {
		codec = CodecNone
		pieces = append(pieces[:start], z.raw...)
	}
	table = binary.AppendUvarint(table, uint64(rows)) // #nosec G115 -- a count
	table = binary.AppendUvarint(table, uint64(len(z.raw)))
	table = binary.AppendUvarint(table, uint64(len(pieces)-start)) // #nosec G115 -- it only grew
	table = append(table, byte(codec))
	table = binary.LittleEndian.AppendUint32(table, checksum(pieces[start:]))
	z.raw = z.raw[:0]
	return table, pieces
}

// zstdDecoder is shared by all readers: DecodeAll is made for that.
var zstdDecoder = sync.OnceValue(func() *zstd.Decoder {
	d, err := zstd.NewReader(nil, zstd.WithDecoderConcurrency(0), zstd.IgnoreChecksum(true),
		zstd.WithDecoderMaxMemory(payloadTotalsMax), zstd.WithDecoderLowmem(true), zstd.WithDecodeAllCapLimit(true))
	if err != nil {
		panic("store: zstd refuses constant options: " + err.Error())
	}
	return d
})

// piece is one entry of the table.
type piece struct {
	rows, raw int
	codec     Codec
	crc       uint32
	stored    []byte
}

// payload is a payload's chunks, opened for reading.
type payload struct {
	rows    int
	lengths ints
	count   int
	table   []byte
	stored  []byte

	block *atomic.Uint32 // which block's it is; nil if that does not matter
	chunk int
}

func openPayload(lengths, pieces []byte, rows int) (p payload, err error) {
	p.rows, p.stored = rows, pieces
	if len(lengths) == 0 {
		return p, nil
	}
	s, rest, err := openInts(lengths, rows)
	if err != nil {
		return p, err
	}
	n, w := binary.Uvarint(rest)
	if w <= 0 || n > uint64(rows) { // #nosec G115 -- a count
		return p, corrupt("the number of pieces")
	}
	p.lengths, p.count, p.table = s, int(n), rest[w:] // #nosec G115 -- at most rows
	return p, nil
}

// next cuts the first entry off the table.
func (p *payload) next(e *piece) error {
	var v [3]uint64
	for i := range v {
		x, w := binary.Uvarint(p.table)
		if w <= 0 {
			return corrupt("the table of pieces")
		}
		v[i], p.table = x, p.table[w:]
	}
	if len(p.table) < 5 || v[0] == 0 || v[0] > uint64(p.rows) || // #nosec G115 -- a count
		v[1] > pieceBytes+PayloadBytesMax || v[2] > uint64(len(p.stored)) {
		return corrupt("a piece of %d rows, %d bytes", v[0], v[1])
	}
	e.rows, e.raw = int(v[0]), int(v[1]) // #nosec G115 -- bounded above
	e.codec, e.crc = Codec(p.table[0]), binary.LittleEndian.Uint32(p.table[1:])
	e.stored, p.stored = p.stored[:v[2]], p.stored[v[2]:]
	p.table = p.table[5:]
	return nil
}

// appendRaw appends what the piece holds. A claim of more than that is found before memory is spent.
func (e *piece) appendRaw(dst []byte) ([]byte, error) {
	if checksum(e.stored) != e.crc {
		return dst, errChecksum
	}
	start := len(dst)
	switch e.codec {
	case CodecNone:
		if len(e.stored) != e.raw {
			return dst, corrupt("a piece of %d bytes that claims %d", len(e.stored), e.raw)
		}
		return append(dst, e.stored...), nil
	case CodecZstd:
		room := grow(dst, e.raw)
		out, err := zstdDecoder().DecodeAll(e.stored, room[start:start:start+e.raw])
		if err != nil || len(out) != e.raw {
			return dst, corrupt("a zstd piece: %d of %d bytes: %v", len(out), e.raw, err)
		}
		return room[:start+e.raw], nil
	case CodecS2:
		if n, err := s2.DecodedLen(e.stored); err != nil || n != e.raw {
			return dst, corrupt("an s2 piece of %d bytes that claims %d: %v", n, e.raw, err)
		}
		room := grow(dst, e.raw)
		if _, err := s2.Decode(room[start:start+e.raw], e.stored); err != nil {
			return dst, corrupt("an s2 piece: %v", err)
		}
		return room[:start+e.raw], nil
	case codecEnd:
	}
	return dst, corrupt("codec %d", e.codec)
}

// grow gives dst room for n more bytes, without changing its length.
func grow(dst []byte, n int) []byte {
	if cap(dst)-len(dst) >= n {
		return dst
	}
	room := make([]byte, len(dst), max(2*cap(dst), len(dst)+n))
	copy(room, dst)
	return room
}

// read appends the payload of rows [low, high) to data, and where each ends to ends. scratch holds a
// piece of which only a part is wanted.
func (p payload) read(low, high int, ends []uint32, data []byte, sc *scratch) ([]uint32, []byte, error) {
	if p.count == 0 {
		for range high - low {
			ends = append(ends, uint32(len(data))) // #nosec G115 -- bounded by payloadTotalsMax
		}
		return ends, data, nil
	}
	if high-low == 1 {
		if n, err := p.lengths.at(low); err != nil || n == 0 {
			return append(ends, uint32(len(data))), data, err // #nosec G115 -- bounded by payloadTotalsMax
		}
	}
	var e piece
	first := 0
	for first < high {
		if p.count == 0 {
			return ends, data, corrupt("pieces that end early")
		}
		p.count--
		if err := p.next(&e); err != nil {
			return ends, data, err
		}
		if e.rows > p.rows-first {
			return ends, data, corrupt("a piece of %d rows from row %d", e.rows, first)
		}
		if last := first + e.rows; last > low {
			lengths := sc.lengths[:e.rows]
			if err := fillInts(&p.lengths, first, lengths); err != nil {
				return ends, data, err
			}
			var before, wanted, all uint64
			from, to := max(low-first, 0), min(high-first, e.rows)
			for i, n := range lengths {
				if i < from {
					before += n
				} else if i < to {
					wanted += n
				}
				if all += n; n > PayloadBytesMax || all > uint64(e.raw) { // #nosec G115 -- bounded in next
					return ends, data, corrupt("rows that are longer than their piece")
				}
			}
			if uint64(len(data))+wanted > payloadTotalsMax {
				return ends, data, corrupt("a payload beyond %d bytes", payloadTotalsMax)
			}
			at := uint64(len(data))
			var err error
			switch {
			case wanted == 0:
			case wanted == uint64(e.raw): // #nosec G115 -- bounded in next
				data, err = e.appendRaw(data)
			default:
				if err = p.cached(&e, first, sc); err == nil {
					data = append(data, sc.piece[before:before+wanted]...)
				}
			}
			if err != nil {
				return ends, data, err
			}
			for _, n := range lengths[from:to] {
				at += n
				ends = append(ends, uint32(at)) // #nosec G115 -- bounded by payloadTotalsMax
			}
		}
		first += e.rows
	}
	return ends, data, nil
}

// cached makes sc.piece what the piece holds, which begins with that row.
func (p *payload) cached(e *piece, first int, sc *scratch) (err error) {
	at := first*chunkEnd + p.chunk
	if p.block != nil && sc.pieceOf == p.block && sc.pieceAt == at {
		return nil
	}
	sc.pieceOf = nil
	if sc.piece, err = e.appendRaw(sc.piece[:0]); err == nil {
		sc.pieceOf, sc.pieceAt = p.block, at
	}
	return err
}

// gather appends the payload of these rows, which must rise, to data, and where each ends to ends.
func (p payload) gather(rows []uint16, ends []uint32, data []byte, sc *scratch) ([]uint32, []byte, error) {
	wanted := sc.codes[:len(rows)]
	if p.count == 0 {
		clear(wanted)
	} else if err := gatherInts(&p.lengths, rows, wanted); err != nil {
		return ends, data, err
	}
	var e piece
	var lengths []uint64 // of the piece at hand
	var start uint64     // in it, of row at
	first, next, at := 0, 0, 0
	for k, n := range wanted {
		row := int(rows[k])
		if n > 0 {
			for row >= next { // find its piece
				if p.count--; p.count < 0 {
					return ends, data, corrupt("pieces that end early")
				}
				if err := p.next(&e); err != nil {
					return ends, data, err
				}
				first, lengths = next, nil
				if next += e.rows; next > p.rows {
					return ends, data, corrupt("a piece of %d rows from row %d", e.rows, first)
				}
			}
			if lengths == nil {
				lengths, at, start = sc.lengths[:e.rows], 0, 0
				if err := fillInts(&p.lengths, first, lengths); err != nil {
					return ends, data, err
				}
				if err := p.cached(&e, first, sc); err != nil {
					return ends, data, err
				}
			}
			for ; at < row-first; at++ {
				start += lengths[at] & (1<<48 - 1) // so that no sum of them overflows
			}
			if n > PayloadBytesMax || start+n > uint64(len(sc.piece)) {
				return ends, data, corrupt("rows that are longer than their piece")
			}
			data = append(data, sc.piece[start:start+n]...)
		}
		ends = append(ends, uint32(len(data))) // #nosec G115 -- rows are different, so bounded by payloadTotalsMax
	}
	return ends, data, nil
}
