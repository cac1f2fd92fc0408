package store

import (
	"encoding/binary"
	"math/bits"
)

// A sequence is how this package writes n whole numbers of up to 64 bits; n is known from outside. The
// encoder chooses, for each sequence anew, the mode that is the shortest for it:
//
//	constant   one value
//	frame      each mini-block of 128: a base, and what each value is above it, in as few bits as do
//	delta      the same of the differences to the value before
//	zigzag     the same of the differences, folded so that small negative ones are small
//	runs       values and lengths of stretches of equal values, themselves two sequences
//	sparse     a bit for each value that is not zero, and these values, themselves a sequence
//
// In a mini-block the few values that would need many more bits than the rest are exceptions: their
// high bits lie apart, so that one far jump does not widen 127 short ones.
//
// Any value can be had without decoding more than its mini-block; all arithmetic wraps.
const (
	modeConstant = iota
	modeFrame
	modeDelta
	modeZigzag
	modeRuns
	modeSparse
	modeEnd
)

const (
	widthMask      = 0x7f
	widthException = 0x80 // the mini-block has exceptions
	sampleEvery    = 8    // one in so many mini-blocks is measured to choose a mode
)

// intWriter encodes sequences; it keeps its memory from one to the next.
type intWriter struct {
	heads, body []byte
	nested      [2][]uint64
	low         [miniLen]uint64
	high        []uint64
}

// appendInts appends the sequence in the shortest mode. ordered says that neighbours may be close to
// each other, so that differences are worth a try.
func (w *intWriter) append(dst []byte, v []uint64, ordered bool) []byte {
	if len(v) == 0 {
		return dst
	}
	runs, zeros := 1, 0
	prev, all := v[0], uint64(0)
	for _, x := range v {
		all |= x
		// Without branches: in half of all columns nobody can foresee them.
		changed, zero := 0, 0
		if x != prev {
			changed = 1
		}
		if x == 0 {
			zero = 1
		}
		runs, zeros, prev = runs+changed, zeros+zero, x
	}
	switch {
	case runs == 1:
		dst = append(dst, modeConstant)
		return binary.AppendUvarint(dst, v[0])
	case runs*8 <= len(v) && (all > 15 || runs*32 <= len(v)): // of a few bits, frames are as short
		return w.appendRuns(dst, v, runs, ordered)
	case zeros*4 >= len(v) && zeros*sparseBits(v) > len(v):
		return w.appendSparse(dst, v, ordered)
	}
	return w.appendPacked(dst, v, ordered)
}

// sparseBits gives how many bits a value that is not zero has, on average over a sample.
func sparseBits(v []uint64) int {
	sum, n := 0, 0
	step := 1 + len(v)/256
	for i := 0; i < len(v); i += step {
		if v[i] != 0 {
			sum += bits.Len64(v[i])
			n++
		}
	}
	return (sum + n - 1) / max(n, 1)
}

func (w *intWriter) appendRuns(dst []byte, v []uint64, runs int, ordered bool) []byte {
	values, lengths := w.nested[0][:0], w.nested[1][:0]
	start := 0
	for i := 1; i <= len(v); i++ {
		if i == len(v) || v[i] != v[start] {
			values = append(values, v[start])
			lengths = append(lengths, uint64(i-start)) // #nosec G115 -- i is above start
			start = i
		}
	}
	w.nested[0], w.nested[1] = values, lengths
	dst = append(dst, modeRuns)
	dst = binary.AppendUvarint(dst, uint64(runs)) // #nosec G115 -- a count
	dst = w.appendPlain(dst, values, ordered)
	return w.appendPlain(dst, lengths, false)
}

func (w *intWriter) appendSparse(dst []byte, v []uint64, ordered bool) []byte {
	dense, n := resize(w.nested[0], len(v)+1), 0
	w.nested[0] = dense
	dst = append(dst, modeSparse)
	for at := 0; at < len(v); at += 8 {
		var mask byte
		for i, x := range v[at:min(at+8, len(v))] {
			dense[n] = x // is written over, if it is zero
			if x != 0 {
				mask |= 1 << i
			}
			n += int(mask >> i & 1)
		}
		dst = append(dst, mask)
	}
	dense = dense[:n]
	return w.appendPlain(dst, dense, ordered)
}

// appendPlain appends a sequence in a mode that holds no other sequence.
func (w *intWriter) appendPlain(dst []byte, v []uint64, ordered bool) []byte {
	if len(v) == 0 {
		return dst
	}
	for _, x := range v {
		if x != v[0] {
			return w.appendPacked(dst, v, ordered)
		}
	}
	dst = append(dst, modeConstant)
	return binary.AppendUvarint(dst, v[0])
}

