package store

import (
	"slices"
	"sort"

	"github.com/pastcone/pastcone/event"
	"github.com/pastcone/pastcone/internal/wire"
)

// prune is a wire.Prune made ready: filter keys are computed once.
type prune struct {
	wire.Prune
	streams, funcs, keys, correlations, causes []uint64
}

func newPrune(p wire.Prune) *prune {
	q := &prune{Prune: p}
	q.streams = filterKeys(categoryStream, p.Streams, 0)
	q.funcs = filterKeys(categoryFunc, p.Funcs, noException)
	q.keys = filterKeys(categoryKey, p.Keys, 0)
	q.correlations = filterKeys(categoryCorrelation, p.Correlations, noException)
	q.causes = filterKeys(categoryCause, p.Causes, noException)
	return q
}

const noException = 1<<64 - 1

// filterKeys gives the keys to ask a filter for. Rows without a name are in no filter: who asks for them too can
// not be helped by one.
func filterKeys[T ~uint32 | ~uint64](c category, values []T, notInFilters uint64) []uint64 {
	keys := make([]uint64, 0, len(values))
	for _, v := range values {
		if uint64(v) == notInFilters {
			return nil
		}
		keys = append(keys, filterKey(c, uint64(v)))
	}
	return keys
}

// zone says whether the block's ranges allow a match. Ranges of an empty block never do.
func (q *prune) zone(base, end event.ID, timeMin, timeMax int64, kinds uint32) bool {
	return base != end && end > q.IDMin && (q.IDMax == 0 || base <= q.IDMax) &&
		(q.TimeMin == 0 || timeMax >= q.TimeMin) && (q.TimeMax == 0 || timeMin <= q.TimeMax) && (q.Kinds == 0 || kinds&q.Kinds != 0)
}

// later says whether any of the ids is below end: causes and founders come before what they led to.
func later(ids []event.ID, end event.ID) bool {
	return len(ids) == 0 || slices.ContainsFunc(ids, func(id event.ID) bool { return id < end })
}

// filters says whether the block's filter allows a match.
func (q *prune) filters(f *filter, base, end event.ID) bool {
	return q.what(f) &&
		any16(&f.why, q.correlations, q.Correlations, base, end) && any16(&f.why, q.causes, q.Causes, base, end)
}

// what is the part of it that is about names.
func (q *prune) what(f *filter) bool {
	return any8(&f.what, q.streams) && any8(&f.what, q.keys) && any8(&f.what, q.funcs)
}

func any8(f *fuse, keys []uint64) bool {
	return len(keys) == 0 || slices.ContainsFunc(keys, f.has8)
}

// any16 also says yes for an id of the block itself, which is in no filter.
func any16(f *fuse, keys []uint64, ids []event.ID, base, end event.ID) bool {
	if len(keys) == 0 {
		return true
	}
	for i, key := range keys {
		if (ids[i] >= base && ids[i] < end) || f.has16(key) {
			return true
		}
	}
	return false
}

// Blocks gives the blocks that may hold matching rows, in the order of ids. A damaged block of which it
// is not known what it held is among them; reading it gives the error.
func (s *Snapshot) Blocks(p wire.Prune) []wire.BlockInfo {
	q := newPrune(p)
	var blocks []wire.BlockInfo
	for seg := range s.segments {
		blocks = seg.prune(q, blocks)
	}
	for _, h := range s.head {
		base, end := h.b.Base, h.end()
		if !later(q.Correlations, end) || !later(q.Causes, end) || base == end {
			continue
		}
		x := h.index.Load()
		if x == nil { // not encoded yet: look at the rows
			x = zoneOf(h.b)
		}
		if q.zone(base, end, x.timeMin, x.timeMax, x.kinds) && (x.filter == nil || q.filters(x.filter, base, end)) {
			blocks = append(blocks, wire.BlockInfo{Base: base, Rows: len(h.b.Rows), TimeMin: x.timeMin, TimeMax: x.timeMax})
		}
	}
	return blocks
}

// BlockCount gives the number of blocks that Blocks gives when nothing is pruned.
func (s *Snapshot) BlockCount() (n int) {
	for seg := range s.segments {
		for _, e := range seg.entries {
			if e.rows > 0 {
				n++
			}
		}
	}
	for _, h := range s.head {
		if len(h.b.Rows) > 0 {
			n++
		}
	}
	return n
}

func zoneOf(b *wire.Block) *headIndex {
	x := &headIndex{timeMin: b.Rows[0].Time, timeMax: b.Rows[0].Time}
	for i := range b.Rows {
		r := &b.Rows[i]
		x.timeMin, x.timeMax = min(x.timeMin, r.Time), max(x.timeMax, r.Time)
		x.kinds |= 1 << (r.Kind & 31)
	}
	return x
}

// prune appends the blocks of the segment that may match.
func (seg *viewSegment) prune(q *prune, to []wire.BlockInfo) []wire.BlockInfo {
	if seg.base == seg.end || seg.end <= q.IDMin || (q.IDMax != 0 && seg.base > q.IDMax) || !later(q.Correlations, seg.end) || !later(q.Causes, seg.end) {
		return to
	}
	if numbers, ok := seg.candidates(q); ok {
		return seg.pruneThese(q, numbers, to)
	}
	from := q.IDMin
	for _, ids := range [...][]event.ID{q.Correlations, q.Causes} {
		if len(ids) > 0 {
			from = max(from, slices.Min(ids))
		}
	}
	entries := seg.entries
	entries = entries[sort.Search(len(entries), func(i int) bool { return entries[i].end() > from }):]
	for i := 0; i < len(entries); {
		// A fault is that of one block, which then may match; the rest goes on behind it.
		at := i
		if err := seg.s.guard(entries[at], func() error {
			for ; i < len(entries); i++ {
				at = i
				e := entries[i]
				if q.IDMax != 0 && e.base > q.IDMax {
					i = len(entries)
					return nil
				}
				if !q.zone(e.base, e.end(), e.timeMin, e.timeMax, e.kinds) {
					continue
				}
				if f := seg.s.filterOf(e); f == nil || q.filters(f, e.base, e.end()) {
					to = append(to, e.info())
				}
			}
			return nil
		}); err != nil {
			to = append(to, entries[at].info())
			i = at + 1
		}
	}
	return to
}

// pruneThese appends those of the blocks of these numbers, found by the postings, that the rest of the question allows.
func (seg *viewSegment) pruneThese(q *prune, numbers []int, to []wire.BlockInfo) []wire.BlockInfo {
	for _, n := range numbers {
		e := seg.entries[n]
		if !q.zone(e.base, e.end(), e.timeMin, e.timeMax, e.kinds) {
			continue
		}
		may := true
		if len(q.streams)+len(q.keys)+len(q.funcs) > 0 {
			err := seg.s.guard(e, func() error {
				f := seg.s.filterOf(e)
				may = f == nil || q.what(f)
				return nil
			})
			may = may || err != nil // a fault: then it may match
		}
		if may {
			to = append(to, e.info())
		}
	}
	return to
}

func (e *blockEntry) info() wire.BlockInfo {
	return wire.BlockInfo{Base: e.base, Rows: e.rows, TimeMin: e.timeMin, TimeMax: e.timeMax}
}
