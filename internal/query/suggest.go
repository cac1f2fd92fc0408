package query

import (
	"cmp"
	"context"
	"fmt"
	"slices"
	"time"

	"github.com/pastcone/pastcone/event"
	"github.com/pastcone/pastcone/internal/wire"
)

// Suggestion is an event worth asking about.
type Suggestion struct {
	Row     *Row
	Reason  Reason
	Measure time.Duration // how slow it was, how long it waited
	Of      uint64        // among how many
}

// Reason says why an event is suggested.
type Reason uint8

// The reasons, in the order of what to ask first.
const (
	LastError Reason = iota
	SlowestRoot
	LongestWait
	LastGap
)

// String gives the name that answers in JSON use.
func (r Reason) String() string {
	return [...]string{"last_error", "slowest_root", "longest_wait", "last_gap"}[r]
}

const (
	rootsSuggested = 3
	waitsSuggested = 3
	waitsKept      = 8 * waitsSuggested // some turn out to be no waits
)

// Suggest gives events worth asking about: the last error, the slowest roots (their returns), the
// longest waits of work, and the last gap.
func Suggest(ctx context.Context, r Reader, o Options) ([]Suggestion, error) {
	var all []Suggestion
	l := newLookup(r)
	add := func(id event.ID, reason Reason, measure time.Duration, of uint64) error {
		row, err := l.row(id)
		if l.damaged.skip(err) {
			return nil
		}
		if err == nil {
			all = append(all, Suggestion{row, reason, measure, of})
		}
		return err
	}
	o.Descending, o.HitsMax = true, 0
	ask := func(question string, do func(*Hit) error) error {
		q, err := Parse(question)
		if err != nil {
			return err
		}
		_, err = Run(ctx, r, q, o, do)
		return err
	}
	last := func(condition string, reason Reason) error {
		var id event.ID
		n := uint64(0)
		if err := ask("{ "+condition+" } | count(), max(id)", func(h *Hit) error {
			n, id = uint64(h.Values[0].Whole), event.ID(h.Values[1].Whole) // #nosec G115 -- a count and an id
			return nil
		}); err != nil || id == 0 {
			return err
		}
		return add(id, reason, 0, n)
	}
	// An error of a request or a job before one of the background: that one is who somebody waited for.
	err := last("kind = error && background = false", LastError)
	if err == nil && len(all) == 0 {
		err = last("kind = error", LastError)
	}
	if err != nil {
		return nil, err
	}
	// The returns of calls that are declared roots.
	if err := ask(fmt.Sprintf("{ kind = return } < { kind = call && root } | sort(duration desc) | limit(%d)", rootsSuggested), func(h *Hit) error {
		return add(h.Event.ID, SlowestRoot, h.Event.Duration, 0)
	}); err != nil {
		return nil, err
	}
	waits, err := longestWaits(ctx, r, o)
	if err != nil {
		return nil, err
	}
	shown := 0
	for _, w := range waits {
		others, err := l.waitedForOthers(w.id)
		if l.damaged.skip(err) {
			continue
		}
		if err != nil {
			return nil, err
		}
		if !others || shown == waitsSuggested {
			continue
		}
		shown++
		if err := add(w.id, LongestWait, w.waited, 0); err != nil {
			return nil, err
		}
	}
	err = last("kind = gap", LastGap)
	if told := l.damaged.told(); told != "" && o.OnDamage != nil {
		o.OnDamage(told)
	}
	return all, err
}

// waitedForOthers says whether a further cause of an event lies in another stream.
func (l *lookup) waitedForOthers(id event.ID) (bool, error) {
	row, err := l.row(id)
	if err != nil {
		return false, err
	}
	edges, late := further(row)
	for n, edge := range edges {
		cause, err := l.cause(edge, row, n >= late)
		if err != nil {
			return false, err
		}
		if cause.Row != nil && cause.Row.key() != row.key() {
			return true, nil
		}
	}
	return false, nil
}

const waitKinds = 1<<event.KindReceive | 1<<event.KindAcquire | 1<<event.KindWake

// longestWaits finds the longest times that work stood still: from the event before, in its stream, to a receive,
// acquire or wake that goes on with the same work because of another stream.
func longestWaits(ctx context.Context, r Reader, o Options) ([]foundWait, error) {
	type lastOf struct {
		stream streamKey
		time   int64
	}
	type blockWaits struct {
		last       []lastOf // of each stream of the block
		open       []foundWait
		openStream []streamKey // of waits that began before the block
		waits      []foundWait
	}
	x := newRun(ctx, r, nil, o)
	seen := map[streamKey]int64{}
	var top []foundWait
	keep := func(w foundWait) {
		top = append(top, w)
		slices.SortFunc(top, func(a, b foundWait) int { return cmp.Or(cmp.Compare(b.waited, a.waited), cmp.Compare(a.id, b.id)) })
		top = top[:min(len(top), waitsKept)]
	}
	_, err := scan(x, r.Blocks(wire.Prune{}), func(v *view) (*blockWaits, error) {
		if err := v.load(wire.ColKind | wire.ColStream | wire.ColSource | wire.ColTime | wire.ColFlags | wire.ColParent | wire.ColFurther); err != nil {
			return nil, err
		}
		b := &blockWaits{}
		at := map[streamKey]int64{}
		c := &v.c
		for i := range v.rows {
			key := streamKey{c.Source[i], c.Stream[i]}
			before, known := at[key]
			at[key] = c.Time[i]
			if waitKinds>>c.Kind[i]&1 == 0 || c.Flags[i]&wire.FlagBackground != 0 ||
				c.ParentKind[i] != event.EdgeContext || len(c.FurtherOf(i)) == 0 {
				continue
			}
			w := foundWait{id: v.base + event.ID(i), waited: time.Duration(c.Time[i] - before)} // #nosec G115 -- a row
			if known {
				b.waits = append(b.waits, w)
			} else {
				w.waited = time.Duration(c.Time[i])
				b.open = append(b.open, w)
				b.openStream = append(b.openStream, key)
			}
		}
		slices.SortFunc(b.waits, func(a, b foundWait) int { return cmp.Or(cmp.Compare(b.waited, a.waited), cmp.Compare(a.id, b.id)) })
		b.waits = b.waits[:min(len(b.waits), waitsKept)]
		for key, t := range at {
			b.last = append(b.last, lastOf{key, t})
		}
		return b, nil
	}, func(b *blockWaits) error {
		for i, w := range b.open {
			if before, known := seen[b.openStream[i]]; known {
				w.waited -= time.Duration(before)
				keep(w)
			}
		}
		for _, w := range b.waits {
			keep(w)
		}
		for _, s := range b.last {
			if _, have := seen[s.stream]; have || len(seen) < streamsMax {
				seen[s.stream] = s.time
			}
		}
		return nil
	})
	x.tellDamage()
	return top, err
}
