package query_test

import (
	"context"
	"errors"
	"fmt"
	"strings"
	"testing"
	"time"

	"pgregory.net/rapid"

	"github.com/pastcone/pastcone/event"
	"github.com/pastcone/pastcone/internal/query"
	"github.com/pastcone/pastcone/internal/query/memory"
)

// told is a short recording: one event a line of fields, ids from first on.
func told(t testing.TB, first event.ID, events ...event.Event) *memory.Reader {
	t.Helper()
	seqs := map[string]uint64{}
	for i := range events {
		e := &events[i]
		e.ID = first + event.ID(i)
		seqs[e.Stream]++
		e.Seq, e.Time = seqs[e.Stream], int64(e.ID)*1000
		if len(e.Causes) > 0 && e.Causes[0].ID < e.ID {
			e.Parent, e.Confidence = e.Causes[0].ID, e.Causes[0].Confidence
		}
		if e.Correlation == 0 {
			e.Correlation = first
		}
	}
	r, err := memory.FromEvents(events, nil, 4)
	if err != nil {
		t.Fatal(err)
	}
	return r
}

func by(kind event.EdgeKind, ids ...event.ID) (edges []event.Edge) {
	for _, id := range ids {
		edges = append(edges, event.Edge{ID: id, Kind: kind, P: 1})
		kind = event.EdgeMessage
	}
	return edges
}

func missing(kind event.EdgeKind) event.Edge { return event.Edge{Kind: kind, Confidence: event.Gap} }

func why(t testing.TB, r query.Reader, id event.ID, o query.WhyOptions) *query.Chain {
	t.Helper()
	c, err := query.Why(ctx, r, id, o)
	if err != nil {
		t.Fatal(err)
	}
	return c
}

// outline gives the ids of a chain, with the waits of each step.
func outline(c *query.Chain) string {
	var parts []string
	for _, s := range c.Steps {
		part := s.Row.Event.ID.String()
		for _, w := range s.Waits {
			part += fmt.Sprintf("(%d<%d", w.Row.Event.ID, w.For.Edge.ID)
			if w.Waited > 0 {
				part += " " + w.Waited.String()
			}
			part += ")"
		}
		parts = append(parts, part)
	}
	return strings.Join(parts, " ")
}

func TestWhyTellsTheStoryOfADeclinedCard(t *testing.T) {
	r, _ := shop(t, 8)
	c := why(t, r, 63, query.WhyOptions{})
	if got, want := outline(c), "1 5 8 10 13 15 18 24 28 31 35 58(42<41 179.551ms) 61 63"; got != want {
		t.Errorf("the chain is\n%s\nnot\n%s", got, want)
	}
	if len(c.Errors) != 1 || c.Errors[0].Event.ID != 53 || c.Errors[0].Text() != "card declined: insufficient funds" {
		t.Errorf("the error of the payment is in the past of the one that the client saw: %v", c.Errors)
	}
	founder := c.Steps[6]
	if !founder.Founds || founder.Took != 180240*time.Microsecond || founder.Return != 65 {
		t.Errorf("the request founds the work and ran 180.24 ms, until event 65: %+v", founder)
	}
	if s := c.Steps[9]; !s.Crosses || s.Edge.Kind != event.EdgeMessage || s.SinceParent != 10*time.Microsecond || s.SinceRoot != 1600*time.Microsecond {
		t.Errorf("the worker took the message over from another stream: %+v", s)
	}
	if c.Top != query.TopRoot || c.Cut != "" {
		t.Errorf("the chain is whole: %v %q", c.Top, c.Cut)
	}
}

