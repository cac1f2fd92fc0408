package probe

import (
	"context"
	"errors"
	"fmt"
	"io"
	"log/slog"
	"math"
	"os"
	"path/filepath"
	"strings"
	"sync"
	"testing"
	"time"

	"github.com/pastcone/pastcone/event"
)

// gate is a writer that waits until it is opened.
type gate struct {
	lockedBuffer
	open chan struct{}
}

func (g *gate) Write(p []byte) (int, error) {
	<-g.open
	return g.lockedBuffer.Write(p)
}

func TestDrop_IsCountedAndLeavesHoles(t *testing.T) {
	out := &gate{open: make(chan struct{})}
	r := start(t, Options{Writer: out, MemoryBytesMax: memoryBytesMin, FlushInterval: time.Millisecond})
	const streams, each = 4, 20_000
	var wg sync.WaitGroup
	var contexts [streams]context.Context
	for i := range streams {
		contexts[i] = Attach(context.Background(), "g")
		wg.Go(func() {
			for range each {
				Log(contexts[i], "some text that fills the buffers")
			}
		})
	}
	wg.Wait()
	if s := r.Stats(); s.Events != streams*each || s.Dropped == 0 || s.Written != 0 {
		t.Errorf("%+v while nothing can be written", s)
	}
	close(out.open)
	if err := r.Flush(); err != nil {
		t.Fatal(err)
	}
	for _, ctx := range contexts { // there is room again: each stream goes on, behind its hole
		Log(ctx, "last")
	}
	if err := r.Close(); err != nil {
		t.Fatal(err)
	}
	s := r.Stats()
	if s.Events != streams*(each+1) || s.Events != s.Written+s.Dropped {
		t.Errorf("%+v does not balance", s)
	}
	events := parsed(t, out.String())
	last, holes := map[string]uint64{}, uint64(0)
	for _, e := range events {
		if e.Seq <= last[e.Stream] {
			t.Fatalf("%s goes back to %d", e.Stream, e.Seq)
		}
		holes += e.Seq - last[e.Stream] - 1
		last[e.Stream] = e.Seq
	}
	if holes != s.Dropped || uint64(len(events)) != s.Written || len(last) != streams {
		t.Errorf("%d are missing in %d lines of %d streams, %+v", holes, len(events), len(last), s)
	}
}

func TestWait_LosesNothing(t *testing.T) {
	out := &gate{open: make(chan struct{})}
	r := start(t, Options{Writer: out, MemoryBytesMax: memoryBytesMin, FlushInterval: time.Millisecond, Policy: Wait})
	var wg sync.WaitGroup
	const streams, each = 4, 15_000
	for range streams {
		wg.Go(func() {
			ctx := Attach(context.Background(), "g")
			for range each {
				Log(ctx, "some text that fills the buffers, and then some more of it")
			}
		})
	}
	time.Sleep(50 * time.Millisecond)
	close(out.open)
	wg.Wait()
	if err := r.Close(); err != nil {
		t.Fatal(err)
	}
	if s := r.Stats(); s.Written != streams*each || s.Dropped != 0 {
		t.Errorf("%+v", s)
	}
	checkDense(t, parsed(t, out.String()))
}

// Close lets go of those who wait for room.
func TestWait_EndsWithTheRecording(t *testing.T) {
	out := &gate{open: make(chan struct{})}
	r := start(t, Options{Writer: out, MemoryBytesMax: memoryBytesMin, FlushInterval: time.Hour, Policy: Wait})
	done := make(chan struct{})
	go func() {
		defer close(done)
		ctx := Attach(context.Background(), "g")
		for r.Stats().Dropped == 0 && Recording() {
			Log(ctx, strings.Repeat("x", 3000))
		}
	}()
	for len(r.free) > 0 {
		time.Sleep(time.Millisecond)
	}
	time.AfterFunc(20*time.Millisecond, func() { close(out.open) })
	if err := r.Close(); err != nil {
		t.Fatal(err)
	}
	<-done
	if s := r.Stats(); s.Events != s.Written+s.Dropped {
		t.Errorf("%+v does not balance", s)
	}
}

