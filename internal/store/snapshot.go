package store

import (
	"errors"
	"fmt"
	"sort"
	"sync"
	"sync/atomic"

	"github.com/pastcone/pastcone/event"
	"github.com/pastcone/pastcone/internal/wire"
)

// viewSegment is a segment with the blocks that a reader may see of it.
type viewSegment struct {
	s         *segment
	base, end event.ID
	entries   []*blockEntry
	late      *lateIndex // of a sealed segment; else the blocks are asked
	bytes     int64      // of the file
	tails     []byte     // of a sealed segment, encoded; for opening
	tailCount int
	sealed    bool
	postings  *postings // of a segment sealed since version 2 of the index; else the filters are asked
	unindexed []int     // the blocks that they know nothing of
}

// view is a list of segments that does not change. It holds its segments; snapshots hold it. When the last of them
// lets go, and the writer has gone on to another view, the segments that only it had are closed, and
// removed if retention has taken them out of the recording.
type view struct {
	refs  atomic.Int32
	segs  []viewSegment
	first event.ID
}

// newView makes a view that owns one reference of each segment.
func newView(segs []viewSegment, first event.ID) *view {
	v := &view{segs: segs, first: first}
	v.refs.Store(1)
	return v
}

// with makes a view with one segment more. The caller gives it a reference of that one; it takes
// references of its own of the rest.
func (v *view) with(s viewSegment) *view {
	segs := make([]viewSegment, 0, len(v.segs)+1)
	for _, old := range v.segs {
		old.s.hold()
		segs = append(segs, old)
	}
	return newView(append(segs, s), v.first)
}

// replace makes a view with s in the place of the segment of that file. The caller gives it a reference of s.
func (v *view) replace(file string, s viewSegment) *view {
	segs := make([]viewSegment, 0, len(v.segs))
	for _, old := range v.segs {
		if old.s.name == file {
			old = s
		} else {
			old.s.hold()
		}
		segs = append(segs, old)
	}
	return newView(segs, v.first)
}

// without makes a view that lacks the first n segments.
func (v *view) without(n int) *view {
	segs := append([]viewSegment(nil), v.segs[n:]...)
	for _, s := range segs {
		s.s.hold()
	}
	return newView(segs, v.segs[n-1].end)
}

func (v *view) hold() *view {
	v.refs.Add(1)
	return v
}

func (v *view) release() error {
	if v.refs.Add(-1) > 0 {
		return nil
	}
	var err error
	for _, s := range v.segs {
		err = errors.Join(err, s.s.release())
	}
	return err
}

// setView makes v what new snapshots see. The caller holds w.mu.
func (w *Writer) setView(v *view) {
	old := w.view
	w.view = v
	_ = old.release() // closing a file that was only read can not lose anything
}

// Snapshot is a recording as it was at one moment. It does not change while it is used, and its methods
// are safe for concurrent use. It has to be closed.
type Snapshot struct {
	table   *wire.Table
	view    *view
	live    viewSegment
	head    []*headBlock
	end     event.ID
	durable event.ID
	once    sync.Once
}

// Snapshot gives the recording as it is now, with the blocks that are published and not yet durable.
func (w *Writer) Snapshot() *Snapshot {
	w.mu.Lock()
	defer w.mu.Unlock()
	s := &Snapshot{table: w.table, view: w.view.hold(), live: w.live, head: w.head[:len(w.head):len(w.head)], end: w.next, durable: w.durable}
	if s.live.s != nil {
		s.live.s.hold()
	}
	return s
}

// Close gives the snapshot back.
func (s *Snapshot) Close() (err error) {
	s.once.Do(func() {
		err = s.view.release()
		if s.live.s != nil {
			err = errors.Join(err, s.live.s.release())
		}
	})
	return err
}

// Table gives the texts, names and places of the recording.
func (s *Snapshot) Table() *wire.Table { return s.table }

// Range gives the ids that can be read: from first up to, and without, end.
func (s *Snapshot) Range() (first, end event.ID) { return s.view.first, s.end }

// Durable gives one more than the largest id that would survive a crash.
func (s *Snapshot) Durable() event.ID { return s.durable }

// segments gives the segments in the order of ids, the live one last.
func (s *Snapshot) segments(yield func(*viewSegment) bool) {
	for i := range s.view.segs {
		if !yield(&s.view.segs[i]) {
			return
		}
	}
	if s.live.s != nil {
		yield(&s.live)
	}
}

