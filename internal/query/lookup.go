package query

import (
	"fmt"
	"slices"
	"sort"
	"time"

	"github.com/pastcone/pastcone/event"
	"github.com/pastcone/pastcone/internal/wire"
)

// NoEventError says that an event is not in the recording.
type NoEventError struct {
	ID         event.ID
	First, End event.ID // what is there: up to, and without, End
}

// Error says which ids there are.
func (e *NoEventError) Error() string {
	switch {
	case e.End <= e.First:
		return fmt.Sprintf("there is no event %d: the recording is empty", e.ID)
	case e.ID < e.First && e.ID > 0:
		return fmt.Sprintf("event %d is gone by retention: the ids are %d to %d", e.ID, e.First, e.End-1)
	}
	return fmt.Sprintf("there is no event %d: the ids are %d to %d", e.ID, e.First, e.End-1)
}

// Row is an event with where it came from.
type Row struct {
	Event  event.Event
	Source wire.SourceID
	Late   []event.Edge // causes that came after it had been stored
}

// Text gives the text of an error or a log: what its data calls error, message, msg, err or text.
func (r *Row) Text() string { return textOf(r.Event.Data) }

var textNames = []*dataPath{
	newDataPath([]string{"error"}), newDataPath([]string{"err"}), newDataPath([]string{"message"}),
	newDataPath([]string{"msg"}), newDataPath([]string{"text"}), newDataPath([]string{"panic"}),
}

func textOf(data []byte) string {
	for _, name := range textNames {
		raw := name.find(data)
		if s, _, ok := stringOf(raw, nil); ok && len(s) > 0 {
			return string(s)
		}
	}
	return ""
}

func (r *Row) key() string { return fmt.Sprintf("%d/%s", r.Source, r.Event.Stream) }

// lookup reads single events, and remembers those it has read.
type lookup struct {
	r          Reader
	table      *wire.Table
	first, end event.ID
	near       wire.Columns // the stretch that was read last
	some       wire.Columns // for ahead
	known      map[event.ID]*Row
	damaged    damages
}

func newLookup(r Reader) *lookup {
	l := &lookup{r: r, table: r.Table(), known: map[event.ID]*Row{}}
	l.first, l.end = r.Range()
	return l
}

// row gives an event.
func (l *lookup) row(id event.ID) (*Row, error) {
	if row := l.known[id]; row != nil {
		return row, nil
	}
	if id < l.first || id >= l.end {
		return nil, &NoEventError{id, l.first, l.end}
	}
	at := int(id - l.near.Base) // #nosec G115 -- checked to be within
	if id < l.near.Base || at >= l.near.Len {
		var err error
		if at, err = l.r.ReadRow(id, wire.ColAll, &l.near); err != nil {
			l.near = wire.Columns{} // half filled
			return nil, fmt.Errorf("event %d: %w", id, err)
		}
	}
	return l.keep(id, &l.near, at)
}

// keep remembers the event that row at of these columns is.
func (l *lookup) keep(id event.ID, c *wire.Columns, at int) (*Row, error) {
	row := &Row{Source: c.Source[at]}
	if err := c.Event(at, l.table, &row.Event); err != nil {
		return nil, fmt.Errorf("event %d: %w", id, err)
	}
	row.Event.ID = id
	for _, e := range l.r.LateCauses(id) {
		row.Late = append(row.Late, publicEdge(e))
	}
	l.known[id] = row
	return row, nil
}

// ahead reads some rows of a block together, for those who will ask for them. They must rise.
func (l *lookup) ahead(base event.ID, rows []uint16) error {
	if err := l.r.ReadRows(base, rows, wire.ColAll, &l.some); err != nil {
		return err
	}
	for k, row := range rows {
		id := base + event.ID(row)
		if l.known[id] != nil {
			continue
		}
		if _, err := l.keep(id, &l.some, k); err != nil {
			return err
		}
	}
	return nil
}

// chainAhead reads an event and its chain of parents as far up as they lie in the same block, at most so many, together.
func (l *lookup) chainAhead(id event.ID, most int) error {
	if l.known[id] != nil || id < l.first || id >= l.end {
		return nil
	}
	infos := l.r.Blocks(wire.Prune{IDMin: id, IDMax: id})
	n := sort.Search(len(infos), func(i int) bool { return infos[i].Base > id }) - 1
	if n < 0 || id-infos[n].Base >= wire.BlockRowsMax {
		return nil
	}
	base := infos[n].Base
	var rows []uint16
	for at := id; at >= base && at <= id && len(rows) < most; {
		rows = append(rows, uint16(at-base)) // #nosec G115 -- within a block
		i, err := l.r.ReadRow(at, wire.ColParent, &l.some)
		if IsDamage(err) {
			return nil // whoever asks for the event hears of it
		}
		if err != nil {
			return err
		}
		parent := l.some.Parent[i]
		if parent >= at {
			break
		}
		at = parent
	}
	slices.Reverse(rows)
	if err := l.ahead(base, rows); !IsDamage(err) {
		return err
	}
	return nil
}

func publicEdge(e wire.Edge) event.Edge {
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

// Cause is a cause of an event, with its row.
type Cause struct {
	Edge   event.Edge
	Row    *Row          // nil when it is missing or gone
	Before time.Duration // how long before its effect it happened
	Late   bool          // it came after its effect had been stored
	Gone   bool          // retention has removed it

	Damaged bool // it is there, and can not be read
}

// cause reads the cause of an effect.
func (l *lookup) cause(edge event.Edge, effect *Row, late bool) (Cause, error) {
	c := Cause{Edge: edge, Late: late}
	if edge.ID == 0 {
		return c, nil
	}
	if edge.ID < l.first {
		c.Gone = true
		return c, nil
	}
	var err error
	if c.Row, err = l.row(edge.ID); l.damaged.skip(err) {
		c.Damaged = true
		return c, nil
	} else if err == nil {
		c.Before = time.Duration(effect.Event.Time - c.Row.Event.Time)
	}
	return c, err
}

// parentEdge gives the edge to the parent of a row: where the parent is missing and came late after
// all, that one.
func parentEdge(row *Row) (edge event.Edge, late bool) {
	if len(row.Event.Causes) > 0 && (row.Event.Causes[0].ID == row.Event.Parent || row.Event.Causes[0].ID == 0) {
		edge = row.Event.Causes[0]
	}
	if edge.ID == 0 && edge.Kind != event.EdgeInvalid {
		for _, e := range row.Late {
			if e.Kind == edge.Kind && e.ID != 0 {
				return e, true
			}
		}
	}
	return edge, false
}

// further gives the further causes of a row, late ones included, without the parent.
func further(row *Row) (edges []event.Edge, late int) {
	parent, lateParent := parentEdge(row)
	if len(row.Event.Causes) > 0 {
		edges = append(edges, row.Event.Causes[1:]...)
	}
	late = len(edges)
	for _, e := range row.Late {
		if !lateParent || e != parent {
			edges = append(edges, e)
		}
	}
	return edges, late
}
