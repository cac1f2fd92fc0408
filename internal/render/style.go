package render

import (
	"fmt"
	"io"
	"path"
	"strconv"
	"strings"
	"time"
	"unicode"
	"unicode/utf8"

	"github.com/pastcone/pastcone/event"
	"github.com/pastcone/pastcone/internal/wire"
)

// Style says how text is to look. The zero Style is 100 columns, without colour, in UTC.
type Style struct {
	Width     int                      // columns; 0: 100
	Color     bool                     // with ANSI colours
	Recording string                   // stands behind every command that is suggested; may be empty
	Sources   map[wire.SourceID]string // names of the sources, shown where there are several
	Location  *time.Location           // nil: UTC
	All       bool                     // leave nothing out: background, further waits
}

const (
	widthMin, widthOtherwise, widthMax = 40, 100, 400
)

func (s Style) width() int {
	if s.Width <= 0 {
		return widthOtherwise
	}
	return min(max(s.Width, widthMin), widthMax)
}

func (s Style) clock(ns int64) string {
	loc := s.Location
	if loc == nil {
		loc = time.UTC
	}
	return time.Unix(0, ns).In(loc).Format("2006-01-02 15:04:05.000000 MST")
}

// command gives a command to go on with, ready to paste.
func (s Style) command(words ...string) string {
	if s.Recording != "" {
		words = append(words, s.Recording)
	}
	for i, w := range words {
		words[i] = shellWord(w)
	}
	return "pastcone " + strings.Join(words, " ")
}

// shellWord quotes a word where a shell would take it apart.
func shellWord(w string) string {
	plain := func(r rune) bool {
		return !(r < utf8.RuneSelf && (unicode.IsLetter(r) || unicode.IsDigit(r)) || strings.ContainsRune("_-./:,+@%=", r))
	}
	if w != "" && strings.IndexFunc(w, plain) < 0 {
		return w
	}
	return "'" + strings.ReplaceAll(w, "'", `'\''`) + "'"
}

// ink is how a piece of text looks.
type ink uint8

const (
	plain ink = iota
	dim
	bold
	red
	yellow
	green
	cyan
)

var inks = [...]string{"", "\x1b[2m", "\x1b[1m", "\x1b[1;31m", "\x1b[33m", "\x1b[32m", "\x1b[36m"}

// narrow is the width below which places in the source are left out.
const narrow = 80

// margin is the right end of a line about an event: its place, a time, its id.
func (p *page) margin(e *event.Event, t string) []piece {
	m := []piece{{padLeft(t, timeColumn+1), plain}, {padLeft(number(e.ID), 8), dim}}
	if p.style.width() < narrow {
		return m
	}
	return append([]piece{{place(e), dim}}, m...)
}

const timeColumn = 10

// piece is a stretch of text in one ink.
type piece struct {
	text string
	ink  ink
}

// page writes lines that fit. The first error of its writer is kept, and ends the writing.
type page struct {
	w     io.Writer
	style Style
	err   error
	buf   []byte
}

// pageMax is the width beyond which an answer that is no table gets no wider: the eye would lose the line on its way to the margin.
const pageMax = 140

func newPage(w io.Writer, s Style) *page {
	s.Width = min(s.width(), pageMax)
	return &page{w: w, style: s}
}

// clean replaces what could steer a terminal or break a line.
func clean(s string) string {
	bad := func(r rune) bool {
		return r == utf8.RuneError || unicode.IsControl(r) || unicode.In(r, unicode.Cf, unicode.Zl, unicode.Zp)
	}
	if strings.IndexFunc(s, bad) < 0 {
		return s
	}
	return strings.Map(func(r rune) rune {
		switch {
		case r == '\n' || r == '\t' || r == '\r':
			return ' '
		case bad(r):
			return '·'
		}
		return r
	}, s)
}

// columns gives how many columns a text takes: two for the wide letters of East Asia and for emoji.
func columns(s string) (n int) {
	for _, r := range s {
		switch {
		case unicode.In(r, unicode.Mn, unicode.Me):
		case r >= 0x1100 && (r <= 0x115f || r >= 0x2e80 && r <= 0xa4cf || r >= 0xac00 && r <= 0xd7a3 ||
			r >= 0xf900 && r <= 0xfaff || r >= 0xfe30 && r <= 0xfe6f || r >= 0xff00 && r <= 0xff60 ||
			r >= 0x1f300 && r <= 0x1faff || r >= 0x20000):
			n += 2
		default:
			n++
		}
	}
	return n
}

// shorten cuts a text down to that many columns, with a mark.
func shorten(s string, most int) string {
	if columns(s) <= most {
		return s
	}
	if most < 1 {
		return ""
	}
	n := 0
	for i, r := range s {
		if n += columns(string(r)); n > most-1 {
			return s[:i] + "…"
		}
	}
	return s
}

// shortenLeft cuts a text down at its beginning: of a function or a file, the end says most.
func shortenLeft(s string, most int) string {
	n := columns(s)
	if n <= most {
		return s
	}
	if most < 1 {
		return ""
	}
	for i, r := range s {
		if n <= most-1 {
			return "…" + s[i:]
		}
		n -= columns(string(r))
	}
	return "…"
}

func width(pieces []piece) (n int) {
	for _, p := range pieces {
		n += columns(p.text)
	}
	return n
}

// line writes pieces, cut at the width.
func (p *page) line(pieces ...piece) { p.row(pieces, nil) }

