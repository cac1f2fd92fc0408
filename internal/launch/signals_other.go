//go:build !unix

package launch

import (
	"errors"
	"os"
)

var handedOn = []os.Signal{os.Interrupt}

func typed(os.Signal) bool { return true }

func inForeground() bool { return true }

func staysIgnored(os.Signal) bool { return false }

// DumpSignal gives the signal of a name that --dump-on takes: here there is none.
func DumpSignal(string) (os.Signal, error) {
	return nil, errors.New("this system has no signals to dump on")
}

// OutliveReaders lets this process go on when nobody reads any more what it says: here it does.
func OutliveReaders() {}
