package store

import (
	"encoding/binary"
	"fmt"
	"math/bits"

	"github.com/pastcone/pastcone/internal/wire"
)

// packed is an encoded sequence that holds no other, opened for reading. It points into the encoding.
type packed struct {
	n           int
	mode        byte
	constant    uint64
	heads, body []byte
}

// ints is any encoded sequence, opened for reading.
type ints struct {
	packed
	bitmap []byte
	inner  [2]packed // runs: values and lengths; sparse: the values
}

// openInts opens a sequence of n values and gives what lies behind it. An empty p is n zeros. It
// checks the frame; the mini-blocks are checked as they are read.
func openInts(p []byte, n int) (s ints, rest []byte, err error) {
	if n == 0 || len(p) == 0 || (p[0] != modeRuns && p[0] != modeSparse) {
		s.packed, rest, err = openPacked(p, n)
		return s, rest, err
	}
	s.n, s.mode = n, p[0]
	p = p[1:]
	if s.mode == modeSparse {
		size := (n + 7) / 8
		if len(p) < size {
			return s, nil, corrupt("a bitmap")
		}
		s.bitmap = p[:size:size]
		s.inner[0], rest, err = openPacked(p[size:], onesIn(s.bitmap, n))
		return s, rest, err
	}
	runs, w := binary.Uvarint(p)
	if w <= 0 || runs == 0 || runs > uint64(n) { // #nosec G115 -- n is a length
		return s, nil, corrupt("a number of runs")
	}
	if s.inner[0], p, err = openPacked(p[w:], int(runs)); err != nil { // #nosec G115 -- at most n
		return s, nil, err
	}
	s.inner[1], rest, err = openPacked(p, int(runs)) // #nosec G115 -- at most n
	return s, rest, err
}

func openPacked(p []byte, n int) (s packed, rest []byte, err error) {
	s.n = n
	if n == 0 || len(p) == 0 {
		return s, p, nil
	}
	s.mode = p[0]
	p = p[1:]
	switch s.mode {
	case modeConstant:
		v, w := binary.Uvarint(p)
		if w <= 0 {
			return s, nil, corrupt("a constant")
		}
		s.constant = v
		return s, p[w:], nil
	case modeFrame, modeDelta, modeZigzag:
		headBytes, w := binary.Uvarint(p)
		if w <= 0 {
			return s, nil, corrupt("the length of heads")
		}
		p = p[w:]
		bodyBytes, w := binary.Uvarint(p)
		if w <= 0 || headBytes > uint64(len(p)-w) || bodyBytes > uint64(len(p)-w)-headBytes { // #nosec G115 -- not negative
			return s, nil, corrupt("the length of mini-blocks")
		}
		p = p[w:]
		s.heads, s.body = p[:headBytes], p[headBytes:headBytes+bodyBytes]
		return s, p[headBytes+bodyBytes:], nil
	}
	return s, nil, corrupt("mode %d of a sequence", s.mode)
}

// onesIn counts the bits that are set among the first n of a bitmap.
func onesIn(bitmap []byte, n int) int {
	ones, at := 0, 0
	for ; at+64 <= n; at += 64 {
		ones += bits.OnesCount64(binary.LittleEndian.Uint64(bitmap[at/8:]))
	}
	for ; at < n; at += 8 {
		b := bitmap[at/8]
		if n-at < 8 {
			b &= 1<<(n-at) - 1
		}
		ones += bits.OnesCount8(b)
	}
	return ones
}

// walker reads the heads of mini-blocks, forwards. What it knows of the present one is in its fields; it
// keeps offsets, not slices: they cost nothing to change.
type walker struct {
	s         *packed
	head      int // offset of the next head
	next      int // offset of the next mini-block's body
	prevFirst uint64

	start, n         int // index of the first value, and their number; n is 0 before the first
	body             int // offset
	width, highWidth uint
	exceptions       int
	base, first      uint64
}

// seek reads heads up to that of the mini-block that holds value i, which must not be below the last
// one asked for.
func (w *walker) seek(i int) error {
	for w.n == 0 || i >= w.start+w.n {
		w.start += w.n
		w.n = min(miniLen, w.s.n-w.start)
		if w.n <= 0 {
			return corrupt("a sequence that ends early")
		}
		if !w.step() {
			return corrupt("a mini-block")
		}
	}
	return nil
}

