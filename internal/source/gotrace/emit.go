package gotrace

import (
	"math/bits"
	"slices"
	"strconv"

	"github.com/pastcone/pastcone/event"
	"github.com/pastcone/pastcone/internal/wire"
)

// The data of the next event is written straight into the batch's payload, from data on to emit. An event that has
// none is emitted without a call of data.

// data begins the data of the next event.
func (b *builder) data(text string) *builder {
	b.from, b.has = len(b.to.arena), true
	return b.text(text)
}

func (b *builder) text(text string) *builder {
	b.to.arena = append(b.to.arena, text...)
	return b
}

func (b *builder) bytes(text []byte) *builder {
	b.to.arena = append(b.to.arena, text...)
	return b
}

func (b *builder) quote(text string) *builder {
	b.to.arena = appendQuoted(b.to.arena, text)
	return b
}

func (b *builder) number(n int64) *builder {
	b.to.arena = appendNumber(b.to.arena, n)
	return b
}

// appendNumber appends n in decimal. Two or three numbers an event are written, most of them of few digits: those are written
// where they belong, and not copied there as by strconv.
func appendNumber(dst []byte, n int64) []byte {
	if n < 0 || n >= 1e9 {
		return strconv.AppendInt(dst, n, 10)
	}
	left := uint32(n)
	width := bits.Len32(left|1) * 1233 >> 12 // of digits, or one less: log10 2 is 1233/4096
	if left >= powers[width] {
		width++
	}
	dst = slices.Grow(dst, width)
	to := dst[len(dst) : len(dst)+width]
	i := len(to)
	for ; i >= 2; i -= 2 {
		pair := left % 100 * 2
		to[i-2], to[i-1] = pairs[pair], pairs[pair+1]
		left /= 100
	}
	if i == 1 {
		to[0] = byte('0' + left) // #nosec G115 -- one digit
	}
	return dst[:len(dst)+width]
}

// powers are those of ten; but for the first, below which there are no digits: zero has one, too.
var powers = [...]uint32{0, 10, 100, 1e3, 1e4, 1e5, 1e6, 1e7, 1e8, 1e9}

// pairs are the numbers below 100, of two digits each.
const pairs = "0001020304050607080910111213141516171819" +
	"2021222324252627282930313233343536373839" +
	"4041424344454647484950515253545556575859" +
	"6061626364656667686970717273747576777879" +
	"8081828384858687888990919293949596979899"

// labelled gives a name for an event or a message, until the next call: a letter and a number.
func (b *builder) labelled(letter byte, n uint64) []byte {
	b.label = appendNumber(append(b.label[:0], letter), int64(n)) // #nosec G115 -- a count
	return b.label
}

// emit adds an event to the batch: the next one of its stream. cause is where its cause from another stream lies, the
// zero spot if it has none. The record is the caller's to complete until the next event.
func (b *builder) emit(g *goroutine, kind event.Kind, now int64, site wire.Site, more *wire.Extension, cause spot) *wire.Record {
	ext := len(b.to.arena)
	from := ext
	if b.has {
		b.has, from = false, b.from
	}
	if more != nil {
		b.to.arena = wire.AppendExtension(b.to.arena, more)
	}
	return b.put(g, kind, now, site, from, ext, cause)
}

// put is emit for an event whose payload is written: its data begin at from, its rarer fields at ext, and what has been written
// last is its end.
func (b *builder) put(g *goroutine, kind event.Kind, now int64, site wire.Site, from, ext int, cause spot) *wire.Record {
	g.at = b.to.place(g.name, g.at, cause)
	g.seq++
	r := b.to.add(g.at)
	r.Kind, r.Time, r.Seq, r.Site = kind, now, g.seq, site
	// The payload is bounded by arenaBytesMax and one event.
	if ext > from {
		r.DataOff, r.DataLen = uint32(from), uint32(ext-from) // #nosec G115 -- as above
	}
	if end := len(b.to.arena); end > ext {
		r.ExtOff, r.ExtLen = uint32(ext), uint32(end-ext) // #nosec G115 -- as above
	}
	return r
}
