//go:build linux

package launch

import (
	"context"
	"errors"
	"fmt"
	"io"
	"os"
	"path/filepath"
	"strings"
	"syscall"
	"testing"
	"time"

	"github.com/pastcone/pastcone/event"
	"github.com/pastcone/pastcone/internal/source"
	"github.com/pastcone/pastcone/internal/source/capture"
	"github.com/pastcone/pastcone/internal/wire"
)

// kept is a sink that counts, and that can be out of order.
type kept struct {
	table    *wire.Table
	kinds    map[event.Kind]int
	streams  map[wire.Name]bool
	rejected []source.Rejected
	failing  error
}

func newKept() *kept {
	return &kept{table: wire.NewTable(1 << 26), kinds: map[event.Kind]int{}, streams: map[wire.Name]bool{}}
}

func (k *kept) Table() *wire.Table { return k.table }

func (k *kept) Push(_ context.Context, b *wire.Batch) error {
	for i := range b.Records {
		k.kinds[b.Records[i].Kind]++
	}
	for _, r := range b.Runs {
		k.streams[r.Stream] = true
	}
	return k.failing
}

func (k *kept) Reject(r source.Rejected) error {
	k.rejected = append(k.rejected, r)
	return nil
}

// imported reads a capture file as pastcone import does.
func imported(t *testing.T, path string) (*kept, capture.Stats) {
	t.Helper()
	f, err := os.Open(path)
	if err != nil {
		t.Fatal(err)
	}
	defer f.Close()
	k := newKept()
	stats, err := capture.Read(t.Context(), f, path, capture.Options{}, k)
	if err != nil {
		t.Fatal(err)
	}
	return k, stats
}

// worked checks that all of "work n" is there: n numbers to the worker, n results back.
func (k *kept) worked(t *testing.T, n int) {
	t.Helper()
	if k.kinds[event.KindSend] < 2*n || k.kinds[event.KindReceive] < 2*n || k.kinds[event.KindError] < n/2 || len(k.streams) < 2 || len(k.rejected) > 0 {
		t.Errorf("%d numbers were handed over; recorded: %v in %d streams, rejected: %v", n, k.kinds, len(k.streams), k.rejected)
	}
}

func TestWhatAProgramDoesIsReadWhileItRunsAndIsInTheCapture(t *testing.T) {
	b := recorded(t)
	sink, said := newKept(), 0
	spool := filepath.Join(t.TempDir(), "c")
	out, err := Run(t.Context(), Options{
		Path: b.Path, Args: []string{"work", "3000"}, Functions: b.Functions, Entries: b.Entries, Capture: spool, Sink: sink, RingBytes: 4 << 20,
		Stdout: io.Discard, Progress: func(capture.Stats) { said++ },
	})
	if err != nil || out.Ended.Code != 3 || out.Ended.CPU <= 0 || out.Elapsed <= 0 || said == 0 {
		t.Fatalf("%v, %+v, told of progress %d times", err, out, said)
	}
	sink.worked(t, 3000)
	if out.Collected.Dropped != 0 || out.Collected.Ended != "exit" || out.Collected.ExitCode != 3 || out.Read.Torn {
		t.Errorf("%+v, %+v", out.Collected, out.Read)
	}
	again, _ := imported(t, spool)
	for kind, n := range sink.kinds {
		if again.kinds[kind] != n {
			t.Errorf("%v: %d while it ran, %d of the file", kind, n, again.kinds[kind])
		}
	}
}

// Nothing that goes wrong with the recording ends the program: here whoever takes the events fails at once.
func TestAReaderThatFailsDoesNotEndTheProgram(t *testing.T) {
	b := recorded(t)
	sink := newKept()
	sink.failing = errors.New("the engine is full")
	spool := filepath.Join(t.TempDir(), "c")
	var said strings.Builder
	out, err := Run(t.Context(), Options{
		Path: b.Path, Args: []string{"work", "20000"}, Functions: b.Functions, Entries: b.Entries, Capture: spool, Sink: sink, RingBytes: 1 << 20, Stdout: &said,
	})
	if err == nil || !strings.Contains(err.Error(), "the engine is full") || out.Ended.Code != 3 || said.String() != "10000 failed\n" {
		t.Errorf("%v, %v, %q", err, out.Ended, said.String())
	}
	all, stats := imported(t, spool)
	if all.worked(t, 20000); stats.Torn {
		t.Errorf("%+v", stats)
	}
}

// The disk is full: the launcher may write no more than a MB into a file. The ring is smaller, the recording is not.
func TestACaptureFileThatCanNotBeWrittenDoesNotEndTheProgram(t *testing.T) {
	b := recorded(t)
	l := newLauncher(t, handed{
		Path: b.Path, Args: []string{"work", "60000"}, Functions: b.Functions, Entries: b.Entries, RingBytes: capture.RingBytesMin, FileBytesMax: 1 << 20,
	}).start()
	if code := l.ends(); code != 3 || l.out.String() != "30000 failed\n" {
		t.Errorf("exit status %d, %s", code, &l.out)
	}
	if !strings.Contains(l.err.String(), "launcher: exit status 3 capture file: ") || !strings.Contains(l.err.String(), syscall.EFBIG.Error()) {
		t.Errorf("nobody was told: %s", &l.err)
	}
	k, _ := imported(t, l.capture)
	if k.kinds[event.KindSend] < 100 {
		t.Errorf("what was written before that can not be read: %v", k.kinds)
	}
}

