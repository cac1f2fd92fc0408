package render

import (
	"io"
	"strings"
	"time"

	"github.com/pastcone/pastcone/event"
	"github.com/pastcone/pastcone/internal/query"
)

// indentMax is how many changes of stream are shown by indenting; a longer chain goes on at the margin
// of the last.
const indentMax = 6

// Why writes a chain of causes for a person:
//
//	headline     what happened, where, when
//	beneath it   other errors in its past: the likelier reason
//	chain        root first, indented where the stream changes, with waits between
//	meanwhile    what the same work was doing elsewhere, where somebody gave up waiting
//	next         commands
func Why(w io.Writer, c *query.Chain, s Style) error {
	p := newPage(w, s)
	d := whyText{page: p, chain: c}
	d.headline()
	d.errors()
	d.steps()
	d.meanwhile()
	d.commands()
	return p.err
}

type whyText struct {
	*page
	chain *query.Chain
	zero  int64 // the time that times are since
}

func (d *whyText) headline() {
	target := d.chain.Event()
	e := &target.Event
	text := d.chain.Text()
	head := []piece{{e.Kind.String(), kindInk(e.Kind)}}
	if text != "" {
		head = append(head, piece{"  ", plain}, piece{clean(text), bold})
	} else if subject := what(e); subject != "" {
		head = append(head, piece{"  " + subject, bold})
	}
	d.line(head...)
	d.row([]piece{{"  in " + d.style.where(target), plain}}, []piece{{d.style.clock(e.Time), dim}})
	if e.CorrelationConfidence != event.Exact {
		d.line(piece{"  what it belongs to is not sure (" + e.CorrelationConfidence.String() + "): events are missing, or were joined by order of time alone", yellow})
	}
	d.line()
}

// errors writes where the error came up, and which others were before it.
func (d *whyText) errors() {
	c := d.chain
	column := errorColumn
	if c.First != nil || c.Asked != nil {
		column = passedColumn
	}
	about := func(lead string, r *query.Row) {
		d.row([]piece{{pad("  "+lead, column), dim}, {d.style.where(r), plain}}, []piece{{idText(r.Event.ID), dim}})
	}
	if c.First != nil {
		about("came up in", c.First)
	}
	if c.Asked != nil {
		about("passed on to", c.Asked)
	}
	for i, r := range c.Errors {
		lead := "after"
		switch {
		case c.Wraps(r):
			lead = "wraps"
		case i > 0:
			lead = "and"
		}
		text := clean(r.Text())
		if text == "" {
			text = what(&r.Event)
		}
		d.row([]piece{{pad("  "+lead, column), dim}, {text, red}}, []piece{{idText(r.Event.ID), dim}})
		d.line(piece{strings.Repeat(" ", column) + "in " + d.style.where(r), plain})
	}
	if len(c.Errors) > 0 || c.First != nil || c.Asked != nil {
		d.line()
	}
}

// Where what is told of errors begins.
const errorColumn, passedColumn = 9, 16

// steps writes the chain. What led to the work is one line, unless all is wanted.
func (d *whyText) steps() {
	steps := d.chain.Steps
	first := 0
	if !d.style.All {
		for i := range steps {
			if steps[i].Founds && steps[i].Row.Event.Correlation == d.chain.Event().Event.Correlation {
				first = i
			}
		}
	}
	d.zero = steps[first].Row.Event.Time
	since := "since the root"
	if first > 0 {
		since = "since the work began"
	}
	d.row([]piece{{"  " + d.top(first), dim}}, []piece{{since + "      id", dim}})
	depth := 0
	for i := first; i < len(steps); i++ {
		s := &steps[i]
		if s.Crosses && i > first {
			if depth < indentMax {
				depth++
			}
		}
		d.step(s, i == first, i == len(steps)-1, depth)
	}
	if d.chain.Cut != "" {
		d.line(piece{"  " + d.chain.Cut, yellow})
	}
	d.line()
}

// top says what is above the first step that is shown.
func (d *whyText) top(first int) string {
	if first == 0 {
		switch d.chain.Top {
		case query.TopMissing:
			return "✗ the cause of the first event is missing: " + d.chain.Steps[0].Edge.Kind.String()
		case query.TopDamaged:
			return "✗ what came before is in a damaged part of the recording"
		case query.TopRetention:
			return "… what came before is gone by retention"
		case query.TopDepth:
			return "… there is more before"
		case query.TopRoot:
		}
		return ""
	}
	// The streams that the chain came through.
	var through []string
	for i := range first {
		s := &d.chain.Steps[i]
		if i == 0 || s.Crosses {
			through = append(through, d.style.streamOf(s.Row))
		}
	}
	if n := len(through); n > 4 {
		through = append(through[:2:2], append([]string{"…"}, through[n-2:]...)...)
	}
	lead := ""
	switch d.chain.Top {
	case query.TopMissing, query.TopDamaged:
		lead = "✗ "
	case query.TopRetention, query.TopDepth:
		lead = "… "
	case query.TopRoot:
	}
	return lead + "came through " + strings.Join(through, " → ") + " (" + plural(uint64(first), "event", "events") + ")" // #nosec G115 -- an index
}

