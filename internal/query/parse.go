package query

import (
	"fmt"
	"math"
	"regexp"
	"slices"
	"strconv"
	"strings"

	"github.com/pastcone/pastcone/event"
)

// Parse reads a query:
//
//	query     = set { "|" stage }
//	set       = set "||" set | set "&&" set | "!" set | "(" set ")" | "{" [ condition ] "}"
//	          | set relation set                          // right-associative, keeps events of the left
//	relation  = ">>" | "<<" | ">" | "<" | "!>>" | "!<<" | "!>" | "!<"
//	condition = condition "||" condition | condition "&&" condition | "!" condition | "(" condition ")"
//	          | field operator value | value operator field | field
//	operator  = "=" | "!=" | "<" | "<=" | ">" | ">=" | "=~" | "!~"
//	stage     = aggregate { "," aggregate } [ "by" "(" field { "," field } ")" ]
//	          | "sort" "(" what [ "asc" | "desc" ] ")" | "limit" "(" n ")" | "select" "(" field { "," field } ")"
//
// The binding grows from || to && to the relations to !. An error is a *[SyntaxError].
func Parse(text string) (*Query, error) {
	if len(text) > queryBytesMax {
		return nil, fmt.Errorf("query: %d bytes, at most %d are read", len(text), queryBytesMax)
	}
	p := parser{lexer: lexer{query: text}}
	if err := p.advance(); err != nil {
		return nil, err
	}
	q := &Query{text: text}
	var err error
	if q.spans, err = p.set(precOr, 0); err != nil {
		return nil, err
	}
	for p.tok.is("|") {
		if err = p.advance(); err != nil {
			return nil, err
		}
		if err = p.stage(q); err != nil {
			return nil, err
		}
	}
	if p.tok.kind != tokEnd {
		return nil, p.unexpected("a relation (>> << > < && ||), a stage (| limit(10)) or the end")
	}
	return q, nil
}

// parser is a Pratt parser: one token ahead, the binding strength as an argument.
type parser struct {
	lexer
	tok token
}

func (p *parser) advance() (err error) {
	p.tok, err = p.next()
	return err
}

func (p *parser) failAt(t token, hint, format string, args ...any) error {
	return p.fail(t.offset, t.width, hint, format, args...)
}

func (p *parser) unexpected(expected string) error {
	if p.tok.kind == tokEnd {
		return p.failAt(p.tok, "expected "+expected, "the query ends too early")
	}
	return p.failAt(p.tok, "expected "+expected, "unexpected %s", printable(p.query[p.tok.offset:p.tok.offset+p.tok.width]))
}

func (p *parser) expect(symbol, expected string) error {
	if !p.tok.is(symbol) {
		return p.unexpected(expected)
	}
	return p.advance()
}

func (p *parser) tooDeep(depth int) error {
	if depth > depthMax {
		return p.failAt(p.tok, fmt.Sprintf("%d levels are the most", depthMax), "too deeply nested")
	}
	return nil
}

var relations = map[string]struct {
	op  causalOp
	not bool
}{
	">>": {hasInFuture, false}, "<<": {hasInPast, false}, ">": {isCauseOf, false}, "<": {isEffectOf, false},
	"!>>": {hasInFuture, true}, "!<<": {hasInPast, true}, "!>": {isCauseOf, true}, "!<": {isEffectOf, true},
}

// set reads a set whose operators bind at least as strongly as min.
func (p *parser) set(minimum, depth int) (spans, error) {
	if err := p.tooDeep(depth); err != nil {
		return nil, err
	}
	x, err := p.setOperand(depth)
	for err == nil {
		op := p.tok
		if op.kind != tokSymbol {
			return x, nil
		}
		relation, causal := relations[op.text]
		prec := precOr
		switch {
		case causal:
			prec = precCausal
		case op.text == "&&":
			prec = precAnd
		case op.text != "||":
			return x, nil
		}
		if prec < minimum {
			return x, nil
		}
		if err = p.advance(); err != nil {
			return nil, err
		}
		var y spans
		if causal {
			y, err = p.set(precCausal, depth+1) // right-associative: a << b << c is a << (b << c)
			x = &spansCausal{op: relation.op, not: relation.not, x: x, y: y}
		} else {
			y, err = p.set(prec+1, depth+1)
			x = &spansLogic{or: prec == precOr, x: x, y: y}
		}
	}
	return nil, err
}

