//go:build linux

package launch

import (
	"bytes"
	"context"
	"encoding/json"
	"fmt"
	"io"
	"os"
	"os/exec"
	"os/signal"
	"path/filepath"
	"strings"
	"sync"
	"syscall"
	"testing"
	"time"

	"github.com/pastcone/pastcone/internal/instrument"
	"github.com/pastcone/pastcone/internal/source/capture"
)

// The tests run this binary again: as a launcher of its own, since signals go to whole processes, and as the program that it
// launches, which tells what reaches it. roleOf in the environment says which.
const (
	roleOf   = "PASTCONE_TEST_ROLE"
	launcher = "launcher" // PASTCONE_TEST_OPTIONS has its options
	listener = "listener" // tells of its signals, until one is SIGTERM
)

// work is where what is built for the tests lies.
var work string

func TestMain(m *testing.M) {
	switch os.Getenv(roleOf) {
	case launcher:
		os.Exit(launch())
	case listener:
		os.Exit(listen())
	}
	if len(os.Args) > 1 && os.Args[1] == "record-binary" { // go test has called us
		ended, err := RecordBinary(context.Background(), os.Args[2], os.Args[3:])
		if err != nil {
			fmt.Fprintln(os.Stderr, err)
			os.Exit(1)
		}
		os.Exit(ended.Code)
	}
	os.Exit(runTests(m))
}

func runTests(m *testing.M) int {
	// Whoever runs the tests may have signals ignored (nohup, a job in the background), and children would inherit that.
	for _, s := range []os.Signal{syscall.SIGHUP, syscall.SIGINT, syscall.SIGQUIT} {
		if signal.Ignored(s) {
			signal.Notify(make(chan os.Signal, 1), s)
		}
	}
	dir, err := os.MkdirTemp("", "pastcone-launch-*")
	if err != nil {
		panic(err)
	}
	defer os.RemoveAll(dir)
	work = dir
	return m.Run()
}

// handed is what a launcher in a process of its own is told.
type handed struct {
	Path, Functions, Capture, DumpBase string
	Args, Env                          []string
	Entries                            int
	Policy                             capture.Policy
	RingBytes, FileBytesMax            int64
}

func (h *handed) options() Options {
	return Options{
		Path: h.Path, Args: h.Args, Env: h.Env, Functions: h.Functions, Entries: h.Entries, Policy: h.Policy, RingBytes: h.RingBytes,
		Capture: h.Capture, DumpBase: h.DumpBase,
	}
}

// launch is Run in a process of its own.
func launch() int {
	var given handed
	if err := json.Unmarshal([]byte(os.Getenv("PASTCONE_TEST_OPTIONS")), &given); err != nil {
		panic(err)
	}
	o := given.options()
	if name := os.Getenv("PASTCONE_TEST_DUMP_ON"); name != "" {
		s, err := DumpSignal(name)
		if err != nil {
			panic(err)
		}
		o.DumpOn, o.Dumped = s, func(path string, err error) { fmt.Fprintln(os.Stderr, "dumped", path, err) }
	}
	if os.Getenv("PASTCONE_TEST_OUTLIVES") != "" {
		OutliveReaders()
	}
	if n := uint64(given.FileBytesMax); n > 0 {
		if err := syscall.Setrlimit(syscall.RLIMIT_FSIZE, &syscall.Rlimit{Cur: n, Max: n}); err != nil {
			panic(err)
		}
	}
	out, err := Run(context.Background(), o)
	fmt.Fprintln(os.Stderr, "launcher:", out.Ended, err)
	if os.Getenv("PASTCONE_TEST_OUTLIVES") != "" {
		_ = os.WriteFile(o.Capture+".after", []byte(out.Ended.String()), 0o600)
	}
	return out.Ended.Code
}

// listen tells of each signal.
func listen() int {
	all := make(chan os.Signal, 16)
	signal.Notify(all, Heeded(handedOn...)...)
	fmt.Println("listening")
	for {
		select {
		case s := <-all:
			fmt.Println("got", int(s.(syscall.Signal)))
			if s == syscall.SIGTERM {
				return 7
			}
		case <-time.After(30 * time.Second):
			return 1
		}
	}
}

