package query

import (
	"errors"
	"slices"
	"strings"

	"github.com/pastcone/pastcone/event"
	"github.com/pastcone/pastcone/internal/wire"
)

// Aggregates come in two ways, with the same results:
//
//   - Grouped by nothing, or by func, file, line and kind alone, over whole numbers: the groups are
//     known from the table before anything is read, so each worker counts in arrays by place and
//     kind, a few ns an event, and the arrays are added up at the end.
//   - Otherwise each worker groups its block, and the blocks are put together in the order of ids,
//     so that floats add up the same way every time. Groups are kept apart up to a bound; what
//     comes first stays, all later ones are counted together as the others.

// group is one group of the answer.
type group struct {
	key     string // its values, see Value.appendKey
	count   uint64
	numbers []numbers // one for each of the distinct fields
	others  bool
}

// tally is what the aggregates of a query need.
type tally struct {
	fields   []field // the distinct fields of the aggregates
	of       []int   // which of them an aggregate is of; -1 for a count
	sketched []bool  // which of them need quantiles
	getters  []getter
}

func newTally(x *run) *tally {
	t := &tally{}
	for _, a := range x.q.aggregates {
		if a.fn == fnCount {
			t.of = append(t.of, -1)
			continue
		}
		i := slices.IndexFunc(t.fields, a.of.sameAs)
		if i < 0 {
			i = len(t.fields)
			t.fields = append(t.fields, a.of)
			t.sketched = append(t.sketched, false)
		}
		t.of = append(t.of, i)
		t.sketched[i] = t.sketched[i] || a.fn == fnQuantile
	}
	t.getters = x.getters(t.fields)
	return t
}

// newNumbers makes the numbers of a group.
func (t *tally) newNumbers(budget *int64) []numbers {
	if len(t.fields) == 0 {
		return nil
	}
	n := make([]numbers, len(t.fields))
	for i := range n {
		if t.sketched[i] {
			n[i].sketch = &sketch{budget: budget}
		}
	}
	return n
}

func (x *run) groups(p planned, infos []wire.BlockInfo, give func(*Hit) error) error {
	t := newTally(x)
	var all []*group
	var err error
	if d := newDense(x, t); d != nil {
		all, err = d.count(p, infos)
	} else {
		all, err = newSparse(x, t).count(p, infos)
	}
	if err != nil {
		return err
	}
	if len(x.q.by) == 0 && len(all) == 0 {
		all = append(all, &group{numbers: t.newNumbers(nil)})
	}
	return x.giveGroups(t, all, give)
}

// giveGroups orders the groups and gives those within the limit.
func (x *run) giveGroups(t *tally, all []*group, give func(*Hit) error) error {
	n := len(x.q.by)
	hits := make([]Hit, len(all))
	for i, g := range all {
		h := &hits[i]
		h.Others = g.others
		if g.others {
			h.Values = make([]Value, n)
		} else {
			h.Values = valuesFromKey(g.key, n)
		}
		for j, a := range x.q.aggregates {
			if a.fn == fnCount {
				h.Values = append(h.Values, Value{Type: Integer, Whole: int64(g.count)}) // #nosec G115 -- a count
			} else {
				h.Values = append(h.Values, g.numbers[t.of[j]].result(a))
			}
		}
	}
	at, descending := n, true // by default the largest first aggregate is on top
	if s := x.q.sort; s != nil {
		descending = s.descending
		if at = s.group; s.aggregate >= 0 {
			at = n + s.aggregate
		}
	}
	slices.SortStableFunc(hits, func(a, b Hit) int {
		if a.Others != b.Others { // always last
			if a.Others {
				return 1
			}
			return -1
		}
		va, vb := a.Values[at], b.Values[at]
		if (va.Type == Nothing) != (vb.Type == Nothing) {
			if va.Type == Nothing {
				return 1
			}
			return -1
		}
		if c := compareValues(va, vb); c != 0 {
			if descending {
				return -c
			}
			return c
		}
		return slices.CompareFunc(a.Values[:n], b.Values[:n], compareValues)
	})
	limit := x.limit()
	for i := range hits {
		if limit > 0 && i == limit {
			x.sum.More = true
			return nil
		}
		if err := give(&hits[i]); err != nil {
			return err
		}
	}
	return nil
}

// dense counts in arrays.
type dense struct {
	x       *run
	t       *tally
	ofSite  []int32 // place → group of places; nil: one group
	reps    []wire.Site
	kinds   int // 1, or one more than the largest kind
	cols    wire.ColumnSet
	readers []func(*view, []uint16, *wholes) error
	workers []denseWorker
}

type denseWorker struct {
	counts  []uint64
	numbers [][]numbers // field → group
	budget  int64
	taken   wholes
}

const kindsEnd = len(event.Kinds) + 1

