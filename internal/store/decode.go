package store

import (
	"encoding/binary"
	"math"
	"slices"
	"sync"
	"sync/atomic"

	"github.com/pastcone/pastcone/event"
	"github.com/pastcone/pastcone/internal/wire"
)

// scratch is the memory that decoding a block takes beside the result.
type scratch struct {
	codes, values, more [wire.BlockRowsMax + 1]uint64
	lengths             [wire.BlockRowsMax]uint64

	// piece is the last piece of which a part was wanted: who reads the events of one request one by one mostly wants
	// the same again. It is known by its block (checked is one of each block, and as it is held here, no
	// other block can have the same) and its place in it.
	piece   []byte
	pieceOf *atomic.Uint32
	pieceAt int
}

const scratchPieceMax = 1 << 20 // a larger piece is not kept

var scratches = sync.Pool{New: func() any { return new(scratch) }}

func (s *scratch) release() {
	if cap(s.piece) > scratchPieceMax {
		s.piece, s.pieceOf = nil, nil
	}
	scratches.Put(s)
}

// columns fills into with the wanted columns of rows [low, high).
//
// It never trusts what the bytes say beyond the bounds of a block: codes are checked against their
// dictionaries, and lengths against what is there, before memory is spent on them.
func (v *blockView) columns(low, high int, want wire.ColumnSet, into *wire.Columns) error {
	into.Reset()
	into.Base, into.Len = v.h.base+event.ID(low), high-low // #nosec G115 -- an index
	if low == high {
		return nil // a block of late edges has no columns
	}
	sc := scratches.Get().(*scratch)
	defer sc.release()
	d := decoder{v: v, low: low, high: high, sc: sc}
	return d.columns(want, into)
}

// columns decodes the wanted columns.
func (d *decoder) columns(want wire.ColumnSet, into *wire.Columns) error {
	if want&wire.ColTime != 0 {
		column(d, chunkTime, &into.Time)
	}
	if want&(wire.ColStream|wire.ColSeq) != 0 {
		d.streams(want, into)
	}
	if want&(wire.ColSource|wire.ColKind|wire.ColFlags|wire.ColSite|wire.ColParent) != 0 {
		d.forms(want, into)
	}
	if want&(wire.ColKey|wire.ColOrdinal) != 0 {
		d.keys(want, into)
	}
	if want&wire.ColPeer != 0 {
		names(d, chunkPeer, &into.Peer)
	}
	if want&wire.ColChild != 0 {
		names(d, chunkChild, &into.Child)
	}
	if want&wire.ColParent != 0 {
		d.parents(into)
	}
	if want&wire.ColCorrelation != 0 {
		coded(d, chunkCorrelation, &into.Correlation)
	}
	if want&wire.ColPosition != 0 {
		column(d, chunkPosition, &into.Position)
	}
	if want&wire.ColDuration != 0 {
		column(d, chunkDuration, &into.Duration)
	}
	if want&wire.ColFurther != 0 {
		d.further(into)
	}
	if want&wire.ColData != 0 {
		into.DataEnd, into.Data = d.payload(chunkData, into.DataEnd, into.Data)
	}
	if want&wire.ColExt != 0 {
		into.ExtEnd, into.Ext = d.payload(chunkExt, into.ExtEnd, into.Ext)
	}
	return d.err
}

// decoder decodes a stretch of rows, or some rows of it. After the first error it does nothing more.
type decoder struct {
	v         *blockView
	low, high int
	rows      []uint16 // if set, only these, which lie in the stretch
	sc        *scratch
	err       error
}

// n gives the number of rows that are decoded.
func (d *decoder) n() int {
	if d.rows != nil {
		return len(d.rows)
	}
	return d.high - d.low
}

// id gives the id of the i-th row that is decoded.
func (d *decoder) id(i int) event.ID {
	if d.rows != nil {
		return d.v.h.base + event.ID(d.rows[i])
	}
	return d.v.h.base + event.ID(d.low+i) // #nosec G115 -- an index
}

// fillRows decodes the rows' values of a sequence of the whole block.
func fillRows[T integer](d *decoder, s *ints, dst []T) error {
	if d.rows != nil {
		return gatherInts(s, d.rows, dst)
	}
	return fillInts(s, d.low, dst)
}

