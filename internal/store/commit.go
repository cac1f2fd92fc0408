package store

import (
	"encoding/binary"
	"errors"
	"fmt"
	"io"
	"time"

	"github.com/pastcone/pastcone/event"
)

// The committer is one goroutine that makes encoded blocks durable, in groups:
//
//  1. Take the encoded blocks from the front of the head. If the last commit began less than an interval
//     ago, wait that long first: so many blocks share one sync.
//  2. If the string table has grown, append what is new, and sync it.
//  3. Write the blocks behind each other at the end of the live segment; sync it.
//  4. Move the blocks from the head to the segment's list, and Durable behind them; tell who waits.
//
// Invariants: Durable moves only behind a sync that succeeded, of everything below it. Texts are durable before a block
// that uses them is written. A segment is in the manifest before a block in it is durable.
//
// What fails:
//   - No space. What was written behind the last durable block is cut off again. Publish and
//     WaitDurable say ErrNoSpace; the committer tries again five times a second, and goes on where it was.
//   - Any other failure of a write or a sync. What a file holds after a failed sync nobody knows, also
//     when the next sync succeeds: so it is never synced again. The segment ends behind its last
//     durable block, a new one is begun, and the blocks, which are still held, are written there.
//   - After three such failures in a row, the writer refuses everything with ErrFailed.

const (
	noSpaceRetry     = 200 * time.Millisecond
	failuresMax      = 3
	markMagic        = 0x56494c50 // "PLIV"
	markBytes        = 20
	stringsRecordMax = 1 << 24
)

func (w *Writer) wakeCommitter() {
	select {
	case w.kick <- struct{}{}:
	default:
	}
}

func (w *Writer) runCommitter() {
	defer close(w.committed)
	var last time.Time
	for {
		group, closing := w.takeGroup()
		if len(group) == 0 {
			if closing {
				return
			}
			<-w.kick
			continue
		}
		if wait := w.o.CommitInterval - time.Since(last); wait > 0 && !closing {
			w.pause(wait)
			group, _ = w.takeGroup()
		}
		last = time.Now()
		if err := w.commit(group); err != nil {
			return
		}
	}
}

// pause waits, but not when the writer is being closed.
func (w *Writer) pause(d time.Duration) (closing bool) {
	t := time.NewTimer(d)
	defer t.Stop()
	for {
		w.mu.Lock()
		closing, changed := w.closing, w.changed
		w.mu.Unlock()
		if closing {
			return true
		}
		select {
		case <-t.C:
			return false
		case <-changed:
		}
	}
}

// commit makes the group durable, however often it has to try. An error means that it could not, and that
// the committer ends.
func (w *Writer) commit(group []*headBlock) error {
	failures := 0
	for len(group) > 0 {
		n, err := w.commitSome(group)
		if n > 0 {
			group, failures = group[n:], 0
		}
		switch {
		case err == nil:
		case isNoSpace(err):
			if w.full == nil { // only the committer changes it
				w.o.Log.Error("the disk is full; nothing is recorded until there is room", "error", err)
			}
			w.setFull(fmt.Errorf("%s: %w", w.dir, spaceError(err)))
			w.cutLive()
			if w.pause(noSpaceRetry) {
				return err
			}
		default:
			w.stats.syncFailures.Add(1)
			w.o.Log.Error("writing failed; what is not durable is written again, to another file", "error", err)
			if failures++; failures >= failuresMax {
				w.setFailed(fmt.Errorf("%w: %s: %d failures in a row, the last: %w", ErrFailed, w.dir, failures, err))
				return err
			}
		}
	}
	return nil
}

func (w *Writer) setFull(err error) {
	w.mu.Lock()
	defer w.mu.Unlock()
	w.full = err
	w.broadcast()
}

func (w *Writer) setFailed(err error) {
	w.mu.Lock()
	defer w.mu.Unlock()
	w.failed = err
	w.broadcast()
}

// cutLive takes back the block that did not fit. Whole blocks before it stay, also those that are not durable: a
// reader of another process may have them, and they will be written again as they are. It does not
// matter if it fails.
func (w *Writer) cutLive() {
	if w.liveFile != nil {
		_ = w.liveFile.Truncate(w.liveWhole)
	}
}

