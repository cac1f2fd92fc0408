package query

import (
	"fmt"
	"math"
	"strconv"
	"strings"
	"time"
	"unicode/utf8"
)

// tokenKind is what a token is. Operators and brackets are their own text.
type tokenKind uint8

const (
	tokEnd tokenKind = iota
	tokSymbol
	tokWord   // a name, possibly a path: its parts are in path
	tokString // its value is in text
	tokNumber // any number, duration, size or time: in value
)

type token struct {
	kind   tokenKind
	offset int
	width  int
	text   string
	path   []string
	value  literal
}

// is says whether the token is that symbol.
func (t *token) is(symbol string) bool { return t.kind == tokSymbol && t.text == symbol }

// The bounds of a query.
const (
	queryBytesMax = 16 << 10
	depthMax      = 64
	pathMax       = 32
)

// symbols are tried in this order: the longer first.
var symbols = [...]string{
	"!<<", "!>>", "&&", "||", "<<", ">>", "<=", ">=", "!=", "=~", "!~", "!<", "!>", "==",
	"{", "}", "(", ")", ",", "|", "!", "<", ">", "=",
}

// lexer cuts a query into tokens.
type lexer struct {
	query string
	at    int
}

func (l *lexer) fail(offset, width int, hint, format string, args ...any) error {
	return &SyntaxError{Query: l.query, Offset: offset, Width: max(width, 1), Message: fmt.Sprintf(format, args...), Hint: hint}
}

func (l *lexer) next() (token, error) {
	for l.at < len(l.query) && strings.IndexByte(" \t\r\n", l.query[l.at]) >= 0 {
		l.at++
	}
	start := l.at
	if start == len(l.query) {
		return token{kind: tokEnd, offset: start, width: 1}, nil
	}
	c := l.query[start]
	switch {
	case isDigit(c), c == '-' && start+1 < len(l.query) && isDigit(l.query[start+1]):
		return l.numeric()
	case c == '"' || c == '`':
		text, err := l.quoted()
		return token{kind: tokString, offset: start, width: l.at - start, text: text}, err
	case isWordByte(c):
		return l.word()
	}
	for _, s := range symbols {
		if !strings.HasPrefix(l.query[start:], s) {
			continue
		}
		if s == "==" {
			return token{}, l.fail(start, 2, "write = for equal, =~ for a regular expression", "unknown operator ==")
		}
		l.at += len(s)
		return token{kind: tokSymbol, offset: start, width: len(s), text: s}, nil
	}
	r, width := utf8.DecodeRuneInString(l.query[start:])
	hint := ""
	switch r {
	case '\'', '“', '”', '‘', '’':
		hint = "put text in \"double quotes\" or `backquotes`"
	case '&':
		hint = "write && for and"
	case '~':
		hint = "write =~ for a regular expression, !~ for none that matches"
	case '.':
		hint = "attributes are fields of data here: write data.name"
	case '-':
		hint = "a - stands only before a number"
	}
	if r == utf8.RuneError && width == 1 {
		return token{}, l.fail(start, 1, "a query is UTF-8 text", "byte %#02x is not text", l.query[start])
	}
	return token{}, l.fail(start, width, hint, "unexpected %q", r)
}

func isDigit(c byte) bool { return '0' <= c && c <= '9' }

// word reads a name, or a path of names, digits and quoted parts with dots between.
func (l *lexer) word() (token, error) {
	start := l.at
	t := token{kind: tokWord, offset: start}
	for {
		if l.at < len(l.query) && l.query[l.at] == '"' {
			part, err := l.quoted()
			if err != nil {
				return token{}, err
			}
			t.path = append(t.path, part)
		} else {
			from := l.at
			for l.at < len(l.query) && isWordByte(l.query[l.at]) {
				l.at++
			}
			if l.at == from {
				return token{}, l.fail(from, 1, "as in data.user.id, or data.\"user-id\" for a name with other characters", "a name is missing behind the dot")
			}
			t.path = append(t.path, l.query[from:l.at])
		}
		if len(t.path) > pathMax {
			return token{}, l.fail(start, l.at-start, fmt.Sprintf("%d names are the most", pathMax), "the path is too long")
		}
		if l.at == len(l.query) || l.query[l.at] != '.' {
			break
		}
		l.at++
	}
	t.width = l.at - start
	t.text = l.query[start:l.at]
	return t, nil
}

