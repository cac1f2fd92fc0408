package query

import (
	"errors"
	"time"

	"github.com/pastcone/pastcone/event"
	"github.com/pastcone/pastcone/internal/wire"
)

// The causal operators are answered exactly, for all events at once. Happens-before is the order within
// each stream, plus the edges, closed transitively; ids ascend in both, late edges aside. So one pass in
// the order of ids finds everything that has an event of a set R in its past:
//
//  1. Workers turn blocks into strands, in parallel: the streams of the block, the stream of each row,
//     and the edges that the order within the block's streams does not imply already.
//  2. One goroutine takes the strands in the order of ids. A row has R in its past if its stream has met R
//     before, or if a cause is in R or has R in its past. If so, or if the row is in R itself, its stream
//     has met R from here on.
//  3. Late edges run against the order. Where the cause of one is in R or has R in its past and its effect is not
//     known to, the effect is forced and the pass is made again, until nothing changes.
//
// What has R in its future is the same, backwards: a row passes on to its causes instead of asking them.
//
// Invariants: the pass only ever adds to the set, so what is in it is right even when it was cut off; a
// stream is kept only once it has met R.

func lateEdges(r Reader) (all []wire.LateEdge) {
	r.Late(func(e wire.LateEdge) bool {
		if e.Edge.Cause != 0 {
			all = append(all, e)
		}
		return true
	})
	return all
}

// spans plans a set. negated says whether more members of it make the answer smaller.
func (x *run) spans(s spans, negated bool) (planned, error) {
	switch s := s.(type) {
	case *spansNot:
		p, err := x.spans(s.x, !negated)
		return planned{noneOf{p.pred}, everything()}, err
	case *spansLogic:
		left, err := x.spans(s.x, negated)
		if err != nil {
			return left, err
		}
		right, err := x.spans(s.y, negated)
		return join(s.or, left, right), err
	case *spansCausal:
		return x.causal(s, negated)
	}
	return x.condition(s.(*spansFilter).cond), nil
}

func (x *run) causal(s *spansCausal, negated bool) (planned, error) {
	none := planned{never{}, bound{never: true}}
	left, err := x.spans(s.x, negated)
	if err != nil {
		return none, err
	}
	right, err := x.spans(s.y, negated != s.not)
	if err != nil {
		return none, err
	}
	if n := idSetBytes(x.first, x.end); n > x.o.BytesMax/4 {
		x.cut("%s over %d events takes %d MiB, at most %d are allowed: ask about a shorter recording", s.op, x.end-x.first, 4*n>>20, x.o.BytesMax>>20)
		x.void = true
		return none, nil
	}
	set, complete, err := x.related(s.op, left, right)
	if err != nil {
		return none, err
	}
	// A set that lacks what a damaged block would have brought holds nothing wrong, but is not complete.
	complete = complete && len(x.damaged.blocks) == 0
	if !complete && negated != s.not {
		x.void = true // some that are given would be wrong
	}
	if s.not {
		return join(false, left, planned{noneOf{inSet{set}}, everything()}), nil
	}
	b := everything()
	if low, high, ok := set.bounds(); ok {
		b.idMin, b.idMax = int64(low), int64(high) // #nosec G115 -- ids are far below 2^63
	} else {
		b.never = true
	}
	return join(false, left, planned{inSet{set}, b}), nil
}

// errBudget says that a pass took longer than it may.
var errBudget = errors.New("causal budget")

// related gives the events that stand in the relation to an event of right; events outside of left do
// not matter. A set that is not complete lacks members.
func (x *run) related(op causalOp, left, right planned) (set *idSet, complete bool, err error) {
	began := time.Now()
	defer func() {
		if errors.Is(err, errBudget) {
			x.cut("%s took longer than its budget of %s: narrow the recording by id, or allow more", op, x.o.CausalBudget)
			complete, err = false, nil
		}
	}()
	over := func() error {
		if time.Since(began) > x.o.CausalBudget {
			return errBudget
		}
		return nil
	}
	late := lateEdges(x.r)
	if op == isCauseOf {
		return x.directCauses(right, late, over)
	}
	members, complete, err := x.members(right, over)
	if err != nil || !complete {
		return newIDSet(x.first, x.first), false, err // what was found of them says nothing yet
	}
	if op == isEffectOf {
		return x.directEffects(left, members, late, over)
	}
	c := cone{x: x, of: members, set: newIDSet(x.first, x.first), backwards: op == hasInFuture, late: late, over: over}
	complete, err = c.close(left.bound)
	return c.set, complete, err
}