func (p *parser) setOperand(depth int) (spans, error) {
	if err := p.tooDeep(depth); err != nil {
		return nil, err
	}
	switch {
	case p.tok.is("{"):
		return p.filter(depth)
	case p.tok.is("("):
		if err := p.advance(); err != nil {
			return nil, err
		}
		x, err := p.set(precOr, depth+1)
		if err != nil {
			return nil, err
		}
		return x, p.expect(")", ")")
	case p.tok.is("!"):
		if err := p.advance(); err != nil {
			return nil, err
		}
		x, err := p.setOperand(depth + 1)
		return &spansNot{x}, err
	case p.tok.kind == tokWord && (findField(p.tok.path[0]) != nil || nearest(p.tok.path[0], fieldNames()) != ""):
		return nil, p.failAt(p.tok, "as in { kind = error }; {} is every event", "a condition stands in braces")
	}
	return nil, p.unexpected("a set of events, as in { kind = error }")
}

func (p *parser) filter(depth int) (spans, error) {
	open := p.tok
	if err := p.advance(); err != nil {
		return nil, err
	}
	if p.tok.is("}") {
		return &spansFilter{}, p.advance()
	}
	c, err := p.condition(precOr, depth+1)
	if err != nil {
		return nil, err
	}
	if p.tok.kind == tokEnd {
		return nil, p.failAt(open, "it needs a closing }", "this brace is not closed")
	}
	if p.tok.kind == tokWord && (p.tok.text == "and" || p.tok.text == "or") {
		return nil, p.failAt(p.tok, "write && for and, || for or", "unexpected %s", p.tok.text)
	}
	return &spansFilter{c}, p.expect("}", "&&, || or }")
}

// condition reads a condition whose operators bind at least as strongly as min.
func (p *parser) condition(minimum, depth int) (condition, error) {
	if err := p.tooDeep(depth); err != nil {
		return nil, err
	}
	x, err := p.conditionOperand(depth)
	for err == nil {
		prec := precOr
		switch {
		case p.tok.is("&&"):
			prec = precAnd
		case !p.tok.is("||"):
			return x, nil
		}
		if prec < minimum {
			return x, nil
		}
		if err = p.advance(); err != nil {
			return nil, err
		}
		var y condition
		y, err = p.condition(prec+1, depth+1)
		x = &condLogic{or: prec == precOr, x: x, y: y}
	}
	return nil, err
}

func (p *parser) conditionOperand(depth int) (condition, error) {
	if err := p.tooDeep(depth); err != nil {
		return nil, err
	}
	switch {
	case p.tok.is("!"):
		if err := p.advance(); err != nil {
			return nil, err
		}
		x, err := p.conditionOperand(depth + 1)
		return &condNot{x}, err
	case p.tok.is("("):
		if err := p.advance(); err != nil {
			return nil, err
		}
		x, err := p.condition(precOr, depth+1)
		if err != nil {
			return nil, err
		}
		return x, p.expect(")", "&&, || or )")
	}
	return p.comparison()
}

var compareOps = map[string]compareOp{
	"=": opEqual, "!=": opNotEqual, "<": opLess, "<=": opLessEqual, ">": opGreater, ">=": opGreaterEqual,
	"=~": opMatch, "!~": opNotMatch,
}

