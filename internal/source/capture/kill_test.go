package capture

import (
	"bufio"
	"context"
	"encoding/binary"
	"encoding/json"
	"fmt"
	"math/rand/v2"
	"os"
	"os/exec"
	"path/filepath"
	"strconv"
	"strings"
	"testing"
	"time"

	"github.com/pastcone/pastcone/event"
	"github.com/pastcone/pastcone/internal/capture"
)

// childRing names the ring to a copy of this test that is a recorded program: it records until it is killed, or ends as it is told.
const childRing = "PASTCONE_TEST_RING"

// childNotes is a file, mapped by both, in which the child notes after each event how many each goroutine has recorded.
const childNotes = "PASTCONE_TEST_NOTES"

const childGoroutines = 8

func child(path string) {
	notes, err := os.OpenFile(os.Getenv(childNotes), os.O_RDWR, 0)
	if err != nil {
		panic(err)
	}
	s, err := startProgram(path, 2, testClock())
	if err != nil {
		panic(err)
	}
	w := newWork(s, childGoroutines, 3)
	fmt.Println("started")
	if steps, err := strconv.Atoi(os.Getenv("PASTCONE_TEST_STEPS")); err == nil {
		w.run(3, steps)
		for i, g := range w.gs {
			noteDown(notes, i, g.seq)
		}
		s.end(capture.EndExit, 4)
		return
	}
	// Until it is killed: a goroutine's count is noted when its events are complete in the ring.
	random := rand.New(rand.NewPCG(1, 2))
	p := s.ps[0]
	for {
		for i, g := range w.gs {
			w.step(p, g, random)
			noteDown(notes, i, g.seq)
		}
	}
}

func noteDown(f *os.File, i int, n uint64) {
	var word [8]byte
	binary.LittleEndian.PutUint64(word[:], n)
	if _, err := f.WriteAt(word[:], int64(8*i)); err != nil {
		panic(err)
	}
}

// startChild runs a recorded program, and gives the file of its notes.
func startChild(t *testing.T, ring *Ring, env ...string) (*exec.Cmd, string) {
	t.Helper()
	notes := filepath.Join(t.TempDir(), "notes")
	if err := os.WriteFile(notes, make([]byte, 8*childGoroutines), 0o600); err != nil {
		t.Fatal(err)
	}
	c := exec.Command(os.Args[0])
	c.Env = append(append(os.Environ(), childRing+"="+ring.Path(), childNotes+"="+notes), env...)
	c.Stderr = os.Stderr
	out, err := c.StdoutPipe()
	if err != nil {
		t.Fatal(err)
	}
	if err := c.Start(); err != nil {
		t.Fatal(err)
	}
	if line, err := bufio.NewReader(out).ReadString('\n'); err != nil || line != "started\n" {
		t.Fatalf("%q, %v", line, err)
	}
	return c, notes
}

