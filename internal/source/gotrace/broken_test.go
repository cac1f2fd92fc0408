package gotrace

import (
	"bytes"
	"context"
	"errors"
	"fmt"
	"io"
	"os"
	"path/filepath"
	"strings"
	"testing"
	"testing/iotest"
	"time"

	"go.uber.org/goleak"

	"github.com/pastcone/pastcone/internal/source"
	"github.com/pastcone/pastcone/internal/wire"
)

func TestMain(m *testing.M) { goleak.VerifyTestMain(m) }

// twoGenerations is a trace that a second of time cuts in two.
func twoGenerations(tb testing.TB) []byte {
	return record(tb, func() {
		in, done := make(chan int), make(chan bool)
		go receiver(in, done)
		for end := time.Now().Add(1200 * time.Millisecond); time.Now().Before(end); time.Sleep(10 * time.Millisecond) {
			sender(in)
		}
		close(in)
		<-done
	})
}

func TestRead_TruncatedAnywhereKeepsWhatIsBefore(t *testing.T) {
	text := twoGenerations(t)
	whole, all := read(t, text, Options{})
	kept, before := 0, int64(0)
	step := max(1, len(text)/400)
	if testing.Short() {
		step *= 10
	}
	for n := 0; n < len(text)-1; n += step {
		k := newKept()
		stats, err := Read(context.Background(), bytes.NewReader(text[:n]), "cut.trace", Options{}, k)
		check(t, k, stats)
		switch {
		case n < HeaderBytes && !errors.Is(err, ErrNoTrace):
			t.Fatalf("cut at %d of %d bytes: %v", n, len(text), err)
		case n >= HeaderBytes && err == nil && stats.Events != all.Events:
			// Only the format of Go before 1.26 does not say where it ends.
			if all.Version >= 26 && stats.Generations < all.Generations-1 {
				t.Fatalf("cut at %d of %d bytes: no error, %d of %d events", n, len(text), stats.Events, all.Events)
			}
		case err != nil && n >= HeaderBytes && (!errors.Is(err, ErrBroken) || len(k.rejects) != 1 || !strings.Contains(err.Error(), "cut.trace")):
			t.Fatalf("cut at %d of %d bytes: %v, rejects %v", n, len(text), err, k.rejects)
		}
		if stats.Events < before {
			t.Fatalf("cut at %d bytes: %d events, fewer than where it is cut before", n, stats.Events)
		}
		before = stats.Events
		for i := range k.events {
			if k.events[i].Seq != whole.events[i].Seq || k.events[i].Stream != whole.events[i].Stream {
				t.Fatalf("cut at %d bytes: event %d is another one", n, i)
			}
		}
		if stats.Events > 0 {
			kept++
		}
	}
	if kept == 0 || all.Generations < 3 {
		t.Errorf("nothing was kept of any beginning of a trace of %d generations", all.Generations-1)
	}
}

func TestRead_GarbageGivesAnErrorThatSaysWhatToDo(t *testing.T) {
	for _, c := range []struct{ story, text, says string }{
		{"nothing at all", "", "begins with \"\""},
		{"event lines", `{"stream":"g1","seq":1,"time":1,"kind":"log"}`, "a trace begins with"},
		{"a trace of Go 1.5", "go 1.5 trace\x00\x00\x00\x00", "'go tool trace' of Go 1.21"},
		{"a trace of Go 1.10", "go 1.10 trace\x00\x00\x00", "record it again"},
		{"a trace of a Go to come", "go 1.99 trace\x00\x00\x00", "update Pastcone"},
		{"a version between two formats", "go 1.24 trace\x00\x00\x00", "unknown or unsupported"},
		{"a header without a trace", "go 1.26 trace\x00\x00\x00", "ended before runtime/trace.Stop"},
		{"a header and garbage", "go 1.26 trace\x00\x00\x00garbage garbage", "expected batch event"},
		{"a header and zeros", "go 1.22 trace\x00\x00\x00" + strings.Repeat("\x00", 100), "broken trace"},
		{"an old header and garbage", "go 1.21 trace\x00\x00\x00\xff\xff\xff\xff", "broken trace"},
	} {
		t.Run(c.story, func(t *testing.T) {
			k := newKept()
			_, err := Read(context.Background(), strings.NewReader(c.text), "x.trace", Options{}, k)
			if err == nil || !strings.Contains(err.Error(), c.says) || !strings.HasPrefix(err.Error(), "x.trace: ") {
				t.Errorf("%v\nwant it to say %q", err, c.says)
			}
			if !errors.Is(err, ErrBroken) && !errors.Is(err, ErrNoTrace) && !errors.Is(err, ErrVersion) {
				t.Errorf("%v is none of the errors of this package", err)
			}
		})
	}
}

