package store

import (
	"encoding/binary"

	"github.com/pastcone/pastcone/event"
	"github.com/pastcone/pastcone/internal/wire"
)

// tails knows the last event of each stream, so that a correlator can go on with a recording that is
// opened again. It is brought up to date with each block that has become durable, and written into the
// index of each segment as it is sealed: opening reads the newest of these and the blocks behind it.
//
// It is bounded: of the streams that have ended it keeps the last so many (for resends that come after
// the end), of all streams the last so many. What is put out is counted. A stream that was put out and
// goes on all the same begins, for the correlator, with a gap.
type tails struct {
	max, maxExited int
	byStream       map[tailKey]tailState
	exited         []tailKey // in the order of their ends; entries that are not true any more are passed over
	evicted        uint64
}

// The bounds of tails: some 60 MB at worst.
const (
	tailsMax       = 1 << 19
	tailsExitedMax = 1 << 16
)

type tailKey struct {
	stream wire.Name
	source wire.SourceID
}

type tailState struct {
	seq    uint64
	id     event.ID
	exited bool
}

func newTails() *tails {
	return &tails{max: tailsMax, maxExited: tailsExitedMax, byStream: map[tailKey]tailState{}}
}

func (t *tails) add(tail wire.Tail) {
	k := tailKey{tail.Stream, tail.Source}
	t.byStream[k] = tailState{tail.Seq, tail.ID, tail.Exited}
	if tail.Exited {
		t.exited = append(t.exited, k)
		for len(t.exited) > t.maxExited {
			t.forgetExited()
		}
	}
	if len(t.byStream) > t.max {
		t.evict()
	}
}

// forgetExited puts out the stream that has ended first. That it is known no more does no harm but
// for a resend of its events.
func (t *tails) forgetExited() {
	k := t.exited[0]
	t.exited = t.exited[1:]
	if s, ok := t.byStream[k]; ok && s.exited {
		delete(t.byStream, k)
	}
}

// evict puts out all that has ended, and if that does not make room, the streams that have been silent the
// longest: an eighth at a time, so that it happens rarely.
func (t *tails) evict() {
	for len(t.exited) > 0 {
		t.forgetExited()
	}
	if len(t.byStream) <= t.max-t.max/8 {
		return
	}
	var least, most event.ID = 1<<64 - 1, 0
	for _, s := range t.byStream {
		least, most = min(least, s.id), max(most, s.id)
	}
	for len(t.byStream) > t.max-t.max/8 {
		// Ids are spread evenly enough that a few rounds do.
		least += (most-least)/8 + 1
		for k, s := range t.byStream {
			if s.id < least {
				delete(t.byStream, k)
				t.evicted++
			}
		}
	}
}

// all gives the tails in no order.
func (t *tails) all(yield func(wire.Tail) bool) {
	for k, s := range t.byStream {
		if !yield(wire.Tail{Source: k.source, Stream: k.stream, Seq: s.seq, ID: s.id, Exited: s.exited}) {
			return
		}
	}
}

// append appends the encoding of all tails: of each source, stream, seq, id and whether it has ended.
func (t *tails) append(dst []byte) []byte {
	for k, s := range t.byStream {
		dst = binary.AppendUvarint(dst, uint64(k.source))
		dst = binary.AppendUvarint(dst, uint64(k.stream))
		dst = binary.AppendUvarint(dst, s.seq)
		ended := uint64(0)
		if s.exited {
			ended = 1
		}
		dst = binary.AppendUvarint(dst, uint64(s.id)<<1|ended)
	}
	return dst
}

// load replaces the tails by encoded ones.
func (t *tails) load(p []byte, n int) error {
	clear(t.byStream)
	t.exited = t.exited[:0]
	for i := range n {
		var v [4]uint64
		for k := range v {
			x, w := binary.Uvarint(p)
			if w <= 0 {
				return corrupt("tail %d of %d", i, n)
			}
			v[k], p = x, p[w:]
		}
		if v[0] > 1<<32-1 {
			return corrupt("tail %d: source %d", i, v[0])
		}
		t.add(wire.Tail{
			Source: wire.SourceID(v[0]), Stream: wire.Name(v[1]), Seq: v[2], // #nosec G115 -- bounded above
			ID: event.ID(v[3] >> 1), Exited: v[3]&1 == 1,
		})
	}
	if len(p) > 0 {
		return corrupt("%d bytes behind the last tail", len(p))
	}
	return nil
}

// addBlock brings the tails up to date with a block that was read. codes are its streams' codes: with
// them, only the last row of each stream is looked up.
func (t *tails) addBlock(c *wire.Columns, codes []uint64) {
	var last [wire.BlockRowsMax + 1]uint16 // index + 1 of each code's last row
	seen := make([]uint64, 0, 256)
	source := wire.SourceID(0)
	for i, code := range codes {
		if source == 0 {
			source = c.Source[0]
		}
		if c.Source[i] != source { // two sources may have streams of the same name
			t.addRows(c)
			return
		}
		if last[code] == 0 {
			seen = append(seen, code)
		}
		last[code] = uint16(i + 1) // #nosec G115 -- at most BlockRowsMax
	}
	for _, code := range seen {
		t.add(tailAt(c, int(last[code]-1)))
	}
}

func (t *tails) addRows(c *wire.Columns) {
	for i := range c.Len {
		t.add(tailAt(c, i))
	}
}

func tailAt(c *wire.Columns, i int) wire.Tail {
	return wire.Tail{
		Source: c.Source[i], Stream: c.Stream[i], Seq: c.Seq[i],
		ID: c.Base + event.ID(i), Exited: c.Kind[i] == event.KindExit, // #nosec G115 -- an index
	}
}

// streamCodes fills codes, which has the block's number of rows, with the rows' stream codes.
func (v *blockView) streamCodes(codes []uint64) error {
	p, err := v.chunk(chunkStream)
	if err != nil {
		return err
	}
	c, err := openDictionary(p, v.h.rows, true)
	if err == nil && c.n > 0 {
		err = fillInts(&c.codes, 0, codes)
	}
	return err
}