// step writes one event of the chain, what was waited for before it, and its text.
func (d *whyText) step(s *query.Step, first, last bool, depth int) {
	e := &s.Row.Event
	gutter := "  " + strings.Repeat("    ", depth)
	if first || s.Crosses {
		// A new stream: its name on the rail, and how it came to it.
		lead := gutter
		if !first && depth > 0 {
			lead = gutter[:len(gutter)-4] + "└─► "
		}
		head := []piece{{lead, dim}, {d.style.streamOf(s.Row), bold}}
		if s.Crosses && !first {
			head = append(head, piece{"  " + d.crossing(s), dim})
			if m := mark(s.Edge.Confidence, s.Edge.P); m.text != "" {
				head = append(head, piece{" ", plain}, m)
			}
		}
		d.line(head...)
	}
	if !s.Crosses || first {
		d.waits(s, gutter)
	}
	bullet, bulletInk := "│ ", dim
	if last {
		bullet, bulletInk = "● ", kindInk(e.Kind)
	}
	left := []piece{{gutter, plain}, {bullet, bulletInk}, {pad(e.Kind.String(), 8), kindInk(e.Kind)}}
	if m := mark(e.Confidence, s.Edge.P); m.text != "" && (!s.Crosses || first) {
		left = append(left, m, piece{" ", plain})
	}
	left = append(left, piece{what(e), plain})
	if s.Return != 0 {
		left = append(left, piece{"  ran " + took(s.Took), dim})
	}
	if e.Kind == event.KindReturn && e.Duration > 0 {
		left = append(left, piece{"  ran " + took(e.Duration), dim})
	}
	if args := argumentsText(e); args != "" {
		left = append(left, piece{"  " + args, dim})
	}
	d.row(left, d.margin(e, since(time.Duration(e.Time-d.zero))))
	if s.Crosses && !first {
		d.waits(s, gutter)
	}
	text := clean(s.Row.Text())
	if text != "" && (e.Kind == event.KindError || e.Kind == event.KindLog) {
		ink := plain
		if e.Kind == event.KindError {
			ink = red
		}
		d.line(piece{gutter + "  ", dim}, piece{text, ink})
	}
	if rest := dataText(e, s.Row.Text()); rest != "" && rest != argumentsText(e) && e.Kind != event.KindMetric && e.Kind != event.KindLog && (last || e.Kind == event.KindError || s.Founds) {
		d.line(piece{gutter, dim}, piece{railUnless(last) + rest, dim})
	}
}

func railUnless(last bool) string {
	if last {
		return "  "
	}
	return "│ "
}

func pad(s string, n int) string     { return s + strings.Repeat(" ", max(1, n-columns(s))) }
func padLeft(s string, n int) string { return strings.Repeat(" ", max(1, n-columns(s))) + s }

// crossing says how the chain came to another stream.
func (d *whyText) crossing(s *query.Step) string {
	after := took(s.SinceParent)
	late := ""
	if s.Late {
		late = ", known late"
	}
	switch s.Edge.Kind {
	case event.EdgeMessage:
		return "took it " + after + " later" + late
	case event.EdgeSpawn:
		return "began " + after + " later" + late
	default:
		return "by " + s.Edge.Kind.String() + ", " + after + " later" + late
	}
}

// waits writes what the stream had waited for.
func (d *whyText) waits(s *query.Step, gutter string) {
	for i := range s.Waits {
		w := &s.Waits[i]
		lead := []piece{{gutter, plain}, {"│ ", dim}, {"⧗ ", yellow}}
		right := []piece(nil)
		if w.For.Row != nil {
			right = []piece{{idText(w.For.Row.Event.ID), dim}}
		}
		d.roomy(lead, right, func(where func(*query.Row) string) []piece { return d.wait(w, where) })
	}
	if s.WaitsMore > 0 {
		more := "and " + plural(uint64(s.WaitsMore), "shorter wait", "shorter waits") // #nosec G115 -- a count
		if s.WaitsRest > 0 {
			more += ", " + took(s.WaitsRest) + " in all"
		}
		d.line(piece{gutter, plain}, piece{"│ ⧗ " + more, dim})
	}
}

