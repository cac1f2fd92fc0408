package store

import (
	"fmt"
	"math/bits"
	"slices"

	"github.com/pastcone/pastcone/event"
	"github.com/pastcone/pastcone/internal/wire"
)

// A question often wants a few rows of a block: those of one request, or of one stream. To read them one by one is to open
// the block, and to walk to each row, as many times. So they are read together:
//
//  1. [blockView.find] gives the rows that have one of some values, from one column, and looks no further where the column's
//     dictionary has none of them.
//  2. [blockView.gather] decodes rows in rising order: each column is walked once, and of each mini-block only what is wanted.
//     A piece of the payload is decompressed once.

// gatherInts decodes the values of rows, which must rise and exist.
func gatherInts[T integer](s *ints, rows []uint16, dst []T) error {
	switch s.mode {
	case modeConstant:
		v := T(s.constant) // #nosec G115 -- the columns' widths are those that were encoded
		for i := range dst {
			dst[i] = v
		}
		return nil
	case modeRuns:
		return gatherRuns(s, rows, dst)
	case modeSparse:
		p := picker{walker: walker{s: &s.inner[0]}}
		before, upTo := 0, 0 // values among the first upTo rows, a multiple of 64
		for k, row := range rows {
			i := int(row)
			if s.bitmap[i>>3]>>(i&7)&1 == 0 {
				dst[k] = 0
				continue
			}
			if whole := i &^ 63; whole > upTo {
				before += onesIn(s.bitmap[upTo/8:], whole-upTo)
				upTo = whole
			}
			v, err := p.at(before + onesIn(s.bitmap[upTo/8:], i-upTo))
			if err != nil {
				return err
			}
			dst[k] = T(v) // #nosec G115 -- as encoded
		}
		return nil
	}
	p := picker{walker: walker{s: &s.packed}}
	for k, row := range rows {
		v, err := p.at(int(row))
		if err != nil {
			return err
		}
		dst[k] = T(v) // #nosec G115 -- as encoded
	}
	return nil
}

// picker reads single values of a constant or packed sequence, forwards.
type picker struct {
	walker
	decoded int // one more than the start of the mini-block that values has
	have    int // how many of its values
	values  [miniLen]uint64
}

// at gives value i, which must not be below the last one asked for.
func (p *picker) at(i int) (uint64, error) {
	if p.s.mode == modeConstant {
		return p.s.constant, nil
	}
	if err := p.seek(i); err != nil {
		return 0, err
	}
	if p.s.mode == modeFrame {
		return p.pick(i), nil
	}
	if at := i - p.start; p.decoded != p.start+1 || at >= p.have {
		// What lies behind the value is not needed to work it out. Who comes back gets all.
		p.have = at + 1
		if p.decoded == p.start+1 {
			p.have = p.n
		}
		p.decode(p.values[:p.have])
		p.decoded = p.start + 1
	}
	return p.values[i-p.start], nil
}

func gatherRuns[T integer](s *ints, rows []uint16, dst []T) error {
	lengths, values := cursor{walker: walker{s: &s.inner[1]}}, picker{walker: walker{s: &s.inner[0]}}
	stop := 0
	for run := 0; run < s.inner[0].n && len(rows) > 0; {
		part, err := lengths.from(run)
		if err != nil {
			return err
		}
		for _, length := range part {
			if stop += int(min(length, uint64(s.n-stop))); stop > int(rows[0]) { // #nosec G115 -- stop is at most n
				v, err := values.at(run)
				if err != nil {
					return err
				}
				for len(rows) > 0 && int(rows[0]) < stop {
					dst[0] = T(v) // #nosec G115 -- as encoded
					rows, dst = rows[1:], dst[1:]
				}
				if len(rows) == 0 {
					return nil
				}
			}
			run++
		}
	}
	if len(rows) > 0 {
		return corrupt("runs that end early")
	}
	return nil
}

// gather fills into with the wanted columns of these rows, which must rise and exist.
func (v *blockView) gather(rows []uint16, want wire.ColumnSet, into *wire.Columns) error {
	into.Reset()
	into.Base, into.Len = v.h.base, len(rows)
	if len(rows) == 0 {
		return nil
	}
	sc := scratches.Get().(*scratch)
	defer sc.release()
	d := decoder{v: v, low: int(rows[0]), high: int(rows[len(rows)-1]) + 1, rows: rows, sc: sc}
	return d.columns(want, into)
}

