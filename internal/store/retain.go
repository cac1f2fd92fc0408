package store

// retain removes the oldest segments as far as the bounds say: while all together are larger than
// RetainBytesMax, and while the oldest's last event was accepted longer ago than RetainAgeMax. Only whole segments
// go, never the live one. What goes is counted, and its ids stay unused.
//
// The manifest comes first: a file that is in no manifest is not part of the recording. The file is
// removed when the last snapshot that has it is closed, or by the next Open.
func (w *Writer) retain() error {
	if w.o.RetainBytesMax == 0 && w.o.RetainAgeMax == 0 {
		return nil
	}
	w.mu.Lock()
	liveBytes := int64(0)
	if n := len(w.live.entries); n > 0 {
		liveBytes = w.live.entries[n-1].off + int64(w.live.entries[n-1].length)
	}
	visible := len(w.view.segs) // the committer adds to it, a moment after the manifest
	w.mu.Unlock()
	oldest := int64(-1 << 63)
	if w.o.RetainAgeMax > 0 {
		oldest = w.o.now().Add(-w.o.RetainAgeMax).UnixNano()
	}

	var gone []segmentMeta
	err := w.updateManifest(func(m *manifest) error {
		total := liveBytes
		for _, s := range m.Segments {
			total += s.Bytes
		}
		n := 0
		for _, s := range m.Segments {
			tooMuch := w.o.RetainBytesMax > 0 && total > w.o.RetainBytesMax
			if n == visible || s.State == segmentOpen || (!tooMuch && s.Arrived >= oldest) {
				break
			}
			total -= s.Bytes
			n++
			m.Removed.Segments++
			m.Removed.Events += uint64(s.End - s.Base)
			m.Removed.Bytes += uint64(s.Bytes) // #nosec G115 -- a size
			m.FirstID = s.End
			m.NextID = max(m.NextID, s.End)
		}
		if n == 0 {
			return errNothing
		}
		gone = append(gone, m.Segments[:n]...)
		m.Segments = m.Segments[n:]
		return nil
	})
	if err == errNothing { //nolint:errorlint // it comes from the function above as it is
		return nil
	}
	if err != nil {
		return err
	}
	w.mu.Lock()
	defer w.mu.Unlock()
	for i, m := range gone {
		name := m.File
		remove := func() { _ = w.dir.Remove(name) } // if it fails, the next Open does it
		w.view.segs[i].s.drop.Store(&remove)
		w.o.Log.Info("retention removed a segment", "segment", name, "first", m.Base, "end", m.End, "bytes", m.Bytes)
	}
	w.setView(w.view.without(len(gone)))
	return nil
}
