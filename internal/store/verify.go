package store

import (
	"context"
	"fmt"
	"slices"

	"github.com/pastcone/pastcone/event"
	"github.com/pastcone/pastcone/internal/wire"
)

// Report is what Verify has found.
type Report struct {
	First     event.ID        `json:"first"` // the ids that were checked, without End
	End       event.ID        `json:"end"`
	Segments  int             `json:"segments"`
	Blocks    int             `json:"blocks"`
	Events    uint64          `json:"events"`
	Edges     uint64          `json:"edges"` // further edges
	LateEdges uint64          `json:"late_edges"`
	Bytes     int64           `json:"bytes"`
	Problems  []*CorruptError `json:"problems"`        // the first thousand
	Found     int             `json:"found"`           // of all problems
	Notes     []string        `json:"notes,omitempty"` // what is no problem, and good to know
}

// OK says that nothing is wrong.
func (r *Report) OK() bool { return r.Found == 0 }

// Progress is how far Verify has come.
type Progress struct {
	Bytes, BytesAll int64
	Events          uint64
	Found           int // problems
}

// Verify checks every checksum and every invariant of a recording:
//
//   - the manifest, the string table, the headers of segments, and the indexes: whole, and of one mind;
//   - every block: its checksums; that ids are dense; that its entry and its filter agree with its
//     rows;
//   - every event: names, places and sources that exist; kinds and confidences that exist; causes that are earlier
//     than their effects; missing causes marked as such; the correlation and position of its parent, or
//     its own if it founded one;
//   - late edges: between events of the recording, and in the index as in the blocks; tails: of events that are there;
//   - the live file: whole, and not ahead of the recording; the lock: that a writer has written it.
//
// A part of the string table that is lost is one problem, which says how many events are concerned.
//
// It takes no lock and can be used on a recording that is being written: it checks what was committed
// when it began. progress is called now and then; it may be nil. The error says that it could not go on, not that something
// is wrong: that is in the report.
func Verify(ctx context.Context, path string, progress func(Progress)) (Report, error) {
	r, err := OpenReader(path)
	if err != nil {
		return verifyUnreadable(err)
	}
	return verify(ctx, r, progress)
}

// verifyUnreadable makes a recording that can not be opened for damage a report.
func verifyUnreadable(err error) (Report, error) {
	for e := err; e != nil; {
		if c, ok := e.(*CorruptError); ok { //nolint:errorlint // each layer is looked at
			return Report{Problems: []*CorruptError{c}, Found: 1}, nil
		}
		switch u := e.(type) { //nolint:errorlint // each layer is looked at
		case interface{ Unwrap() error }:
			e = u.Unwrap()
		case interface{ Unwrap() []error }:
			e = u.Unwrap()[0]
		default:
			e = nil
		}
	}
	return Report{}, err
}

func verify(ctx context.Context, r *Reader, progress func(Progress)) (Report, error) {
	defer func() { _ = r.Close() }()
	durable, markErr := checkMark(r.dir) // before the blocks: a live one moves on behind them
	s, err := r.Fresh()
	if err != nil {
		_ = s.Close()
		return verifyUnreadable(err)
	}
	defer func() { _ = s.Close() }()
	v := &verifier{s: s, told: progress, recent: map[event.ID]*lineage{}}
	v.report.First, v.report.End = s.Range()
	for _, d := range r.Damages() {
		v.problem(d)
	}
	v.lost = newLostNames(r.strings.lost)
	held := v.lock(r.dir)
	v.live(durable, markErr, held)
	for seg := range s.segments {
		v.all.BytesAll += v.sizeOf(seg)
	}
	next := v.report.First
	for seg := range s.segments {
		v.report.Segments++
		if err := v.segment(ctx, seg, &next); err != nil {
			return v.report, err
		}
	}
	// Sources are added before their events: what is known now has all of them.
	if m, err := readManifest(r.dir); err == nil {
		if int(v.maxSource) > len(m.Sources) {
			v.problem(&CorruptError{File: manifestName, Part: "sources", Cause: fmt.Errorf("there are events of source %d, and %d sources", v.maxSource, len(m.Sources))})
		}
		if !held {
			v.strays(r.dir, m)
		}
	}
	if v.told != nil {
		v.told(v.all)
	}
	return v.report, nil
}