// The recorder is killed: the program goes on, and what was recorded up to then can be read.
func TestTheProgramOutlivesItsLauncher(t *testing.T) {
	b := recorded(t)
	pid := filepath.Join(t.TempDir(), "pid")
	l := newLauncher(t, handed{
		Path: "/bin/sh", Args: []string{"-c", `echo $$ > "$0"; exec "$1" rounds`, pid, b.Path}, Functions: b.Functions, Entries: b.Entries, RingBytes: 1 << 20,
	})
	l.start()
	for end := time.Now().Add(patience); ; time.Sleep(5 * time.Millisecond) {
		if info, err := os.Stat(l.capture); err == nil && info.Size() > 200_000 {
			break
		} else if time.Now().After(end) {
			t.Fatalf("the recording does not grow: %v, %v", info, err)
		}
	}
	if err := l.Process.Kill(); err != nil {
		t.Fatal(err)
	}
	var child int
	text, err := os.ReadFile(pid)
	if err != nil {
		t.Fatal(err)
	}
	if _, err := fmt.Sscan(string(text), &child); err != nil {
		t.Fatal(err)
	}
	defer syscall.Kill(child, syscall.SIGKILL) //nolint:errcheck // it has ended
	goesOn := strings.Count(l.out.String(), "round ")
	l.out.until(t, "round ", goesOn+20)
	if err := syscall.Kill(child, syscall.SIGTERM); err != nil {
		t.Fatal(err)
	}
	l.ends() // when the program has closed its output
	k, stats := imported(t, l.capture)
	if k.kinds[event.KindSend] < 800 {
		t.Errorf("%v, %+v", k.kinds, stats)
	}
}

// A flight recorder is asked twice, while the program goes on; its own end is recorded as well.
func TestDumpsOfAFlight(t *testing.T) {
	b := recorded(t)
	base := filepath.Join(t.TempDir(), "flight")
	l := newLauncher(t, handed{
		Path: b.Path, Args: []string{"rounds"}, Functions: b.Functions, Entries: b.Entries, RingBytes: 1 << 20, Policy: capture.Overwrite, DumpBase: base,
	}, "PASTCONE_TEST_DUMP_ON=usr2").start()
	if err := os.WriteFile(base+"-1.capture", []byte("mine"), 0o600); err != nil {
		t.Fatal(err)
	}
	for n := range 2 {
		l.out.until(t, "round ", 3*n+3)
		l.signal(syscall.SIGUSR2)
		l.err.until(t, fmt.Sprintf("dumped %s-%d.capture <nil>\n", base, n+2), 1)
	}
	l.signal(syscall.SIGTERM)
	if code := l.ends(); code != 4 {
		t.Errorf("exit status %d: %s", code, &l.err)
	}
	for _, path := range []string{base + "-2.capture", base + "-3.capture", l.capture} {
		if k, _ := imported(t, path); k.kinds[event.KindSend] < 80 || k.kinds[event.KindError] == 0 {
			t.Errorf("%s: %v", path, k.kinds)
		}
	}
	if text, err := os.ReadFile(base + "-1.capture"); string(text) != "mine" {
		t.Errorf("a file that was there is another: %v", err)
	}
}

// Who asks at once, before the collector has seen the program, gets his dump.
func TestADumpAtTheBeginning(t *testing.T) {
	early, path := 3, ""
	d := &dumping{
		o: &Options{DumpBase: "x", Dumped: func(p string, err error) {
			if path = p; err != nil {
				t.Error(err)
			}
		}},
		write: func(string) error {
			if early--; early >= 0 {
				return capture.ErrNotFlying
			}
			return nil
		},
		asked: make(chan struct{}, dumpsWaitingMax), stop: make(chan struct{}), stopped: make(chan struct{}),
	}
	go d.run()
	d.ask()
	for end := time.Now().Add(patience); len(d.asked) > 0 && time.Now().Before(end); {
		time.Sleep(time.Millisecond)
	}
	time.Sleep(100 * time.Millisecond)
	d.end()
	if path != "x-1.capture" || early >= 0 {
		t.Errorf("%s, %d", path, early)
	}
}

func TestDumpsThatCanNotBeMade(t *testing.T) {
	var path string
	var got error
	d := &dumping{o: &Options{DumpBase: "x", Dumped: func(p string, err error) { path, got = p, err }}}
	for name, c := range map[string]struct {
		err  error
		want string
	}{
		"nothing there":    {capture.ErrNotFlying, "nothing to dump"},
		"disk":             {syscall.ENOSPC, "no space left"},
		"too many of them": {os.ErrExist, "10000 dumps are there already"},
	} {
		d.write = func(string) error { return c.err }
		d.asked, d.stop, d.stopped = make(chan struct{}, dumpsWaitingMax), make(chan struct{}), make(chan struct{})
		for range dumpsWaitingMax + 5 {
			d.ask() // never waits
		}
		go d.run()
		d.end()
		if got == nil || !strings.Contains(got.Error(), c.want) || !strings.HasPrefix(path, "x-") {
			t.Errorf("%s: %s, %v", name, path, got)
		}
	}
}
