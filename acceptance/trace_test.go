package main

import (
	"bytes"
	"context"
	"errors"
	"fmt"
	"io"
	"net"
	"os"
	"os/exec"
	"path/filepath"
	"runtime"
	"runtime/trace"
	"strings"
	"sync"
	"sync/atomic"
	"syscall"
	"testing"
	"time"
)

// tracedWork is a program with what Go traces tell of: spawns, channels, selects, locks, timers, system calls, garbage
// collection, tasks, regions and logs.
func tracedWork() {
	ctx, task := trace.NewTask(context.Background(), "order")
	defer task.End()
	jobs, results := make(chan int), make(chan int)
	var lock sync.Mutex
	var all sync.WaitGroup
	for range 3 {
		all.Add(1)
		go tracedWorker(ctx, jobs, results, &lock, &all)
	}
	go func() {
		for i := range 30 {
			jobs <- i
			if i%10 == 0 {
				time.Sleep(time.Millisecond)
			}
		}
		close(jobs)
		all.Wait()
		close(results)
	}()
	for results != nil {
		select {
		case _, ok := <-results:
			if !ok {
				results = nil
			}
		case <-time.After(time.Second):
		}
	}
	runtime.GC()
	tracedOdds(ctx)
}

// tracedOdds are a task that ends in another goroutine than it began in, a message over a loopback connection, and logs that
// are long, or have what JSON must escape.
func tracedOdds(ctx context.Context) {
	_, handed := trace.NewTask(context.Background(), "handed over") // work of its own: the order goes on elsewhere
	trace.Log(ctx, "odd", "a \"quoted\" \\ text, a bell \x07, an umlaut ü")
	trace.Log(ctx, "odd", "long: "+strings.Repeat("ß", 4000))
	trace.Log(ctx, "odd", "half a character: \xc3")
	trace.WithRegion(ctx, strings.Repeat("ß", 3000), func() {})
	inside, task := trace.NewTask(ctx, "ends early")
	region := trace.StartRegion(inside, "outlives its task")
	task.End()
	region.End()
	l, err := net.Listen("tcp", "127.0.0.1:0")
	if err != nil {
		panic(err)
	}
	defer l.Close()
	done := make(chan error)
	go func() {
		defer handed.End()
		conn, err := l.Accept()
		if err == nil {
			_, err = io.ReadAll(conn)
		}
		done <- err
	}()
	conn, err := net.Dial("tcp", l.Addr().String())
	if err != nil {
		panic(err)
	}
	time.Sleep(2 * time.Millisecond)
	if err := errors.Join(conn.Close(), <-done); err != nil {
		panic(err)
	}
}

func tracedWorker(ctx context.Context, jobs <-chan int, results chan<- int, lock *sync.Mutex, all *sync.WaitGroup) {
	defer all.Done()
	for n := range jobs {
		trace.WithRegion(ctx, "reserve", func() {
			lock.Lock()
			time.Sleep(100 * time.Microsecond)
			lock.Unlock()
			if _, err := os.Stat("."); err != nil {
				trace.Log(ctx, "error", err.Error())
			}
			trace.Logf(ctx, "stock", "job %d is done", n)
		})
		results <- n
	}
}

// recordTrace gives an execution trace of the work.
func recordTrace(t *testing.T) []byte {
	t.Helper()
	var out bytes.Buffer
	// Two goroutines are at work already when the trace begins: one waits in a system call, one computes.
	var pipe [2]int
	if err := syscall.Pipe(pipe[:]); err != nil {
		t.Fatal(err)
	}
	var busy atomic.Bool
	var early sync.WaitGroup
	early.Add(2)
	go func() { defer early.Done(); _, _ = syscall.Read(pipe[0], make([]byte, 1)) }()
	go func() {
		defer early.Done()
		for busy.Store(true); busy.Load(); {
		}
	}()
	for !busy.Load() {
		time.Sleep(time.Millisecond)
	}
	if err := trace.Start(&out); err != nil {
		t.Fatal(err)
	}
	_, _ = syscall.Write(pipe[1], []byte{1})
	tracedWork()
	busy.Store(false)
	early.Wait()
	trace.Stop()
	_, _ = syscall.Close(pipe[0]), syscall.Close(pipe[1])
	return out.Bytes()
}