// chunk gives a chunk's bytes, nil if it is missing.
func (d *decoder) chunk(id int) []byte {
	if d.err != nil {
		return nil
	}
	p, err := d.v.chunk(id)
	d.err = err
	return p
}

// fail notes the first error, as one of that chunk.
func (d *decoder) fail(chunk int, err error) {
	if err != nil && d.err == nil {
		d.err = &chunkError{chunk, d.v.h.chunks[chunk].off, err}
	}
}

// resize gives dst the length n, reusing its memory.
func resize[T any](dst []T, n int) []T { return slices.Grow(dst[:0], n)[:n] }

// column decodes a chunk that is one sequence.
func column[T integer](d *decoder, id int, dst *[]T) {
	p := d.chunk(id)
	*dst = resize(*dst, d.n())
	s, _, err := openInts(p, d.v.h.rows)
	if err == nil {
		err = fillRows(d, &s, *dst)
	}
	d.fail(id, err)
}

// cutCount cuts a number that is at most the limit off p.
func cutCount(p []byte, limit int) (n int, rest []byte, err error) {
	v, w := binary.Uvarint(p)
	if w <= 0 || v > uint64(limit) { // #nosec G115 -- a bound
		return 0, nil, corrupt("a count of %d, at most %d", v, limit)
	}
	return int(v), p[w:], nil // #nosec G115 -- at most limit
}

// dictionary is an opened chunk of distinct values and a code for each row.
type dictionary struct {
	n           int  // number of values
	named       bool // values are names: texts and tails; code 0 is none
	first, tail ints
	codes       ints
}

func openDictionary(p []byte, rows int, named bool) (c dictionary, err error) {
	c.named = named
	if len(p) == 0 {
		return c, nil
	}
	if c.n, p, err = cutCount(p, rows); err != nil {
		return c, err
	}
	if c.first, p, err = openInts(p, c.n); err != nil {
		return c, err
	}
	if named {
		if c.tail, p, err = openInts(p, c.n); err != nil {
			return c, err
		}
	}
	c.codes, _, err = openInts(p, rows)
	return c, err
}

// fillDictionary decodes the rows. Few rows are looked up one by one; for many, the whole
// dictionary is decoded first.
func fillDictionary[T ~uint64](d *decoder, c *dictionary, dst []T) error {
	sc := d.sc
	codes := sc.codes[:len(dst)]
	if c.n == 0 {
		clear(codes)
		clear(dst)
		return nil
	}
	if err := fillRows(d, &c.codes, codes); err != nil {
		return err
	}
	if few(len(dst), c.n) {
		for i, code := range codes {
			if i > 0 && code == codes[i-1] { // events of a request come together
				dst[i] = dst[i-1]
				continue
			}
			v, err := c.value(code)
			if err != nil {
				return err
			}
			dst[i] = T(v)
		}
		return nil
	}
	values := sc.values[:c.n+1]
	if err := c.fillValues(values, sc); err != nil {
		return err
	}
	if !c.named {
		values = values[:c.n]
	}
	for i, code := range codes {
		if code >= uint64(len(values)) {
			return corrupt("code %d of %d", code, len(values))
		}
		dst[i] = T(values[code])
	}
	return nil
}

// few says whether so many of n values are looked up one by one: to get at one of them is to walk over heads, some of a
// hundred values each, and to decode a mini-block at the end.
func few(wanted, n int) bool { return wanted <= 4 || wanted*32 <= n }

// fillValues decodes the dictionary by code; it is given room for code 0 of names.
func (c *dictionary) fillValues(values []uint64, sc *scratch) error {
	if !c.named {
		return fillInts(&c.first, 0, values[:c.n])
	}
	values[0] = 0
	if err := fillInts(&c.first, 0, values[1:]); err != nil {
		return err
	}
	tails := sc.more[:c.n]
	if err := fillInts(&c.tail, 0, tails); err != nil {
		return err
	}
	for i, tail := range tails {
		values[i+1] = values[i+1]<<nameTailBits | tail
	}
	return nil
}

// value gives the value of one code.
func (c *dictionary) value(code uint64) (uint64, error) {
	if c.named {
		if code == 0 {
			return 0, nil
		}
		code--
	}
	if code >= uint64(c.n) { // #nosec G115 -- a count
		return 0, corrupt("code %d of %d", code, c.n)
	}
	v, err := c.first.at(int(code)) // #nosec G115 -- below n
	if err != nil || !c.named {
		return v, err
	}
	tail, err := c.tail.at(int(code)) // #nosec G115 -- below n
	return v<<nameTailBits | tail, err
}

