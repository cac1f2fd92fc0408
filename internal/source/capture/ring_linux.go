package capture

import (
	"os"

	"golang.org/x/sys/unix"
)

// reserve takes the room now: a file system that is full later would end the program with SIGBUS.
func reserve(f *os.File, size int64) error {
	err := unix.Fallocate(int(f.Fd()), 0, 0, size) // #nosec G115 -- a file descriptor
	if err == unix.EOPNOTSUPP {
		return nil
	}
	return err
}

// punch gives a part of a file back to the disk.
func punch(f *os.File, from, bytes int64) error {
	return unix.Fallocate(int(f.Fd()), unix.FALLOC_FL_PUNCH_HOLE|unix.FALLOC_FL_KEEP_SIZE, from, bytes) // #nosec G115 -- a file descriptor
}
