package query

import (
	"github.com/pastcone/pastcone/event"
	"github.com/pastcone/pastcone/internal/wire"
)

// Reader is what a query needs of a recording: a snapshot that does not change while it is used. All
// methods are safe for concurrent use.
type Reader interface {
	// Table gives the texts, names and places of the recording.
	Table() *wire.Table
	// Range gives the ids that can be read: from first (above 1 when retention has removed older
	// ones) up to, and without, end.
	Range() (first, end event.ID)
	// Durable gives one more than the largest id that would survive a crash.
	Durable() event.ID
	// Blocks gives the blocks that may hold matching rows, in the order of ids.
	Blocks(p wire.Prune) []wire.BlockInfo
	// Read fills into with the wanted columns of the block that begins at base.
	Read(base event.ID, want wire.ColumnSet, into *wire.Columns) error
	// ReadRow fills into with a short stretch of rows that holds id, and gives its index in it. It is
	// cheaper than Read for one row. An id out of range is an error.
	ReadRow(id event.ID, want wire.ColumnSet, into *wire.Columns) (index int, err error)
	// ReadRows fills into with some rows of the block that begins at base, which must rise: row k of into is row rows[k]
	// of the block, and into.Base is base. It is cheaper than ReadRow for each of them.
	ReadRows(base event.ID, rows []uint16, want wire.ColumnSet, into *wire.Columns) error
	// Find appends, in rising order, the rows of the block that begins at base that have one of the values: as their stream
	// (by is wire.ColStream), correlation, parent, or as a further cause (wire.ColFurther).
	Find(base event.ID, by wire.ColumnSet, values []uint64, to []uint16) ([]uint16, error)
	// LateCauses gives the edges to an effect that came after it was stored.
	LateCauses(effect event.ID) []wire.Edge
	// LateEffects gives the late edges from a cause.
	LateEffects(cause event.ID) []wire.LateEdge
	// Late gives all late edges, in any order.
	Late(yield func(wire.LateEdge) bool)
	// Bytes gives what the recording takes on disk; 0 is unknown.
	Bytes() int64
	// Close gives the snapshot back: files that only it needs can then be removed.
	Close() error
}
