package main

import (
	"bytes"
	"errors"
	"fmt"
	"os"
	"os/exec"
	"path/filepath"
	"strings"
	"sync"
	"syscall"
	"testing"
	"time"

	"github.com/rogpeppe/go-internal/testscript"
)

// binaries is where TestMain has put the program under test.
var binaries string

func TestMain(m *testing.M) {
	code, err := buildAndRun(m)
	if err != nil {
		fmt.Fprintln(os.Stderr, err)
		os.Exit(1)
	}
	os.Exit(code)
}

// goPlaces are where the go command, and Pastcone, keep what they have built: the machine's own, so that programs that are
// recorded in scripts do not build the standard library again.
var goPlaces = map[string]string{}

func findGoPlaces() error {
	for _, name := range []string{"GOCACHE", "GOMODCACHE", "GOPATH"} {
		out, err := exec.Command("go", "env", name).Output()
		if err != nil {
			return fmt.Errorf("go env %s: %w", name, err)
		}
		goPlaces[name] = strings.TrimSpace(string(out))
	}
	cache, err := os.UserCacheDir()
	goPlaces["XDG_CACHE_HOME"] = cache
	return err
}

// buildAndRun builds pastcone as users run it, but with coverage counters.
func buildAndRun(m *testing.M) (int, error) {
	dir, err := os.MkdirTemp("", "pastcone-bin-*")
	if err != nil {
		return 1, err
	}
	defer os.RemoveAll(dir)
	binaries = dir
	if err := findGoPlaces(); err != nil {
		return 1, err
	}
	build := exec.Command("go", "build", "-cover", "-coverpkg=github.com/pastcone/pastcone/...", "-o", filepath.Join(dir, "pastcone"), "../cmd/pastcone")
	build.Stderr = os.Stderr
	if err := build.Run(); err != nil {
		return 1, fmt.Errorf("building pastcone: %w", err)
	}
	return m.Run(), nil
}

// TestScripts runs every testdata/*.txtar: each tells what a person types and what they see.
func TestScripts(t *testing.T) {
	counters := os.Getenv("PASTCONE_COVERDIR")
	if counters == "" {
		counters = t.TempDir()
	}
	testscript.Run(t, testscript.Params{
		Dir: "testdata",
		Setup: func(env *testscript.Env) error {
			env.Setenv("PATH", binaries+string(os.PathListSeparator)+env.Getenv("PATH"))
			env.Setenv("GOCOVERDIR", counters)
			for name, value := range goPlaces {
				env.Setenv(name, value)
			}
			s := &served{}
			env.Values[servedKey{}] = s
			env.Defer(s.end)
			return nil
		},
		Cmds: map[string]func(*testscript.TestScript, bool, []string){
			"serve": serve,
			"kill":  func(ts *testscript.TestScript, _ bool, _ []string) { stopServer(ts, syscall.SIGKILL) },
			"term":  func(ts *testscript.TestScript, _ bool, _ []string) { stopServer(ts, syscall.SIGTERM) },
			"flip":  flip,
			"pack":  pack,
			"bytes": literal,
		},
		RequireExplicitExec: true,
		RequireUniqueNames:  true,
	})
}

// served is the server of a script.
type served struct {
	cmd  *exec.Cmd
	said *log
}

type servedKey struct{}

// log is a buffer that is written by a process while it is read.
type log struct {
	mu sync.Mutex
	b  bytes.Buffer
}

func (o *log) Write(p []byte) (int, error) {
	o.mu.Lock()
	defer o.mu.Unlock()
	return o.b.Write(p)
}

func (o *log) String() string {
	o.mu.Lock()
	defer o.mu.Unlock()
	return o.b.String()
}

func (s *served) end() {
	if s.cmd != nil {
		_ = s.cmd.Process.Kill()
		_ = s.cmd.Wait()
		s.cmd = nil
	}
}

// serverStarts bounds how long a server may take until it listens.
const serverStarts = 30 * time.Second

// serve ADDRESS REC starts a server, and waits until it listens.
func serve(ts *testscript.TestScript, _ bool, args []string) {
	if len(args) != 2 {
		ts.Fatalf("usage: serve ADDRESS REC")
	}
	s := ts.Value(servedKey{}).(*served)
	s.end()
	s.said = &log{}
	s.cmd = exec.Command(filepath.Join(binaries, "pastcone"), "serve", "--listen", args[0], args[1])
	s.cmd.Dir, s.cmd.Stderr = ts.Getenv("WORK"), s.said
	s.cmd.Env = append(os.Environ(), "GOCOVERDIR="+ts.Getenv("GOCOVERDIR"))
	ts.Check(s.cmd.Start())
	for end := time.Now().Add(serverStarts); !strings.Contains(s.said.String(), "listening at"); time.Sleep(5 * time.Millisecond) {
		if time.Now().After(end) {
			ts.Fatalf("the server does not listen: %s", s.said)
		}
	}
}

// stopServer sends a signal to the server and waits for its end. What it said is the script's stderr then.
func stopServer(ts *testscript.TestScript, signal syscall.Signal) {
	s := ts.Value(servedKey{}).(*served)
	if s.cmd == nil {
		ts.Fatalf("there is no server")
	}
	ts.Check(s.cmd.Process.Signal(signal))
	err := s.cmd.Wait()
	s.cmd = nil
	var exit *exec.ExitError
	if signal == syscall.SIGTERM && err != nil || err != nil && !errors.As(err, &exit) {
		ts.Fatalf("the server: %v: %s", err, s.said)
	}
	fmt.Fprint(ts.Stderr(), s.said)
}

// flip REC flips one bit in the middle of the first segment of a recording.
func flip(ts *testscript.TestScript, _ bool, args []string) {
	if len(args) != 1 {
		ts.Fatalf("usage: flip REC")
	}
	segments, err := filepath.Glob(filepath.Join(ts.MkAbs(args[0]), "segment-*"))
	ts.Check(err)
	if len(segments) == 0 {
		ts.Fatalf("%s has no segment", args[0])
	}
	text, err := os.ReadFile(segments[0])
	ts.Check(err)
	text[len(text)/2] ^= 0x10
	ts.Check(os.WriteFile(segments[0], text, 0o600))
}
