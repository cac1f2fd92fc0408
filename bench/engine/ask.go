package main

import (
	"context"
	"errors"
	"fmt"
	"math/rand/v2"
	"time"

	"github.com/pastcone/pastcone/bench/busy"
	"github.com/pastcone/pastcone/event"
	"github.com/pastcone/pastcone/internal/query"
	"github.com/pastcone/pastcone/internal/recorder"
	"github.com/pastcone/pastcone/internal/wire"
)

// ask opens the recording that record left, and asks.
func ask(s settings) (map[string]float64, error) {
	began := time.Now()
	rec, err := recorder.Read(recording(s))
	if err != nil {
		return nil, err
	}
	defer func() { _ = rec.Close() }()
	r, err := rec.Snapshot()
	if err != nil {
		return nil, err
	}
	defer func() { _ = r.Close() }()
	got := map[string]float64{"open": float64(time.Since(began))}
	ctx, rng := context.Background(), rand.New(rand.NewPCG(5, 6)) // #nosec G404 -- no secret
	first, end := r.Range()
	some := func() event.ID { return first + event.ID(rng.Uint64N(uint64(end-first))) }

	bottoms, err := ids(ctx, r, fmt.Sprintf("{ func = %q && kind = call }", busy.BottomFunc))
	if err != nil {
		return nil, err
	}
	deep := func() event.ID { return bottoms[rng.IntN(len(bottoms))] }

	measure := func(key string, times int, f func() error) error {
		var all durations
		for i := range times + times/10 {
			began := time.Now()
			if err := f(); err != nil {
				return fmt.Errorf("%s: %w", key, err)
			}
			if i >= times/10 { // the first warm up
				all = append(all, time.Since(began))
			}
		}
		all.put(got, key)
		return nil
	}
	var c wire.Columns
	var e event.Event
	questions := []struct {
		key   string
		times int
		ask   func() error
	}{
		{"by id", 5000, func() error {
			i, err := r.ReadRow(some(), wire.ColAll, &c)
			if err != nil {
				return err
			}
			return c.Event(i, r.Table(), &e)
		}},
		{"query by id", 1000, func() error {
			id := some()
			hits, err := ids(ctx, r, fmt.Sprintf("{ id = %d }", id))
			if err == nil && (len(hits) != 1 || hits[0] != id) {
				err = fmt.Errorf("asked for %d, got %v", id, hits)
			}
			return err
		}},
		{"why of 50", 1000, func() error {
			chain, err := query.Why(ctx, r, deep(), query.WhyOptions{})
			if err == nil && len(chain.Steps) < busy.DeepCalls { // and, above the request, the stream that it is in
				err = fmt.Errorf("the chain has %d steps", len(chain.Steps))
			}
			return err
		}},
		{"correlation of 100", 1000, func() error {
			sum, err := query.Correlation(ctx, r, deep(), query.Options{}, func(*query.Hit) error { return nil })
			if err == nil && sum.Given > busy.DeepEvents {
				err = fmt.Errorf("it has %d events", sum.Given)
			}
			return err
		}},
		{"children", 2000, func() error {
			_, err := query.Future(ctx, r, some(), query.FutureOptions{DepthMax: 1})
			return err
		}},
		{"time and function", 300, func() error {
			i, err := r.ReadRow(first+event.ID(rng.Uint64N(uint64(end-first)*8/10)), wire.ColTime, &c)
			if err != nil {
				return err
			}
			hits, err := ids(ctx, r, fmt.Sprintf("{ time >= %d && func = %q } | limit(1000)", c.Time[i], busy.Function(rng.IntN(busy.Functions))))
			if err == nil && len(hits) != 1000 && s.Events > 10_000_000 {
				err = fmt.Errorf("found %d", len(hits))
			}
			return err
		}},
		{"aggregate", 20, func() error { return whole(ctx, r, "{} | count(), quantile(duration, 0.99) by (func)") }},
	}
	for _, q := range questions {
		if err := measure(q.key, q.times, q.ask); err != nil {
			return nil, err
		}
	}
	return got, causal(ctx, r, deep, got)
}

// causal asks with >> and <<: for what led to one event, for what one led to, and for two sets as large as they come. Each of the two
// passes may take a second; what was not found by then is said to be missing.
func causal(ctx context.Context, r query.Reader, deep func() event.ID, got map[string]float64) error {
	id := deep()
	for _, q := range []struct{ key, text string }{
		{">>", fmt.Sprintf("({ kind = call } >> { id = %d }) | count()", id)},
		{"<<", fmt.Sprintf("({ kind = return } << { id = %d }) | count()", id)},
		{">> of all", "({ kind = send } >> { kind = metric }) | count()"},
		{"<< of all", "({ kind = metric } << { kind = send }) | count()"},
	} {
		parsed, err := query.Parse(q.text)
		if err != nil {
			return err
		}
		var all durations
		cut := 0.0
		for range 5 {
			began := time.Now()
			sum, err := query.Run(ctx, r, parsed, query.Options{}, func(*query.Hit) error { return nil })
			if err != nil {
				return fmt.Errorf("%s: %w", q.text, err)
			}
			all = append(all, time.Since(began))
			if sum.Cut {
				cut = 1
			}
		}
		all.put(got, q.key)
		got[q.key+" cut"] = cut
	}
	return nil
}

// ids gives the ids that a query finds.
func ids(ctx context.Context, r query.Reader, text string) (found []event.ID, err error) {
	q, err := query.Parse(text)
	if err != nil {
		return nil, err
	}
	sum, err := query.Run(ctx, r, q, query.Options{}, func(h *query.Hit) error {
		found = append(found, h.Event.ID)
		return nil
	})
	if err == nil && len(found) == 0 {
		err = errors.New("nothing was found")
	}
	if err == nil && sum.Cut {
		err = errors.New(sum.Reason)
	}
	if err != nil {
		err = fmt.Errorf("%s: %w", text, err)
	}
	return found, err
}

// whole runs a query whose answer must not be cut.
func whole(ctx context.Context, r query.Reader, text string) error {
	q, err := query.Parse(text)
	if err != nil {
		return err
	}
	sum, err := query.Run(ctx, r, q, query.Options{}, func(*query.Hit) error { return nil })
	if err == nil && sum.Cut {
		err = fmt.Errorf("it was cut: %s", sum.Reason)
	}
	return err
}