func TestWhySaysWhyTheChainBeginsWhereItBegins(t *testing.T) {
	lost := told(t, 1,
		event.Event{Stream: "g1", Kind: event.KindReceive, Causes: []event.Edge{missing(event.EdgeMessage)}, Confidence: event.Gap},
		event.Event{Stream: "g1", Kind: event.KindError, Causes: by(event.EdgeContext, 1)},
	)
	if c := why(t, lost, 2, query.WhyOptions{}); c.Top != query.TopMissing || c.Steps[0].Edge.Kind != event.EdgeMessage {
		t.Errorf("its send is missing: %v", c.Top)
	}
	old := told(t, 100,
		event.Event{Stream: "g1", Kind: event.KindCall, Causes: by(event.EdgeContext, 7)},
		event.Event{Stream: "g1", Kind: event.KindError, Causes: by(event.EdgeContext, 100, 9)},
	)
	c := why(t, old, 101, query.WhyOptions{})
	if c.Top != query.TopRetention || !c.Steps[1].Waits[0].For.Gone {
		t.Errorf("what came before is gone by retention: %v %s", c.Top, outline(c))
	}
	r, _ := shop(t, 8)
	if c := why(t, r, 63, query.WhyOptions{DepthMax: 3}); c.Top != query.TopDepth || len(c.Steps) != 3 {
		t.Errorf("three steps were wanted: %v %s", c.Top, outline(c))
	}
	if _, err := query.Why(ctx, old, 7, query.WhyOptions{}); !strings.Contains(fmt.Sprint(err), "gone by retention: the ids are 100 to 101") {
		t.Errorf("asked about what is gone: %v", err)
	}
	if _, err := query.Why(ctx, r, 999, query.WhyOptions{}); !strings.Contains(fmt.Sprint(err), "no event 999: the ids are 1 to 72") {
		t.Errorf("asked about what never was: %v", err)
	}
	if _, err := query.Why(ctx, told(t, 1), 1, query.WhyOptions{}); !strings.Contains(fmt.Sprint(err), "empty") {
		t.Errorf("asked an empty recording: %v", err)
	}
}

func TestWhyGoesOnThroughASpawnThatCameLate(t *testing.T) {
	r := told(t, 1,
		event.Event{Stream: "g2", Kind: event.KindStart, Causes: []event.Edge{missing(event.EdgeSpawn), {ID: 4, Kind: event.EdgeSpawn, P: 1}}, Confidence: event.Gap},
		event.Event{Stream: "g2", Kind: event.KindError, Causes: by(event.EdgeContext, 1)},
		event.Event{Stream: "g1", Kind: event.KindCall},
		event.Event{Stream: "g1", Kind: event.KindSpawn, Child: "g2", Causes: by(event.EdgeContext, 3)},
	)
	c := why(t, r, 2, query.WhyOptions{})
	if outline(c) != "3 4 1 2" || !c.Steps[2].Late || c.Top != query.TopRoot {
		t.Errorf("the chain is %s (late %v)", outline(c), c.Steps[2].Late)
	}
}

// A driver waits for many things before it sends a job, and so does the worker that takes it, also for other work in between: the chain
// of one job shows what was waited for on its behalf.
func TestWhyShowsOnlyTheWaitsOfTheWorkThatItExplains(t *testing.T) {
	lock := func(parent, release event.ID) []event.Edge {
		return []event.Edge{{ID: parent, Kind: event.EdgeContext, P: 1}, {ID: release, Kind: event.EdgeLock, P: 1}}
	}
	r := told(t, 1,
		event.Event{Stream: "driver", Kind: event.KindCall, Correlation: 1},
		event.Event{Stream: "other", Kind: event.KindRelease, Key: "l", Correlation: 2},
		event.Event{Stream: "driver", Kind: event.KindAcquire, Key: "l", Correlation: 1, Causes: lock(1, 2)}, // before the job
		event.Event{Stream: "driver", Kind: event.KindSend, Key: "jobs", Correlation: 4, Causes: by(event.EdgeContext, 1)},
		event.Event{Stream: "worker", Kind: event.KindReceive, Key: "jobs", Correlation: 4, Causes: by(event.EdgeMessage, 4)},
		event.Event{Stream: "other", Kind: event.KindRelease, Key: "l", Correlation: 2},
		event.Event{Stream: "worker", Kind: event.KindAcquire, Key: "l", Correlation: 4, Causes: lock(5, 6)},
		event.Event{Stream: "worker", Kind: event.KindAcquire, Key: "l", Correlation: 1, Causes: lock(1, 6)}, // for other work
		event.Event{Stream: "worker", Kind: event.KindError, Correlation: 4, Causes: by(event.EdgeContext, 5)},
	)
	if got := outline(why(t, r, 9, query.WhyOptions{})); got != "1 4 5 9(7<6 2µs)" {
		t.Errorf("the chain is %s", got)
	}
}

