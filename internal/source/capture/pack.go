package capture

import (
	"encoding/binary"
	"math/bits"
	"sync/atomic"
	"unsafe"

	"github.com/pastcone/pastcone/internal/capture"
)

// Packed records. To write 32 bytes of a record costs more than to leave out those that say nothing: most of a record is zero, or
// follows from the one before.
//
// Each of the four words is written as the bytes that are left when the zero bytes at its high end are taken away, and a nibble says
// how many there are:
//
//	lengths   2 bytes: of the time in the lowest nibble, then of the second, third and fourth word
//	time      the difference to the time of the event before
//	second    what differs (exclusive or) from the next number of the stream of the event before, with kind 0
//	third, fourth    as they are
//
// Values are packed like events, but the record behind them refers to their event. The first record of a frame refers to zeros.

const (
	packedLengths  = 2
	packedBytesMax = packedLengths + capture.RecordBytes
	seqOne         = 1 << 8 // the number 1 in a second word
	seqMask        = 0xffff00
)

// successor gives the second word that is expected behind an event's: the next number of the same stream, without a kind.
func successor(w1 uint64) uint64 {
	return w1&^(seqMask|0xff) | (w1+seqOne)&seqMask
}

// recordsOf gives the records of a chunk, as they lie in memory.
func recordsOf(chunk []byte) [][4]uint64 {
	return unsafe.Slice((*[4]uint64)(unsafe.Pointer(&chunk[capture.ChunkHeaderBytes])), capture.ChunkRecords) // #nosec G103 -- shared memory, aligned
}

func byteLen(w uint64) int { return (bits.Len64(w) + 7) >> 3 }

// offsetOf gives where a record of a chunk begins.
func offsetOf(record int) int { return capture.ChunkHeaderBytes + record*capture.RecordBytes }

// packRecords packs the records of a chunk that are complete, from the one numbered from on. It gives the number of the next record, and
// how many there were: padding is none, and the rest of the chunk is not used.
func packRecords(dst, chunk []byte, from int, notice *noticing) (packed []byte, next, records int) {
	words := recordsOf(chunk)
	room := len(dst) + (capture.ChunkRecords-from)*packedBytesMax + 8
	if cap(dst) < room {
		dst = append(make([]byte, 0, room), dst...)
	}
	at := len(dst)
	dst = dst[:cap(dst)]
	var time, expected uint64
	for next = from; next < capture.ChunkRecords; next++ {
		r := &words[next]
		w1 := atomic.LoadUint64(&r[1]) // first: the others were stored before it
		if w1 == 0 {
			break
		}
		kind := uint8(w1) // #nosec G115 -- the kind is the low byte
		if kind == capture.KindPad {
			next = capture.ChunkRecords
			break
		}
		w0, w2, w3 := r[0], r[2], r[3]
		is := interests[kind]
		d0, d1 := w0-time, w1^expected
		if is != wantNothing {
			time, expected = w0, successor(w1)
			notice.see(is, w1, w2)
		}
		n0, n1, n2, n3 := byteLen(d0), byteLen(d1), byteLen(w2), byteLen(w3)
		to := dst[at : at+packedBytesMax+8]
		binary.LittleEndian.PutUint16(to, uint16(n0|n1<<4|n2<<8|n3<<12)) // #nosec G115 -- nibbles
		n := packedLengths
		binary.LittleEndian.PutUint64(to[n:], d0)
		n += n0
		binary.LittleEndian.PutUint64(to[n:], d1)
		n += n1
		binary.LittleEndian.PutUint64(to[n:], w2)
		n += n2
		binary.LittleEndian.PutUint64(to[n:], w3)
		at += n + n3
		records++
	}
	return dst[:at], next, records
}

// unpackRecords appends records that were packed. It is false if they are not that many records.
func unpackRecords(dst, packed []byte, records int) ([]byte, bool) {
	var time, expected uint64
	var window [packedBytesMax + 8]byte // for the last ones: a read beyond their end is a read of zeros
	for range records {
		p := packed
		if len(p) < len(window) {
			clear(window[copy(window[:], p):])
			p = window[:]
		}
		lengths := int(binary.LittleEndian.Uint16(p))
		n := packedLengths
		var w [4]uint64
		for i := range w {
			bytes := lengths >> (4 * i) & 15
			if bytes > 8 {
				return dst, false
			}
			w[i] = binary.LittleEndian.Uint64(p[n:]) & (1<<(8*bytes) - 1)
			n += bytes
		}
		if n > len(packed) {
			return dst, false
		}
		packed = packed[n:]
		w[0] += time
		w[1] ^= expected
		if kind := uint8(w[1]); kind != capture.KindValue && kind != capture.KindText { // #nosec G115 -- the kind is the low byte
			time, expected = w[0], successor(w[1])
		}
		for _, word := range w {
			dst = binary.LittleEndian.AppendUint64(dst, word)
		}
	}
	return dst, len(packed) == 0
}