// newDense gives nil where arrays will not do.
func newDense(x *run, t *tally) *dense {
	d := &dense{x: x, t: t, kinds: 1}
	var bySite []getter
	for _, f := range x.q.by {
		switch f.id {
		case fieldFunc, fieldFile, fieldLine:
			bySite = append(bySite, newGetter(f, x.table, nil))
			d.cols |= wire.ColSite
		case fieldKind:
			d.kinds = kindsEnd
			d.cols |= wire.ColKind
		default:
			return nil
		}
	}
	for _, f := range t.fields {
		read := wholeReader(f)
		if read == nil {
			return nil
		}
		d.readers = append(d.readers, read)
	}
	if !d.groupSites(bySite) {
		return nil
	}
	n := len(d.reps) * d.kinds
	d.workers = make([]denseWorker, x.o.Workers)
	for i := range d.workers {
		w := &d.workers[i]
		w.counts = make([]uint64, n)
		w.budget = x.o.BytesMax / int64(len(d.workers))
		w.numbers = make([][]numbers, len(t.fields))
		for f := range w.numbers {
			w.numbers[f] = make([]numbers, n)
		}
	}
	return d
}

// groupSites numbers the groups of places, unless they are too many.
func (d *dense) groupSites(by []getter) bool {
	if len(by) == 0 {
		d.reps = []wire.Site{0}
		return true
	}
	places := d.x.table.Places()
	d.ofSite = make([]int32, len(places))
	groups := map[string]int32{}
	c := wire.Columns{Site: make([]wire.Site, 1)}
	var key []byte
	for s := range places {
		c.Site[0] = wire.Site(s) // #nosec G115 -- an index of the table
		key = key[:0]
		for i := range by {
			key = by[i].value(&c, 0).appendKey(key)
		}
		g, ok := groups[string(key)]
		if !ok {
			if len(groups)*d.kinds >= d.x.o.GroupsMax {
				return false
			}
			g = int32(len(groups)) // #nosec G115 -- bounded by GroupsMax
			groups[string(key)] = g
			d.reps = append(d.reps, wire.Site(s)) // #nosec G115 -- an index of the table
		}
		d.ofSite[s] = g
	}
	return true
}

// wholes are the values of a field that has whole numbers only, and the rows that have one.
type wholes struct {
	rows   []uint16
	values []int64
}

// wholeReader gives how to take the values of such a field, nil for others.
func wholeReader(f field) func(*view, []uint16, *wholes) error {
	column := func(cols wire.ColumnSet, of func(v *view, i uint16) int64, zeroIsNil bool) func(*view, []uint16, *wholes) error {
		return func(v *view, rows []uint16, to *wholes) error {
			if err := v.load(cols); err != nil {
				return err
			}
			for _, i := range rows {
				if x := of(v, i); x != 0 || !zeroIsNil {
					to.rows, to.values = append(to.rows, i), append(to.values, x)
				}
			}
			return nil
		}
	}
	switch f.id {
	case fieldDuration:
		return durations
	case fieldTime:
		return column(f.cols, func(v *view, i uint16) int64 { return v.c.Time[i] }, false)
	case fieldSeq:
		return column(f.cols, func(v *view, i uint16) int64 { return int64(v.c.Seq[i]) }, true) // #nosec G115 -- at most SeqMax
	case fieldPosition:
		return column(f.cols, func(v *view, i uint16) int64 { return int64(v.c.Position[i]) }, false)
	case fieldEventID:
		return column(0, func(v *view, i uint16) int64 { return int64(v.id(i)) }, true) // #nosec G115 -- an id
	}
	return nil
}

// durations takes those of the returns that found their calls.
func durations(v *view, rows []uint16, to *wholes) error {
	if err := v.load(wire.ColKind | wire.ColDuration); err != nil {
		return err
	}
	kinds, all := v.c.Kind, v.c.Duration
	for _, i := range rows {
		if kinds[i] != event.KindReturn {
			continue
		}
		if all[i] == 0 {
			if err := v.load(wire.ColParent); err != nil {
				return err
			}
			if !hasDuration(&v.c, int(i)) {
				continue
			}
		}
		to.rows, to.values = append(to.rows, i), append(to.values, all[i])
	}
	return nil
}

// groupOf gives the group of a row.
func (d *dense) groupOf(v *view, i uint16) int {
	g := 0
	if d.ofSite != nil {
		if s := v.c.Site[i]; int(s) < len(d.ofSite) {
			g = int(d.ofSite[s])
		}
	}
	if d.kinds > 1 {
		g = g*d.kinds + int(v.c.Kind[i])
	}
	return g
}