func TestWhyShowsTheLongestWaitsAndCountsTheRest(t *testing.T) {
	events := []event.Event{{Stream: "g1", Kind: event.KindCall, Correlation: 1}}
	for i := range 5 {
		id := event.ID(2 + 2*i)
		events = append(events,
			event.Event{Stream: fmt.Sprint("g", i+2), Kind: event.KindRelease, Key: "l"},
			event.Event{Stream: "g1", Kind: event.KindAcquire, Key: "l", Causes: []event.Edge{{ID: 1, Kind: event.EdgeContext, P: 1}, {ID: id, Kind: event.EdgeLock, P: 1}}},
		)
	}
	events = append(events, event.Event{Stream: "g1", Kind: event.KindError, Causes: by(event.EdgeContext, 1)})
	r := told(t, 1, events...)
	c := why(t, r, 12, query.WhyOptions{WaitsMax: 2})
	if s := c.Steps[1]; len(s.Waits) != 2 || s.WaitsMore != 3 || s.WaitsRest != 6*time.Microsecond {
		t.Errorf("%s, %d more take %s", outline(c), s.WaitsMore, s.WaitsRest)
	}
	if c := why(t, r, 12, query.WhyOptions{BlocksMax: 1}); !strings.Contains(c.Cut, "from event 9 on") {
		t.Errorf("only one block was allowed: %q", c.Cut)
	}
}

func TestALockThatWasFreeIsNoWait(t *testing.T) {
	lock := func(release event.ID) []event.Edge {
		return []event.Edge{{ID: 1, Kind: event.EdgeContext, P: 1}, {ID: release, Kind: event.EdgeLock, P: 1}}
	}
	r := told(t, 1,
		event.Event{Stream: "g1", Kind: event.KindCall},
		event.Event{Stream: "g1", Kind: event.KindRelease, Key: "own", Causes: by(event.EdgeContext, 1)},
		event.Event{Stream: "g2", Kind: event.KindRelease, Key: "free"},
		event.Event{Stream: "g1", Kind: event.KindAcquire, Key: "own", Causes: lock(2)},
		event.Event{Stream: "g1", Kind: event.KindAcquire, Key: "free", Causes: lock(3)},
		event.Event{Stream: "g2", Kind: event.KindRelease, Key: "held"},
		event.Event{Stream: "g1", Kind: event.KindAcquire, Key: "held", Causes: lock(6)},
		event.Event{Stream: "g1", Kind: event.KindError, Causes: by(event.EdgeContext, 1)},
	)
	if got := outline(why(t, r, 8, query.WhyOptions{})); got != "1 8(7<6 2µs)" {
		t.Errorf("the chain is %s", got)
	}
}

func TestTheEndOfAChannelIsWaitedForOnce(t *testing.T) {
	ends := []event.Edge{{ID: 1, Kind: event.EdgeContext, P: 1}, {ID: 2, Kind: event.EdgeClose, P: 1}}
	r := told(t, 1,
		event.Event{Stream: "g1", Kind: event.KindCall},
		event.Event{Stream: "g2", Kind: event.KindClose, Key: "done"},
		event.Event{Stream: "g1", Kind: event.KindReceive, Key: "done", Closed: true, Causes: ends},
		event.Event{Stream: "g1", Kind: event.KindReceive, Key: "done", Closed: true, Causes: ends},
		event.Event{Stream: "g1", Kind: event.KindError, Causes: by(event.EdgeContext, 1)},
	)
	if got := outline(why(t, r, 5, query.WhyOptions{})); got != "1 5(3<2 2µs)" {
		t.Errorf("the chain is %s", got)
	}
}