// A program that is killed with SIGKILL at any moment: all that it completed is in the recording, and what it was writing is not half
// there.
func TestCollect_AProgramThatIsKilled(t *testing.T) {
	for round := range 5 {
		ring, err := NewRing(t.TempDir(), RingOptions{Functions: simulatedFunctions + 1, Bytes: 4 << 20})
		if err != nil {
			t.Fatal(err)
		}
		c, notes := startChild(t, ring)
		spool := filepath.Join(t.TempDir(), "spool")
		ended, done := make(chan struct{}), make(chan error, 1)
		var stats CollectStats
		go func() {
			var err error
			stats, err = Collect(context.Background(), ring, CollectOptions{Spool: spool, Functions: functionTable(t), Ended: ended, CallsPerSecondMax: -1})
			done <- err
		}()
		time.Sleep(time.Duration(20+rand.IntN(60)) * time.Millisecond)
		if err := c.Process.Kill(); err != nil {
			t.Fatal(err)
		}
		_ = c.Wait()
		close(ended)
		if err := <-done; err != nil {
			t.Fatal(err)
		}
		k, read := readFile(t, spool)
		if read.Ended != "killed" || stats.Ended != "killed" || stats.Process != c.Process.Pid || len(k.rejects) > 0 {
			t.Errorf("round %d: %+v, %+v, rejected %v", round, read, stats, k.rejects)
		}
		counts, err := os.ReadFile(notes)
		if err != nil {
			t.Fatal(err)
		}
		last := map[string]uint64{}
		for i := range k.events {
			e := &k.events[i]
			if e.Seq != last[e.Stream]+1 {
				t.Fatalf("round %d: %s: number %d behind %d", round, e.Stream, e.Seq, last[e.Stream])
			}
			last[e.Stream] = e.Seq
		}
		ahead := 0
		for i := range childGoroutines {
			n, got := binary.LittleEndian.Uint64(counts[8*i:]), last[fmt.Sprintf("g%d", i+firstGoroutine)]
			if got < n {
				t.Errorf("round %d: g%d recorded %d events, %d are there", round, i+firstGoroutine, n, got)
			}
			ahead += int(got - n)
		}
		if ahead > 2 { // one step makes at most two events, and then its note
			t.Errorf("round %d: %d events more than the program noted", round, ahead)
		}
		if err := ring.Close(); err != nil {
			t.Error(err)
		}
		if _, err := os.Stat(ring.Path()); !os.IsNotExist(err) {
			t.Errorf("the ring's file is still there: %v", err)
		}
	}
}

// A program that exits: how it ended is in the recording; nobody tells the collector but the system.
func TestCollect_AProgramThatExits(t *testing.T) {
	ring, err := NewRing("", RingOptions{Functions: simulatedFunctions + 1, Bytes: 1 << 20})
	if err != nil {
		t.Fatal(err)
	}
	defer ring.Close()
	if _, err := NewCollector(ring, CollectOptions{Spool: filepath.Join(t.TempDir(), "spool"), Functions: "/no/such/table"}); err == nil {
		t.Error("a table that is not there is no error")
	}
	spool := filepath.Join(t.TempDir(), "spool")
	done := make(chan error, 1)
	var stats CollectStats
	go func() {
		var err error
		stats, err = Collect(context.Background(), ring, CollectOptions{Spool: spool, Functions: functionTable(t), CallsPerSecondMax: -1})
		done <- err
	}()
	c, notes := startChild(t, ring, "PASTCONE_TEST_STEPS=1000")
	_ = c.Wait()
	if err := <-done; err != nil {
		t.Fatal(err)
	}
	k, read := readFile(t, spool)
	if read.Ended != "exit" || read.ExitCode != 4 || stats.ExitCode != 4 || read.Note() != "" {
		t.Errorf("%+v, %+v", read, stats)
	}
	counts, err := os.ReadFile(notes)
	if err != nil {
		t.Fatal(err)
	}
	want := uint64(0)
	for i := range childGoroutines {
		want += binary.LittleEndian.Uint64(counts[8*i:])
	}
	if uint64(len(k.events)) != want+1 {
		t.Errorf("%d events, want %d and the end", len(k.events), want)
	}
	last := k.events[len(k.events)-1]
	if last.Kind != event.KindExit || last.Stream != "pastcone" || string(last.Data) != `{"reason":"exit","exit_code":4}` {
		t.Errorf("%s", event.AppendLine(nil, &last))
	}
}

func TestCollect_AProgramThatNeverCame(t *testing.T) {
	ring, err := NewRing("", RingOptions{Functions: 2})
	if err != nil {
		t.Fatal(err)
	}
	defer ring.Close()
	ended := make(chan struct{})
	close(ended)
	spool := filepath.Join(t.TempDir(), "spool")
	stats, err := Collect(context.Background(), ring, CollectOptions{Spool: spool, Ended: ended})
	if err != nil || stats.Ended != "never started" || stats.Process != 0 {
		t.Errorf("%+v, %v", stats, err)
	}
	if k, read := readFile(t, spool); read.Ended != "never started" || len(k.events) != 1 {
		t.Errorf("%+v", read)
	}
}