func (w *intWriter) appendPacked(dst []byte, v []uint64, ordered bool) []byte {
	mode := byte(modeFrame)
	if ordered {
		mode = w.choose(v)
	}
	w.heads, w.body = w.heads[:0], w.body[:0]
	prevFirst := uint64(0)
	for at := 0; at < len(v); at += miniLen {
		mini := v[at:min(at+miniLen, len(v))]
		low, base := w.lower(mode, mini)
		width, highWidth := w.split(low)
		head := byte(width) // #nosec G115 -- at most 64
		if len(w.high) > 0 {
			head |= widthException
		}
		w.heads = append(w.heads, head)
		if mode != modeFrame {
			w.heads = binary.AppendUvarint(w.heads, zigzag(mini[0]-prevFirst))
			prevFirst = mini[0]
		}
		switch mode {
		case modeFrame:
			w.heads = binary.AppendUvarint(w.heads, base)
		case modeDelta:
			w.heads = binary.AppendUvarint(w.heads, zigzag(base))
		}
		if n := len(w.high); n > 0 {
			w.heads = append(w.heads, byte(n), byte(highWidth)) // #nosec G115 -- at most 128 and 64
			w.appendExceptions(low, width)
		}
		w.body = packBits(w.body, low, width)
		if len(w.high) > 0 {
			w.body = packBits(w.body, w.high, highWidth)
		}
	}
	dst = append(dst, mode)
	dst = binary.AppendUvarint(dst, uint64(len(w.heads)))
	dst = binary.AppendUvarint(dst, uint64(len(w.body)))
	dst = append(dst, w.heads...)
	return append(dst, w.body...)
}

// lower fills w.low with what is packed of a mini-block in that mode, and gives its base.
func (w *intWriter) lower(mode byte, mini []uint64) (low []uint64, base uint64) {
	switch mode {
	case modeFrame:
		low, base = w.low[:len(mini)], mini[0]
		for _, x := range mini {
			base = min(base, x)
		}
		for i, x := range mini {
			low[i] = x - base
		}
	case modeDelta:
		low = w.low[:len(mini)-1]
		least := int64(1<<63 - 1)
		for i := range low {
			low[i] = mini[i+1] - mini[i]
			least = min(least, int64(low[i])) // #nosec G115 -- two's complement
		}
		base = uint64(least) // #nosec G115 -- two's complement
		for i := range low {
			low[i] -= base
		}
	case modeZigzag:
		low = w.low[:len(mini)-1]
		for i := range low {
			low[i] = zigzag(mini[i+1] - mini[i])
		}
	}
	return low, base
}

// split chooses the width of a mini-block: the one that costs least together with the exceptions
// that do not fit it. It leaves room in w.high for these.
func (w *intWriter) split(low []uint64) (width, highWidth uint) {
	w.high = w.high[:0]
	var all uint64
	for _, x := range low {
		all |= x
	}
	widest := bits.Len64(all)
	if widest <= 3 || len(low) < 16 {
		return uint(widest), 0 // #nosec G115 -- at most 64
	}
	var wide [65]uint8
	for _, x := range low {
		wide[bits.Len64(x)]++
	}
	best, cost := widest, widest*len(low)
	above, bestAbove := 0, 0
	for b := widest - 1; b >= 0; b-- {
		above += int(wide[b+1])
		// Position (8 bits) and high part of each exception, and two bytes that say so.
		if c := b*len(low) + above*(8+widest-b) + 16; c < cost {
			best, cost, bestAbove = b, c, above
		}
		if above*8 > cost {
			break
		}
	}
	w.high = append(w.high, make([]uint64, bestAbove)...)
	return uint(best), uint(widest - best) // #nosec G115 -- at most 64
}

// appendExceptions appends the places of the values that are wider than width, moves their high bits to
// w.high and leaves their low bits.
func (w *intWriter) appendExceptions(low []uint64, width uint) {
	n := 0
	for i, x := range low {
		if x>>width != 0 {
			w.body = append(w.body, byte(i)) // #nosec G115 -- below 128
			w.high[n] = x >> width
			low[i] = x & (1<<width - 1)
			n++
		}
	}
}

// choose gives the mode of which a sample of the mini-blocks is the shortest. Frames are the quickest to
// read a single value of: differences have to be worth a sixteenth.
func (w *intWriter) choose(v []uint64) byte {
	best, least := byte(modeFrame), int(^uint(0)>>1)
	for mode := byte(modeFrame); mode <= modeZigzag; mode++ {
		cost := 0
		for at := 0; at < len(v); at += miniLen * sampleEvery {
			low, _ := w.lower(mode, v[at:min(at+miniLen, len(v))])
			width, highWidth := w.split(low)
			cost += int(width)*len(low) + len(w.high)*int(8+highWidth) // #nosec G115 -- small
		}
		if mode != modeFrame {
			cost += cost / 16
		}
		if cost < least {
			best, least = mode, cost
		}
	}
	return best
}
