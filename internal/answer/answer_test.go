package answer_test

import (
	"bytes"
	"context"
	"errors"
	"fmt"
	"path/filepath"
	"strings"
	"testing"
	"time"

	"github.com/pastcone/pastcone/event"
	"github.com/pastcone/pastcone/internal/answer"
	"github.com/pastcone/pastcone/internal/query"
	"github.com/pastcone/pastcone/internal/recorder"
	"github.com/pastcone/pastcone/internal/wire"
)

// recorded gives a recording of these events.
func recorded(t *testing.T, events ...event.Event) *recorder.Recording {
	t.Helper()
	dir := filepath.Join(t.TempDir(), "rec")
	r, err := recorder.Open(dir, recorder.Options{})
	if err != nil {
		t.Fatal(err)
	}
	in, err := r.Source(recorder.Spec{Name: "shop", Format: "test", Finite: true})
	if err != nil {
		t.Fatal(err)
	}
	b := &wire.Batch{}
	for i := range events {
		if err := b.AddEvent(in.Table(), &events[i]); err != nil {
			t.Fatal(err)
		}
	}
	ctx := context.Background()
	if err := errors.Join(in.Push(ctx, b), in.Close(ctx, true), r.Close(ctx)); err != nil {
		t.Fatal(err)
	}
	rec, err := recorder.Read(dir)
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() { _ = rec.Close() })
	return rec
}

func ask(t *testing.T, rec *recorder.Recording, q answer.Question) (string, error) {
	t.Helper()
	snapshot, err := rec.Snapshot()
	if err != nil {
		t.Fatal(err)
	}
	defer snapshot.Close()
	sources, err := rec.Sources()
	if err != nil {
		t.Fatal(err)
	}
	return askAt(t, snapshot, sources, q)
}

func askAt(t *testing.T, r query.Reader, sources answer.Sources, q answer.Question) (string, error) {
	t.Helper()
	ctx, cancel := context.WithTimeout(context.Background(), time.Minute)
	defer cancel()
	var out bytes.Buffer
	err := answer.Answer(ctx, r, sources, &q, &out)
	return out.String(), err
}

// A request, an error of the background behind the error of the request, and a slow call.
var shop = []event.Event{
	{Stream: "g1", Seq: 1, Time: 1000, Kind: event.KindCall, Func: "main.main"},
	{Stream: "g2", Seq: 1, Time: 2000, Kind: event.KindCall, Func: "http.handle", Root: true},
	{Stream: "g2", Seq: 2, Time: 3000, Kind: event.KindError, Func: "stock.Take", Data: []byte(`{"error":"no stock"}`)},
	{Stream: "g2", Seq: 3, Time: 4000, Kind: event.KindReturn, Func: "http.handle"},
	{Stream: "g1", Seq: 2, Time: 5000, Kind: event.KindError, Func: "main.main", Data: []byte(`{"error":"no metrics"}`)},
}

func TestWhy_WithoutAnEvent(t *testing.T) {
	for name, c := range map[string]struct {
		events []event.Event
		want   string
	}{
		"the last error of work goes first":            {shop, "no stock"},
		"else the last error of the background":        {[]event.Event{shop[0], {Stream: "g1", Seq: 2, Time: 5000, Kind: event.KindError, Data: []byte(`{"error":"no metrics"}`)}}, "no metrics"},
		"where there is none, events worth asking for": {[]event.Event{shop[1], {Stream: "g2", Seq: 2, Time: 4000, Kind: event.KindReturn, Func: "http.handle"}}, "http.handle"},
	} {
		t.Run(name, func(t *testing.T) {
			rec := recorded(t, c.events...)
			for _, json := range []bool{false, true} {
				text, err := ask(t, rec, answer.Question{Op: "why", JSON: json})
				if err != nil || !strings.Contains(text, c.want) {
					t.Errorf("JSON %v: %v\n%s", json, err, text)
				}
			}
		})
	}
	if _, err := ask(t, recorded(t), answer.Question{Op: "why"}); !errors.Is(err, answer.ErrNoAnswer) {
		t.Errorf("of an empty recording: %v", err)
	}
}