// A collector that has died: the program goes on without it, and does not wait for ever.
func TestProgram_ACollectorThatHasDied(t *testing.T) {
	ring, err := NewRing("", RingOptions{Functions: simulatedFunctions + 1, Bytes: RingBytesMin})
	if err != nil {
		t.Fatal(err)
	}
	defer ring.Close()
	s, err := startProgram(ring.Path(), 1, testClock())
	if err != nil {
		t.Fatal(err)
	}
	defer s.close()
	began := time.Now()
	w := newWork(s, 4, 2)
	random := rand.New(rand.NewPCG(5, 6))
	for w.ring.load64(capture.OffDropped) == 0 && time.Since(began) < 20*time.Second {
		w.step(s.ps[0], w.gs[random.IntN(4)], random)
	}
	if waited := time.Since(began); waited < time.Second || waited > 10*time.Second {
		t.Errorf("it went on after %v, want about %v", waited, time.Duration(capture.BeatStaleNanos))
	}
}

// What was lost by policy drop shows as holes in the numbers, and is counted; all else is there.
func TestCollect_PolicyDropLosesWhatItCounts(t *testing.T) {
	r, cancel := collecting(t, RingOptions{Policy: Drop, Bytes: RingBytesMin}, CollectOptions{CallsPerSecondMax: -1}, 2)
	w := newWork(r.program, 20, 5)
	w.run(9, 1500)
	r.finish(t, cancel)
	k, stats := readFile(t, r.spool)
	lost := 0
	for _, g := range w.gs {
		lost += g.lost
	}
	if lost == 0 {
		t.Skip("the collector was too fast")
	}
	compareEvents(t, k, w.gs)
	if stats.Dropped != uint64(lost) || r.stats.Dropped != uint64(lost) || !strings.Contains(stats.Note(), "dropped") {
		t.Errorf("%d lost; %+v, %+v", lost, stats, r.stats)
	}
}

// The flight recorder keeps the newest, while the program overwrites the oldest, and writes it out on demand and at the end.
func TestCollect_FlightRecorder(t *testing.T) {
	r, cancel := collecting(t, RingOptions{Policy: Overwrite, Bytes: RingBytesMin}, CollectOptions{CallsPerSecondMax: -1}, 2)
	dumps := make(chan error, 1)
	w := newWork(r.program, 20, 5)
	dumped := filepath.Join(t.TempDir(), "dump")
	c := r.collector
	go func() {
		time.Sleep(10 * time.Millisecond)
		dumps <- c.Dump(dumped)
	}()
	for seed := range uint64(50) {
		w.run(seed, 300)
	}
	if err := <-dumps; err != nil {
		t.Fatal(err)
	}
	r.finish(t, cancel)
	total := 0
	for _, g := range w.gs {
		total += len(g.notes)
	}
	for _, path := range []string{dumped, r.spool} {
		k, stats := readFile(t, path)
		if len(k.rejects) > 0 {
			t.Fatalf("rejected: %v", k.rejects[0])
		}
		n := suffixes(t, k, w.gs, path == r.spool)
		if stats.Torn || n == 0 || path == r.spool && (n+int(stats.Overwritten) != total || stats.Overwritten == 0 || !strings.Contains(stats.Note(), "flight recorder")) {
			t.Errorf("%s: %d of %d events: %+v", path, n, total, stats)
		}
	}
	if err := c.Dump(dumped); err != ErrNotFlying {
		t.Errorf("a dump after the end: %v", err)
	}
}