type verifier struct {
	s         *Snapshot
	report    Report
	all       Progress
	told      func(Progress)
	lost      *lostNames // nil if nothing is
	maxSource wire.SourceID
	c         wire.Columns
	recent    map[event.ID]*lineage // by the block's first id
	clock     int
}

// lineage is of a block's rows what its children are checked against.
type lineage struct {
	correlation []event.ID
	position    []uint32
	used        int
}

// lineagesMax bounds the memory for lineages: some 100 KB each.
const lineagesMax = 256

func (v *verifier) problem(e *CorruptError) {
	v.report.Found++
	v.all.Found++
	if len(v.report.Problems) < damagesMax {
		v.report.Problems = append(v.report.Problems, e)
	}
}

func (v *verifier) sizeOf(seg *viewSegment) int64 {
	if n := len(seg.entries); n > 0 {
		return seg.entries[n-1].off + int64(seg.entries[n-1].length)
	}
	return segmentHeadBytes
}

func (v *verifier) segment(ctx context.Context, seg *viewSegment, next *event.ID) error {
	if seg.s.f == nil {
		*next = seg.end
		return nil // its file is gone, and that was reported
	}
	if seg.sealed {
		if err := seg.s.guard(&blockEntry{}, func() error { return checkSegmentHead(seg.s.m.Bytes(0, segmentHeadBytes), seg.base) }); err != nil {
			v.problem(&CorruptError{File: seg.s.name, Part: "header", Cause: err})
		}
	}
	var late []wire.LateEdge
	for _, e := range seg.entries {
		if err := ctx.Err(); err != nil {
			return err
		}
		if e.base != *next {
			v.problem(seg.s.corrupt(e, fmt.Errorf("it begins with id %d, not %d", e.base, *next)))
		}
		*next = e.end()
		if !e.lost { // that was reported when the segment was opened
			late = append(late, v.block(seg, e)...)
		}
		v.report.Blocks++
		v.report.Events += uint64(e.rows) // #nosec G115 -- a count
		v.report.Bytes += int64(e.length)
		v.all.Bytes, v.all.Events = v.all.Bytes+int64(e.length), v.report.Events
		if v.told != nil {
			v.told(v.all)
		}
	}
	v.report.LateEdges += uint64(len(late))
	if seg.sealed {
		v.index(seg, late)
	}
	return nil
}

// block checks one block, and gives its late edges.
func (v *verifier) block(seg *viewSegment, e *blockEntry) (late []wire.LateEdge) {
	var b blockView
	err := seg.s.guard(e, func() error {
		if err := seg.s.open(e, &b); err != nil {
			return err
		}
		if err := b.checkAll(); err != nil {
			return seg.s.corrupt(e, err)
		}
		b.checked = nil
		var err error
		if err = b.columns(0, e.rows, wire.ColAll, &v.c); err == nil {
			late, err = b.lateEdges()
		}
		if err != nil {
			return seg.s.corrupt(e, err)
		}
		return nil
	})
	if err != nil {
		if c, ok := err.(*CorruptError); ok { //nolint:errorlint // made above
			v.problem(c)
		} else {
			v.problem(seg.s.corrupt(e, err))
		}
		return nil
	}
	v.remember(e.base, &v.c)
	report := func(part string, format string, args ...any) {
		v.problem(&CorruptError{File: seg.s.name, Block: e.base, Offset: e.off, Part: part, Cause: fmt.Errorf(format, args...)})
	}
	v.entry(e, &b.h, report)
	for i := range v.c.Len {
		v.uses(i)
		if err := v.row(i); err != nil {
			report("event", "event %d: %w", e.base+event.ID(i), err) // #nosec G115 -- an index
		}
	}
	if err := seg.s.guard(e, func() error { return v.filter(seg.s, e) }); err != nil {
		report(chunkNames[chunkFilter], "%w", err)
	}
	for _, l := range late {
		if err := v.lateEdge(l); err != nil {
			report(chunkNames[chunkLate], "%w", err)
		}
	}
	return late
}