// coded decodes a chunk of distinct values and codes.
func coded[T ~uint64](d *decoder, id int, dst *[]T) {
	*dst = resize(*dst, d.n())
	c, err := openDictionary(d.chunk(id), d.v.h.rows, false)
	if err == nil {
		err = fillDictionary(d, &c, *dst)
	}
	d.fail(id, err)
}

// names decodes a chunk of names, and leaves the rows' codes in the scratch.
func names(d *decoder, id int, dst *[]wire.Name) {
	*dst = resize(*dst, d.n())
	c, err := openDictionary(d.chunk(id), d.v.h.rows, true)
	if err == nil {
		err = fillDictionary(d, &c, *dst)
	}
	d.fail(id, err)
}

// relative decodes a chunk of bases, one for each code of the other chunk, and of what each row is
// above its base. codes has the rows' codes.
func (d *decoder) relative(id int, codes, dst []uint64) (bases []uint64) {
	p := d.chunk(id)
	if len(p) == 0 {
		clear(dst)
		return nil
	}
	n, p, err := cutCount(p, d.v.h.rows+1)
	var base, above ints
	if err == nil {
		if base, p, err = openInts(p, n); err == nil {
			above, _, err = openInts(p, d.v.h.rows)
		}
	}
	if err == nil {
		err = fillRows(d, &above, dst)
	}
	bases = d.sc.values[:n]
	if err == nil {
		if !few(len(dst), n) {
			err = fillInts(&base, 0, bases)
		}
	}
	for i, code := range codes {
		if err != nil {
			break
		}
		if code >= uint64(n) { // #nosec G115 -- a count
			err = corrupt("code %d of %d", code, n)
		} else if few(len(dst), n) && (i == 0 || code != codes[i-1]) {
			bases[code], err = base.at(int(code)) // #nosec G115 -- below n
		}
	}
	d.fail(id, err)
	return bases
}

func (d *decoder) streams(want wire.ColumnSet, into *wire.Columns) {
	codes := d.namesOrCodes(chunkStream, want&wire.ColStream != 0, &into.Stream)
	if want&wire.ColSeq == 0 {
		return
	}
	into.Seq = resize(into.Seq, d.n())
	bases := d.relative(chunkSeq, codes, into.Seq)
	if d.err == nil && bases != nil {
		for i, code := range codes {
			into.Seq[i] += bases[code]
		}
	}
}

func (d *decoder) keys(want wire.ColumnSet, into *wire.Columns) {
	codes := d.namesOrCodes(chunkKey, want&wire.ColKey != 0, &into.Key)
	if want&wire.ColOrdinal == 0 {
		return
	}
	into.Ordinal = resize(into.Ordinal, d.n())
	bases := d.relative(chunkOrdinal, codes, into.Ordinal)
	if d.err == nil && bases != nil {
		for i, code := range codes {
			if into.Ordinal[i] != 0 {
				into.Ordinal[i] += bases[code] - 1
			}
		}
	}
}

// namesOrCodes decodes a chunk of names if they are wanted, and its codes in any case.
func (d *decoder) namesOrCodes(id int, wanted bool, dst *[]wire.Name) []uint64 {
	if !wanted {
		return d.codes(id)
	}
	names(d, id, dst)
	return d.sc.codes[:d.n()]
}

// codes decodes the codes of a chunk of names.
func (d *decoder) codes(id int) []uint64 {
	codes := d.sc.codes[:d.n()]
	c, err := openDictionary(d.chunk(id), d.v.h.rows, true)
	if err == nil {
		if c.n == 0 {
			clear(codes)
			return codes
		}
		err = fillRows(d, &c.codes, codes)
	}
	d.fail(id, err)
	return codes
}

