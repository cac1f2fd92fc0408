package query

import (
	"context"
	"fmt"
	"slices"
	"time"

	"github.com/pastcone/pastcone/event"
	"github.com/pastcone/pastcone/internal/wire"
)

// pathSearch looks for a way of happens-before from one event to a later one. What has "from" in its
// past is, in each stream, everything from some event on; so one pass over the ids from "from" to "to"
// that keeps, for each stream, that first event and the cause through which it was reached finds a
// path, with as few changes of stream as the pass meets.
//
// Late edges run against the order of ids: where one leads out of the set, the pass is made again
// with its effect known to be in it.
type pathSearch struct {
	ctx       context.Context
	r         Reader
	from, to  event.ID
	blocksMax int           // 0: no bound
	budget    time.Duration // 0: no bound

	reached bool
	read    int
	entries map[streamKey]entry // by what the pass was in each stream
	streams *idSet
	late    map[event.ID]event.Edge // effects in the set by a late edge
	target  streamKey
}

// entry is where the set begins in a stream.
type entry struct {
	id   event.ID
	via  event.Edge // from an event of the set in another stream; ID 0: it is the start of the path
	late bool
}

// hop is a change of stream on a path.
type hop struct {
	via  event.Edge // from its ID …
	to   event.ID   // … to here
	late bool
}

func (p *pathSearch) run() error {
	began := time.Now()
	late := lateEdges(p.r)
	low, high := hull(min(p.from, p.to), max(p.from, p.to), late)
	if p.from > p.to && low == p.to && high == p.from && !slices.ContainsFunc(late, func(e wire.LateEdge) bool {
		return e.Effect >= low && e.Edge.Cause <= high
	}) {
		return nil // only a late edge leads to a smaller id
	}
	p.late = map[event.ID]event.Edge{}
	infos := p.r.Blocks(wire.Prune{IDMin: low, IDMax: high})
	for again := true; again && !p.reached; {
		p.entries = map[streamKey]entry{}
		p.streams = newIDSet(low, high+1)
		for _, info := range infos {
			if err := p.ctx.Err(); err != nil {
				return err
			}
			p.read++
			if p.blocksMax > 0 && p.read > p.blocksMax || p.budget > 0 && time.Since(began) > p.budget {
				return errBudget
			}
			if err := p.block(info); err != nil {
				return err
			}
			if p.reached {
				return nil
			}
		}
		again = p.force(late)
	}
	return nil
}

func (p *pathSearch) force(late []wire.LateEdge) (changed bool) {
	for _, e := range late {
		if _, forced := p.late[e.Effect]; !forced && p.streams.has(e.Edge.Cause) && !p.streams.has(e.Effect) {
			p.late[e.Effect] = publicEdge(e.Edge)
			changed = true
		}
	}
	return changed
}

// block takes the rows of a block into the set.
func (p *pathSearch) block(info wire.BlockInfo) error {
	var c wire.Columns
	if err := p.r.Read(info.Base, strandColumns, &c); err != nil {
		return err
	}
	for i := range c.Len {
		id := info.Base + event.ID(i) // #nosec G115 -- an index
		key := streamKey{c.Source[i], c.Stream[i]}
		_, in := p.entries[key]
		if !in {
			var e entry
			if e, in = p.enter(&c, i, id); in {
				p.entries[key] = e
			}
		}
		if !in {
			continue
		}
		p.streams.add(id)
		if id == p.to {
			p.reached, p.target = id != p.from, key
			return nil
		}
	}
	return nil
}

// enter says whether a row begins the set in its stream, and how.
func (p *pathSearch) enter(c *wire.Columns, i int, id event.ID) (entry, bool) {
	if id == p.from {
		return entry{id: id}, true
	}
	if edge, forced := p.late[id]; forced {
		return entry{id, edge, true}, true
	}
	if parent := c.Parent[i]; parent != 0 && p.streams.has(parent) {
		return entry{id: id, via: publicEdge(wire.Edge{Cause: parent, P: c.ParentP[i], Kind: c.ParentKind[i], Conf: c.ParentConf[i]})}, true
	}
	for _, e := range c.FurtherOf(i) {
		if e.Cause != 0 && p.streams.has(e.Cause) {
			return entry{id: id, via: publicEdge(e)}, true
		}
	}
	return entry{}, false
}

// hops gives the path that was found: the changes of stream from "from" to "to", in order. streamOf
// gives the stream of an event.
func (p *pathSearch) hops(streamOf func(event.ID) (streamKey, error)) ([]hop, error) {
	var hops []hop
	for key := p.target; ; {
		e := p.entries[key]
		if e.via.ID == 0 {
			break
		}
		hops = append(hops, hop{e.via, e.id, e.late})
		if len(hops) > len(p.entries) {
			return nil, fmt.Errorf("the path to event %d goes in a circle at event %d: %w", p.to, e.id, wire.ErrCorrupt)
		}
		var err error
		if key, err = streamOf(e.via.ID); err != nil {
			return nil, err
		}
	}
	for i, j := 0, len(hops)-1; i < j; i, j = i+1, j-1 {
		hops[i], hops[j] = hops[j], hops[i]
	}
	return hops, nil
}