// valueSet is a set of some values.
type valueSet struct {
	values []uint64
	mask   [16]uint64 // a bit for each: most others are told apart by it
}

func newValueSet(values []uint64) *valueSet {
	s := &valueSet{values: values}
	if !slices.IsSorted(values) {
		s.values = slices.Sorted(slices.Values(values))
	}
	for _, v := range values {
		s.mask[v>>6&15] |= 1 << (v & 63)
	}
	return s
}

func (s *valueSet) has(v uint64) bool { return s.mask[v>>6&15]>>(v&63)&1 != 0 && s.surely(v) }

func (s *valueSet) surely(v uint64) bool {
	if len(s.values) == 1 {
		return s.values[0] == v
	}
	_, found := slices.BinarySearch(s.values, v)
	return found
}

// find appends the rows that have one of the values in that column.
func (v *blockView) find(by wire.ColumnSet, values []uint64, to []uint16) ([]uint16, error) {
	sc := scratches.Get().(*scratch)
	defer sc.release()
	d := decoder{v: v, high: v.h.rows, sc: sc}
	set := newValueSet(values)
	if v.h.rows == 0 {
		return to, nil
	}
	switch by {
	case wire.ColStream:
		to = d.findCoded(chunkStream, true, set, to)
	case wire.ColCorrelation:
		to = d.findCoded(chunkCorrelation, false, set, to)
	case wire.ColParent:
		to = d.findParent(set, to)
	case wire.ColFurther:
		to = d.findFurther(set, to)
	}
	return to, d.err
}

func (d *decoder) findCoded(chunk int, named bool, set *valueSet, to []uint16) []uint16 {
	c, err := openDictionary(d.chunk(chunk), d.high, named)
	if d.err == nil && err == nil {
		to, err = c.find(d.high, set, to, d.sc)
	}
	d.fail(chunk, err)
	return to
}

// find appends those of so many rows whose values are in the set.
func (c *dictionary) find(rows int, set *valueSet, to []uint16, sc *scratch) ([]uint16, error) {
	if c.n == 0 { // all are 0
		if set.has(0) {
			for i := range rows {
				to = append(to, uint16(i)) // #nosec G115 -- at most BlockRowsMax
			}
		}
		return to, nil
	}
	values := sc.values[:c.n+1]
	if err := c.fillValues(values, sc); err != nil {
		return to, err
	}
	if !c.named {
		values = values[:c.n]
	}
	// Few values of a block are asked for, mostly one: its code is looked for, not looked up.
	first, found := 0, 0
	for code, v := range values {
		if set.has(v) {
			if found == 0 {
				first = code
			}
			found++
		}
	}
	if found == 0 {
		return to, nil
	}
	if found == 1 && c.codes.mode == modeRuns {
		return c.codes.findRuns(uint64(first), to) // #nosec G115 -- an index
	}
	if found == 1 && c.codes.mode <= modeZigzag {
		return c.codes.findPacked(uint64(first), to) // #nosec G115 -- an index
	}
	codes := sc.codes[:rows]
	if err := fillInts(&c.codes, 0, codes); err != nil {
		return to, err
	}
	in := sc.more[:len(values)]
	for code, v := range values {
		in[code] = 0
		if set.has(v) {
			in[code] = 1
		}
	}
	for i, code := range codes {
		if code >= uint64(len(in)) {
			return to, corrupt("code %d of %d", code, len(in))
		}
		if in[code] != 0 {
			to = append(to, uint16(i)) // #nosec G115 -- at most BlockRowsMax
		}
	}
	return to, nil
}

// findPacked appends where in a constant or packed sequence a value is. Codes are in the order of first appearance, so of many frames
// the head says that it is not among them.
func (s *packed) findPacked(value uint64, to []uint16) ([]uint16, error) {
	c := cursor{walker: walker{s: s}}
	for at := 0; at < s.n; {
		if s.mode == modeFrame {
			if err := c.seek(at); err != nil {
				return to, err
			}
			if above := value - c.base; value < c.base || (c.width+c.highWidth < 64 && above>>(c.width+c.highWidth) != 0) {
				at += c.n
				continue
			}
		}
		part, err := c.from(at)
		if err != nil {
			return to, err
		}
		for i, v := range part {
			if v == value {
				to = append(to, uint16(at+i)) // #nosec G115 -- at most BlockRowsMax
			}
		}
		at += len(part)
	}
	return to, nil
}