// forms decodes what the forms hold of the wanted columns.
func (d *decoder) forms(want wire.ColumnSet, into *wire.Columns) {
	p, rows := d.chunk(chunkForm), d.n()
	var fields [7]ints
	n, p, err := cutCount(p, d.v.h.rows)
	for i := range fields {
		if err == nil {
			fields[i], p, err = openInts(p, n)
		}
	}
	var codeSeq ints
	if err == nil {
		codeSeq, _, err = openInts(p, d.v.h.rows)
	}
	codes := d.sc.codes[:rows]
	if err == nil {
		err = fillRows(d, &codeSeq, codes)
	}
	if err == nil {
		for _, code := range codes {
			if code >= uint64(n) { // #nosec G115 -- a count
				err = corrupt("code %d of %d", code, n)
				break
			}
		}
	}
	if err != nil {
		d.fail(chunkForm, err)
		return
	}
	if want&wire.ColSite != 0 {
		formField(d, &fields[0], codes, &into.Site)
	}
	if want&wire.ColSource != 0 {
		formField(d, &fields[1], codes, &into.Source)
	}
	if want&wire.ColFlags != 0 {
		formField(d, &fields[2], codes, &into.Flags)
	}
	if want&wire.ColKind != 0 {
		formField(d, &fields[3], codes, &into.Kind)
	}
	if want&wire.ColParent != 0 {
		formField(d, &fields[4], codes, &into.ParentKind)
		formField(d, &fields[5], codes, &into.ParentConf)
		formField(d, &fields[6], codes, &into.CorrConf)
	}
}

// formField decodes one field of the forms for rows of which the codes are known to exist.
func formField[T integer](d *decoder, field *ints, codes []uint64, dst *[]T) {
	*dst = resize(*dst, len(codes))
	out := *dst
	if field.mode == modeConstant {
		for i := range out {
			out[i] = T(field.constant) // #nosec G115 -- as encoded
		}
		return
	}
	if few(len(codes), field.n) {
		for i, code := range codes {
			v, err := field.at(int(code)) // #nosec G115 -- below the number of forms
			out[i] = T(v)                 // #nosec G115 -- as encoded
			d.fail(chunkForm, err)
		}
		return
	}
	values := d.sc.values[:field.n]
	d.fail(chunkForm, fillInts(field, 0, values))
	for i, code := range codes {
		out[i] = T(values[code]) // #nosec G115 -- as encoded
	}
}

func (d *decoder) parents(into *wire.Columns) {
	column(d, chunkParent, &into.Parent)
	for i, distance := range into.Parent {
		if distance != 0 {
			into.Parent[i] = d.id(i) - distance
		}
	}
	n := d.n()
	into.ParentP = resize(into.ParentP, n)
	if d.v.h.chunks[chunkParentP].length == 0 {
		clear(into.ParentP)
		return
	}
	p := d.sc.lengths[:n]
	coded(d, chunkParentP, &p)
	for i, x := range p {
		into.ParentP[i] = math.Float32frombits(uint32(x)) // #nosec G115 -- as encoded
	}
}

// further decodes the further edges.
func (d *decoder) further(into *wire.Columns) {
	n := d.n()
	into.EdgeEnd = resize(into.EdgeEnd, n)
	p := d.chunk(chunkFurther)
	if len(p) == 0 {
		clear(into.EdgeEnd)
		return
	}
	d.fail(chunkFurther, d.fillFurther(p, into))
}

// furtherEdges is the chunk of further edges, opened for reading.
type furtherEdges struct {
	total  int
	counts ints
	seqs   [3]ints // distances, forms, probabilities
}

func openFurther(p []byte, rows int) (f furtherEdges, err error) {
	if f.total, p, err = cutCount(p, EdgesMax); err != nil {
		return f, err
	}
	if f.counts, p, err = openInts(p, rows); err != nil {
		return f, err
	}
	for i := range f.seqs {
		if f.seqs[i], p, err = openInts(p, f.total); err != nil {
			return f, err
		}
	}
	return f, nil
}

// ends gives where the edges of each of the first n rows end.
func (f *furtherEdges) ends(n int, sc *scratch) ([]uint64, error) {
	ends := sc.lengths[:n]
	if err := fillInts(&f.counts, 0, ends); err != nil {
		return nil, err
	}
	end := uint64(0)
	for i, n := range ends {
		if n > uint64(f.total) || end+n > uint64(f.total) { // #nosec G115 -- a count
			return nil, corrupt("more further edges than %d", f.total)
		}
		end += n
		ends[i] = end
	}
	return ends, nil
}

