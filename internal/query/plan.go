package query

import (
	"bytes"
	"encoding/json"
	"math"
	"regexp"
	"slices"
	"strings"

	"github.com/pastcone/pastcone/event"
	"github.com/pastcone/pastcone/internal/wire"
)

// planner turns conditions into predicates and bounds, against one recording.
type planner struct {
	r       Reader
	table   *wire.Table
	sources map[wire.SourceID]string
	newest  func() int64 // the time of the last event, for relative times
}

// planned is a condition, ready to run.
type planned struct {
	pred  predicate
	bound bound
}

func (p *planner) condition(c condition) planned {
	switch c := c.(type) {
	case *compare:
		return p.compare(c)
	case *condNot:
		x := p.condition(c.x)
		return planned{noneOf{x.pred}, everything()}
	case *condLogic:
		return join(c.or, p.condition(c.x), p.condition(c.y))
	}
	return planned{allOf{}, everything()} // {}
}

func join(or bool, x, y planned) planned {
	if !or {
		return planned{conjunction(x.pred, y.pred), x.bound.and(y.bound)}
	}
	either := anyOf{}
	for _, p := range []predicate{x.pred, y.pred} {
		if inner, ok := p.(anyOf); ok {
			either = append(either, inner...)
		} else {
			either = append(either, p)
		}
	}
	return planned{either, x.bound.or(y.bound)}
}

func (p *planner) compare(c *compare) planned {
	b := everything()
	switch c.field.typ {
	case typeInteger:
		return p.integer(c)
	case typeTime:
		v := c.value
		if v.isNil() {
			return always(c.op == opNotEqual)
		}
		if v.kind == litDuration {
			v.whole += p.newest()
			v.number = float64(v.whole)
		}
		low, high, outside := v.interval(c.op)
		if !outside {
			b.timeMin, b.timeMax = low, high
		}
		return planned{&within[int64]{wire.ColTime, func(c *wire.Columns) []int64 { return c.Time }, low, high, outside, false, costNumber}, b}
	case typeDuration:
		if c.value.isNil() && c.op == opEqual {
			return planned{&durationTest{absent: true}, b}
		}
		low, high, outside := int64(math.MinInt64), int64(math.MaxInt64), false
		if !c.value.isNil() {
			low, high, outside = c.value.interval(c.op)
		}
		b.kinds = 1 << event.KindReturn
		b.never = low > high && !outside
		return planned{&durationTest{low: low, high: high, outside: outside}, b}
	case typeKind:
		bits := kindsOf(c.op, c.value)
		b.kinds = bits
		return planned{kindIn{bits}, b}
	case typeConfidence:
		return planned{confidenceIn{confidencesOf(c.op, c.value), c.field.id == fieldCorrConfidence}, b}
	case typeBoolean:
		return planned{p.flag(c), b}
	case typeSource:
		return planned{p.source(c), b}
	case typeText:
		return planned{p.text(c), b}
	case typeData:
		holds, nils := dataHolds(c.op, c.value)
		return planned{&dataTest{newDataPath(c.field.path), holds, nils}, b}
	case typeString:
	}
	return p.stringField(c)
}

func always(yes bool) planned {
	b := everything()
	if yes {
		return planned{allOf{}, b}
	}
	b.never = true
	return planned{never{}, b}
}

