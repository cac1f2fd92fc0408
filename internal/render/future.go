package render

import (
	"io"

	"github.com/pastcone/pastcone/event"
	"github.com/pastcone/pastcone/internal/query"
)

// Future writes what an event led to, as a tree. A call's return is told with the call; an effect that
// was only let go on, on its own behalf, is marked with a dotted arrow.
func Future(w io.Writer, t *query.Tree, s Style) error {
	p := newPage(w, s)
	root := t.Root
	p.headline("what came of ", root.Row)
	if len(root.Effects) == 0 && root.More == 0 {
		p.line(piece{"  nothing that is known", plain})
	} else {
		p.row(nil, []piece{{"after      id", dim}})
	}
	f := futureText{page: p}
	f.children(root, "  ")
	if t.Cut != "" {
		p.line()
		p.line(piece{"  " + t.Cut, yellow})
	}
	p.line()
	pairs := [][2]string{{s.command("show", number(root.Row.Event.ID)), "everything about it"}}
	if f.failed != nil {
		pairs = append([][2]string{{s.command("why", number(f.failed.Row.Event.ID)), "the error that it led to"}}, pairs...)
	} else if f.cut != nil {
		pairs = append([][2]string{{s.command("future", number(f.cut.Row.Event.ID)), "from where it was cut off first"}}, pairs...)
	}
	p.next(pairs...)
	return p.err
}

type futureText struct {
	*page
	failed *query.Node // the first error
	cut    *query.Node // the first event with effects that are left out
}

// headline says what event an answer is about.
func (p *page) headline(lead string, r *query.Row) {
	e := &r.Event
	head := []piece{{lead, plain}, {e.Kind.String(), kindInk(e.Kind)}}
	if text := r.Text(); text != "" {
		head = append(head, piece{"  ", plain}, piece{clean(text), bold})
	} else if subject := what(e); subject != "" {
		head = append(head, piece{"  " + subject, bold})
	}
	p.line(head...)
	p.row([]piece{{"  in " + p.style.where(r), plain}}, []piece{{p.style.clock(e.Time), dim}})
	p.line()
}

// folded says whether a node is told with its call.
func folded(n *query.Node) bool {
	return n.Row.Event.Kind == event.KindReturn && n.Edge.Kind == event.EdgeReturn && len(n.Effects) == 0 && n.More == 0
}

func (f *futureText) children(n *query.Node, gutter string) {
	if n.More > 0 && f.cut == nil {
		f.cut = n
	}
	var shown []*query.Node
	for _, c := range n.Effects {
		if !folded(c) {
			shown = append(shown, c)
		}
	}
	for i, c := range shown {
		last := i == len(shown)-1 && n.More == 0
		branch, rail := "├─ ", "│  "
		if last {
			branch, rail = "└─ ", "   "
		}
		f.node(n, c, gutter+branch)
		f.children(c, gutter+rail)
	}
	if n.More > 0 {
		f.line(piece{gutter + "└─ ", dim}, piece{"… " + plural(n.More, "more effect", "more effects"), yellow})
	}
}

func (f *futureText) node(above, n *query.Node, gutter string) {
	e := &n.Row.Event
	left := []piece{{gutter, dim}}
	if n.Further {
		left = append(left, piece{"⇢ ", yellow})
	}
	if f.style.streamOf(above.Row) != f.style.streamOf(n.Row) {
		left = append(left, piece{f.style.streamOf(n.Row) + "  ", bold})
	}
	left = append(left, piece{e.Kind.String() + " ", kindInk(e.Kind)})
	if m := mark(n.Edge.Confidence, n.Edge.P); m.text != "" {
		left = append(left, m, piece{" ", plain})
	}
	if text := clean(n.Row.Text()); text != "" && (e.Kind == event.KindError || e.Kind == event.KindLog) {
		ink := plain
		if e.Kind == event.KindError {
			ink = red
			if f.failed == nil {
				f.failed = n
			}
		}
		left = append(left, piece{text + "  ", ink}, piece{shortFunc(e.Func), dim})
	} else {
		left = append(left, piece{what(e), plain})
		if rest := dataText(e, ""); rest != "" && e.Kind == event.KindError {
			left = append(left, piece{"  " + rest, dim})
		}
	}
	for _, c := range n.Effects {
		if folded(c) {
			left = append(left, piece{"  ran " + took(c.Row.Event.Duration), dim})
		}
	}
	f.row(left, f.margin(e, since(n.After)))
}
