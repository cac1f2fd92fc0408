package main

import (
	"bufio"
	"bytes"
	"encoding/json"
	"errors"
	"fmt"
	"maps"
	"math/rand/v2"
	"os"
	"path/filepath"
	"regexp"
	"runtime/trace"
	"slices"
	"strings"
	"sync"
	"syscall"
	"testing"
	"time"
)

// relations tells of each event of a recording (stream#seq/kind) its parent, correlation and causes, by stream and seq: all that must
// be the same in two recordings of the same.
func relations(t *testing.T, dir, rec string) map[string]string {
	t.Helper()
	cmd := pastcone(t, dir, "export", "--format", "ndjson", rec)
	var said bytes.Buffer
	cmd.Stderr = &said
	text, err := cmd.Output()
	if err != nil {
		t.Fatalf("export: %v\n%s", err, &said)
	}
	type line struct {
		ID, Parent, Correlation, Seq uint64
		Position                     int
		Stream, Kind, Func           string
		Duration                     int64
		Confidence                   string
		CorrelationConfidence        string `json:"correlation_confidence"`
		Background                   bool
		Causes                       []struct {
			ID         uint64
			Kind       string
			Confidence string
			P          float64
		}
		Data json.RawMessage
	}
	var all []line
	names := map[uint64]string{0: "none"}
	lines := bufio.NewScanner(bytes.NewReader(text))
	for lines.Scan() {
		var e line
		if err := json.Unmarshal(lines.Bytes(), &e); err != nil {
			t.Fatalf("%v: %s", err, lines.Bytes())
		}
		names[e.ID] = fmt.Sprintf("%s#%d/%s", e.Stream, e.Seq, e.Kind)
		all = append(all, e)
	}
	of := map[string]string{}
	for _, e := range all {
		says := fmt.Sprintf("%s in %s at %d %s %s %d %v %s %s", names[e.Parent], names[e.Correlation], e.Position, e.Confidence, e.CorrelationConfidence, e.Duration, e.Background, e.Func, e.Data)
		for _, c := range e.Causes {
			says += fmt.Sprintf(", %s %s %g %s", c.Kind, c.Confidence, c.P, names[c.ID])
		}
		if _, twice := of[names[e.ID]]; twice {
			t.Fatalf("%s is in %s twice", names[e.ID], rec)
		}
		of[names[e.ID]] = says
	}
	return of
}

func compareRelations(t *testing.T, got, want map[string]string) {
	t.Helper()
	differ := 0
	for _, name := range slices.Sorted(maps.Keys(want)) {
		if got[name] != want[name] {
			if differ++; differ <= 5 {
				t.Errorf("%s\n is  %s\n not %s", name, got[name], want[name])
			}
		}
	}
	if differ > 0 || len(got) != len(want) {
		t.Errorf("%d events, not %d; %d of them differ", len(got), len(want), differ)
	}
}

// ordersFile makes a file of clients that hand jobs to workers, in which effects lie before their causes, with lines that are no
// events.
func ordersFile(t *testing.T, path string, rounds int) {
	t.Helper()
	rng := rand.New(rand.NewPCG(1, uint64(rounds)))
	var lines []string
	now := int64(1_700_000_000_000_000_000)
	seqs := map[string]int{}
	add := func(stream, rest string) {
		seqs[stream]++
		now += 500
		lines = append(lines, fmt.Sprintf(`{"stream":"%s","seq":%d,"time":%d,%s}`, stream, seqs[stream], now, rest))
	}
	const workers = 8
	for i := range workers {
		add("main", fmt.Sprintf(`"kind":"spawn","child":"w%d"`, i))
		add(fmt.Sprint("w", i), `"kind":"start","func":"orders.work"`)
	}
	for i := range rounds {
		client, worker := fmt.Sprintf("c%d", i%200), fmt.Sprintf("w%d", i%workers)
		add(client, `"kind":"call","func":"orders.Place","root":true`)
		add(client, fmt.Sprintf(`"kind":"send","key":"jobs","ordinal":%d`, i+1))
		add(worker, fmt.Sprintf(`"kind":"receive","key":"jobs","ordinal":%d,"func":"orders.work","line":12`, i+1))
		add(worker, fmt.Sprintf(`"kind":"state","key":"stock","func":"orders.reserve","data":{"n":%d}`, i))
		add(client, `"kind":"return","func":"orders.Place"`)
		if i%1000 == 7 {
			lines = append(lines, `{"stream":"broken",`)
		}
	}
	for i := range lines { // in pieces, each shuffled
		k := min(len(lines)-1, i+rng.IntN(50))
		lines[i], lines[k] = lines[k], lines[i]
	}
	if err := os.WriteFile(path, []byte(strings.Join(lines, "\n")+"\n"), 0o600); err != nil {
		t.Fatal(err)
	}
}

