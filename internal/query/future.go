package query

import (
	"cmp"
	"context"
	"errors"
	"fmt"
	"slices"
	"time"

	"github.com/pastcone/pastcone/event"
	"github.com/pastcone/pastcone/internal/wire"
)

// FutureOptions bound an answer to future. The zero value is good.
type FutureOptions struct {
	DepthMax int // most levels below the event; 0: 8
	WidthMax int // most effects shown of an event; 0: 16
	NodesMax int // most events shown in all; 0: 1,000
}

func (o FutureOptions) withDefaults() FutureOptions {
	o.DepthMax = cmp.Or(o.DepthMax, 8)
	o.WidthMax = cmp.Or(o.WidthMax, 16)
	o.NodesMax = cmp.Or(o.NodesMax, 1000)
	return o
}

// Tree answers future: what an event led to.
type Tree struct {
	Root  *Node
	Nodes int    // events in the tree
	More  uint64 // effects that were found and left out
	Cut   string // what was left out, and why; empty if nothing

	damaged *damages // what was left out because it is damaged
}

// Node is an event and its effects.
type Node struct {
	Row     *Row
	Edge    event.Edge // from the event above
	Late    bool
	After   time.Duration // since the root
	Further bool          // the event above is not its parent: it only let it go on. It is not followed
	Effects []*Node       // in the order of ids
	More    uint64        // effects that are left out
}

// effect is an effect before its row is read.
type effect struct {
	of      *Node
	id      event.ID
	further bool
	late    bool
}

// Future gives the effects of an event, and theirs, level by level. What has the event as parent is
// followed; what only waited for it is shown and not followed.
func Future(ctx context.Context, r Reader, id event.ID, o FutureOptions) (*Tree, error) {
	o = o.withDefaults()
	l := newLookup(r)
	row, err := l.row(id)
	if err != nil {
		return nil, err
	}
	t := &Tree{Root: &Node{Row: row}, Nodes: 1, damaged: &l.damaged}
	level := []*Node{t.Root}
	for depth := 1; len(level) > 0; depth++ {
		effects, err := effectsOf(ctx, l, level)
		if errors.Is(err, context.DeadlineExceeded) && ctx.Err() != nil {
			t.Cut = fmt.Sprintf("the deadline passed at level %d: what comes below is not looked at", depth)
			t.Cut = l.damaged.toldWith(t.Cut)
			return t, nil
		}
		if err != nil {
			return nil, err
		}
		level = level[:0]
		for _, e := range effects {
			if depth > o.DepthMax || len(e.of.Effects) == o.WidthMax || t.Nodes == o.NodesMax {
				e.of.More++
				t.More++
				continue
			}
			n := &Node{Further: e.further, Late: e.late}
			if n.Row, err = l.row(e.id); l.damaged.skip(err) {
				e.of.More++
				t.More++
				continue
			}
			if err != nil {
				return nil, err
			}
			n.Edge = edgeOf(n.Row, e)
			n.After = time.Duration(n.Row.Event.Time - row.Event.Time)
			e.of.Effects = append(e.of.Effects, n)
			t.Nodes++
			if !e.further {
				level = append(level, n)
			}
		}
	}
	if t.More > 0 {
		t.Cut = fmt.Sprintf("%s left out: at most %s, %s of an event and %s in all are shown", countOf(t.More, "effect is", "effects are"),
			countOf(o.DepthMax, "level", "levels"), countOf(o.WidthMax, "effect", "effects"), countOf(o.NodesMax, "event", "events"))
	}
	t.Cut = l.damaged.toldWith(t.Cut)
	return t, nil
}

// countOf gives a number with what it counts.
func countOf[N int | uint64](n N, one, many string) string {
	if n == 1 {
		return "1 " + one
	}
	return fmt.Sprint(n, " ", many)
}

// edgeOf gives the edge through which an effect was found.
func edgeOf(row *Row, e effect) event.Edge {
	edges := row.Event.Causes
	if e.late {
		edges = row.Late
	}
	for _, edge := range edges {
		if edge.ID == e.of.Row.Event.ID {
			return edge
		}
	}
	return event.Edge{}
}

// effectsOf gives the direct effects of events, in the order of ids, late ones last.
func effectsOf(ctx context.Context, l *lookup, causes []*Node) (effects []effect, err error) {
	r := l.r
	byID := make(map[event.ID]*Node, len(causes))
	var p wire.Prune
	for _, n := range causes {
		id := n.Row.Event.ID
		byID[id] = n
		p.Causes = append(p.Causes, id)
		if p.IDMin == 0 || id < p.IDMin {
			p.IDMin = id
		}
	}
	ids := make([]uint64, len(p.Causes))
	for i, id := range p.Causes {
		ids[i] = uint64(id)
	}
	var c wire.Columns
	var rows []uint16
	for _, info := range r.Blocks(p) {
		if err := ctx.Err(); err != nil {
			return nil, err
		}
		rows = rows[:0]
		for _, by := range [...]wire.ColumnSet{wire.ColParent, wire.ColFurther} {
			if rows, err = r.Find(info.Base, by, ids, rows); err != nil {
				break
			}
		}
		if err == nil {
			slices.Sort(rows)
			rows = slices.Compact(rows)
			err = r.ReadRows(info.Base, rows, wire.ColParent|wire.ColFurther, &c)
		}
		if IsDamage(err) && l.damaged.skip(blockError(info.Base, info.Rows, err)) {
			err = nil
			continue
		}
		if err != nil {
			return nil, err
		}
		for i, row := range rows {
			id := info.Base + event.ID(row)
			if n := byID[c.Parent[i]]; n != nil {
				effects = append(effects, effect{of: n, id: id})
			}
			for _, e := range c.FurtherOf(i) {
				if n := byID[e.Cause]; n != nil && e.Cause != 0 && e.Cause != c.Parent[i] {
					effects = append(effects, effect{of: n, id: id, further: true})
				}
			}
		}
	}
	for _, n := range causes {
		for _, e := range r.LateEffects(n.Row.Event.ID) {
			effects = append(effects, effect{of: n, id: e.Effect, further: true, late: true})
		}
	}
	return effects, nil
}
