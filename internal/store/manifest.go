package store

import (
	"bytes"
	"encoding/json"
	"errors"
	"fmt"
	"io/fs"
	"slices"
	"strings"
	"time"

	"github.com/pastcone/pastcone/event"
	"github.com/pastcone/pastcone/internal/wire"
)

const (
	manifestName     = "manifest"
	manifestNewName  = "manifest.new"
	lockName         = "lock"
	liveName         = "live"
	segmentPrefix    = "segment-"
	stringsPrefix    = "strings-"
	manifestBytesMax = 1 << 28
	manifestTitle    = "pastcone recording"
)

func segmentName(number uint64) string { return fmt.Sprintf("%s%08d", segmentPrefix, number) }
func stringsName(number uint64) string { return fmt.Sprintf("%s%08d", stringsPrefix, number) }

// manifest says what the recording consists of. It is replaced as a whole, atomically; what it does not
// list is not part of the recording. One line of text with version, length and checksum, then JSON:
// whoever wonders can read it. Layout: docs/format/manifest.md.
type manifest struct {
	Created  time.Time     `json:"created"`
	Number   uint64        `json:"number"` // how often it has been replaced
	FirstID  event.ID      `json:"first_id"`
	NextID   event.ID      `json:"next_id"` // at least; the open segment may go on from there
	NextFile uint64        `json:"next_file"`
	Strings  []string      `json:"strings"`
	Segments []segmentMeta `json:"segments"`
	Sources  []SourceInfo  `json:"sources,omitempty"`
	Removed  Removed       `json:"removed"`
}

// Removed counts what retention has removed.
type Removed struct {
	Segments uint64 `json:"segments"`
	Events   uint64 `json:"events"`
	Bytes    uint64 `json:"bytes"`
}

// segmentState says how far a segment has come.
type segmentState string

const (
	segmentOpen   segmentState = "open"   // being written: its end is found by reading it
	segmentClosed segmentState = "closed" // ends at Bytes, has no index
	segmentSealed segmentState = "sealed" // has an index behind its blocks
)

// segmentMeta is a segment's entry in the manifest.
type segmentMeta struct {
	File    string       `json:"file"`
	State   segmentState `json:"state"`
	Base    event.ID     `json:"base"`              // id of its first event
	End     event.ID     `json:"end,omitempty"`     // one more than its last; 0 while open
	Bytes   int64        `json:"bytes,omitempty"`   // header, blocks, and the index if sealed; 0 while open
	Arrived int64        `json:"arrived,omitempty"` // when its latest block's oldest event was accepted, ns
	Failed  bool         `json:"failed,omitempty"`  // a sync of the file has failed: it is never written again
}

// SourceInfo is what a recording keeps of one of its sources.
type SourceInfo struct {
	ID          wire.SourceID     `json:"id"`
	Name        string            `json:"name"`                  // as the user named it
	Format      string            `json:"format"`                // what it was read as
	Fingerprint string            `json:"fingerprint,omitempty"` // of its content: the same file twice has the same
	Added       time.Time         `json:"added"`
	Events      uint64            `json:"events"`   // accepted
	Rejected    uint64            `json:"rejected"` // and what could not be used
	Complete    bool              `json:"complete"` // read to its end
	Detail      map[string]string `json:"detail,omitempty"`
}

// SourcesMax is the most sources of a recording.
const SourcesMax = 1 << 16

// encodeManifest gives the file's bytes.
func encodeManifest(m *manifest) ([]byte, error) {
	body, err := json.MarshalIndent(m, "", " ")
	if err != nil {
		return nil, err
	}
	body = append(body, '\n')
	head := fmt.Sprintf("%s version=%d length=%d crc32c=%08x\n", manifestTitle, FormatVersion, len(body), checksum(body))
	return append([]byte(head), body...), nil
}

