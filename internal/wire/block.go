package wire

import (
	"time"

	"github.com/pastcone/pastcone/event"
)

// BlockRowsMax is the most rows that a block holds.
const BlockRowsMax = 8192

// Row is one correlated event. Its id is the block's Base plus its index.
type Row struct {
	Record

	Stream      Name
	Parent      event.ID // 0: none, or missing
	Correlation event.ID // the founder; its own id if it is one
	Duration    int64    // ns, of a return; else 0
	Position    uint32   // number of parents up to the founder
	Source      SourceID

	// The parent's edge. ParentKind 0 says that there is none: not even a missing one. Parent 0 with
	// a ParentKind is a missing parent.
	ParentKind event.EdgeKind
	ParentConf event.Confidence // the event's confidence
	CorrConf   event.Confidence // the weakest on the way to the founder
	_          uint8
	ParentP    float32 // probability, when ParentConf is Inferred
	EdgeOff    uint32  // the further edges, in the block's Edges
	EdgeLen    uint32
}

// Edge is a further cause of a row.
type Edge struct {
	Cause event.ID // 0: missing
	P     float32  // probability, when inferred
	Kind  event.EdgeKind
	Conf  event.Confidence
}

// LateEdge is an edge whose cause came after its effect had been stored.
type LateEdge struct {
	Effect event.ID
	Edge   Edge
}

// Block is a stretch of correlated events with consecutive ids, on the way from the correlator to
// the store and to the readers of its head. Once handed over it is never changed, and may be read by
// many.
type Block struct {
	Base    event.ID   // id of the first row
	Rows    []Row      // at most BlockRowsMax
	Edges   []Edge     // further edges; a row's lie together, rows in order
	Arena   []byte     // data and rarer fields of the rows
	Late    []LateEdge // late edges found while this block was made, whatever their effects' blocks
	Arrived int64      // when its oldest event was accepted, ns since the Unix epoch
}

// Further gives the further edges of a row.
func (b *Block) Further(r *Row) []Edge { return b.Edges[r.EdgeOff : r.EdgeOff+r.EdgeLen] }

// Data gives the data of a row, nil if it has none. Do not change it.
func (b *Block) Data(r *Row) []byte { return b.Arena[r.DataOff : r.DataOff+r.DataLen] }

// Ext gives the encoded rarer fields of a row. Do not change it.
func (b *Block) Ext(r *Row) []byte { return b.Arena[r.ExtOff : r.ExtOff+r.ExtLen] }

// Event writes row i into its public form. Slices of the result are copies.
func (b *Block) Event(i int, t *Table, e *event.Event) error {
	r := &b.Rows[i]
	err := r.fill(e, t, r.Stream, b.Data(r), b.Ext(r))
	e.ID = b.Base + event.ID(i) // #nosec G115 -- i is an index
	e.Parent, e.Correlation, e.Position = r.Parent, r.Correlation, r.Position
	e.Duration = time.Duration(r.Duration)
	e.Confidence, e.CorrelationConfidence = r.ParentConf, r.CorrConf
	if r.ParentKind != event.EdgeInvalid {
		e.Causes = append(e.Causes, Edge{r.Parent, r.ParentP, r.ParentKind, r.ParentConf}.Public())
	}
	for _, f := range b.Further(r) {
		e.Causes = append(e.Causes, f.Public())
	}
	return err
}

// Public gives the edge in its public form.
func (e Edge) Public() event.Edge {
	p := float64(e.P)
	switch e.Conf {
	case event.Exact:
		p = 1
	case event.Gap:
		p = 0
	case event.Inferred:
	}
	return event.Edge{ID: e.Cause, Kind: e.Kind, Confidence: e.Conf, P: p}
}
