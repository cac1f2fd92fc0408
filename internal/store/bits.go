package store

import "encoding/binary"

// miniLen is the number of values in a mini-block: what is decoded to get at one value.
const miniLen = 128

// packedBytes gives the length of n values of w bits each.
func packedBytes(n int, w uint) int { return (n*int(w) + 7) / 8 } // #nosec G115 -- w is at most 64

// packBits appends the values, w bits each, the first in the lowest bits. Each must be below 2^w.
func packBits(dst []byte, values []uint64, w uint) []byte {
	if w == 0 {
		return dst
	}
	var acc uint64 // bits not written yet
	var used uint  // how many they are, below 64
	for _, v := range values {
		acc |= v << used
		used += w
		if used >= 64 {
			dst = binary.LittleEndian.AppendUint64(dst, acc)
			used -= 64
			acc = v >> (w - used) // a shift by 64 gives 0, as it should
		}
	}
	for ; used > 0; used -= min(used, 8) {
		dst = append(dst, byte(acc))
		acc >>= 8
	}
	return dst
}

// unpackBits fills dst with values of w bits each. src must hold packedBytes(len(dst), w); it may be
// longer, and that makes it faster.
func unpackBits(dst []uint64, src []byte, w uint) {
	if w == 0 {
		clear(dst)
		return
	}
	if need := packedBytes(len(dst), w) + 8; len(src) < need && len(dst) <= miniLen {
		// At the very end of a chunk: move to where reading a whole word is allowed.
		var padded [miniLen*8 + 8]byte
		copy(padded[:], src)
		src = padded[:need]
	}
	if w > 57 {
		for i := range dst {
			dst[i] = bitsAt(src, uint(i)*w, w) // #nosec G115 -- i is an index
		}
		return
	}
	mask := uint64(1)<<w - 1
	bit := uint(0)
	switch { // from one word come as many values as surely lie in it
	case w <= 14:
		for len(dst) >= 4 {
			word := wordAt(src, bit)
			d := dst[:4:4]
			d[0], d[1] = word&mask, word>>(w&63)&mask
			d[2], d[3] = word>>(2*w&63)&mask, word>>(3*w&63)&mask
			dst, bit = dst[4:], bit+4*w
		}
	case w <= 28:
		for len(dst) >= 2 {
			word := wordAt(src, bit)
			d := dst[:2:2]
			d[0], d[1] = word&mask, word>>(w&63)&mask
			dst, bit = dst[2:], bit+2*w
		}
	}
	for i := range dst {
		dst[i] = wordAt(src, bit) & mask
		bit += w
	}
}

// wordAt gives the 57 bits or more that begin at that bit.
func wordAt(src []byte, bit uint) uint64 {
	at := bit >> 3
	return binary.LittleEndian.Uint64(src[at:at+8]) >> (bit & 7)
}

// bitsAt gives the w bits that begin at that bit of src. It needs no more bytes than they take.
func bitsAt(src []byte, bit, w uint) uint64 {
	at, off := bit>>3, bit&7
	var word [16]byte
	copy(word[:], src[at:])
	v := binary.LittleEndian.Uint64(word[:8]) >> off
	if off > 0 {
		v |= binary.LittleEndian.Uint64(word[8:]) << (64 - off)
	}
	if w < 64 {
		v &= 1<<w - 1
	}
	return v
}

// zigzag makes small numbers of small differences of either sign.
func zigzag(d uint64) uint64 { return d<<1 ^ uint64(int64(d)>>63) } // #nosec G115 -- two's complement

func unzigzag(z uint64) uint64 { return z>>1 ^ -(z & 1) }
