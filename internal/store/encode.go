package store

import (
	"encoding/binary"
	"fmt"
	"math"
	"slices"

	"github.com/pastcone/pastcone/event"
	"github.com/pastcone/pastcone/internal/wire"
)

// encoder makes an encoded block of a wire.Block. It has all the memory that this takes, and keeps it.
//
//  1. One pass over the rows takes them apart into columns. What repeats gets a code: streams, keys,
//     correlations, and forms (see [form]). What counts up is taken relative to something near: a
//     sequence number to the stream's first in this block, an ordinal to the key's, a parent to the
//     event's own id.
//  2. Each column becomes a chunk: sequences of whole numbers, each in its shortest mode.
//  3. Data and rarer fields are compressed in pieces.
//  4. The filter is built of the codes' values.
type encoder struct {
	table *wire.Table

	streams, keys, peers, children, correlations, probabilities, causes dict
	forms                                                               formDict

	time, stream, seq, form, key, ordinal, peer, child []uint64
	parent, parentP, correlation, position, duration   []uint64
	counts, distances, edgeForms, edgeP                []uint64
	lengths                                            []uint64
	seqBase, ordinalBase                               []uint64
	lastRow                                            []int32
	texts, tails                                       []uint64

	ints   intWriter
	filter filterBuilder
	zip    *compressor
	chunks []byte
	pieces []byte
	funcs  map[wire.Text]struct{}
}

// encoded is a block as it will be written, with what else the writer has to know of it.
type encoded struct {
	h     blockHeader
	raw   []byte
	tails []wire.Tail // the last event of each stream in it
	late  []wire.LateEdge
}

func newEncoder(table *wire.Table, codec Codec) *encoder {
	return &encoder{table: table, zip: newCompressor(codec), funcs: map[wire.Text]struct{}{}}
}

// checkBounds says whether the block can be encoded at all.
func checkBounds(b *wire.Block) error {
	if len(b.Rows) > wire.BlockRowsMax || len(b.Edges) > EdgesMax || len(b.Late) > LateEdgesMax {
		return fmt.Errorf("%w: %d rows (at most %d), %d further edges (%d), %d late edges (%d)", ErrTooLarge,
			len(b.Rows), wire.BlockRowsMax, len(b.Edges), EdgesMax, len(b.Late), LateEdgesMax)
	}
	var data, ext, edges int
	for i := range b.Rows {
		r := &b.Rows[i]
		if r.DataLen > PayloadBytesMax || r.ExtLen > PayloadBytesMax {
			return fmt.Errorf("%w: event %d: %d bytes of data, %d of rarer fields, at most %d each", ErrTooLarge,
				b.Base+event.ID(i), r.DataLen, r.ExtLen, PayloadBytesMax) // #nosec G115 -- i is an index
		}
		if uint64(r.DataOff)+uint64(r.DataLen) > uint64(len(b.Arena)) || uint64(r.ExtOff)+uint64(r.ExtLen) > uint64(len(b.Arena)) ||
			uint64(r.EdgeOff)+uint64(r.EdgeLen) > uint64(len(b.Edges)) {
			return fmt.Errorf("%w: event %d points behind the end of the block's arena or edges", ErrTooLarge, b.Base+event.ID(i)) // #nosec G115 -- i is an index
		}
		data, ext, edges = data+int(r.DataLen), ext+int(r.ExtLen), edges+int(r.EdgeLen)
	}
	if data > payloadTotalsMax/4 || ext > payloadTotalsMax/4 || edges > EdgesMax {
		return fmt.Errorf("%w: %d bytes of data, %d of rarer fields, at most %d each", ErrTooLarge, data, ext, payloadTotalsMax/4)
	}
	return nil
}