func TestFile_IsBounded(t *testing.T) {
	file := filepath.Join(t.TempDir(), "events")
	r := start(t, Options{File: file, FileBytesMax: 200_000, FlushInterval: time.Millisecond})
	logs(10_000)
	err := r.Close()
	if err == nil || !strings.Contains(err.Error(), "FileBytesMax (200000 bytes)") {
		t.Errorf("got %v", err)
	}
	text, err := os.ReadFile(file)
	if err != nil {
		t.Fatal(err)
	}
	events := parsed(t, string(text))
	checkDense(t, events)
	s := r.Stats()
	if len(text) > 200_000 || len(text) < 50_000 || uint64(len(events)) != s.Written || s.Events != s.Written+s.Dropped || s.Bytes != int64(len(text)) {
		t.Errorf("%d bytes, %d lines, %+v", len(text), len(events), s)
	}
	if info, err := os.Stat(file); err != nil || info.Mode().Perm() != 0o600 {
		t.Errorf("%v, %v", info.Mode(), err)
	}
}

// failing fails now and then, in the middle of what it is given.
type failing struct {
	lockedBuffer
	left  int
	short bool
}

func (f *failing) Write(p []byte) (int, error) {
	if len(p) <= f.left {
		f.left -= len(p)
		return f.lockedBuffer.Write(p)
	}
	n, _ := f.lockedBuffer.Write(p[:f.left])
	f.left = 1 << 30
	if f.short {
		return n, nil
	}
	return n, errors.New("no space left")
}

func TestWriter_ThatFails(t *testing.T) {
	for name, c := range map[string]struct {
		out  *failing
		want string
	}{
		"between lines":       {&failing{}, "no space left"},
		"within a line":       {&failing{left: 10}, "no space left"},
		"without saying so":   {&failing{left: 10, short: true}, "short write"},
		"without any trouble": {&failing{left: 1 << 30}, ""},
	} {
		out := c.out
		r := start(t, Options{Writer: out})
		logs(3)
		_ = r.Flush()
		logs(3) // after a clean failure the next ones are written
		err := r.Close()
		if c.want == "" && err != nil || c.want != "" && (err == nil || !strings.Contains(err.Error(), c.want)) {
			t.Errorf("%s: %v", name, err)
		}
		whole := out.String()[:strings.LastIndexByte("\n"+out.String(), '\n')]
		if s := r.Stats(); s.Events != 6 || s.Events != s.Written+s.Dropped || int(s.Written) != len(parsed(t, whole)) {
			t.Errorf("%s: %+v, in the file: %s", name, s, whole)
		}
	}
}

func TestFile_AFailedWriteIsTakenBack(t *testing.T) {
	file := filepath.Join(t.TempDir(), "events")
	r := start(t, Options{File: file})
	logs(3)
	if err := r.Flush(); err != nil {
		t.Fatal(err)
	}
	// As if the disk had been full in the middle of a line.
	s := r.sink.(*fileSink)
	half := &failing{left: 10}
	s.to = writerFunc(func(p []byte) (int, error) {
		n, err := half.Write(p)
		_, _ = s.file.Write(p[:n])
		return n, err
	})
	logs(3)
	if err := r.Flush(); err == nil {
		t.Fatal("no error")
	}
	logs(2)
	if err := r.Close(); err == nil {
		t.Error("Close forgets the error")
	}
	text, err := os.ReadFile(file)
	if err != nil {
		t.Fatal(err)
	}
	if n := len(parsed(t, string(text))); n != 5 || r.Stats().Written != 5 || r.Stats().Dropped != 3 {
		t.Errorf("%d lines, %+v", n, r.Stats())
	}
}

type writerFunc func(p []byte) (int, error)

func (f writerFunc) Write(p []byte) (int, error) { return f(p) }