func (p *planner) integer(c *compare) planned {
	b := everything()
	low, high, outside := int64(0), int64(0), c.op == opNotEqual // nil is 0 in every column
	if !c.value.isNil() {
		low, high, outside = c.value.interval(c.op)
	}
	zeroIsNil := !c.value.isNil()
	switch c.field.id {
	case fieldEventID:
		if !outside {
			b.idMin, b.idMax = low, high
		}
		return planned{&idWithin{low, high, outside}, b}
	case fieldSeq:
		return planned{&within[uint64]{wire.ColSeq, func(c *wire.Columns) []uint64 { return c.Seq }, low, high, outside, zeroIsNil, costNumber}, b}
	case fieldOrdinal:
		return planned{&within[uint64]{wire.ColOrdinal, func(c *wire.Columns) []uint64 { return c.Ordinal }, low, high, outside, zeroIsNil, costNumber}, b}
	case fieldParent:
		test := within[event.ID]{wire.ColParent, func(c *wire.Columns) []event.ID { return c.Parent }, low, high, outside, zeroIsNil, costParent}
		if low == high && !outside && low > 0 {
			return planned{&isID{test, event.ID(low)}, b}
		}
		return planned{&test, b}
	case fieldCorrelation:
		test := within[event.ID]{wire.ColCorrelation, func(c *wire.Columns) []event.ID { return c.Correlation }, low, high, outside, zeroIsNil, costNumber}
		if low == high && !outside && low > 0 {
			b.correlations = oneOf(event.ID(low))
			return planned{&isID{test, event.ID(low)}, b}
		}
		return planned{&test, b}
	case fieldPosition:
		if c.value.isNil() {
			return always(c.op == opNotEqual) // the founder's is 0, not none
		}
		return planned{&within[uint32]{wire.ColPosition, func(c *wire.Columns) []uint32 { return c.Position }, low, high, outside, false, costNumber}, b}
	}
	// line: of the place.
	return p.places(func(pl wire.Place) bool {
		x := int64(pl.Line)
		return (low <= x && x <= high) != outside && (x != 0 || !zeroIsNil)
	})
}

// places makes the predicate for a property of places, and the functions that can satisfy it.
func (p *planner) places(holds func(wire.Place) bool) planned {
	places := p.table.Places()
	sites := make([]bool, len(places))
	var funcs []wire.Text
	seen := map[wire.Text]bool{}
	for i, pl := range places {
		if sites[i] = holds(pl); sites[i] && !seen[pl.Func] && len(funcs) <= choiceMax {
			seen[pl.Func] = true
			funcs = append(funcs, pl.Func)
		}
	}
	b := everything()
	b.funcs = oneOf(funcs...)
	return planned{siteIn{sites}, b}
}

// texts gives a test of interned texts that asks each text once.
func (p *planner) texts(holds func(string) bool) func(wire.Text) bool {
	known := map[wire.Text]bool{}
	return func(t wire.Text) bool {
		ok, have := known[t]
		if !have {
			ok = holds(p.table.TextOf(t))
			known[t] = ok
		}
		return ok
	}
}

// stringHolds gives the test of a comparison with text. The empty text is nothing.
func stringHolds(op compareOp, v literal) func(string) bool {
	want := v.text
	if v.isNil() {
		want = ""
	}
	switch {
	case op == opMatch || op == opNotMatch:
		return func(s string) bool { return s != "" && v.re.MatchString(s) == (op == opMatch) }
	case want == "" && (op == opEqual || op == opNotEqual):
		return func(s string) bool { return (s == "") == (op == opEqual) }
	}
	return func(s string) bool { return s != "" && ordered(op, strings.Compare(s, want)) }
}

var nameColumns = map[fieldID]func(*wire.Columns) []wire.Name{
	fieldStream: func(c *wire.Columns) []wire.Name { return c.Stream },
	fieldKey:    func(c *wire.Columns) []wire.Name { return c.Key },
	fieldPeer:   func(c *wire.Columns) []wire.Name { return c.Peer },
	fieldChild:  func(c *wire.Columns) []wire.Name { return c.Child },
}

func (p *planner) stringField(c *compare) planned {
	holds := stringHolds(c.op, c.value)
	switch c.field.id {
	case fieldFunc:
		test := p.texts(holds)
		return p.places(func(pl wire.Place) bool { return test(pl.Func) })
	case fieldFile:
		test := p.texts(holds)
		return p.places(func(pl wire.Place) bool { return test(pl.File) })
	case fieldMessage:
		return planned{extTest{func(x *wire.Extension) bool { return holds(string(x.Message)) }}, everything()}
	case fieldRef:
		return planned{extTest{func(x *wire.Extension) bool { return holds(string(x.Ref)) }}, everything()}
	case fieldCause:
		return planned{extTest{func(x *wire.Extension) bool {
			if len(x.Causes) == 0 {
				return holds("")
			}
			for _, cause := range x.Causes {
				if holds(string(cause)) {
					return true
				}
			}
			return false
		}}, everything()}
	}
	return p.name(c, holds)
}

