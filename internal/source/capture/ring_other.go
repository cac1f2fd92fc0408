//go:build !linux && !darwin

package capture

import (
	"fmt"
	"os"
	"runtime"
	"time"
)

func (r *Ring) create(string, int64) error {
	return fmt.Errorf("this is %s: %w; capture files made there can be imported here", runtime.GOOS, ErrUnsupported)
}

func (r *Ring) remove() error { return nil }

func monotonicNanos() int64 { return time.Now().UnixNano() }

func wallBase() int64 { return 0 }

func punch(*os.File, int64, int64) error { return ErrUnsupported }