func TestFutureFollowsWhatAnEventLedTo(t *testing.T) {
	r, _ := shop(t, 8)
	tree, err := query.Future(ctx, r, 28, query.FutureOptions{})
	if err != nil {
		t.Fatal(err)
	}
	var ids []event.ID
	var walk func(n *query.Node)
	walk = func(n *query.Node) {
		ids = append(ids, n.Row.Event.ID)
		for _, c := range n.Effects {
			if c.Further && len(c.Effects) > 0 {
				t.Errorf("event %d was only let go on, and is followed", c.Row.Event.ID)
			}
			walk(c)
		}
	}
	walk(tree.Root)
	if got, want := fmt.Sprint(ids), "[28 31 35 38 42 44 46 62 48 50 53 56 58 61 63 60]"; got != want || tree.Cut != "" || tree.Nodes != 16 {
		t.Errorf("%v\nnot %v (%q)", got, want, tree.Cut)
	}
	for _, o := range []query.FutureOptions{{DepthMax: 2}, {WidthMax: 1}, {NodesMax: 5}} {
		cut, err := query.Future(ctx, r, 28, o)
		if err != nil || cut.Cut == "" || cut.More == 0 {
			t.Errorf("with %+v it says that it is cut: %v %q", o, err, cut.Cut)
		}
	}
	late := told(t, 1,
		event.Event{Stream: "g2", Kind: event.KindStart, Causes: []event.Edge{missing(event.EdgeSpawn), {ID: 2, Kind: event.EdgeSpawn, P: 1}}},
		event.Event{Stream: "g1", Kind: event.KindSpawn},
	)
	tree, err = query.Future(ctx, late, 2, query.FutureOptions{})
	if err != nil || len(tree.Root.Effects) != 1 || !tree.Root.Effects[0].Late || tree.Root.Effects[0].Edge.Kind != event.EdgeSpawn {
		t.Errorf("the start that was known late is an effect: %v %+v", err, tree.Root)
	}
	past, cancel := context.WithDeadline(ctx, time.Now().Add(-time.Second))
	defer cancel()
	if tree, err = query.Future(past, r, 28, query.FutureOptions{}); err != nil || !strings.Contains(tree.Cut, "deadline") {
		t.Errorf("after its deadline: %v", err)
	}
}

func TestRelateAgreesWithTheSlowAnswerAndShowsAPath(t *testing.T) {
	rapid.Check(t, func(t *rapid.T) {
		s := drawSample(t)
		if len(s.events) == 0 {
			t.Skip("nothing to relate")
		}
		r := s.reader(t)
		any := rapid.IntRange(0, len(s.events)-1)
		a, b := s.events[any.Draw(t, "a")].ID, s.events[any.Draw(t, "b")].ID
		rel, err := query.Relate(ctx, r, a, b, query.RelateOptions{Budget: generous})
		if err != nil {
			t.Fatal(err)
		}
		want := query.Concurrent
		switch {
		case a == b:
			want = query.Same
		case s.before(a, b):
			want = query.Before
		case s.before(b, a):
			want = query.After
		}
		if rel.Order != want {
			t.Fatalf("%d and %d are %v, not %v", a, b, rel.Order, want)
		}
		if want == query.Same || want == query.Concurrent {
			if len(rel.Path) > 0 {
				t.Fatalf("%v with a path", want)
			}
			return
		}
		from, to := a, b
		if want == query.After {
			from, to = b, a
		}
		if first, last := rel.Path[0].Row.Event.ID, rel.Path[len(rel.Path)-1].Row.Event.ID; first != from || last != to {
			t.Fatalf("a path from %d to %d leads from %d to %d", from, to, first, last)
		}
		weakest := event.Exact
		for i, step := range rel.Path[1:] {
			before, here := rel.Path[i].Row, step.Row
			if step.Edge.Kind == event.EdgeInvalid {
				if before.Event.Stream != here.Event.Stream || before.Source != here.Source || before.Event.Seq >= here.Event.Seq {
					t.Fatalf("%d is not before %d in a stream", before.Event.ID, here.Event.ID)
				}
				continue
			}
			weakest = max(weakest, step.Edge.Confidence)
			if step.Edge.ID != before.Event.ID || !contains(s.causesOf(s.at(here.Event.ID)), before.Event.ID) {
				t.Fatalf("there is no edge from %d to %d", before.Event.ID, here.Event.ID)
			}
		}
		if rel.Confidence != weakest {
			t.Fatalf("the path is %v, not %v", rel.Confidence, weakest)
		}
	})
}

