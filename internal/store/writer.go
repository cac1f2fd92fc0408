package store

import (
	"context"
	"errors"
	"fmt"
	"io"
	"log/slog"
	"os"
	"sync"
	"sync/atomic"
	"time"

	"github.com/pastcone/pastcone/event"
	"github.com/pastcone/pastcone/internal/wire"
)

// Options are the settings of a writer. The zero value of each is its default.
type Options struct {
	CommitInterval    time.Duration // between two commits while there is something to commit; 10 ms
	SegmentBytesMax   int64         // a segment is closed before it grows beyond; 256 MiB
	UndurableBytesMax int64         // blocks that are published and not durable, in memory; 64 MiB
	TableBytesMax     int64         // the string table in memory; 64 MiB
	RetainBytesMax    int64         // all segments together; 0: no bound
	RetainAgeMax      time.Duration // since a segment's last event was accepted; 0: no bound
	Codec             Codec         // how payloads are compressed; zstd
	NoCompression     bool          // with it, they are not
	Log               *slog.Logger  // damage found while opening, segments removed, disk full; nil: nowhere

	fs            fsys // in tests
	now           func() time.Time
	mergeSavedMin int // 0 is the default; negative: nothing is merged
}

func (o *Options) fill() error {
	setDefault(&o.CommitInterval, 10*time.Millisecond)
	setDefault(&o.SegmentBytesMax, 256<<20)
	setDefault(&o.UndurableBytesMax, 64<<20)
	setDefault(&o.TableBytesMax, 64<<20)
	setDefault(&o.Codec, CodecZstd)
	if o.NoCompression {
		o.Codec = CodecNone
	}
	if o.Log == nil {
		o.Log = slog.New(slog.DiscardHandler)
	}
	if o.now == nil {
		o.now = time.Now
	}
	for _, b := range [...]struct {
		name             string
		value, low, high int64
	}{
		{"CommitInterval", int64(o.CommitInterval), 0, int64(time.Hour)},
		{"SegmentBytesMax", o.SegmentBytesMax, 1 << 10, segmentBytesMost},
		{"UndurableBytesMax", o.UndurableBytesMax, 1, 1 << 40},
		{"TableBytesMax", o.TableBytesMax, 1 << 10, stringsBodyMax},
		{"RetainBytesMax", o.RetainBytesMax, 0, 1 << 62},
		{"RetainAgeMax", int64(o.RetainAgeMax), 0, 1 << 62},
		{"Codec", int64(o.Codec), 0, int64(codecEnd) - 1},
	} {
		if b.value < b.low || b.value > b.high {
			return fmt.Errorf("store: %s is %d, and has to be from %d to %d", b.name, b.value, b.low, b.high)
		}
	}
	return nil
}

func setDefault[T comparable](v *T, to T) {
	var zero T
	if *v == zero {
		*v = to
	}
}

// Writer is the one writer of a recording. Its methods are safe for concurrent use.
type Writer struct {
	o     Options
	dir   fsys
	lock  io.Closer
	table *wire.Table

	encoders sync.Pool // of *encoder
	outputs  sync.Pool // of *encoded

	// What readers see; see head.go.
	mu        sync.Mutex
	next      event.ID
	head      []*headBlock
	byBlock   map[*wire.Block]*headBlock
	headBytes int64
	view      *view
	live      viewSegment // the segment being written; without a segment before the first commit
	durable   event.ID
	changed   chan struct{} // closed and replaced when room, durable, full, failed or closing change
	full      error         // the disk is; nothing is accepted until there is room
	failed    error         // for good
	closing   bool
	onDurable []func(event.ID)

	// What is on disk; see commit.go. Only the committer uses it.
	liveFile    file
	liveOff     int64 // behind the last durable block
	liveWhole   int64 // behind the last whole block in the file, durable or not
	liveArrived int64
	liveLate    int
	liveBlocks  int
	liveMeta    segmentMeta
	liveBad     bool // a write or sync of it has failed: go on in another
	strings     stringsWriter
	mark        file // the live file
	kick        chan struct{}
	committed   chan struct{} // closed when the committer has ended

	tailsMu sync.Mutex
	tails   *tails

	// The manifest and the files that it lists.
	manifestMu sync.Mutex
	manifest   *manifest
	nextFile   uint64

	sealing sealer

	stats struct {
		blocks, events, bytes, commits, syncFailures, sealed, merged atomic.Uint64
	}
}

