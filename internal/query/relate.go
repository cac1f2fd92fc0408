package query

import (
	"context"
	"errors"
	"time"

	"github.com/pastcone/pastcone/event"
)

// Order is how two events lie to each other by happens-before.
type Order uint8

// The orders of two events.
const (
	Same       Order = iota
	Before           // the first happened before the second
	After            // the second happened before the first
	Concurrent       // neither: as far as is known, they could have happened in either order
	Undecided        // the search gave up
)

// String gives the name that answers in JSON use.
func (o Order) String() string {
	return [...]string{"same", "before", "after", "concurrent", "undecided"}[o]
}

// Relation is how two events are related.
type Relation struct {
	A, B  *Row
	Order Order
	// Path leads from the earlier to the later event.
	Path       []PathStep
	Confidence event.Confidence // the weakest on the path; of a concurrence Gap where events are missing
	Apart      time.Duration    // from A to B in event time
	Cut        string           // why it is undecided
}

// PathStep is one event of a path.
type PathStep struct {
	Row  *Row
	Edge event.Edge // from the step before; without a kind it is the order of their stream
	Late bool
}

// RelateOptions bound the search. The zero value is good.
type RelateOptions struct {
	Budget time.Duration // 0: 1 s
}

// parentsMax is how many parents are tried before the search for a path.
const parentsMax = 10_000

// Relate says which of two events happened before the other, and by which path, or that they are
// concurrent.
func Relate(ctx context.Context, r Reader, a, b event.ID, o RelateOptions) (*Relation, error) {
	l := newLookup(r)
	rel := &Relation{}
	var err error
	if rel.A, err = l.row(a); err != nil {
		return nil, err
	}
	if rel.B, err = l.row(b); err != nil {
		return nil, err
	}
	rel.Apart = time.Duration(rel.B.Event.Time - rel.A.Event.Time)
	if a == b {
		return rel, nil
	}
	rel.Order = Concurrent
	for _, try := range []struct {
		from, to *Row
		order    Order
	}{{rel.A, rel.B, Before}, {rel.B, rel.A, After}} {
		hops, reached, err := l.way(ctx, r, try.from, try.to, o)
		if errors.Is(err, errGaveUp) {
			rel.Order, rel.Cut = Undecided, err.Error()
			continue
		}
		if err != nil {
			return nil, err
		}
		if reached {
			rel.Order, rel.Cut = try.order, ""
			return rel, rel.fill(l, try.from, try.to, hops)
		}
	}
	return rel, nil
}

// way looks for a path: within the stream, by parents, and then in all of happens-before.
func (l *lookup) way(ctx context.Context, r Reader, from, to *Row, o RelateOptions) ([]hop, bool, error) {
	if l.keyOf(from) == l.keyOf(to) {
		return nil, from.Event.Seq < to.Event.Seq, nil
	}
	if hops, ok, err := l.byParents(from, to); ok || err != nil {
		return hops, ok, err
	}
	p := pathSearch{r: r, from: from.Event.ID, to: to.Event.ID, budget: o.Budget}
	return p.run(ctx, l)
}

// byParents follows the parents of an event: the cheap way, and the one that says most.
func (l *lookup) byParents(from, to *Row) ([]hop, bool, error) {
	var hops []hop
	for n, at := 0, to; n < parentsMax; n++ {
		if at.Event.ID == from.Event.ID || l.keyOf(at) == l.keyOf(from) && at.Event.Seq > from.Event.Seq {
			for i, j := 0, len(hops)-1; i < j; i, j = i+1, j-1 {
				hops[i], hops[j] = hops[j], hops[i]
			}
			return hops, true, nil
		}
		edge, late := parentEdge(at)
		if edge.ID < from.Event.ID || edge.ID < l.first { // also when there is none
			return nil, false, nil
		}
		parent, err := l.row(edge.ID)
		if IsDamage(err) {
			return nil, false, nil // there may be another way
		}
		if err != nil {
			return nil, false, err
		}
		if l.keyOf(parent) != l.keyOf(at) {
			hops = append(hops, hop{edge, at, late})
		}
		at = parent
	}
	return nil, false, nil
}

// fill makes the path of hops: each from where its stream was left to where the next was entered.
func (rel *Relation) fill(l *lookup, from, to *Row, hops []hop) error {
	at := from
	step := func(row *Row, edge event.Edge, late bool) {
		if row.Event.ID != at.Event.ID {
			rel.Path = append(rel.Path, PathStep{row, edge, late})
			rel.Confidence = max(rel.Confidence, edge.Confidence)
			at = row
		}
	}
	rel.Path = append(rel.Path, PathStep{Row: from})
	for _, h := range hops {
		left, err := l.row(h.edge.ID)
		if err != nil {
			return err
		}
		step(left, event.Edge{}, false)
		step(h.to, h.edge, h.late)
	}
	step(to, event.Edge{}, false)
	return nil
}
