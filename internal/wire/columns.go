package wire

import (
	"math"
	"slices"
	"time"

	"github.com/pastcone/pastcone/event"
)

// ColumnSet says which columns a reader wants.
type ColumnSet uint32

// The columns of a block. ColFurther brings the further edges, ColData and ColExt the payload.
const (
	ColTime ColumnSet = 1 << iota
	ColSeq
	ColStream
	ColSource
	ColKind
	ColFlags
	ColSite
	ColKey
	ColOrdinal
	ColPeer
	ColChild
	ColParent // with ParentKind, ParentConf, CorrConf, ParentP
	ColCorrelation
	ColPosition
	ColDuration
	ColFurther
	ColData
	ColExt
	colEnd

	ColAll = colEnd - 1
)

// Columns is a stretch of consecutive rows, column by column: what a reader of a recording gets.
// Only the wanted columns are filled, each with Len entries; the others are empty.
type Columns struct {
	Base event.ID // id of row 0
	Len  int

	Time        []int64
	Seq         []uint64
	Stream      []Name
	Source      []SourceID
	Kind        []event.Kind
	Flags       []Flags
	Site        []Site
	Key         []Name
	Ordinal     []uint64
	Peer        []Name
	Child       []Name
	Parent      []event.ID
	ParentKind  []event.EdgeKind
	ParentConf  []event.Confidence
	CorrConf    []event.Confidence
	ParentP     []float32
	Correlation []event.ID
	Position    []uint32
	Duration    []int64

	// Further edges of row i: Edges[EdgeEnd[i-1]:EdgeEnd[i]]. The same for Data and Ext.
	EdgeEnd []uint32
	Edges   []Edge
	DataEnd []uint32
	Data    []byte
	ExtEnd  []uint32
	Ext     []byte
}

// Reset empties c and keeps its memory.
func (c *Columns) Reset() {
	*c = Columns{
		Time: c.Time[:0], Seq: c.Seq[:0], Stream: c.Stream[:0], Source: c.Source[:0], Kind: c.Kind[:0],
		Flags: c.Flags[:0], Site: c.Site[:0], Key: c.Key[:0], Ordinal: c.Ordinal[:0], Peer: c.Peer[:0],
		Child: c.Child[:0], Parent: c.Parent[:0], ParentKind: c.ParentKind[:0], ParentConf: c.ParentConf[:0],
		CorrConf: c.CorrConf[:0], ParentP: c.ParentP[:0], Correlation: c.Correlation[:0],
		Position: c.Position[:0], Duration: c.Duration[:0], EdgeEnd: c.EdgeEnd[:0], Edges: c.Edges[:0],
		DataEnd: c.DataEnd[:0], Data: c.Data[:0], ExtEnd: c.ExtEnd[:0], Ext: c.Ext[:0],
	}
}

func span[T any](end []uint32, all []T, i int) []T {
	if len(end) == 0 {
		return nil
	}
	low := uint32(0)
	if i > 0 {
		low = end[i-1]
	}
	return all[low:end[i]]
}

// FurtherOf gives the further edges of row i.
func (c *Columns) FurtherOf(i int) []Edge { return span(c.EdgeEnd, c.Edges, i) }

// DataOf gives the data of row i. Do not change it.
func (c *Columns) DataOf(i int) []byte { return span(c.DataEnd, c.Data, i) }

// ExtOf gives the encoded rarer fields of row i. Do not change it.
func (c *Columns) ExtOf(i int) []byte { return span(c.ExtEnd, c.Ext, i) }

// Columns writes rows [low, high) of the block into c, the wanted columns only.
func (b *Block) Columns(low, high int, want ColumnSet, c *Columns) {
	c.Reset()
	c.Base, c.Len = b.Base+event.ID(low), high-low // #nosec G115 -- low is an index
	for i := low; i < high; i++ {
		b.appendRow(&b.Rows[i], want, c)
	}
}

// Gather writes these rows of the block into c, the wanted columns only. Row k of c is row rows[k] of the block, and
// c.Base the id of the block's first row.
func (b *Block) Gather(rows []uint16, want ColumnSet, c *Columns) {
	c.Reset()
	c.Base, c.Len = b.Base, len(rows)
	for _, row := range rows {
		b.appendRow(&b.Rows[row], want, c)
	}
}

// ColFindable are the columns that rows can be found by.
const ColFindable = ColStream | ColCorrelation | ColParent | ColFurther

// Find appends the rows that have, in one of the columns, a value that is asked for. Of further edges that is the cause.
func (b *Block) Find(by ColumnSet, wanted func(uint64) bool, to []uint16) []uint16 {
	for i := range b.Rows {
		r := &b.Rows[i]
		found := by&ColStream != 0 && wanted(uint64(r.Stream)) ||
			by&ColCorrelation != 0 && wanted(uint64(r.Correlation)) ||
			by&ColParent != 0 && wanted(uint64(r.Parent))
		if by&ColFurther != 0 && !found {
			found = slices.ContainsFunc(b.Further(r), func(e Edge) bool { return wanted(uint64(e.Cause)) })
		}
		if found {
			to = append(to, uint16(i)) // #nosec G115 -- at most BlockRowsMax
		}
	}
	return to
}

