package probe

import (
	"bytes"
	"context"
	"errors"
	"fmt"
	"log/slog"
	"os"
	"path/filepath"
	"strings"
	"sync"
	"testing"
	"time"

	"github.com/pastcone/pastcone/event"
)

// lockedBuffer can be read while the writer writes.
type lockedBuffer struct {
	mu sync.Mutex
	b  bytes.Buffer
}

func (b *lockedBuffer) Write(p []byte) (int, error) {
	b.mu.Lock()
	defer b.mu.Unlock()
	return b.b.Write(p)
}

func (b *lockedBuffer) String() string {
	b.mu.Lock()
	defer b.mu.Unlock()
	return b.b.String()
}

// recorded runs f while recording and gives the events, which must all be valid, in dense streams,
// balanced with the counts.
func recorded(t *testing.T, f func(ctx context.Context)) []event.Event {
	t.Helper()
	var out lockedBuffer
	r, err := Start(Options{Writer: &out})
	if err != nil {
		t.Fatal(err)
	}
	f(Attach(context.Background(), "main"))
	if err := r.Close(); err != nil {
		t.Fatal(err)
	}
	events := parsed(t, out.String())
	if s := r.Stats(); s.Events != s.Written || s.Dropped != 0 || int(s.Written) != len(events) || int(s.Bytes) != len(out.String()) {
		t.Errorf("stats do not balance: %+v with %d lines of %d bytes", s, len(events), len(out.String()))
	}
	checkDense(t, events)
	return events
}

func parsed(t *testing.T, text string) []event.Event {
	t.Helper()
	var events []event.Event
	for line := range strings.Lines(text) {
		e, err := event.ParseLine([]byte(line))
		if err != nil {
			t.Fatalf("%v in %s", err, line)
		}
		if len(e.Extra) > 0 {
			t.Fatalf("unknown fields in %s", line)
		}
		events = append(events, e)
	}
	return events
}

func checkDense(t *testing.T, events []event.Event) {
	t.Helper()
	last, at := map[string]uint64{}, map[string]int64{}
	for _, e := range events {
		if e.Seq != last[e.Stream]+1 {
			t.Fatalf("stream %s goes on from %d with %d", e.Stream, last[e.Stream], e.Seq)
		}
		// A send has the time at which it began to wait; nothing else goes back.
		if e.Time < at[e.Stream] && e.Kind != event.KindSend {
			t.Fatalf("stream %s goes back in time at %d", e.Stream, e.Seq)
		}
		last[e.Stream], at[e.Stream] = e.Seq, e.Time
	}
}

// story gives the events of a stream in short form.
func story(events []event.Event, stream string) string {
	var b strings.Builder
	for _, e := range events {
		if name := strings.TrimRight(e.Stream, "0123456789"); name != stream {
			continue
		}
		if b.Len() > 0 {
			b.WriteByte(' ')
		}
		b.WriteString(e.Kind.String())
		if e.Key != "" {
			fmt.Fprintf(&b, "(%s)", strings.TrimRight(e.Key, "0123456789"))
		}
		for text, is := range map[string]bool{"root": e.Root, "empty": e.Empty, "closed": e.Closed} {
			if is {
				b.WriteString("/" + text)
			}
		}
	}
	return b.String()
}

func TestOff_NothingIsRecordedAndNothingChanges(t *testing.T) {
	ctx := context.Background()
	if Recording() {
		t.Fatal("recording before Start")
	}
	Call(ctx).End()
	if err := Error(ctx, os.ErrNotExist); err != os.ErrNotExist {
		t.Errorf("Error changed the error into %v", err)
	}
	if With(ctx, slog.String("a", "b")) != ctx || Spawn(ctx, "x") != ctx || Continue(ctx, ctx) != ctx {
		t.Error("contexts change while nothing records")
	}
	c := NewChan[int]("c", 1)
	if err := c.Send(ctx, 7); err != nil {
		t.Fatal(err)
	}
	if v, err := c.Receive(ctx); v != 7 || err != nil {
		t.Errorf("got %d, %v", v, err)
	}
	done := make(chan bool)
	Go(ctx, "g", func(got context.Context) { done <- got == ctx })
	if !<-done {
		t.Error("Go changes the context while nothing records")
	}
	if n := testing.AllocsPerRun(100, func() {
		Call(ctx, slog.String("a", "b")).End()
		Log(ctx, "x", slog.Int("n", 1))
	}); n != 0 {
		t.Errorf("%v allocations while nothing records", n)
	}
}