// commitSome makes as many blocks of the group durable as the live segment has room for, at least
// one.
func (w *Writer) commitSome(group []*headBlock) (n int, err error) {
	if err := w.strings.commit(w); err != nil {
		return 0, err
	}
	if w.liveFile == nil || w.liveBad || !w.fits(w.liveOff, w.liveLate, w.liveBlocks, group[0]) {
		if err := w.rotate(); err != nil {
			return 0, err
		}
	}
	off, late, arrived := w.liveOff, w.liveLate, w.liveArrived
	var entries []*blockEntry
	for n < len(group) && (n == 0 || w.fits(off, late, w.liveBlocks+n, group[n])) {
		e := group[n].enc
		setDurable(e.raw, w.durable)
		if err := writeAll(w.liveFile, e.raw, off); err != nil {
			w.liveBad = !isNoSpace(err)
			return 0, fmt.Errorf("%s: offset %d: %w", w.liveMeta.File, off, err)
		}
		entry := newBlockEntry(&e.h, off)
		entry.checked.Store(1<<chunkEnd - 1) // made from memory a moment ago
		entries = append(entries, entry)
		off += int64(len(e.raw))
		late += e.h.late
		arrived = max(arrived, e.h.arrived)
		n++
		w.liveWhole = max(w.liveWhole, off)
	}
	if err := w.liveFile.Sync(); err != nil {
		w.liveBad = true
		return 0, fmt.Errorf("%s: sync: %w", w.liveMeta.File, err)
	}
	w.stats.commits.Add(1)
	w.stats.blocks.Add(uint64(n))              // #nosec G115 -- a count
	w.stats.bytes.Add(uint64(off - w.liveOff)) // #nosec G115 -- it only grows
	w.stats.events.Add(uint64(group[n-1].end() - group[0].b.Base))
	w.liveOff, w.liveLate, w.liveArrived, w.liveBlocks = off, late, arrived, w.liveBlocks+n
	w.moveToSegment(group[:n], entries)
	w.writeMark()
	return n, nil
}

// fits says whether a block can go behind what the live segment holds.
func (w *Writer) fits(off int64, late, blocks int, h *headBlock) bool {
	if off == segmentHeadBytes {
		return true
	}
	return off+int64(len(h.enc.raw)) <= w.o.SegmentBytesMax && late+h.enc.h.late <= segmentLateMax && blocks < segmentBlocksMax
}

func writeAll(f io.WriterAt, p []byte, off int64) error {
	n, err := f.WriteAt(p, off)
	if err == nil && n < len(p) {
		err = io.ErrShortWrite
	}
	return err
}

// writeMark tells readers of other processes, and a writer that opens the recording after a crash, up to
// where everything is durable. It is not synced, so it may lag, and never runs ahead.
func (w *Writer) writeMark() {
	if w.mark != nil {
		_ = writeAll(w.mark, encodeMark(w.durable), 0)
	}
}

func encodeMark(durable event.ID) []byte {
	le := binary.LittleEndian
	p := make([]byte, 0, markBytes)
	p = le.AppendUint32(p, markMagic)
	p = le.AppendUint32(p, FormatVersion)
	p = le.AppendUint64(p, uint64(durable))
	return le.AppendUint32(p, checksum(p))
}

// readMark reads the live file; without a right one it gives 0.
func readMark(dir fsys) event.ID {
	p, err := readWhole(dir, liveName, 1<<10)
	le := binary.LittleEndian
	if err != nil || len(p) != markBytes || le.Uint32(p) != markMagic || le.Uint32(p[16:]) != checksum(p[:16]) {
		return 0
	}
	return event.ID(le.Uint64(p[8:]))
}

// rotate closes the live segment, if there is one, and begins the next. The new one is in the
// manifest, durably, when this returns without an error.
func (w *Writer) rotate() error {
	number := w.newFileNumber()
	meta := segmentMeta{File: segmentName(number), State: segmentOpen, Base: w.durable}
	f, err := w.createFile(meta.File, segmentHead(meta.Base))
	if err != nil {
		return err
	}
	old := w.closedLive()
	err = w.updateManifest(func(m *manifest) error {
		w.replaceLast(m, old)
		m.Segments = append(m.Segments, meta)
		m.NextID = w.durable
		return nil
	})
	if err != nil {
		// The manifest on disk may be the new one all the same: the file stays. If it is not listed, the next Open
		// removes it.
		_ = f.Close()
		return err
	}
	s, err := newSegment(f, meta.File, liveMapBytes)
	if err != nil {
		return err
	}
	w.retireLive(old)
	w.mu.Lock()
	w.live = viewSegment{s: s, base: meta.Base, end: meta.Base}
	w.mu.Unlock()
	w.liveFile, w.liveMeta, w.liveOff, w.liveWhole = f, meta, segmentHeadBytes, segmentHeadBytes
	w.liveLate, w.liveArrived, w.liveBlocks, w.liveBad = 0, 0, 0, false
	return nil
}

func (w *Writer) newFileNumber() uint64 {
	w.manifestMu.Lock()
	defer w.manifestMu.Unlock()
	w.nextFile++
	return w.nextFile - 1
}