// entry checks what pruning relies on.
func (v *verifier) entry(e *blockEntry, h *blockHeader, report func(string, string, ...any)) {
	fresh := newBlockEntry(h, e.off)
	var kinds uint32
	for _, k := range v.c.Kind {
		kinds |= 1 << (k & 31)
	}
	if len(v.c.Time) > 0 {
		fresh.timeMin, fresh.timeMax = slices.Min(v.c.Time), slices.Max(v.c.Time)
	}
	if e.timeMin != fresh.timeMin || e.timeMax != fresh.timeMax || e.kinds != kinds || e.late != fresh.late ||
		e.filterOff != fresh.filterOff || e.filterLen != fresh.filterLen || e.filterCRC != fresh.filterCRC {
		report("index", "the entry does not say what the block holds: time %d to %d, not %d to %d; kinds %b, not %b; %d late edges, not %d",
			e.timeMin, e.timeMax, fresh.timeMin, fresh.timeMax, e.kinds, kinds, e.late, fresh.late)
	}
	if h.texts > len(v.s.table.Texts()) || h.places > len(v.s.table.Places()) {
		report("string table", "the block needs %d texts and %d places, there are %d and %d",
			h.texts, h.places, len(v.s.table.Texts()), len(v.s.table.Places()))
	}
}

func (v *verifier) remember(base event.ID, c *wire.Columns) *lineage {
	if len(v.recent) >= lineagesMax {
		oldest := event.ID(0)
		for b, l := range v.recent {
			if oldest == 0 || l.used < v.recent[oldest].used {
				oldest = b
			}
		}
		delete(v.recent, oldest)
	}
	v.clock++
	l := &lineage{slices.Clone(c.Correlation), slices.Clone(c.Position), v.clock}
	v.recent[base] = l
	return l
}

// lineageOf gives correlation and position of an event, from a block that can be read.
func (v *verifier) lineageOf(id event.ID) (correlation event.ID, position uint32, ok bool) {
	seg := v.s.segmentOf(id)
	if seg == nil {
		return 0, 0, false
	}
	e, found := blockOf(seg.entries, id)
	if !found {
		return 0, 0, false
	}
	l := v.recent[e.base]
	if l == nil {
		var c wire.Columns
		if err := seg.s.read(e, 0, e.rows, wire.ColCorrelation|wire.ColPosition, &c); err != nil {
			return 0, 0, false
		}
		l = v.remember(e.base, &c)
	}
	v.clock++
	l.used = v.clock
	return l.correlation[id-e.base], l.position[id-e.base], true
}

// row checks one event of the block in v.c.
func (v *verifier) row(i int) error {
	c := &v.c
	id := c.Base + event.ID(i) // #nosec G115 -- an index
	v.maxSource = max(v.maxSource, c.Source[i])
	switch {
	case !c.Kind[i].Valid():
		return fmt.Errorf("its kind is %d", c.Kind[i])
	case c.Stream[i] == 0 || c.Seq[i] == 0 || c.Source[i] == 0:
		return fmt.Errorf("stream %d, seq %d, source %d", c.Stream[i], c.Seq[i], c.Source[i])
	case int(c.Site[i]) >= len(v.s.table.Places()):
		return fmt.Errorf("place %d, of %d", c.Site[i], len(v.s.table.Places()))
	case c.Duration[i] < 0:
		return fmt.Errorf("a duration of %d ns", c.Duration[i])
	}
	for _, n := range [...]wire.Name{c.Stream[i], c.Key[i], c.Peer[i], c.Child[i]} {
		if int(n.Text()) >= len(v.s.table.Texts()) {
			return fmt.Errorf("text %d, of %d", n.Text(), len(v.s.table.Texts()))
		}
	}
	if c.ParentKind[i] != event.EdgeInvalid || c.Parent[i] != 0 {
		if err := checkEdge(wire.Edge{Cause: c.Parent[i], P: c.ParentP[i], Kind: c.ParentKind[i], Conf: c.ParentConf[i]}, id); err != nil {
			return fmt.Errorf("parent: %w", err)
		}
	}
	if !c.CorrConf[i].Valid() {
		return fmt.Errorf("correlation confidence %d", c.CorrConf[i])
	}
	for _, e := range c.FurtherOf(i) {
		v.report.Edges++
		if err := checkEdge(e, id); err != nil {
			return fmt.Errorf("further edge: %w", err)
		}
	}
	var x wire.Extension
	if err := x.Decode(c.ExtOf(i)); err != nil {
		return err
	}
	return v.ancestry(i, id)
}