// launched is a launcher that runs in a process of its own.
type launched struct {
	*exec.Cmd
	t        *testing.T
	out, err said
	capture  string
}

// said is what a process has said so far.
type said struct {
	mu sync.Mutex
	b  bytes.Buffer
}

func (s *said) Write(p []byte) (int, error) {
	s.mu.Lock()
	defer s.mu.Unlock()
	return s.b.Write(p)
}

func (s *said) String() string {
	s.mu.Lock()
	defer s.mu.Unlock()
	return s.b.String()
}

// patience is how long what has to happen may take on a machine that does a lot else.
const patience = 30 * time.Second

// until waits until something has been said n times.
func (s *said) until(t *testing.T, text string, n int) {
	t.Helper()
	for end := time.Now().Add(patience); strings.Count(s.String(), text) < n; time.Sleep(5 * time.Millisecond) {
		if time.Now().After(end) {
			t.Fatalf("%q was not said %d times: %s", text, n, s)
		}
	}
}

// newLauncher makes the launcher of a program: by default of a listener.
func newLauncher(t *testing.T, o handed, env ...string) *launched {
	t.Helper()
	l := &launched{t: t, capture: filepath.Join(t.TempDir(), "spool.capture")}
	if o.Path == "" {
		o.Path, o.Env = os.Args[0], append(os.Environ(), roleOf+"="+listener)
	}
	if o.Capture == "" {
		o.Capture = l.capture
	}
	if o.RingBytes == 0 {
		o.RingBytes = capture.RingBytesMin
	}
	text, err := json.Marshal(o)
	if err != nil {
		t.Fatal(err)
	}
	l.Cmd = exec.Command(os.Args[0])
	l.Env = append(append(os.Environ(), roleOf+"="+launcher, "PASTCONE_TEST_OPTIONS="+string(text)), env...)
	l.Stdout, l.Stderr = &l.out, &l.err
	l.SysProcAttr = &syscall.SysProcAttr{Setsid: true} // no terminal, whatever the tests run on
	return l
}

func (l *launched) start() *launched {
	l.t.Helper()
	if err := l.Start(); err != nil {
		l.t.Fatal(err)
	}
	l.t.Cleanup(func() { l.killAll(); _ = l.Wait() })
	return l
}

// killAll ends the launcher and its program, which are a session of their own.
func (l *launched) killAll() { _ = syscall.Kill(-l.Process.Pid, syscall.SIGKILL) }

func (l *launched) signal(s syscall.Signal) {
	l.t.Helper()
	if err := l.Process.Signal(s); err != nil {
		l.t.Fatal(err)
	}
}

// ends waits for the launcher's end and gives its exit status.
func (l *launched) ends() int {
	l.t.Helper()
	late := time.AfterFunc(patience, l.killAll)
	defer late.Stop()
	_ = l.Wait()
	return l.ProcessState.ExitCode()
}

// quiet tells nobody anything, but keeps it.
type quiet struct {
	mu    sync.Mutex
	said  []string
	steps int
}

func (q *quiet) Say(text string) {
	q.mu.Lock()
	defer q.mu.Unlock()
	q.said = append(q.said, text)
}

func (q *quiet) Step(string, int, int) {
	q.mu.Lock()
	defer q.mu.Unlock()
	q.steps++
}

func (q *quiet) String() string {
	q.mu.Lock()
	defer q.mu.Unlock()
	return strings.Join(q.said, "\n")
}

// asUsual is how the program of testdata is built.
func asUsual() instrument.Options {
	return instrument.Options{Dir: "testdata/program", Packages: []string{"."}, CacheDir: filepath.Join(work, "cache"), Inlinable: true}
}

// built is the program of testdata with its recorder in it, built once.
var built = sync.OnceValues(func() (*Binary, error) {
	return Build(context.Background(), asUsual(), "", &quiet{}, io.Discard)
})

func recorded(t *testing.T) *Binary {
	t.Helper()
	b, err := built()
	if err != nil {
		t.Fatal(err)
	}
	return b
}