// quoted reads a string in double quotes, with the escapes of Go, or in backquotes, without any.
func (l *lexer) quoted() (string, error) {
	start := l.at
	quote := l.query[start]
	l.at++
	for l.at < len(l.query) {
		c := l.query[l.at]
		switch {
		case c == quote:
			l.at++
			if quote == '`' {
				return l.text(start+1, l.query[start+1:l.at-1])
			}
			return l.unescape(start+1, l.query[start+1:l.at-1])
		case c == '\\' && quote == '"':
			l.at++
		}
		l.at++
	}
	l.at = len(l.query)
	return "", l.fail(start, 1, fmt.Sprintf("it needs a closing %c", quote), "this text does not end")
}

func (l *lexer) text(offset int, s string) (string, error) {
	if !utf8.ValidString(s) {
		return "", l.fail(offset, len(s), "a query is UTF-8 text", "this text is not UTF-8")
	}
	return s, nil
}

func (l *lexer) unescape(offset int, s string) (string, error) {
	if strings.IndexByte(s, '\\') < 0 {
		return l.text(offset, s)
	}
	var b strings.Builder
	for rest := s; rest != ""; {
		r, _, tail, err := strconv.UnquoteChar(rest, '"')
		if err != nil {
			at := offset + len(s) - len(rest)
			hint := "the escapes are those of Go: \\\\ \\\" \\n \\t \\xhh \\uhhhh"
			if len(rest) > 1 && strings.IndexByte(".()[]{}+*?|^$dDwWsSbB", rest[1]) >= 0 {
				hint = fmt.Sprintf("write \\\\%c, or put the regular expression in backquotes", rest[1])
			}
			return "", l.fail(at, min(2, len(rest)), hint, "unknown escape")
		}
		if rest[0] == '\\' && rest[1] == 'x' || r == utf8.RuneError {
			b.WriteByte(byte(r)) // #nosec G115 -- \x gives one byte
		} else {
			b.WriteRune(r)
		}
		rest = tail
	}
	return l.text(offset, b.String())
}

// durationUnits and sizeUnits are what may stand behind a number.
var (
	durationUnits = map[string]float64{
		"ns": 1, "us": 1e3, "µs": 1e3, "μs": 1e3, "ms": 1e6, "s": 1e9, "m": 60e9, "h": 3600e9, "d": 86400e9,
	}
	sizeUnits = map[string]float64{
		"B": 1, "kB": 1e3, "KB": 1e3, "MB": 1e6, "GB": 1e9, "TB": 1e12,
		"KiB": 1 << 10, "MiB": 1 << 20, "GiB": 1 << 30, "TiB": 1 << 40,
	}
)

var timeForms = [...]string{time.RFC3339Nano, "2006-01-02T15:04:05.999999999", "2006-01-02T15:04", "2006-01-02"}

// parseTime reads an absolute time; one without a zone is UTC.
func parseTime(text string) (int64, bool) {
	for _, form := range timeForms {
		t, err := time.Parse(form, text)
		if err == nil && t.Year() >= 1678 && t.Year() < 2262 {
			return t.UnixNano(), true
		}
	}
	return 0, false
}

