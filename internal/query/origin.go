package query

import (
	"errors"
	"slices"
	"strings"

	"github.com/pastcone/pastcone/event"
	"github.com/pastcone/pastcone/internal/wire"
)

// An error goes through many hands, and each may be an event: the place where it came up, callers that gave it on (data.passed),
// goroutines that got it in a message, and callers that put words of their own around it (data.wraps). data.identity tells
// errors apart: the same identity with the same text is the same error.

const (
	errorsMax     = 3  // other errors shown with a chain
	errorsLooked  = 64 // errors before the event that are looked at
	searchesMost  = 4 * errorsMax
	firstSearches = 4 // of these for the place where the error came up
)

var identityName, passedName, wrapsName = newDataPath([]string{"identity"}), newDataPath([]string{"passed"}), newDataPath([]string{"wraps"})

// Passed says that an error event only passes an error on that had come up before.
func (r *Row) Passed() bool { return string(passedName.find(r.Event.Data)) == "true" }

func (r *Row) identity() string { return string(identityName.find(r.Event.Data)) }

// again says whether other, which comes before r, is the same error. One that is passed on has no text.
func (r *Row) again(other *Row) bool {
	if id := r.identity(); id == "" || id != other.identity() {
		return false
	}
	a, b := r.Text(), other.Text()
	return a == b || a == "" || b == ""
}

// Origin gives where the error that the chain is about came up: its event, or First.
func (c *Chain) Origin() *Row {
	if c.First != nil {
		return c.First
	}
	return c.Event()
}

// Text gives the text of the event, or of the error that it passes on.
func (c *Chain) Text() string {
	if text := c.Event().Text(); text != "" || c.First == nil {
		return text
	}
	return c.First.Text()
}

// Wraps says whether the error that the chain is about has that one within: its source says that it wraps one, and their texts agree.
func (c *Chain) Wraps(r *Row) bool {
	text := r.Text()
	return text != "" && string(wrapsName.find(c.Origin().Event.Data)) == "true" && strings.Contains(c.Origin().Text(), text)
}

// addErrors finds where the error came up, and other errors of the same correlation that are in the event's past: a reply that
// brings an error was an error elsewhere.
func (w *whyScan) addErrors() error {
	before, err := w.errorsBefore()
	if err != nil || len(before) == 0 {
		return err
	}
	target := w.c.Event()
	searches := 0
	if target.Event.Kind == event.KindError && target.identity() != "" {
		for _, row := range slices.Backward(before) {
			if searches == firstSearches || !target.again(row) {
				continue
			}
			reached, err := w.leadsTo(row, &searches)
			if err != nil {
				return err
			}
			if reached {
				w.c.First = row
				break
			}
		}
	}
	for i, row := range before {
		if len(w.c.Errors) == errorsMax || searches >= searchesMost {
			return nil
		}
		if w.onChain(row) || row == w.c.First || w.c.First != nil && target.again(row) || cameUpBefore(row, before[i+1:]) {
			continue
		}
		reached, err := w.leadsTo(row, &searches)
		if err != nil {
			return err
		}
		if reached {
			w.c.Errors = append(w.c.Errors, row)
		}
	}
	return nil
}

// cameUpBefore says whether an error only goes on at this row: one of those before it is the same one, elsewhere.
func cameUpBefore(row *Row, before []*Row) bool {
	passed := row.Passed()
	return slices.ContainsFunc(before, func(b *Row) bool { return row.again(b) && (passed || b.key() != row.key()) })
}

func (w *whyScan) onChain(row *Row) bool {
	return slices.ContainsFunc(w.c.Steps, func(s Step) bool { return s.Row.Event.ID == row.Event.ID })
}

// leadsTo says whether an event is in the past of the one that the chain is about.
func (w *whyScan) leadsTo(row *Row, searches *int) (bool, error) {
	target := w.c.Event()
	if row.key() == target.key() {
		return row.Event.Seq < target.Event.Seq, nil
	}
	*searches++
	p := pathSearch{r: w.r, from: row.Event.ID, to: target.Event.ID, blocksMax: w.o.BlocksMax}
	_, reached, err := p.run(w.ctx, w.l)
	if w.l.damaged.skip(err) || errors.Is(err, errGaveUp) {
		return false, nil
	}
	return reached, err
}

// errorsBefore gives errors of the same correlation before the event, the latest first.
func (w *whyScan) errorsBefore() (before []*Row, err error) {
	e := &w.c.Event().Event
	infos := w.r.Blocks(wire.Prune{
		IDMax: e.ID - 1, IDMin: e.Correlation, Kinds: 1 << event.KindError, Correlations: []event.ID{e.Correlation},
	})
	if n := len(infos) - w.o.BlocksMax; n > 0 {
		infos = infos[n:]
	}
	var rows, errs []uint16
	var c wire.Columns
	for _, info := range slices.Backward(infos) {
		if err := w.ctx.Err(); err != nil {
			return nil, err
		}
		if rows, err = w.r.Find(info.Base, wire.ColCorrelation, []uint64{uint64(e.Correlation)}, rows[:0]); err == nil {
			err = w.r.ReadRows(info.Base, rows, wire.ColKind, &c)
		}
		if err == nil {
			errs = errs[:0]
			for i, row := range rows {
				if c.Kind[i] == event.KindError && info.Base+event.ID(row) < e.ID {
					errs = append(errs, row)
				}
			}
			errs = errs[max(0, len(errs)-(errorsLooked-len(before))):]
			err = w.l.ahead(info.Base, errs)
		}
		if IsDamage(err) && w.l.damaged.skip(blockError(info.Base, info.Rows, err)) {
			continue
		}
		if err != nil {
			return nil, err
		}
		for _, row := range slices.Backward(errs) {
			r, err := w.l.row(info.Base + event.ID(row))
			if err != nil {
				return nil, err
			}
			before = append(before, r)
		}
		if len(before) >= errorsLooked {
			break
		}
	}
	return before, nil
}