// fails runs a command that must fail with this status, and gives what it said.
func fails(t *testing.T, dir string, status int, args ...string) string {
	t.Helper()
	out, err := pastcone(t, dir, args...).CombinedOutput()
	exit, _ := err.(*exec.ExitError)
	if exit == nil || exit.ExitCode() != status {
		t.Errorf("pastcone %s: %v, not status %d\n%s", strings.Join(args, " "), err, status, out)
	}
	return string(out)
}

func wantAll(t *testing.T, said string, wanted ...string) {
	t.Helper()
	for _, want := range wanted {
		if !strings.Contains(said, want) {
			t.Errorf("it does not say %q:\n%s", want, said)
		}
	}
}

// TestTraces_AGoProgramIsExplained imports the trace of a real program, and asks what its goroutines did and waited for.
func TestTraces_AGoProgramIsExplained(t *testing.T) {
	dir := t.TempDir()
	text := recordTrace(t)
	if err := os.WriteFile(filepath.Join(dir, "trace.out"), text, 0o600); err != nil {
		t.Fatal(err)
	}
	wantAll(t, mustRun(t, dir, "import", "-o", "rec", "trace.out"), "trace.out: Go execution trace, ", "pastcone why rec")
	wantAll(t, mustRun(t, dir, "verify", "rec"), "everything is in order")

	kinds := mustRun(t, dir, "find", "{} | count() by (kind)", "rec")
	wantAll(t, kinds, "spawn", "start", "exit", "call", "return", "log", "send", "receive", "wake")
	wantAll(t, mustRun(t, dir, "find", `{ kind = spawn } | count() by (func)`, "rec"), "tracedWork")
	wantAll(t, mustRun(t, dir, "find", "--limit", "0", `{ kind = log }`, "rec"), "job 7 is done", "job 29 is done")
	wantAll(t, mustRun(t, dir, "find", `{ kind = log && data.category = "odd" }`, "rec"), `"quoted"`, "ü", "long: ßßß", "half a character: ·")
	wantAll(t, mustRun(t, dir, "find", `{ func =~ "outlives|ends early" } | count() by (func, kind)`, "rec"), "outlives its task  call", "outlives its task  return", "ends early         return")
	wantAll(t, mustRun(t, dir, "find", `{ data.detached = true }`, "rec"), "order")
	wantAll(t, mustRun(t, dir, "find", `{ func = "handed over" } | count() by (kind)`, "rec"), "call", "state")
	// Each job was handed over by a goroutine that waited, or woke one that did: the worker's past has the sender in it.
	wantAll(t, mustRun(t, dir, "find", `{ kind = log && data.message = "job 29 is done" } << { kind = spawn && func =~ "tracedWork" }`, "rec"), "job 29")
	wantAll(t, mustRun(t, dir, "why", `first:{ kind = log && data.message = "job 29 is done" }`, "rec"), "job 29 is done", "trace_test.go:", "reserve")

	// From a pipe it is the same, and the same file again is known.
	piped := pastcone(t, dir, "import", "-o", "piped", "-")
	piped.Stdin = bytes.NewReader(text)
	if out, err := piped.CombinedOutput(); err != nil || !strings.Contains(string(out), "Go execution trace") {
		t.Errorf("%v: %s", err, out)
	}
	wantAll(t, mustRun(t, dir, "import", "-o", "rec", "trace.out"), "has it already")
}

