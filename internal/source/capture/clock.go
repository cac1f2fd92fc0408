package capture

import (
	"fmt"
	"runtime"

	"github.com/pastcone/pastcone/internal/capture"
)

// clockReading is the program's clock and the time, read at the same moment.
type clockReading struct {
	ticks uint64
	unix  int64 // ns since the Unix epoch
}

// programClock reads the clock that a program uses, of the kind that its header names.
type programClock struct {
	kind uint32
	base int64 // what makes a reading of the monotonic clock a time
}

const clockTries = 5

func newProgramClock(kind uint32) (programClock, error) {
	counter := map[string]uint32{"amd64": capture.ClockTSC, "arm64": capture.ClockCNTVCT}[runtime.GOARCH]
	if kind != capture.ClockNanos && (kind != counter || counter == 0) {
		return programClock{}, fmt.Errorf("capture: the program uses clock %d, which the collector cannot read on %s: build both for the same processor", kind, runtime.GOARCH)
	}
	return programClock{kind: kind, base: wallBase()}, nil
}

// ticks reads the program's clock.
func (c programClock) ticks() uint64 {
	if c.kind == capture.ClockNanos {
		return uint64(monotonicNanos()) // #nosec G115 -- since boot
	}
	return readCounter()
}

// read reads both clocks. Whoever is interrupted between the two reads them again: the closest pair of some counts.
func (c programClock) read() clockReading {
	if c.kind == capture.ClockNanos {
		now := monotonicNanos()
		return clockReading{uint64(now), now + c.base} // #nosec G115 -- since boot
	}
	var best clockReading
	closest := ^uint64(0)
	for range clockTries {
		before := readCounter()
		now := monotonicNanos()
		after := readCounter()
		if width := after - before; width < closest {
			closest, best = width, clockReading{before + width/2, now + c.base}
		}
	}
	return best
}
