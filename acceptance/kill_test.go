package main

import (
	"bufio"
	"bytes"
	"context"
	"encoding/json"
	"errors"
	"fmt"
	"math/rand/v2"
	"os"
	"os/exec"
	"path/filepath"
	"regexp"
	"strings"
	"sync/atomic"
	"syscall"
	"testing"
	"time"

	"github.com/pastcone/pastcone/client"
)

// pastcone gives the command under test, in a folder.
func pastcone(t *testing.T, dir string, args ...string) *exec.Cmd {
	t.Helper()
	counters := os.Getenv("PASTCONE_COVERDIR")
	if counters == "" {
		counters = t.TempDir()
	}
	cmd := exec.Command(filepath.Join(binaries, "pastcone"), args...)
	cmd.Dir, cmd.Env = dir, append(os.Environ(), "GOCOVERDIR="+counters)
	return cmd
}

// mustRun runs a command that must succeed, and gives what it said.
func mustRun(t *testing.T, dir string, args ...string) string {
	t.Helper()
	out, err := pastcone(t, dir, args...).CombinedOutput()
	if err != nil {
		t.Fatalf("pastcone %s: %v\n%s", strings.Join(args, " "), err, out)
	}
	return string(out)
}

// recordedOnce gives how often each event (stream#seq) is in the recording.
func recordedOnce(t *testing.T, dir, rec string) map[string]int {
	t.Helper()
	cmd := pastcone(t, dir, "export", "--format", "ndjson", rec)
	out, err := cmd.StdoutPipe()
	if err != nil {
		t.Fatal(err)
	}
	var said bytes.Buffer
	cmd.Stderr = &said
	if err := cmd.Start(); err != nil {
		t.Fatal(err)
	}
	seen := map[string]int{}
	lines := bufio.NewScanner(out)
	for lines.Scan() {
		var e struct {
			Stream, Kind string
			Seq          uint64
		}
		if err := json.Unmarshal(lines.Bytes(), &e); err != nil {
			t.Fatalf("%v: %s", err, lines.Bytes())
		}
		if e.Kind == "gap" { // where a stream goes on after a crash
			continue
		}
		at := fmt.Sprintf("%s#%d", e.Stream, e.Seq)
		if seen[at]++; seen[at] > 1 {
			t.Fatalf("%s is in the recording %d times", at, seen[at])
		}
	}
	if err := errors.Join(lines.Err(), cmd.Wait()); err != nil {
		t.Fatalf("export: %v\n%s", err, &said)
	}
	return seen
}

// largeFile makes large.ndjson, with that many events.
func largeFile(t *testing.T, dir string, events int) {
	t.Helper()
	f, err := os.Create(filepath.Join(dir, "large.ndjson"))
	if err != nil {
		t.Fatal(err)
	}
	w := bufio.NewWriter(f)
	const streams = 8
	for i := range events {
		fmt.Fprintf(w, `{"stream":"g%d","seq":%d,"time":%d,"kind":"log","func":"main.work","line":7,"data":{"n":%d}}`+"\n", i%streams, 1+i/streams, 1_700_000_000_000_001_000+i, i)
	}
	if err := errors.Join(w.Flush(), f.Close()); err != nil {
		t.Fatal(err)
	}
}

