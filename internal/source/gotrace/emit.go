package gotrace

import (
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
	b.to.arena = strconv.AppendInt(b.to.arena, n, 10)
	return b
}

// labelled gives a name for an event or a message, until the next call: a letter and a number.
func (b *builder) labelled(letter byte, n uint64) []byte {
	b.label = strconv.AppendUint(append(b.label[:0], letter), n, 10)
	return b.label
}

// emit adds an event to the batch: the next one of its stream. cause is where its cause from another stream lies, the
// zero spot if it has none. The record is the caller's to complete until the next event.
func (b *builder) emit(g *goroutine, kind event.Kind, now int64, site wire.Site, more *wire.Extension, cause spot) *wire.Record {
	g.at = b.to.place(g.name, g.at, cause)
	g.seq++
	r := b.to.add(g.at)
	r.Kind, r.Time, r.Seq, r.Site = kind, now, g.seq, site
	if b.has {
		b.has = false
		r.DataOff, r.DataLen = uint32(b.from), uint32(len(b.to.arena)-b.from) // #nosec G115 -- the payload is bounded by arenaBytesMax and one event
	}
	if more != nil {
		off := len(b.to.arena)
		b.to.arena = wire.AppendExtension(b.to.arena, more)
		r.ExtOff, r.ExtLen = uint32(off), uint32(len(b.to.arena)-off) // #nosec G115 -- as above
	}
	return r
}