// decodeManifest reads the file's bytes, and checks all that later code relies on.
func decodeManifest(p []byte) (*manifest, error) {
	line, body, ok := bytes.Cut(p, []byte("\n"))
	head, isOurs := strings.CutPrefix(string(line), manifestTitle+" ")
	if !ok || !isOurs {
		return nil, corrupt("it does not begin with %q", manifestTitle)
	}
	var version, length int
	var sum uint32
	if n, err := fmt.Sscanf(head, "version=%d length=%d crc32c=%08x", &version, &length, &sum); n < 1 {
		return nil, corrupt("its first line: %v", err)
	} else if version != FormatVersion {
		return nil, fmt.Errorf("%w: %d; this program reads version %d", ErrVersion, version, FormatVersion)
	} else if n < 3 || length != len(body) {
		return nil, corrupt("%d bytes behind its first line, not %d", len(body), length)
	}
	if checksum(body) != sum {
		return nil, errChecksum
	}
	m := &manifest{}
	if err := json.Unmarshal(body, m); err != nil {
		return nil, corrupt("%v", err)
	}
	return m, m.check()
}

func (m *manifest) check() error {
	if m.FirstID == 0 || m.NextID < m.FirstID || len(m.Sources) > SourcesMax {
		return corrupt("ids from %d to %d", m.FirstID, m.NextID)
	}
	next := m.FirstID
	for i, s := range m.Segments {
		switch {
		case !strings.HasPrefix(s.File, segmentPrefix) || strings.ContainsAny(s.File, "/\\"):
			return corrupt("a segment named %q", s.File)
		case s.Base != next:
			return corrupt("%s begins with id %d, not %d", s.File, s.Base, next)
		case s.State == segmentOpen && i == len(m.Segments)-1:
		case (s.State == segmentSealed || s.State == segmentClosed) && s.End >= s.Base && s.Bytes > 0:
		default:
			return corrupt("%s is %q, from id %d to %d, of %d bytes", s.File, s.State, s.Base, s.End, s.Bytes)
		}
		next = s.End
	}
	for _, name := range m.Strings {
		if !strings.HasPrefix(name, stringsPrefix) || strings.ContainsAny(name, "/\\") {
			return corrupt("a string table named %q", name)
		}
	}
	for i, s := range m.Sources {
		if int(s.ID) != i+1 {
			return corrupt("source %d has the number %d", i+1, s.ID)
		}
	}
	return nil
}

// readManifest reads the directory's manifest. Without one, the error wraps ErrNotFound.
func readManifest(dir fsys) (*manifest, error) {
	p, err := readWhole(dir, manifestName, manifestBytesMax)
	if errors.Is(err, fs.ErrNotExist) {
		return nil, fmt.Errorf("%s: %w", dir, ErrNotFound)
	}
	if err != nil {
		return nil, fmt.Errorf("%s: %s: %w", dir, manifestName, err)
	}
	m, err := decodeManifest(p)
	if err != nil && !errors.Is(err, ErrVersion) {
		return nil, &CorruptError{File: manifestName, Part: "manifest", Cause: err}
	}
	return m, err
}

// replaceManifest writes a new manifest beside the old one and gives it its name.
//
// Invariant: at each moment the name leads to a whole manifest, the old or the new one. When this
// returns without an error, the new one survives a crash. After an error either may.
func replaceManifest(dir fsys, m *manifest) error {
	m.Number++
	p, err := encodeManifest(m)
	if err != nil {
		return err
	}
	if err := dir.Remove(manifestNewName); err != nil && !errors.Is(err, fs.ErrNotExist) {
		return err
	}
	f, err := dir.Open(manifestNewName, true, true)
	if err != nil {
		return err
	}
	_, err = f.WriteAt(p, 0)
	if err == nil {
		err = f.Sync()
	}
	if err = errors.Join(err, f.Close()); err != nil {
		_ = dir.Remove(manifestNewName)
		return err
	}
	if err := dir.Rename(manifestNewName, manifestName); err != nil {
		return err
	}
	return dir.SyncDir()
}

// stray says whether a file has a name of ours and is not listed: it was being made, or removed.
func (m *manifest) stray(name string) bool {
	listed := slices.Contains(m.Strings, name) || slices.ContainsFunc(m.Segments, func(s segmentMeta) bool { return s.File == name })
	return !listed && (strings.HasPrefix(name, segmentPrefix) || strings.HasPrefix(name, stringsPrefix) || name == manifestNewName)
}

// clone gives a copy that can be changed.
func (m *manifest) clone() *manifest {
	c := *m
	c.Strings = append([]string(nil), m.Strings...)
	c.Segments = append([]segmentMeta(nil), m.Segments...)
	c.Sources = append([]SourceInfo(nil), m.Sources...)
	return &c
}