// roomy writes a sentence that names other events: with their places in the source, where there is room.
func (d *whyText) roomy(lead, right []piece, sentence func(where func(*query.Row) string) []piece) {
	left := append(lead[:len(lead):len(lead)], sentence(d.style.where)...)
	room := d.style.width()
	if n := width(right); n > 0 {
		room -= n + 2
	}
	if width(left) > room {
		left = append(lead[:len(lead):len(lead)], sentence(d.style.who)...)
	}
	d.row(left, right)
}

func (d *whyText) wait(w *query.Wait, where func(*query.Row) string) []piece {
	if lay(w) {
		found := d.cause(w.Row, &w.For, where)
		found[0].text = "found" + strings.TrimPrefix(found[0].text, "for")
		return found
	}
	var out []piece
	if w.Waited > 0 {
		out = append(out, piece{"waited " + took(w.Waited), yellow}, piece{" ", plain})
	}
	return append(out, d.cause(w.Row, &w.For, where)...)
}

// lay says whether a message, or the end of a channel, lay ready for longer than the stream can have waited.
func lay(w *query.Wait) bool {
	return w.For.Row != nil && w.Waited > 0 && w.For.Before > w.Waited && (w.For.Edge.Kind == event.EdgeMessage || w.For.Edge.Kind == event.EdgeClose)
}

// cause says what an event had waited for.
func (d *whyText) cause(of *query.Row, c *query.Cause, where func(*query.Row) string) (out []piece) {
	if c.Row != nil && c.Row.Timer() && c.Edge.Kind == event.EdgeMessage {
		return []piece{{"for " + d.style.streamOf(c.Row), plain}} // through which channel is of no use to anybody
	}
	key := clean(of.Event.Key)
	var how string
	switch c.Edge.Kind {
	case event.EdgeLock:
		how = "for the lock " + key
	case event.EdgeMessage:
		how = "for a message on " + key
	case event.EdgeClose:
		how = "for the end of " + key
	case event.EdgeWake:
		how = "to be woken"
	case event.EdgeExplicit:
		how = "for what it names as its cause"
	default:
		how = "for " + c.Edge.Kind.String()
	}
	out = append(out, piece{strings.TrimSuffix(strings.TrimSuffix(how, " "), " on"), plain})
	if m := mark(c.Edge.Confidence, c.Edge.P); m.text != "" {
		out = append(out, piece{" ", plain}, m)
	}
	switch {
	case c.Gone:
		out = append(out, piece{", which is gone by retention", dim})
	case c.Damaged:
		out = append(out, piece{", which is in a damaged part", red})
	case c.Row == nil:
		out = append(out, piece{", which is missing", red})
	default:
		verb := map[event.EdgeKind]string{event.EdgeLock: "held by ", event.EdgeMessage: "from ", event.EdgeClose: "closed by ", event.EdgeWake: "by "}[c.Edge.Kind]
		out = append(out, piece{", " + verb + where(c.Row), plain})
	}
	return out
}

// commands suggests what to ask next: the earlier error, else what was waited for longest, and the event.
func (d *whyText) commands() {
	target := d.chain.Event().Event.ID
	var pairs [][2]string
	if d.chain.First != nil {
		pairs = append(pairs, [2]string{d.style.command("why", number(d.chain.First.Event.ID)), "where the error came up"})
	} else if len(d.chain.Errors) > 0 {
		pairs = append(pairs, [2]string{d.style.command("why", number(d.chain.Errors[0].Event.ID)), "the error before it"})
	}
	if late := d.late(); late != nil {
		pairs = append(pairs, [2]string{d.style.command("why", number(late.Event.ID)), "what came too late"})
	} else if w := d.longest(); w != nil {
		pairs = append(pairs, [2]string{d.style.command("why", number(w.For.Row.Event.ID)), "what it waited for, " + took(w.Waited)})
	}
	if d.chain.Top == query.TopDepth {
		pairs = append(pairs, [2]string{d.style.command("why", number(d.chain.Steps[0].Row.Event.ID)), "what came before"})
	}
	pairs = append(pairs, [2]string{d.style.command("show", number(target)), "everything about it"})
	if e := &d.chain.Event().Event; !e.Background {
		pairs = append(pairs, [2]string{d.style.command("find", "{ correlation = "+number(e.Correlation)+" }"), "all of this work"})
	}
	d.next(pairs...)
}

// longest gives the wait that took most, if it took a tenth of the time or more.
func (d *whyText) longest() (longest *query.Wait) {
	whole := time.Duration(d.chain.Event().Event.Time - d.zero)
	for i := range d.chain.Steps {
		for j := range d.chain.Steps[i].Waits {
			w := &d.chain.Steps[i].Waits[j]
			if w.For.Row != nil && !lay(w) && w.Waited > 0 && w.Waited >= whole/10 && (longest == nil || w.Waited > longest.Waited) {
				longest = w
			}
		}
	}
	return longest
}