func (d *dense) count(p planned, infos []wire.BlockInfo) ([]*group, error) {
	work := func(v *view) (int, error) {
		rows, err := d.x.match(v, p)
		if err != nil || len(rows) == 0 {
			return 0, err
		}
		if err := v.load(d.cols); err != nil {
			return 0, err
		}
		w := &d.workers[v.worker]
		switch {
		case d.cols == 0:
			w.counts[0] += uint64(len(rows))
		case d.cols == wire.ColSite:
			sites, ofSite := v.c.Site, d.ofSite
			for _, i := range rows {
				if s := sites[i]; int(s) < len(ofSite) {
					w.counts[ofSite[s]]++
				}
			}
		default:
			for _, i := range rows {
				w.counts[d.groupOf(v, i)]++
			}
		}
		for f, read := range d.readers {
			w.taken.rows, w.taken.values = w.taken.rows[:0], w.taken.values[:0]
			if err := read(v, rows, &w.taken); err != nil {
				return 0, err
			}
			d.add(v, w, f)
		}
		if w.budget < 0 {
			return 0, errMemory
		}
		return len(rows), nil
	}
	_, err := scan(d.x, infos, work, func(n int) error {
		d.x.sum.Matched += uint64(n) // #nosec G115 -- a count
		return nil
	})
	return d.groups(), d.x.memoryCut(err)
}

// add adds the values that were taken to the groups.
func (d *dense) add(v *view, w *denseWorker, f int) {
	groups, sketched := w.numbers[f], d.t.sketched[f]
	for k, i := range w.taken.rows {
		n := &groups[d.groupOf(v, i)]
		if sketched && n.sketch == nil {
			n.sketch = &sketch{budget: &w.budget}
		}
		n.addWhole(w.taken.values[k])
	}
}

// errMemory says that quantiles took more than they may.
var errMemory = errors.New("memory")

// memoryCut makes errMemory a cut: what was counted so far is given.
func (x *run) memoryCut(err error) error {
	if !errors.Is(err, errMemory) {
		return err
	}
	x.cut("the quantiles of all groups take more than %d MiB: group by less, or narrow the query", x.o.BytesMax>>20)
	return nil
}

// groups adds up what the workers have counted.
func (d *dense) groups() []*group {
	byGetters := d.x.getters(d.x.q.by)
	c := wire.Columns{Site: make([]wire.Site, 1), Kind: make([]event.Kind, 1)}
	var all []*group
	for i := range d.workers[0].counts {
		g := &group{numbers: make([]numbers, len(d.t.fields))}
		for w := range d.workers {
			g.count += d.workers[w].counts[i]
			for f := range g.numbers {
				g.numbers[f].merge(&d.workers[w].numbers[f][i])
			}
		}
		if g.count == 0 {
			continue
		}
		c.Site[0], c.Kind[0] = d.reps[i/d.kinds], event.Kind(i%d.kinds) // #nosec G115 -- below kindsEnd
		var key []byte
		for b := range byGetters {
			key = byGetters[b].value(&c, 0).appendKey(key)
		}
		g.key = string(key)
		all = append(all, g)
	}
	return all
}

// sparse counts in a map.
type sparse struct {
	x      *run
	t      *tally
	by     []getter
	cols   wire.ColumnSet
	all    []*group
	index  map[string]*group
	bytes  int64 // of the groups
	budget int64 // left for sketches
	rest   *group
}

// part is one block, grouped.
type part struct {
	keys    []string
	counts  []uint32
	numbers []partNumber
}

type partNumber struct {
	group uint16
	field uint16
	value Value
}

func newSparse(x *run, t *tally) *sparse {
	s := &sparse{x: x, t: t, by: x.getters(x.q.by), index: map[string]*group{}, budget: x.o.BytesMax}
	for _, g := range s.by {
		s.cols |= g.cols
	}
	for _, g := range t.getters {
		s.cols |= g.cols
	}
	return s
}

func (s *sparse) count(p planned, infos []wire.BlockInfo) ([]*group, error) {
	_, err := scan(s.x, infos, func(v *view) (*part, error) {
		rows, err := s.x.match(v, p)
		if err != nil || len(rows) == 0 {
			return nil, err
		}
		if err := v.load(s.cols); err != nil {
			return nil, err
		}
		return s.group(v, rows), nil
	}, s.put)
	if s.rest != nil {
		s.all = append(s.all, s.rest)
	}
	return s.all, s.x.memoryCut(err)
}

// group groups the rows of a block. Rows whose columns are equal need their values once.
func (s *sparse) group(v *view, rows []uint16) *part {
	p := &part{}
	groupOf := s.grouper(v, p)
	for _, i := range rows {
		n := groupOf(int(i))
		p.counts[n]++
		for f := range s.t.getters {
			if x := s.t.getters[f].value(&v.c, int(i)); x.numeric() {
				p.numbers = append(p.numbers, partNumber{n, uint16(f), x}) // #nosec G115 -- at most aggregatesMax
			}
		}
	}
	return p
}

