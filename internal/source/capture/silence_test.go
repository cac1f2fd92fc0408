package capture

import (
	"encoding/json"
	"path/filepath"
	"testing"
	"time"

	"github.com/pastcone/pastcone/event"
	"github.com/pastcone/pastcone/internal/capture"
)

// A hot function is silent as soon as it has used up what a window allows, not at the window's end; so is its caller, behind it.
func TestBudget_OuterFunctionsFollowInnerOnesWithinAWindow(t *testing.T) {
	ring, err := NewRing("", RingOptions{Functions: 8})
	if err != nil {
		t.Fatal(err)
	}
	defer ring.Close()
	to, err := createSpool(filepath.Join(t.TempDir(), "spool"))
	if err != nil {
		t.Fatal(err)
	}
	defer to.close()
	b := newBudget(ring, 10_000)
	now := time.Now()
	turn := func(after time.Duration) {
		now = now.Add(after)
		if err := b.turn(now, to); err != nil {
			t.Fatal(err)
		}
	}
	state := func(f int) byte { return ring.memory[ring.functionS+f] }
	turn(0)
	b.call(1, 1000) // calls 2 each time
	b.call(2, 1000)
	b.leaf(2, 1000)
	turn(time.Millisecond)
	if state(1) != capture.FunctionOn || state(2) != capture.FunctionOn {
		t.Errorf("silenced within the budget: %d %d", state(1), state(2))
	}
	b.call(1, 1)
	b.call(2, 1)
	b.leaf(2, 1)
	turn(time.Millisecond)
	if state(1) != capture.FunctionOn || state(2) != capture.FunctionSilent {
		t.Errorf("the inner one is beyond its budget: %d %d", state(1), state(2))
	}
	b.call(1, 20_000) // with nothing in it any more
	b.leaf(1, 20_000)
	turn(time.Millisecond)
	if state(1) != capture.FunctionSilent || b.ever != 2 {
		t.Errorf("the outer one is beyond its budget: %d, %d in all", state(1), b.ever)
	}
	// Calls in which something is recorded are no reason.
	b.call(3, 100_000)
	b.leaf(3, 90_000)
	turn(budgetWindow)
	if state(3) != capture.FunctionOn {
		t.Error("a function in which much is recorded is silent")
	}
}

// A flight recorder's functions have the same budget: the ring holds a longer time then. What was silent is counted in what it writes out,
// at the end and on demand.
func TestFlight_AHotFunctionIsSilencedWhileNobodyReads(t *testing.T) {
	r, cancel := collecting(t, RingOptions{Policy: Overwrite, Bytes: 64 * capture.ChunkBytes}, CollectOptions{CallsPerSecondMax: 1000}, 2)
	p := r.program.ps[1]
	v := &r.program.ring
	seq, silent := uint64(0), uint64(0)
	for began := time.Now(); silent < 10_000; {
		if time.Since(began) > 20*time.Second {
			t.Fatal("a function that is called all the time is never silenced")
		}
		if v.memory[v.functionS+7] == capture.FunctionSilent {
			at := v.silence + 7*silenceEntry
			v.store64(at, v.load64(at)+1)
			v.store64(at+8, v.load64(at+8)+3000)
			silent++
			continue
		}
		seq++
		p.emit(capture.KindCall, 1, seq, 7, 0, 0)
		seq++
		p.emit(capture.KindReturn, 1, seq, 7, 0, 0)
	}
	if v.memory[v.functionS+8] != capture.FunctionOn {
		t.Error("a function that is never called is silent")
	}
	dumped := filepath.Join(t.TempDir(), "dump")
	if err := r.collector.Dump(dumped); err != nil {
		t.Fatal(err)
	}
	r.finish(t, cancel)
	for name, file := range map[string]string{"on demand": dumped, "at the end": r.spool} {
		k, _ := readFile(t, file)
		counted := uint64(0)
		for i := range k.events {
			if e := &k.events[i]; e.Kind == event.KindMetric {
				var d struct{ Calls, Nanoseconds uint64 }
				if err := json.Unmarshal(e.Data, &d); err != nil || e.Func != "shop.f7" || d.Nanoseconds == 0 {
					t.Errorf("%s: %s: %v", name, event.AppendLine(nil, e), err)
				}
				counted += d.Calls
			}
		}
		if counted != silent {
			t.Errorf("%s: %d of %d silent calls are counted", name, counted, silent)
		}
	}
	if r.stats.Silenced != 1 {
		t.Errorf("%+v", r.stats)
	}
}

// What the program timed of its own recording becomes a time, by how far its clock went; what can not be is cut.
func TestCollect_TellsWhatRecordingTook(t *testing.T) {
	for name, c := range map[string]struct {
		ticks       func(program *simulated) uint64
		least, most time.Duration
	}{
		"nothing was timed":         {func(*simulated) uint64 { return 0 }, 0, 0},
		"as long as the program is": {func(s *simulated) uint64 { return s.ticks() - s.ring.load64(capture.OffStartTicks) }, 40 * time.Millisecond, 20 * time.Second},
		"more than there was":       {func(*simulated) uint64 { return 1 << 62 }, 40 * time.Millisecond, 2000 * time.Second},
	} {
		t.Run(name, func(t *testing.T) {
			r, cancel := collecting(t, RingOptions{}, CollectOptions{}, 1)
			r.program.ps[0].emit(capture.KindCall, 1, 1, 7, 0, 0)
			time.Sleep(50 * time.Millisecond)
			ticks := c.ticks(r.program)
			if ticks < 1<<60 {
				ticks /= capture.TimedEvery
			}
			r.program.ring.store64(capture.OffTimedTicks, ticks)
			r.finish(t, cancel)
			if got := r.stats.Recording; got < c.least || got > c.most {
				t.Errorf("%v, want %v to %v", got, c.least, c.most)
			}
		})
	}
}
