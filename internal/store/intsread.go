package store

import (
	"encoding/binary"
	"fmt"
	"math/bits"

	"github.com/pastcone/pastcone/internal/wire"
)

// ints is an encoded sequence, opened for reading. It points into the encoding.
type ints struct {
	n           int
	mode        byte
	constant    uint64
	heads, body []byte
	bitmap      []byte
	inner       *[2]ints // runs: values and lengths; sparse: the values
}

// openInts opens a sequence of n values and gives what lies behind it. An empty p is n zeros. It
// checks the frame; the mini-blocks are checked as they are read. It allocates nothing that depends on
// what the bytes say.
func openInts(p []byte, n int) (s ints, rest []byte, err error) { return openIntsNested(p, n, false) }

func openIntsNested(p []byte, n int, plain bool) (s ints, rest []byte, err error) {
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
		if w <= 0 || headBytes > uint64(len(p)-w) || bodyBytes > uint64(len(p)-w)-headBytes {
			return s, nil, corrupt("the length of mini-blocks")
		}
		p = p[w:]
		s.heads, s.body = p[:headBytes], p[headBytes:headBytes+bodyBytes]
		return s, p[headBytes+bodyBytes:], nil
	case modeRuns, modeSparse:
		if plain {
			return s, nil, corrupt("a sequence in a nested sequence")
		}
		s.inner = new([2]ints)
		if s.mode == modeSparse {
			size := (n + 7) / 8
			if len(p) < size {
				return s, nil, corrupt("a bitmap")
			}
			s.bitmap = p[:size:size]
			s.inner[0], rest, err = openIntsNested(p[size:], onesIn(s.bitmap, n), true)
			return s, rest, err
		}
		runs, w := binary.Uvarint(p)
		if w <= 0 || runs == 0 || runs > uint64(n) { // #nosec G115 -- n is a length
			return s, nil, corrupt("a number of runs")
		}
		if s.inner[0], p, err = openIntsNested(p[w:], int(runs), true); err != nil { // #nosec G115 -- at most n
			return s, nil, err
		}
		s.inner[1], rest, err = openIntsNested(p, int(runs), true) // #nosec G115 -- at most n
		return s, rest, err
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

// mini is one mini-block's place and shape.
type mini struct {
	width, highWidth uint
	exceptions       int
	base, first      uint64
	body             []byte // from its first byte to the end of the sequence
}

// miniReader walks the heads of a sequence.
type miniReader struct {
	s         *ints
	heads     []byte
	off       int
	prevFirst uint64
}

// next reads the head of a mini-block of n values.
func (r *miniReader) next(n int, m *mini) error {
	if len(r.heads) == 0 {
		return corrupt("heads that end early")
	}
	head := r.heads[0]
	r.heads = r.heads[1:]
	m.width = uint(head & widthMask)
	m.highWidth, m.exceptions, m.base = 0, 0, 0
	packed := n
	if r.s.mode != modeFrame {
		d, w := binary.Uvarint(r.heads)
		if w <= 0 {
			return corrupt("a first value")
		}
		r.heads = r.heads[w:]
		r.prevFirst += unzigzag(d)
		m.first = r.prevFirst
		packed--
	}
	if r.s.mode != modeZigzag {
		b, w := binary.Uvarint(r.heads)
		if w <= 0 {
			return corrupt("a base")
		}
		r.heads = r.heads[w:]
		m.base = b
		if r.s.mode == modeDelta {
			m.base = unzigzag(b)
		}
	}
	size := packedBytes(packed, m.width)
	if head&widthException != 0 {
		if len(r.heads) < 2 {
			return corrupt("exceptions")
		}
		m.exceptions, m.highWidth = int(r.heads[0]), uint(r.heads[1])
		r.heads = r.heads[2:]
		size += m.exceptions + packedBytes(m.exceptions, m.highWidth)
	}
	if m.width > 64 || m.highWidth > 64 || m.width+m.highWidth > 64 || m.exceptions > packed || size > len(r.s.body)-r.off {
		return corrupt("a mini-block")
	}
	m.body = r.s.body[r.off:]
	r.off += size
	return nil
}

// decode fills dst, which has the mini-block's number of values.
func (m *mini) decode(mode byte, dst []uint64) {
	low := dst
	if mode != modeFrame {
		low = dst[1:]
	}
	body := m.body[m.exceptions:]
	unpackBits(low, body, m.width)
	if m.exceptions > 0 {
		high := body[packedBytes(len(low), m.width):]
		for k, at := range m.body[:m.exceptions] {
			if int(at) < len(low) {
				low[at] |= bitsAt(high, uint(k)*m.highWidth, m.highWidth) << m.width // #nosec G115 -- k is an index
			}
		}
	}
	switch mode {
	case modeFrame:
		if m.base != 0 {
			for i := range dst {
				dst[i] += m.base
			}
		}
	case modeDelta:
		v := m.first
		dst[0] = v
		for i, d := range low {
			v += d + m.base
			low[i] = v
		}
	case modeZigzag:
		v := m.first
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
		return fillOne(s, low, dst)
	}
	c := cursor{s: s}
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

// fillOne decodes one value of a sequence of frames, without its neighbours if it can.
func fillOne[T integer](s *ints, i int, dst []T) error {
	c := cursor{s: s}
	n, err := c.seek(i)
	if err != nil {
		return err
	}
	at := i - c.start
	if c.m.exceptions == 0 {
		dst[0] = T(c.m.base + bitsAt(c.m.body, uint(at)*c.m.width, c.m.width)) // #nosec G115 -- as encoded
		return nil
	}
	c.m.decode(s.mode, c.values[:n])
	dst[0] = T(c.values[at]) // #nosec G115 -- as encoded
	return nil
}

// cursor reads a constant or packed sequence forwards, a mini-block at a time.
type cursor struct {
	s      *ints
	r      miniReader
	m      mini
	start  int // index of the first value of the mini-block that m describes
	n      int // its number of values; 0 before the first
	values [miniLen]uint64
}

// seek reads heads up to that of the mini-block that holds value i, and gives its number of values. i
// must not be below the last one asked for.
func (c *cursor) seek(i int) (n int, err error) {
	if c.n == 0 {
		c.r = miniReader{s: c.s, heads: c.s.heads}
	}
	for c.n == 0 || i >= c.start+c.n {
		c.start += c.n
		c.n = min(miniLen, c.s.n-c.start)
		if c.n <= 0 {
			return 0, corrupt("a sequence that ends early")
		}
		if err := c.r.next(c.n, &c.m); err != nil {
			return 0, err
		}
	}
	return c.n, nil
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
	n, err := c.seek(i)
	if err != nil {
		return nil, err
	}
	c.m.decode(c.s.mode, c.values[:n])
	return c.values[i-c.start : n], nil
}

func fillRuns[T integer](s *ints, low int, dst []T) error {
	values, lengths := cursor{s: &s.inner[0]}, cursor{s: &s.inner[1]}
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
	at := onesIn(s.bitmap, low)
	c := cursor{s: &s.inner[0]}
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
