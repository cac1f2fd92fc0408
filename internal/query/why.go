package query

import (
	"cmp"
	"context"
	"slices"
	"time"

	"github.com/pastcone/pastcone/event"
	"github.com/pastcone/pastcone/internal/wire"
)

// WhyOptions bound an answer to why. The zero value is good.
type WhyOptions struct {
	DepthMax  int // most steps, counted from the event; 0: 1,000
	WaitsMax  int // most waits shown with a step; 0: 3
	BlocksMax int // most blocks read to find waits and returns; 0: 64

	// Meanwhile asks what the rest of the same work was doing. Where somebody gave up waiting, that is told without being asked.
	Meanwhile bool
}

func (o WhyOptions) withDefaults() WhyOptions {
	o.DepthMax = cmp.Or(o.DepthMax, 1000)
	o.WaitsMax = cmp.Or(o.WaitsMax, 3)
	o.BlocksMax = cmp.Or(o.BlocksMax, 64)
	return o
}

// Chain answers why: the parents of an event, root first.
type Chain struct {
	Steps  []Step
	Top    Top    // why it begins where it begins
	First  *Row   // where the error came up that this event passes on; nil where that is here, and of other kinds
	Errors []*Row // where other errors of the same correlation in the event's past came up, the latest first
	Cut    string // what was not looked at, if anything

	Meanwhile *Meanwhile // what the same work was doing in other streams; nil: not asked
	Asked     *Row       // the event that was asked about, where its First is explained in its place
}

// Top says why a chain begins where it begins.
type Top uint8

// The beginnings of chains.
const (
	TopRoot      Top = iota // it has no parent
	TopMissing              // its parent existed, and is missing
	TopRetention            // its parent is gone by retention
	TopDepth                // there is more above: DepthMax was reached
	TopDamaged              // its parent is in a part that is damaged
)

// String gives the name that answers in JSON use.
func (t Top) String() string {
	return [...]string{"root", "missing", "retention", "depth", "damaged"}[t]
}

// Event gives the event that was asked about.
func (c *Chain) Event() *Row { return c.Steps[len(c.Steps)-1].Row }

// Step is one event of a chain.
type Step struct {
	Row         *Row
	Edge        event.Edge    // from the step before; of the first step the edge to what is missing
	Late        bool          // the edge came late
	SinceRoot   time.Duration // since the first step
	SinceParent time.Duration // since the step before
	Crosses     bool          // the step before is in another stream
	Founds      bool          // it founded its correlation
	Took        time.Duration // of a call: until its return
	Return      event.ID      // that return; 0: not found
	Waits       []Wait        // what its stream had waited for since the step before, the longest first
	WaitsMore   int           // how many further ones
	WaitsRest   time.Duration // and how long they took
}

// Wait is an event at which a stream had waited for another one.
type Wait struct {
	Row    *Row          // the event that ended the wait
	For    Cause         // what it had waited for
	Waited time.Duration // since the event before it in its stream; 0: unknown
}

// Why gives the chain of causes of an event, root first. It follows parents, and shows with each step
// what its stream had waited for since the step before: the further edges.
func Why(ctx context.Context, r Reader, id event.ID, o WhyOptions) (*Chain, error) {
	o = o.withDefaults()
	l := newLookup(r)
	c := &Chain{}
	for at := id; ; {
		if err := ctx.Err(); err != nil {
			return nil, err
		}
		if err := l.chainAhead(at, o.DepthMax-len(c.Steps)); err != nil {
			return nil, err
		}
		row, err := l.row(at)
		if at != id && l.damaged.skip(err) {
			c.Top = TopDamaged
			break
		}
		if err != nil {
			return nil, err
		}
		edge, late := parentEdge(row)
		c.Steps = append(c.Steps, Step{Row: row, Edge: edge, Late: late, Founds: row.Event.Correlation == row.Event.ID})
		if edge.ID == 0 {
			if edge.Kind != event.EdgeInvalid {
				c.Top = TopMissing
			}
			break
		}
		if edge.ID < l.first {
			c.Top = TopRetention
			break
		}
		if len(c.Steps) == o.DepthMax {
			c.Top = TopDepth
			break
		}
		at = edge.ID
	}
	slices.Reverse(c.Steps)
	for i := range c.Steps {
		s := &c.Steps[i]
		s.SinceRoot = time.Duration(s.Row.Event.Time - c.Steps[0].Row.Event.Time)
		if i > 0 {
			before := c.Steps[i-1].Row
			s.SinceParent = time.Duration(s.Row.Event.Time - before.Event.Time)
			s.Crosses = before.key() != s.Row.key()
		}
	}
	w := whyScan{ctx: ctx, r: r, l: l, o: o, c: c}
	if err := w.addWaits(); err != nil {
		return nil, err
	}
	if err := w.addReturns(); err != nil {
		return nil, err
	}
	if err := w.addErrors(); err != nil {
		return nil, err
	}
	if err := w.addMeanwhile(); err != nil {
		return nil, err
	}
	c.Cut = l.damaged.toldWith(c.Cut)
	return c, nil
}

