//go:build linux || darwin

package main

import "syscall"

// descriptorsMax gives how many file descriptors the process may have.
func descriptorsMax() (most int, known bool) {
	var limit syscall.Rlimit
	if err := syscall.Getrlimit(syscall.RLIMIT_NOFILE, &limit); err != nil {
		return 0, false
	}
	return int(min(limit.Cur, 1<<20)), true // #nosec G115 -- bounded
}
