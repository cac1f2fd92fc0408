//go:build unix

package launch

import (
	"os"
	"syscall"
)

// handedOn are the signals that end up with the program when they are sent to us. Those that stop and continue keep
// their meaning for both, and those about children and sockets are nobody else's business.
var handedOn = []os.Signal{
	syscall.SIGHUP, syscall.SIGINT, syscall.SIGQUIT, syscall.SIGTERM, syscall.SIGUSR1, syscall.SIGUSR2, syscall.SIGALRM, syscall.SIGWINCH,
}

// typed says that a terminal sends the signal to every process in the foreground, so that the program has it already.
func typed(s os.Signal) bool {
	return s == syscall.SIGINT || s == syscall.SIGQUIT || s == syscall.SIGHUP || s == syscall.SIGWINCH
}