func checkEdge(e wire.Edge, effect event.ID) error {
	switch {
	case !e.Kind.Valid() || !e.Conf.Valid():
		return fmt.Errorf("kind %d, confidence %d", e.Kind, e.Conf)
	case e.Cause >= effect:
		return fmt.Errorf("its cause %d is not earlier", e.Cause)
	case e.Cause == 0 && e.Conf != event.Gap:
		return fmt.Errorf("it has no cause, and is not marked as a gap but %v", e.Conf)
	case !(e.P >= 0 && e.P <= 1):
		return fmt.Errorf("probability %v", e.P)
	}
	return nil
}

// ancestry checks that an event has the correlation of its parent, one position further, or has
// founded its own.
func (v *verifier) ancestry(i int, id event.ID) error {
	c := &v.c
	correlation, position, parent := c.Correlation[i], c.Position[i], c.Parent[i]
	if correlation == id {
		if position != 0 {
			return fmt.Errorf("it founded its correlation, and has position %d", position)
		}
		return nil
	}
	if parent == 0 || correlation == 0 || correlation > id {
		return fmt.Errorf("parent %d, correlation %d", parent, correlation)
	}
	if parent < v.report.First {
		return nil // retention has removed it
	}
	if pc, pp, ok := v.lineageOf(parent); ok && (pc != correlation || pp+1 != position) {
		return fmt.Errorf("correlation %d, position %d; its parent %d has %d and %d", correlation, position, parent, pc, pp)
	}
	return nil
}

func (v *verifier) lateEdge(l wire.LateEdge) error {
	e, end := l.Edge, v.report.End
	if !e.Kind.Valid() || !e.Conf.Valid() || e.Cause == 0 || e.Cause == l.Effect || l.Effect == 0 || e.Cause >= end || l.Effect >= end || !(e.P >= 0 && e.P <= 1) {
		return fmt.Errorf("an edge from %d to %d, kind %d, confidence %d, probability %v", e.Cause, l.Effect, e.Kind, e.Conf, e.P)
	}
	return nil
}

// filter checks that the block's filter knows everything that lies in the block.
func (v *verifier) filter(s *segment, e *blockEntry) error {
	if e.filterLen == 0 {
		return nil // everything may be in it
	}
	f := s.filterOf(e)
	if f == nil {
		return corrupt("it can not be read")
	}
	c := &v.c
	base, end := e.base, e.end()
	why := func(cat category, id event.ID) bool {
		return id == 0 || (id >= base && id < end) || f.why.has16(filterKey(cat, uint64(id)))
	}
	for i := range c.Len {
		fn := v.s.table.PlaceOf(c.Site[i]).Func
		ok := f.what.has8(filterKey(categoryStream, uint64(c.Stream[i]))) &&
			(c.Key[i] == 0 || f.what.has8(filterKey(categoryKey, uint64(c.Key[i])))) &&
			(f.what.has8(filterKey(categoryFunc, uint64(fn))) || !v.lost.knows(uint32(c.Site[i]))) &&
			why(categoryCorrelation, c.Correlation[i]) && why(categoryCause, c.Parent[i])
		for _, edge := range c.FurtherOf(i) {
			ok = ok && why(categoryCause, edge.Cause)
		}
		if !ok {
			return corrupt("it does not know everything of event %d", base+event.ID(i)) // #nosec G115 -- an index
		}
	}
	return nil
}

// index checks what a segment's index says beside the entries.
func (v *verifier) index(seg *viewSegment, late []wire.LateEdge) {
	report := func(part string, format string, args ...any) {
		v.problem(&CorruptError{File: seg.s.name, Offset: v.sizeOf(seg), Part: part, Cause: fmt.Errorf(format, args...)})
	}
	if err := seg.s.guard(&blockEntry{}, func() error {
		sortLate(late)
		if len(late) != seg.late.n {
			return corrupt("%d late edges in the index, %d in the blocks", seg.late.n, len(late))
		}
		for i := range late {
			if seg.late.edge(i) != late[i] {
				return corrupt("late edge %d of the index is not that of the blocks", i)
			}
		}
		return nil
	}); err != nil {
		report("index of late edges", "%w", err)
	}
	if seg.postings == nil {
		return
	}
	if err := seg.s.guard(&blockEntry{}, seg.checkPostings); err != nil {
		report("postings", "%w", err)
	}
}
