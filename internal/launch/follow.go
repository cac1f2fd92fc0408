package launch

import (
	"context"
	"io"
	"os"
	"time"
)

// followEvery is how long a follower waits before it looks again for more.
const followEvery = 2 * time.Millisecond

// follower reads a file that grows, up to where its writer ends it.
type follower struct {
	ctx   context.Context // of the reading: an io.Reader has no other way to be told
	file  *os.File
	ended <-chan struct{} // closed when the file does not grow any more
}

// Read reads what is there; it waits where nothing is there yet.
func (f *follower) Read(p []byte) (int, error) {
	for {
		over := false
		select {
		case <-f.ended: // asked before the reading: what was written before the end is read
			over = true
		default:
		}
		n, err := f.file.Read(p)
		if n > 0 || err != io.EOF || over {
			return n, err
		}
		select {
		case <-f.ctx.Done():
			return 0, f.ctx.Err()
		case <-f.ended:
		case <-time.After(followEvery):
		}
	}
}