// room gives memory for n values.
func (s *scratch) room(n int) []uint64 {
	if n > len(s.values) {
		return make([]uint64, n)
	}
	return s.values[:n]
}

func (d *decoder) fillFurther(p []byte, into *wire.Columns) error {
	f, err := openFurther(p, d.v.h.rows)
	if err != nil {
		return err
	}
	if n := d.n(); d.rows != nil || n == 1 {
		// Most rows have none; only for others is it needed how many come before.
		counts := d.sc.codes[:n]
		if err := fillRows(d, &f.counts, counts); err != nil {
			return err
		}
		if !slices.ContainsFunc(counts, func(n uint64) bool { return n > 0 }) {
			clear(into.EdgeEnd)
			return nil
		}
	}
	ends, err := f.ends(d.high, d.sc)
	if err != nil {
		return err
	}
	from := func(row int) uint64 {
		if row == 0 {
			return 0
		}
		return ends[row-1]
	}
	if d.rows == nil {
		before := from(d.low)
		for i, end := range ends[d.low:] {
			into.EdgeEnd[i] = uint32(end - before) // #nosec G115 -- at most EdgesMax
		}
		into.Edges = resize(into.Edges, int(ends[d.high-1]-before)) // #nosec G115 -- at most EdgesMax
		err = f.fill(int(before), into.Edges, d.sc)                 // #nosec G115 -- at most EdgesMax
	} else {
		for i, row := range d.rows {
			before, end, at := from(int(row)), ends[row], len(into.Edges)
			if end > before {
				into.Edges = slices.Grow(into.Edges, int(end-before))[:at+int(end-before)] // #nosec G115 -- at most EdgesMax
				if err = f.fill(int(before), into.Edges[at:], d.sc); err != nil {          // #nosec G115 -- at most EdgesMax
					return err
				}
			}
			into.EdgeEnd[i] = uint32(len(into.Edges)) // #nosec G115 -- at most EdgesMax
		}
	}
	at := uint32(0)
	for i, stop := range into.EdgeEnd {
		for ; err == nil && at < stop; at++ {
			if e := &into.Edges[at]; e.Cause != 0 {
				e.Cause = d.id(i) - e.Cause
			}
		}
	}
	return err
}

// fill decodes edges from one on; their causes are still distances.
func (f *furtherEdges) fill(from int, edges []wire.Edge, sc *scratch) error {
	values := sc.room(len(edges))
	for k := range f.seqs {
		if err := fillInts(&f.seqs[k], from, values); err != nil {
			return err
		}
		for i, x := range values {
			e := &edges[i]
			switch k {
			case 0:
				e.Cause = event.ID(x)
			case 1:
				e.Kind, e.Conf = event.EdgeKind(x), event.Confidence(x>>8) // #nosec G115 -- as encoded
			case 2:
				e.P = math.Float32frombits(uint32(x)) // #nosec G115 -- as encoded
			}
		}
	}
	return nil
}

func (d *decoder) payload(id int, ends []uint32, data []byte) ([]uint32, []byte) {
	lengths := d.chunk(id)
	// A piece has a checksum of its own: reading one event does not pay for them all.
	var pieces []byte
	if c := d.v.h.chunks[id+1]; c.length > 0 {
		pieces = d.v.raw[c.off : c.off+c.length]
	}
	p, err := openPayload(lengths, pieces, d.v.h.rows)
	if err == nil {
		p.block, p.chunk = d.v.checked, id
		if d.rows != nil {
			ends, data, err = p.gather(d.rows, ends, data, d.sc)
		} else {
			ends, data, err = p.read(d.low, d.high, ends, data, d.sc)
		}
	}
	d.fail(id, err)
	return ends, data
}

// lateEdges decodes the late edges.
func (v *blockView) lateEdges() ([]wire.LateEdge, error) {
	p, err := v.chunk(chunkLate)
	if err != nil {
		return nil, err
	}
	if len(p) != v.h.late*lateEdgeBytes {
		return nil, &chunkError{chunkLate, v.h.chunks[chunkLate].off, corrupt("%d bytes for %d late edges", len(p), v.h.late)}
	}
	late := make([]wire.LateEdge, v.h.late)
	for i := range late {
		late[i] = parseLateEdge(p[i*lateEdgeBytes:])
	}
	return late, nil
}
