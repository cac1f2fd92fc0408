// Package memory holds a recording in memory, for tests and for answers about events that are not stored:
// it is a query.Reader over blocks.
//
// It prunes as sharply as can be, block by block and row by row: a query that asks for too little finds
// less here than it should.
//
// In the plan's words this stands for DataAccess.
package memory

import (
	"fmt"
	"slices"
	"sort"

	"github.com/pastcone/pastcone/event"
	"github.com/pastcone/pastcone/internal/query"
	"github.com/pastcone/pastcone/internal/wire"
)

// Reader is a recording in memory.
type Reader struct {
	table  *wire.Table
	blocks []*wire.Block

	// KeepAll makes Blocks give every block, as a reader without an index would.
	KeepAll bool
}

var _ query.Reader = (*Reader)(nil)

// New makes a reader of blocks in the order of ids, without holes between them.
func New(table *wire.Table, blocks ...*wire.Block) *Reader {
	return &Reader{table: table, blocks: blocks}
}

// Table gives the texts, names and places.
func (m *Reader) Table() *wire.Table { return m.table }

// Range gives the ids of the blocks.
func (m *Reader) Range() (first, end event.ID) {
	if len(m.blocks) == 0 {
		return 1, 1
	}
	last := m.blocks[len(m.blocks)-1]
	return m.blocks[0].Base, last.Base + event.ID(len(last.Rows)) // #nosec G115 -- a count
}

// Durable gives the end: nothing here survives, and nothing is expected to.
func (m *Reader) Durable() event.ID {
	_, end := m.Range()
	return end
}

// Blocks gives the blocks with a row that satisfies all of p.
func (m *Reader) Blocks(p wire.Prune) []wire.BlockInfo {
	var infos []wire.BlockInfo
	for _, b := range m.blocks {
		info := wire.BlockInfo{Base: b.Base, Rows: len(b.Rows)}
		kept := m.KeepAll
		for i := range b.Rows {
			r := &b.Rows[i]
			if i == 0 || r.Time < info.TimeMin {
				info.TimeMin = r.Time
			}
			if i == 0 || r.Time > info.TimeMax {
				info.TimeMax = r.Time
			}
			kept = kept || m.matches(b, i, &p)
		}
		if kept {
			infos = append(infos, info)
		}
	}
	return infos
}

func (m *Reader) matches(b *wire.Block, i int, p *wire.Prune) bool {
	r, id := &b.Rows[i], b.Base+event.ID(i) // #nosec G115 -- an index
	among := func(limited bool, found bool) bool { return !limited || found }
	return id >= p.IDMin && (p.IDMax == 0 || id <= p.IDMax) &&
		(p.TimeMin == 0 || r.Time >= p.TimeMin) && (p.TimeMax == 0 || r.Time <= p.TimeMax) &&
		(p.Kinds == 0 || p.Kinds>>r.Kind&1 != 0) &&
		among(len(p.Streams) > 0, slices.Contains(p.Streams, r.Stream)) &&
		among(len(p.Funcs) > 0, slices.Contains(p.Funcs, m.table.PlaceOf(r.Site).Func)) &&
		among(len(p.Keys) > 0, slices.Contains(p.Keys, r.Key)) &&
		among(len(p.Correlations) > 0, slices.Contains(p.Correlations, r.Correlation)) &&
		among(len(p.Causes) > 0, slices.Contains(p.Causes, r.Parent) ||
			slices.ContainsFunc(b.Further(r), func(e wire.Edge) bool { return slices.Contains(p.Causes, e.Cause) }))
}

// block gives the block that holds id.
func (m *Reader) block(id event.ID) (*wire.Block, error) {
	i := sort.Search(len(m.blocks), func(i int) bool { return m.blocks[i].Base > id }) - 1
	if i < 0 || id >= m.blocks[i].Base+event.ID(len(m.blocks[i].Rows)) { // #nosec G115 -- a count
		first, end := m.Range()
		return nil, fmt.Errorf("event %d is not here: the ids are from %d to %d", id, first, end-1)
	}
	return m.blocks[i], nil
}

// Read gives the columns of a block.
func (m *Reader) Read(base event.ID, want wire.ColumnSet, into *wire.Columns) error {
	b, err := m.block(base)
	if err != nil {
		return err
	}
	b.Columns(0, len(b.Rows), want, into)
	return nil
}

// ReadRow gives a short stretch of rows around id.
func (m *Reader) ReadRow(id event.ID, want wire.ColumnSet, into *wire.Columns) (int, error) {
	b, err := m.block(id)
	if err != nil {
		return 0, err
	}
	const stretch = 4      // so that index 0 is not always right
	at := int(id - b.Base) // #nosec G115 -- within the block
	low := at / stretch * stretch
	b.Columns(low, min(low+stretch, len(b.Rows)), want, into)
	return at - low, nil
}

// ReadRows gives some rows of a block.
func (m *Reader) ReadRows(base event.ID, rows []uint16, want wire.ColumnSet, into *wire.Columns) error {
	b, err := m.block(base)
	if err != nil {
		return err
	}
	b.Gather(rows, want, into)
	return nil
}

// Find gives the rows of a block that have one of the values.
func (m *Reader) Find(base event.ID, by wire.ColumnSet, values []uint64, to []uint16) ([]uint16, error) {
	b, err := m.block(base)
	if err != nil {
		return to, err
	}
	return b.Find(by, func(v uint64) bool { return slices.Contains(values, v) }, to), nil
}

// Late gives all late edges.
func (m *Reader) Late(yield func(wire.LateEdge) bool) {
	for _, b := range m.blocks {
		for _, e := range b.Late {
			if !yield(e) {
				return
			}
		}
	}
}

// LateCauses gives the late edges to an effect.
func (m *Reader) LateCauses(effect event.ID) (edges []wire.Edge) {
	m.Late(func(e wire.LateEdge) bool {
		if e.Effect == effect {
			edges = append(edges, e.Edge)
		}
		return true
	})
	return edges
}

// LateEffects gives the late edges from a cause.
func (m *Reader) LateEffects(cause event.ID) (edges []wire.LateEdge) {
	m.Late(func(e wire.LateEdge) bool {
		if e.Edge.Cause == cause {
			edges = append(edges, e)
		}
		return true
	})
	return edges
}

// Close does nothing.
func (m *Reader) Close() error { return nil }

// Bytes is 0: it takes nothing on disk.
func (m *Reader) Bytes() int64 { return 0 }
