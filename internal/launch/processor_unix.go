//go:build unix

package launch

import (
	"syscall"
	"time"
)

// processorTime gives what this process has computed so far, on all cores.
func processorTime() time.Duration {
	var used syscall.Rusage
	if syscall.Getrusage(syscall.RUSAGE_SELF, &used) != nil {
		return 0
	}
	return time.Duration(used.Utime.Nano() + used.Stime.Nano())
}