// whyScan adds to a chain what takes a look at blocks.
type whyScan struct {
	ctx context.Context
	r   Reader
	l   *lookup
	o   WhyOptions
	c   *Chain
}

// stretch is what a stream did between two steps of a chain.
type stretch struct {
	low, high event.ID // without low
	step      int
}

// blocks gives the last blocks that p keeps, as many as may be read.
func (w *whyScan) blocks(p wire.Prune, what string) []wire.BlockInfo {
	infos := w.r.Blocks(p)
	if n := len(infos) - w.o.BlocksMax; n > 0 {
		infos = infos[n:]
		w.c.Cut = what + " are only looked for from event " + infos[0].Base.String() + " on"
	}
	return infos
}

// found is a wait before its rows are read.
type foundWait struct {
	id     event.ID
	waited time.Duration
}

// addWaits finds, for each step, the events of its stream since the step before that had a further
// cause, and belong to the same work: to the event's correlation. Of its founder, and above, only the steps themselves are
// looked at: what a driver waited for in all its life is no reason for one job.
func (w *whyScan) addWaits() error {
	steps := w.c.Steps
	waits := make([][]foundWait, len(steps))
	stretches := map[streamKey][]stretch{}
	var p wire.Prune
	correlation := w.c.Event().Event.Correlation
	for i := range steps {
		e := &steps[i].Row.Event
		edges, _ := further(steps[i].Row)
		own := len(edges) > 0
		if i > 0 && !steps[i].Crosses && e.Correlation == correlation && steps[i-1].Row.Event.Correlation == correlation && steps[i-1].Row.Event.ID < e.ID {
			name, known := w.l.table.FindName(e.Stream)
			if known {
				key := streamKey{steps[i].Row.Source, name}
				if stretches[key] == nil {
					p.Streams = append(p.Streams, name)
				}
				low := steps[i-1].Row.Event.ID
				stretches[key] = append(stretches[key], stretch{low, e.ID, i})
				if p.IDMin == 0 || low < p.IDMin {
					p.IDMin = low
				}
				p.IDMax = max(p.IDMax, e.ID)
				own = false // it is in the stretch
			}
		}
		if own {
			waits[i] = append(waits[i], foundWait{e.ID, 0})
		}
	}
	if len(stretches) > 0 {
		if err := w.scanWaits(p, stretches, waits); err != nil {
			return err
		}
	}
	for i := range steps {
		if err := w.readWaits(&steps[i], waits[i]); err != nil {
			return err
		}
	}
	return nil
}

// waiter is a stream of the chain, with its stretches.
type waiter struct {
	stretches []stretch
	last      int64 // time of its last event before the one at hand
	known     bool
}

// scanWaits looks through the blocks for the streams of the chain. These are few, in a block of many: only their rows are read.
func (w *whyScan) scanWaits(p wire.Prune, stretches map[streamKey][]stretch, waits [][]foundWait) error {
	waiters := make(map[streamKey]*waiter, len(stretches))
	var names []uint64
	for key, in := range stretches {
		waiters[key] = &waiter{stretches: in}
		names = append(names, uint64(key.stream))
	}
	var c wire.Columns
	var rows []uint16
	for _, info := range w.blocks(p, "waits") {
		if err := w.ctx.Err(); err != nil {
			return err
		}
		var err error
		if rows, err = w.r.Find(info.Base, wire.ColStream, names, rows[:0]); err == nil {
			err = w.r.ReadRows(info.Base, rows, wire.ColStream|wire.ColSource|wire.ColTime|wire.ColKind|wire.ColCorrelation|wire.ColParent|wire.ColFurther, &c)
		}
		if IsDamage(err) && w.l.damaged.skip(blockError(info.Base, info.Rows, err)) {
			continue
		}
		if err != nil {
			return err
		}
		for i, row := range rows {
			id := info.Base + event.ID(row)
			who := waiters[streamKey{c.Source[i], c.Stream[i]}]
			if who == nil {
				continue
			}
			before, known, now := who.last, who.known, c.Time[i]
			who.last, who.known = now, true
			if c.Correlation[i] != w.c.Event().Event.Correlation { // on behalf of other work
				continue
			}
			reply := c.ParentKind[i] == event.EdgeMessage && c.Kind[i] == event.KindReceive
			if len(c.FurtherOf(i)) == 0 && !reply && len(w.r.LateCauses(id)) == 0 {
				continue
			}
			for _, s := range who.stretches {
				if id > s.low && id <= s.high {
					f := foundWait{id: id}
					if known {
						f.waited = time.Duration(now - before)
					}
					waits[s.step] = append(waits[s.step], f)
				}
			}
		}
	}
	return nil
}

