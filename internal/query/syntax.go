package query

import (
	"fmt"
	"strings"
	"unicode/utf8"
)

// SyntaxError says what is wrong with a query, where, and what would be right.
type SyntaxError struct {
	Query   string
	Offset  int // in bytes, where the wrong part begins
	Width   int // of the wrong part in bytes, at least 1
	Message string
	Hint    string // what would be right; may be empty
}

// Error gives the message, the line of the query that is wrong, and a caret under the place.
func (e *SyntaxError) Error() string {
	start := strings.LastIndexByte(e.Query[:e.Offset], '\n') + 1
	line := e.Query[start:]
	if end := strings.IndexByte(line, '\n'); end >= 0 {
		line = line[:end]
	}
	at := min(len(line), e.Offset-start)
	end := min(len(line), at+e.Width)
	before, marked, after := line[:at], line[at:end], line[end:]
	// Long lines are shown around the place.
	const sideMax = 60
	lead, tail := "", ""
	if n := len(before); n > sideMax {
		cut := n - sideMax
		for cut < n && !utf8.RuneStart(before[cut]) {
			cut++
		}
		before, lead = before[cut:], "… "
	}
	if len(after) > sideMax {
		cut := sideMax
		for cut > 0 && !utf8.RuneStart(after[cut]) {
			cut--
		}
		after, tail = after[:cut], " …"
	}
	var b strings.Builder
	b.WriteString(e.Message)
	if e.Hint != "" {
		b.WriteString(": " + e.Hint)
	}
	fmt.Fprintf(&b, "\n  %s%s%s%s%s\n  ", lead, printable(before), printable(marked), printable(after), tail)
	b.WriteString(strings.Repeat(" ", columns(lead)+columns(printable(before))))
	b.WriteString(strings.Repeat("^", max(1, columns(printable(marked)))))
	return b.String()
}

// columns gives how many columns of a terminal a text takes: two for the wide letters of East Asia.
func columns(s string) (n int) {
	for _, r := range s {
		n++
		if r >= 0x1100 && (r <= 0x115f || r >= 0x2e80 && r <= 0xa4cf || r >= 0xac00 && r <= 0xd7a3 || r >= 0xff00 && r <= 0xff60) {
			n++
		}
	}
	return n
}

// printable keeps a terminal in order: one column a rune, whatever was typed.
func printable(s string) string {
	return strings.Map(func(r rune) rune {
		if r < ' ' || r == 0x7f || r == utf8.RuneError {
			return '?'
		}
		return r
	}, s)
}
