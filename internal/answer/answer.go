// Package answer takes a question as a command or a server gets it, asks the recording, and writes the answer as text
// for people or as lines of JSON. The command line and the server answer with the same code, so they never differ.
//
// In the plan's words this is the front of the QueryCoordinator.
package answer

import (
	"context"
	"errors"
	"fmt"
	"io"
	"slices"
	"strconv"
	"strings"
	"time"

	"github.com/pastcone/pastcone/event"
	"github.com/pastcone/pastcone/internal/query"
	"github.com/pastcone/pastcone/internal/render"
	"github.com/pastcone/pastcone/internal/wire"
)

// Sources is what a recording knows of its sources, in the order of their numbers.
type Sources []render.Source

// Names gives the names of the sources by number.
func (s Sources) Names() map[wire.SourceID]string {
	names := make(map[wire.SourceID]string, len(s))
	for i := range s {
		names[s[i].ID] = s[i].Name
	}
	return names
}

// Question is one question. Its JSON form is the arguments of a query in the protocol.
type Question struct {
	Op      string   `json:"op"`                // one of Ops
	Events  []string `json:"events,omitempty"`  // EVENT arguments: ids, queries with one answer, first:…, last:…
	Query   string   `json:"query,omitempty"`   // of find
	Depth   int      `json:"depth,omitempty"`   // of future and why; 0: the default
	Width   int      `json:"width,omitempty"`   // of future: effects shown of an event; 0: the default
	Limit   int      `json:"limit,omitempty"`   // of find: hits; 0: no bound
	Reverse bool     `json:"reverse,omitempty"` // of find: newest first
	All     bool     `json:"all,omitempty"`     // leave nothing out

	Timeout  time.Duration `json:"timeout,omitempty"` // ns; 0: the asker's deadline only
	BytesMax int64         `json:"-"`                 // of groups, quantiles and sets; 0: query's default
	JSON     bool          `json:"json,omitempty"`
	Columns  int           `json:"columns,omitempty"` // of the asker's screen; 0: 100
	Color    bool          `json:"color,omitempty"`
	// Recording stands behind the commands that an answer suggests.
	Recording string `json:"recording,omitempty"`
}

// Ops are the questions that there are, and how many EVENT arguments each takes at least and at most.
var Ops = map[string]struct{ Least, Most int }{
	"why": {0, 1}, "future": {1, 1}, "relate": {2, 2}, "show": {1, 1}, "find": {0, 0}, "stats": {0, 0},
}

// The bounds of a question; what comes over a network is not trusted.
const (
	DepthMax    = 100_000
	WidthMax    = 10_000
	TextBytes   = 64 << 10
	TimeoutMost = 10 * time.Minute
)

// causalShare is what part of the time for an answer each pass of a causal operator may take.
const causalShare = 4

// ErrQuestion says that a question is not one.
var ErrQuestion = errors.New("not understood")

// ErrNoAnswer says that a question has no answer: nothing matched.
var ErrNoAnswer = errors.New("no answer")

// Check fails with ErrQuestion, and says what is wrong.
func (q *Question) Check() error {
	op, ok := Ops[q.Op]
	if !ok {
		names := make([]string, 0, len(Ops))
		for name := range Ops {
			names = append(names, name)
		}
		slices.Sort(names)
		return fmt.Errorf("%w: there is no question %q; there are %s", ErrQuestion, q.Op, strings.Join(names, ", "))
	}
	if n := len(q.Events); n < op.Least || n > op.Most {
		return fmt.Errorf("%w: %s takes %d to %d events, not %d", ErrQuestion, q.Op, op.Least, op.Most, n)
	}
	for _, text := range append([]string{q.Query}, q.Events...) {
		if len(text) > TextBytes {
			return fmt.Errorf("%w: a query of %d bytes; at most %d are read", ErrQuestion, len(text), TextBytes)
		}
	}
	for _, text := range q.Events {
		if err := checkEvent(text); err != nil {
			return err
		}
	}
	if q.Op == "find" {
		if _, err := query.Parse(q.Query); err != nil {
			return err
		}
	}
	for _, b := range [...]struct {
		name       string
		value, max int64
	}{
		{"depth", int64(q.Depth), DepthMax}, {"width", int64(q.Width), WidthMax}, {"limit", int64(q.Limit), 1 << 40},
		{"timeout", int64(q.Timeout), int64(TimeoutMost)}, {"columns", int64(q.Columns), 10_000},
	} {
		if b.value < 0 || b.value > b.max {
			return fmt.Errorf("%w: %s is %d: it must be from 0 to %d", ErrQuestion, b.name, b.value, b.max)
		}
	}
	return nil
}

