package query

import (
	"sync"

	"github.com/pastcone/pastcone/event"
	"github.com/pastcone/pastcone/internal/wire"
)

// view is one block as a worker sees it. Columns are read when a predicate first needs them, so that
// a block whose kinds do not match costs one column. A view belongs to one goroutine and keeps its
// memory from block to block.
type view struct {
	worker int // which of the workers has it
	r      Reader
	base   event.ID
	rows   int

	have  wire.ColumnSet
	c     wire.Columns   // the columns read so far; they lie in the parts
	parts []wire.Columns // one for each reading
	used  int
	apart wire.Columns // some rows, all of each

	all   [wire.BlockRowsMax]uint16 // 0, 1, 2, …
	sel   [wire.BlockRowsMax]uint16 // the rows still in play
	spare [][]uint16                // for predicates that need the rows twice
	names map[*nameTest]*nameMemory
	ext   wire.Extension

	streams *streamIndex
	text    []byte // for unescaping
}

// views are used again by later queries: the columns of a whole block are some 100 KiB, which to make for each of many small
// questions would keep the garbage collector busier than the answers.
var views = sync.Pool{New: func() any {
	v := &view{}
	for i := range v.all {
		v.all[i] = uint16(i) // #nosec G115 -- BlockRowsMax is below 65,536
	}
	return v
}}

// newView takes a view, which release gives back.
func newView(r Reader) *view {
	v := views.Get().(*view)
	v.r = r
	return v
}

// viewPayloadMax bounds the payload that an unused view keeps the memory of.
const viewPayloadMax = 1 << 20

// release gives the view back. Nothing that was made of it may point into it, which it may not anyway: it goes on to the next
// block before its results are taken.
func (v *view) release() {
	payload := cap(v.apart.Data) + cap(v.apart.Ext) + cap(v.text)
	for i := range v.parts {
		payload += cap(v.parts[i].Data) + cap(v.parts[i].Ext)
	}
	if payload > viewPayloadMax || len(v.parts) > viewPartsMax {
		return
	}
	v.r, v.names, v.streams, v.worker = nil, nil, nil, 0
	v.c, v.ext = wire.Columns{}, wire.Extension{}
	views.Put(v)
}

// viewPartsMax bounds the readings that an unused view keeps the memory of.
const viewPartsMax = 8

// open turns the view to another block, of which nothing is read yet.
func (v *view) open(info wire.BlockInfo) {
	v.base, v.rows = info.Base, info.Rows
	v.have, v.used = 0, 0
	v.c = wire.Columns{Base: info.Base, Len: info.Rows}
}

// whole gives all rows of the block, in memory that predicates may narrow in place.
func (v *view) whole() []uint16 {
	sel := v.sel[:v.rows]
	copy(sel, v.all[:v.rows])
	return sel
}

// load reads those of the wanted columns that are not there yet.
func (v *view) load(want wire.ColumnSet) error {
	want &^= v.have
	if want == 0 {
		return nil
	}
	if v.used == len(v.parts) {
		v.parts = append(v.parts, wire.Columns{})
	}
	p := &v.parts[v.used]
	v.used++
	if err := v.r.Read(v.base, want, p); err != nil {
		return err
	}
	v.have |= want
	adopt(&v.c, p, want)
	return nil
}

// adopt lets c have the columns of p that were wanted.
func adopt(c, p *wire.Columns, want wire.ColumnSet) {
	has := func(col wire.ColumnSet) bool { return want&col != 0 }
	if has(wire.ColTime) {
		c.Time = p.Time
	}
	if has(wire.ColSeq) {
		c.Seq = p.Seq
	}
	if has(wire.ColStream) {
		c.Stream = p.Stream
	}
	if has(wire.ColSource) {
		c.Source = p.Source
	}
	if has(wire.ColKind) {
		c.Kind = p.Kind
	}
	if has(wire.ColFlags) {
		c.Flags = p.Flags
	}
	if has(wire.ColSite) {
		c.Site = p.Site
	}
	if has(wire.ColKey) {
		c.Key = p.Key
	}
	if has(wire.ColOrdinal) {
		c.Ordinal = p.Ordinal
	}
	if has(wire.ColPeer) {
		c.Peer = p.Peer
	}
	if has(wire.ColChild) {
		c.Child = p.Child
	}
	if has(wire.ColParent) {
		c.Parent, c.ParentKind, c.ParentConf, c.CorrConf, c.ParentP = p.Parent, p.ParentKind, p.ParentConf, p.CorrConf, p.ParentP
	}
	if has(wire.ColCorrelation) {
		c.Correlation = p.Correlation
	}
	if has(wire.ColPosition) {
		c.Position = p.Position
	}
	if has(wire.ColDuration) {
		c.Duration = p.Duration
	}
	if has(wire.ColFurther) {
		c.EdgeEnd, c.Edges = p.EdgeEnd, p.Edges
	}
	if has(wire.ColData) {
		c.DataEnd, c.Data = p.DataEnd, p.Data
	}
	if has(wire.ColExt) {
		c.ExtEnd, c.Ext = p.ExtEnd, p.Ext
	}
}

// id gives the id of a row.
func (v *view) id(i uint16) event.ID { return v.base + event.ID(i) }

// borrow gives memory for row numbers, to be given back.
func (v *view) borrow() []uint16 {
	if n := len(v.spare); n > 0 {
		s := v.spare[n-1]
		v.spare = v.spare[:n-1]
		return s[:0]
	}
	return make([]uint16, 0, wire.BlockRowsMax)
}

func (v *view) giveBack(s []uint16) { v.spare = append(v.spare, s) }

// hasDuration says whether a row of these columns is a return that found its call; the two can lie in
// the same nanosecond, which takes the parent to tell.
func hasDuration(c *wire.Columns, i int) bool {
	return c.Kind[i] == event.KindReturn && (c.Duration[i] != 0 || c.ParentKind[i] == event.EdgeReturn && c.Parent[i] != 0)
}
