package render

import (
	"io"
	"time"

	"github.com/pastcone/pastcone/event"
	"github.com/pastcone/pastcone/internal/query"
)

// Relate writes how two events are related, and the path that shows it.
func Relate(w io.Writer, r *query.Relation, s Style) error {
	p := newPage(w, s)
	a, b := number(r.A.Event.ID), number(r.B.Event.ID)
	apart := r.Apart
	if apart < 0 {
		apart = -apart
	}
	tail := piece{", " + took(apart) + " apart", plain}
	switch r.Order {
	case query.Same:
		p.line(piece{a + " and " + b + " are the same event", bold})
	case query.Before:
		p.line(piece{a + " happened before " + b, bold}, tail)
	case query.After:
		p.line(piece{a + " happened after " + b, bold}, tail)
	case query.Concurrent:
		p.line(piece{a + " and " + b + " are concurrent", bold}, tail)
		p.line(piece{"  no order in a stream and no edge leads from one to the other: each could have come first", plain})
	case query.Undecided:
		p.line(piece{a + " and " + b + ": undecided", bold}, tail)
		p.line(piece{"  " + r.Cut, yellow})
	}
	if r.Confidence != event.Exact {
		p.line(piece{"  as sure as its weakest edge: " + r.Confidence.String(), yellow})
	}
	p.line()
	if len(r.Path) == 0 {
		for _, row := range []*query.Row{r.A, r.B} {
			p.pathRow(row, true, 0)
			if r.Order == query.Same {
				break
			}
		}
	}
	for i, step := range r.Path {
		fresh := i == 0
		if i > 0 {
			before := r.Path[i-1].Row
			after := took(time.Duration(step.Row.Event.Time - before.Event.Time))
			how := "│ then, " + after + " later"
			if step.Edge.Kind != event.EdgeInvalid {
				how = "▼ " + step.Edge.Kind.String() + ", " + after + " later"
				fresh = true
			}
			if step.Late {
				how += ", known late"
			}
			p.line(piece{"    " + how, dim}, piece{" ", plain}, mark(step.Edge.Confidence, step.Edge.P))
		}
		p.pathRow(step.Row, fresh, time.Duration(step.Row.Event.Time-r.Path[0].Row.Event.Time))
	}
	p.line()
	later := b
	if r.Order == query.After {
		later = a
	}
	p.next([2]string{s.command("why", later), "on whose behalf"}, [2]string{s.command("show", later), "everything about it"})
	return p.err
}

func (p *page) pathRow(row *query.Row, fresh bool, after time.Duration) {
	e := &row.Event
	lead := "    "
	if fresh {
		p.line(piece{"  " + p.style.streamOf(row), bold})
	}
	left := []piece{{lead, plain}, {pad(e.Kind.String(), 8), kindInk(e.Kind)}, {what(e), plain}}
	if text := clean(row.Text()); text != "" && e.Kind == event.KindError {
		left = append(left, piece{"  " + text, red})
	}
	p.row(left, p.margin(e, since(after)))
}
