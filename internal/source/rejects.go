package source

import (
	"encoding/json"
	"errors"
	"fmt"
	"io/fs"
	"os"
	"sync"
	"unicode/utf8"
)

// RejectedRawBytesMax bounds what is kept of one rejected input.
const RejectedRawBytesMax = 4096

// RejectsFile keeps what could not be used, for people to look at: one JSON object a line, with file,
// line, offset, reason and the input itself, cut to a bounded length. It only grows, up to its bound;
// what comes after that is counted, and a last line says how many those were.
//
// The file comes into being with the first reject, readable by its owner only: a line that could not be
// read may hold anything. All methods are safe for concurrent use.
type RejectsFile struct {
	path     string
	bytesMax int64
	redact   func([]byte) []byte

	mu      sync.Mutex
	file    *os.File // nil until the first reject
	bytes   int64
	kept    int64
	notKept int64
	closed  bool
}

// ErrRejectsClosed says that a reject came after the end.
var ErrRejectsClosed = errors.New("the rejects file is closed")

// NewRejectsFile makes a rejects file of at most bytesMax bytes; what it holds from an earlier time counts.
// redact, if not nil, takes what is secret out of an input before it is kept; it may give the same slice
// back, and must not change it.
func NewRejectsFile(path string, bytesMax int64, redact func([]byte) []byte) *RejectsFile {
	return &RejectsFile{path: path, bytesMax: bytesMax, redact: redact}
}

// rejectLine is one line of the file.
type rejectLine struct {
	File   string `json:"file,omitempty"`
	Line   int    `json:"line,omitempty"`
	Offset int64  `json:"offset"`
	Reason string `json:"reason"`
	Raw    string `json:"raw,omitempty"`
	Bytes  []byte `json:"bytes,omitempty"` // in place of raw, in base64, if it is no UTF-8
	Cut    bool   `json:"cut,omitempty"`   // raw is but the beginning
}

// Add keeps a reject, or counts it if there is no room left. It fails if the file cannot be written.
func (f *RejectsFile) Add(r Rejected) error {
	raw := r.Raw
	if f.redact != nil {
		raw = f.redact(raw)
	}
	line := rejectLine{File: r.File, Line: r.Line, Offset: r.Offset, Reason: r.Reason}
	if len(raw) > RejectedRawBytesMax {
		end := RejectedRawBytesMax
		for back := 0; back < utf8.UTFMax && !utf8.RuneStart(raw[end]); back++ {
			end--
		}
		raw, line.Cut = raw[:end], true
	}
	if utf8.Valid(raw) {
		line.Raw = string(raw)
	} else {
		line.Bytes = raw
	}
	text, err := json.Marshal(line)
	if err != nil {
		return fmt.Errorf("rejects file %s: %w", f.path, err)
	}
	f.mu.Lock()
	defer f.mu.Unlock()
	if f.closed {
		return fmt.Errorf("%s: %w", f.path, ErrRejectsClosed)
	}
	if err := f.open(); err != nil {
		return err
	}
	if f.notKept > 0 || f.bytes+int64(len(text))+1 > f.bytesMax {
		f.notKept++
		return nil
	}
	if err := f.write(text); err != nil {
		return err
	}
	f.kept++
	return nil
}

func (f *RejectsFile) open() error {
	if f.file != nil {
		return nil
	}
	file, err := os.OpenFile(f.path, os.O_CREATE|os.O_APPEND|os.O_WRONLY, 0o600)
	if err != nil {
		return fmt.Errorf("rejects file: %w", err)
	}
	info, err := file.Stat()
	if err != nil {
		return errors.Join(fmt.Errorf("rejects file: %w", err), file.Close())
	}
	if info.Mode().Type() != 0 {
		err = &fs.PathError{Op: "open", Path: f.path, Err: errors.New("not a regular file: move it away")}
		return errors.Join(fmt.Errorf("rejects file: %w", err), file.Close())
	}
	f.file, f.bytes = file, info.Size()
	return nil
}

func (f *RejectsFile) write(text []byte) error {
	n, err := f.file.Write(append(text, '\n'))
	f.bytes += int64(n)
	if err != nil {
		return fmt.Errorf("rejects file: %w", err)
	}
	return nil
}

// Counts gives how many rejects were kept in the file, and how many had no room in it.
func (f *RejectsFile) Counts() (kept, notKept int64) {
	f.mu.Lock()
	defer f.mu.Unlock()
	return f.kept, f.notKept
}

// Close ends the file, with a line that says how many were not kept if there were any. To close it
// again does nothing.
func (f *RejectsFile) Close() error {
	f.mu.Lock()
	defer f.mu.Unlock()
	if f.closed {
		return nil
	}
	f.closed = true
	if f.file == nil {
		return nil
	}
	var err error
	if f.notKept > 0 {
		err = f.write(fmt.Appendf(nil, `{"not_kept":%d,"reason":"the rejects file has reached its bound of %d bytes"}`, f.notKept, f.bytesMax))
	}
	if closeErr := f.file.Close(); closeErr != nil {
		err = errors.Join(err, fmt.Errorf("rejects file: %w", closeErr))
	}
	return err
}