// comparison reads field op value, value op field, or a field that is yes or no by itself.
func (p *parser) comparison() (condition, error) {
	first := p.tok
	switch first.kind {
	case tokWord, tokString, tokNumber:
	case tokEnd, tokSymbol:
		return nil, p.unexpected("a field, as in kind = error")
	}
	if err := p.advance(); err != nil {
		return nil, err
	}
	op, isOp := compareOps[p.tok.text]
	isOp = isOp && p.tok.kind == tokSymbol
	opTok := p.tok
	if !isOp {
		if first.kind != tokWord {
			return nil, p.failAt(first, "as in func = \"main.main\"", "a value needs a field to compare with")
		}
		f, err := p.fieldOf(first)
		if err != nil {
			return nil, err
		}
		if f.typ != typeBoolean && f.typ != typeData {
			return nil, p.failAt(p.tok, "= != < <= > >= =~ !~", "an operator is missing behind %s", first.text)
		}
		return &compare{f, opEqual, literal{kind: litWord, text: "true"}}, nil
	}
	if err := p.advance(); err != nil {
		return nil, err
	}
	second := p.tok
	switch second.kind {
	case tokWord, tokString, tokNumber:
	case tokEnd, tokSymbol:
		return nil, p.unexpected("a value")
	}
	if err := p.advance(); err != nil {
		return nil, err
	}
	fieldTok, valueTok := first, second
	if first.kind != tokWord || second.kind == tokWord && findField(first.path[0]) == nil && findField(second.path[0]) != nil {
		if second.kind != tokWord {
			return nil, p.failAt(first, "one side of a comparison is a field", "two values are compared")
		}
		if op == opMatch || op == opNotMatch {
			return nil, p.failAt(opTok, "write the field first", "a regular expression stands to the right")
		}
		fieldTok, valueTok, op = second, first, op.flipped()
	}
	f, err := p.fieldOf(fieldTok)
	if err != nil {
		return nil, err
	}
	v, err := p.valueFor(f, op, opTok, valueTok)
	return &compare{f, op, v}, err
}

// fieldOf gives the field that a word names.
func (p *parser) fieldOf(t token) (field, error) {
	info := findField(t.path[0])
	if info == nil {
		hint := "the fields are " + strings.Join(fieldNames(), ", ")
		if near := nearest(t.path[0], fieldNames()); near != "" {
			hint = "did you mean " + near + "?"
		} else if len(t.path) == 1 {
			hint = fmt.Sprintf("a value of the event's own data is data.%s", t.path[0])
		}
		return field{}, p.fail(t.offset, min(t.width, len(t.path[0])), hint, "unknown field %q", t.path[0])
	}
	switch {
	case info.typ == typeData && len(t.path) == 1:
		return field{}, p.failAt(t, "as in data.user.id; text searches all of it", "data needs the name of a value")
	case info.typ != typeData && len(t.path) > 1:
		return field{}, p.failAt(t, "only data has inner values: data."+strings.Join(t.path[1:], "."), "%s has no inner values", info.name)
	}
	return field{info, slices.Clone(t.path[1:])}, nil
}

// valueFor checks that the value and the operator suit the field, and gives the value.
func (p *parser) valueFor(f field, op compareOp, opTok, t token) (literal, error) {
	v := t.value
	switch t.kind {
	case tokString:
		v = literal{kind: litString, text: t.text}
	case tokWord:
		v = literal{kind: litWord, text: t.text}
	case tokNumber, tokEnd, tokSymbol:
	}
	if v.isNil() {
		if op != opEqual && op != opNotEqual {
			return v, p.failAt(opTok, "nil is compared with = or !=", "nil has no order")
		}
		if f.typ == typeText || f.typ == typeBoolean && f.id != fieldTakes {
			return v, p.failAt(t, f.String()+" is always there", "a comparison with nothing")
		}
		return v, nil
	}
	if op == opMatch || op == opNotMatch {
		return p.regexpFor(f, opTok, t, v)
	}
	wrong := func(hint string) (literal, error) {
		return v, p.failAt(t, hint, "%s is compared with the wrong type", f.String())
	}
	noOrder := func(hint string) (literal, error) {
		return v, p.failAt(opTok, hint, "%s has no order", f.String())
	}
	ordered := op != opEqual && op != opNotEqual
	switch f.typ {
	case typeString, typeText:
		if v.kind != litString {
			return wrong(fmt.Sprintf("write it as text: %q", printable(p.query[t.offset:t.offset+t.width])))
		}
		if ordered && f.typ == typeText {
			return noOrder("= finds text that contains it, =~ a regular expression")
		}
	case typeInteger:
		if v.kind != litNumber && v.kind != litSize {
			return wrong("it is a number")
		}
	case typeTime:
		if v.kind == litString {
			ns, ok := parseTime(v.text)
			if !ok {
				return wrong("a time is 2026-01-02T15:04:05Z, or -5m: back from the end of the recording")
			}
			return literal{kind: litTime, whole: ns, number: float64(ns), isWhole: true}, nil
		}
		if v.kind != litTime && v.kind != litDuration && (v.kind != litNumber || !v.isWhole) {
			return wrong("a time is 2026-01-02T15:04:05Z, or -5m: back from the end of the recording, or nanoseconds since 1970")
		}
	case typeDuration:
		if v.kind == litNumber && v.number == 0 {
			return literal{kind: litDuration, isWhole: true}, nil
		}
		if v.kind == litNumber {
			return wrong(fmt.Sprintf("a duration has a unit: %sms", p.query[t.offset:t.offset+t.width]))
		}
		if v.kind != litDuration {
			return wrong("a duration is 50ms, 1.5s or 1h30m")
		}
	case typeKind, typeConfidence:
		return p.enumerated(f, ordered, t, v, noOrder)
	case typeBoolean:
		if v.kind != litWord || v.text != "true" && v.text != "false" {
			return wrong("it is true or false")
		}
		if ordered {
			return noOrder("it is true or false")
		}
	case typeSource:
		if v.kind != litString && (v.kind != litNumber || !v.isWhole) {
			return wrong("a source has a number, or a name in quotes")
		}
		if ordered {
			return noOrder("compare it with = or !=")
		}
	case typeData:
		if v.kind == litWord && v.text != "true" && v.text != "false" {
			return wrong(fmt.Sprintf("text stands in quotes: %q", printable(v.text)))
		}
		if ordered && v.kind == litWord {
			return noOrder("true and false have no order")
		}
	}
	return v, nil
}