// Stats are counts since the writer was opened, and sizes now.
type Stats struct {
	Blocks, Events, Bytes uint64 // made durable
	Commits               uint64
	SyncFailures          uint64 // writes or syncs that failed, other than for want of space
	Sealed                uint64 // segments
	Merged                uint64 // small blocks that are part of others now
	Segments              int
	StoredBytes           int64 // of all segments
	UndurableBytes        int64 // published blocks in memory
	UndurableEvents       uint64
	Removed               Removed
	TailsEvicted          uint64 // streams of which the end is not known any more
	Full                  bool   // the disk is full: nothing is accepted
}

// Stats gives the present counts.
func (w *Writer) Stats() Stats {
	s := Stats{
		Blocks: w.stats.blocks.Load(), Events: w.stats.events.Load(), Bytes: w.stats.bytes.Load(), Commits: w.stats.commits.Load(),
		SyncFailures: w.stats.syncFailures.Load(), Sealed: w.stats.sealed.Load(), Merged: w.stats.merged.Load(),
	}
	w.tailsMu.Lock()
	s.TailsEvicted = w.tails.evicted
	w.tailsMu.Unlock()
	w.manifestMu.Lock()
	s.Removed, s.Segments = w.manifest.Removed, len(w.manifest.Segments)
	for _, m := range w.manifest.Segments {
		s.StoredBytes += m.Bytes
	}
	w.manifestMu.Unlock()
	w.mu.Lock()
	defer w.mu.Unlock()
	if n := len(w.live.entries); n > 0 {
		e := w.live.entries[n-1]
		s.StoredBytes += e.off + int64(e.length)
	}
	s.UndurableBytes, s.UndurableEvents, s.Full = w.headBytes, uint64(w.next-w.durable), w.full != nil
	return s
}

// Table gives the recording's string table. What is interned in it is durable before the first block
// that is published afterwards.
func (w *Writer) Table() *wire.Table { return w.table }

// NextID gives the id that the next published block has to begin with.
func (w *Writer) NextID() event.ID {
	w.mu.Lock()
	defer w.mu.Unlock()
	return w.next
}

// Tails gives the last event of each stream that has not ended, and of the 65,536 that have ended last: for
// these Exited is set. Of more than 524,288 streams, those that have been silent the longest are left out
// and counted in Stats. The order is not defined.
func (w *Writer) Tails(yield func(wire.Tail) bool) {
	w.tailsMu.Lock()
	defer w.tailsMu.Unlock()
	w.tails.all(yield)
}

// AddSource adds a source and gives its number; ID and Added of s are set here. The source is durable
// when this returns.
func (w *Writer) AddSource(s SourceInfo) (wire.SourceID, error) {
	s.Added = w.o.now().UTC()
	err := w.updateManifest(func(m *manifest) error {
		if len(m.Sources) >= SourcesMax {
			return fmt.Errorf("store: a recording has at most %d sources; begin a new one", SourcesMax)
		}
		s.ID = wire.SourceID(len(m.Sources) + 1) // #nosec G115 -- bounded by SourcesMax
		m.Sources = append(m.Sources, s)
		return nil
	})
	return s.ID, err
}

// UpdateSource replaces what is known of the source with that ID.
func (w *Writer) UpdateSource(s SourceInfo) error {
	return w.updateManifest(func(m *manifest) error {
		if s.ID == 0 || int(s.ID) > len(m.Sources) {
			return fmt.Errorf("store: there is no source %d", s.ID)
		}
		if s.Added.IsZero() {
			s.Added = m.Sources[s.ID-1].Added
		}
		m.Sources[s.ID-1] = s
		return nil
	})
}

// Sources gives the sources in the order of their numbers.
func (w *Writer) Sources() []SourceInfo {
	w.manifestMu.Lock()
	defer w.manifestMu.Unlock()
	return append([]SourceInfo(nil), w.manifest.Sources...)
}

