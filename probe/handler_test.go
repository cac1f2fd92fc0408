package probe

import (
	"bytes"
	"context"
	"encoding/json"
	"errors"
	"log/slog"
	"strings"
	"testing"
	"testing/slogtest"

	"github.com/pastcone/pastcone/event"
)

func logEvents(events []event.Event) (logs []event.Event) {
	for _, e := range events {
		if e.Kind == event.KindLog {
			logs = append(logs, e)
		}
	}
	return logs
}

// Each case of the standard library's test of handlers, of which ours differs in the names of time and message only.
func TestHandler_FollowsTheRulesOfSlog(t *testing.T) {
	var out *lockedBuffer
	var r *Recorder
	slogtest.Run(t, func(t *testing.T) slog.Handler {
		out = &lockedBuffer{}
		r = start(t, Options{Writer: out})
		return NewHandler(nil, nil)
	}, func(t *testing.T) map[string]any {
		if err := r.Close(); err != nil {
			t.Fatal(err)
		}
		events := logEvents(parsed(t, out.String()))
		if len(events) != 1 {
			t.Fatalf("%d events", len(events))
		}
		var data map[string]any
		if err := json.Unmarshal(events[0].Data, &data); err != nil {
			t.Fatal(err)
		}
		data[slog.MessageKey] = data["text"]
		if !strings.Contains(t.Name(), "zero-time") {
			data[slog.TimeKey] = events[0].Time
		}
		return data
	})
}

func TestHandler_LinesAreInTheStreamOfTheirContextOrGoroutine(t *testing.T) {
	var next bytes.Buffer
	logger := slog.New(NewHandler(slog.NewJSONHandler(&next, nil), nil))
	events := recorded(t, func(ctx context.Context) {
		ctx = Attach(ctx, "again")
		done := make(chan struct{})
		Go(With(ctx, slog.String("request", "r1")), "worker", func(ctx context.Context) {
			defer close(done)
			logger.InfoContext(ctx, "with")
			logger.Info("without", "text", "mine", "level", 3)
			logger.Debug("nobody wants it")
		})
		<-done
		logger.With("a", 1).WithGroup("g").With("b", 2).WithGroup("").Error("sold out", "err", errors.New("no lamp"), slog.Group("", "c", 3), "late", computed{})
		Exit(ctx)
		logger.Warn("gone") // it goes on all the same: in a stream of its own
	})
	var got []string
	for _, e := range logEvents(events) {
		got = append(got, strings.TrimRight(e.Stream, "0123456789")+string(e.Data))
		if !strings.HasSuffix(e.File, "handler_test.go") || e.Line == 0 || !strings.Contains(e.Func, "TestHandler_LinesAreInTheStreamOfTheirContextOrGoroutine") {
			t.Errorf("the place is %s %s:%d", e.Func, e.File, e.Line)
		}
	}
	want := []string{
		`worker{"request":"r1","text":"with","level":"INFO"}`,
		`worker{"request":"r1","text":"without","level":"INFO","_text":"mine","_level":3}`,
		`again{"text":"sold out","level":"ERROR","a":1,"g":{"b":2,"err":"no lamp","c":3,"late":"computed"}}`,
		`goroutine{"text":"gone","level":"WARN"}`,
	}
	// Streams are written in no order among each other.
	for _, w := range want {
		if !strings.Contains("\n"+strings.Join(got, "\n")+"\n", "\n"+w+"\n") {
			t.Errorf("missing %s in\n%s", w, strings.Join(got, "\n"))
		}
	}
	if len(got) != len(want) || strings.Count(next.String(), "\n") != 4 {
		t.Errorf("%d events, and the wrapped handler has\n%s", len(got), next.String())
	}
	if len(ambient.adopted) != 0 && ambient.adopted[goroutineNumber()] != nil {
		t.Error("a stream that is over is still this goroutine's")
	}
}

type computed struct{}

func (computed) LogValue() slog.Value { return slog.StringValue("computed") }

func TestHandler_RecordsBelowTheLevelOfWhatItWrapsIfAskedTo(t *testing.T) {
	var next bytes.Buffer
	h := NewHandler(slog.NewJSONHandler(&next, &slog.HandlerOptions{Level: slog.LevelError}), &HandlerOptions{Level: slog.LevelDebug})
	logger := slog.New(h)
	if h.Enabled(context.Background(), slog.LevelWarn) {
		t.Error("lines are made while nobody wants them")
	}
	events := logEvents(recorded(t, func(ctx context.Context) {
		logger.DebugContext(ctx, "detail")
		logger.ErrorContext(ctx, "failed")
		logger.Log(ctx, slog.LevelDebug-1, "too fine")
	}))
	if len(events) != 2 || strings.Count(next.String(), "\n") != 1 || !strings.Contains(next.String(), "failed") {
		t.Errorf("%v; next has %s", events, next.String())
	}
}

func TestHandler_IsBoundedWhateverIsLogged(t *testing.T) {
	deep := slog.NewRecord(began, slog.LevelInfo, "deep", 0)
	a := slog.String("bottom", "x")
	for range 3 * depthMax {
		a = slog.Group("g", a)
	}
	deep.AddAttrs(a)
	logger := slog.New(NewHandler(nil, nil))
	for range 3 * depthMax {
		logger = logger.WithGroup("h")
	}
	many := make([]any, 0, 2000)
	for i := range 1000 {
		many = append(many, slog.String(strings.Repeat("k", 50)+string(rune('a'+i%26)), strings.Repeat("v", 3000)))
	}
	events := logEvents(recorded(t, func(ctx context.Context) {
		_ = logger.Handler().Handle(ctx, deep)
		logger.InfoContext(ctx, "grouped", "a", 1)
		slog.New(NewHandler(nil, nil)).InfoContext(ctx, strings.Repeat("m", 100_000), many...)
	}))
	if len(events) != 3 {
		t.Fatalf("%d events", len(events))
	}
	for _, e := range events {
		if len(e.Data) > 2*dataBytesMax || nesting(e.Data) > 2*depthMax {
			t.Errorf("an event of %d bytes, %d deep", len(e.Data), nesting(e.Data))
		}
	}
	if last := string(events[2].Data); !strings.Contains(last, `"omitted":`) || !strings.Contains(last, "bytes more") {
		t.Errorf("it does not show what was left out: %.300s", last)
	}
}

func TestHandler_OffItIsTheOneThatItWraps(t *testing.T) {
	h := NewHandler(slog.DiscardHandler, nil)
	if h.WithAttrs(nil) != h || h.WithGroup("") != h {
		t.Error("a new handler for nothing")
	}
	ctx := context.Background()
	line := slog.NewRecord(began, slog.LevelInfo, "text", 0)
	if got := testing.AllocsPerRun(100, func() {
		if h.Enabled(ctx, slog.LevelInfo) {
			t.Fatal("enabled")
		}
		_ = h.Handle(ctx, line)
	}); got != 0 {
		t.Errorf("%v allocations", got)
	}
}

func TestHandler_KnowsABoundedNumberOfGoroutines(t *testing.T) {
	var a ambientStreams
	for i := range uint64(ambientStreamsMax + 10) {
		a.adopt(i, &nowhere)
	}
	if len(a.adopted) != ambientStreamsMax {
		t.Errorf("%d", len(a.adopted))
	}
	a.leave(5)
	a.adopt(ambientStreamsMax+5, &nowhere)
	if len(a.adopted) != ambientStreamsMax || a.adopted[5] != nil || a.adopted[ambientStreamsMax+5] == nil {
		t.Error("what left has made no room")
	}
}
