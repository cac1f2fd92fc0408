package query

import (
	"slices"

	"github.com/pastcone/pastcone/event"
	"github.com/pastcone/pastcone/internal/wire"
)

// predicate narrows the rows of a block. What is not there satisfies only "= nil".
type predicate interface {
	// keep gives those of the rows that satisfy it, in their order, in the memory of rows.
	keep(v *view, rows []uint16) ([]uint16, error)
	// cost orders the predicates that must all hold: the cheap ones first, so that the dear ones see
	// few rows, and often none.
	cost() int
}

// The costs, by what a predicate reads and does with it.
const (
	costFree    = iota // nothing to read
	costNumber         // a narrow column
	costParent         // several columns
	costName           // a text to look at, with a memory
	costPayload        // decoding
	costText           // searching
)

type (
	allOf  []predicate
	anyOf  []predicate
	noneOf struct{ x predicate }
	never  struct{}
)

func (p allOf) keep(v *view, rows []uint16) ([]uint16, error) {
	for _, q := range p {
		if len(rows) == 0 {
			break
		}
		var err error
		if rows, err = q.keep(v, rows); err != nil {
			return nil, err
		}
	}
	return rows, nil
}

func (p allOf) cost() int { return dearest(p) }

func dearest(ps []predicate) (c int) {
	for _, q := range ps {
		c = max(c, q.cost())
	}
	return c
}

func (p anyOf) keep(v *view, rows []uint16) ([]uint16, error) {
	var found [wire.BlockRowsMax]bool
	rest := append(v.borrow(), rows...)
	trial := v.borrow()
	for _, q := range p {
		if len(rest) == 0 {
			break
		}
		trial = append(trial[:0], rest...)
		kept, err := q.keep(v, trial)
		if err != nil {
			return nil, err
		}
		for _, i := range kept {
			found[i] = true
		}
		n := 0
		for _, i := range rest {
			if !found[i] {
				rest[n] = i
				n++
			}
		}
		rest = rest[:n]
	}
	v.giveBack(rest)
	v.giveBack(trial)
	n := 0
	for _, i := range rows {
		if found[i] {
			rows[n] = i
			n++
		}
	}
	return rows[:n], nil
}

func (p anyOf) cost() int { return dearest(p) }

func (p noneOf) keep(v *view, rows []uint16) ([]uint16, error) {
	trial := append(v.borrow(), rows...)
	kept, err := p.x.keep(v, trial)
	if err != nil {
		return nil, err
	}
	n := 0
	for _, i := range rows {
		if len(kept) > 0 && kept[0] == i {
			kept = kept[1:]
			continue
		}
		rows[n] = i
		n++
	}
	v.giveBack(trial)
	return rows[:n], nil
}

func (p noneOf) cost() int { return p.x.cost() }

func (never) keep(*view, []uint16) ([]uint16, error) { return nil, nil }
func (never) cost() int                              { return costFree }

// narrow keeps the rows for which ok holds.
func narrow(rows []uint16, ok func(i uint16) bool) []uint16 {
	n := 0
	for _, i := range rows {
		rows[n] = i
		if ok(i) {
			n++
		}
	}
	return rows[:n]
}

type integer interface {
	~int64 | ~uint64 | ~uint32
}

// within tests a column of numbers against an interval. Where zero stands for nothing, zeroIsNil.
type within[T integer] struct {
	col       wire.ColumnSet
	of        func(*wire.Columns) []T
	low, high int64
	outside   bool
	zeroIsNil bool
	dear      int
}

func (p *within[T]) keep(v *view, rows []uint16) ([]uint16, error) {
	if err := v.load(p.col); err != nil {
		return nil, err
	}
	values, n := p.of(&v.c), 0
	for _, i := range rows {
		x := int64(values[i]) // #nosec G115 -- bounded by SeqMax and the number of events
		rows[n] = i
		if (p.low <= x && x <= p.high) != p.outside && (x != 0 || !p.zeroIsNil) {
			n++
		}
	}
	return rows[:n], nil
}

func (p *within[T]) cost() int { return p.dear }

// isID tests a column of ids for one id: the reader finds the rows without reading the column.
type isID struct {
	within[event.ID]
	id event.ID
}

func (p *isID) keep(v *view, rows []uint16) ([]uint16, error) {
	if v.have&p.col != 0 {
		return p.within.keep(v, rows)
	}
	found, err := p.find(v, v.borrow())
	n, rest := 0, found
	for _, i := range rows {
		for len(rest) > 0 && rest[0] < i {
			rest = rest[1:]
		}
		if len(rest) == 0 {
			break
		}
		if rest[0] == i {
			rows[n] = i
			n++
		}
	}
	v.giveBack(found)
	return rows[:n], err
}