func TestRead_FailuresAroundIt(t *testing.T) {
	text := record(t, func() { busyProgram(100) })
	broken := errors.New("the disk is on fire")
	t.Run("the input fails", func(t *testing.T) {
		in := io.MultiReader(bytes.NewReader(text[:len(text)/2]), iotest.ErrReader(broken))
		if _, err := Read(context.Background(), in, "x.trace", Options{}, newKept()); !errors.Is(err, broken) || errors.Is(err, ErrBroken) {
			t.Errorf("%v", err)
		}
	})
	t.Run("the input fails at once", func(t *testing.T) {
		if _, err := Read(context.Background(), iotest.ErrReader(broken), "x.trace", Options{}, newKept()); !errors.Is(err, broken) {
			t.Errorf("%v", err)
		}
	})
	t.Run("the sink fails", func(t *testing.T) {
		k := newKept()
		k.pushErr = broken
		if _, err := Read(context.Background(), bytes.NewReader(text), "x.trace", Options{BatchEvents: 10}, k); !errors.Is(err, broken) {
			t.Errorf("%v", err)
		}
	})
	t.Run("the rejects file fails", func(t *testing.T) {
		if _, err := Read(context.Background(), bytes.NewReader(text[:len(text)/2]), "x.trace", Options{}, &stubborn{newKept(), broken}); !errors.Is(err, broken) {
			t.Errorf("%v", err)
		}
	})
	t.Run("the string table is full", func(t *testing.T) {
		for _, bytes := range []int64{10, 70, 150, 400, 1000} {
			k := &kept{table: wire.NewTable(bytes)}
			if _, err := Read(context.Background(), strings.NewReader(string(text)), "x.trace", Options{}, k); !errors.Is(err, wire.ErrTableFull) {
				t.Errorf("with %d bytes: %v", bytes, err)
			}
		}
	})
	t.Run("the user interrupts", func(t *testing.T) {
		ctx, cancel := context.WithCancel(context.Background())
		stuck, open := io.Pipe()
		defer open.Close()
		time.AfterFunc(settle, cancel)
		if _, err := Read(ctx, stuck, "x.trace", Options{}, newKept()); !errors.Is(err, context.Canceled) {
			t.Errorf("%v", err)
		}
	})
	t.Run("a generation is too long", func(t *testing.T) {
		long := record(t, func() { busyProgram(4000) })
		_, err := Read(context.Background(), bytes.NewReader(long), "x.trace", Options{GenerationBytesMax: 300 << 10}, newKept())
		if !errors.Is(err, ErrBroken) || !strings.Contains(err.Error(), "larger limit") {
			t.Errorf("%v", err)
		}
	})
	for _, o := range []Options{{BatchEvents: -1}, {BatchEvents: BatchEventsMax + 1}, {StackFrames: StackFramesMax + 1}, {GenerationBytesMax: -1}} {
		if _, err := Read(context.Background(), bytes.NewReader(text), "x.trace", o, newKept()); err == nil {
			t.Errorf("%+v is no error", o)
		}
	}
}

// stubborn is a sink that takes no rejects.
type stubborn struct {
	*kept
	err error
}

func (s *stubborn) Reject(source.Rejected) error { return s.err }

