package pipeline

import (
	"bytes"
	"encoding/json"
	"errors"
	"fmt"
	"io"
	"os"
	"sync"
	"time"

	"github.com/pastcone/pastcone/internal/wire"
)

const (
	letterErrorBytesMax = 4 << 10
	letterStackBytesMax = 16 << 10
	letterBytesMin      = 64 << 10 // of the file: room for one letter without its events
)

// ErrDeadLettersFull says that the dead-letter file has no room for a letter.
var ErrDeadLettersFull = errors.New("the dead-letter file is full")

// Letter is one line of the dead-letter file: a batch on which a stage failed again and again.
type Letter struct {
	Time    time.Time       `json:"time"`
	Stage   string          `json:"stage"`
	Sources []wire.SourceID `json:"sources,omitempty"`
	Tries   int             `json:"tries"`
	Error   string          `json:"error"`
	Stack   string          `json:"stack,omitempty"`
	Events  int             `json:"events"`            // of the batch
	Written int             `json:"events_written"`    // of them, in Batch
	Missing string          `json:"missing,omitempty"` // why not all of them
	Batch   json.RawMessage `json:"batch"`             // array of events; what is not JSON stands as a text
}

// DeadLetters keeps batches that no stage could process, one JSON object a line, for a person to look at. The file is
// bounded: when it is full the first letters are kept, which tell how it began, and the later ones are counted only.
// All methods are safe for concurrent use.
type DeadLetters struct {
	path     string
	bytesMax int64

	mu      sync.Mutex
	file    letterFile
	bytes   int64
	written uint64
	lost    uint64
	err     error // of the last write; nil after one that went well
}

type letterFile interface {
	io.Writer
	io.Closer
	Sync() error
	Truncate(int64) error
}

// OpenDeadLetters opens the file, or makes it when the first letter comes. It holds at most bytesMax bytes, letters of
// earlier runs included; bytesMax is at least 64 KiB.
func OpenDeadLetters(path string, bytesMax int64) (*DeadLetters, error) {
	if bytesMax < letterBytesMin {
		return nil, fmt.Errorf("dead letters %s: %d bytes are too few, at least %d are needed", path, bytesMax, letterBytesMin)
	}
	d := &DeadLetters{path: path, bytesMax: bytesMax}
	info, err := os.Stat(path)
	switch {
	case errors.Is(err, os.ErrNotExist):
		return d, nil
	case err != nil:
		return nil, fmt.Errorf("dead letters: %w", err)
	case !info.Mode().IsRegular():
		return nil, fmt.Errorf("dead letters: %s is not a file", path)
	}
	return d, d.open()
}

// open opens the file for appending, behind the end of a line that an earlier run may have left torn.
func (d *DeadLetters) open() error {
	f, err := os.OpenFile(d.path, os.O_CREATE|os.O_RDWR|os.O_APPEND, 0o600)
	if err != nil {
		return fmt.Errorf("dead letters: %w", err)
	}
	size, err := f.Seek(0, io.SeekEnd)
	if err == nil && size > 0 {
		var last [1]byte
		if _, err = f.ReadAt(last[:], size-1); err == nil && last[0] != '\n' {
			_, err = f.Write([]byte("\n"))
			size++
		}
	}
	if err != nil {
		_ = f.Close()
		return fmt.Errorf("dead letters: %w", err)
	}
	d.file, d.bytes = f, size
	return nil
}

// Add appends a letter. encode, if set, yields the JSON of each event of the batch; it may fail half way, by panic too:
// what it had yielded is kept.
func (d *DeadLetters) Add(l Letter, encode func(yield func([]byte) bool)) error {
	d.mu.Lock()
	defer d.mu.Unlock()
	err := d.add(l, encode)
	if err != nil {
		d.lost++
	} else {
		d.written++
	}
	d.err = err
	return err
}

func (d *DeadLetters) add(l Letter, encode func(yield func([]byte) bool)) error {
	if d.file == nil {
		if err := d.open(); err != nil {
			return err
		}
	}
	l.Error, l.Stack = cut(l.Error, letterErrorBytesMax), cut(l.Stack, letterStackBytesMax)
	l.Batch = json.RawMessage("[]")
	bare, err := json.Marshal(l)
	if err != nil {
		return fmt.Errorf("dead letters: %w", err)
	}
	room := d.bytesMax - d.bytes - int64(len(bare)) - 200 // what else the line may come to hold: Missing, digits
	if room < 0 {
		return fmt.Errorf("%w: %s holds %d of %d bytes", ErrDeadLettersFull, d.path, d.bytes, d.bytesMax)
	}
	l.Batch, l.Written, l.Missing = encodeBatch(encode, room)
	if l.Missing == "" && l.Written < l.Events {
		l.Missing = "the encoder gave no more"
	}
	line, err := json.Marshal(l)
	if err != nil {
		return fmt.Errorf("dead letters: %w", err)
	}
	line = append(line, '\n')
	if _, err := d.file.Write(line); err != nil {
		_ = d.file.Truncate(d.bytes) // no half a line before the next one
		return fmt.Errorf("dead letters: %w", err)
	}
	d.bytes += int64(len(line))
	if err := d.file.Sync(); err != nil {
		return fmt.Errorf("dead letters: %w", err)
	}
	return nil
}

// encodeBatch makes the array of as many events as fit and can be encoded.
func encodeBatch(encode func(yield func([]byte) bool), room int64) (batch json.RawMessage, written int, missing string) {
	var text bytes.Buffer
	text.WriteByte('[')
	defer func() {
		if v := recover(); v != nil {
			missing = cut(fmt.Sprintf("the encoder panicked: %v", v), 100)
		}
		text.WriteByte(']')
		batch = text.Bytes()
	}()
	if encode == nil {
		return nil, 0, ""
	}
	encode(func(event []byte) bool {
		if !json.Valid(event) {
			event, _ = json.Marshal(string(event)) // a string can always be encoded
		}
		if int64(text.Len()+len(event)+2) > room {
			missing = "the file has no room for more"
			return false
		}
		if written > 0 {
			text.WriteByte(',')
		}
		text.Write(event)
		written++
		return true
	})
	return nil, written, missing
}

func cut(text string, bytesMax int) string {
	if len(text) <= bytesMax {
		return text
	}
	return fmt.Sprintf("%s… (%d bytes)", text[:bytesMax], len(text))
}

// DeadLettersStatus is what the file holds.
type DeadLettersStatus struct {
	Path     string `json:"path"`
	Bytes    int64  `json:"bytes"`
	BytesMax int64  `json:"bytes_max"`
	Written  uint64 `json:"written"` // letters of this run
	Lost     uint64 `json:"lost"`    // letters of this run that could not be written
	Error    string `json:"error,omitempty"`
}

// Status tells what the file holds, and whether the last letter could be written.
func (d *DeadLetters) Status() DeadLettersStatus {
	d.mu.Lock()
	defer d.mu.Unlock()
	s := DeadLettersStatus{Path: d.path, Bytes: d.bytes, BytesMax: d.bytesMax, Written: d.written, Lost: d.lost}
	if d.err != nil {
		s.Error = d.err.Error()
	}
	return s
}

// Close closes the file.
func (d *DeadLetters) Close() error {
	d.mu.Lock()
	defer d.mu.Unlock()
	if d.file == nil {
		return nil
	}
	err := d.file.Close()
	d.file = nil
	if err != nil {
		return fmt.Errorf("dead letters: %w", err)
	}
	return nil
}
