//go:build linux || darwin

package capture

import (
	"errors"

	"golang.org/x/sys/unix"
)

// process watches whether a process lives.
type process struct {
	id   int
	file int // -1: the system has none
	over bool
}

// watch begins to watch. A process that is gone has ended.
func watch(id int) *process {
	p := &process{id: id}
	var err error
	if p.file, err = openProcess(id); errors.Is(err, unix.ESRCH) {
		p.over = true
	}
	return p
}

// ended says that the process has ended. Once it has, it stays so, whoever gets its number.
func (p *process) ended() bool {
	if p.over {
		return true
	}
	if p.file >= 0 {
		poll := []unix.PollFd{{Fd: int32(p.file), Events: unix.POLLIN}} // #nosec G115 -- a file descriptor
		n, err := unix.Poll(poll, 0)
		p.over = err == nil && n > 0
	} else {
		p.over = errors.Is(unix.Kill(p.id, 0), unix.ESRCH)
	}
	return p.over
}

func (p *process) close() {
	if p != nil && p.file >= 0 {
		_ = unix.Close(p.file)
		p.file = -1
	}
}