func (p *planner) name(c *compare, holds func(string) bool) planned {
	b := everything()
	test := &nameTest{col: c.field.cols, of: nameColumns[c.field.id], table: p.table}
	text := c.value.text
	if c.value.isNil() {
		text = ""
	}
	switch {
	case c.op == opEqual:
		name, known := p.table.FindName(text)
		if !known {
			return always(false)
		}
		test.equal = name
		if name != 0 && c.field.id == fieldStream {
			b.streams = oneOf(name)
		}
		if name != 0 && c.field.id == fieldKey {
			b.keys = oneOf(name)
		}
	case c.op == opNotEqual && text == "":
		return planned{noneOf{test}, b}
	default:
		test.holds = holds
	}
	return planned{test, b}
}

func (p *planner) flag(c *compare) predicate {
	want := (c.value.text == "true") == (c.op == opEqual)
	mask := map[fieldID]wire.Flags{
		fieldRoot: wire.FlagRoot, fieldEmpty: wire.FlagEmpty, fieldClosed: wire.FlagClosed, fieldBackground: wire.FlagBackground,
		fieldInferred: wire.FlagInferred, fieldUnseen: wire.FlagUnseen,
	}[c.field.id]
	if c.field.id == fieldTakes {
		unsaid := flagged{wire.FlagTakes | wire.FlagTakesNot, 0}
		switch {
		case c.value.isNil() && c.op == opEqual:
			return unsaid
		case c.value.isNil():
			return noneOf{unsaid}
		case want:
			return flagged{wire.FlagTakes, wire.FlagTakes}
		}
		return flagged{wire.FlagTakesNot, wire.FlagTakesNot}
	}
	if want {
		return flagged{mask, mask}
	}
	return flagged{mask, 0}
}

func (p *planner) source(c *compare) predicate {
	if c.value.kind == litNumber {
		return sourceIn{func(id wire.SourceID) bool { return (int64(id) == c.value.whole) == (c.op == opEqual) }}
	}
	holds := stringHolds(c.op, c.value)
	return sourceIn{func(id wire.SourceID) bool { return holds(p.sources[id]) }}
}

// text makes the predicate that looks everywhere. In data, text is looked for as it is and as JSON
// writes it.
func (p *planner) text(c *compare) predicate {
	t := &textTest{absent: c.op == opNotEqual || c.op == opNotMatch}
	var inText func(string) bool
	if c.op == opMatch || c.op == opNotMatch {
		inText, t.inBytes = c.value.re.MatchString, c.value.re.Match
		if lit, whole := literalOf(c.value.re); whole {
			inText, t.inBytes = containsText(lit)
		}
	} else {
		inText, t.inBytes = containsText(c.value.text)
	}
	test := p.texts(inText)
	t.sites = p.places(func(pl wire.Place) bool { return test(pl.Func) || test(pl.File) }).pred.(siteIn)
	for _, id := range []fieldID{fieldStream, fieldKey, fieldPeer, fieldChild} {
		for i := range fieldTable {
			if fieldTable[i].id == id {
				t.names = append(t.names, &nameTest{col: fieldTable[i].cols, of: nameColumns[id], table: p.table, holds: inText})
			}
		}
	}
	return t
}

// literalOf gives the text of a regular expression that is plain text.
func literalOf(re *regexp.Regexp) (string, bool) { return re.LiteralPrefix() }

// containsText gives the tests for plain text: in data also as JSON writes it, with and without the
// escapes that Go adds for HTML.
func containsText(want string) (inText func(string) bool, inBytes func([]byte) bool) {
	inText = func(s string) bool { return strings.Contains(s, want) }
	forms := [][]byte{[]byte(want)}
	var b bytes.Buffer
	for _, html := range []bool{false, true} {
		b.Reset()
		e := json.NewEncoder(&b)
		e.SetEscapeHTML(html)
		if err := e.Encode(want); err != nil {
			continue // text is always encodable
		}
		form := bytes.Clone(b.Bytes()[1 : b.Len()-2])
		if !slices.ContainsFunc(forms, func(have []byte) bool { return bytes.Equal(have, form) }) {
			forms = append(forms, form)
		}
	}
	return inText, func(b []byte) bool {
		return slices.ContainsFunc(forms, func(form []byte) bool { return bytes.Contains(b, form) })
	}
}
