package render

import (
	"errors"
	"io"
	"strings"
	"time"

	"github.com/pastcone/pastcone/event"
	"github.com/pastcone/pastcone/internal/query"
)

// tableAhead is how many lines of a table decide how wide its columns are; the rest is written as it
// comes.
const tableAhead = 200

// Find writes the answer of a query as a table, line by line.
type Find struct {
	page    *page
	query   *query.Query
	heads   []string
	numeric []bool              // columns that are aligned to the right
	left    []bool              // columns that are cut at their beginning
	short   []map[string]string // columns of functions without the path of their packages: what stands for which function
	held    [][]piece
	widths  []int
	clock   []bool // columns of times without their day
	opened  bool
	lastID  string
}

// NewFind begins a table for the answers of q.
func NewFind(w io.Writer, q *query.Query, s Style) *Find {
	f := &Find{page: &page{w: w, style: s}, query: q}
	switch {
	case q.Aggregate():
		f.heads = append(q.By(), q.Columns()...)
		f.numeric = make([]bool, len(f.heads))
		for i := len(q.By()); i < len(f.heads); i++ {
			f.numeric[i] = true
		}
	case len(q.Selected()) > 0:
		f.heads = append([]string{"id"}, q.Selected()...)
		f.numeric = make([]bool, len(f.heads))
		f.numeric[0] = true
	default:
		f.heads = []string{"id", "time", "stream", "kind", "what"}
		f.numeric = []bool{true, false, false, false, false}
	}
	f.left = make([]bool, len(f.heads))
	for i, h := range f.heads {
		f.left[i] = h == "func" || h == "file"
	}
	return f
}

// Hit adds a line.
func (f *Find) Hit(h *query.Hit) error {
	var cells []piece
	switch {
	case f.query.Aggregate():
		for i, v := range h.Values {
			if h.Others && i < len(f.query.By()) {
				cells = append(cells, piece{"(others)", dim})
				continue
			}
			cells = append(cells, piece{f.page.value(v, i >= len(f.query.By())), plain})
		}
	case len(h.Values) > 0:
		f.lastID = number(h.Event.ID)
		cells = append(cells, piece{f.lastID, dim})
		for _, v := range h.Values {
			cells = append(cells, piece{f.page.value(v, false), plain})
		}
	default:
		cells = f.event(h)
	}
	if f.opened {
		f.write(cells)
		return f.page.err
	}
	if f.held = append(f.held, cells); len(f.held) == tableAhead {
		f.open()
	}
	return f.page.err
}

// value gives a value for people.
func (p *page) value(v query.Value, aggregate bool) string {
	switch v.Type {
	case query.Duration:
		return took(time.Duration(v.Whole))
	case query.Time:
		return strings.TrimSuffix(p.style.clock(v.Whole), " UTC")
	case query.Integer:
		if aggregate && v.Whole >= 0 {
			return Count(uint64(v.Whole))
		}
	case query.Nothing:
		return "–"
	case query.Boolean, query.Float, query.Text, query.JSON:
	}
	return clean(v.String())
}

func (f *Find) event(h *query.Hit) []piece {
	e := &h.Event
	f.lastID = number(e.ID)
	row := query.Row{Event: *e, Source: h.Source}
	text := clean(row.Text())
	about := what(e)
	if text != "" {
		about = text + "  " + about
	}
	if e.Duration > 0 {
		about += "  ran " + took(e.Duration)
	}
	if p := place(e); p != "" {
		about += "  " + p
	}
	if d := dataText(e, row.Text()); d != "" && e.Kind != event.KindMetric && e.Kind != event.KindGap && !strings.Contains(about, d) { // what these are about is their data
		about += "  " + d
	}
	clock := f.page.style.clock(e.Time)
	return []piece{{f.lastID, dim}, {clock[len("2006-01-02 "):len("2006-01-02 15:04:05.000000")], plain}, {f.page.style.streamOf(&row), bold}, {e.Kind.String(), kindInk(e.Kind)}, {about, plain}}
}

// cellMax bounds a column that is not the last.
const cellMax = 60

