//go:build unix

package launch

import (
	"fmt"
	"os"
	"os/signal"
	"syscall"

	"golang.org/x/sys/unix"
)

// handedOn are the signals that end up with the program when they are sent to us. Those that stop and continue keep
// their meaning for both, and those about children and sockets are nobody else's business.
var handedOn = []os.Signal{
	syscall.SIGHUP, syscall.SIGINT, syscall.SIGQUIT, syscall.SIGTERM, syscall.SIGUSR1, syscall.SIGUSR2, syscall.SIGALRM, syscall.SIGWINCH,
}

// typed says that a terminal sends the signal to every process in its foreground, so that the program has it already. A terminal that is
// gone does so with SIGHUP, too; but that is also how a program is asked to read its settings again, and twice is better than never.
func typed(s os.Signal) bool {
	return s == syscall.SIGINT || s == syscall.SIGQUIT || s == syscall.SIGWINCH
}

// inForeground says that we are in the foreground of a terminal, whatever our standard input is.
func inForeground() bool {
	terminal, err := os.Open("/dev/tty")
	if err != nil {
		return false // we have none
	}
	defer terminal.Close()                                             //nolint:errcheck // only asked
	group, err := unix.IoctlGetInt(int(terminal.Fd()), unix.TIOCGPGRP) // #nosec G115 -- a small number
	return err == nil && group == unix.Getpgrp()
}

// staysIgnored says that a Go program that was started with this signal ignored leaves it so. See package os/signal.
func staysIgnored(s os.Signal) bool { return s == syscall.SIGHUP || s == syscall.SIGINT }

// DumpSignal gives the signal of a name that --dump-on takes.
func DumpSignal(name string) (os.Signal, error) {
	switch name {
	case "usr1":
		return syscall.SIGUSR1, nil
	case "usr2":
		return syscall.SIGUSR2, nil
	}
	return nil, fmt.Errorf("%q is no signal to dump on: it is usr1 or usr2", name)
}

// OutliveReaders lets this process go on when nobody reads any more what it says: what it records must not end with
// "pastcone run . 2>&1 | head". The program's own fate is not touched.
func OutliveReaders() { signal.Notify(make(chan os.Signal, 1), syscall.SIGPIPE) }
