//go:build linux || darwin

package capture

import (
	"errors"
	"fmt"
	"os"
	"time"

	"golang.org/x/sys/unix"
)

// sharedMemory is where files are memory, if the system has such a place.
const sharedMemory = "/dev/shm"

// roomFactor is how many times the ring there must be room for in shared memory: others need some, too.
const roomFactor = 2

// place gives the directory for a ring of that size.
func place(dir string, size int64) string {
	if dir != "" {
		return dir
	}
	var fs unix.Statfs_t
	if unix.Statfs(sharedMemory, &fs) == nil {
		block := uint64(fs.Bsize)                         // #nosec G115 -- of a file system
		if fs.Bavail >= uint64(size)*roomFactor/block+1 { // #nosec G115 -- a size
			return sharedMemory
		}
	}
	return os.TempDir()
}

// create makes the file, with room for all of it, and maps it.
func (r *Ring) create(dir string, size int64) (err error) {
	f, err := os.CreateTemp(place(dir, size), "pastcone-ring-*") // mode 0600
	if err != nil && dir == "" && place(dir, size) == sharedMemory {
		f, err = os.CreateTemp(os.TempDir(), "pastcone-ring-*")
	}
	if err != nil {
		return err
	}
	defer func() {
		err = errors.Join(err, f.Close())
		if err != nil {
			_ = os.Remove(f.Name())
		}
	}()
	if err = f.Truncate(size); err == nil {
		err = reserve(f, size)
	}
	if err != nil {
		return fmt.Errorf("%s: no room for %d bytes: make the ring smaller, or name a directory with more room: %w", f.Name(), size, err)
	}
	r.memory, err = unix.Mmap(int(f.Fd()), 0, int(size), unix.PROT_READ|unix.PROT_WRITE, unix.MAP_SHARED) // #nosec G115 -- a file descriptor
	if err != nil {
		return fmt.Errorf("mapping %s: %w", f.Name(), err)
	}
	r.path = f.Name()
	return nil
}

// remove takes the file away and unmaps it. The program's own mapping stays valid.
func (r *Ring) remove() error {
	err := os.Remove(r.path)
	if errors.Is(err, os.ErrNotExist) { // somebody has cleaned up
		err = nil
	}
	memory := r.memory
	r.memory = nil
	return errors.Join(err, unix.Munmap(memory))
}

// monotonicNanos reads the clock that the program's runtime reads, too.
func monotonicNanos() int64 {
	var t unix.Timespec
	if err := unix.ClockGettime(unix.CLOCK_MONOTONIC, &t); err != nil {
		return 0 // no system of ours is without it
	}
	return t.Nano()
}

// wallBase gives what the time is ahead of the monotonic clock: the time of the moment with the least doubt.
func wallBase() int64 {
	var base int64
	closest := int64(-1)
	for range clockTries {
		before := monotonicNanos()
		now := time.Now().UnixNano()
		after := monotonicNanos()
		if width := after - before; closest < 0 || width < closest {
			closest, base = width, now-(before+width/2)
		}
	}
	return base
}