func TestVersion(t *testing.T) {
	for _, c := range []struct {
		head string
		v    int
		ok   bool
	}{
		{"go 1.26 trace\x00\x00\x00more", 26, true}, {"go 1.5 trace\x00\x00\x00\x00", 5, true},
		{"go 1. trace\x00\x00\x00\x00", 0, false}, {"go 2.0 trace\x00\x00\x00", 0, false}, {"go 1.26 tracing", 0, false}, {"", 0, false},
	} {
		head := c.head[:min(len(c.head), HeaderBytes)]
		if v, ok := Version([]byte(head)); ok != c.ok || ok && v != c.v {
			t.Errorf("%q: %d, %v", head, v, ok)
		}
	}
}

// FuzzRead: whatever the input, Read ends, its books balance, and each event it hands over is a valid one.
func FuzzRead(f *testing.F) {
	files, err := filepath.Glob("testdata/seeds/*.trace")
	if err != nil || len(files) == 0 {
		f.Fatalf("no seeds: %v", err)
	}
	// Traces of old Go, where the Go distribution has some.
	old, _ := filepath.Glob(filepath.Join(goroot(), "src/internal/trace/internal/tracev1/testdata/user_task_region_*_good"))
	for _, file := range append(files, old...) {
		text, err := os.ReadFile(file)
		if err != nil {
			f.Fatal(err)
		}
		f.Add(text)
	}
	f.Fuzz(func(t *testing.T, text []byte) {
		k := newKept()
		ctx, cancel := context.WithTimeout(context.Background(), 5*time.Second)
		defer cancel()
		stats, err := Read(ctx, bytes.NewReader(text), "fuzz.trace", Options{GenerationBytesMax: 1 << 20}, k)
		if err != nil && !errors.Is(err, ErrBroken) && !errors.Is(err, ErrNoTrace) && !errors.Is(err, ErrVersion) {
			t.Fatalf("%v is none of the errors of this package", err)
		}
		check(t, k, stats)
	})
}

// TestWriteSeeds makes the seeds anew where PASTCONE_WRITE_SEEDS is set; else it reads them.
func TestWriteSeeds(t *testing.T) {
	const dir = "testdata/seeds"
	if os.Getenv("PASTCONE_WRITE_SEEDS") != "" {
		small := record(t, func() {
			in, done := make(chan int), make(chan bool)
			go receiver(in, done)
			sender(in)
			close(in)
			<-done
		})
		old, err := assembled(seedOfGo122)
		if err != nil {
			t.Fatal(err)
		}
		for name, text := range map[string][]byte{"channel": small, "go122": old, "header": small[:HeaderBytes]} {
			if err := os.WriteFile(fmt.Sprintf("%s/%s.trace", dir, name), text, 0o644); err != nil {
				t.Fatal(err)
			}
		}
	}
	for _, name := range []string{"channel", "go122"} {
		text, err := os.ReadFile(dir + "/" + name + ".trace")
		if err != nil {
			t.Fatal(err)
		}
		if k, _ := read(t, text, Options{}); len(k.events) == 0 {
			t.Errorf("%s has no events", name)
		}
	}
}

// seedOfGo122 has a goroutine that was there before and one that is created, waits, and is woken by a close.
const seedOfGo122 = `
Trace Go1.22
EventBatch gen=1 m=0 time=1 size=44
ProcStatus dt=1 p=0 pstatus=1
GoStatus dt=1 g=1 m=0 gstatus=2
GoCreate dt=1 new_g=2 new_stack=0 stack=0
GoBlock dt=1 reason_string=1 stack=0
GoStart dt=1 g=2 g_seq=1
UserRegionBegin dt=1 task=9 name_string=2 stack=0
UserLog dt=1 task=9 key_string=0 value_string=2 stack=0
GoUnblock dt=1 g=1 g_seq=1 stack=0
GoDestroy dt=1
GoStart dt=1 g=1 g_seq=2
EventBatch gen=1 m=18446744073709551615 time=1 size=5
Frequency freq=15625000
EventBatch gen=1 m=18446744073709551615 time=1 size=1
Stacks
EventBatch gen=1 m=18446744073709551615 time=1 size=23
Strings
String id=1
	data="chan receive"
String id=2
	data="part"
`
