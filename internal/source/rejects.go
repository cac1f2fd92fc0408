package source

import (
	"bufio"
	"bytes"
	"encoding/json"
	"errors"
	"fmt"
	"io"
	"io/fs"
	"math"
	"os"
	"strconv"
	"strings"
	"sync"
	"unicode/utf8"

	"github.com/pastcone/pastcone/internal/wire"
)

// RejectedRawBytesMax bounds what is kept of one rejected input.
const RejectedRawBytesMax = 4096

// RejectsFile keeps what could not be used, for people to look at: one JSON object a line, with file,
// line, offset, reason and the input itself, cut to a bounded length. It only grows, up to its bound;
// what comes after that is counted, in one line for each source and reason of the ledger, written over in place.
//
// So the file has the count of every reject at every moment, also when the process is killed: see [CountRejects].
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
	over    map[rejectsOf]*overLine
	closed  bool
}

// rejectsOf names what is counted together.
type rejectsOf struct {
	source wire.SourceID
	as     string // the reason in the ledger
}

// overLine is the line that counts what had no room.
type overLine struct {
	offset int64
	n      int64
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
	Source wire.SourceID `json:"source,omitempty"`
	As     string        `json:"counted_as,omitempty"` // the reason in the ledger, if it is another
	File   string        `json:"file,omitempty"`
	Line   int           `json:"line,omitempty"`
	Offset int64         `json:"offset"`
	Reason string        `json:"reason"`
	Raw    string        `json:"raw,omitempty"`
	Bytes  []byte        `json:"bytes,omitempty"` // in place of raw, in base64, if it is no UTF-8
	Cut    bool          `json:"cut,omitempty"`   // raw is but the beginning
}