// TestTraces_SnapshotsOfAFlightRecorder imports what a flight recorder holds when something has gone wrong: its goroutines were at
// work, and waiting, before it begins.
func TestTraces_SnapshotsOfAFlightRecorder(t *testing.T) {
	dir := t.TempDir()
	stop, stopped, locked := make(chan bool), make(chan bool), make(chan bool)
	go func() { // waits all the time
		<-stop
		close(stopped)
	}()
	go func() { // a thread of its own, in and out of the system
		runtime.LockOSThread()
		defer close(locked)
		for {
			select {
			case <-stop:
				return
			default:
				_, _ = os.ReadDir(".")
			}
		}
	}()
	recorder := trace.NewFlightRecorder(trace.FlightRecorderConfig{MinAge: time.Second})
	if err := recorder.Start(); err != nil {
		t.Fatal(err)
	}
	var snapshots [2]bytes.Buffer
	for i := range snapshots {
		tracedWork()
		if _, err := recorder.WriteTo(&snapshots[i]); err != nil {
			t.Fatal(err)
		}
	}
	recorder.Stop()
	close(stop)
	<-stopped
	<-locked
	for i, snapshot := range snapshots {
		name := fmt.Sprintf("snapshot%d.trace", i)
		if err := os.WriteFile(filepath.Join(dir, name), snapshot.Bytes(), 0o600); err != nil {
			t.Fatal(err)
		}
		wantAll(t, mustRun(t, dir, "import", "-o", "rec", name), name+": Go execution trace, ")
	}
	wantAll(t, mustRun(t, dir, "verify", "rec"), "everything is in order")
	// The second holds the work of the first as well, as streams of its own.
	for source, times := range map[string]int{"snapshot0.trace": 1, "snapshot1.trace": 2} {
		logs := mustRun(t, dir, "find", "--json", `{ kind = log && source = "`+source+`" && data.message = "job 29 is done" }`, "rec")
		if got := strings.Count(logs, `"kind":"log"`); got != times {
			t.Errorf("%s holds the last job %d times, not %d:\n%s", source, got, times, logs)
		}
	}
}

// TestTraces_ThatAreBroken keeps what is before the break, and says where it broke.
func TestTraces_ThatAreBroken(t *testing.T) {
	dir := t.TempDir()
	text := recordTrace(t)
	flipped := bytes.Clone(text)
	for i := len(text) / 2; i < len(text)/2+64; i++ {
		flipped[i] ^= 0xff
	}
	for name, content := range map[string][]byte{
		"cut.trace": text[:len(text)*3/4], "header.trace": text[:16], "flipped.trace": flipped,
		"old.trace": append([]byte("go 1.9 trace\x00\x00\x00\x00"), text[16:]...), "none.trace": []byte("go 1.x is what this text is about, and no trace"),
		"future.trace": append([]byte("go 1.99 trace\x00\x00\x00"), text[16:]...),
	} {
		if err := os.WriteFile(filepath.Join(dir, name), content, 0o600); err != nil {
			t.Fatal(err)
		}
		rec := strings.TrimSuffix(name, ".trace")
		said := fails(t, dir, 1, "import", "-o", rec, name)
		wantAll(t, said, name)
		wantAll(t, mustRun(t, dir, "verify", rec), "everything is in order")
		switch name {
		case "future.trace": // there is nothing in it that this version could read
			wantAll(t, said, "1.99")
		case "old.trace":
			wantAll(t, said, "from before Go 1.11")
		case "none.trace":
			wantAll(t, said, "it begins with")
		case "cut.trace", "flipped.trace":
			wantAll(t, mustRun(t, dir, "stats", rec), "1 rejected")
		}
	}
}

// TestTraces_OfOldGo imports traces of Go versions from before the present format, as the Go distribution keeps them.
func TestTraces_OfOldGo(t *testing.T) {
	out, err := exec.Command("go", "env", "GOROOT").Output()
	if err != nil {
		t.Skip("there is no Go distribution:", err)
	}
	files, _ := filepath.Glob(filepath.Join(strings.TrimSpace(string(out)), "src/internal/trace/internal/tracev1/testdata/*_good"))
	if len(files) == 0 {
		t.Skip("the Go distribution has no old traces")
	}
	dir := t.TempDir()
	imported := mustRun(t, dir, append([]string{"import", "-o", "rec"}, files...)...)
	for _, file := range files {
		wantAll(t, imported, fmt.Sprintf("%s: Go execution trace, ", file))
	}
	wantAll(t, imported, "its times count from its first event: the trace does not say when it was made")
	wantAll(t, mustRun(t, dir, "verify", "rec"), "everything is in order")
}