// busyTrace makes the execution trace of a program of that many hand-overs.
func busyTrace(t *testing.T, path string, rounds int) {
	t.Helper()
	f, err := os.Create(path)
	if err != nil {
		t.Fatal(err)
	}
	if err := trace.Start(f); err != nil {
		t.Fatal(err)
	}
	jobs, done := make(chan int), make(chan int)
	var all sync.WaitGroup
	var lock sync.Mutex
	for range 6 {
		all.Go(func() {
			for n := range jobs {
				lock.Lock()
				n++
				lock.Unlock()
				done <- n
			}
		})
	}
	for i := range rounds {
		jobs <- i
		<-done
		if i%64 == 0 {
			all.Go(func() { lock.Lock(); defer lock.Unlock() })
		}
	}
	close(jobs)
	all.Wait()
	trace.Stop()
	if err := f.Close(); err != nil {
		t.Fatal(err)
	}
}

// TestKill_AnImportThatIsKilledGoesOnAsIfItHadNot kills and interrupts real imports at random moments, gives the same command again
// until it goes through, and compares with an import that was left alone: every parent, edge and correlation, and the books, which
// have to balance after every death.
func TestKill_AnImportThatIsKilledGoesOnAsIfItHadNot(t *testing.T) {
	seed := uint64(time.Now().UnixNano()) // #nosec G115 -- any number
	t.Logf("seed %d", seed)
	rng := rand.New(rand.NewPCG(seed, 0))
	for _, of := range []struct {
		file string
		make func(t *testing.T, path string)
	}{
		{"orders.ndjson", func(t *testing.T, path string) { ordersFile(t, path, 15_000) }},
		{"orders.trace", func(t *testing.T, path string) { busyTrace(t, path, 15_000) }},
	} {
		t.Run(of.file, func(t *testing.T) {
			dir := t.TempDir()
			of.make(t, filepath.Join(dir, of.file))
			began := time.Now()
			mustRun(t, dir, "import", "-o", "whole", of.file)
			whole := time.Since(began)
			want := relations(t, dir, "whole")
			stored := regexp.MustCompile(`accepted = [\d,]+ stored \+ [\d,]+ shed \+ [\d,]+ rejected`)
			booksOf := func(rec string) string { return stored.FindString(mustRun(t, dir, "stats", rec)) }

			died, inTheMiddle := 0, 0
			for tries := 0; (died < 3 || inTheMiddle < 2) && tries < 40; tries++ {
				cmd := pastcone(t, dir, "import", "-o", "rec", of.file)
				said := &log{}
				cmd.Stderr = said
				if err := cmd.Start(); err != nil {
					t.Fatal(err)
				}
				// Each time about as far as it needs for a little more than the last time.
				time.Sleep(time.Duration((0.15 + 0.75*rng.Float64()) * float64(whole)))
				signal := syscall.SIGKILL
				if died%2 == 1 {
					signal = syscall.SIGINT
				}
				if err := errors.Join(cmd.Process.Signal(signal), ignore(cmd.Wait())); err != nil {
					t.Fatal(err)
				}
				if cmd.ProcessState.Success() {
					if err := os.RemoveAll(filepath.Join(dir, "rec")); err != nil { // too late: from the beginning
						t.Fatal(err)
					}
					continue
				}
				died++
				if _, err := os.Stat(filepath.Join(dir, "rec", "manifest")); err != nil {
					continue
				}
				if booksOf("rec") == "" { // its source was not there yet
					continue
				}
				sofar := relations(t, dir, "rec")
				if n := len(sofar); n > 0 && n < len(want) {
					inTheMiddle++
				}
				if got, say := len(sofar), booksOf("rec"); !strings.Contains(strings.ReplaceAll(say, ",", ""), fmt.Sprintf("= %d stored", got)) {
					t.Errorf("after signal %v the recording has %d events, and the books say %q: %s", signal, got, say, said)
				}
				kept, err := os.ReadFile(filepath.Join(dir, "rec", "rejects.ndjson"))
				if err != nil && !errors.Is(err, os.ErrNotExist) {
					t.Fatal(err)
				}
				if got := booksOf("rec"); !strings.HasSuffix(strings.ReplaceAll(got, ",", ""), fmt.Sprintf(" %d rejected", bytes.Count(kept, []byte("\n")))) {
					t.Errorf("after signal %v %d rejects are kept, and the books say %q", signal, bytes.Count(kept, []byte("\n")), got)
				}
				for name, says := range sofar {
					if want[name] != says {
						t.Fatalf("after signal %v: %s\n is  %s\n not %s", signal, name, says, want[name])
					}
				}
			}
			if inTheMiddle == 0 {
				t.Fatalf("of %d deaths, none was in the middle", died)
			}
			t.Logf("%d deaths, %d in the middle of %d events", died, inTheMiddle, len(want))
			mustRun(t, dir, "import", "-o", "rec", of.file)
			compareRelations(t, relations(t, dir, "rec"), want)
			if got, want := booksOf("rec"), booksOf("whole"); got != want {
				t.Errorf("the books say %q, not %q", got, want)
			}
			if got := mustRun(t, dir, "verify", "rec"); !strings.Contains(got, "everything is in order") {
				t.Error(got)
			}
			if got := mustRun(t, dir, "import", "-o", "rec", of.file); !strings.Contains(got, "the recording has it already") {
				t.Error(got)
			}
		})
	}
}

// ignore is for an error that a signal makes.
func ignore(error) error { return nil }
