package query

import (
	"math"
	"regexp"
	"strconv"
	"strings"
	"time"
)

// Query is a question that [Parse] has understood and checked. It is never changed, and may be run
// many times, at the same time.
type Query struct {
	text       string
	spans      spans
	aggregates []aggregate
	by         []field
	sort       *sortBy
	limit      int // 0: none
	selected   []field
}

// Text gives the query as it was written.
func (q *Query) Text() string { return q.text }

// Aggregate says whether the answer is groups, not events.
func (q *Query) Aggregate() bool { return len(q.aggregates) > 0 }

// Causal says whether the query asks for causes or effects, which takes a pass over the recording.
func (q *Query) Causal() bool { return hasCausal(q.spans) }

func hasCausal(s spans) bool {
	switch s := s.(type) {
	case *spansNot:
		return hasCausal(s.x)
	case *spansLogic:
		return hasCausal(s.x) || hasCausal(s.y)
	case *spansCausal:
		return true
	}
	return false
}

// Selected gives the fields that the query selects, nil for all.
func (q *Query) Selected() []string { return fieldStrings(q.selected) }

// By gives the fields that it groups by.
func (q *Query) By() []string { return fieldStrings(q.by) }

// Columns gives the names of the values of a group: "count", "quantile(duration, 0.99)".
func (q *Query) Columns() []string {
	names := make([]string, len(q.aggregates))
	for i, a := range q.aggregates {
		names[i] = a.String()
	}
	return names
}

func fieldStrings(fields []field) []string {
	var names []string
	for _, f := range fields {
		names = append(names, f.String())
	}
	return names
}

// spans is an expression over sets of events.
type spans interface {
	writeSpans(b *strings.Builder, outer int)
}

type (
	// spansFilter is { … }: the events that satisfy the condition, all of them if it is nil.
	spansFilter struct{ cond condition }
	spansNot    struct{ x spans }
	spansLogic  struct {
		or   bool
		x, y spans
	}
	// spansCausal keeps the events of x that stand in a relation to some event of y.
	spansCausal struct {
		op   causalOp
		not  bool
		x, y spans
	}
)

// causalOp relates an event to another set.
type causalOp uint8

const (
	hasInFuture causalOp = iota // >>
	hasInPast                   // <<
	isCauseOf                   // >
	isEffectOf                  // <
)

func (op causalOp) String() string { return [...]string{">>", "<<", ">", "<"}[op] }

// Precedences of sets, from the weakest.
const (
	precOr = iota
	precAnd
	precCausal
	precUnary
)

func (s *spansFilter) writeSpans(b *strings.Builder, _ int) {
	if s.cond == nil {
		b.WriteString("{}")
		return
	}
	b.WriteString("{ ")
	s.cond.write(b, precOr)
	b.WriteString(" }")
}

func (s *spansNot) writeSpans(b *strings.Builder, _ int) {
	b.WriteByte('!')
	s.x.writeSpans(b, precUnary)
}

func (s *spansLogic) writeSpans(b *strings.Builder, outer int) {
	prec, op := precAnd, " && "
	if s.or {
		prec, op = precOr, " || "
	}
	parenthesised(b, prec < outer, func() {
		s.x.writeSpans(b, prec)
		b.WriteString(op)
		s.y.writeSpans(b, prec+1) // left-associative
	})
}

func (s *spansCausal) writeSpans(b *strings.Builder, outer int) {
	parenthesised(b, precCausal < outer, func() {
		s.x.writeSpans(b, precUnary) // right-associative
		b.WriteByte(' ')
		if s.not {
			b.WriteByte('!')
		}
		b.WriteString(s.op.String())
		b.WriteByte(' ')
		s.y.writeSpans(b, precCausal)
	})
}

func parenthesised(b *strings.Builder, yes bool, inner func()) {
	if yes {
		b.WriteByte('(')
		defer b.WriteByte(')')
	}
	inner()
}

// condition is an expression over one event.
type condition interface {
	write(b *strings.Builder, outer int)
}

type (
	compare struct {
		field field
		op    compareOp
		value literal
	}
	condNot   struct{ x condition }
	condLogic struct {
		or   bool
		x, y condition
	}
)

type compareOp uint8

const (
	opEqual compareOp = iota
	opNotEqual
	opLess
	opLessEqual
	opGreater
	opGreaterEqual
	opMatch
	opNotMatch
)

func (op compareOp) String() string {
	return [...]string{"=", "!=", "<", "<=", ">", ">=", "=~", "!~"}[op]
}

// flipped gives the operator with its sides exchanged: 5 < x is x > 5.
func (op compareOp) flipped() compareOp {
	switch op {
	case opLess:
		return opGreater
	case opLessEqual:
		return opGreaterEqual
	case opGreater:
		return opLess
	case opGreaterEqual:
		return opLessEqual
	case opEqual, opNotEqual, opMatch, opNotMatch:
	}
	return op
}

func (c *compare) write(b *strings.Builder, _ int) {
	b.WriteString(c.field.String())
	b.WriteByte(' ')
	b.WriteString(c.op.String())
	b.WriteByte(' ')
	b.WriteString(c.value.String())
}

func (c *condNot) write(b *strings.Builder, _ int) {
	b.WriteByte('!')
	_, simple := c.x.(*condNot)
	parenthesised(b, !simple, func() { c.x.write(b, precOr) })
}

