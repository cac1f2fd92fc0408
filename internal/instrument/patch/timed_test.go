package patch

import (
	"runtime"
	"testing"

	"github.com/pastcone/pastcone/internal/capture"
)

// The program times one of so many of its records and of its silent calls, and what it says is a time that can be.
func TestTheProgramTimesSomeOfItsRecords(t *testing.T) {
	if runtime.GOARCH != "amd64" && runtime.GOARCH != "arm64" {
		t.Skip("no counter to read")
	}
	program := build(t, "cost", "-tags=patched")
	const calls = 1_000_000 // five times, of two records each
	for _, c := range []struct {
		name   string
		silent bool
		least  uint64
	}{
		{"recorded", false, 5 * 2 * calls / capture.TimedEvery},
		{"silent", true, 5 * calls / capture.TimedEvery},
	} {
		r := newRing(t, capture.PolicyOverwrite, 16)
		if c.silent {
			r.memory[r.get64(capture.OffFunctionStates)+17] = capture.FunctionSilent
		}
		measure(t, program, "enter+exit", calls, r)
		timed, ticks := r.get64(capture.OffTimed), r.get64(capture.OffTimedTicks)
		if timed < c.least*9/10 || timed > c.least*13/10 {
			t.Errorf("%s: %d were timed, of some %d", c.name, timed, c.least)
		}
		if each := float64(ticks) / float64(timed); each > 2000 || !c.silent && runtime.GOARCH == "amd64" && each < 1 {
			t.Errorf("%s: %.1f ticks each", c.name, each)
		}
	}
}