// appendRow appends the wanted columns of a row to c.
func (b *Block) appendRow(r *Row, want ColumnSet, c *Columns) {
	if want&ColTime != 0 {
		c.Time = append(c.Time, r.Time)
	}
	if want&ColSeq != 0 {
		c.Seq = append(c.Seq, r.Seq)
	}
	if want&ColStream != 0 {
		c.Stream = append(c.Stream, r.Stream)
	}
	if want&ColSource != 0 {
		c.Source = append(c.Source, r.Source)
	}
	if want&ColKind != 0 {
		c.Kind = append(c.Kind, r.Kind)
	}
	if want&ColFlags != 0 {
		c.Flags = append(c.Flags, r.Flags)
	}
	if want&ColSite != 0 {
		c.Site = append(c.Site, r.Site)
	}
	if want&ColKey != 0 {
		c.Key = append(c.Key, r.Key)
	}
	if want&ColOrdinal != 0 {
		c.Ordinal = append(c.Ordinal, r.Ordinal)
	}
	if want&ColPeer != 0 {
		c.Peer = append(c.Peer, r.Peer)
	}
	if want&ColChild != 0 {
		c.Child = append(c.Child, r.Child)
	}
	if want&ColParent != 0 {
		c.Parent = append(c.Parent, r.Parent)
		c.ParentKind = append(c.ParentKind, r.ParentKind)
		c.ParentConf = append(c.ParentConf, r.ParentConf)
		c.CorrConf = append(c.CorrConf, r.CorrConf)
		c.ParentP = append(c.ParentP, r.ParentP)
	}
	if want&ColCorrelation != 0 {
		c.Correlation = append(c.Correlation, r.Correlation)
	}
	if want&ColPosition != 0 {
		c.Position = append(c.Position, r.Position)
	}
	if want&ColDuration != 0 {
		c.Duration = append(c.Duration, r.Duration)
	}
	if want&ColFurther != 0 {
		c.Edges = append(c.Edges, b.Further(r)...)
		c.EdgeEnd = append(c.EdgeEnd, arenaEnd(len(c.Edges)))
	}
	if want&ColData != 0 {
		c.Data = append(c.Data, b.Data(r)...)
		c.DataEnd = append(c.DataEnd, arenaEnd(len(c.Data)))
	}
	if want&ColExt != 0 {
		c.Ext = append(c.Ext, b.Ext(r)...)
		c.ExtEnd = append(c.ExtEnd, arenaEnd(len(c.Ext)))
	}
}

func arenaEnd(n int) uint32 {
	if n > math.MaxUint32 {
		panic("wire: a block's payload is beyond 4 GiB") // bounded by what a batch may hold
	}
	return uint32(n) // #nosec G115 -- bounded above
}

// Event writes row i into its public form; every column must have been read. Slices of the result are
// copies.
func (c *Columns) Event(i int, t *Table, e *event.Event) error {
	r := Record{
		Time: c.Time[i], Seq: c.Seq[i], Key: c.Key[i], Ordinal: c.Ordinal[i], Peer: c.Peer[i],
		Child: c.Child[i], Site: c.Site[i], Flags: c.Flags[i], Kind: c.Kind[i],
	}
	err := r.fill(e, t, c.Stream[i], c.DataOf(i), c.ExtOf(i))
	e.ID = c.Base + event.ID(i) // #nosec G115 -- i is an index
	e.Parent, e.Correlation, e.Position = c.Parent[i], c.Correlation[i], c.Position[i]
	e.Duration = time.Duration(c.Duration[i])
	e.Confidence, e.CorrelationConfidence = c.ParentConf[i], c.CorrConf[i]
	if c.ParentKind[i] != event.EdgeInvalid {
		e.Causes = append(e.Causes, Edge{c.Parent[i], c.ParentP[i], c.ParentKind[i], c.ParentConf[i]}.Public())
	}
	for _, f := range c.FurtherOf(i) {
		e.Causes = append(e.Causes, f.Public())
	}
	return err
}

// Prune says which blocks a reader can do without. Each field that is set narrows: a block is left out
// when it surely holds no row that satisfies all of them. The zero Prune keeps every block.
type Prune struct {
	IDMin, IDMax     event.ID   // inclusive; IDMax 0 is no bound
	TimeMin, TimeMax int64      // inclusive, ns since the Unix epoch; TimeMax 0 is no bound
	Kinds            uint32     // bit 1<<kind for each kind that can match; 0 is all
	Streams          []Name     // any of them
	Funcs            []Text     // any of them, as the function of the row's site
	Keys             []Name     // any of them
	Correlations     []event.ID // any of them
	Causes           []event.ID // rows that have any of them as parent or further cause
}

// BlockInfo describes a block to a reader.
type BlockInfo struct {
	Base             event.ID
	Rows             int
	TimeMin, TimeMax int64 // inclusive
}

// Tail is the last that a recording holds of a stream: what a correlator needs to go on with it.
type Tail struct {
	Source SourceID
	Stream Name
	Seq    uint64 // of its last event
	ID     event.ID
	Exited bool
}
