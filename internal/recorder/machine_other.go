//go:build !unix

package recorder

import "time"

// processorTime is not known here.
func processorTime() time.Duration { return 0 }
