package store

import (
	"errors"
	"fmt"
	"io/fs"
	"os"
	"slices"
	"strings"

	"github.com/pastcone/pastcone/event"
	"github.com/pastcone/pastcone/internal/wire"
)

// Open opens the recording in a directory for writing, and makes both if there is none. A recording
// whose writer has died is brought back to what was durable:
//
//  1. Lock. Nobody else writes from here on.
//  2. Read the manifest; remove files that it does not list: they were being made, or removed.
//  3. Read the string table. What is not whole at its end is cut off.
//  4. Open the segments: sealed ones by their index, others by reading their blocks with all checksums. The
//     one that was being written ends behind its last whole block.
//  5. If blocks need more of the string table than is there, it is damaged: put marks in the place of what is lost, so
//     that its ids are not given out again.
//  6. Sync the string table, then close the segment that was being written.
//  7. Find the tails. What is closed is sealed in the background.
//
// Each step can be interrupted, and done again. Damage is logged, and does not keep the recording from being
// opened: what can be read is, and what is lost keeps its ids.
func Open(path string, o Options) (w *Writer, err error) {
	if err := o.fill(); err != nil {
		return nil, err
	}
	dir := o.fs
	if dir == nil {
		if dir, err = openDir(path); err != nil {
			return nil, err
		}
	}
	lock, err := dir.Lock(lockName, fmt.Sprintf(lockText, os.Getpid()))
	if err != nil {
		return nil, readOnlyError(dir.String(), err)
	}
	w = &Writer{
		o: o, dir: dir, lock: lock, table: wire.NewTable(o.TableBytesMax), byBlock: map[*wire.Block]*headBlock{},
		changed: make(chan struct{}), kick: make(chan struct{}, 1), committed: make(chan struct{}), tails: newTails(),
	}
	w.encoders.New = func() any { return newEncoder(w.table, o.Codec) }
	w.outputs.New = func() any { return new(encoded) }
	if err := w.recover(); err != nil {
		if w.view == nil {
			w.view = newView(nil, 1)
		}
		for _, j := range w.sealing.jobs {
			_ = j.seg.s.release()
		}
		return nil, errors.Join(readOnlyError(dir.String(), err), w.letGo())
	}
	w.sealing.start(w)
	go w.runCommitter()
	return w, nil
}

func (w *Writer) recover() error {
	m, err := readManifest(w.dir)
	if errors.Is(err, ErrNotFound) {
		return w.create()
	}
	if err != nil {
		return err
	}
	w.manifest, w.nextFile = m, m.NextFile
	if err := w.removeStrays(); err != nil {
		return err
	}
	r := &stringsReader{table: w.table}
	if err := w.recoverStrings(r); err != nil {
		return err
	}
	return w.recoverSegments(r)
}

// create makes a new recording, if there is no sign of an old one.
func (w *Writer) create() error {
	names, err := w.dir.Names()
	if err != nil {
		return err
	}
	for _, name := range names {
		if strings.HasPrefix(name, segmentPrefix) || strings.HasPrefix(name, stringsPrefix) {
			return &CorruptError{File: manifestName, Part: "manifest", Cause: fmt.Errorf("it is missing, and there is %s", name)}
		}
	}
	w.manifest = &manifest{Created: w.o.now().UTC(), FirstID: 1, NextID: 1, NextFile: 1}
	w.nextFile = 1
	w.next, w.durable = 1, 1
	w.view = newView(nil, 1)
	if err := w.updateManifest(func(*manifest) error { return nil }); err != nil {
		return err
	}
	w.strings.texts, w.strings.places = len(w.table.Texts()), len(w.table.Places())
	return w.openMark()
}

// removeStrays removes files of ours that are in no manifest. The manifest that does not list them may be one whose writer died
// before it was durable: that is made sure of first.
func (w *Writer) removeStrays() error {
	names, err := w.dir.Names()
	if err != nil {
		return err
	}
	names = slices.DeleteFunc(names, func(name string) bool { return !w.manifest.stray(name) })
	if len(names) == 0 {
		return nil
	}
	if err := w.dir.SyncDir(); err != nil {
		return err
	}
	for _, name := range names {
		if err := w.dir.Remove(name); err != nil {
			return err
		}
	}
	return nil
}

func (w *Writer) report(e *CorruptError) {
	w.o.Log.Error("the recording is damaged", "file", e.File, "offset", e.Offset, "block", e.Block, "part", e.Part, "cause", e.Cause)
}

// lost says, to who looks for a file that is not there, that nobody else can have removed it.
func lost() bool { return true }

