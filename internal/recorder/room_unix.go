//go:build linux || darwin

package recorder

import "golang.org/x/sys/unix"

// freeBytes gives the room on the disk of a directory; below zero if it is not known.
func freeBytes(dir string) int64 {
	var s unix.Statfs_t
	if unix.Statfs(dir, &s) != nil {
		return -1
	}
	return int64(s.Bavail) * int64(s.Bsize) // #nosec G115 -- a size of a disk
}