func TestStart_OneAtATimeAndOnceMore(t *testing.T) {
	ctx := Attach(context.Background(), "main")
	var out [2]lockedBuffer
	for i := range out {
		r := start(t, Options{Writer: &out[i]})
		if _, err := Start(Options{Writer: io.Discard}); !errors.Is(err, ErrRecording) {
			t.Errorf("a second one: %v", err)
		}
		Log(ctx, "one")
		Log(context.Background(), "two")
		if err := errors.Join(r.Close(), r.Close(), r.Flush()); err != nil {
			t.Error(err)
		}
		Log(ctx, "after the end")
	}
	for i := range out { // in each recording the stream begins anew
		if events := parsed(t, out[i].String()); len(events) != 2 || events[0].Seq != 1 || events[1].Seq != 1 {
			t.Errorf("recording %d: %+v", i+1, events)
		}
	}
}

func TestStart_OptionsThatMakeNoSense(t *testing.T) {
	for want, o := range map[string]Options{
		"0 of File, Writer and Address": {},
		"2 of File, Writer and Address": {File: "x", Writer: io.Discard},
		"MemoryBytesMax is 1:":          {Writer: io.Discard, MemoryBytesMax: 1},
		"FileBytesMax is -1":            {Writer: io.Discard, FileBytesMax: -1},
		"Policy is 7":                   {Writer: io.Discard, Policy: 7},
		"FlushInterval is 1ns":          {Writer: io.Discard, FlushInterval: 1},
		"/nowhere/at/all":               {File: "/nowhere/at/all"},
	} {
		if r, err := Start(o); err == nil || !strings.Contains(err.Error(), want) {
			if err == nil {
				_ = r.Close()
			}
			t.Errorf("want %s, got %v", want, err)
		}
	}
}

func TestContexts_WhileTheRecordingComesAndGoes(t *testing.T) {
	var on context.Context
	recorded(t, func(ctx context.Context) { on = With(ctx, slog.String("request", "r1")) })
	// Nothing records, and the context has a stream: a child must not get its parent's.
	child := Spawn(on, "child")
	if carried(child).stream == carried(on).stream || carried(child).labels[0].Key != "request" {
		t.Error("the child has the stream of its parent, or no labels")
	}
	done := make(chan *scope)
	Go(on, "child", func(ctx context.Context) { done <- carried(ctx) })
	if sc := <-done; sc == nil || sc.stream == carried(on).stream {
		t.Error("the goroutine has the stream of its parent")
	}
	if carried(Continue(on, child)).stream != carried(child).stream {
		t.Error("Continue does not continue in its own stream")
	}
	Exit(on)
	if sc := carried(With(on, slog.Int("n", 1))); len(sc.labels) != 2 {
		t.Errorf("labels %v", sc.labels)
	}
	//lint:ignore SA1012 nil is allowed
	if carried(nil) != nil || withScope(nil, &scope{}).Err() != nil {
		t.Error("nil is like Background")
	}
	wrapped, cancel := context.WithCancel(context.WithValue(on, &done, "v"))
	defer cancel()
	if carried(wrapped) != carried(on) || wrapped.Value(&done) != "v" || on.Value("else") != nil {
		t.Error("values are lost")
	}
}

func TestStreams_WithoutAContextAreBounded(t *testing.T) {
	recorded(t, func(context.Context) {
		first := ambient.scope(1)
		if ambient.scope(1) != first {
			t.Error("a goroutine has two streams")
		}
		for n := range uint64(ambientStreamsMax) {
			ambient.scope(n + 2)
		}
		if len(ambient.scopes) > ambientStreamsMax || ambient.scope(1) == first {
			t.Errorf("%d are remembered", len(ambient.scopes))
		}
	})
}

type valuer struct{ v slog.Value }

func (v valuer) LogValue() slog.Value { return v.v }

type loud struct{}

func (loud) MarshalJSON() ([]byte, error) { panic("on purpose") }
func (*loud) Error() string               { panic("on purpose") }

