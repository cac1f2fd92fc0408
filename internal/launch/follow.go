package launch

import (
	"context"
	"io"
	"os"
	"runtime"
	"time"
)

// The engine reads the capture file as it grows, on the same processors as the program. Two rules keep it out of the program's way:
//
//  1. While the program uses more than half of the processors, reading waits: what is not read yet lies in the file.
//  2. When that is more than backlogBytesMax, it goes on all the same, so that neither the disk nor the wait at the program's end
//     grows with the time that it runs.
const (
	// followEvery is how long a follower waits before it looks again for more.
	followEvery     = 2 * time.Millisecond
	asideEvery      = 20 * time.Millisecond // how often a follower that waits looks at the program
	asideShare      = 0.55                  // of the processors: a program that uses one of two is not disturbed on the other
	backlogBytesMax = 512 << 20
)

// follower reads a file that grows, up to where its writer ends it.
type follower struct {
	ctx   context.Context // of the reading: an io.Reader has no other way to be told
	file  *os.File
	ended <-chan struct{} // closed when the file does not grow any more
	aside *aside
	read  int64 // bytes
}

// Read reads what is there; it waits where nothing is there yet, and while the program needs the processors.
func (f *follower) Read(p []byte) (int, error) {
	for {
		over := false
		select {
		case <-f.ended: // asked before the reading: what was written before the end is read
			over = true
		default:
		}
		wait := followEvery
		if !over && f.aside.busy(time.Now()) && !f.behind() {
			wait = asideEvery
		} else {
			n, err := f.file.Read(p)
			f.read += int64(n)
			if n > 0 || err != io.EOF || over {
				return n, err
			}
		}
		select {
		case <-f.ctx.Done():
			return 0, f.ctx.Err()
		case <-f.ended:
		case <-time.After(wait):
		}
	}
}

// behind tells whether more is left to read than may be.
func (f *follower) behind() bool {
	info, err := f.file.Stat()
	return err != nil || info.Size()-f.read > backlogBytesMax
}

// aside tells whether the program is busy. A nil aside says that it never is.
type aside struct {
	used  func() (time.Duration, bool) // processor time of the program so far; false: not known
	share float64                      // of a processor; more is busy

	at   time.Time     // of the last look
	then time.Duration // what it had used
	is   bool
}

// newAside watches the process with a number.
func newAside(process int) *aside {
	return &aside{used: func() (time.Duration, bool) { return processorTimeOf(process) }, share: asideShare * float64(runtime.GOMAXPROCS(0))}
}

// busy looks at the program, not more often than it pays.
func (a *aside) busy(now time.Time) bool {
	if a == nil || now.Sub(a.at) < asideEvery {
		return a != nil && a.is
	}
	used, known := a.used()
	if !a.at.IsZero() {
		a.is = known && float64(used-a.then) > a.share*float64(now.Sub(a.at))
	}
	a.at, a.then = now, used
	return a.is
}