func (w *Writer) recoverStrings(r *stringsReader) error {
	if err := r.read(w.dir, w.manifest.Strings, lost, w.report); err != nil {
		return fmt.Errorf("string table: %w", err)
	}
	w.strings.texts, w.strings.places = len(w.table.Texts()), len(w.table.Places())
	if n := len(w.manifest.Strings); n > 0 && !r.missing {
		f, err := w.dir.Open(w.manifest.Strings[n-1], true, false)
		if err != nil {
			return err
		}
		w.strings.f, w.strings.name, w.strings.off = f, w.manifest.Strings[n-1], r.off
	}
	return nil
}

// settleStrings brings the string table to what the blocks need, and makes it durable.
func (w *Writer) settleStrings(r *stringsReader, texts, places int) error {
	s := &w.strings
	if texts > s.texts || places > s.places {
		name := s.name
		if s.f == nil {
			name = manifestName
		}
		if err := r.pad(texts, places, name, w.report); err != nil {
			return err
		}
		s.texts, s.places = len(w.table.Texts()), len(w.table.Places())
		s.bad = true // what is behind its end may be of use to somebody: go on in another file
	}
	if s.f == nil {
		return nil
	}
	if !s.bad {
		if err := s.f.Truncate(s.off); err != nil {
			return err
		}
	}
	return s.f.Sync()
}

func (w *Writer) recoverSegments(r *stringsReader) error {
	known := readMark(w.dir)
	var segs []*loaded
	defer func() {
		if w.view == nil {
			for _, l := range segs {
				_ = l.s.release()
			}
		}
	}()
	texts, places := 0, 0
	for _, meta := range w.manifest.Segments {
		l, err := loadSegment(w.dir, meta, known, lost, w.report)
		if err != nil {
			return fmt.Errorf("%s: %w", meta.File, err)
		}
		segs = append(segs, l)
		texts, places = max(texts, l.texts), max(places, l.places)
	}
	if err := w.settleStrings(r, texts, places); err != nil {
		return err
	}
	end := w.manifest.NextID
	view := make([]viewSegment, 0, len(segs))
	for _, l := range segs {
		view = append(view, l.viewSegment)
		end = max(end, l.viewSegment.end)
	}
	w.tails = loadTails(view)
	if err := w.settleSegments(segs, view, end); err != nil {
		return err
	}
	kept := view[:0]
	for i, v := range view {
		if v.s == nil { // it had no blocks
			_ = segs[i].s.release()
			continue
		}
		kept = append(kept, v)
	}
	w.next, w.durable = end, end
	w.view = newView(kept, w.manifest.FirstID)
	return w.openMark()
}

// settleSegments closes the segment that was being written, and writes the manifest. What is closed is sealed in the background.
func (w *Writer) settleSegments(segs []*loaded, view []viewSegment, end event.ID) error {
	tails, count := w.tails.append(nil), len(w.tails.byStream)
	metas := make([]segmentMeta, 0, len(segs))
	var empty []string
	for i, l := range segs {
		meta := w.manifest.Segments[i]
		if meta.State == segmentOpen {
			if l.off == segmentHeadBytes {
				empty = append(empty, meta.File)
				view[i].s = nil
				continue
			}
			meta.State, meta.End, meta.Bytes, meta.Arrived = segmentClosed, l.next, l.off, l.arrived
			// Its writer may have died before the last blocks were durable; that it is closed says that they are.
			if err := w.syncFile(meta.File); err != nil {
				return err
			}
		}
		// The tails are those of the end of the recording, also in a segment before the last: whoever opens the
		// recording begins with the last, and goes on from any other by reading the blocks behind it.
		if meta.State == segmentClosed && !meta.Failed && l.s.f != nil {
			l.s.hold()
			w.sealing.jobs = append(w.sealing.jobs, sealJob{view[i], meta, tails, count})
		}
		metas = append(metas, meta)
	}
	err := w.updateManifest(func(m *manifest) error {
		m.Segments, m.NextID = metas, end
		return nil
	})
	if err != nil {
		return err
	}
	for _, name := range empty {
		if err := w.dir.Remove(name); err != nil && !errors.Is(err, fs.ErrNotExist) {
			return err
		}
	}
	return nil
}

func (w *Writer) syncFile(name string) error {
	f, err := w.dir.Open(name, true, false)
	if err != nil {
		return err
	}
	if err := errors.Join(f.Sync(), f.Close()); err != nil {
		return fmt.Errorf("%s: sync: %w", name, err)
	}
	return nil
}

// openMark opens the live file and writes the present end into it. The recording can do without.
func (w *Writer) openMark() error {
	f, err := w.dir.Open(liveName, true, false)
	if errors.Is(err, fs.ErrNotExist) {
		f, err = w.dir.Open(liveName, true, true)
	}
	if err != nil {
		return err
	}
	w.mark = f
	w.writeMark()
	return nil
}
