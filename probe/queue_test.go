package probe

import (
	"context"
	"fmt"
	"log/slog"
	"strings"
	"testing"

	"github.com/pastcone/pastcone/event"
)

type job struct{ n int }

func TestQueue_EachReceiveHasTheOrdinalOfItsSendInWhateverOrder(t *testing.T) {
	a, b := &job{1}, &job{2}
	q := NewQueue[*job]("heap9")
	events := recorded(t, func(ctx context.Context) {
		q.Send(With(ctx, slog.String("request", "r1")), a)
		q.Send(ctx, b)
		q.Send(With(ctx, slog.String("request", "r3")), a) // the same again while it is in
		q.Receive(ctx, b)
		Log(q.Receive(ctx, a), "work")
		q.Receive(ctx, a)
		q.Send(ctx, b)
		q.Drop(b)
		q.Receive(ctx, b)
		q.Receive(ctx, &job{4})
	})
	var got []string
	for _, e := range events {
		if e.Kind == event.KindLog {
			got = append(got, "log"+string(e.Data))
			continue
		}
		if !strings.HasPrefix(e.Key, "heap9-") || !strings.HasSuffix(e.Func, "TestQueue_EachReceiveHasTheOrdinalOfItsSendInWhateverOrder.func1") {
			t.Errorf("%+v", e)
		}
		text := fmt.Sprint(e.Kind, e.Ordinal)
		if e.Message != "" {
			text += " lost"
		}
		got = append(got, text+string(e.Data))
	}
	want := `send 1{"request":"r1"} send 2 send 3{"request":"r3"} receive 2 receive 1{"request":"r1"} log{"request":"r1","text":"work"} receive 3{"request":"r3"} send 4 receive 0 lost receive 0 lost`
	if text := strings.Join(got, " "); text != want {
		t.Errorf("got  %s\nwant %s", text, want)
	}
}

func TestQueue_WhatWasSentBeforeTheRecordingIsMissingNotWrong(t *testing.T) {
	q := NewQueue[int]("jobs")
	q.Send(context.Background(), 7) // off: no trace of it
	q.Drop(7)
	recorded(t, func(ctx context.Context) { q.Send(ctx, 7) })
	if ctx := context.Background(); q.Receive(ctx, 8) != ctx {
		t.Error("another context while nothing records")
	}
	for _, e := range recorded(t, func(ctx context.Context) {
		q.Send(ctx, 8)
		q.Receive(ctx, 7)
	}) {
		if e.Kind == event.KindReceive && (e.Ordinal != 0 || e.Message == "") {
			t.Errorf("met a send of another recording: %+v", e)
		}
	}
}

func TestQueue_ForgetsTheOldestAndSaysSo(t *testing.T) {
	q := NewQueue[int]("jobs")
	const sends = 3*queueElementsMax + 10
	r := start(t, Options{Writer: &lockedBuffer{}, Policy: Wait})
	ctx := Attach(context.Background(), "main")
	for i := range sends {
		q.Send(ctx, i)
	}
	if got := q.Forgotten(); got != 2*queueElementsMax {
		t.Errorf("%d are forgotten", got)
	}
	if n := len(q.young) + len(q.old); n != queueElementsMax+10 {
		t.Errorf("%d are remembered", n)
	}
	if _, ok := q.take(sends - queueElementsMax); !ok {
		t.Error("one of the newest is forgotten")
	}
	if _, ok := q.take(0); ok {
		t.Error("the oldest is not")
	}
	if err := r.Close(); err != nil {
		t.Error(err)
	}
}