// numeric reads a number, a duration (1h30m), a size (4KiB) or a time (2026-01-02T15:04:05Z).
func (l *lexer) numeric() (token, error) {
	start := l.at
	if v, ok, err := l.clock(); ok || err != nil {
		return token{kind: tokNumber, offset: start, width: l.at - start, value: v}, err
	}
	number := l.digits()
	unit := l.unit()
	done := func(v literal) (token, error) {
		return token{kind: tokNumber, offset: start, width: l.at - start, text: l.query[start:l.at], value: v}, nil
	}
	if unit == "" {
		if whole, err := strconv.ParseInt(number, 10, 64); err == nil {
			return done(literal{kind: litNumber, whole: whole, number: float64(whole), isWhole: true})
		}
		f, err := strconv.ParseFloat(number, 64)
		if err != nil || math.IsInf(f, 0) {
			return token{}, l.fail(start, l.at-start, "", "%s is not a number that fits", number)
		}
		return done(wholeOrNot(litNumber, f))
	}
	if size, ok := sizeUnits[unit]; ok {
		f, err := strconv.ParseFloat(number, 64)
		if f *= size; err != nil || math.Abs(f) >= 1<<63 {
			return token{}, l.fail(start, l.at-start, "", "this size does not fit")
		}
		return done(literal{kind: litSize, whole: int64(f), number: float64(int64(f)), isWhole: true})
	}
	// A duration: the sign holds for all of its parts.
	sum, sign := 0.0, 1.0
	exact, isExact := int64(0), true
	if number[0] == '-' {
		number, sign = number[1:], -1
	}
	for {
		scale, ok := durationUnits[unit]
		if !ok {
			units := []string{"ns", "us", "ms", "s", "m", "h", "d", "B", "KB", "MB", "GB", "KiB", "MiB", "GiB"}
			hint := "durations end in ns us ms s m h d, sizes in B KB MB GB KiB MiB GiB"
			if near := nearest(unit, units); near != "" && len(unit) > 1 {
				hint = "did you mean " + near + "?"
			}
			return token{}, l.fail(l.at-len(unit), len(unit), hint, "unknown unit %q", printable(unit))
		}
		f, err := strconv.ParseFloat(number, 64)
		if err != nil {
			return token{}, l.fail(start, l.at-start, "", "%s is not a number that fits", number)
		}
		sum += f * scale
		if n, err := strconv.ParseInt(number, 10, 64); err == nil && isExact && n < math.MaxInt64/int64(scale) {
			exact += n * int64(scale)
		} else {
			isExact = false
		}
		if l.at == len(l.query) || !isDigit(l.query[l.at]) {
			break
		}
		number = l.digits()
		unit = l.unit()
	}
	if sum >= 1<<62 {
		return token{}, l.fail(start, l.at-start, "the longest is about 146 years", "this duration does not fit")
	}
	if !isExact {
		exact = int64(math.Round(sum))
	}
	exact *= int64(sign)
	return done(literal{kind: litDuration, whole: exact, number: float64(exact), isWhole: true})
}

func wholeOrNot(kind literalKind, f float64) literal {
	if f == math.Trunc(f) && math.Abs(f) < 1<<53 {
		return literal{kind: kind, whole: int64(f), number: f + 0, isWhole: true}
	}
	return literal{kind: kind, number: f}
}

// digits reads [-]123[.45][e6].
func (l *lexer) digits() string {
	start := l.at
	skip := func() {
		for l.at < len(l.query) && isDigit(l.query[l.at]) {
			l.at++
		}
	}
	if l.query[l.at] == '-' {
		l.at++
	}
	skip()
	if l.at+1 < len(l.query) && l.query[l.at] == '.' && isDigit(l.query[l.at+1]) {
		l.at++
		skip()
	}
	if rest := l.query[l.at:]; len(rest) > 1 && (rest[0] == 'e' || rest[0] == 'E') {
		exponent := 1
		if rest[1] == '+' || rest[1] == '-' {
			exponent = 2
		}
		if len(rest) > exponent && isDigit(rest[exponent]) {
			l.at += exponent
			skip()
		}
	}
	return l.query[start:l.at]
}

// unit reads the letters behind a number.
func (l *lexer) unit() string {
	start := l.at
	for l.at < len(l.query) {
		r, width := utf8.DecodeRuneInString(l.query[l.at:])
		if r != 'µ' && r != 'μ' && (r >= utf8.RuneSelf || !isWordByte(byte(r)) || isDigit(byte(r))) { // #nosec G115 -- below RuneSelf
			break
		}
		l.at += width
	}
	return l.query[start:l.at]
}

// clock reads a time if one begins here: four digits and a dash.
func (l *lexer) clock() (v literal, ok bool, err error) {
	rest := l.query[l.at:]
	if len(rest) < 6 || rest[4] != '-' || !isDigit(rest[5]) {
		return v, false, nil
	}
	for _, c := range []byte(rest[:4]) {
		if !isDigit(c) {
			return v, false, nil
		}
	}
	end := 5
	for end < len(rest) && (isDigit(rest[end]) || strings.IndexByte("T:.Z+-", rest[end]) >= 0) {
		end++
	}
	ns, ok := parseTime(rest[:end])
	if !ok {
		return v, false, l.fail(l.at, end, "as in 2026-01-02T15:04:05Z", "%s is not a time", rest[:end])
	}
	l.at += end
	return literal{kind: litTime, whole: ns, number: float64(ns), isWhole: true}, true, nil
}
