package probe

import (
	"fmt"
	"io"
	"os"
)

// sink is where chunks go. All methods are called by the writer's goroutine. Each chunk that write
// gets goes back by Recorder.giveBack, sooner or later.
type sink interface {
	write(c *chunk)
	flush() // returns when the fate of all chunks is known, or it takes too long
	close() // flush, then the end
}

// writerSink writes to anything.
type writerSink struct {
	recorder *Recorder
	to       io.Writer
	written  int64
	undo     func(size int64) bool // takes back what a failed write has left behind size; nil: can not
	broken   bool                  // a line was cut in the middle: what follows it would be lost in it
	full     bool
}

func (s *writerSink) write(c *chunk) {
	s.recorder.giveBack(c, s.try(c.bytes))
}

func (s *writerSink) try(p []byte) bool {
	bytesMax := s.recorder.options.FileBytesMax
	if s.broken || s.full {
		return false
	}
	if bytesMax > 0 && s.written+int64(len(p)) > bytesMax {
		// From here on everything is dropped: a stream that goes on later would hide the end of others.
		s.full = true
		s.recorder.fail(fmt.Errorf("probe: the events reach FileBytesMax (%d bytes): what happens from now on is dropped", bytesMax))
		return false
	}
	n, err := s.to.Write(p)
	if err == nil && n < len(p) {
		err = io.ErrShortWrite
	}
	if err == nil {
		s.written += int64(n)
		return true
	}
	s.recorder.fail(fmt.Errorf("probe: write events: %w", err))
	if n > 0 {
		s.broken = s.undo == nil || !s.undo(s.written)
	}
	return false
}

func (s *writerSink) flush() {}
func (s *writerSink) close() {}

// fileSink writes to a file that it has made.
type fileSink struct {
	writerSink
	file *os.File
}

func openFile(r *Recorder, name string) (sink, error) {
	f, err := os.OpenFile(name, os.O_CREATE|os.O_TRUNC|os.O_WRONLY, 0o600) // #nosec G304 -- the user names it
	if err != nil {
		return nil, fmt.Errorf("probe: %w", err)
	}
	undo := func(size int64) bool {
		if f.Truncate(size) != nil {
			return false
		}
		_, err := f.Seek(size, io.SeekStart)
		return err == nil
	}
	return &fileSink{writerSink{recorder: r, to: f, undo: undo}, f}, nil
}

func (s *fileSink) close() {
	if err := s.file.Close(); err != nil {
		s.recorder.fail(fmt.Errorf("probe: %w", err))
	}
}
