package query

import (
	"context"
	"fmt"
	"strconv"
	"strings"

	"github.com/pastcone/pastcone/event"
)

// AnswerError says that a question for one event has none or several answers.
type AnswerError struct {
	Question string
	Events   []event.ID // some of the answers
	More     bool       // there are more than those
	Cut      string     // what was not looked at because it is damaged
	Stream   string     // where the question was for a place in a stream: its name
	Length   uint64     // and the number of its last event, from 1; 0: there is none
}

// Error says what to ask instead.
func (e *AnswerError) Error() string {
	if e.Cut != "" {
		return e.text() + " (" + e.Cut + ")"
	}
	return e.text()
}

func (e *AnswerError) text() string {
	if len(e.Events) == 0 && e.Stream != "" {
		if e.Length == 0 {
			return fmt.Sprintf("there is no event %s: no stream has that name", e.Question)
		}
		return fmt.Sprintf("there is no event %s: the events of %s are numbered from 1 to %d", e.Question, e.Stream, e.Length)
	}
	if len(e.Events) == 0 {
		return fmt.Sprintf("no event matches %s", e.Question)
	}
	ids := make([]string, len(e.Events))
	for i, id := range e.Events {
		ids[i] = id.String()
	}
	and := ""
	if e.More {
		and = " and more"
	}
	return fmt.Sprintf("several events match %s: %s%s: narrow it, or ask for 'first:%s' or 'last:%s'",
		e.Question, strings.Join(ids, ", "), and, e.Question, e.Question)
}

// answersShown is how many answers an AnswerError lists.
const answersShown = 5

// Resolve gives the event that text names: an id; a place in a stream, as in g12#3; a query with exactly one answer;
// or first:QUERY and last:QUERY, which stop at their answer. Errors in a query are a *[SyntaxError].
func Resolve(ctx context.Context, r Reader, text string, o Options) (event.ID, error) {
	text = strings.TrimSpace(text)
	first, end := r.Range()
	if n, err := strconv.ParseUint(text, 10, 63); err == nil {
		if id := event.ID(n); id < first || id >= end {
			return 0, &NoEventError{id, first, end}
		}
		return event.ID(n), nil
	}
	if text == "" {
		return 0, fmt.Errorf("which event? give an id, first:QUERY, last:QUERY, or a query with one answer")
	}
	question, most, stream := text, answersShown+1, ""
	o.Descending = false
	if rest, ok := strings.CutPrefix(text, "first:"); ok {
		question, most = rest, 1
	} else if rest, ok := strings.CutPrefix(text, "last:"); ok {
		question, most = rest, 1
		o.Descending = true
	} else if i := strings.LastIndexByte(text, '#'); i > 0 && !strings.ContainsAny(text, "{}") {
		if _, err := strconv.ParseUint(text[i+1:], 10, 63); err == nil {
			stream = text[:i]
			question = fmt.Sprintf("{ stream = %s && seq = %s }", strconv.Quote(stream), text[i+1:])
		}
	}
	q, err := Parse(question)
	if err != nil {
		return 0, err
	}
	if q.Aggregate() {
		return 0, fmt.Errorf("%s gives groups, not an event", question)
	}
	if most == 1 && q.sort != nil && o.Descending {
		return 0, fmt.Errorf("%s has an order of its own: say first:, or leave the sort out", question)
	}
	o.HitsMax = most
	var ids []event.ID
	sum, err := Run(ctx, r, q, o, func(h *Hit) error {
		ids = append(ids, h.Event.ID)
		return nil
	})
	if err != nil {
		return 0, err
	}
	// A second answer would have come as well: the bound is above one, or the query is content with one.
	if len(ids) == 1 && (most == 1 || !sum.Cut || sum.onlyDamage) {
		return ids[0], nil
	}
	if sum.Cut && !sum.onlyDamage {
		return 0, fmt.Errorf("%s: not decided: %s", question, sum.Reason)
	}
	more := len(ids) > answersShown
	answers := &AnswerError{Question: question, Events: ids[:min(len(ids), answersShown)], More: more}
	if sum.Damaged > 0 {
		answers.Cut = sum.Reason
	}
	if stream != "" && len(ids) == 0 {
		answers.Question, answers.Stream = text, stream
		if answers.Length, err = lengthOf(ctx, r, stream, o); err != nil {
			return 0, err
		}
	}
	return 0, answers
}

// lengthOf gives the number of the last event of a stream; 0: it has none.
func lengthOf(ctx context.Context, r Reader, stream string, o Options) (length uint64, err error) {
	q, err := Parse(fmt.Sprintf("{ stream = %s } | max(seq)", strconv.Quote(stream)))
	if err != nil {
		return 0, err
	}
	o.HitsMax, o.Descending = 0, false
	_, err = Run(ctx, r, q, o, func(h *Hit) error {
		length = uint64(max(h.Values[0].Whole, 0)) // #nosec G115 -- not negative
		return nil
	})
	return length, err
}
