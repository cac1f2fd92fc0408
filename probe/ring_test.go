package probe

import (
	"context"
	"errors"
	"log/slog"
	"runtime"
	"strings"
	"sync"
	"testing"

	"github.com/pastcone/pastcone/event"
)

// patched runs f as in a program whose runtime records, and gives what it is handed: places, and the events.
func patched(t *testing.T, f func(on *bool)) (places []string, events []event.Event) {
	t.Helper()
	on := true
	ring = func(pc uintptr, line string) bool {
		if line == "" || !on {
			return on
		}
		name := ""
		if pc != 0 {
			frame, _ := runtime.CallersFrames([]uintptr{pc}).Next()
			name = frame.Function[strings.LastIndexByte(frame.Function, '.')+1:]
		}
		if len(line) > ringLineBytesMax {
			t.Errorf("a line of %d bytes", len(line))
		}
		e, err := event.ParseLine([]byte(`{"stream":"g1","seq":1,"time":1,"kind":` + strings.Clone(line)))
		if err != nil {
			t.Errorf("%v: %s", err, line)
		}
		places, events = append(places, name), append(events, e)
		return true
	}
	defer func() { ring = nil }()
	f(&on)
	return places, events
}

func TestRing_GetsWhatTheRuntimeDoesNotSeeByItself(t *testing.T) {
	ctx := context.Background()
	var mu Mutex
	c := NewChan[int]("c", 1)
	q := NewQueue[string]("q")
	logger := slog.New(NewHandler(nil, nil))
	places, events := patched(t, func(on *bool) {
		ctx := With(Attach(ctx, "main"), slog.Int("n", 1))
		span := Root(ctx)
		Call(ctx).End() // the runtime sees calls,
		mu.Lock(ctx)    // locks,
		mu.Unlock(ctx)
		_ = c.Send(ctx, 1) // channels,
		_, _ = c.Receive(ctx)
		c.Close(ctx)
		var wait sync.WaitGroup
		wait.Add(1)
		Go(ctx, "child", func(context.Context) { wait.Done() }) // and goroutines
		wait.Wait()
		Exit(Spawn(ctx, "conn"))
		Log(ctx, "remark")
		logger.Info("line", "k", "v")
		State(ctx, "stock", slog.Int("left", 3))
		Metric(ctx, "heap", 1.5)
		_ = Error(context.Background(), errors.New("sold out"))
		q.Send(ctx, "job")
		q.Receive(ctx, "job")
		md := Metadata{}
		Inject(ctx, md)
		_, inner := RootFrom(context.Background(), md)
		inner.End()
		span.End()
		*on = false
		Log(ctx, "nobody records")
		if Recording() || !off() {
			t.Error("on while it is off")
		}
	})
	want := `call{"n":1} log{"n":1,"text":"remark"} log{"text":"line","level":"INFO","k":"v"} state{"n":1,"left":3} metric{"n":1,"name":"heap","value":1.5}` +
		` error{"error":"sold out"} send{"n":1} receive{"n":1} send{"n":1} call return return{"n":1}`
	var got []string
	for i, e := range events {
		got = append(got, e.Kind.String()+string(e.Data))
		if places[i] != "func1" {
			t.Errorf("%s is at %q", e.Kind, places[i])
		}
		if e.Func != "" {
			t.Errorf("the line has a place of its own: %+v", e)
		}
	}
	if text := strings.Join(got, " "); text != want {
		t.Fatalf("got  %s\nwant %s", text, want)
	}
	if root := events[9]; !root.Root || len(root.Cause) != 1 || root.Cause[0] != events[8].Ref || !events[0].Root {
		t.Errorf("the roots are %+v and %+v", events[0], root)
	}
	if events[6].Ordinal != 1 || events[7].Ordinal != 1 {
		t.Errorf("the queue: %+v, %+v", events[6], events[7])
	}
}

func TestRing_AndARecorderEachHaveEverything(t *testing.T) {
	var own []event.Event
	_, events := patched(t, func(*bool) {
		own = recorded(t, func(ctx context.Context) {
			Log(ctx, "both")
			Call(ctx).End()
		})
	})
	if len(own) != 3 || len(events) != 1 || string(events[0].Data) != string(own[0].Data) {
		t.Errorf("own %v, ring %v", own, events)
	}
}

func TestRing_TooLongALineIsCutAndSaysSo(t *testing.T) {
	ctx := context.Background()
	_, events := patched(t, func(*bool) {
		ctx := With(ctx, slog.String("label", strings.Repeat("l", 1500)))
		Log(ctx, strings.Repeat("long ", 1000), slog.Int("a", 1))
		Log(ctx, strings.Repeat("\x00", 1000))
		State(ctx, strings.Repeat("\x01", 1000), slog.String(strings.Repeat("\x02", 1000), "v"))
	})
	if len(events) != 3 {
		t.Fatalf("%d events", len(events))
	}
	first := string(events[0].Data)
	if !strings.Contains(first, `…","omitted":2}`) || !strings.HasPrefix(first, `{"text":"long long`) || len(first) < 900 {
		t.Errorf("%s", first)
	}
	if second := string(events[1].Data); !strings.Contains(second, `\u0000…","omitted":1}`) {
		t.Errorf("%s", second)
	}
	if len(events[2].Key) < 200 {
		t.Errorf("%+v", events[2])
	}
}
