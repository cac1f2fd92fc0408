package query

import (
	"container/heap"
	"slices"
	"sort"

	"github.com/pastcone/pastcone/event"
	"github.com/pastcone/pastcone/internal/wire"
)

// ranked is an event among the best of a sort.
type ranked struct {
	key Value
	id  event.ID
}

// best keeps the first k of everything that is put in, in the order of the sort: a heap with the
// worst of them on top. What has no key comes last in either direction; ids break ties.
type best struct {
	k          int
	descending bool
	items      []ranked
}

func (b *best) before(x, y ranked) bool {
	if x.key.Type == Nothing || y.key.Type == Nothing {
		if x.key.Type != y.key.Type {
			return y.key.Type == Nothing
		}
		return x.id < y.id
	}
	c := compareValues(x.key, y.key)
	if b.descending {
		c = -c
	}
	return c < 0 || c == 0 && x.id < y.id
}

func (b *best) Len() int           { return len(b.items) }
func (b *best) Less(i, j int) bool { return b.before(b.items[j], b.items[i]) }
func (b *best) Swap(i, j int)      { b.items[i], b.items[j] = b.items[j], b.items[i] }
func (b *best) Push(x any)         { b.items = append(b.items, x.(ranked)) }
func (b *best) Pop() any {
	last := b.items[len(b.items)-1]
	b.items = b.items[:len(b.items)-1]
	return last
}

func (b *best) put(r ranked) {
	if len(b.items) < b.k {
		heap.Push(b, r)
	} else if b.before(r, b.items[0]) {
		b.items[0] = r
		heap.Fix(b, 0)
	}
}

// sorted gives the matches in the order of a field, the best that a sort may keep.
func (x *run) sorted(p planned, infos []wire.BlockInfo, give func(*Hit) error) error {
	k := x.o.SortMax
	limit := x.limit()
	if limit > 0 {
		k = min(k, limit)
	}
	// Each worker keeps its own best: the order is total, so the best of them are the best of all.
	tops := make([]*best, x.o.Workers)
	for i := range tops {
		tops[i] = &best{k: k, descending: x.q.sort.descending}
	}
	key := newGetter(x.q.sort.field, x.table, x.o.Sources)
	work := func(v *view) (int, error) {
		rows, err := x.match(v, p)
		if err != nil || len(rows) == 0 {
			return 0, err
		}
		if err := v.load(key.cols); err != nil {
			return 0, err
		}
		top := tops[v.worker]
		for _, i := range rows {
			top.put(ranked{key.value(&v.c, int(i)), v.id(i)})
		}
		return len(rows), nil
	}
	if _, err := scan(x, infos, work, func(n int) error {
		x.sum.Matched += uint64(n) // #nosec G115 -- a count
		return nil
	}); err != nil {
		return err
	}
	all := tops[0]
	for _, t := range tops[1:] {
		for _, r := range t.items {
			all.put(r)
		}
	}
	slices.SortFunc(all.items, func(a, b ranked) int {
		if all.before(a, b) {
			return -1
		}
		return 1
	})
	switch kept := uint64(len(all.items)); {
	case x.sum.Matched <= kept:
	case limit > 0 && limit <= k:
		x.sum.More = true
	default:
		x.sum.More = true
		x.cut("a sort keeps the first %d; %d matched: add | limit(n), or narrow the query", k, x.sum.Matched)
	}
	return x.giveRanked(infos, all.items, give)
}

// rankedChunk is how many sorted hits are held at a time.
const rankedChunk = 512

// giveRanked reads the events of a sort and gives them in its order, a chunk at a time.
func (x *run) giveRanked(infos []wire.BlockInfo, items []ranked, give func(*Hit) error) error {
	getters := x.getters(x.q.selected)
	v := newView(x.r)
	defer v.release()
	for len(items) > 0 {
		chunk := items[:min(rankedChunk, len(items))]
		items = items[len(chunk):]
		hits := make([]Hit, len(chunk))
		lost := make([]bool, len(chunk)) // what is sorted by can be read, and the rest of the event can not
		byID := make([]int, len(chunk))
		for i := range byID {
			byID[i] = i
		}
		slices.SortFunc(byID, func(a, b int) int { return int(chunk[a].id) - int(chunk[b].id) }) // #nosec G115 -- ids are far below 2^63
		for len(byID) > 0 {
			id := chunk[byID[0]].id
			info := infos[sort.Search(len(infos), func(i int) bool { return infos[i].Base > id })-1]
			var rows []uint16
			n := 0
			for n < len(byID) && chunk[byID[n]].id < info.Base+event.ID(info.Rows) { // #nosec G115 -- a count
				rows = append(rows, uint16(chunk[byID[n]].id-info.Base)) // #nosec G115 -- within a block
				n++
			}
			v.open(info)
			read, err := x.hits(v, rows, getters)
			if IsDamage(err) && x.damaged.skip(blockError(info.Base, info.Rows, err)) {
				for _, i := range byID[:n] {
					lost[i] = true
				}
				byID = byID[n:]
				continue
			}
			if err != nil {
				return err
			}
			for i := range read {
				hits[byID[i]] = read[i]
			}
			byID = byID[n:]
		}
		for i := range hits {
			if lost[i] {
				continue
			}
			if err := give(&hits[i]); err != nil {
				return err
			}
		}
	}
	return nil
}