// Add keeps a reject of a source, or counts it if there is no room left. as is the reason under which the ledger has it. It fails
// if the file cannot be written.
func (f *RejectsFile) Add(src wire.SourceID, as string, r Rejected) error {
	raw := r.Raw
	if f.redact != nil {
		raw = f.redact(raw)
	}
	line := rejectLine{Source: src, As: as, File: r.File, Line: r.Line, Offset: r.Offset, Reason: r.Reason}
	if as == r.Reason {
		line.As = ""
	}
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
	if len(f.over) > 0 || f.bytes+int64(len(text))+1 > f.bytesMax {
		f.notKept++
		return f.countOver(rejectsOf{src, as})
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
	file, err := os.OpenFile(f.path, os.O_CREATE|os.O_RDWR, 0o600)
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
	f.over = map[rejectsOf]*overLine{}
	whole, err := eachReject(file, func(l *countedLine, offset int64, _ []byte) error {
		if l.NotKept > 0 {
			f.over[l.of()] = &overLine{offset, l.NotKept}
		}
		return nil
	})
	f.file, f.bytes = file, info.Size()
	if err == nil && !whole { // the last line was torn: the next begins a line of its own
		err = f.write(nil)
	}
	if err != nil {
		f.file = nil
		return errors.Join(fmt.Errorf("rejects file: %w", err), file.Close())
	}
	return nil
}

func (f *RejectsFile) write(text []byte) error {
	n, err := f.file.WriteAt(append(text, '\n'), f.bytes)
	f.bytes += int64(n)
	if err != nil {
		return fmt.Errorf("rejects file: %w", err)
	}
	return nil
}

// countOver counts a reject that is not kept.
func (f *RejectsFile) countOver(of rejectsOf) error {
	l := f.over[of]
	is := l != nil
	if !is {
		l = &overLine{offset: f.bytes}
		f.over[of] = l
	}
	l.n++
	text, err := json.Marshal(countedLine{
		NotKept: l.n, Reason: fmt.Sprintf("the rejects file has reached its bound of %d bytes", f.bytesMax), As: of.as, Source: of.source,
	})
	if err != nil {
		return fmt.Errorf("rejects file %s: %w", f.path, err)
	}
	// As long as the longest count makes it, so that the next fits in its place.
	text = append(text[:len(text)-1], strings.Repeat(" ", countDigitsMax-len(strconv.FormatInt(l.n, 10)))+"}"...)
	if !is {
		return f.write(text)
	}
	if _, err := f.file.WriteAt(text, l.offset); err != nil {
		return fmt.Errorf("rejects file: %w", err)
	}
	return nil
}

const countDigitsMax = 19

// countedLine is what counting needs of a line, and what there is of one that counts.
type countedLine struct {
	NotKept int64         `json:"not_kept,omitempty"`
	Reason  string        `json:"reason"`
	As      string        `json:"counted_as,omitempty"`
	Source  wire.SourceID `json:"source,omitempty"`
}

func (l *countedLine) of() rejectsOf {
	if l.As == "" {
		return rejectsOf{l.Source, l.Reason}
	}
	return rejectsOf{l.Source, l.As}
}

// eachReject gives every line of a rejects file with its offset, and whether the last is whole. What is no line of such a file is
// passed over: a crash can have torn one.
func eachReject(file io.ReaderAt, do func(l *countedLine, offset int64, text []byte) error) (whole bool, err error) {
	lines := bufio.NewReaderSize(io.NewSectionReader(file, 0, math.MaxInt64), 64<<10)
	whole = true
	for offset := int64(0); ; {
		text, err := lines.ReadBytes('\n') // each is bounded by what is kept of an input
		if len(text) > 0 {
			var l countedLine
			whole = text[len(text)-1] == '\n'
			if whole && json.Unmarshal(text, &l) == nil {
				if err := do(&l, offset, text); err != nil {
					return whole, err
				}
			}
			offset += int64(len(text))
		}
		if errors.Is(err, io.EOF) {
			return whole, nil
		}
		if err != nil {
			return whole, err
		}
	}
}

// CountRejects gives, for each source, how many rejects of which reason a rejects file has counted. A file that is not there has
// counted none.
func CountRejects(path string) (map[wire.SourceID]map[string]uint64, error) {
	all := map[wire.SourceID]map[string]uint64{}
	file, err := os.Open(path) // #nosec G304 -- a file of the recording
	if errors.Is(err, fs.ErrNotExist) {
		return all, nil
	}
	if err != nil {
		return nil, fmt.Errorf("rejects file: %w", err)
	}
	defer file.Close()
	_, err = eachReject(file, func(l *countedLine, _ int64, _ []byte) error {
		of := l.of()
		if all[of.source] == nil {
			all[of.source] = map[string]uint64{}
		}
		all[of.source][of.as] += uint64(max(1, l.NotKept)) // #nosec G115 -- positive
		return nil
	})
	if err != nil {
		return nil, fmt.Errorf("rejects file %s: %w", path, err)
	}
	return all, nil
}

// Forget takes the lines of a source out of the file: it will be read again, and reject them again.
func (f *RejectsFile) Forget(src wire.SourceID) error {
	f.mu.Lock()
	defer f.mu.Unlock()
	if f.closed {
		return fmt.Errorf("%s: %w", f.path, ErrRejectsClosed)
	}
	if _, err := os.Lstat(f.path); errors.Is(err, fs.ErrNotExist) {
		return nil
	}
	if err := f.open(); err != nil {
		return err
	}
	var rest bytes.Buffer // bounded as the file is
	_, err := eachReject(f.file, func(l *countedLine, _ int64, text []byte) error {
		if l.Source != src {
			rest.Write(text)
		}
		return nil
	})
	if err == nil && int64(rest.Len()) < f.bytes {
		err = replaceFile(f.path, rest.Bytes())
	}
	if err != nil {
		return fmt.Errorf("rejects file: %w", err)
	}
	err = f.file.Close()
	f.file = nil
	return err
}

// replaceFile gives a file another content, at once or not at all.
func replaceFile(path string, content []byte) error {
	fresh := path + ".new"
	if err := os.WriteFile(fresh, content, 0o600); err != nil {
		return errors.Join(err, os.Remove(fresh))
	}
	return os.Rename(fresh, path)
}

// Counts gives how many rejects were kept in the file, and how many had no room in it.
func (f *RejectsFile) Counts() (kept, notKept int64) {
	f.mu.Lock()
	defer f.mu.Unlock()
	return f.kept, f.notKept
}

// Close ends the file. To close it again does nothing.
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
	if err := f.file.Close(); err != nil {
		return fmt.Errorf("rejects file: %w", err)
	}
	return nil
}