// encode fills e. The block is within its bounds.
func (c *encoder) encode(b *wire.Block, e *encoded) {
	c.reset()
	h := &e.h
	*h = blockHeader{
		rows: len(b.Rows), base: b.Base, arrived: b.Arrived, late: len(b.Late),
		// The table was filled before the block came: what it holds now is enough.
		texts: len(c.table.Texts()), places: len(c.table.Places()),
	}
	e.late = b.Late
	c.split(b, h)
	c.chunks, c.pieces = c.chunks[:0], c.pieces[:0]
	c.append(h, chunkTime, c.time, true)
	c.appendStreams(h)
	c.appendForms(h)
	c.appendKeys(h)
	c.appendNames(h, chunkPeer, &c.peers, c.peer)
	c.appendNames(h, chunkChild, &c.children, c.child)
	c.append(h, chunkParent, c.parent, false)
	c.appendCoded(h, chunkParentP, &c.probabilities, c.parentP)
	c.appendCoded(h, chunkCorrelation, &c.correlations, c.correlation)
	c.append(h, chunkPosition, c.position, true)
	c.append(h, chunkDuration, c.duration, false)
	c.appendFurther(h, b)
	c.appendPayload(h, b, chunkData, (*wire.Block).Data)
	c.appendPayload(h, b, chunkExt, (*wire.Block).Ext)
	c.appendLate(h, b)
	c.appendFilter(h)
	c.collectTails(b, e)

	h.length = align(len(c.chunks) + headerLength(h))
	e.raw = appendBlockHeader(slices.Grow(e.raw[:0], h.length), h)
	h.headerBytes = len(e.raw)
	for id := 1; id < chunkEnd; id++ {
		h.chunks[id].off += h.headerBytes
	}
	e.raw = append(e.raw, c.chunks...)
	e.raw = append(e.raw, make([]byte, h.length-len(e.raw))...)
}

func headerLength(h *blockHeader) int {
	n := blockHeaderBytes
	for _, c := range h.chunks {
		if c.length > 0 {
			n += chunkEntryBytes
		}
	}
	return n
}

func (c *encoder) reset() {
	for _, d := range [...]*dict{&c.streams, &c.keys, &c.peers, &c.children, &c.correlations, &c.probabilities, &c.causes} {
		d.reset()
	}
	c.forms.reset()
	for _, col := range [...]*[]uint64{
		&c.time, &c.stream, &c.seq, &c.form, &c.key, &c.ordinal, &c.peer, &c.child, &c.parent, &c.parentP,
		&c.correlation, &c.position, &c.duration, &c.counts, &c.distances, &c.edgeForms, &c.edgeP, &c.seqBase,
	} {
		*col = (*col)[:0]
	}
	c.ordinalBase = append(c.ordinalBase[:0], math.MaxUint64) // of code 0: no key
	c.lastRow = c.lastRow[:0]
	c.filter.reset()
}

// split takes the rows apart into columns.
func (c *encoder) split(b *wire.Block, h *blockHeader) {
	for i := range b.Rows {
		r := &b.Rows[i]
		id := b.Base + event.ID(i) // #nosec G115 -- i is an index
		if i == 0 {
			h.timeMin, h.timeMax = r.Time, r.Time
		}
		h.timeMin, h.timeMax = min(h.timeMin, r.Time), max(h.timeMax, r.Time)
		h.kinds |= 1 << (r.Kind & 31)
		c.time = append(c.time, uint64(r.Time)) // #nosec G115 -- two's complement
		c.splitStream(i, r)
		c.form = append(c.form, uint64(c.forms.code(form{
			r.Site, r.Source, r.Flags, uint8(r.Kind), uint8(r.ParentKind), uint8(r.ParentConf), uint8(r.CorrConf),
		})))
		c.splitKey(r)
		c.peer = append(c.peer, nameCode(&c.peers, r.Peer))
		c.child = append(c.child, nameCode(&c.children, r.Child))
		if r.Parent == 0 {
			c.parent = append(c.parent, 0)
		} else {
			c.parent = append(c.parent, uint64(id-r.Parent))
			c.addCause(r.Parent, b.Base, id)
		}
		c.parentP = append(c.parentP, uint64(c.probabilities.code(uint64(math.Float32bits(r.ParentP)))))
		c.correlation = append(c.correlation, uint64(c.correlations.code(uint64(r.Correlation))))
		c.position = append(c.position, uint64(r.Position))
		c.duration = append(c.duration, uint64(r.Duration)) // #nosec G115 -- two's complement
		c.counts = append(c.counts, uint64(r.EdgeLen))
		for _, f := range b.Further(r) {
			if f.Cause == 0 {
				c.distances = append(c.distances, 0)
			} else {
				c.distances = append(c.distances, uint64(id-f.Cause))
				c.addCause(f.Cause, b.Base, id)
			}
			c.edgeForms = append(c.edgeForms, uint64(f.Kind)|uint64(f.Conf)<<8)
			c.edgeP = append(c.edgeP, uint64(math.Float32bits(f.P)))
		}
	}
}