func TestWhy_WithoutAnEventExplainsWhereTheErrorCameUp(t *testing.T) {
	failed := func(stream string, seq uint64, time int64, f, data string) event.Event {
		return event.Event{Stream: stream, Seq: seq, Time: time, Kind: event.KindError, Func: f, Data: []byte(data)}
	}
	rec := recorded(t,
		event.Event{Stream: "g1", Seq: 1, Time: 1, Kind: event.KindCall, Func: "http.handle", Root: true},
		event.Event{Stream: "g1", Seq: 2, Time: 2, Kind: event.KindSpawn, Child: "g2"},
		event.Event{Stream: "g2", Seq: 1, Time: 3, Kind: event.KindStart, Func: "shop.pay"},
		failed("g2", 2, 4, "bank.Charge", `{"error":"declined","identity":"a"}`),
		failed("g2", 3, 5, "shop.pay", `{"error":"pay: declined","wraps":true,"identity":"b"}`),
		event.Event{Stream: "g2", Seq: 4, Time: 6, Kind: event.KindSend, Key: "c", Ordinal: 1},
		event.Event{Stream: "g1", Seq: 3, Time: 7, Kind: event.KindReceive, Key: "c", Ordinal: 1},
		failed("g1", 4, 8, "http.handle", `{"error":"pay: declined","identity":"b"}`),
	)
	text, err := ask(t, rec, answer.Question{Op: "why"})
	if err != nil || !strings.HasPrefix(text, "error  pay: declined\n  in g2 shop.pay") || !strings.Contains(text, "passed on to  g1 http.handle") ||
		!strings.Contains(text, "wraps         declined") || strings.Contains(text, "identity") {
		t.Errorf("%v\n%s", err, text)
	}
	lines, err := ask(t, rec, answer.Question{Op: "why", JSON: true})
	if err != nil || !strings.Contains(lines, `"steps":4,"asked":8}`) || !strings.Contains(lines, `{"type":"error_before","wrapped":true,`) {
		t.Errorf("%v\n%s", err, lines)
	}
	if text, err = ask(t, rec, answer.Question{Op: "why", Events: []string{"8"}}); err != nil || !strings.Contains(text, "came up in    g2 shop.pay") {
		t.Errorf("named, it is explained itself: %v\n%s", err, text)
	}
	if text, err = ask(t, rec, answer.Question{Op: "why", All: true}); err != nil || !strings.Contains(text, "meanwhile, for the same work") {
		t.Errorf("with all: %v\n%s", err, text)
	}
}

// counting counts the blocks that are read.
type counting struct {
	query.Reader
	read int
}

func (c *counting) Read(base event.ID, which wire.ColumnSet, to *wire.Columns) error {
	c.read++
	return c.Reader.Read(base, which, to)
}

func TestWhy_WithoutAnEventReadsFromTheEnd(t *testing.T) {
	events := []event.Event{{Stream: "g1", Seq: 1, Time: 1, Kind: event.KindCall, Func: "http.handle", Root: true}}
	const blocks = 6
	for i := 2; i < blocks*wire.BlockRowsMax; i++ {
		events = append(events, event.Event{Stream: "g1", Seq: uint64(i), Time: int64(i), Kind: event.KindError, Func: "f"}) // #nosec G115 -- small
	}
	rec := recorded(t, events...)
	snapshot, err := rec.Snapshot()
	if err != nil {
		t.Fatal(err)
	}
	defer snapshot.Close()
	all := len(snapshot.Blocks(wire.Prune{}))
	c := &counting{Reader: snapshot}
	if _, err := query.Resolve(context.Background(), c, "last:{ kind = error && background = false }", query.Options{Workers: 1}); err != nil {
		t.Fatal(err)
	}
	if all < blocks || c.read > all/2 {
		t.Errorf("%d reads of %d blocks", c.read, all)
	}
}

func TestAnswer_EachQuestionInTextAndJSON(t *testing.T) {
	rec := recorded(t, shop...)
	for _, c := range []struct {
		q    answer.Question
		want string
	}{
		{answer.Question{Op: "why", Events: []string{"g2#2"}}, "no stock"},
		{answer.Question{Op: "future", Events: []string{"first:{ root = true }"}}, "stock.Take"},
		{answer.Question{Op: "relate", Events: []string{"g2#1", "g2#2"}}, "stock.Take"},
		{answer.Question{Op: "show", Events: []string{"{ func = \"stock.Take\" }"}}, "no stock"},
		{answer.Question{Op: "find", Query: "{ kind = error }"}, "no metrics"},
		{answer.Question{Op: "find", Query: "{ kind = error } | count() by (func)"}, "stock.Take"},
		{answer.Question{Op: "stats"}, "shop"},
	} {
		for _, json := range []bool{false, true} {
			q := c.q
			q.JSON = json
			text, err := ask(t, rec, q)
			if err != nil || !strings.Contains(text, c.want) || strings.HasPrefix(text, "{") != json {
				t.Errorf("%s, JSON %v: %v\n%s", q.Op, json, err, text)
			}
		}
	}
}