// suffixes holds each stream against the program's notes: what is there is there in order, and, at the end, up to the last event. There can be
// holes: a P that writes little keeps its chunk, and with it old events, while the others' chunks are overwritten.
func suffixes(t *testing.T, k *kept, gs []*simulatedG, whole bool) (n int) {
	t.Helper()
	last := map[string]uint64{}
	for i := range k.events {
		e := &k.events[i]
		if e.Stream == "pastcone" {
			continue
		}
		if before, ok := last[e.Stream]; ok && e.Seq <= before {
			t.Fatalf("%s: number %d behind %d", e.Stream, e.Seq, before)
		}
		last[e.Stream] = e.Seq
		n++
		g, err := strconv.Atoi(e.Stream[1:])
		if err != nil {
			t.Fatal(err)
		}
		note := gs[g-firstGoroutine].notes[(e.Seq-1)%(1<<16)]
		if e.Kind != forms[note.kind].kind || e.Ordinal != note.ordinal {
			t.Fatalf("%s %d: %v %d, want %v %d", e.Stream, e.Seq, e.Kind, e.Ordinal, forms[note.kind].kind, note.ordinal)
		}
	}
	for _, g := range gs {
		if got := last[fmt.Sprintf("g%d", g.id)]; whole && got != 0 && got != g.seq {
			t.Errorf("g%d ends with %d, want %d", g.id, got, g.seq)
		}
	}
	return n
}

// A function that is called very often is silent until it is calm again; what it did meanwhile is counted.
func TestCollect_AHotFunctionIsSilencedAndComesBack(t *testing.T) {
	r, cancel := collecting(t, RingOptions{}, CollectOptions{CallsPerSecondMax: 1000}, 1)
	p := r.program.ps[0]
	v := &r.program.ring
	seq, recorded, silent := uint64(0), 0, uint64(0)
	call := func(f uint32) {
		if v.memory[v.functionS+int(f)] == capture.FunctionSilent {
			at := v.silence + int(f)*silenceEntry
			v.store64(at, v.load64(at)+1)
			v.store64(at+8, v.load64(at+8)+3000)
			silent++
			return
		}
		seq++
		p.emit(capture.KindCall, 1, seq, f, 0, 0)
		seq++
		p.emit(capture.KindReturn, 1, seq, f, 0, 0)
		recorded += 2
	}
	quiet := 0
	for began := time.Now(); time.Since(began) < 400*time.Millisecond; time.Sleep(50 * time.Microsecond) {
		for range 20 {
			call(7)
		}
		if quiet++; quiet%50 == 0 {
			call(8)
		}
	}
	if silent == 0 || v.memory[v.functionS+8] != capture.FunctionOn {
		t.Errorf("%d calls were silent", silent)
	}
	for began := time.Now(); v.memory[v.functionS+7] != capture.FunctionOn; time.Sleep(10 * time.Millisecond) {
		if time.Since(began) > 20*time.Second {
			t.Fatal("it never came back")
		}
	}
	call(7)
	time.Sleep(20 * time.Millisecond)
	r.finish(t, cancel)
	k, _ := readFile(t, r.spool)
	var counted uint64
	var states []bool
	for i := range k.events {
		e := &k.events[i]
		switch e.Kind {
		case event.KindCall, event.KindReturn:
			recorded--
		case event.KindMetric:
			var d struct {
				Calls, Nanoseconds uint64
				Silenced           bool
			}
			if err := json.Unmarshal(e.Data, &d); err != nil || e.Func != "shop.f7" || d.Calls > 0 && d.Nanoseconds == 0 {
				t.Errorf("%s: %v", event.AppendLine(nil, e), err)
			}
			counted += d.Calls
			if len(states) == 0 || states[len(states)-1] != d.Silenced {
				states = append(states, d.Silenced)
			}
		}
	}
	if counted != silent || recorded != 0 || fmt.Sprint(states) != "[true false]" || r.stats.Silenced != 1 {
		t.Errorf("%d of %d silent calls are counted, %d events are missing, states %v, %+v", counted, silent, recorded, states, r.stats)
	}
}