// segmentOf finds the segment that holds the id, nil if it is not in one.
func (s *Snapshot) segmentOf(id event.ID) *viewSegment {
	segs := s.view.segs
	if i := sort.Search(len(segs), func(i int) bool { return segs[i].end > id }); i < len(segs) && id >= segs[i].base {
		return &segs[i]
	}
	if s.live.s != nil && id >= s.live.base && id < s.live.end {
		return &s.live
	}
	return nil
}

// headOf finds the block of the head that holds the id.
func (s *Snapshot) headOf(id event.ID) (*headBlock, bool) {
	i := sort.Search(len(s.head), func(i int) bool { return s.head[i].end() > id })
	if i == len(s.head) || id < s.head[i].b.Base {
		return nil, false
	}
	return s.head[i], true
}

// Read fills into with the wanted columns of the block that holds the id base. A block that is
// damaged where it is wanted gives a *CorruptError.
func (s *Snapshot) Read(base event.ID, want wire.ColumnSet, into *wire.Columns) error {
	if seg := s.segmentOf(base); seg != nil {
		e, ok := blockOf(seg.entries, base)
		if !ok {
			return s.outOfRange(base)
		}
		return seg.s.read(e, 0, e.rows, want, into)
	}
	h, ok := s.headOf(base)
	if !ok {
		return s.outOfRange(base)
	}
	h.b.Columns(0, len(h.b.Rows), want, into)
	return nil
}

// ReadRow fills into with the row of the id, and gives its index in into. It decodes what leads to
// this row, and no more.
func (s *Snapshot) ReadRow(id event.ID, want wire.ColumnSet, into *wire.Columns) (index int, err error) {
	if seg := s.segmentOf(id); seg != nil {
		e, ok := blockOf(seg.entries, id)
		if !ok {
			return 0, s.outOfRange(id)
		}
		row := int(id - e.base) // #nosec G115 -- below the number of rows
		return 0, seg.s.read(e, row, row+1, want, into)
	}
	h, ok := s.headOf(id)
	if !ok {
		return 0, s.outOfRange(id)
	}
	row := int(id - h.b.Base) // #nosec G115 -- below the number of rows
	h.b.Columns(row, row+1, want, into)
	return 0, nil
}

func (s *Snapshot) outOfRange(id event.ID) error {
	if id != 0 && id < s.view.first {
		return fmt.Errorf("event %d: %w: retention has removed everything before %d", id, ErrOutOfRange, s.view.first)
	}
	return fmt.Errorf("event %d: %w: it has the ids from %d to %d", id, ErrOutOfRange, s.view.first, s.end-1)
}

// LateCauses gives the edges to an effect that came after it was stored. What a damaged block held is
// left out; Verify finds it.
func (s *Snapshot) LateCauses(effect event.ID) (edges []wire.Edge) {
	s.lateEdges(
		func(x *lateIndex) { edges = x.causes(effect, edges) },
		func(l *wire.LateEdge) {
			if l.Effect == effect {
				edges = append(edges, l.Edge)
			}
		})
	return edges
}

// LateEffects gives the late edges from a cause.
func (s *Snapshot) LateEffects(cause event.ID) (edges []wire.LateEdge) {
	s.lateEdges(
		func(x *lateIndex) { edges = x.effects(cause, edges) },
		func(l *wire.LateEdge) {
			if l.Edge.Cause == cause {
				edges = append(edges, *l)
			}
		})
	return edges
}

// Late gives all late edges, in any order. What a damaged block held is left out; Verify finds it.
func (s *Snapshot) Late(yield func(wire.LateEdge) bool) {
	more := true
	s.lateEdges(
		func(x *lateIndex) {
			for i := 0; more && i < x.n; i++ {
				more = yield(x.edge(i))
			}
		},
		func(l *wire.LateEdge) { more = more && yield(*l) })
}

// Bytes gives what the committed segments take on disk.
func (s *Snapshot) Bytes() (sum int64) {
	for seg := range s.segments {
		sum += seg.bytes
	}
	return sum
}

// lateEdges asks the indexes of sealed segments, and gives all late edges of the others.
func (s *Snapshot) lateEdges(sealed func(*lateIndex), each func(*wire.LateEdge)) {
	for seg := range s.segments {
		if seg.late != nil {
			_ = seg.s.guard(&blockEntry{}, func() error { sealed(seg.late); return nil })
			continue
		}
		for _, e := range seg.entries {
			late, _ := seg.s.lateOf(e)
			for i := range late {
				each(&late[i])
			}
		}
	}
	for _, h := range s.head {
		for i := range h.b.Late {
			each(&h.b.Late[i])
		}
	}
}