func (c *encoder) splitStream(i int, r *wire.Row) {
	code := nameCode(&c.streams, r.Stream)
	for int(code) >= len(c.seqBase) { // #nosec G115 -- a code
		c.seqBase = append(c.seqBase, math.MaxUint64)
		c.lastRow = append(c.lastRow, 0)
	}
	c.stream = append(c.stream, code)
	c.seqBase[code] = min(c.seqBase[code], r.Seq)
	c.lastRow[code] = int32(i)   // #nosec G115 -- below BlockRowsMax
	c.seq = append(c.seq, r.Seq) // made relative when all are known
}

func (c *encoder) splitKey(r *wire.Row) {
	code := nameCode(&c.keys, r.Key)
	for int(code) >= len(c.ordinalBase) { // #nosec G115 -- a code
		c.ordinalBase = append(c.ordinalBase, math.MaxUint64)
	}
	if r.Ordinal != 0 {
		c.ordinalBase[code] = min(c.ordinalBase[code], r.Ordinal)
	}
	c.key = append(c.key, code)
	c.ordinal = append(c.ordinal, r.Ordinal) // made relative when all are known
}

// nameCode gives the code of a name: 0 of none.
func nameCode(d *dict, n wire.Name) uint64 {
	if n == 0 {
		return 0
	}
	return uint64(d.code(uint64(n))) + 1
}

// addCause notes a cause for the filter, if it lies outside of the block: of those in it (base up to
// id), the range of ids tells.
func (c *encoder) addCause(cause, base, id event.ID) {
	if cause >= base && cause <= id {
		return
	}
	if len(c.causes.values) < wire.BlockRowsMax {
		c.causes.code(uint64(cause))
	} else if !c.causes.has(uint64(cause)) {
		c.filter.why = append(c.filter.why, filterKey(categoryCause, uint64(cause)))
	}
}

// end closes the chunk that was begun at that place.
func (c *encoder) end(h *blockHeader, id, start int) {
	h.chunks[id] = chunkPlace{start, len(c.chunks) - start, checksum(c.chunks[start:])}
}

// append appends a chunk that is one sequence. A column of zeros has none.
func (c *encoder) append(h *blockHeader, id int, v []uint64, ordered bool) {
	if allZero(v) {
		return
	}
	start := len(c.chunks)
	c.chunks = c.ints.append(c.chunks, v, ordered)
	c.end(h, id, start)
}

func allZero(v []uint64) bool {
	for _, x := range v {
		if x != 0 {
			return false
		}
	}
	return true
}

// appendNameValues appends the names of a dict: their number, texts and tails.
func (c *encoder) appendNameValues(d *dict) {
	c.texts, c.tails = c.texts[:0], c.tails[:0]
	for _, v := range d.values {
		c.texts = append(c.texts, v>>nameTailBits)
		c.tails = append(c.tails, v&(1<<nameTailBits-1))
	}
	c.chunks = binary.AppendUvarint(c.chunks, uint64(len(d.values)))
	c.chunks = c.ints.append(c.chunks, c.texts, true)
	c.chunks = c.ints.append(c.chunks, c.tails, true)
}

const nameTailBits = 40

func (c *encoder) appendNames(h *blockHeader, id int, d *dict, codes []uint64) {
	if len(d.values) == 0 {
		return
	}
	start := len(c.chunks)
	c.appendNameValues(d)
	c.chunks = c.ints.append(c.chunks, codes, true)
	c.end(h, id, start)
}

func (c *encoder) appendStreams(h *blockHeader) {
	c.appendNames(h, chunkStream, &c.streams, c.stream)
	replaceUnset(c.seqBase, 0)
	for i, code := range c.stream {
		c.seq[i] -= c.seqBase[code]
	}
	c.appendRelative(h, chunkSeq, c.seqBase, c.seq)
}