func TestRelateGivesUpWhenItTakesTooLong(t *testing.T) {
	r, _ := shop(t, 4)
	rel, err := query.Relate(ctx, r, 41, 63, query.RelateOptions{Budget: 1})
	if err != nil || rel.Order != query.Undecided || !strings.Contains(rel.Cut, "gave up") {
		t.Errorf("%v %v %q", err, rel.Order, rel.Cut)
	}
	past, cancel := context.WithDeadline(ctx, time.Now().Add(-time.Second))
	defer cancel()
	if rel, err = query.Relate(past, r, 41, 63, query.RelateOptions{}); err != nil || rel.Order != query.Undecided {
		t.Errorf("%v %+v", err, rel)
	}
	for _, ids := range [][2]event.ID{{1, 99}, {99, 1}} {
		if _, err := query.Relate(ctx, r, ids[0], ids[1], query.RelateOptions{}); err == nil {
			t.Errorf("%v: an event that is not there", ids)
		}
	}
}

func TestShowGivesEverythingAboutAnEvent(t *testing.T) {
	r, _ := shop(t, 8)
	d, err := query.Show(ctx, r, 18, query.ShowOptions{NeighboursMax: 2, EffectsMax: 2})
	if err != nil {
		t.Fatal(err)
	}
	ids := func(rows []*query.Row) (s string) {
		for _, r := range rows {
			s += r.Event.ID.String() + " "
		}
		return strings.TrimSpace(s)
	}
	if len(d.Causes) != 1 || d.Causes[0].Row.Event.ID != 15 || d.Causes[0].Before != 20*time.Microsecond {
		t.Errorf("its parent is 15: %+v", d.Causes)
	}
	if len(d.Effects) != 2 || d.More != 1 || d.Founder != nil {
		t.Errorf("two of three effects: %d, %d more", len(d.Effects), d.More)
	}
	if ids(d.Before) != "15" || ids(d.After) != "21 24" {
		t.Errorf("its neighbours are %s and %s", ids(d.Before), ids(d.After))
	}
	d, err = query.Show(ctx, r, 42, query.ShowOptions{})
	if err != nil || ids(d.Before) != "31 35 38" || ids(d.After) != "44 46 48" || d.Founder.Event.ID != 18 || len(d.Causes) != 2 {
		t.Errorf("%v: %s | %s", err, ids(d.Before), ids(d.After))
	}
	if d, err = query.Show(ctx, r, 18, query.ShowOptions{}); err != nil || d.Took == nil || d.Took.Event.ID != 65 {
		t.Errorf("its return is 65: %v", err)
	}
	if d, err = query.Show(ctx, r, 1, query.ShowOptions{BlocksMax: 1}); err != nil || len(d.Before) != 0 {
		t.Errorf("nothing is before the first: %v", err)
	}
	busy := told(t, 1, append([]event.Event{{Stream: "g1", Kind: event.KindCall}}, func() (more []event.Event) {
		for i := range 11 {
			more = append(more, event.Event{Stream: map[bool]string{true: "g1", false: "g2"}[i%4 == 3], Kind: event.KindLog})
		}
		return more
	}()...)...)
	if d, err = query.Show(ctx, busy, 1, query.ShowOptions{BlocksMax: 1}); err != nil || d.Cut == "" {
		t.Errorf("three events behind it do not fit into one block: %v %q", err, d.Cut)
	}
	if _, err := query.Show(ctx, r, 99, query.ShowOptions{}); err == nil {
		t.Error("99 is not there")
	}
}

