package query

import (
	"context"
	"errors"
	"fmt"
	"runtime"
	"time"

	"github.com/pastcone/pastcone/event"
	"github.com/pastcone/pastcone/internal/wire"
)

// Options bound what a query may take. The zero value is good.
type Options struct {
	Workers      int                      // blocks worked on at the same time; 0: one for each processor
	Sources      map[wire.SourceID]string // names of the sources
	Descending   bool                     // newest first, where the query has no sort of its own
	HitsMax      int                      // most hits given, whatever the query says; 0: no bound
	SortMax      int                      // most hits kept by a sort; 0: 10,000
	GroupsMax    int                      // most groups counted apart; 0: 100,000
	BytesMax     int64                    // most memory for groups, quantiles and sets; 0: 256 MiB
	CausalBudget time.Duration            // for each pass of >> << > <; 0: 1 s
	OnDamage     func(told string)        // called at the end of a pass that has left damaged parts out; may be nil
}

func (o Options) withDefaults() Options {
	set := func(n *int, otherwise int) {
		if *n <= 0 {
			*n = otherwise
		}
	}
	set(&o.Workers, runtime.GOMAXPROCS(0))
	set(&o.SortMax, 10_000)
	set(&o.GroupsMax, 100_000)
	if o.BytesMax <= 0 {
		o.BytesMax = 256 << 20
	}
	if o.CausalBudget <= 0 {
		o.CausalBudget = time.Second
	}
	return o
}

// Hit is one line of the answer: an event or a group.
type Hit struct {
	Event  event.Event   // of a query for events, whole
	Source wire.SourceID // of the event
	Values []Value       // the selected fields of the event; of a group what it is grouped by, then the aggregates
	Others bool          // the group of everything that had no place among the groups
}

// Summary says what an answer rests on.
type Summary struct {
	Matched      uint64        `json:"matched"`       // events that matched; with More or Cut, at least
	Given        uint64        `json:"given"`         // hits given
	More         bool          `json:"more"`          // the limit was reached, there may be more
	Cut          bool          `json:"cut"`           // the answer is not whole, or not exact; the reason follows
	Reason       string        `json:"reason"`        // why it was cut, and what to do
	Damaged      int           `json:"-"`             // damaged parts that were left out; the reason names the first
	Blocks       int           `json:"blocks"`        // blocks of the recording
	BlocksPruned int           `json:"blocks_pruned"` // left out by the index
	BlocksRead   int           `json:"blocks_read"`
	RowsRead     uint64        `json:"rows_read"`
	Elapsed      time.Duration `json:"elapsed"` // ns

	onlyDamage bool // nothing but damage has cut it
}

// run is one query being answered.
type run struct {
	ctx context.Context
	r   Reader
	q   *Query
	o   Options
	planner
	first, end event.ID
	sum        Summary
	damaged    damages
	scans      int                   // begun
	read       []event.ID            // the blocks that the first one read
	counted    map[event.ID]struct{} // those that any has read, from the second one on
	void       bool                  // a set was cut off whose missing members would make the answer wrong
}

func newRun(ctx context.Context, r Reader, q *Query, o Options) *run {
	x := &run{ctx: ctx, r: r, q: q, o: o.withDefaults()}
	x.first, x.end = r.Range()
	x.planner = planner{r: r, table: r.Table(), sources: o.Sources, newest: x.newestTime}
	return x
}

// BlockCounter is what a [Reader] also offers when it can count its blocks without listing them.
type BlockCounter interface {
	// BlockCount gives the number of blocks that Blocks gives when nothing is pruned.
	BlockCount() int
}

func blockCount(r Reader) int {
	if c, ok := r.(BlockCounter); ok {
		return c.BlockCount()
	}
	return len(r.Blocks(wire.Prune{}))
}

func (x *run) newestTime() (newest int64) {
	for i, b := range x.r.Blocks(wire.Prune{}) {
		if i == 0 || b.TimeMax > newest {
			newest = b.TimeMax
		}
	}
	return newest
}

// Run answers q from r and gives each hit to yield, in the order of ids or of the query's sort. The hit
// is yield's until it returns. An error of yield ends the query and is returned as it is, ErrStop as
// none. When the deadline of ctx passes, the answer so far is cut off and the summary says so; when
// ctx is cancelled, that is the error.
func Run(ctx context.Context, r Reader, q *Query, o Options, yield func(*Hit) error) (Summary, error) {
	began := time.Now()
	x := newRun(ctx, r, q, o)
	err := x.answer(yield)
	x.sum.Elapsed = time.Since(began)
	x.tellDamage()
	if errors.Is(err, ErrStop) {
		x.sum.More, err = true, nil
	}
	return x.sum, err
}

// ErrStop is what a callback returns to end a query without an error.
var ErrStop = errors.New("enough")

func (x *run) answer(yield func(*Hit) error) error {
	p, err := x.spans(x.q.spans, false)
	if err != nil {
		return err
	}
	if x.void {
		return nil
	}
	infos := x.blocks(p.bound)
	x.sum.Blocks = blockCount(x.r)
	x.sum.BlocksPruned = x.sum.Blocks - len(infos)
	give := func(h *Hit) error {
		x.sum.Given++
		return yield(h)
	}
	switch {
	case x.q.Aggregate():
		return x.groups(p, infos, give)
	case x.q.sort != nil && x.q.sort.field.id != fieldEventID:
		return x.sorted(p, infos, give)
	}
	return x.listed(p, infos, give)
}