// TestKill_AnInterruptedImportFinishesWhatItHasRead interrupts a real import, as ^C does, in the middle of a file.
func TestKill_AnInterruptedImportFinishesWhatItHasRead(t *testing.T) {
	dir := t.TempDir()
	const events = 1_500_000
	largeFile(t, dir, events)
	cmd := pastcone(t, dir, "import", "-o", "rec", "large.ndjson")
	// In a file, the first event of a stream waits whether a spawn comes that names the stream: to the end, or as far as there is
	// memory. With little of it, events are durable while the file is read.
	cmd.Env = append(cmd.Env, "PASTCONE_CORRELATE_MEMORY_BYTES_MAX=1MiB")
	said := &log{}
	cmd.Stderr = said
	if err := cmd.Start(); err != nil {
		t.Fatal(err)
	}
	ended := make(chan error, 1)
	go func() { ended <- cmd.Wait() }()
	size := func() (n int64) {
		names, _ := filepath.Glob(filepath.Join(dir, "rec", "segment-*"))
		for _, name := range names {
			if info, err := os.Stat(name); err == nil {
				n += info.Size()
			}
		}
		return n
	}
	for size() < 64<<10 { // it is at work, and durable in part
		select {
		case err := <-ended:
			t.Fatalf("it was over before it could be interrupted: %v: %s", err, said)
		case <-time.After(time.Millisecond):
		}
	}
	if err := cmd.Process.Signal(os.Interrupt); err != nil {
		t.Fatal(err)
	}
	err := <-ended
	var exit *exec.ExitError
	if !errors.As(err, &exit) || exit.ExitCode() != 1 {
		t.Fatalf("an interrupted import ends with status 1, not %v: %s", err, said)
	}
	m := regexp.MustCompile(`large.ndjson: interrupted; (\d+) events of it are recorded`).FindStringSubmatch(said.String())
	if m == nil || !strings.Contains(said.String(), "what was read is in rec") {
		t.Fatalf("it says: %s", said)
	}
	var n int
	if _, err := fmt.Sscan(m[1], &n); err != nil || n <= 0 || n >= events {
		t.Fatalf("%d of %d events: it was not in the middle", n, events)
	}
	if got := mustRun(t, dir, "verify", "rec"); !strings.Contains(got, "everything is in order") {
		t.Error(got)
	}
	if seen := recordedOnce(t, dir, "rec"); len(seen) != n {
		t.Errorf("it says that %d events are recorded, and the recording has %d", n, len(seen))
	}
	if got, want := mustRun(t, dir, "stats", "rec"), fmt.Sprintf("%d accepted = %d stored", n, n); !strings.Contains(strings.ReplaceAll(got, ",", ""), want) {
		t.Errorf("the books do not say %q:\n%s", want, got)
	}
	// The same command goes on with it.
	if !strings.Contains(said.String(), "'pastcone import -o rec large.ndjson' goes on with it") {
		t.Errorf("it does not say how it goes on: %s", said)
	}
	if got, want := mustRun(t, dir, "import", "-o", "rec", "large.ndjson"), fmt.Sprintf("%d events; gone on with: an earlier import had stored %d of them", events, n); !strings.Contains(got, want) {
		t.Errorf("going on says %s, not %s", got, want)
	}
	if seen := recordedOnce(t, dir, "rec"); len(seen) != events {
		t.Errorf("after it has gone on, the recording has %d events of %d", len(seen), events)
	}
}

// TestKill_AnInterruptedImportToAServerCanBeTakenUp interrupts an import that sends to a server, and gives the same command again.
func TestKill_AnInterruptedImportToAServerCanBeTakenUp(t *testing.T) {
	dir := t.TempDir()
	const events = 600_000
	largeFile(t, dir, events)
	s := &killedServer{t: t, dir: dir}
	defer s.stop(syscall.SIGKILL)
	s.start()
	cmd := pastcone(t, dir, "import", "--to", "unix:sock", "large.ndjson")
	said := &log{}
	cmd.Stderr = said
	if err := cmd.Start(); err != nil {
		t.Fatal(err)
	}
	ended := make(chan error, 1)
	go func() { ended <- cmd.Wait() }()
	begun := regexp.MustCompile(`"name":"large.ndjson".*"accepted":[1-9]`)
	for !begun.MatchString(mustRun(t, dir, "stats", "--json", "rec")) { // the source is there before the client knows that it is connected
	}
	if err := cmd.Process.Signal(os.Interrupt); err != nil {
		t.Fatal(err)
	}
	err := <-ended
	var exit *exec.ExitError
	if !errors.As(err, &exit) || exit.ExitCode() != 1 {
		t.Fatalf("an interrupted import ends with status 1, not %v: %s", err, said)
	}
	m := regexp.MustCompile(`large.ndjson: interrupted; (\d+) events of it are durable at unix:sock`).FindStringSubmatch(said.String())
	if m == nil {
		t.Fatalf("it says: %s", said)
	}
	var n int
	if _, err := fmt.Sscan(m[1], &n); err != nil || n >= events {
		t.Fatalf("%s of %d events: it was not in the middle", m[1], events)
	}
	if seen := recordedOnce(t, dir, "rec"); len(seen) < n {
		t.Errorf("%d events are durable, it says, but the recording has %d", n, len(seen))
	}
	for _, want := range []string{fmt.Sprintf("%d events; durable at unix:sock", events), "the server at unix:sock has it already"} {
		if got := mustRun(t, dir, "import", "--to", "unix:sock", "large.ndjson"); !strings.Contains(got, want) {
			t.Errorf("it says %q, not %q", got, want)
		}
	}
	s.stop(syscall.SIGTERM)
	if seen := recordedOnce(t, dir, "rec"); len(seen) != events {
		t.Errorf("%d of %d events", len(seen), events)
	}
	if got := mustRun(t, dir, "verify", "rec"); !strings.Contains(got, "everything is in order") {
		t.Error(got)
	}
}

// killedServer is a server that is killed and started again at the same address.
type killedServer struct {
	t    *testing.T
	dir  string
	cmd  *exec.Cmd
	said *log
}