// open decides on the widths and writes what is held.
func (f *Find) open() {
	f.opened = true
	f.widths = make([]int, len(f.heads))
	heads := make([]piece, len(f.heads))
	for i, h := range f.heads {
		heads[i] = piece{h, dim}
		f.widths[i] = columns(h)
	}
	f.measure()
	f.shorten()
	// Numbers are never cut: what room they leave is for the widest of the others.
	total := 0
	for i := range f.widths {
		if i < len(f.widths)-1 && !f.numeric[i] {
			f.widths[i] = min(f.widths[i], cellMax)
		}
		total += f.widths[i] + 2
	}
	for over := total - f.page.style.width(); over > 0; over-- {
		widest := -1
		for i := range f.widths {
			if !f.numeric[i] && f.widths[i] > 12 && (widest < 0 || f.widths[i] > f.widths[widest]) {
				widest = i
			}
		}
		if widest < 0 {
			break
		}
		f.widths[widest]--
	}
	f.write(heads)
	for _, cells := range f.held {
		f.write(cells)
	}
	f.held = nil
}

// measure finds how wide the columns of what is held are.
func (f *Find) measure() {
	for _, cells := range f.held {
		for i := range cells {
			f.widths[i] = max(f.widths[i], columns(f.cell(cells, i)))
		}
	}
}

// shorten leaves out, where a table would not fit, the day of times, and the paths of packages of functions: of those that differ in the
// path alone, the first only.
func (f *Find) shorten() {
	total := 0
	for _, n := range f.widths {
		total += n + 2
	}
	f.short, f.clock = make([]map[string]string, len(f.heads)), make([]bool, len(f.heads))
	for i, head := range f.heads {
		if head == "time" && total > f.page.style.width() {
			f.clock[i], f.widths[i] = true, columns(head)
		}
		if head == "func" && (total > f.page.style.width() || i < len(f.heads)-1 && f.widths[i] > cellMax) {
			f.short[i] = map[string]string{}
			f.widths[i] = columns(head)
		}
	}
	f.measure()
}

// clockDay is as long as the day in front of a time.
const clockDay = "2006-01-02 "

// shortsMax bounds how many functions a table remembers.
const shortsMax = 10_000

// cell gives the text of a cell.
func (f *Find) cell(cells []piece, i int) string {
	text := cells[i].text
	if f.short == nil {
		return text
	}
	if f.clock[i] && len(text) > len(clockDay) && text[len(clockDay)-1] == ' ' {
		return text[len(clockDay):]
	}
	if f.short[i] == nil {
		return text
	}
	short := shortFunc(text)
	if whole, known := f.short[i][short]; !known && len(f.short[i]) < shortsMax {
		f.short[i][short] = text
	} else if whole != text {
		return text
	}
	return short
}

func (f *Find) write(cells []piece) {
	var line []piece
	for i, c := range cells {
		text := f.cell(cells, i)
		if f.numeric[i] {
			text = strings.Repeat(" ", max(0, f.widths[i]-columns(text))) + text
		} else if i < len(cells)-1 || f.left[i] {
			if f.left[i] {
				text = shortenLeft(text, f.widths[i])
			} else {
				text = shorten(text, f.widths[i])
			}
			text += strings.Repeat(" ", max(0, f.widths[i]-columns(text)))
		}
		line = append(line, piece{text, c.ink}, piece{"  ", plain})
	}
	f.page.line(line...)
}

// End writes what the answer rests on, and a command to go on with.
func (f *Find) End(sum query.Summary) error {
	if !f.opened && len(f.held) > 0 {
		f.open()
	}
	p := f.page
	var text string
	switch {
	case sum.Given == 0 && !sum.Cut:
		text = "nothing matches"
	case f.query.Aggregate():
		text = plural(sum.Given, "group", "groups") + " of " + plural(sum.Matched, "event", "events")
	case sum.More:
		text = plural(sum.Given, "event", "events") + ", and there may be more"
	default:
		text = plural(sum.Given, "event", "events")
	}
	text += "; " + plural(uint64(sum.BlocksRead), "block", "blocks") + " of " + Count(uint64(sum.Blocks)) + " read in " + took(sum.Elapsed) // #nosec G115 -- counts
	p.line(piece{text, dim})
	if sum.Cut {
		p.line(piece{"cut off: " + sum.Reason, yellow})
	}
	if f.lastID != "" {
		p.line()
		p.next([2]string{p.style.command("why", f.lastID), "the causes of the last one"})
	}
	return p.err
}

// asSyntax finds the error of a query in an error.
func asSyntax(err error) (s *query.SyntaxError, ok bool) {
	ok = errors.As(err, &s)
	return s, ok
}