// find appends all rows of the block that have the id.
func (p *isID) find(v *view, to []uint16) ([]uint16, error) {
	return v.r.Find(v.base, p.col, []uint64{uint64(p.id)}, to)
}

// idWithin tests the id, which is no column.
type idWithin struct {
	low, high int64
	outside   bool
}

func (p *idWithin) keep(v *view, rows []uint16) ([]uint16, error) {
	return narrow(rows, func(i uint16) bool {
		x := int64(v.id(i)) // #nosec G115 -- bounded by the number of events
		return (p.low <= x && x <= p.high) != p.outside
	}), nil
}

func (*idWithin) cost() int { return costFree }

// durationTest tests the duration of returns.
type durationTest struct {
	low, high int64
	outside   bool
	absent    bool // instead: has none
}

func (p *durationTest) keep(v *view, rows []uint16) ([]uint16, error) {
	if err := v.load(wire.ColKind | wire.ColDuration); err != nil {
		return nil, err
	}
	zeros := false
	test := func(i uint16) bool {
		x := v.c.Duration[i]
		return v.c.Kind[i] == event.KindReturn && (p.low <= x && x <= p.high) != p.outside
	}
	if p.absent {
		test = func(i uint16) bool { return v.c.Kind[i] != event.KindReturn || v.c.Duration[i] == 0 }
	}
	rows = narrow(rows, func(i uint16) bool {
		ok := test(i)
		zeros = zeros || ok && v.c.Duration[i] == 0 && v.c.Kind[i] == event.KindReturn
		return ok
	})
	if !zeros {
		return rows, nil
	}
	if err := v.load(wire.ColParent); err != nil {
		return nil, err
	}
	return narrow(rows, func(i uint16) bool { return hasDuration(&v.c, int(i)) != p.absent }), nil
}

func (*durationTest) cost() int { return costNumber }

// kindIn tests the kind against a set of them, as bits.
type kindIn struct{ bits uint32 }

func (p kindIn) keep(v *view, rows []uint16) ([]uint16, error) {
	if err := v.load(wire.ColKind); err != nil {
		return nil, err
	}
	kinds, n := v.c.Kind, 0
	for _, i := range rows {
		rows[n] = i
		if p.bits>>(kinds[i]&31)&1 != 0 {
			n++
		}
	}
	return rows[:n], nil
}

func (kindIn) cost() int { return costNumber }

// flagged tests flags: those of the mask are exactly as in the pattern.
type flagged struct{ mask, pattern wire.Flags }

func (p flagged) keep(v *view, rows []uint16) ([]uint16, error) {
	if err := v.load(wire.ColFlags); err != nil {
		return nil, err
	}
	return narrow(rows, func(i uint16) bool { return v.c.Flags[i]&p.mask == p.pattern }), nil
}

func (flagged) cost() int { return costNumber }

// confidenceIn tests one of the two confidences against a set, as bits.
type confidenceIn struct {
	bits        uint32
	correlation bool
}

func (p confidenceIn) keep(v *view, rows []uint16) ([]uint16, error) {
	if err := v.load(wire.ColParent); err != nil {
		return nil, err
	}
	conf := v.c.ParentConf
	if p.correlation {
		conf = v.c.CorrConf
	}
	return narrow(rows, func(i uint16) bool { return p.bits>>(conf[i]&31)&1 != 0 }), nil
}

func (confidenceIn) cost() int { return costParent }

// sourceIn tests the source.
type sourceIn struct{ holds func(wire.SourceID) bool }

func (p sourceIn) keep(v *view, rows []uint16) ([]uint16, error) {
	if err := v.load(wire.ColSource); err != nil {
		return nil, err
	}
	var last wire.SourceID
	var lastOK, known bool
	return narrow(rows, func(i uint16) bool {
		if s := v.c.Source[i]; s != last || !known {
			last, lastOK, known = s, p.holds(s), true
		}
		return lastOK
	}), nil
}

func (sourceIn) cost() int { return costNumber }

// siteIn tests the place; everything about places is worked out once, over the table.
type siteIn struct{ sites []bool }

func (p siteIn) keep(v *view, rows []uint16) ([]uint16, error) {
	if err := v.load(wire.ColSite); err != nil {
		return nil, err
	}
	sites, n := v.c.Site, 0
	for _, i := range rows {
		rows[n] = i
		if s := sites[i]; int(s) < len(p.sites) && p.sites[s] {
			n++
		}
	}
	return rows[:n], nil
}

func (siteIn) cost() int { return costNumber }

// nameTest tests an interned name. Names are many, so what a test said is remembered, up to a bound.
type nameTest struct {
	col   wire.ColumnSet
	of    func(*wire.Columns) []wire.Name
	table *wire.Table
	equal wire.Name // with holds nil: is exactly this one
	holds func(string) bool
}