// blocks gives the blocks that may hold matches, in the order of ids.
func (x *run) blocks(b bound) []wire.BlockInfo {
	if b.empty() {
		return nil
	}
	return x.r.Blocks(b.prune())
}

// limit is the most hits to give, 0 for no bound.
func (x *run) limit() int {
	n := x.q.limit
	if m := x.o.HitsMax; m > 0 && (n == 0 || m < n) {
		n = m
	}
	return n
}

// cut notes that the answer is not whole; the first reason is the one that is told.
func (x *run) cut(format string, args ...any) {
	if !x.sum.Cut {
		x.sum.Cut, x.sum.Reason = true, fmt.Sprintf(format, args...)
	}
}

// tellDamage says at the end of an answer what was left out because it is damaged.
func (x *run) tellDamage() {
	told := x.damaged.told()
	if told == "" {
		return
	}
	x.sum.Damaged, x.sum.onlyDamage = len(x.damaged.blocks), !x.sum.Cut
	x.sum.Cut, x.sum.Reason = true, x.damaged.toldWith(x.sum.Reason)
	if x.o.OnDamage != nil {
		x.o.OnDamage(told)
	}
}

// match keeps the rows of a block that match. Where only columns are damaged that the question does not need, its rows
// are there and count; a question that needs them leaves the block out, and its answer says so.
func (x *run) match(v *view, p planned) ([]uint16, error) {
	if p, ok := p.pred.(*isID); ok && v.have&p.col == 0 {
		return p.find(v, v.sel[:0])
	}
	rows, err := p.pred.keep(v, v.whole())
	if err == nil && v.have == 0 && len(rows) > 0 {
		// No column was needed to tell: of a block that can not be read at all, nothing is there to be counted.
		err = v.r.Read(v.base, 0, &v.apart)
	}
	return rows, err
}

// found is what a worker brings from one block of a list.
type found struct {
	hits    []Hit
	matched int
}

// listed gives the matches in the order of ids, or backwards.
func (x *run) listed(p planned, infos []wire.BlockInfo, give func(*Hit) error) error {
	backwards := x.o.Descending
	if x.q.sort != nil {
		backwards = x.q.sort.descending
	}
	if backwards {
		reverse(infos)
	}
	limit, getters := x.limit(), x.getters(x.q.selected)
	work := func(v *view) (found, error) {
		rows, err := x.match(v, p)
		if err != nil {
			return found{}, err
		}
		n := len(rows)
		if backwards {
			reverse(rows)
		}
		if limit > 0 && n > limit {
			rows = rows[:limit]
		}
		hits, err := x.hits(v, rows, getters)
		return found{hits, n}, err
	}
	given, taken := 0, 0
	_, err := scan(x, infos, work, func(f found) error {
		taken++
		x.sum.Matched += uint64(f.matched) // #nosec G115 -- a count
		for i := range f.hits {
			if err := give(&f.hits[i]); err != nil {
				return err
			}
			if given++; given == limit {
				return ErrStop
			}
		}
		return nil
	})
	if limit > 0 && given == limit && errors.Is(err, ErrStop) {
		x.sum.More, err = taken < len(infos) || x.sum.Matched > uint64(given), nil // #nosec G115 -- a count
	}
	return err
}

func reverse[T any](s []T) {
	for i, j := 0, len(s)-1; i < j; i, j = i+1, j-1 {
		s[i], s[j] = s[j], s[i]
	}
}

func (x *run) getters(fields []field) []getter {
	var gs []getter
	for _, f := range fields {
		gs = append(gs, newGetter(f, x.table, x.o.Sources))
	}
	return gs
}

// apartMax is up to how many rows of a block are read apart from the others, when all of each is wanted.
const apartMax = 128

// hits makes the rows of a block, which rise or fall, into hits.
func (x *run) hits(v *view, rows []uint16, getters []getter) ([]Hit, error) {
	if len(rows) == 0 {
		return nil, nil
	}
	hits := make([]Hit, len(rows))
	c, apart := &v.c, len(rows) <= apartMax && v.rows > 128
	if apart {
		c = &v.apart
		falling := rows[0] > rows[len(rows)-1]
		if falling {
			reverse(rows)
			defer reverse(hits)
		}
		if err := x.r.ReadRows(v.base, rows, wire.ColAll, c); err != nil {
			return nil, err
		}
	} else if err := v.load(wire.ColAll); err != nil {
		return nil, err
	}
	for n, i := range rows {
		at := int(i)
		if apart {
			at = n
			c.Base = v.id(i) - event.ID(n) // #nosec G115 -- so that row n of c has its id
		}
		h := &hits[n]
		h.Source = c.Source[at]
		if err := c.Event(at, x.table, &h.Event); err != nil {
			return nil, fmt.Errorf("event %d: %w", v.id(i), err)
		}
		for g := range getters {
			h.Values = append(h.Values, getters[g].value(c, at))
		}
	}
	return hits, nil
}