// createFile makes a file that begins with these bytes, durably.
func (w *Writer) createFile(name string, head []byte) (file, error) {
	f, err := w.dir.Open(name, true, true)
	if err != nil {
		return nil, err
	}
	if len(head) > 0 {
		err = writeAll(f, head, 0)
	}
	if err == nil {
		err = f.Sync()
	}
	if err == nil {
		err = w.dir.SyncDir()
	}
	if err != nil {
		_ = f.Close()
		_ = w.dir.Remove(name) // it is in no manifest
		return nil, fmt.Errorf("%s: %w", name, err)
	}
	return f, nil
}

// closedLive gives the entry of the live segment as it will be when it is closed; without a file
// name if there is none.
func (w *Writer) closedLive() segmentMeta {
	m := w.liveMeta
	if w.liveFile == nil {
		return segmentMeta{}
	}
	m.State, m.End, m.Bytes, m.Arrived, m.Failed = segmentClosed, w.durable, w.liveOff, w.liveArrived, w.liveBad
	return m
}

// replaceLast puts the entry in the place of the open one, or takes that away if it has no blocks.
func (w *Writer) replaceLast(m *manifest, closed segmentMeta) {
	n := len(m.Segments)
	if closed.File == "" || n == 0 || m.Segments[n-1].File != closed.File {
		return
	}
	if closed.Bytes > segmentHeadBytes {
		m.Segments[n-1] = closed
	} else {
		m.Segments = m.Segments[:n-1]
	}
}

// retireLive moves the live segment to the list of those that do not change, and has it sealed. The
// manifest has it as closed already.
func (w *Writer) retireLive(closed segmentMeta) {
	if closed.File == "" {
		return
	}
	w.mu.Lock()
	live := w.live
	w.live = viewSegment{}
	if closed.Bytes > segmentHeadBytes {
		live.s.hold() // for the view; ours goes to the sealer
		w.setView(w.view.with(live))
	}
	w.mu.Unlock()
	w.liveFile = nil
	if closed.Bytes <= segmentHeadBytes {
		name := closed.File
		remove := func() { _ = w.dir.Remove(name) }
		live.s.drop.Store(&remove)
		_ = live.s.release()
		return
	}
	if closed.Failed {
		_ = live.s.release()
		return
	}
	w.tailsMu.Lock()
	tails, count := w.tails.append(nil), len(w.tails.byStream)
	w.tailsMu.Unlock()
	w.sealing.add(sealJob{live, closed, tails, count})
}

// finishLive closes the live segment for good.
func (w *Writer) finishLive() error {
	old := w.closedLive()
	err := w.updateManifest(func(m *manifest) error {
		w.replaceLast(m, old)
		m.NextID = w.durable
		return nil
	})
	if err != nil {
		return err
	}
	w.retireLive(old)
	return nil
}

// stringsWriter appends to the string table's file.
type stringsWriter struct {
	f             file
	name          string
	off           int64
	texts, places int // how many are durable
	bad           bool
	buf           []byte
}

// commit makes durable what the table has more than the file. The committer calls it before the blocks of
// a group are written; they were published before, so everything they use is in the table by now.
func (s *stringsWriter) commit(w *Writer) error {
	places := w.table.Places() // before the texts: so what these name is among them
	texts := w.table.Texts()
	if len(texts) == s.texts && len(places) == s.places {
		return nil
	}
	if s.f == nil || s.bad {
		if err := s.create(w); err != nil {
			return err
		}
	}
	for len(texts) > s.texts || len(places) > s.places {
		t, p := s.texts, s.places
		for size := 0; t < len(texts) && size < stringsRecordMax; t++ {
			size += len(texts[t])
		}
		if t == len(texts) { // places name texts, so they come behind them
			p = len(places)
		}
		s.buf = appendStrings(s.buf[:0], texts[:t], s.texts, places[:p], s.places)
		if err := writeAll(s.f, s.buf, s.off); err != nil {
			s.bad = !isNoSpace(err)
			return fmt.Errorf("%s: offset %d: %w", s.name, s.off, err)
		}
		if err := s.f.Sync(); err != nil {
			s.bad = true
			return fmt.Errorf("%s: sync: %w", s.name, err)
		}
		s.off += int64(len(s.buf))
		s.texts, s.places = t, p
	}
	return nil
}

// create begins a new file, and puts it in the manifest.
func (s *stringsWriter) create(w *Writer) error {
	name := stringsName(w.newFileNumber())
	f, err := w.createFile(name, nil)
	if err != nil {
		return err
	}
	err = w.updateManifest(func(m *manifest) error {
		m.Strings = append(m.Strings, name)
		return nil
	})
	if err != nil {
		return errors.Join(err, f.Close())
	}
	if s.f != nil {
		_ = s.f.Close()
	}
	s.f, s.name, s.off, s.bad = f, name, 0, false
	return nil
}
