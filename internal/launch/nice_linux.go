package launch

import (
	"os"
	"strconv"
	"syscall"
)

// stepBack gives this process's threads less of the processor than the recorded program has: when there is not enough
// for both, events wait in the capture file and the program goes on. Threads that come later inherit it. It is a
// courtesy: where it is not allowed, nothing is lost but speed.
func stepBack(niceness int) {
	tasks, err := os.ReadDir("/proc/self/task")
	if err != nil {
		return
	}
	for _, task := range tasks {
		if id, err := strconv.Atoi(task.Name()); err == nil {
			_ = syscall.Setpriority(syscall.PRIO_PROCESS, id, niceness)
		}
	}
}