// readWaits keeps the longest waits of a step and reads their rows.
func (w *whyScan) readWaits(s *Step, found []foundWait) error {
	// The step itself comes first: it is what the chain is about.
	slices.SortStableFunc(found, func(a, b foundWait) int {
		if self := s.Row.Event.ID; (a.id == self) != (b.id == self) {
			if a.id == self {
				return -1
			}
			return 1
		}
		return cmp.Compare(b.waited, a.waited)
	})
	for i, f := range found {
		if len(s.Waits) >= w.o.WaitsMax || i >= waitsTried*w.o.WaitsMax {
			s.WaitsMore++
			s.WaitsRest += f.waited
			continue
		}
		row, err := w.l.row(f.id)
		if w.l.damaged.skip(err) {
			continue
		}
		if err != nil {
			return err
		}
		edges, late := further(row)
		if parent, parentLate := parentEdge(row); parent.Kind == event.EdgeMessage && row.Event.Kind == event.KindReceive && row != s.Row {
			// The chain goes on from the call, as that of a return does: what the call had waited for was the message.
			edges, late = append([]event.Edge{parent}, edges...), late+1
			if parentLate {
				late = 0
			}
		}
		for n, edge := range edges {
			if n == w.o.WaitsMax {
				s.WaitsMore += len(edges) - n
				break
			}
			cause, err := w.l.cause(edge, row, n >= late)
			if err != nil {
				return err
			}
			if cause.heldUp(row, f.waited) && !s.ended(&cause) {
				s.Waits = append(s.Waits, Wait{row, cause, f.waited})
			}
		}
	}
	return nil
}

// ended says whether that end of a channel is a wait of the step already: who asks a second time finds it at once.
func (s *Step) ended(c *Cause) bool {
	return c.Edge.Kind == event.EdgeClose && slices.ContainsFunc(s.Waits, func(w Wait) bool { return w.For.Edge == c.Edge })
}

// heldUp says whether a further cause can have made its effect wait. A lock that the stream itself had let go was free, and so was
// one that another had let go before the time that the stream seems to have waited: nobody was waited for.
func (c *Cause) heldUp(effect *Row, waited time.Duration) bool {
	if c.Row == nil {
		return true
	}
	return c.Row.key() != effect.key() && (c.Edge.Kind != event.EdgeLock || waited == 0 || c.Before <= waited)
}

// waitsTried is how many times as many waits are looked at as are shown.
const waitsTried = 8

// addReturns finds how long the calls of the chain ran.
func (w *whyScan) addReturns() error {
	calls := map[event.ID]*Step{}
	p := wire.Prune{Kinds: 1 << event.KindReturn}
	for i := range w.c.Steps {
		s := &w.c.Steps[i]
		// Calls of the background run for as long as the program: they are not waited for.
		if s.Row.Event.Kind == event.KindCall && !s.Row.Event.Background {
			calls[s.Row.Event.ID] = s
			p.Causes = append(p.Causes, s.Row.Event.ID)
		}
	}
	if len(calls) == 0 {
		return nil
	}
	return w.scanReturns(calls, p)
}

// scanReturns looks for the returns of calls, in stretches of ids that get longer: a return comes soon, if at all, and to ask
// every later block about every call takes longer than to read the few that follow.
func (w *whyScan) scanReturns(calls map[event.ID]*Step, p wire.Prune) error {
	ids := make([]uint64, len(p.Causes))
	for i, id := range p.Causes {
		ids[i] = uint64(id)
	}
	var rows []uint16
	_, end := w.r.Range()
	read := 0
	var c wire.Columns
	for low, span := p.Causes[0], event.ID(16*wire.BlockRowsMax); low < end; low, span = p.IDMax+1, 4*span {
		p.IDMin, p.IDMax = low, low+span
		for _, info := range w.r.Blocks(p) {
			if err := w.ctx.Err(); err != nil {
				return err
			}
			if info.Base < low && low != p.Causes[0] {
				continue // read with the stretch before
			}
			if read++; read > w.o.BlocksMax {
				return nil
			}
			var err error
			if rows, err = w.r.Find(info.Base, wire.ColParent, ids, rows[:0]); err == nil {
				err = w.r.ReadRows(info.Base, rows, wire.ColKind|wire.ColParent|wire.ColDuration, &c)
			}
			if IsDamage(err) && w.l.damaged.skip(blockError(info.Base, info.Rows, err)) {
				continue
			}
			if err != nil {
				return err
			}
			for i, row := range rows {
				if c.Kind[i] != event.KindReturn || c.ParentKind[i] != event.EdgeReturn {
					continue
				}
				if s := calls[c.Parent[i]]; s != nil && s.Return == 0 {
					s.Return, s.Took = info.Base+event.ID(row), time.Duration(c.Duration[i])
					delete(calls, c.Parent[i])
				}
			}
			if len(calls) == 0 {
				return nil
			}
		}
	}
	return nil
}
