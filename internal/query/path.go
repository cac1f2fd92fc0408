package query

import (
	"context"
	"errors"
	"fmt"
	"slices"
	"time"

	"github.com/pastcone/pastcone/event"
	"github.com/pastcone/pastcone/internal/wire"
)

// pathSearch looks for a way of happens-before from one event to another. What has "from" in its past
// is, in each stream, everything from some event on; so the closure of "from" (cone.go), which notes how it
// came into each stream, finds a path with few changes of stream, or shows that there is none.
type pathSearch struct {
	r         Reader
	from, to  event.ID
	blocksMax int           // most blocks to read; 0: no bound
	budget    time.Duration // 0: 1 s
}

// hop is a change of stream on a path.
type hop struct {
	edge event.Edge // from its ID …
	to   *Row       // … to here
	late bool
}

// aloneBlocks is up to how many blocks asking others for help takes longer than it saves.
const aloneBlocks = 8

// errGaveUp says that a search was not finished.
var errGaveUp = errors.New("gave up")

// run gives the changes of stream on the way, in order, and whether there is a way at all.
func (p *pathSearch) run(ctx context.Context, l *lookup) (hops []hop, reached bool, err error) {
	if p.from == p.to {
		return nil, false, nil
	}
	began := time.Now()
	late := lateEdges(p.r)
	low, high := hull(min(p.from, p.to), max(p.from, p.to), late)
	if p.from > p.to && !slices.ContainsFunc(late, func(e wire.LateEdge) bool { return e.Effect >= low && e.Edge.Cause <= high }) {
		return nil, false, nil // only a late edge leads to a smaller id
	}
	n := len(p.r.Blocks(wire.Prune{IDMin: low, IDMax: high}))
	if p.blocksMax > 0 && n > p.blocksMax {
		return nil, false, fmt.Errorf("%w: %d blocks lie between", errGaveUp, n)
	}
	o := Options{CausalBudget: p.budget}
	if n <= aloneBlocks {
		o.Workers = 1
	}
	x := newRun(ctx, p.r, nil, o)
	c := cone{
		x: x, of: newIDSet(p.from, p.from+1), late: late, entries: map[streamKey]entry{}, target: p.to,
		over: func() error {
			if time.Since(began) > x.o.CausalBudget {
				return errBudget
			}
			return nil
		},
	}
	c.of.add(p.from)
	wanted := everything()
	wanted.idMax = int64(p.to) // #nosec G115 -- ids are far below 2^63
	complete, err := c.close(wanted)
	switch {
	case errors.Is(err, ErrStop):
		if hops, err = c.hops(l); IsDamage(err) {
			return nil, false, fmt.Errorf("%w: %w", errGaveUp, err)
		}
		return hops, true, err
	case errors.Is(err, errBudget):
		return nil, false, fmt.Errorf("%w after %s", errGaveUp, x.o.CausalBudget)
	case err != nil:
		return nil, false, err
	case !complete:
		return nil, false, fmt.Errorf("%w: %s", errGaveUp, x.sum.Reason)
	}
	if damage := x.damaged.first; damage != nil {
		return nil, false, fmt.Errorf("%w: %w", errGaveUp, damage) // a way may lead through it
	}
	return nil, false, nil
}

// hops goes back from the target, from stream to stream, by how the closure came into each.
func (c *cone) hops(l *lookup) ([]hop, error) {
	var hops []hop
	for at := c.target; ; {
		row, err := l.row(at)
		if err != nil {
			return nil, err
		}
		e, ok := c.entries[l.keyOf(row)]
		if !ok || len(hops) > 2*len(c.entries)+2*len(c.late) {
			return nil, fmt.Errorf("the way to event %d is lost at event %d: %w", c.target, at, wire.ErrCorrupt)
		}
		if c.of.has(e.id) {
			break
		}
		to, err := l.row(e.id)
		if err != nil {
			return nil, err
		}
		h := hop{to: to}
		if e.via != 0 {
			h.edge, err = edgeFrom(to, func(id event.ID) bool { return id == e.via })
		} else {
			h.late = true
			h.edge, err = lateFrom(to, func(id event.ID) bool { return c.of.has(id) || c.set.has(id) })
		}
		if err != nil {
			return nil, err
		}
		hops = append(hops, h)
		if c.of.has(h.edge.ID) {
			break
		}
		at = h.edge.ID
	}
	slices.Reverse(hops)
	return hops, nil
}

func edgeFrom(row *Row, from func(event.ID) bool) (event.Edge, error) {
	return pickEdge(row, row.Event.Causes, from)
}

func lateFrom(row *Row, from func(event.ID) bool) (event.Edge, error) {
	return pickEdge(row, row.Late, from)
}

func pickEdge(row *Row, edges []event.Edge, from func(event.ID) bool) (event.Edge, error) {
	for _, e := range edges {
		if e.ID != 0 && from(e.ID) {
			return e, nil
		}
	}
	return event.Edge{}, fmt.Errorf("event %d has lost a cause: %w", row.Event.ID, wire.ErrCorrupt)
}

func (l *lookup) keyOf(row *Row) streamKey {
	name, _ := l.table.FindName(row.Event.Stream)
	return streamKey{row.Source, name}
}