func (c *condLogic) write(b *strings.Builder, outer int) {
	prec, op := precAnd, " && "
	if c.or {
		prec, op = precOr, " || "
	}
	parenthesised(b, prec < outer, func() {
		c.x.write(b, prec)
		b.WriteString(op)
		c.y.write(b, prec+1)
	})
}

// literalKind is the form of a value in a query.
type literalKind uint8

const (
	litString literalKind = iota
	litNumber
	litDuration
	litSize
	litTime
	litWord // a kind, a confidence, true, false, nil
)

// literal is a value in a query. Numbers, durations, sizes and times that are whole have their exact
// value in whole.
type literal struct {
	kind    literalKind
	text    string // of a string or a word
	whole   int64
	number  float64
	isWhole bool
	re      *regexp.Regexp // of a string behind =~ and !~
}

func (v literal) isNil() bool { return v.kind == litWord && v.text == "nil" }

func (v literal) String() string {
	switch v.kind {
	case litString:
		return strconv.Quote(v.text)
	case litWord:
		return v.text
	case litDuration:
		return time.Duration(v.whole).String()
	case litSize:
		return strconv.FormatInt(v.whole, 10) + "B"
	case litTime:
		return time.Unix(0, v.whole).UTC().Format(time.RFC3339Nano)
	case litNumber:
		if v.isWhole {
			return strconv.FormatInt(v.whole, 10)
		}
	}
	return strconv.FormatFloat(v.number, 'g', -1, 64)
}

// interval gives the whole numbers that satisfy "x op v": those within [low, high], or, with outside,
// those beyond it. An empty interval has low > high.
func (v literal) interval(op compareOp) (low, high int64, outside bool) {
	low, high = math.MinInt64, math.MaxInt64
	floor, whole := v.whole, v.isWhole
	if !whole {
		f := math.Floor(v.number)
		switch { // 2^63 as a float is one more than the largest
		case f >= 1<<63:
			floor, whole = math.MaxInt64, false
		case f < -1<<63:
			// Below everything: x > v always holds, x < v never.
			switch op {
			case opGreater, opGreaterEqual, opNotEqual:
				return low, high, false
			case opEqual, opLess, opLessEqual, opMatch, opNotMatch:
				return 1, 0, false
			}
		default:
			floor = int64(f)
		}
	}
	switch op {
	case opEqual, opNotEqual:
		if !whole {
			return 1, 0, op == opNotEqual
		}
		return floor, floor, op == opNotEqual
	case opLess:
		if whole {
			if floor == math.MinInt64 {
				return 1, 0, false
			}
			return low, floor - 1, false
		}
		return low, floor, false
	case opLessEqual:
		return low, floor, false
	case opGreater:
		if floor == math.MaxInt64 {
			return 1, 0, false
		}
		return floor + 1, high, false
	case opGreaterEqual:
		if whole {
			return floor, high, false
		}
		if floor == math.MaxInt64 {
			return 1, 0, false
		}
		return floor + 1, high, false
	case opMatch, opNotMatch:
	}
	return 1, 0, false
}

// aggregateFn is what is worked out over a group.
type aggregateFn uint8

const (
	fnCount aggregateFn = iota
	fnQuantile
	fnSum
	fnAvg
	fnMin
	fnMax
)

var aggregateNames = [...]string{"count", "quantile", "sum", "avg", "min", "max"}

type aggregate struct {
	fn    aggregateFn
	of    field // none of count
	share float64
}

func (a aggregate) String() string {
	switch a.fn {
	case fnCount:
		return "count()"
	case fnQuantile:
		return "quantile(" + a.of.String() + ", " + strconv.FormatFloat(a.share, 'g', -1, 64) + ")"
	case fnSum, fnAvg, fnMin, fnMax:
	}
	return aggregateNames[a.fn] + "(" + a.of.String() + ")"
}

// sortBy is the order of the answer: by a field of events, or by an aggregate or a field of groups.
type sortBy struct {
	field      field
	aggregate  int // its index, when it is over groups and not a field; else -1
	group      int // the index of the field among those grouped by, when it is over groups; else -1
	descending bool
}

// String gives the query in its canonical form, which parses to the same query.
func (q *Query) String() string {
	var b strings.Builder
	q.spans.writeSpans(&b, precOr)
	for i, a := range q.aggregates {
		if i == 0 {
			b.WriteString(" | ")
		} else {
			b.WriteString(", ")
		}
		b.WriteString(a.String())
	}
	if len(q.by) > 0 {
		b.WriteString(" by (" + strings.Join(fieldStrings(q.by), ", ") + ")")
	}
	if s := q.sort; s != nil {
		what := s.field.fieldInfo
		b.WriteString(" | sort(")
		if s.aggregate >= 0 {
			b.WriteString(q.aggregates[s.aggregate].String())
		} else if what != nil {
			b.WriteString(s.field.String())
		}
		if s.descending {
			b.WriteString(" desc")
		}
		b.WriteByte(')')
	}
	if q.limit > 0 {
		b.WriteString(" | limit(" + strconv.Itoa(q.limit) + ")")
	}
	if len(q.selected) > 0 {
		b.WriteString(" | select(" + strings.Join(fieldStrings(q.selected), ", ") + ")")
	}
	return b.String()
}
