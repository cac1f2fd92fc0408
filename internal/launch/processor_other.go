//go:build !unix

package launch

import "time"

// processorTime is not known.
func processorTime() time.Duration { return 0 }
