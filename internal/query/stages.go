package query

import (
	"fmt"
	"slices"
)

const (
	byMax         = 8
	aggregatesMax = 32
	selectMax     = 64
)

var stageNames = []string{"count", "quantile", "sum", "avg", "min", "max", "sort", "limit", "select"}

// stage reads what stands behind a bar.
func (p *parser) stage(q *Query) error {
	if p.tok.kind != tokWord {
		return p.unexpected("a stage: count() quantile() sum() avg() min() max() sort() limit() select()")
	}
	name := p.tok
	switch name.text {
	case "sort":
		return p.sortStage(q)
	case "limit":
		return p.limitStage(q)
	case "select":
		return p.selectStage(q)
	}
	if !slices.Contains(aggregateNames[:], name.text) {
		hint := "the stages are count() quantile() sum() avg() min() max() sort() limit() select()"
		if near := nearest(name.text, stageNames); near != "" {
			hint = "did you mean " + near + "?"
		}
		return p.failAt(name, hint, "unknown stage %q", name.text)
	}
	switch {
	case q.Aggregate():
		return p.failAt(name, "put all into one: count(), max(duration) by (func)", "a second stage of aggregates")
	case q.sort != nil || q.limit > 0 || q.selected != nil:
		return p.failAt(name, "first aggregate, then sort, then limit", "aggregates come before sort, limit and select")
	}
	for {
		a, err := p.aggregate()
		if err != nil {
			return err
		}
		if q.aggregates = append(q.aggregates, a); len(q.aggregates) > aggregatesMax {
			return p.failAt(p.tok, fmt.Sprintf("%d are the most", aggregatesMax), "too many aggregates")
		}
		if !p.tok.is(",") {
			break
		}
		if err := p.advance(); err != nil {
			return err
		}
	}
	if p.tok.kind != tokWord || p.tok.text != "by" {
		return nil
	}
	if err := p.advance(); err != nil {
		return err
	}
	var err error
	q.by, err = p.fields(byMax)
	return err
}

// fields reads ( field, … ).
func (p *parser) fields(most int) (all []field, err error) {
	if err := p.expect("(", "( and the names of fields"); err != nil {
		return nil, err
	}
	for {
		if p.tok.kind != tokWord {
			return nil, p.unexpected("the name of a field")
		}
		at := p.tok
		f, err := p.fieldOf(at)
		if err != nil {
			return nil, err
		}
		if f.typ == typeText {
			return nil, p.failAt(at, "name a single field, as in func or data.name", "text stands for several fields")
		}
		if slices.ContainsFunc(all, f.sameAs) {
			return nil, p.failAt(at, "once is enough", "%s is there already", f.String())
		}
		if all = append(all, f); len(all) > most {
			return nil, p.failAt(at, fmt.Sprintf("%d are the most", most), "too many fields")
		}
		if err := p.advance(); err != nil {
			return nil, err
		}
		if p.tok.is(")") {
			return all, p.advance()
		}
		if err := p.expect(",", ", or )"); err != nil {
			return nil, err
		}
	}
}

// aggregate reads count(), quantile(field, share) or fn(field).
func (p *parser) aggregate() (a aggregate, err error) {
	name := p.tok
	fn := -1
	if name.kind == tokWord {
		fn = slices.Index(aggregateNames[:], name.text)
	}
	if fn < 0 {
		return a, p.unexpected("an aggregate: count() quantile() sum() avg() min() max()")
	}
	a.fn = aggregateFn(fn) // #nosec G115 -- an index of six
	if err := p.advance(); err != nil {
		return a, err
	}
	if err := p.expect("(", "("); err != nil {
		return a, err
	}
	if a.fn == fnCount {
		if p.tok.kind == tokWord {
			return a, p.failAt(p.tok, "count() by ("+p.tok.text+") counts for each value", "count takes no field")
		}
		return a, p.expect(")", ")")
	}
	if p.tok.kind != tokWord {
		return a, p.unexpected("the name of a field, as in " + name.text + "(duration)")
	}
	at := p.tok
	if a.of, err = p.fieldOf(at); err != nil {
		return a, err
	}
	if !a.of.numeric() {
		return a, p.failAt(at, "as in "+name.text+"(duration) or "+name.text+"(data.bytes)", "%s is no number", a.of.String())
	}
	if a.of.typ == typeTime && (a.fn == fnSum || a.fn == fnAvg || a.fn == fnQuantile) {
		return a, p.failAt(at, "min(time) and max(time) do", "%s of times means nothing", name.text)
	}
	if err := p.advance(); err != nil {
		return a, err
	}
	if a.fn == fnQuantile {
		if err := p.expect(",", ", and the share, as in quantile(duration, 0.99)"); err != nil {
			return a, err
		}
		if p.tok.kind != tokNumber {
			return a, p.unexpected("the share, as in quantile(duration, 0.99)")
		}
		v := p.tok.value
		if v.kind != litNumber || !(v.number >= 0 && v.number <= 1) {
			return a, p.failAt(p.tok, "0.99 is the value that 99 of 100 do not exceed", "a share is between 0 and 1")
		}
		a.share = v.number
		if err := p.advance(); err != nil {
			return a, err
		}
	}
	return a, p.expect(")", ")")
}

