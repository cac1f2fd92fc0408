package render

import (
	"strings"
	"time"

	"github.com/pastcone/pastcone/event"
	"github.com/pastcone/pastcone/internal/query"
)

// meanwhile writes what the same work was doing elsewhere: a stream with its innermost call, who called it, its waits until then, and
// what ended the one that it was in; then the messages that nobody had taken.
func (d *whyText) meanwhile() {
	m := d.chain.Meanwhile
	if m == nil {
		return
	}
	d.row([]piece{{"  meanwhile, for the same work", bold}}, []piece{{"at " + since(m.Age) + " of it", dim}})
	d.timer(m)
	for i := range m.Messages {
		d.untaken(&m.Messages[i])
	}
	for i := range m.Streams {
		d.doing(&m.Streams[i])
	}
	if m.More > 0 {
		d.line(piece{"    … and " + plural(uint64(m.More), "more stream", "more streams"), dim}) // #nosec G115 -- a count
	}
	if len(m.Messages) == 0 && len(m.Streams) == 0 {
		d.line(piece{"    nothing, in any other stream that is recorded", dim})
	}
	if m.Cut != "" {
		d.line(piece{"    " + m.Cut, yellow})
	}
	d.line()
}

// timer says who had set the time that was up.
func (d *whyText) timer(m *query.Meanwhile) {
	if m.Timer == nil {
		return
	}
	by := m.Timer
	if m.TimerIn != nil {
		by = m.TimerIn
	}
	d.row([]piece{{"    the timer was set " + took(time.Duration(m.At-m.Timer.Event.Time)) + " before by " + d.style.who(by), plain}}, d.place(by))
}

func (d *whyText) doing(s *query.Doing) {
	inner := s.Calls[0]
	head := []piece{{"    ", plain}, {d.style.streamOf(inner), bold}}
	if s.Above {
		head = append(head, piece{", above, ", dim})
	} else {
		head = append(head, piece{"  ", plain})
	}
	head = append(head, piece{"was in ", plain}, piece{callText(&inner.Event), plain}, piece{" for " + took(s.For), yellow})
	d.row(head, d.place(inner))
	detail := func(right []piece, left ...piece) {
		d.row(append([]piece{{"      ", plain}}, left...), right)
	}
	if len(s.Calls) > 1 && !s.Above {
		var by []string
		for _, c := range s.Calls[1:] {
			by = append(by, shortFunc(c.Event.Func))
		}
		detail(nil, piece{"called by " + strings.Join(by, " ← "), dim})
	}
	if s.Took != nil && s.Queued > 0 {
		detail([]piece{{idText(s.Took.Event.ID), dim}}, piece{"took the work on " + took(s.Queued) + " after it was sent on " + clean(s.Took.Event.Key), plain})
	}
	for i := range s.Waits {
		w := &s.Waits[i]
		d.roomy([]piece{{"      ⧗ had ", plain}}, causeID(&w.For), func(where func(*query.Row) string) []piece { return d.wait(w, where) })
	}
	switch {
	case s.Next == nil:
		detail(nil, piece{"and nothing is recorded of it after that", red})
	case s.Above:
	case s.Because != nil:
		lead := []piece{{"      ⧗ ", yellow}, {"was waiting", yellow}, {", " + took(s.After) + " more, ", plain}}
		d.roomy(lead, causeID(s.Because), func(where func(*query.Row) string) []piece { return d.cause(s.Next, s.Because, where) })
	default:
		detail([]piece{{idText(s.Next.Event.ID), dim}}, piece{"its next event came " + took(s.After) + " later: " + s.Next.Event.Kind.String() + " " + what(&s.Next.Event), plain})
	}
}

func (d *whyText) untaken(u *query.Untaken) {
	e := &u.Row.Event
	by := ""
	if u.Row.Event.Stream != d.chain.Meanwhile.Of.Event.Stream {
		by = " by " + d.style.streamOf(u.Row)
	}
	d.row([]piece{{"    ", plain}, {keyOf(e), bold}, {", sent " + took(u.For) + " before" + by + ": ", plain}, {"nobody had taken it", yellow}}, d.place(u.Row))
	var more []string
	if u.Ahead >= 0 {
		more = append(more, plural(uint64(u.Ahead), "message was", "messages were")+" ahead of it") // #nosec G115 -- a count
	}
	var right []piece
	if u.Taken != nil {
		more = append(more, d.style.streamOf(u.Taken)+" took it "+took(u.After)+" later")
		right = []piece{{idText(u.Taken.Event.ID), dim}}
	} else {
		more = append(more, "that anybody took it is not recorded")
	}
	d.row([]piece{{"      " + strings.Join(more, "; "), plain}}, right)
}

// place is the margin of a line about an event without a time.
func (d *whyText) place(r *query.Row) []piece {
	id := piece{idText(r.Event.ID), dim}
	if d.style.width() < narrow {
		return []piece{id}
	}
	return []piece{{place(&r.Event) + "  ", dim}, id}
}

func causeID(c *query.Cause) []piece {
	if c.Row == nil {
		return nil
	}
	return []piece{{idText(c.Row.Event.ID), dim}}
}

// callText names a call, or the stream that something was started in.
func callText(e *event.Event) string {
	if f := shortFunc(e.Func); f != "" {
		return f
	}
	return e.Kind.String()
}

// late gives the event that ended what the work waited for: of a stream that was in a wait when somebody gave up, or of a message that
// nobody had taken.
func (d *whyText) late() *query.Row {
	m := d.chain.Meanwhile
	if m == nil {
		return nil
	}
	for i := range m.Messages {
		if taken := m.Messages[i].Taken; taken != nil {
			return taken
		}
	}
	for i := range m.Streams {
		if s := &m.Streams[i]; s.Because != nil && !s.Above {
			return s.Next
		}
	}
	return nil
}