func TestEvents_OfOneRequest(t *testing.T) {
	failure := errors.New("sold \"out\"\n\xff\x01é")
	events := recorded(t, func(ctx context.Context) {
		ctx = With(ctx, slog.String("request", "r1"), slog.Int("try", 1))
		ctx = With(ctx, slog.Int("try", 2))
		span := Root(ctx, slog.String("path", "/checkout"))
		inner := Call(ctx)
		State(ctx, "shelf.mug", slog.Int("stock", 0))
		if Error(ctx, failure, slog.String("request", "mine")) != failure || Error(ctx, nil) != nil {
			t.Error("Error does not give back what it got")
		}
		inner.End()
		Log(ctx, "done")
		Metric(ctx, "depth", 2.5)
		span.End(slog.Int("status", 409))
		Exit(ctx)
	})
	if got, want := story(events, "main"), "call/root call state(shelf.mug) error return log metric return exit"; got != want {
		t.Errorf("got  %s\nwant %s", got, want)
	}
	for i, want := range []string{
		`{"request":"r1","try":2,"path":"/checkout"}`,
		`{"request":"r1","try":2}`,
		`{"request":"r1","try":2,"stock":0}`,
		`{"try":2,"error":"sold \"out\"\n` + "\uFFFD" + `\u0001é","request":"mine"}`,
		`{"request":"r1","try":2}`,
		`{"request":"r1","try":2,"text":"done"}`,
		`{"request":"r1","try":2,"name":"depth","value":2.5}`,
		`{"request":"r1","try":2,"status":409}`,
		`{"request":"r1","try":2}`,
	} {
		if got := string(events[i].Data); got != want {
			t.Errorf("event %d: data %s, want %s", i, got, want)
		}
	}
	if e := events[1]; e.Func != "github.com/pastcone/pastcone/probe.TestEvents_OfOneRequest.func1" ||
		filepath.Base(e.File) != "probe_test.go" || e.Line == 0 {
		t.Errorf("place of a call: %s %s:%d", e.Func, e.File, e.Line)
	}
	if e := events[4]; e.Func != events[1].Func || e.File != "" || e.Line != 0 {
		t.Errorf("place of a return: %s %s:%d", e.Func, e.File, e.Line)
	}
}

// line gives the place that an event should have if it is made on the line of the call of line.
func line() int {
	p := placeOf(2)
	var n int
	_, _ = fmt.Sscanf(p.whole[strings.LastIndex(p.whole, ":")+1:], "%d", &n)
	return n
}

func TestPlace_IsTheLineOfTheProgram(t *testing.T) {
	var want []int
	events := recorded(t, func(ctx context.Context) {
		c, mu := NewChan[string]("c", 2), Mutex{}
		at := func(line int, event func()) {
			want = append(want, line)
			event()
		}
		var s Span
		at(line(), func() { s = Call(ctx) })
		at(line(), func() { _ = c.Send(ctx, "a") })
		at(line(), func() { c.TrySend(ctx, "b") })
		at(line(), func() { _, _ = c.Receive(ctx) })
		at(line(), func() { _, _, _ = c.Take(ctx) })
		at(line(), func() { c.Close(ctx) })
		m, ok := <-c.Out()
		at(line(), func() { _, _ = c.Received(ctx, m, ok) })
		at(line(), func() { mu.Lock(ctx) })
		at(line(), func() { mu.Unlock(ctx) })
		at(line(), func() { mu.TryLock(ctx) })
		at(line(), func() { Log(ctx, "x") })
		at(line(), func() { State(ctx, "x") })
		at(line(), func() { Metric(ctx, "x", 1) })
		at(line(), func() { _ = Error(ctx, context.Canceled) })
		at(line(), func() { Spawn(ctx, "x") })
		at(line(), func() { Go(ctx, "x", func(context.Context) {}) })
		at(0, func() { s.End() })
	})
	i := 0
	for _, e := range events {
		if !strings.HasPrefix(e.Stream, "main") {
			continue
		}
		if e.Line != want[i] || !strings.Contains(e.Func, "TestPlace_IsTheLineOfTheProgram.func1.") {
			t.Errorf("%s at %s:%d, want line %d", e.Kind, e.Func, e.Line, want[i])
		}
		i++
	}
	if i != len(want) {
		t.Errorf("%d events, want %d", i, len(want))
	}
}

