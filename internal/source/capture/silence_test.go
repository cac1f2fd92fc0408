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