// enumerated checks the name of a kind or a confidence.
func (p *parser) enumerated(f field, ordered bool, t token, v literal, noOrder func(string) (literal, error)) (literal, error) {
	names := kindNames()
	if f.typ == typeConfidence {
		names = confidenceNames()
	}
	if v.kind != litWord && v.kind != litString || !slices.Contains(names, v.text) {
		hint := "it is one of " + strings.Join(names, " ")
		if near := nearest(v.text, names); near != "" && v.text != "" {
			hint = "did you mean " + near + "?"
		}
		return v, p.failAt(t, hint, "%s is not a %s", printable(p.query[t.offset:t.offset+t.width]), f.typ.word())
	}
	if ordered {
		return noOrder("compare it with = or !=")
	}
	return literal{kind: litWord, text: v.text}, nil
}

func (t fieldType) word() string {
	if t == typeKind {
		return "kind"
	}
	return "confidence"
}

// regexpFor checks that the field is text and compiles the expression.
func (p *parser) regexpFor(f field, opTok, t token, v literal) (literal, error) {
	switch f.typ {
	case typeInteger, typeTime, typeDuration, typeBoolean:
		return v, p.failAt(opTok, "= != < <= > >=", "%s is no text to match", f.String())
	case typeString, typeKind, typeConfidence, typeSource, typeText, typeData:
	}
	if v.kind != litString {
		return v, p.failAt(t, "as in func =~ \"orders\\\\..*\"", "a regular expression stands in quotes")
	}
	re, err := regexp.Compile(v.text)
	if err != nil {
		why := strings.TrimPrefix(err.Error(), "error parsing regexp: ")
		return v, p.failAt(t, printable(why), "this regular expression is wrong")
	}
	v.re = re
	return v, nil
}

// kindsOf gives the kinds that satisfy a comparison, as bits.
func kindsOf(op compareOp, v literal) (bits uint32) {
	for _, k := range event.Kinds {
		if holdsForName(op, v, k.Name) {
			bits |= 1 << k.Kind
		}
	}
	return bits
}

func confidencesOf(op compareOp, v literal) (bits uint32) {
	for _, c := range event.Confidences {
		if holdsForName(op, v, c.Name) {
			bits |= 1 << c.Confidence
		}
	}
	return bits
}

func holdsForName(op compareOp, v literal, name string) bool {
	switch op {
	case opMatch:
		return v.re.MatchString(name)
	case opNotMatch:
		return !v.re.MatchString(name)
	case opNotEqual:
		return v.text != name // nil, too: every event has one
	case opEqual, opLess, opLessEqual, opGreater, opGreaterEqual:
	}
	return v.text == name
}

// limitMax bounds what limit(n) can ask for.
const limitMax = math.MaxInt32

func (p *parser) number(t token) (int, bool) {
	n, err := strconv.Atoi(t.text)
	return n, err == nil && t.kind == tokNumber && n > 0 && n <= limitMax
}
