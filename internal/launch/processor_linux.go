package launch

import (
	"time"

	"golang.org/x/sys/unix"
)

// processorTimeOf gives what another process has computed so far, on all cores: every process has a clock of that.
func processorTimeOf(process int) (time.Duration, bool) {
	const scheduled = 2 // the clock of the scheduler, in nanoseconds
	var t unix.Timespec
	if err := unix.ClockGettime(int32(^process<<3|scheduled), &t); err != nil { // #nosec G115 -- as the system makes the clock's number
		return 0, false
	}
	return time.Duration(t.Nano()), true
}