// rawMax is up to how many fields are told apart by their columns.
const rawMax = 3

// grouper gives how to find the group of a row: by the columns as they are where that is possible, else
// by the values.
func (s *sparse) grouper(v *view, p *part) func(i int) uint16 {
	index := map[string]uint16{}
	var key []byte
	byValue := func(i int) uint16 {
		key = key[:0]
		for g := range s.by {
			key = s.by[g].value(&v.c, i).appendKey(key)
		}
		n, ok := index[string(key)]
		if !ok {
			n = uint16(len(p.keys)) // #nosec G115 -- at most one a row
			text := string(key)
			index[text] = n
			p.keys = append(p.keys, text)
			p.counts = append(p.counts, 0)
		}
		return n
	}
	var raws [rawMax]func(c *wire.Columns, i int) uint64
	if len(s.by) > rawMax {
		return byValue
	}
	for g := range s.by {
		if raws[g] = rawOf(s.by[g].field.id); raws[g] == nil {
			return byValue
		}
	}
	known := map[[rawMax]uint64]uint16{}
	var last [rawMax]uint64
	lastOf, any := uint16(0), false
	return func(i int) uint16 {
		var raw [rawMax]uint64
		for g := range s.by {
			raw[g] = raws[g](&v.c, i)
		}
		if any && raw == last {
			return lastOf
		}
		n, ok := known[raw]
		if !ok {
			n = byValue(i)
			known[raw] = n
		}
		last, lastOf, any = raw, n, true
		return n
	}
}

// rawOf gives a number out of the columns that decides on a field's value, nil where there is none.
func rawOf(id fieldID) func(c *wire.Columns, i int) uint64 {
	switch id {
	case fieldStream:
		return func(c *wire.Columns, i int) uint64 { return uint64(c.Stream[i]) }
	case fieldKey:
		return func(c *wire.Columns, i int) uint64 { return uint64(c.Key[i]) }
	case fieldPeer:
		return func(c *wire.Columns, i int) uint64 { return uint64(c.Peer[i]) }
	case fieldChild:
		return func(c *wire.Columns, i int) uint64 { return uint64(c.Child[i]) }
	case fieldSource:
		return func(c *wire.Columns, i int) uint64 { return uint64(c.Source[i]) }
	case fieldKind:
		return func(c *wire.Columns, i int) uint64 { return uint64(c.Kind[i]) }
	case fieldFunc, fieldFile, fieldLine:
		return func(c *wire.Columns, i int) uint64 { return uint64(c.Site[i]) }
	case fieldRoot, fieldEmpty, fieldClosed, fieldTakes, fieldInferred, fieldUnseen, fieldBackground:
		return func(c *wire.Columns, i int) uint64 { return uint64(c.Flags[i]) }
	case fieldCorrelation:
		return func(c *wire.Columns, i int) uint64 { return uint64(c.Correlation[i]) }
	case fieldConfidence:
		return func(c *wire.Columns, i int) uint64 { return uint64(c.ParentConf[i]) }
	case fieldCorrConfidence:
		return func(c *wire.Columns, i int) uint64 { return uint64(c.CorrConf[i]) }
	}
	return nil
}

// groupBytes is what a group costs beside its key.
const groupBytes = 256

// put adds a block to the groups.
func (s *sparse) put(p *part) error {
	if p == nil {
		return nil
	}
	groups := make([]*group, len(p.keys))
	for i, key := range p.keys {
		g := s.index[key]
		if g == nil {
			g = s.newGroup(key)
		}
		g.count += uint64(p.counts[i])
		s.x.sum.Matched += uint64(p.counts[i])
		groups[i] = g
	}
	for _, n := range p.numbers {
		to := &groups[n.group].numbers[n.field]
		if n.value.Type == Float {
			to.addFloat(n.value.Float)
		} else {
			to.addWhole(n.value.Whole)
		}
	}
	if s.budget < 0 {
		return errMemory
	}
	return nil
}

// newGroup makes a group, or gives the one of the others where there is no place for it.
func (s *sparse) newGroup(key string) *group {
	if len(s.all) >= s.x.o.GroupsMax || s.bytes >= s.x.o.BytesMax/2 {
		if s.rest == nil {
			s.rest = &group{numbers: s.t.newNumbers(&s.budget), others: true}
			s.x.cut("groups beyond the first %d are counted together as the others: group by less, or narrow the query", len(s.all))
		}
		return s.rest
	}
	g := &group{key: strings.Clone(key), numbers: s.t.newNumbers(&s.budget)}
	s.index[g.key] = g
	s.all = append(s.all, g)
	s.bytes += int64(len(key) + groupBytes)
	return g
}