// uvarint reads a number of the heads. It says whether there was one.
func (w *walker) uvarint(v *uint64) bool {
	heads := w.s.heads
	if w.head < len(heads) && heads[w.head] < 0x80 {
		*v = uint64(heads[w.head])
		w.head++
		return true
	}
	x, n := binary.Uvarint(heads[min(w.head, len(heads)):])
	*v = x
	w.head += n
	return n > 0
}

// step reads the next head, of a mini-block of w.n values. It says whether it is right.
func (w *walker) step() bool {
	heads := w.s.heads
	if w.head >= len(heads) {
		return false
	}
	head := heads[w.head]
	w.head++
	w.width = uint(head & widthMask)
	w.highWidth, w.exceptions, w.base = 0, 0, 0
	count := w.n
	if w.s.mode != modeFrame {
		var d uint64
		if !w.uvarint(&d) {
			return false
		}
		w.prevFirst += unzigzag(d)
		w.first = w.prevFirst
		count--
	}
	if w.s.mode != modeZigzag {
		if !w.uvarint(&w.base) {
			return false
		}
		if w.s.mode == modeDelta {
			w.base = unzigzag(w.base)
		}
	}
	size := packedBytes(count, w.width)
	if head&widthException != 0 {
		if len(heads)-w.head < 2 {
			return false
		}
		w.exceptions, w.highWidth = int(heads[w.head]), uint(heads[w.head+1])
		w.head += 2
		size += w.exceptions + packedBytes(w.exceptions, w.highWidth)
	}
	w.body = w.next
	w.next += size
	return w.width+w.highWidth <= 64 && w.exceptions <= count && w.next <= len(w.s.body)
}

// decode fills dst with the values that the mini-block begins with, at most all.
func (w *walker) decode(dst []uint64) {
	mode, low := w.s.mode, dst
	if mode != modeFrame {
		low = dst[1:]
	}
	places := w.s.body[w.body : w.body+w.exceptions]
	body := w.s.body[w.body+w.exceptions:]
	unpackBits(low, body, w.width)
	if len(places) > 0 {
		packed := w.n // of one that is packed by differences, the first is in the head
		if mode != modeFrame {
			packed--
		}
		high := body[packedBytes(packed, w.width):]
		for k, at := range places {
			if int(at) < len(low) {
				low[at] |= bitsAt(high, uint(k)*w.highWidth, w.highWidth) << w.width // #nosec G115 -- k is an index
			}
		}
	}
	switch mode {
	case modeFrame:
		if w.base != 0 {
			for i := range dst {
				dst[i] += w.base
			}
		}
	case modeDelta:
		v := w.first
		dst[0] = v
		for i, d := range low {
			v += d + w.base
			low[i] = v
		}
	case modeZigzag:
		v := w.first
		dst[0] = v
		for i, z := range low {
			v += unzigzag(z)
			low[i] = v
		}
	}
}

// integer is what a column's values are.
type integer interface {
	~uint8 | ~uint16 | ~uint32 | ~uint64 | ~int64
}

// fillInts decodes values [low, low+len(dst)) of the sequence, which must exist.
func fillInts[T integer](s *ints, low int, dst []T) error {
	if len(dst) == 0 {
		return nil
	}
	switch s.mode {
	case modeConstant:
		v := T(s.constant) // #nosec G115 -- the columns' widths are those that were encoded
		for i := range dst {
			dst[i] = v
		}
		return nil
	case modeRuns:
		return fillRuns(s, low, dst)
	case modeSparse:
		return fillSparse(s, low, dst)
	}
	if len(dst) == 1 && s.mode == modeFrame {
		v, err := s.frameAt(low)
		dst[0] = T(v) // #nosec G115 -- as encoded
		return err
	}
	c := cursor{walker: walker{s: &s.packed}}
	for len(dst) > 0 {
		part, err := c.from(low)
		if err != nil {
			return err
		}
		part = part[:min(len(part), len(dst))]
		for i, v := range part {
			dst[i] = T(v) // #nosec G115 -- as encoded
		}
		dst = dst[len(part):]
		low += len(part)
	}
	return nil
}

