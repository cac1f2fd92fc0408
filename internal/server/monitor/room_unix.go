//go:build linux || darwin || freebsd

package monitor

import "golang.org/x/sys/unix"

// freeBytes gives what an ordinary user can still write to the file system.
func freeBytes(dir string) (free uint64, ok bool) {
	var s unix.Statfs_t
	if err := unix.Statfs(dir, &s); err != nil {
		return 0, false
	}
	return uint64(s.Bavail) * uint64(s.Bsize), true // #nosec G115 -- not negative //nolint:unconvert // int64 on some systems
}
