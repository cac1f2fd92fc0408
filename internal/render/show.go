package render

import (
	"bytes"
	"encoding/json"
	"fmt"
	"io"
	"sort"
	"strconv"
	"strings"

	"github.com/pastcone/pastcone/event"
	"github.com/pastcone/pastcone/internal/query"
)

// Show writes everything about an event.
func Show(w io.Writer, d *query.Detail, s Style) error {
	p := newPage(w, s)
	e := &d.Row.Event
	p.headline("event "+number(e.ID)+"  ", d.Row)
	p.fields(d)
	p.causes(d)
	p.effects(d)
	p.neighbours(d)
	if d.Cut != "" {
		p.line(piece{"  " + d.Cut, yellow})
	}
	p.line()
	p.next([2]string{s.command("why", number(e.ID)), "its causes, root first"},
		[2]string{s.command("future", number(e.ID)), "what it led to"},
		[2]string{s.command("find", "{ correlation = "+number(e.Correlation)+" }"), "all that belongs together"})
	return p.err
}

const nameColumn = 14

// field writes a name and a value that may take several lines.
func (p *page) field(name, value string) {
	if value == "" {
		return
	}
	room := p.style.width() - nameColumn - 2
	for i, l := range wrap(clean(value), room) {
		lead := strings.Repeat(" ", nameColumn+2)
		if i == 0 {
			lead = "  " + pad(name, nameColumn)
		}
		p.line(piece{lead, dim}, piece{l, plain})
	}
}

// wrapLinesMax bounds how many lines one value takes.
const wrapLinesMax = 20

// wrap cuts text into lines, at spaces where there are some.
func wrap(s string, room int) (lines []string) {
	for columns(s) > room && len(lines) < wrapLinesMax-1 {
		cut, used, space := len(s), 0, -1
		for i, r := range s {
			if used += columns(string(r)); used > room {
				cut = i
				break
			}
			if r == ' ' {
				space = i
			}
		}
		if space > cut/2 {
			cut = space + 1
		}
		lines = append(lines, strings.TrimRight(s[:cut], " "))
		s = s[cut:]
	}
	return append(lines, shorten(s, room))
}

func (p *page) fields(d *query.Detail) {
	e := &d.Row.Event
	p.field("stream", fmt.Sprintf("%s, event %s of it", p.style.streamOf(d.Row), Count(e.Seq)))
	p.field("function", e.Func)
	if e.File != "" {
		p.field("place", e.File+":"+strconv.Itoa(e.Line))
	}
	key := e.Key
	if e.Ordinal > 0 {
		key += ", operation " + Count(e.Ordinal) + " on that end"
	}
	p.field("key", key)
	p.field("message", e.Message)
	p.field("peer", e.Peer)
	p.field("child", e.Child)
	p.field("ref", e.Ref)
	p.field("cause", strings.Join(e.Cause, ", "))
	var is []string
	for _, f := range []struct {
		is   bool
		text string
	}{
		{e.Root, "declared a root"}, {e.Empty, "an empty message"}, {e.Closed, "found its channel closed"},
		{e.Takes != nil && *e.Takes, "takes on work, its source says"}, {e.Takes != nil && !*e.Takes, "does not take on work, its source says"},
	} {
		if f.is {
			is = append(is, f.text)
		}
	}
	p.field("is", strings.Join(is, ", "))
	if e.Kind == event.KindReturn && e.Duration > 0 {
		p.field("ran", took(e.Duration))
	}
	if d.Took != nil {
		p.field("ran", took(d.Took.Event.Duration)+", until event "+number(d.Took.Event.ID))
	}
	p.field("belongs to", p.belongs(d))
	p.data(e)
	for _, name := range sortedNames(e.Extra) {
		p.field(clean(name), string(e.Extra[name]))
	}
}

func sortedNames(m map[string]json.RawMessage) []string {
	names := make([]string, 0, len(m))
	for name := range m {
		names = append(names, name)
	}
	sort.Strings(names)
	return names
}