func TestAnswer_WhatIsNoQuestionOrHasNoAnswer(t *testing.T) {
	rec := recorded(t, shop...)
	var syntax *query.SyntaxError
	for _, c := range []struct {
		q    answer.Question
		want error
		says string
	}{
		{answer.Question{Op: "guess"}, answer.ErrQuestion, `there is no question "guess"; there are find, future`},
		{answer.Question{Op: "relate", Events: []string{"1"}}, answer.ErrQuestion, "relate takes 2 to 2 events, not 1"},
		{answer.Question{Op: "why", Events: []string{"abc"}}, answer.ErrQuestion, `"abc" is no event: give an id (4711), a place in a stream (g12#3)`},
		{answer.Question{Op: "show", Events: []string{"g9#x"}}, answer.ErrQuestion, `"g9#x" is no event`},
		{answer.Question{Op: "show", Events: []string{"9g9#7"}}, answer.ErrNoAnswer, "no stream has that name"},
		{answer.Question{Op: "find", Query: strings.Repeat("x", answer.TextBytes+1)}, answer.ErrQuestion, "at most 65536"},
		{answer.Question{Op: "future", Events: []string{"1"}, Depth: -1}, answer.ErrQuestion, "depth is -1"},
		{answer.Question{Op: "stats", Timeout: time.Hour}, answer.ErrQuestion, "timeout"},
		{answer.Question{Op: "find", Query: "{ kind = metric }"}, answer.ErrNoAnswer, "no event matches"},
		{answer.Question{Op: "why", Events: []string{"99"}}, answer.ErrNoAnswer, "99"},
		{answer.Question{Op: "future", Events: []string{"{ kind = error }"}}, answer.ErrNoAnswer, "2"},
		{answer.Question{Op: "show", Events: []string{"g9#9"}}, answer.ErrNoAnswer, "g9"},
		{answer.Question{Op: "show", Events: []string{"g2#0"}}, answer.ErrNoAnswer, "the events of g2 are numbered from 1 to 3"},
		{answer.Question{Op: "show", Events: []string{"g2#4"}}, answer.ErrNoAnswer, "from 1 to 3"},
		{answer.Question{Op: "relate", Events: []string{"1", "99"}}, answer.ErrNoAnswer, "99"},
		{answer.Question{Op: "relate", Events: []string{"99", "1"}}, answer.ErrNoAnswer, "99"},
	} {
		_, err := ask(t, rec, c.q)
		if !errors.Is(err, c.want) || !strings.Contains(err.Error(), c.says) {
			t.Errorf("%+v: %v", c.q, err)
		}
	}
	if _, err := ask(t, rec, answer.Question{Op: "find", Query: "{ kind = "}); !errors.As(err, &syntax) {
		t.Errorf("a broken query: %v", err)
	}
}

func TestAnswer_KeepsToItsBounds(t *testing.T) {
	rec := recorded(t, shop...)
	snapshot, err := rec.Snapshot()
	if err != nil {
		t.Fatal(err)
	}
	defer snapshot.Close()
	// Over already: nothing is answered.
	ctx, cancel := context.WithCancel(context.Background())
	cancel()
	for op := range answer.Ops {
		q := answer.Question{Op: op, Query: "{}", Timeout: time.Minute}
		for range answer.Ops[op].Least {
			q.Events = append(q.Events, "last:{}")
		}
		if err := answer.Answer(ctx, snapshot, nil, &q, &bytes.Buffer{}); !errors.Is(err, context.Canceled) {
			t.Errorf("%s: %v", op, err)
		}
	}
	// A screen that is gone.
	broken := fmt.Errorf("broken pipe")
	for _, q := range []answer.Question{{Op: "find", Query: "{}"}, {Op: "stats"}, {Op: "why"}, {Op: "stats", JSON: true}, {Op: "find", Query: "{}", JSON: true}} {
		if err := answer.Answer(context.Background(), snapshot, nil, &q, failing{broken}); !errors.Is(err, broken) {
			t.Errorf("%+v: %v", q, err)
		}
	}
}

type failing struct{ err error }

func (f failing) Write([]byte) (int, error) { return 0, f.err }
