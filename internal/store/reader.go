package store

import (
	"errors"
	"fmt"
	"io/fs"
	"os"
	"sync"

	"github.com/pastcone/pastcone/event"
	"github.com/pastcone/pastcone/internal/wire"
)

// Reader reads a recording, also one that another process is writing: each snapshot has every block that is
// committed by then. It takes no lock, writes nothing, and never holds the writer up.
type Reader struct {
	dir   fsys
	table *wire.Table

	mu      sync.Mutex
	strings stringsReader
	texts   int // what the string table must hold
	places  int
	number  uint64 // of the manifest that is loaded
	metas   []segmentMeta
	sources []SourceInfo
	view    *view   // sealed and closed segments
	live    *loaded // the open one, if there is one
	end     event.ID
	durable event.ID
	damages []*CorruptError
	closed  bool
}

// readRetries is how often a reader begins again when a file of the manifest that it has read is gone:
// the writer has replaced the manifest in the meantime.
const readRetries = 8

// damagesMax bounds the damages that a reader keeps to tell.
const damagesMax = 1000

// OpenReader opens a recording for reading.
func OpenReader(path string) (*Reader, error) {
	if st, err := os.Stat(path); err != nil {
		if errors.Is(err, fs.ErrNotExist) {
			return nil, fmt.Errorf("%s: %w", path, ErrNotFound)
		}
		return nil, err
	} else if !st.IsDir() {
		return nil, fmt.Errorf("%s: %w: a recording is a directory", path, ErrNotFound)
	}
	return openReader(osDir{path})
}

func openReader(dir fsys) (*Reader, error) {
	r := &Reader{dir: dir, table: wire.NewTable(1 << 40), view: newView(nil, 1)}
	r.strings.table = r.table
	if err := r.refresh(); err != nil {
		return nil, errors.Join(err, r.Close())
	}
	return r, nil
}

// Table gives the texts, names and places of the recording, as far as they have been read.
func (r *Reader) Table() *wire.Table { return r.table }

// Sources gives the sources, as they were at the last snapshot.
func (r *Reader) Sources() []SourceInfo {
	r.mu.Lock()
	defer r.mu.Unlock()
	return append([]SourceInfo(nil), r.sources...)
}

// Damages gives what was found to be damaged so far, the first thousand. Reading alone does not find all: Verify does.
func (r *Reader) Damages() []*CorruptError {
	r.mu.Lock()
	defer r.mu.Unlock()
	return append([]*CorruptError(nil), r.damages...)
}

// Snapshot gives the recording as it is on disk now. If that can not be read, it is the recording as it
// was when it last could: what was there stays readable.
func (r *Reader) Snapshot() *Snapshot {
	s, _ := r.Fresh()
	return s
}

// Fresh is Snapshot, and says why the snapshot is not of now if it is not.
func (r *Reader) Fresh() (*Snapshot, error) {
	r.mu.Lock()
	defer r.mu.Unlock()
	err := r.refresh()
	s := &Snapshot{table: r.table, view: r.view.hold(), end: r.end, durable: r.durable}
	if r.live != nil {
		s.live = r.live.viewSegment
		s.live.s.hold()
	}
	return s, err
}

// Close lets go of the recording. Snapshots that are still open stay readable.
func (r *Reader) Close() error {
	r.mu.Lock()
	defer r.mu.Unlock()
	if r.closed {
		return nil
	}
	r.closed = true
	err := r.view.release()
	r.view = newView(nil, 1)
	if r.live != nil {
		err = errors.Join(err, r.live.s.release())
		r.live = nil
	}
	return err
}

func (r *Reader) report(e *CorruptError) {
	if len(r.damages) < damagesMax {
		r.damages = append(r.damages, e)
	}
}

// refresh reads what has come since the last time: the manifest if it has changed, the blocks at the
// end of the open segment, and then the string table, which has what they use: it was written before
// them.
func (r *Reader) refresh() error {
	if r.closed {
		return ErrClosed
	}
	var err error
	for range readRetries {
		var m *manifest
		if m, err = readManifest(r.dir); err != nil {
			return err
		}
		if m.Number != r.number {
			err = r.load(m)
		}
		if err == nil {
			err = r.readLive()
		}
		if err == nil {
			if err = r.readStrings(m); err == nil {
				return nil
			}
		}
		if !errors.Is(err, fs.ErrNotExist) {
			return err
		}
		r.number = 0
	}
	return err
}

// readStrings reads what has come to the string table. What blocks need and is not there is lost: it was durable before them.
func (r *Reader) readStrings(m *manifest) error {
	gone := func() bool {
		now, err := readManifest(r.dir)
		return err == nil && now.Number == m.Number
	}
	if err := r.strings.read(r.dir, m.Strings, gone, r.report); err != nil {
		return err
	}
	name := manifestName
	if n := len(m.Strings); n > 0 {
		name = m.Strings[n-1]
	}
	return r.strings.pad(r.texts, r.places, name, r.report)
}

// need notes what the blocks of a segment need of the string table.
func (r *Reader) need(l *loaded) { r.texts, r.places = max(r.texts, l.texts), max(r.places, l.places) }

// load makes the segments those of the manifest. Those that have not changed are kept.
func (r *Reader) load(m *manifest) error {
	var segs []viewSegment
	var live *loaded
	release := func() {
		for _, s := range segs {
			_ = s.s.release()
		}
	}
	gone := func() bool {
		now, err := readManifest(r.dir)
		return err == nil && now.Number == m.Number
	}
	for _, meta := range m.Segments {
		if meta.State == segmentOpen {
			if r.live != nil && r.live.s.name == meta.File {
				live = r.live
				continue
			}
			l, err := loadSegment(r.dir, meta, 0, gone, r.report)
			if err != nil {
				release()
				return err
			}
			live = l
			continue
		}
		if old := r.known(meta); old != nil {
			old.s.hold()
			segs = append(segs, *old)
			continue
		}
		l, err := loadSegment(r.dir, meta, 0, gone, r.report)
		if err != nil {
			release()
			return err
		}
		r.need(l)
		l.tails = nil
		segs = append(segs, l.viewSegment)
	}
	if r.live != nil && r.live != live {
		_ = r.live.s.release()
	}
	_ = r.view.release()
	r.view, r.live = newView(segs, m.FirstID), live
	r.metas, r.sources, r.number = m.Segments, m.Sources, m.Number
	r.end, r.durable = m.NextID, m.NextID
	if n := len(segs); n > 0 {
		r.end = max(r.end, segs[n-1].end)
		r.durable = max(r.durable, segs[n-1].end) // what is closed is durable
	}
	return nil
}

// known finds a segment that is loaded already, in the state that the manifest says.
func (r *Reader) known(meta segmentMeta) *viewSegment {
	for i := range r.view.segs {
		if s := &r.view.segs[i]; s.s.name == meta.File && s.end == meta.End && s.sealed == (meta.State == segmentSealed) {
			return s
		}
	}
	return nil
}

// readLive reads on in the open segment.
func (r *Reader) readLive() error {
	if r.live == nil {
		return nil
	}
	l := r.live
	size, err := l.s.f.Size()
	if err != nil {
		return err
	}
	mark := readMark(r.dir)
	err = l.s.guard(&blockEntry{}, func() error {
		return l.readBlocks(size, 0, 0, segmentMeta{File: l.s.name, State: segmentOpen, Base: l.base}, r.report)
	})
	if err != nil {
		return err
	}
	r.need(l)
	r.end = max(r.end, l.next)
	r.durable = max(r.durable, min(mark, r.end))
	return nil
}