// row writes pieces to the left, cut so that those to the right have their place at the margin.
func (p *page) row(left, right []piece) {
	room := p.style.width()
	rightWidth := width(right)
	if rightWidth > 0 {
		room -= rightWidth + 2
	}
	p.buf = p.buf[:0]
	used := 0
	for _, l := range left {
		text := shorten(l.text, room-used)
		p.put(piece{text, l.ink})
		used += columns(text)
		if text != l.text {
			break
		}
	}
	if rightWidth > 0 {
		p.buf = append(p.buf, strings.Repeat(" ", max(2, room-used+2))...)
		for _, r := range right {
			p.put(r)
		}
	}
	for len(p.buf) > 0 && p.buf[len(p.buf)-1] == ' ' {
		p.buf = p.buf[:len(p.buf)-1]
	}
	p.buf = append(p.buf, '\n')
	if p.err == nil {
		_, p.err = p.w.Write(p.buf)
	}
}

func (p *page) put(x piece) {
	if x.text == "" {
		return
	}
	if !p.style.Color || x.ink == plain {
		p.buf = append(p.buf, x.text...)
		return
	}
	p.buf = append(p.buf, inks[x.ink]...)
	p.buf = append(p.buf, x.text...)
	p.buf = append(p.buf, "\x1b[0m"...)
}

// next writes the commands to go on with.
func (p *page) next(pairs ...[2]string) {
	widest := 0
	for _, c := range pairs {
		widest = max(widest, columns(c[0]))
	}
	for i, c := range pairs {
		lead := "next  "
		if i > 0 {
			lead = "      "
		}
		p.buf = p.buf[:0]
		// A command is never cut: half of one is of no use.
		p.put(piece{lead, dim})
		p.put(piece{c[0], bold})
		if c[1] != "" && columns(lead)+widest+3+columns(c[1]) <= p.style.width() {
			p.put(piece{strings.Repeat(" ", widest-columns(c[0])+3) + c[1], dim})
		}
		p.buf = append(p.buf, '\n')
		if p.err == nil {
			_, p.err = p.w.Write(p.buf)
		}
	}
}

// took gives a duration with three digits and its unit.
func took(d time.Duration) string {
	sign := ""
	if d < 0 {
		sign, d = "-", -d
	}
	switch {
	case d == 0:
		return "0"
	case d < time.Microsecond:
		return fmt.Sprintf("%s%d ns", sign, d)
	case d < time.Millisecond:
		return sign + digits(float64(d)/1e3) + " µs"
	case d < time.Second:
		return sign + digits(float64(d)/1e6) + " ms"
	case d < time.Minute:
		return sign + digits(float64(d)/1e9) + " s"
	case d < time.Hour:
		return fmt.Sprintf("%s%dm%02ds", sign, d/time.Minute, d%time.Minute/time.Second)
	case d < 48*time.Hour:
		return fmt.Sprintf("%s%dh%02dm", sign, d/time.Hour, d%time.Hour/time.Minute)
	}
	return fmt.Sprintf("%s%dd%02dh", sign, d/(24*time.Hour), d%(24*time.Hour)/time.Hour)
}

// since gives a time since the beginning, fine enough to tell neighbours apart.
func since(d time.Duration) string {
	switch {
	case d >= time.Millisecond && d < time.Second:
		return trimZeros(strconv.FormatFloat(floorTo(float64(d)/1e6, 100), 'f', 2, 64)) + " ms"
	case d >= time.Second && d < time.Minute:
		return trimZeros(strconv.FormatFloat(floorTo(float64(d)/1e9, 1000), 'f', 3, 64)) + " s"
	}
	return took(d)
}

// digits gives a number below 1,000 with three digits. It cuts, and does not round up to 1,000.
func digits(x float64) string {
	switch {
	case x < 10:
		return trimZeros(strconv.FormatFloat(floorTo(x, 100), 'f', 2, 64))
	case x < 100:
		return trimZeros(strconv.FormatFloat(floorTo(x, 10), 'f', 1, 64))
	}
	return strconv.FormatFloat(floorTo(x, 1), 'f', 0, 64)
}

func floorTo(x, scale float64) float64 { return float64(int64(x*scale+1e-9)) / scale }

func trimZeros(s string) string { return strings.TrimSuffix(strings.TrimRight(s, "0"), ".") }

// Count gives a number with its thousands apart.
func Count(n uint64) string {
	s := strconv.FormatUint(n, 10)
	for i := len(s) - 3; i > 0; i -= 3 {
		s = s[:i] + "," + s[i:]
	}
	return s
}

func plural(n uint64, one, many string) string {
	if n == 1 {
		return "1 " + one
	}
	return Count(n) + " " + many
}

// word gives what stands behind a number.
func word(n uint64, one, many string) string {
	if n == 1 {
		return one
	}
	return many
}

// shortFunc leaves the path of the package out, but its last part, and names that compilers give to what stands in another function:
// a deferred call and a go statement are wrapped in functions of their own.
func shortFunc(f string) string {
	// The path ends before the parameters of a generic type begin.
	end := len(f)
	if i := strings.IndexByte(f, '['); i >= 0 {
		end = i
	}
	return clean(unwrapped(f[strings.LastIndexByte(f[:end], '/')+1:]))
}

// unwrapped leaves ".deferwrap1" and ".gowrap2" at the end of a function's name out.
func unwrapped(f string) string {
	for {
		short := strings.TrimRight(f, "0123456789")
		for _, wrap := range [...]string{".deferwrap", ".gowrap"} {
			if cut, ok := strings.CutSuffix(short, wrap); ok && short != f {
				f, short = cut, ""
			}
		}
		if short != "" || f == "" {
			return f
		}
	}
}

// place gives file and line in short.
func place(e *event.Event) string {
	if e.File == "" {
		return ""
	}
	file := clean(path.Base(strings.ReplaceAll(e.File, `\`, "/")))
	if e.Line == 0 {
		return file
	}
	return file + ":" + strconv.Itoa(e.Line)
}
