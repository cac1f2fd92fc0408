//go:build !linux

package launch

import "time"

// processorTimeOf is not known.
func processorTimeOf(int) (time.Duration, bool) { return 0, false }