// belongs tells of the correlation.
func (p *page) belongs(d *query.Detail) string {
	e := &d.Row.Event
	kind := "the work"
	if e.Background {
		kind = "the background"
	}
	text := kind + " that it founded itself"
	if e.Correlation != e.ID {
		text = kind + " that event " + number(e.Correlation) + " founded"
		if d.Founder != nil {
			text += ": " + d.Founder.Event.Kind.String() + " " + what(&d.Founder.Event)
		}
		text += ", " + plural(uint64(e.Position), "step", "steps") + " up"
	}
	if e.CorrelationConfidence != event.Exact {
		text += " (" + e.CorrelationConfidence.String() + ")"
	}
	return text
}

// data writes the data, a value a line.
func (p *page) data(e *event.Event) {
	d := json.NewDecoder(bytes.NewReader(e.Data))
	if t, err := d.Token(); err != nil || t != json.Delim('{') {
		return
	}
	for d.More() {
		name, err := d.Token()
		var raw json.RawMessage
		if err != nil || d.Decode(&raw) != nil {
			return
		}
		value := string(raw)
		if text := ""; json.Unmarshal(raw, &text) == nil && raw[0] == '"' {
			value = text
		}
		key, _ := name.(string)
		if e.Kind == event.KindError && key == "identity" {
			continue // tells errors apart for those who compute; it is in JSON
		}
		p.field(clean("data."+key), value)
	}
}

func (p *page) causes(d *query.Detail) {
	p.line()
	if len(d.Causes) == 0 {
		p.line(piece{"  causes", bold}, piece{"   none: nothing is known to have caused it", dim})
		return
	}
	p.line(piece{"  causes", bold})
	for i, c := range d.Causes {
		lead := "    also     "
		if i == 0 && (c.Edge.ID == d.Row.Event.Parent) {
			lead = "    parent   "
		}
		if c.Late {
			lead = "    late     "
		}
		left := []piece{{lead, dim}, {c.Edge.Kind.String() + " ", plain}}
		if m := mark(c.Edge.Confidence, c.Edge.P); m.text != "" {
			left = append(left, m, piece{" ", plain})
		}
		switch {
		case c.Gone:
			p.line(append(left, piece{"gone by retention: event " + number(c.Edge.ID), dim})...)
		case c.Damaged:
			p.line(append(left, piece{"in a damaged part: event " + number(c.Edge.ID), red})...)
		case c.Row == nil:
			p.line(append(left, piece{"missing", red})...)
		default:
			left = append(left, piece{"from ", plain}, piece{c.Row.Event.Kind.String(), kindInk(c.Row.Event.Kind)}, piece{" in " + p.style.where(c.Row), plain})
			p.row(left, []piece{{took(c.Before) + " before", dim}, {padLeft(number(c.Edge.ID), 8), dim}})
		}
	}
}

func (p *page) effects(d *query.Detail) {
	if len(d.Effects) == 0 {
		p.line(piece{"  effects", bold}, piece{"  none that are known", dim})
		return
	}
	p.line(piece{"  effects", bold})
	for _, n := range d.Effects {
		e := &n.Row.Event
		left := []piece{{"    " + pad(n.Edge.Kind.String(), 9), dim}}
		if m := mark(n.Edge.Confidence, n.Edge.P); m.text != "" {
			left = append(left, m, piece{" ", plain})
		}
		left = append(left, piece{e.Kind.String() + " ", kindInk(e.Kind)}, piece{what(e) + " in " + p.style.streamOf(n.Row), plain})
		p.row(left, []piece{{took(n.After) + " later", dim}, {padLeft(number(e.ID), 8), dim}})
	}
	if d.More > 0 {
		p.line(piece{"    … " + plural(d.More, "more effect", "more effects"), yellow})
	}
}

func (p *page) neighbours(d *query.Detail) {
	p.line(piece{"  in its stream", bold})
	rows := append(append(append([]*query.Row{}, d.Before...), d.Row), d.After...)
	for _, r := range rows {
		e := &r.Event
		bullet := "    "
		if r == d.Row {
			bullet = "  ● "
		}
		apart := e.Time - d.Row.Event.Time
		p.row([]piece{{bullet, kindInk(e.Kind)}, {pad(e.Kind.String(), 9), kindInk(e.Kind)}, {what(e), plain}},
			p.margin(e, signed(apart)))
	}
}