// checkEvent says what an EVENT can be where a text is none: an id, a place in a stream, or something with a query in it.
func checkEvent(text string) error {
	text = strings.TrimSpace(text)
	if strings.ContainsAny(text, "{}") || strings.HasPrefix(text, "first:") || strings.HasPrefix(text, "last:") {
		return nil
	}
	number := text
	if i := strings.LastIndexByte(text, '#'); i > 0 {
		number = text[i+1:]
	}
	if _, err := strconv.ParseUint(number, 10, 63); err != nil {
		return fmt.Errorf("%w: %q is no event: give an id (4711), a place in a stream (g12#3), a query with one answer ('{ kind = error }'), or first:QUERY or last:QUERY", ErrQuestion, text)
	}
	return nil
}

// Answer writes the answer to w. It fails with ErrQuestion, with a
// *query.SyntaxError, with ErrNoAnswer, or as reading failed.
func Answer(ctx context.Context, r query.Reader, sources Sources, q *Question, w io.Writer) error {
	if err := q.Check(); err != nil {
		return err
	}
	if q.Timeout > 0 {
		var cancel context.CancelFunc
		ctx, cancel = context.WithTimeout(ctx, q.Timeout)
		defer cancel()
	}
	a := &asked{
		Question: q, ctx: ctx, r: r, w: w, sources: sources,
		style: render.Style{Width: q.Columns, Color: q.Color, Recording: q.Recording, All: q.All},
		o:     query.Options{Sources: sources.Names(), Descending: q.Reverse, HitsMax: q.Limit, BytesMax: q.BytesMax},
	}
	if deadline, ok := ctx.Deadline(); ok {
		// An answer has several passes of >> << > < at most, and some time must be left to say what was found.
		a.o.CausalBudget = max(time.Until(deadline)/causalShare, time.Millisecond)
	}
	if len(sources) > 1 {
		a.style.Sources = a.o.Sources
	}
	switch q.Op {
	case "find":
		return a.find()
	case "stats":
		return a.stats()
	}
	if err := map[string]func() error{"why": a.why, "future": a.future, "relate": a.relate, "show": a.show}[q.Op](); err != nil || a.damage == "" {
		return err
	}
	return show1(a, a.damage, render.Partial, render.PartialJSON)
}

// asked is a question being answered.
type asked struct {
	*Question
	ctx     context.Context
	r       query.Reader
	w       io.Writer
	sources Sources
	style   render.Style
	o       query.Options
	damage  string // what was left out in finding the event to answer about
}

// event resolves the EVENT argument of that index.
func (a *asked) event(i int) (event.ID, error) {
	id, err := query.Resolve(a.ctx, a.r, a.Events[i], a.resolving())
	var none *query.NoEventError
	var several *query.AnswerError
	if errors.As(err, &none) || errors.As(err, &several) {
		return 0, fmt.Errorf("%w: %w", ErrNoAnswer, err)
	}
	return id, err
}

// resolving gives the options for finding one event.
func (a *asked) resolving() query.Options {
	return query.Options{Sources: a.o.Sources, BytesMax: a.o.BytesMax, CausalBudget: a.o.CausalBudget, OnDamage: func(told string) { a.damage = told }}
}

// show1 writes an answer in the form that was asked for.
func show1[T any](a *asked, v T, text, lines func(io.Writer, T, render.Style) error) error {
	if a.JSON {
		return lines(a.w, v, a.style)
	}
	return text(a.w, v, a.style)
}

// why explains an event. Without one it explains the last error; if there is none, it suggests events to ask about.
func (a *asked) why() error {
	if len(a.Events) == 0 {
		return a.whyLast()
	}
	id, err := a.event(0)
	if err != nil {
		return err
	}
	return a.whyOf(id)
}

// lastErrors are the errors that are asked about when none is named. One of a request or a job goes before one of the
// background: that one is who somebody waited for. Where an error came up goes before where it was passed on.
var lastErrors = [...]string{
	"last:{ kind = error && background = false && !(data.passed = true) && !(data.wraps = true) }",
	"last:{ kind = error && background = false }", "last:{ kind = error }",
}