// members gives the matches as a set.
func (x *run) members(p planned, over func() error) (*idSet, bool, error) {
	set := newIDSet(x.first, x.end)
	type rowsOf struct {
		base event.ID
		rows []uint16
	}
	complete, err := scan(x, x.blocks(p.bound), func(v *view) (rowsOf, error) {
		rows, err := x.match(v, p)
		return rowsOf{v.base, append([]uint16(nil), rows...)}, err
	}, func(r rowsOf) error {
		for _, i := range r.rows {
			set.add(r.base + event.ID(i))
		}
		return over()
	})
	return set, complete, err
}

// directCauses gives the causes of the matches.
func (x *run) directCauses(p planned, late []wire.LateEdge, over func() error) (*idSet, bool, error) {
	set := newIDSet(x.first, x.end)
	effects := newIDSet(x.first, x.end)
	type causesOf struct{ causes, rows []event.ID }
	complete, err := scan(x, x.blocks(p.bound), func(v *view) (c causesOf, err error) {
		rows, err := x.match(v, p)
		if err != nil || len(rows) == 0 {
			return c, err
		}
		if err := v.load(wire.ColParent | wire.ColFurther); err != nil {
			return c, err
		}
		for _, i := range rows {
			eachCause(&v.c, int(i), func(cause event.ID) { c.causes = append(c.causes, cause) })
			if len(late) > 0 {
				c.rows = append(c.rows, v.id(i))
			}
		}
		return c, nil
	}, func(c causesOf) error {
		for _, id := range c.causes {
			set.add(id)
		}
		for _, id := range c.rows {
			effects.add(id)
		}
		return over()
	})
	for _, e := range late {
		if effects.has(e.Effect) {
			set.add(e.Edge.Cause)
		}
	}
	return set, complete, err
}

// directEffects gives the events of left that have a member as cause.
func (x *run) directEffects(left planned, members *idSet, late []wire.LateEdge, over func() error) (*idSet, bool, error) {
	set := newIDSet(x.first, x.end)
	complete, err := scan(x, x.blocks(left.bound), func(v *view) (ids []event.ID, err error) {
		rows, err := x.match(v, left)
		if err != nil || len(rows) == 0 {
			return nil, err
		}
		if err := v.load(wire.ColParent | wire.ColFurther); err != nil {
			return nil, err
		}
		for _, i := range rows {
			hit := false
			eachCause(&v.c, int(i), func(cause event.ID) { hit = hit || members.has(cause) })
			if hit {
				ids = append(ids, v.id(i))
			}
		}
		return ids, nil
	}, func(ids []event.ID) error {
		for _, id := range ids {
			set.add(id)
		}
		return over()
	})
	for _, e := range late {
		if members.has(e.Edge.Cause) {
			set.add(e.Effect)
		}
	}
	return set, complete, err
}

// eachCause gives the parent and the further causes of a row, as far as they are known.
func eachCause(c *wire.Columns, i int, do func(event.ID)) {
	if p := c.Parent[i]; p != 0 {
		do(p)
	}
	for _, e := range c.FurtherOf(i) {
		if e.Cause != 0 {
			do(e.Cause)
		}
	}
}

// streamKey tells streams apart: each source has its own.
type streamKey struct {
	source wire.SourceID
	stream wire.Name
}

// strand is a block as a pass needs it.
type strand struct {
	base    event.ID
	streams []streamKey
	of      []uint16 // row → its stream, an index of streams
	edges   []strandEdge
}

// strandEdge is an edge that the order within the block does not imply.
type strandEdge struct {
	row   uint16
	cause event.ID
}