// frameAt gives one value of a sequence of frames, without its neighbours.
func (s *packed) frameAt(i int) (uint64, error) {
	w := walker{s: s}
	if err := w.seek(i); err != nil {
		return 0, err
	}
	return w.pick(i), nil
}

// pick gives value i of the present mini-block, which is a frame.
func (w *walker) pick(i int) uint64 {
	s, at := w.s, uint(i-w.start) // #nosec G115 -- an index
	places := s.body[w.body : w.body+w.exceptions]
	body := s.body[w.body+w.exceptions:]
	v := bitsAt(body, at*w.width, w.width)
	for k, place := range places {
		if uint(place) == at {
			high := body[packedBytes(w.n, w.width):]
			v |= bitsAt(high, uint(k)*w.highWidth, w.highWidth) << w.width // #nosec G115 -- k is an index
		}
	}
	return w.base + v
}

// cursor reads a constant or packed sequence forwards, a mini-block at a time.
type cursor struct {
	walker
	values [miniLen]uint64
}

// from gives value i and those behind it up to the end of its mini-block. They are overwritten by the
// next call, which must ask for a later mini-block.
func (c *cursor) from(i int) ([]uint64, error) {
	if c.s.mode == modeConstant {
		n := min(miniLen-i%miniLen, c.s.n-i)
		if n <= 0 {
			return nil, corrupt("a sequence that ends early")
		}
		for k := range c.values[:n] {
			c.values[k] = c.s.constant
		}
		return c.values[:n], nil
	}
	if err := c.seek(i); err != nil {
		return nil, err
	}
	c.decode(c.values[:c.n])
	return c.values[i-c.start : c.n], nil
}

func fillRuns[T integer](s *ints, low int, dst []T) error {
	values, lengths := cursor{walker: walker{s: &s.inner[0]}}, cursor{walker: walker{s: &s.inner[1]}}
	start, pos := 0, low
	end := low + len(dst)
	for run := 0; run < s.inner[0].n && pos < end; {
		part, err := lengths.from(run)
		if err != nil {
			return err
		}
		var value []uint64
		for k, length := range part {
			stop := start + int(min(length, uint64(s.n-start))) // #nosec G115 -- start is at most n
			if stop <= pos {
				start = stop
				continue
			}
			if value == nil {
				if value, err = values.from(run); err != nil {
					return err
				}
			}
			v := T(value[k]) // #nosec G115 -- as encoded
			for ; pos < min(stop, end); pos++ {
				dst[pos-low] = v
			}
			start = stop
			if pos == end {
				return nil
			}
		}
		run += len(part)
	}
	if pos < end {
		return corrupt("runs that end early")
	}
	return nil
}

func fillSparse[T integer](s *ints, low int, dst []T) error {
	if len(dst) == 1 && s.bitmap[low>>3]>>(low&7)&1 == 0 {
		dst[0] = 0
		return nil
	}
	at := onesIn(s.bitmap, low)
	if len(dst) == 1 && s.inner[0].mode == modeFrame {
		v, err := s.inner[0].frameAt(at)
		dst[0] = T(v) // #nosec G115 -- as encoded
		return err
	}
	c := cursor{walker: walker{s: &s.inner[0]}}
	var dense []uint64
	for i := range dst {
		bit := low + i
		if s.bitmap[bit>>3]>>(bit&7)&1 == 0 {
			dst[i] = 0
			continue
		}
		if len(dense) == 0 {
			var err error
			if dense, err = c.from(at); err != nil {
				return err
			}
			at += len(dense)
		}
		dst[i] = T(dense[0]) // #nosec G115 -- as encoded
		dense = dense[1:]
	}
	return nil
}

// at gives value i of the sequence.
func (s *ints) at(i int) (uint64, error) {
	var v [1]uint64
	err := fillInts(s, i, v[:])
	return v[0], err
}

// corrupt says what in the bytes can not be.
func corrupt(format string, args ...any) error {
	return fmt.Errorf("%w: %s", wire.ErrCorrupt, fmt.Sprintf(format, args...))
}
