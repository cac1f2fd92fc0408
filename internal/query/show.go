package query

import (
	"context"
	"fmt"

	"github.com/pastcone/pastcone/event"
	"github.com/pastcone/pastcone/internal/wire"
)

// Detail answers show: everything about an event.
type Detail struct {
	Row     *Row
	Causes  []Cause // the parent's first
	Effects []*Node // in the order of ids
	More    uint64  // effects that are left out
	Before  []*Row  // the events before it in its stream, the oldest first
	After   []*Row  // the events behind it in its stream
	Founder *Row    // of its correlation; nil when it is gone by retention, or when it is the event itself
	Took    *Row    // of a call: its return; nil: not found
	Cut     string  // what was not looked at
}

// ShowOptions bound an answer to show. The zero value is good.
type ShowOptions struct {
	EffectsMax    int // 0: 16
	NeighboursMax int // on each side; 0: 3
	BlocksMax     int // most blocks read on each side to find neighbours; 0: 64
}

// Show gives everything about an event.
func Show(ctx context.Context, r Reader, id event.ID, o ShowOptions) (*Detail, error) {
	if o.EffectsMax == 0 {
		o.EffectsMax = 16
	}
	if o.NeighboursMax == 0 {
		o.NeighboursMax = 3
	}
	if o.BlocksMax == 0 {
		o.BlocksMax = 64
	}
	l := newLookup(r)
	row, err := l.row(id)
	if err != nil {
		return nil, err
	}
	d := &Detail{Row: row}
	for i, edges := range [][]event.Edge{row.Event.Causes, row.Late} {
		for _, edge := range edges {
			c, err := l.cause(edge, row, i == 1)
			if err != nil {
				return nil, err
			}
			d.Causes = append(d.Causes, c)
		}
	}
	if c := row.Event.Correlation; c != id && c >= l.first && c < l.end {
		if d.Founder, err = l.row(c); err != nil && !l.damaged.skip(err) {
			return nil, err
		}
	}
	t, err := Future(ctx, r, id, FutureOptions{DepthMax: 1, WidthMax: o.EffectsMax})
	if err != nil {
		return nil, err
	}
	if damage := t.damaged.first; damage != nil {
		l.damaged.skip(damage)
	}
	d.Effects, d.More = t.Root.Effects, t.Root.More
	for _, e := range d.Effects {
		if e.Edge.Kind == event.EdgeReturn && !e.Further {
			d.Took = e.Row
		}
	}
	n := neighbours{ctx: ctx, r: r, l: l, of: l.keyOf(row), most: o.NeighboursMax, blocksMax: o.BlocksMax}
	if d.Before, err = n.look(wire.Prune{IDMax: id - 1}, true); err != nil {
		return nil, err
	}
	if d.After, err = n.look(wire.Prune{IDMin: id + 1}, false); err != nil {
		return nil, err
	}
	if n.cut {
		d.Cut = "neighbours in the stream are only looked for in " + countOf(o.BlocksMax, "block", "blocks") + " on each side"
	}
	d.Cut = l.damaged.toldWith(d.Cut)
	return d, nil
}

// neighbours finds the nearest events of a stream.
type neighbours struct {
	ctx       context.Context
	r         Reader
	l         *lookup
	of        streamKey
	most      int
	blocksMax int
	cut       bool
}

// look gives the nearest events of the stream in the range, in the order of ids.
func (n *neighbours) look(p wire.Prune, backwards bool) (rows []*Row, err error) {
	if backwards && p.IDMax == 0 {
		return nil, nil // 0 would be no bound
	}
	p.Streams = []wire.Name{n.of.stream}
	infos := n.r.Blocks(p)
	if backwards {
		reverse(infos)
	}
	if len(infos) > n.blocksMax {
		infos, n.cut = infos[:n.blocksMax], true
	}
	var c wire.Columns
	var ids []event.ID
	for _, info := range infos {
		if err := n.ctx.Err(); err != nil {
			return nil, err
		}
		err := n.r.Read(info.Base, wire.ColStream|wire.ColSource, &c)
		if IsDamage(err) && n.l.damaged.skip(blockError(info.Base, info.Rows, err)) {
			continue
		}
		if err != nil {
			return nil, err
		}
		for k := range c.Len {
			i := k
			if backwards {
				i = c.Len - 1 - k
			}
			id := info.Base + event.ID(i) // #nosec G115 -- an index
			if id < p.IDMin || p.IDMax != 0 && id > p.IDMax || c.Stream[i] != n.of.stream || c.Source[i] != n.of.source {
				continue
			}
			if ids = append(ids, id); len(ids) == n.most {
				break
			}
		}
		if len(ids) == n.most {
			break
		}
	}
	if len(ids) == n.most {
		n.cut = false
	}
	if backwards {
		reverse(ids)
	}
	for _, id := range ids {
		row, err := n.l.row(id)
		if n.l.damaged.skip(err) {
			continue
		}
		if err != nil {
			return nil, err
		}
		rows = append(rows, row)
	}
	return rows, nil
}

// Correlation gives all events of the group that an event belongs to, in the order of ids.
func Correlation(ctx context.Context, r Reader, id event.ID, o Options, yield func(*Hit) error) (Summary, error) {
	row, err := newLookup(r).row(id)
	if err != nil {
		return Summary{}, err
	}
	q, err := Parse(fmt.Sprintf("{ correlation = %d }", row.Event.Correlation))
	if err != nil {
		return Summary{}, err
	}
	return Run(ctx, r, q, o, yield)
}