func TestACorrelationIsAllThatBelongsTogether(t *testing.T) {
	r, events := shop(t, 8)
	var got []event.ID
	if _, err := query.Correlation(ctx, r, 53, query.Options{}, func(h *query.Hit) error {
		got = append(got, h.Event.ID)
		return nil
	}); err != nil {
		t.Fatal(err)
	}
	var want []event.ID
	for _, e := range events {
		if e.Correlation == 18 {
			want = append(want, e.ID)
		}
	}
	if fmt.Sprint(got) != fmt.Sprint(want) || len(want) < 15 {
		t.Errorf("%v\nnot %v", got, want)
	}
	if _, err := query.Correlation(ctx, r, 99, query.Options{}, nil); err == nil {
		t.Error("99 is not there")
	}
}

func TestStatsCountEverything(t *testing.T) {
	rapid.Check(t, func(t *rapid.T) {
		s := drawSample(t)
		st, err := query.Stats(ctx, s.reader(t), query.Options{Workers: 2})
		if err != nil {
			t.Fatal(err)
		}
		streams, kinds := map[string]bool{}, map[event.Kind]uint64{}
		var work, background, roots, further, late, gaps, workEvents uint64
		parents := [3]uint64{}
		for i, e := range s.events {
			streams[fmt.Sprint(s.sources[i], e.Stream)] = true
			kinds[e.Kind]++
			if e.Correlation == e.ID && e.Background {
				background++
			} else if e.Correlation == e.ID {
				work++
			}
			if !e.Background {
				workEvents++
			}
			if e.Kind == event.KindGap {
				gaps++
			}
			if len(e.Causes) == 0 {
				roots++
			} else {
				parents[e.Confidence]++
			}
			for n, c := range e.Causes {
				if c.ID > e.ID {
					late++
				} else if n > 0 {
					further++
				}
			}
		}
		got := []any{st.Events, st.Streams, st.Work, st.Background, st.WorkEvents, st.Roots, st.Further, st.Late, st.Gaps, st.Parents}
		want := []any{uint64(len(s.events)), uint64(len(streams)), work, background, workEvents, roots, further, late, gaps, parents}
		if fmt.Sprint(got) != fmt.Sprint(want) {
			t.Fatalf("%v\nnot %v", got, want)
		}
		for i, k := range st.Kinds {
			if kinds[k.What] != k.Count || i > 0 && st.Kinds[i-1].Count < k.Count {
				t.Fatalf("kinds: %v, not %v", st.Kinds, kinds)
			}
		}
	})
}

func TestStatsTellOfLosses(t *testing.T) {
	r := told(t, 1,
		event.Event{Stream: "g1", Kind: event.KindGap, Data: []byte(`{"lost":41}`)},
		event.Event{Stream: "g1", Kind: event.KindGap, Data: []byte(`{"lost":1}`)},
		event.Event{Stream: "g1", Kind: event.KindGap, Data: []byte(`{"lost":0}`)},
		event.Event{Stream: "g1", Kind: event.KindGap},
	)
	st, err := query.Stats(ctx, r, query.Options{})
	if err != nil || st.Gaps != 4 || st.Lost != 42 {
		t.Errorf("%v: %d gaps, %d lost", err, st.Gaps, st.Lost)
	}
	many := make([]event.Event, 12)
	for i := range many {
		many[i] = event.Event{Stream: "g1", Kind: event.KindLog, Func: fmt.Sprint("f", i)}
	}
	if st, err = query.Stats(ctx, told(t, 1, many...), query.Options{}); err != nil || len(st.Functions) != 10 || st.FunctionsMore != 2 {
		t.Errorf("%v: ten functions are enough: %v", err, st.Functions)
	}
}