const strandColumns = wire.ColStream | wire.ColSource | wire.ColParent | wire.ColFurther

// streamIndex numbers the streams of a block: open addressing, at most half full, emptied by counting up
// the round. A map costs three times as much here.
type streamIndex struct {
	slots [2 * wire.BlockRowsMax]streamSlot
	round uint32
}

type streamSlot struct {
	key   streamKey
	round uint32
	at    uint16
}

// number gives the number of a stream; next is the one that a new stream gets.
func (x *streamIndex) number(key streamKey, next int) (at uint16, fresh bool) {
	h := (uint64(key.stream) ^ uint64(key.source)<<56) * 0x9e3779b97f4a7c15
	for i := h >> 50; ; i = (i + 1) % uint64(len(x.slots)) {
		s := &x.slots[i]
		if s.round != x.round {
			*s = streamSlot{key, x.round, uint16(next)} // #nosec G115 -- at most one a row
			return s.at, true
		}
		if s.key == key {
			return s.at, false
		}
	}
}

// newStrand makes the strand of the block that the view is on.
func newStrand(v *view) (*strand, error) {
	if err := v.load(strandColumns); err != nil {
		return nil, err
	}
	if v.streams == nil {
		v.streams = &streamIndex{}
	}
	if v.streams.round++; v.streams.round == 0 { // after 2^32 blocks
		*v.streams = streamIndex{round: 1}
	}
	s := &strand{base: v.base, of: make([]uint16, v.rows), edges: make([]strandEdge, 0, v.rows/4)}
	c := &v.c
	var last streamKey
	var at uint16
	edgesFrom := uint32(0)
	for i := range s.of {
		key := streamKey{c.Source[i], c.Stream[i]}
		if i == 0 || key != last {
			var fresh bool
			if at, fresh = v.streams.number(key, len(s.streams)); fresh {
				s.streams = append(s.streams, key)
			}
			last = key
		}
		s.of[i] = at
		if parent := c.Parent[i]; parent != 0 && !s.implies(parent, i, at) {
			s.edges = append(s.edges, strandEdge{uint16(i), parent}) // #nosec G115 -- a row
		}
		edgesTo := c.EdgeEnd[i]
		for ; edgesFrom < edgesTo; edgesFrom++ {
			if cause := c.Edges[edgesFrom].Cause; cause != 0 && !s.implies(cause, i, at) {
				s.edges = append(s.edges, strandEdge{uint16(i), cause}) // #nosec G115 -- a row
			}
		}
	}
	return s, nil
}

// implies says whether the order of a stream within the block implies an edge to row i.
func (s *strand) implies(cause event.ID, i int, at uint16) bool {
	d := uint64(cause - s.base)           // huge for what lies before the block
	return d < uint64(i) && s.of[d] == at // #nosec G115 -- an index
}

// cone is one closure: what has a member in its past, or in its future.
type cone struct {
	x         *run
	of        *idSet // the members
	set       *idSet // what has one
	backwards bool
	late      []wire.LateEdge
	over      func() error
	forced    *idSet // by late edges

	// For a path: how each stream was entered, and the event at which to stop.
	entries map[streamKey]entry
	target  event.ID
}

// entry is how a stream came into the closure. A later pass can find an earlier entry; one of an earlier pass
// stays good, since the set only grows.
//
// It is the first event of a stream that has the member in its past, and the cause through which:
// 0 for the member itself and for the effect of a late edge.
type entry struct{ id, via event.ID }

// hull widens a range of ids by what late edges lead to: every path between two events of the range, and
// of the late edges on it, stays within the hull.
func hull(low, high event.ID, late []wire.LateEdge) (event.ID, event.ID) {
	for changed := true; changed; {
		changed = false
		for _, e := range late {
			if e.Edge.Cause < low || e.Effect > high {
				continue
			}
			if e.Effect < low {
				low, changed = e.Effect, true
			}
			if e.Edge.Cause > high {
				high, changed = e.Edge.Cause, true
			}
		}
	}
	return low, high
}