// findRuns appends where in runs a value is.
func (s *ints) findRuns(value uint64, to []uint16) ([]uint16, error) {
	values, lengths := cursor{walker: walker{s: &s.inner[0]}}, cursor{walker: walker{s: &s.inner[1]}}
	start := 0
	for run := 0; run < s.inner[0].n && start < s.n; {
		all, err := lengths.from(run)
		if err != nil {
			return to, err
		}
		of, err := values.from(run)
		if err != nil {
			return to, err
		}
		for k, length := range all {
			stop := start + int(min(length, uint64(s.n-start))) // #nosec G115 -- start is at most n
			if of[k] == value {
				for i := start; i < stop; i++ {
					to = append(to, uint16(i)) // #nosec G115 -- at most BlockRowsMax
				}
			}
			start = stop
		}
		run += len(all)
	}
	if start < s.n {
		return to, corrupt("runs that end early")
	}
	return to, nil
}

func (d *decoder) findParent(set *valueSet, to []uint16) []uint16 {
	distances := d.sc.codes[:d.high]
	column(d, chunkParent, &distances)
	if d.err != nil {
		return to
	}
	for i, distance := range distances {
		parent := uint64(0)
		if distance != 0 {
			parent = uint64(d.id(i)) - distance
		}
		if set.has(parent) {
			to = append(to, uint16(i)) // #nosec G115 -- at most BlockRowsMax
		}
	}
	return to
}

func (d *decoder) findFurther(set *valueSet, to []uint16) []uint16 {
	p := d.chunk(chunkFurther)
	if d.err != nil || len(p) == 0 {
		return to
	}
	f, err := openFurther(p, d.high)
	var ends, distances []uint64
	if err == nil {
		ends, err = f.ends(d.high, d.sc)
	}
	if err == nil {
		distances = d.sc.room(int(ends[d.high-1])) // #nosec G115 -- at most EdgesMax
		err = fillInts(&f.seqs[0], 0, distances)
	}
	d.fail(chunkFurther, err)
	if err != nil {
		return to
	}
	at := uint64(0)
	for i, end := range ends {
		found := false
		for ; at < end; at++ {
			cause := uint64(0)
			if distances[at] != 0 {
				cause = uint64(d.id(i)) - distances[at]
			}
			found = found || set.has(cause)
		}
		if found {
			to = append(to, uint16(i)) // #nosec G115 -- at most BlockRowsMax
		}
	}
	return to
}

// ReadRows fills into with the wanted columns of these rows of the block that holds the id base, which must rise. Row k
// of into is row rows[k] of the block; its id is that of the block's first row, into.Base, and so many more.
func (s *Snapshot) ReadRows(base event.ID, rows []uint16, want wire.ColumnSet, into *wire.Columns) error {
	if seg := s.segmentOf(base); seg != nil {
		e, ok := blockOf(seg.entries, base)
		if !ok {
			return s.outOfRange(base)
		}
		if err := checkRows(rows, e.rows); err != nil {
			return err
		}
		return seg.s.with(e, func(v *blockView) error { return v.gather(rows, want, into) })
	}
	h, ok := s.headOf(base)
	if !ok {
		return s.outOfRange(base)
	}
	if err := checkRows(rows, len(h.b.Rows)); err != nil {
		return err
	}
	h.b.Gather(rows, want, into)
	return nil
}

func checkRows(rows []uint16, n int) error {
	for i, row := range rows {
		if int(row) >= n || (i > 0 && row <= rows[i-1]) {
			return fmt.Errorf("row %d of a block of %d, in a list that must rise: %w", row, n, ErrOutOfRange)
		}
	}
	return nil
}

// Find appends, in rising order, the rows of the block that holds the id base that have one of the values: as their stream
// (by is wire.ColStream), correlation, parent, or as one of their further causes (wire.ColFurther).
func (s *Snapshot) Find(base event.ID, by wire.ColumnSet, values []uint64, to []uint16) (rows []uint16, err error) {
	if by&wire.ColFindable != by || bits.OnesCount32(uint32(by)) != 1 {
		return to, fmt.Errorf("rows can not be found by the columns %b", by)
	}
	if seg := s.segmentOf(base); seg != nil {
		e, ok := blockOf(seg.entries, base)
		if !ok {
			return to, s.outOfRange(base)
		}
		err = seg.s.with(e, func(v *blockView) (err error) {
			rows, err = v.find(by, values, to)
			return err
		})
		return rows, err
	}
	h, ok := s.headOf(base)
	if !ok {
		return to, s.outOfRange(base)
	}
	return h.b.Find(by, newValueSet(values).has, to), nil
}