func TestSuggestNamesWhatToAskAbout(t *testing.T) {
	for _, rows := range []int{3, 100} { // waits within a block, and across
		r, _ := shop(t, rows)
		all, err := query.Suggest(ctx, r, query.Options{})
		if err != nil {
			t.Fatal(err)
		}
		var got []string
		for _, s := range all {
			got = append(got, fmt.Sprintf("%s %d %s", s.Reason, s.Row.Event.ID, s.Measure))
		}
		want := "last_error 63 0s, slowest_root 54 180.72ms, slowest_root 65 180.24ms, slowest_root 72 173.32ms, longest_wait 42 179.551ms, longest_wait 62 11µs"
		if strings.Join(got, ", ") != want || all[0].Of != 2 {
			t.Errorf("%s\nnot %s", strings.Join(got, ", "), want)
		}
	}
	gap := told(t, 1, event.Event{Stream: "g1", Kind: event.KindGap})
	if all, err := query.Suggest(ctx, gap, query.Options{}); err != nil || len(all) != 1 || all[0].Reason != query.LastGap {
		t.Errorf("a gap is worth asking about: %v %v", err, all)
	}
}

func TestResolve(t *testing.T) {
	r, _ := shop(t, 8)
	for _, c := range []struct {
		text string
		id   event.ID
		err  string
	}{
		{"53", 53, ""},
		{" 53 ", 53, ""},
		{"g21#2", 18, ""},
		{"{ kind = error && stream = \"g2\" }", 53, ""},
		{"first:{ kind = error }", 53, ""},
		{"last:{ kind = error }", 63, ""},
		{"{} | sort(duration desc) | limit(1)", 54, ""},
		{"first:{} | sort(duration desc)", 54, ""},
		{"0", 0, "no event 0: the ids are 1 to 72"},
		{"73", 0, "no event 73"},
		{"99999999999999999999", 0, "a set of events"},
		{"", 0, "which event?"},
		{"g21#99", 0, "from 1 to 9"},
		{"g21#x", 0, "unexpected"},
		{"g21#0", 0, "no event g21#0: the events of g21 are numbered from 1 to 9"},
		{"g77#1", 0, "no stream has that name"},
		{"{ kind = error }", 0, "several events match { kind = error }: 53, 63: narrow it"},
		{"{ kind = call }", 0, "and more"},
		{"{ kind = gap }", 0, "no event matches"},
		{"last:{ kind = gap }", 0, "no event matches"},
		{"{ kind = eror }", 0, "did you mean error?"},
		{"last:{} | count()", 0, "gives groups"},
		{"last:{} | sort(time)", 0, "an order of its own"},
		{"{ kind = error } << {}", 0, "several"},
	} {
		id, err := query.Resolve(ctx, r, c.text, query.Options{CausalBudget: generous})
		if id != c.id || c.err == "" && err != nil || c.err != "" && (err == nil || !strings.Contains(err.Error(), c.err)) {
			t.Errorf("%q gives %d, %v", c.text, id, err)
		}
	}
	if _, err := query.Resolve(ctx, r, "last:{} << {}", query.Options{CausalBudget: 1}); err == nil || !strings.Contains(err.Error(), "not decided") {
		t.Errorf("a search that was cut off decides nothing: %v", err)
	}
	gone, cancel := context.WithCancel(ctx)
	cancel()
	if _, err := query.Resolve(gone, r, "last:{}", query.Options{}); !errors.Is(err, context.Canceled) {
		t.Errorf("got %v", err)
	}
}

func TestResolveLastReadsFromTheEnd(t *testing.T) {
	r, _ := shop(t, 4)
	reads := &counting{Reader: r}
	if id, err := query.Resolve(ctx, reads, "last:{ background = false }", query.Options{Workers: 2}); err != nil || id != 72 {
		t.Fatal(id, err)
	}
	if reads.blocks[1] > 0 || reads.blocks[69] == 0 {
		t.Errorf("the last of 18 blocks is enough: %v", reads.blocks)
	}
}