func (s *killedServer) start() {
	s.t.Helper()
	s.said = &log{}
	s.cmd = pastcone(s.t, s.dir, "serve", "--listen", "unix:sock", "rec")
	s.cmd.Stderr = s.said
	if err := s.cmd.Start(); err != nil {
		s.t.Fatal(err)
	}
	for end := time.Now().Add(serverStarts); !strings.Contains(s.said.String(), "listening at"); time.Sleep(2 * time.Millisecond) {
		if time.Now().After(end) {
			s.t.Fatalf("the server does not listen: %s", s.said)
		}
	}
}

func (s *killedServer) stop(signal os.Signal) {
	if s.cmd == nil {
		return
	}
	_ = s.cmd.Process.Signal(signal)
	_ = s.cmd.Wait()
	s.cmd = nil
}

// TestKill_WhatTheServerAcknowledgedIsThereAndNothingTwice kills a server under load at random moments. Its client sends again
// whatever it has no answer for. After each kill the recording has what was acknowledged, and in the end it has everything once.
func TestKill_WhatTheServerAcknowledgedIsThereAndNothingTwice(t *testing.T) {
	const kills, streams, linesABatch = 10, 5, 500
	seed := uint64(time.Now().UnixNano()) // #nosec G115 -- a seed
	if text := os.Getenv("SEED"); text != "" {
		if _, err := fmt.Sscan(text, &seed); err != nil {
			t.Fatal(err)
		}
	}
	t.Logf("again with SEED=%d", seed)
	random := rand.New(rand.NewPCG(seed, 1))
	dir := t.TempDir()
	s := &killedServer{t: t, dir: dir}
	defer s.stop(syscall.SIGKILL)
	s.start()

	ctx, cancel := context.WithTimeout(context.Background(), 3*time.Minute)
	defer cancel()
	sender, err := client.NewSender(ctx, "unix:"+filepath.Join(dir, "sock"), client.SenderOptions{Source: "load"})
	if err != nil {
		t.Fatal(err)
	}
	var acknowledged, given atomic.Int64 // events of each stream
	stop, sent := make(chan struct{}), make(chan error, 1)
	go func() {
		sent <- func() error {
			for n := int64(0); ; {
				select {
				case <-stop:
					return sender.Close(ctx)
				default:
				}
				for range 1 + n%7 { // some batches at a time are without an answer
					var lines bytes.Buffer
					for range linesABatch / streams {
						n++
						for k := range streams {
							fmt.Fprintf(&lines, `{"stream":"g%d","seq":%d,"time":%d,"kind":"log","data":{"n":%d}}`+"\n", k, n, time.Now().UnixNano(), n)
						}
					}
					given.Store(n)
					if err := sender.Lines(ctx, lines.Bytes()); err != nil {
						return err
					}
				}
				if err := sender.Flush(ctx); err != nil {
					return err
				}
				acknowledged.Store(n)
			}
		}()
	}()
	for kill := range kills {
		before := acknowledged.Load()
		for acknowledged.Load() == before { // each life of the server gets something done
			select {
			case err := <-sent:
				t.Fatalf("kill %d: the sender has stopped: %v; the server says: %s", kill, err, s.said)
			case <-time.After(time.Millisecond):
			}
		}
		time.Sleep(time.Duration(random.IntN(120_000)) * time.Microsecond)
		had := acknowledged.Load()
		s.stop(syscall.SIGKILL)
		if got := mustRun(t, dir, "verify", "rec"); !strings.Contains(got, "everything is in order") {
			t.Errorf("kill %d: %s", kill, got)
		}
		seen := recordedOnce(t, dir, "rec")
		for k := range streams {
			for n := int64(1); n <= had; n++ {
				if at := fmt.Sprintf("g%d#%d", k, n); seen[at] != 1 {
					t.Fatalf("kill %d: %s was acknowledged (%d were) and is not there", kill, at, had)
				}
			}
		}
		t.Logf("kill %d: %d events acknowledged, %d given, %d there", kill, had*streams, given.Load()*streams, len(seen))
		s.start()
	}
	close(stop)
	if err := <-sent; err != nil {
		t.Fatal(err)
	}
	s.stop(syscall.SIGTERM)
	if got := mustRun(t, dir, "verify", "rec"); !strings.Contains(got, "everything is in order") {
		t.Error(got)
	}
	if seen := recordedOnce(t, dir, "rec"); int64(len(seen)) != given.Load()*streams {
		t.Errorf("%d events were given and acknowledged, %d are there", given.Load()*streams, len(seen))
	}
	if st := sender.Stats(); st.Refused != 0 || st.Connections < kills {
		t.Errorf("%+v", st)
	}
}