func (p *parser) sortStage(q *Query) error {
	switch {
	case q.sort != nil:
		return p.failAt(p.tok, "", "a second sort")
	case q.limit > 0:
		return p.failAt(p.tok, "first sort, then limit", "sort comes before limit")
	}
	if err := p.advance(); err != nil {
		return err
	}
	if err := p.expect("(", "( and a field, as in sort(duration desc)"); err != nil {
		return err
	}
	if p.tok.kind != tokWord {
		return p.unexpected("a field or an aggregate, as in sort(duration desc)")
	}
	what := p.tok
	s := &sortBy{aggregate: -1, group: -1}
	if slices.Contains(aggregateNames[:], what.text) {
		if err := p.sortAggregate(q, s); err != nil {
			return err
		}
	} else {
		f, err := p.fieldOf(what)
		if err != nil {
			return err
		}
		s.field = f
		if err := p.advance(); err != nil {
			return err
		}
		if s.group = slices.IndexFunc(q.by, f.sameAs); q.Aggregate() && s.group < 0 {
			return p.failAt(what, "sort by an aggregate or by a field of by (…)", "%s is not in the answer", f.String())
		}
		if f.typ == typeText {
			return p.failAt(what, "name a single field", "text stands for several fields")
		}
	}
	if p.tok.kind == tokWord && (p.tok.text == "desc" || p.tok.text == "asc") {
		s.descending = p.tok.text == "desc"
		if err := p.advance(); err != nil {
			return err
		}
	}
	q.sort = s
	return p.expect(")", "asc, desc or )")
}

// sortAggregate reads the aggregate to sort by: whole, or its bare name where that is enough.
func (p *parser) sortAggregate(q *Query, s *sortBy) error {
	what := p.tok
	ahead := *p
	if err := ahead.advance(); err != nil {
		return err
	}
	if ahead.tok.is("(") {
		a, err := p.aggregate()
		if err != nil {
			return err
		}
		s.aggregate = slices.IndexFunc(q.aggregates, func(have aggregate) bool { return have.String() == a.String() })
	} else {
		if err := p.advance(); err != nil {
			return err
		}
		for i, have := range q.aggregates {
			if aggregateNames[have.fn] == what.text {
				if s.aggregate >= 0 {
					return p.failAt(what, "write it whole, as in "+have.String(), "several aggregates are called %s", what.text)
				}
				s.aggregate = i
			}
		}
	}
	if s.aggregate < 0 {
		return p.failAt(what, "sort by one of the aggregates of the stage before", "this aggregate is not in the answer")
	}
	return nil
}

func (p *parser) limitStage(q *Query) error {
	if q.limit > 0 {
		return p.failAt(p.tok, "", "a second limit")
	}
	if err := p.advance(); err != nil {
		return err
	}
	if err := p.expect("(", "( and a number, as in limit(10)"); err != nil {
		return err
	}
	n, ok := p.number(p.tok)
	if !ok {
		return p.unexpected(fmt.Sprintf("a whole number from 1 to %d, as in limit(10)", limitMax))
	}
	q.limit = n
	if err := p.advance(); err != nil {
		return err
	}
	return p.expect(")", ")")
}

func (p *parser) selectStage(q *Query) error {
	switch {
	case q.selected != nil:
		return p.failAt(p.tok, "", "a second select")
	case q.Aggregate():
		return p.failAt(p.tok, "the answer holds the by fields and the aggregates", "select is for events, not for groups")
	}
	if err := p.advance(); err != nil {
		return err
	}
	var err error
	q.selected, err = p.fields(selectMax)
	return err
}
