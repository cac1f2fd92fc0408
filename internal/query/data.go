package query

import (
	"bytes"
	"strconv"

	"github.com/pastcone/pastcone/internal/jsontext"
)

// dataPath finds a value within the data of an event, in place.
type dataPath struct {
	parts [][]byte
	rare  []byte // a part that must stand in the data; most data fails on it at once
}

func newDataPath(path []string) *dataPath {
	p := &dataPath{}
	for _, part := range path {
		p.parts = append(p.parts, []byte(part))
		if _, err := strconv.ParseUint(part, 10, 31); err != nil && len(part) > len(p.rare) && !bytes.ContainsAny([]byte(part), "\"\\\b\f\n\r\t<>&") {
			p.rare = []byte(part)
		}
	}
	return p
}

// find gives the bytes of the value, nil if there is none. A null is a value. data is valid JSON;
// anything else finds nothing.
func (p *dataPath) find(data []byte) []byte {
	if len(data) == 0 {
		return nil
	}
	// A name can also be written with escapes; then only reading helps.
	if len(p.rare) > 0 && !bytes.Contains(data, p.rare) && bytes.IndexByte(data, '\\') < 0 {
		return nil
	}
	if bytes.IndexByte(data, '\n') >= 0 { // only between tokens: within text it is escaped
		data = bytes.ReplaceAll(data, []byte{'\n'}, []byte{' '})
	}
	i := jsontext.Space(data, 0)
	for _, part := range p.parts {
		var ok bool
		if i, ok = enter(data, i, part); !ok {
			return nil
		}
	}
	end, _, ok := jsontext.ValueEnd(data, i, jsontext.DepthMax)
	if !ok {
		return nil
	}
	return data[i:end]
}

// enter gives where the member of that name, or the element of that number, of the value at i begins.
func enter(data []byte, i int, part []byte) (at int, ok bool) {
	if i >= len(data) || data[i] != '{' && data[i] != '[' {
		return 0, false
	}
	object := data[i] == '{'
	want := uint64(0)
	if !object {
		var err error
		if want, err = strconv.ParseUint(string(part), 10, 31); err != nil {
			return 0, false
		}
	}
	i = jsontext.Space(data, i+1)
	for n := uint64(0); i < len(data) && data[i] != '}' && data[i] != ']'; n++ {
		hit := !object && n == want
		if object {
			if data[i] != '"' {
				return 0, false
			}
			end, escaped, ok := jsontext.StringEnd(data, i+1)
			if !ok {
				return 0, false
			}
			name := data[i+1 : end]
			if escaped {
				name, _ = jsontext.AppendUnescaped(nil, name)
			}
			hit = bytes.Equal(name, part)
			i = jsontext.Space(data, end+1)
			if i >= len(data) || data[i] != ':' {
				return 0, false
			}
			i = jsontext.Space(data, i+1)
		}
		if hit {
			return i, true
		}
		end, _, ok := jsontext.ValueEnd(data, i, jsontext.DepthMax)
		if !ok {
			return 0, false
		}
		if i = jsontext.Space(data, end); i < len(data) && data[i] == ',' {
			i = jsontext.Space(data, i+1)
		}
	}
	return 0, false
}

// stringOf gives the text of a JSON string; scratch is used when it holds escapes.
func stringOf(raw, scratch []byte) (text, grown []byte, ok bool) {
	if len(raw) < 2 || raw[0] != '"' {
		return nil, scratch, false
	}
	inner := raw[1 : len(raw)-1]
	if bytes.IndexByte(inner, '\\') < 0 {
		return inner, scratch, true
	}
	scratch, _ = jsontext.AppendUnescaped(scratch[:0], inner)
	return scratch, scratch, true
}

func isNumber(raw []byte) bool { return len(raw) > 0 && (raw[0] == '-' || isDigit(raw[0])) }

// numberOf gives the number of a JSON number: whole where it is.
func numberOf(raw []byte) (whole int64, number float64, isWhole, ok bool) {
	if !isNumber(raw) {
		return 0, 0, false, false
	}
	if n, err := strconv.ParseInt(string(raw), 10, 64); err == nil {
		return n, float64(n), true, true
	}
	f, err := strconv.ParseFloat(string(raw), 64)
	if err != nil {
		return 0, 0, false, false // beyond what a float holds
	}
	v := wholeOrNot(litNumber, f)
	return v.whole, f, v.isWhole, true
}

// dataHolds makes the test of a comparison with a value in the data. Values of another type than the
// literal are not equal to it and have no order with it. A missing value and null are nil.
func dataHolds(op compareOp, want literal) (holds func(v *view, raw []byte) bool, nils bool) {
	isNil := func(raw []byte) bool { return raw == nil || string(raw) == "null" }
	if want.isNil() {
		return func(_ *view, raw []byte) bool { return isNil(raw) == (op == opEqual) }, op == opEqual
	}
	var same func(v *view, raw []byte) (comparable, holds bool)
	switch {
	case op == opMatch || op == opNotMatch:
		return func(v *view, raw []byte) bool {
			if isNil(raw) {
				return false
			}
			text := raw // numbers, objects: as they are written
			if s, grown, ok := stringOf(raw, v.text); ok {
				text, v.text = s, grown
			}
			return want.re.Match(text) == (op == opMatch)
		}, false
	case want.kind == litWord:
		same = func(_ *view, raw []byte) (bool, bool) {
			yes := string(raw) == "true"
			return yes || string(raw) == "false", yes == (want.text == "true") == (op == opEqual)
		}
	case want.kind == litString:
		text := []byte(want.text)
		same = func(v *view, raw []byte) (bool, bool) {
			s, grown, ok := stringOf(raw, v.text)
			v.text = grown
			return ok, ok && ordered(op, bytes.Compare(s, text))
		}
	default:
		low, high, outside := want.interval(op)
		same = func(_ *view, raw []byte) (bool, bool) {
			whole, number, isWhole, ok := numberOf(raw)
			if isWhole {
				return ok, (low <= whole && whole <= high) != outside
			}
			return ok, ok && floatHolds(op, number, want.number)
		}
	}
	return func(v *view, raw []byte) bool {
		if isNil(raw) {
			return false
		}
		comparable, holds := same(v, raw)
		return comparable && holds || !comparable && op == opNotEqual
	}, false
}

func floatHolds(op compareOp, a, b float64) bool {
	switch {
	case a < b:
		return ordered(op, -1)
	case a > b:
		return ordered(op, 1)
	}
	return ordered(op, 0)
}

// ordered says whether an operator holds for the outcome of a comparison.
func ordered(op compareOp, c int) bool {
	switch op {
	case opEqual:
		return c == 0
	case opNotEqual:
		return c != 0
	case opLess:
		return c < 0
	case opLessEqual:
		return c <= 0
	case opGreater:
		return c > 0
	case opGreaterEqual:
		return c >= 0
	case opMatch, opNotMatch:
	}
	return false
}