// updateManifest replaces the manifest by a changed one. It is durable when this returns without an
// error; after an error, the change has not happened as far as this process goes.
func (w *Writer) updateManifest(change func(*manifest) error) error {
	w.manifestMu.Lock()
	defer w.manifestMu.Unlock()
	m := w.manifest.clone()
	if err := change(m); err != nil {
		return err
	}
	m.NextFile = w.nextFile
	if err := replaceManifest(w.dir, m); err != nil {
		return fmt.Errorf("%s: %s: %w", w.dir, manifestName, spaceError(err))
	}
	w.manifest = m
	return nil
}

// spaceError makes an error that says that the disk is full one that wraps ErrNoSpace.
func spaceError(err error) error {
	if isNoSpace(err) && !errors.Is(err, ErrNoSpace) {
		return fmt.Errorf("%w: free some, or set a bound on what is retained: %w", ErrNoSpace, err)
	}
	return err
}

// Durable gives one more than the largest id that would survive a crash.
func (w *Writer) Durable() event.ID {
	w.mu.Lock()
	defer w.mu.Unlock()
	return w.durable
}

// OnDurable registers a function that is called, by the committer, with the new end whenever Durable
// has moved. It must not block.
func (w *Writer) OnDurable(f func(end event.ID)) {
	w.mu.Lock()
	defer w.mu.Unlock()
	w.onDurable = append(w.onDurable, f)
}

// WaitDurable waits until the event is durable. It fails at once while the disk is full.
func (w *Writer) WaitDurable(ctx context.Context, id event.ID) error {
	for {
		w.mu.Lock()
		durable, full, failed, changed := w.durable, w.full, w.failed, w.changed
		w.mu.Unlock()
		switch {
		case durable > id:
			return nil
		case failed != nil:
			return failed
		case full != nil:
			return full
		}
		select {
		case <-changed:
		case <-w.committed:
			w.mu.Lock()
			durable, failed := w.durable, w.failed
			w.mu.Unlock()
			if durable > id {
				return nil
			}
			return errors.Join(fmt.Errorf("event %d: %w", id, ErrClosed), failed)
		case <-ctx.Done():
			return ctx.Err()
		}
	}
}

// broadcast wakes all who wait for a change. The caller holds w.mu.
func (w *Writer) broadcast() {
	close(w.changed)
	w.changed = make(chan struct{})
}

// Close writes what was published, seals the last segment and lets go of the recording. Every published
// block must have been given to Write before. Snapshots that are still open stay readable.
func (w *Writer) Close() error {
	w.mu.Lock()
	if w.closing {
		w.mu.Unlock()
		<-w.committed
		return nil
	}
	w.closing = true
	w.broadcast()
	w.mu.Unlock()
	w.wakeCommitter()
	<-w.committed

	w.mu.Lock()
	left, err := w.next-w.durable, w.failed
	if err == nil {
		err = w.full
	}
	w.mu.Unlock()
	if left > 0 {
		err = errors.Join(fmt.Errorf("%s: %d events from id %d on were not written", w.dir, left, w.durable), err)
	}
	err = errors.Join(err, w.finishLive(), w.sealing.stop())
	return errors.Join(err, w.letGo())
}

// letGo closes files and ends the lock.
func (w *Writer) letGo() error {
	w.mu.Lock()
	v, live := w.view, w.live
	w.view, w.live = newView(nil, v.first), viewSegment{}
	w.mu.Unlock()
	var err error
	if live.s != nil {
		err = live.s.release()
	}
	err = errors.Join(err, v.release())
	if w.strings.f != nil {
		err = errors.Join(err, w.strings.f.Close())
	}
	if w.mark != nil {
		err = errors.Join(err, w.mark.Close())
	}
	return errors.Join(err, w.lock.Close())
}

// openDir opens a directory of the operating system for writing.
func openDir(path string) (fsys, error) {
	if err := os.MkdirAll(path, 0o700); err != nil {
		return nil, readOnlyError(path, err)
	}
	return osDir{path}, nil
}

func readOnlyError(path string, err error) error {
	if isReadOnly(err) {
		return fmt.Errorf("%s: %w: %w; it can still be read", path, ErrReadOnly, err)
	}
	return fmt.Errorf("%s: %w", path, spaceError(err))
}
