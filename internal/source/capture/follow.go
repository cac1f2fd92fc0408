package capture

import (
	"context"
	"errors"
	"io"
	"os"
	"time"
)

// followPause is how long the end of a file that grows is waited at before it is looked at again.
const followPause = 2 * time.Millisecond

// discardBytes is what is given back to the disk at once.
const discardBytes = 16 << 20

// Follower reads a capture file while it grows: its end is the end only when its writer is done.
type Follower struct {
	ctx     context.Context
	file    *os.File
	done    <-chan struct{}
	discard bool
	read    int64 // bytes
	given   int64 // of them: given back to the disk
}

// Follow opens a capture file that a collector writes. done is closed when the collector has ended. With discard, what has been
// read is given back to the disk, where the system can: for a file that nobody wants to keep.
func Follow(ctx context.Context, path string, done <-chan struct{}, discard bool) (*Follower, error) {
	flag := os.O_RDONLY
	if discard {
		flag = os.O_RDWR
	}
	f, err := os.OpenFile(path, flag, 0) // #nosec G304 -- the launcher names it
	if err != nil {
		return nil, err
	}
	return &Follower{ctx: ctx, file: f, done: done, discard: discard}, nil
}

// Read reads on; at the end of what is there it waits for more.
func (f *Follower) Read(p []byte) (int, error) {
	f.giveBack()
	for {
		over := false
		select {
		case <-f.done: // asked before the reading: what was written before is read
			over = true
		default:
		}
		n, err := f.file.Read(p)
		f.read += int64(n)
		if n > 0 || err != nil && !errors.Is(err, io.EOF) {
			return n, err
		}
		if over {
			return 0, io.EOF
		}
		select {
		case <-f.ctx.Done():
			return 0, f.ctx.Err()
		case <-f.done:
		case <-time.After(followPause):
		}
	}
}

func (f *Follower) giveBack() {
	if n := f.read - f.given; f.discard && n >= discardBytes {
		// The file's header stays, so that it still is what it is.
		if err := punch(f.file, max(f.given, pageBytes), n); err != nil {
			f.discard = false
		}
		f.given = f.read
	}
}

// Close closes the file.
func (f *Follower) Close() error { return f.file.Close() }