// whyLast reads from the end only, until there is an error. All is read where there is none.
func (a *asked) whyLast() error {
	for _, last := range lastErrors {
		id, err := query.Resolve(a.ctx, a.r, last, a.resolving())
		var none *query.AnswerError
		if err == nil {
			return a.whyOrigin(id)
		} else if !errors.As(err, &none) {
			return err
		}
	}
	suggestions, err := query.Suggest(a.ctx, a.r, a.resolving())
	if err != nil {
		return err
	}
	if len(suggestions) == 0 {
		if first, end := a.r.Range(); first >= end {
			return fmt.Errorf("%w: nothing is recorded yet", ErrNoAnswer)
		}
		lacks := ""
		if a.damage != "" {
			lacks = " (" + a.damage + ")"
		}
		return fmt.Errorf("%w: there is no error, and nothing else stands out%s: 'pastcone stats' says what is recorded, 'pastcone find' finds events",
			ErrNoAnswer, lacks)
	}
	return show1(a, suggestions, render.Suggest, render.SuggestJSON)
}

func (a *asked) whyOf(id event.ID) error {
	chain, err := a.chain(id)
	if err != nil {
		return err
	}
	return show1(a, chain, render.Why, render.WhyJSON)
}

func (a *asked) chain(id event.ID) (*query.Chain, error) {
	return query.Why(a.ctx, a.r, id, query.WhyOptions{DepthMax: a.Depth, Meanwhile: a.All})
}

// whyOrigin explains an error where it came up, if it only went on at that event.
func (a *asked) whyOrigin(id event.ID) error {
	chain, err := a.chain(id)
	if err != nil {
		return err
	}
	if chain.First != nil {
		passed := chain.Event()
		if chain, err = a.chain(chain.First.Event.ID); err != nil {
			return err
		}
		chain.Asked = passed
	}
	return show1(a, chain, render.Why, render.WhyJSON)
}

func (a *asked) future() error {
	id, err := a.event(0)
	if err != nil {
		return err
	}
	tree, err := query.Future(a.ctx, a.r, id, query.FutureOptions{DepthMax: a.Depth, WidthMax: a.Width})
	if err != nil {
		return err
	}
	return show1(a, tree, render.Future, render.FutureJSON)
}

func (a *asked) relate() error {
	first, err := a.event(0)
	if err != nil {
		return err
	}
	second, err := a.event(1)
	if err != nil {
		return err
	}
	relation, err := query.Relate(a.ctx, a.r, first, second, query.RelateOptions{})
	if err != nil {
		return err
	}
	return show1(a, relation, render.Relate, render.RelateJSON)
}

func (a *asked) show() error {
	id, err := a.event(0)
	if err != nil {
		return err
	}
	detail, err := query.Show(a.ctx, a.r, id, query.ShowOptions{})
	if err != nil {
		return err
	}
	return show1(a, detail, render.Show, render.ShowJSON)
}

func (a *asked) stats() error {
	statistics, err := query.Stats(a.ctx, a.r, a.resolving()) // which tells of damage itself
	if err != nil {
		return err
	}
	if err := show1(a, statistics, render.Stats, render.StatsJSON); err != nil {
		return err
	}
	if err := show1(a, []render.Source(a.sources), render.Sources, render.SourcesJSON); err != nil || a.JSON {
		return err
	}
	return render.StatsNext(a.w, statistics, a.style)
}

// table is what find writes to: one line a hit, then the summary.
type table interface {
	Hit(*query.Hit) error
	End(query.Summary) error
}

func (a *asked) find() error {
	q, err := query.Parse(a.Query)
	if err != nil {
		return err
	}
	var t table = render.NewFind(a.w, q, a.style)
	if a.JSON {
		t = render.NewFindJSON(a.w, q, a.style)
	}
	given := 0
	summary, err := query.Run(a.ctx, a.r, q, a.o, func(h *query.Hit) error {
		given++
		return t.Hit(h)
	})
	if err != nil {
		return err
	}
	if err := t.End(summary); err != nil {
		return err
	}
	if given == 0 && !summary.Cut {
		return fmt.Errorf("%w: no event matches %s", ErrNoAnswer, a.Query)
	}
	return nil
}