type nameMemory struct {
	last   wire.Name
	lastOK bool
	known  map[wire.Name]bool
}

const nameMemoryMax = 1 << 16

func (p *nameTest) keep(v *view, rows []uint16) ([]uint16, error) {
	if err := v.load(p.col); err != nil {
		return nil, err
	}
	names := p.of(&v.c)
	if p.holds == nil {
		return narrow(rows, func(i uint16) bool { return names[i] == p.equal }), nil
	}
	m := v.names[p]
	if m == nil {
		if v.names == nil {
			v.names = map[*nameTest]*nameMemory{}
		}
		m = &nameMemory{known: map[wire.Name]bool{}}
		v.names[p] = m
	}
	return narrow(rows, func(i uint16) bool {
		name := names[i]
		if name == 0 {
			return false
		}
		if name == m.last {
			return m.lastOK
		}
		ok, known := m.known[name]
		if !known {
			if len(m.known) >= nameMemoryMax {
				clear(m.known)
			}
			ok = p.holds(p.table.NameOf(name))
			m.known[name] = ok
		}
		m.last, m.lastOK = name, ok
		return ok
	}), nil
}

func (p *nameTest) cost() int {
	if p.holds == nil {
		return costNumber
	}
	return costName
}

// extTest tests a field among the rarer ones.
type extTest struct{ holds func(*wire.Extension) bool }

func (p extTest) keep(v *view, rows []uint16) ([]uint16, error) {
	if err := v.load(wire.ColExt); err != nil {
		return nil, err
	}
	var failed error
	rows = narrow(rows, func(i uint16) bool {
		if err := v.ext.Decode(v.c.ExtOf(int(i))); err != nil {
			failed = err
			return false
		}
		return p.holds(&v.ext)
	})
	return rows, failed
}

func (extTest) cost() int { return costPayload }

// dataTest tests a value in the data.
type dataTest struct {
	path  *dataPath
	holds func(v *view, raw []byte) bool // raw is nil where there is no such value
	nils  bool                           // may hold for a value that is not there
}

func (p *dataTest) keep(v *view, rows []uint16) ([]uint16, error) {
	if err := v.load(wire.ColData); err != nil {
		return nil, err
	}
	return narrow(rows, func(i uint16) bool {
		raw := p.path.find(v.c.DataOf(int(i)))
		return (raw != nil || p.nils) && p.holds(v, raw)
	}), nil
}

func (*dataTest) cost() int { return costPayload }

// textTest looks for text in all fields that hold any.
type textTest struct {
	sites   siteIn
	names   []*nameTest // stream, key, peer, child
	inBytes func([]byte) bool
	absent  bool
}

func (p *textTest) keep(v *view, rows []uint16) ([]uint16, error) {
	if p.absent {
		found := *p
		found.absent = false
		return noneOf{&found}.keep(v, rows)
	}
	any := anyOf{p.sites}
	for _, n := range p.names {
		any = append(any, n)
	}
	any = append(any, payloadTest{p.inBytes})
	return any.keep(v, rows)
}

func (*textTest) cost() int { return costText }

// payloadTest looks into the data as it is written, and into the rarer fields.
type payloadTest struct{ holds func([]byte) bool }

func (p payloadTest) keep(v *view, rows []uint16) ([]uint16, error) {
	if err := v.load(wire.ColData | wire.ColExt); err != nil {
		return nil, err
	}
	var failed error
	rows = narrow(rows, func(i uint16) bool {
		if d := v.c.DataOf(int(i)); len(d) > 0 && p.holds(d) {
			return true
		}
		if err := v.ext.Decode(v.c.ExtOf(int(i))); err != nil {
			failed = err
			return false
		}
		return len(v.ext.Message) > 0 && p.holds(v.ext.Message) || len(v.ext.Ref) > 0 && p.holds(v.ext.Ref)
	})
	return rows, failed
}

func (payloadTest) cost() int { return costText }

// inSet tests whether an event belongs to a set that was worked out before.
type inSet struct{ set *idSet }

func (p inSet) keep(v *view, rows []uint16) ([]uint16, error) {
	return narrow(rows, func(i uint16) bool { return p.set.has(v.id(i)) }), nil
}

func (inSet) cost() int { return costFree }

// conjunction puts predicates together that must all hold, the cheap ones first.
func conjunction(ps ...predicate) predicate {
	var flat allOf
	for _, p := range ps {
		if inner, ok := p.(allOf); ok {
			flat = append(flat, inner...)
		} else {
			flat = append(flat, p)
		}
	}
	slices.SortStableFunc(flat, func(a, b predicate) int { return a.cost() - b.cost() })
	if len(flat) == 1 {
		return flat[0]
	}
	return flat
}