func TestData_HoldsAnyValueWithinBounds(t *testing.T) {
	var deep any
	var group slog.Value
	for range 100 {
		deep = []any{deep}
		group = slog.GroupValue(slog.Attr{Key: "g", Value: group})
	}
	long := strings.Repeat("é", valueBytesMax)
	when := time.Date(2026, 1, 2, 3, 4, 5, 6, time.UTC)
	for want, v := range map[string]slog.Value{
		`"text"`:                   slog.StringValue("text"),
		`-7`:                       slog.Int64Value(-7),
		`18446744073709551615`:     slog.Uint64Value(math.MaxUint64),
		`true`:                     slog.BoolValue(true),
		`1500`:                     slog.DurationValue(1500),
		`0.1`:                      slog.Float64Value(0.1),
		`1e+300`:                   slog.Float64Value(1e300),
		`"NaN"`:                    slog.Float64Value(math.NaN()),
		`"-Inf"`:                   slog.Float64Value(math.Inf(-1)),
		`"2026-01-02T03:04:05.000`: slog.TimeValue(when),
		`{"a":1,"b":{"c":2}}`:      slog.GroupValue(slog.Int("a", 1), slog.Group("b", slog.Int("c", 2))),
		`"resolved"`:               slog.AnyValue(valuer{slog.StringValue("resolved")}),
		`"file does not exist"`:    slog.AnyValue(os.ErrNotExist),
		`{"A":1}`:                  slog.AnyValue(struct{ A int }{1}),
		`"panic in the value's`:    slog.AnyValue(loud{}),
		`"panic in the value's o`:  slog.AnyValue(new(loud)),
		`"0x`:                      slog.AnyValue(make(chan int)),
		`"[[[[`:                    slog.AnyValue(deep),
		`{"g":{"g":{"g":`:          group,
		`"ééé`:                     slog.StringValue(long),
		`null`:                     slog.AnyValue(nil),
	} {
		events := recorded(t, func(ctx context.Context) { Log(ctx, "", slog.Attr{Key: "v", Value: v}) })
		got := strings.TrimPrefix(string(events[0].Data), `{"text":"","v":`)
		if !strings.HasPrefix(got, want) || len(got) > valueBytesMax+100 {
			t.Errorf("got %.80s, want %s", got, want)
		}
	}
	events := recorded(t, func(ctx context.Context) {
		Log(ctx, long)
		var many []slog.Attr
		for i := range 20 {
			many = append(many, slog.String(fmt.Sprint("k", i), long[:2000]))
		}
		Log(ctx, "many", many...)
		Log(ctx, "twice", slog.Int("a", 1), slog.Int("a", 2), slog.Int("", 3))
		State(ctx, long, slog.Attr{})
		_ = Error(ctx, new(loud))
	})
	if s := string(events[0].Data); !strings.HasSuffix(s, `é… 4096 bytes more"}`) {
		t.Errorf("a long text: %s", s[len(s)-60:])
	}
	if s := string(events[1].Data); !strings.HasSuffix(s, `,"omitted":14}`) || len(s) > dataBytesMax+100 {
		t.Errorf("many values, %d bytes: %s", len(s), s[len(s)-60:])
	}
	if s := string(events[2].Data); s != `{"text":"twice","a":2}` {
		t.Error(s)
	}
	if e := events[3]; len(e.Key) > nameBytesMax+40 || string(e.Data) != "{}" {
		t.Errorf("a long key of %d bytes, data %s", len(e.Key), e.Data)
	}
	if s := string(events[4].Data); s != `{"error":"an error whose Error method panics"}` {
		t.Error(s)
	}
}

func TestNames_AreUniqueAndBounded(t *testing.T) {
	for name, want := range map[string]string{
		"worker": "worker7", "w3": "w3-7", "": "unnamed7", strings.Repeat("é", 300): strings.Repeat("é", 100) + "7",
	} {
		if got := numbered(name, 7); got != want {
			t.Errorf("%s, want %s", got, want)
		}
	}
	events := recorded(t, func(ctx context.Context) {
		odd := Attach(ctx, "a\"b\\\n\xff")
		Log(odd, "x")
		Log(Spawn(odd, "child \x01"), "y")
	})
	if len(events) != 4 || events[1].Kind != event.KindSpawn || events[1].Child != events[2].Stream {
		t.Errorf("%+v", events)
	}
}