func TestStreams_GoSpawnAttachAndNone(t *testing.T) {
	var mine, fromNone string
	events := recorded(t, func(ctx context.Context) {
		ctx = With(ctx, slog.String("request", "r1"))
		done := NewChan[struct{}]("done", 0)
		Go(ctx, "helper7", func(ctx context.Context) {
			mine = carried(ctx).stream.name
			_ = done.Send(ctx, struct{}{})
		})
		if _, err := done.Receive(ctx); err != nil {
			t.Error(err)
		}
		child := Spawn(ctx, "conn")
		Log(child, "hello")
		Exit(child)
		Log(Attach(ctx, "other"), "labels stay")

		// Without a context's stream it is the goroutine's.
		var wg sync.WaitGroup
		for range 2 {
			wg.Add(1)
			go func() {
				defer wg.Done()
				Log(context.Background(), "one")
				//lint:ignore SA1012 nil is allowed
				Log(nil, "two")
			}()
		}
		wg.Wait()
	})
	streams := map[string]int{}
	for _, e := range events {
		streams[e.Stream]++
		if strings.HasPrefix(e.Stream, "goroutine") {
			fromNone = e.Stream
			if streams[e.Stream] > 2 {
				t.Error("two goroutines share a stream")
			}
		} else if string(e.Data) == "" && e.Kind != event.KindStart {
			t.Errorf("%s of %s has lost its labels", e.Kind, e.Stream)
		}
	}
	if fromNone == "" {
		t.Error("no stream for a goroutine without one")
	}
	if !strings.HasPrefix(mine, "helper7-") {
		t.Errorf("the number of stream %s can be mistaken for its name", mine)
	}
	for stream, want := range map[string]string{
		"main": "spawn receive(done)/empty spawn", "helper7-": "start send(done)/empty exit",
		"conn": "start log exit", "other": "log",
	} {
		if got := story(events, stream); got != want {
			t.Errorf("%s: %s, want %s", stream, got, want)
		}
	}
	for _, e := range events {
		if e.Kind == event.KindSpawn && streams[e.Child] == 0 {
			t.Errorf("spawn of %s, which has no events", e.Child)
		}
	}
}

func TestContinue_WorkOfOneInTheStreamOfAnother(t *testing.T) {
	events := recorded(t, func(ctx context.Context) {
		work, cancel := context.WithTimeout(With(ctx, slog.String("request", "r9")), time.Hour)
		defer cancel()
		own := Attach(context.Background(), "worker")
		joined := Continue(work, own)
		if _, has := joined.Deadline(); !has {
			t.Error("the deadline of the work is lost")
		}
		Log(joined, "x")
	})
	if got := story(events, "worker"); got != "log" || string(events[0].Data) != `{"request":"r9","text":"x"}` {
		t.Errorf("%s with %s", got, events[0].Data)
	}
}

func TestGo_APanicEndsTheProgramAsWithoutUs(t *testing.T) {
	if os.Getenv("PROBE_TEST_PANIC") != "" {
		_, err := Start(Options{File: os.Getenv("PROBE_TEST_PANIC"), FlushInterval: time.Hour})
		if err != nil {
			t.Fatal(err)
		}
		Go(context.Background(), "bad", func(context.Context) { panic("on purpose") })
		select {}
	}
	file := filepath.Join(t.TempDir(), "events")
	out := runSelf(t, "TestGo_APanicEndsTheProgramAsWithoutUs", "PROBE_TEST_PANIC="+file)
	if !strings.Contains(out, "panic: on purpose\n") || !strings.Contains(out, "TestGo_APanicEndsTheProgramAsWithoutUs.func1") {
		t.Errorf("the program's own panic is not to be seen:\n%s", out)
	}
	text, err := os.ReadFile(file)
	if err != nil {
		t.Fatal(err)
	}
	if got := story(parsed(t, string(text)), "bad"); got != "start error exit" {
		t.Errorf("recorded: %s", got)
	}
}