// close makes passes until nothing changes. Events outside of wanted do not matter.
func (c *cone) close(wanted bound) (complete bool, err error) {
	low, high, any := c.of.bounds()
	if !any {
		return true, nil
	}
	if wanted.empty() {
		return true, nil
	}
	// From the members to the wanted; with late edges in play, either can have the smaller ids.
	last := c.x.end - 1
	if c.backwards {
		low = clampID(wanted.idMin, c.x.first, last)
	} else {
		high = clampID(wanted.idMax, c.x.first, last)
	}
	if len(c.late) == 0 && low > high {
		return true, nil
	}
	low, high = hull(min(low, high), max(low, high), c.late)
	c.set = newIDSet(low, high+1)
	p := wire.Prune{IDMin: low, IDMax: high}
	for again := true; again; {
		if complete, err = c.pass(p); err != nil || !complete {
			return false, err
		}
		again = c.force()
	}
	return true, nil
}

// clampID brings a bound into a range of ids.
func clampID(n int64, low, high event.ID) event.ID {
	if n < int64(low) { // #nosec G115 -- ids are far below 2^63
		return low
	}
	return min(event.ID(n), high) // #nosec G115 -- positive here
}

// force applies the late edges, and says whether one of them changed anything.
func (c *cone) force() (changed bool) {
	for _, e := range c.late {
		from, to := e.Edge.Cause, e.Effect
		if c.backwards {
			from, to = to, from
		}
		if (c.of.has(from) || c.set.has(from)) && !c.set.has(to) {
			if c.forced == nil {
				c.forced = &idSet{first: c.set.first, words: make([]uint64, len(c.set.words))}
			}
			if !c.forced.has(to) && c.set.covers(to) {
				c.forced.add(to)
				changed = true
			}
		}
	}
	return changed
}

// pass goes over the blocks once.
func (c *cone) pass(p wire.Prune) (complete bool, err error) {
	infos := c.x.r.Blocks(p)
	if c.backwards {
		reverse(infos)
	}
	met := map[streamKey]bool{}
	var local []bool
	return scan(c.x, infos, newStrand, func(s *strand) error {
		local = local[:0]
		for _, key := range s.streams {
			local = append(local, met[key])
		}
		if c.backwards {
			c.backward(s, local)
		} else {
			c.forward(s, local)
		}
		for i, key := range s.streams {
			if local[i] {
				met[key] = true
			}
		}
		if c.target != 0 && c.set.has(c.target) {
			return ErrStop
		}
		if int64(len(met))*metBytes > c.x.o.BytesMax/2 {
			return errBudget
		}
		return c.over()
	})
}

// metBytes is what a stream costs in the map of those that have met a member.
const metBytes = 48

func (c *cone) forward(s *strand, met []bool) {
	edges := s.edges
	for i, at := range s.of {
		id := s.base + event.ID(i) // #nosec G115 -- a row
		has := met[at] || c.forced != nil && c.forced.has(id)
		via := event.ID(0)
		for len(edges) > 0 && int(edges[0].row) == i {
			if cause := edges[0].cause; !has && (c.of.has(cause) || c.set.has(cause)) {
				has, via = true, cause
			}
			edges = edges[1:]
		}
		if has {
			c.set.add(id)
		} else if !c.of.has(id) {
			continue
		}
		if !met[at] {
			met[at] = true
			if c.entries != nil {
				c.entries[s.streams[at]] = entry{id, via}
			}
		}
	}
}

func (c *cone) backward(s *strand, met []bool) {
	edges := s.edges
	for i := len(s.of) - 1; i >= 0; i-- {
		at, id := s.of[i], s.base+event.ID(i) // #nosec G115 -- a row
		has := met[at] || c.set.has(id) || c.forced != nil && c.forced.has(id)
		if has {
			c.set.add(id)
		}
		has = has || c.of.has(id)
		if has {
			met[at] = true
		}
		for n := len(edges) - 1; n >= 0 && int(edges[n].row) == i; n-- {
			if has {
				c.set.add(edges[n].cause)
			}
			edges = edges[:n]
		}
	}
}