func (c *encoder) appendKeys(h *blockHeader) {
	c.appendNames(h, chunkKey, &c.keys, c.key)
	replaceUnset(c.ordinalBase, 1)
	for i, code := range c.key {
		if c.ordinal[i] != 0 {
			c.ordinal[i] -= c.ordinalBase[code] - 1
		}
	}
	if !allZero(c.ordinal) {
		c.appendRelative(h, chunkOrdinal, c.ordinalBase, c.ordinal)
	}
}

// replaceUnset gives the codes without a number a base that costs little.
func replaceUnset(bases []uint64, by uint64) {
	for i, b := range bases {
		if b == math.MaxUint64 {
			bases[i] = by
		}
	}
}

// appendRelative appends a chunk of a base for each code and of what each row is above its base.
func (c *encoder) appendRelative(h *blockHeader, id int, bases, v []uint64) {
	if len(v) == 0 {
		return
	}
	start := len(c.chunks)
	c.chunks = binary.AppendUvarint(c.chunks, uint64(len(bases)))
	c.chunks = c.ints.append(c.chunks, bases, true)
	c.chunks = c.ints.append(c.chunks, v, true)
	c.end(h, id, start)
}

// appendCoded appends a chunk of distinct values and of each row's code.
func (c *encoder) appendCoded(h *blockHeader, id int, d *dict, codes []uint64) {
	if allZero(d.values) {
		return
	}
	start := len(c.chunks)
	c.chunks = binary.AppendUvarint(c.chunks, uint64(len(d.values)))
	c.chunks = c.ints.append(c.chunks, d.values, true)
	c.chunks = c.ints.append(c.chunks, codes, true)
	c.end(h, id, start)
}

func (c *encoder) appendForms(h *blockHeader) {
	forms := c.forms.values
	if len(forms) == 0 {
		return
	}
	start := len(c.chunks)
	c.chunks = binary.AppendUvarint(c.chunks, uint64(len(forms)))
	for _, field := range [...]func(*form) uint64{
		func(f *form) uint64 { return uint64(f.site) }, func(f *form) uint64 { return uint64(f.source) },
		func(f *form) uint64 { return uint64(f.flags) }, func(f *form) uint64 { return uint64(f.kind) },
		func(f *form) uint64 { return uint64(f.parentKind) }, func(f *form) uint64 { return uint64(f.parentConf) },
		func(f *form) uint64 { return uint64(f.corrConf) },
	} {
		c.texts = c.texts[:0]
		for i := range forms {
			c.texts = append(c.texts, field(&forms[i]))
		}
		c.chunks = c.ints.append(c.chunks, c.texts, false)
	}
	c.chunks = c.ints.append(c.chunks, c.form, false)
	c.end(h, chunkForm, start)
}

func (c *encoder) appendFurther(h *blockHeader, b *wire.Block) {
	if len(c.distances) == 0 {
		return
	}
	start := len(c.chunks)
	c.chunks = binary.AppendUvarint(c.chunks, uint64(len(c.distances)))
	c.chunks = c.ints.append(c.chunks, c.counts, false)
	c.chunks = c.ints.append(c.chunks, c.distances, false)
	c.chunks = c.ints.append(c.chunks, c.edgeForms, false)
	c.chunks = c.ints.append(c.chunks, c.edgeP, false)
	c.end(h, chunkFurther, start)
}

func (c *encoder) appendPayload(h *blockHeader, b *wire.Block, id int, of func(*wire.Block, *wire.Row) []byte) {
	lengths := c.lengths[:0]
	for i := range b.Rows {
		lengths = append(lengths, uint64(len(of(b, &b.Rows[i]))))
	}
	c.lengths = lengths
	if allZero(lengths) {
		return
	}
	var table []byte
	pieces, rows, count := c.pieces[:0], 0, 0
	for i := range b.Rows {
		p := of(b, &b.Rows[i])
		if rows > 0 && len(c.zip.raw) > 0 && len(c.zip.raw)+len(p) > pieceBytes {
			table, pieces = c.zip.appendPiece(table, pieces, rows)
			rows, count = 0, count+1
		}
		c.zip.raw = append(c.zip.raw, p...)
		rows++
	}
	table, pieces = c.zip.appendPiece(table, pieces, rows)
	c.pieces = pieces

	start := len(c.chunks)
	c.chunks = c.ints.append(c.chunks, lengths, false)
	c.chunks = binary.AppendUvarint(c.chunks, uint64(count+1)) // #nosec G115 -- a count
	c.chunks = append(c.chunks, table...)
	c.end(h, id, start)
	start = len(c.chunks)
	c.chunks = append(c.chunks, pieces...)
	c.end(h, id+1, start)
}

