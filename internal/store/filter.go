package store

import (
	"encoding/binary"
	"math/bits"

	"github.com/FastFilter/xorfilter"
)

// A block's filter says which streams, functions, keys, correlations and causes it surely does not
// hold. It is two binary fuse filters: one of 8-bit fingerprints for what is asked of many blocks
// anyway (streams, functions, keys: 1 in 256 wrong answers), and one of 16 bits for what is asked of
// every block of a recording and found in few (correlations and causes: 1 in 65,536).
//
// Left out are correlations and causes whose id lies in the block itself: for these, the range of ids
// says that the block has to be read.

// category keeps equal numbers of different meanings apart. The numbers are part of the format.
type category uint64

const (
	categoryStream category = 1 + iota
	categoryFunc
	categoryKey
	categoryCorrelation
	categoryCause
)

func filterKey(c category, v uint64) uint64 {
	return mix64(v ^ uint64(c)<<56*0x9e3779b97f4a7c15 ^ uint64(c))
}

const filterHeadBytes = 32

// filterBuilder collects the keys of a block, which should be distinct, and writes its filter.
type filterBuilder struct {
	what, why []uint64 // keys with 8 and with 16 bits
	fuse      xorfilter.BinaryFuseBuilder
}

func (b *filterBuilder) reset() { b.what, b.why = b.what[:0], b.why[:0] }

// append appends the filter's chunk, or nothing if no filter could be made: then every key may be in
// the block.
func (b *filterBuilder) append(dst []byte) []byte {
	start := len(dst)
	var head [filterHeadBytes]byte
	dst = append(dst, head[:]...)
	le := binary.LittleEndian
	if len(b.what) > 0 {
		f, err := xorfilter.BuildBinaryFuse[uint8](&b.fuse, b.what)
		if err != nil {
			return dst[:start]
		}
		le.PutUint64(dst[start:], f.Seed)
		le.PutUint32(dst[start+16:], f.SegmentCount)
		dst[start+24] = byte(bits.TrailingZeros32(f.SegmentLength)) // #nosec G115 -- below 32
		dst = append(dst, f.Fingerprints...)
	}
	if len(b.why) > 0 {
		f, err := xorfilter.BuildBinaryFuse[uint16](&b.fuse, b.why)
		if err != nil {
			return dst[:start]
		}
		le.PutUint64(dst[start+8:], f.Seed)
		le.PutUint32(dst[start+20:], f.SegmentCount)
		dst[start+25] = byte(bits.TrailingZeros32(f.SegmentLength)) // #nosec G115 -- below 32
		for _, x := range f.Fingerprints {
			dst = le.AppendUint16(dst, x)
		}
	}
	return dst
}

// fuse is a binary fuse filter over encoded fingerprints of one or two bytes.
type fuse struct {
	seed         uint64
	segmentLog   uint8
	segmentCount uint32
	prints       []byte
}

// at gives the three places of a key, and its fingerprint.
func (f *fuse) at(key uint64) (h0, h1, h2 uint32, print uint64) {
	hash := mix64(key + f.seed)
	segment := uint32(1) << f.segmentLog
	high, _ := bits.Mul64(hash, uint64(f.segmentCount)<<f.segmentLog)
	h0 = uint32(high) // #nosec G115 -- below the number of fingerprints
	h1 = h0 + segment
	h2 = h1 + segment
	h1 ^= uint32(hash>>18) & (segment - 1) // #nosec G115 -- masked
	h2 ^= uint32(hash) & (segment - 1)     // #nosec G115 -- masked
	return h0, h1, h2, hash ^ hash>>32
}

func (f *fuse) has8(key uint64) bool {
	if f.segmentCount == 0 {
		return false
	}
	h0, h1, h2, print := f.at(key)
	return byte(print) == f.prints[h0]^f.prints[h1]^f.prints[h2] // #nosec G115 -- its low bits
}

func (f *fuse) has16(key uint64) bool {
	if f.segmentCount == 0 {
		return false
	}
	h0, h1, h2, print := f.at(key)
	le := binary.LittleEndian
	return uint16(print) == le.Uint16(f.prints[2*h0:])^le.Uint16(f.prints[2*h1:])^le.Uint16(f.prints[2*h2:]) // #nosec G115 -- its low bits
}

// filter is a block's filter, opened for reading.
type filter struct {
	what, why fuse
}

// parseFilter opens an encoded filter. It checks that every place a key can have exists.
func parseFilter(p []byte) (*filter, error) {
	if len(p) < filterHeadBytes {
		return nil, corrupt("a filter of %d bytes", len(p))
	}
	le := binary.LittleEndian
	f := &filter{
		what: fuse{seed: le.Uint64(p), segmentCount: le.Uint32(p[16:]), segmentLog: p[24]},
		why:  fuse{seed: le.Uint64(p[8:]), segmentCount: le.Uint32(p[20:]), segmentLog: p[25]},
	}
	rest := p[filterHeadBytes:]
	for _, part := range [...]struct {
		f     *fuse
		bytes uint64
	}{{&f.what, 1}, {&f.why, 2}} {
		if part.f.segmentCount == 0 {
			continue
		}
		if part.f.segmentLog > 24 || part.f.segmentCount > 1<<24 {
			return nil, corrupt("a filter's shape")
		}
		size := (uint64(part.f.segmentCount) + 2) << part.f.segmentLog * part.bytes
		if size > uint64(len(rest)) {
			return nil, corrupt("a filter's length")
		}
		part.f.prints, rest = rest[:size:size], rest[size:]
	}
	if len(rest) > 0 {
		return nil, corrupt("%d bytes behind a filter", len(rest))
	}
	return f, nil
}
