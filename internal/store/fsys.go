package store

import "io"

// fsys is the recording's directory. What the store does with files goes through it, so that tests can
// put one in its place that forgets what was not synced, tears writes, fills up or fails.
type fsys interface {
	// Open opens a file for reading and, if write is set, for writing; create makes a new one and fails
	// if it exists.
	Open(name string, write, create bool) (file, error)
	// Names lists the files.
	Names() ([]string, error)
	Rename(from, to string) error
	Remove(name string) error
	// SyncDir makes what files there are, and their names, durable.
	SyncDir() error
	// Lock keeps other writers out until the returned Closer is closed. It writes text into the lock
	// file; a refused one is an error that wraps ErrLocked and holds the owner's text.
	Lock(name, text string) (io.Closer, error)
	// Holder gives the process that holds the lock, without trying to take it: that could refuse a writer. ok is false where
	// the system does not tell.
	Holder(name string) (pid int, held, ok bool)
	String() string
}

// file is an open file.
type file interface {
	io.ReaderAt
	io.WriterAt
	io.Closer
	Sync() error
	Truncate(size int64) error
	Size() (int64, error)
	// Map makes the first size bytes readable as memory. The file may be shorter, and grow.
	Map(size int64) (mapping, error)
}

// mapping is a part of a file as memory. Only what lies within the file may be asked for.
type mapping interface {
	// Bytes gives n bytes from off. They are valid until Close, and must not be changed.
	Bytes(off int64, n int) []byte
	Close() error
}

// readWhole reads a file from its beginning, at most limit bytes.
func readWhole(fs fsys, name string, limit int64) ([]byte, error) {
	f, err := fs.Open(name, false, false)
	if err != nil {
		return nil, err
	}
	defer func() { _ = f.Close() }()
	size, err := f.Size()
	if err != nil {
		return nil, err
	}
	if size > limit {
		return nil, corrupt("a file of %d bytes, at most %d", size, limit)
	}
	p := make([]byte, size)
	n, err := f.ReadAt(p, 0)
	if int64(n) < size && err != nil {
		return nil, err
	}
	return p[:n], nil
}