const lateEdgeBytes = 24

// appendLate appends the late edges, each in the same number of bytes: they are few.
func (c *encoder) appendLate(h *blockHeader, b *wire.Block) {
	if len(b.Late) == 0 {
		return
	}
	start := len(c.chunks)
	for i := range b.Late {
		c.chunks = appendLateEdge(c.chunks, &b.Late[i])
	}
	c.end(h, chunkLate, start)
}

func appendLateEdge(dst []byte, l *wire.LateEdge) []byte {
	le := binary.LittleEndian
	dst = le.AppendUint64(dst, uint64(l.Effect))
	dst = le.AppendUint64(dst, uint64(l.Edge.Cause))
	dst = le.AppendUint32(dst, math.Float32bits(l.Edge.P))
	return append(dst, byte(l.Edge.Kind), byte(l.Edge.Conf), 0, 0)
}

func parseLateEdge(p []byte) (l wire.LateEdge) {
	le := binary.LittleEndian
	l.Effect, l.Edge.Cause = event.ID(le.Uint64(p)), event.ID(le.Uint64(p[8:]))
	l.Edge.P = math.Float32frombits(le.Uint32(p[16:]))
	l.Edge.Kind, l.Edge.Conf = event.EdgeKind(p[20]), event.Confidence(p[21])
	return l
}

func (c *encoder) appendFilter(h *blockHeader) {
	f := &c.filter
	for _, v := range c.streams.values {
		f.what = append(f.what, filterKey(categoryStream, v))
	}
	for _, v := range c.keys.values {
		f.what = append(f.what, filterKey(categoryKey, v))
	}
	clear(c.funcs)
	for i := range c.forms.values {
		fn := c.table.PlaceOf(c.forms.values[i].site).Func
		if _, ok := c.funcs[fn]; !ok {
			c.funcs[fn] = struct{}{}
			f.what = append(f.what, filterKey(categoryFunc, uint64(fn)))
		}
	}
	end := uint64(h.end())
	for _, v := range c.correlations.values {
		if v < uint64(h.base) || v >= end {
			f.why = append(f.why, filterKey(categoryCorrelation, v))
		}
	}
	for _, v := range c.causes.values {
		f.why = append(f.why, filterKey(categoryCause, v))
	}
	start := len(c.chunks)
	if c.chunks = f.append(c.chunks); len(c.chunks) > start {
		c.end(h, chunkFilter, start)
	}
}

// collectTails notes the last event of each stream of the block.
func (c *encoder) collectTails(b *wire.Block, e *encoded) {
	e.tails = e.tails[:0]
	one := true
	for i := range c.forms.values {
		one = one && c.forms.values[i].source == c.forms.values[0].source
	}
	if one {
		for _, last := range c.lastRow[min(1, len(c.lastRow)):] { // code 0 is no stream
			e.tails = append(e.tails, tailOf(b, int(last)))
		}
		return
	}
	// Two sources may have streams of the same name.
	type of struct {
		source wire.SourceID
		stream wire.Name
	}
	at := map[of]int{}
	for i := range b.Rows {
		k := of{b.Rows[i].Source, b.Rows[i].Stream}
		n, ok := at[k]
		if !ok {
			n = len(e.tails)
			at[k] = n
			e.tails = append(e.tails, wire.Tail{})
		}
		e.tails[n] = tailOf(b, i)
	}
}

func tailOf(b *wire.Block, i int) wire.Tail {
	r := &b.Rows[i]
	return wire.Tail{
		Source: r.Source, Stream: r.Stream, Seq: r.Seq,
		ID: b.Base + event.ID(i), Exited: r.Kind == event.KindExit, // #nosec G115 -- i is an index
	}
}
