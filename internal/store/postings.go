package store

import (
	"encoding/binary"
	"errors"
	"fmt"
	"slices"
	"sort"

	"github.com/pastcone/pastcone/event"
)

// The postings of a sealed segment say which of its blocks have rows of a correlation, or with a certain cause, when
// that id lies outside of the block. To ask the filters of all blocks is a miss of the cache or three for each of thousands;
// to ask the postings is to search a small directory and to unpack one group, some microseconds.
//
// How they are made:
//
//  1. Of each block in turn, the correlations and causes whose ids it does not hold itself: from their columns, which
//     takes a fraction of decoding it. Each is a key, 2 × id + what it is, and the number of the block.
//  2. When half a million such pairs have come together, they are sorted by key and packed: that is a shard. So the memory that
//     sealing takes does not grow with the segment.
//  3. A shard is a list of groups of up to 1,024 pairs: two sequences, of keys and of blocks. Neighbours are close in both,
//     since most causes and founders lie a few blocks before what refers to them: a pair takes about a byte.
//
// Invariants: of a block that is indexed, every reference to an id outside of it is in a shard. A block that is not,
// because it is damaged, is marked in its entry, and may hold anything. A group that is damaged makes the segment's
// filters be asked instead.
const (
	postingCorrelation = 0
	postingCause       = 1

	postingShardBytes = 16
	postingGroupBytes = 24
	postingGroupMax   = 1024    // pairs in a group
	postingShardMax   = 1 << 19 // pairs in a shard, and what the last block has more
	postingBlockBits  = 16      // of a block's number in a shard, while it is sorted
	postingIDMax      = 1<<(63-postingBlockBits) - 1
)

// postings are opened for reading; they point into the segment's index.
type postings struct {
	shards []byte // of each the first block, blocks and groups
	groups []byte
	bodies []byte
}

func postingKey(what int, id event.ID) uint64 { return uint64(id)<<1 | uint64(what) } // #nosec G115 -- 0 or 1

// postingsBuilder makes them.
type postingsBuilder struct {
	pairs, spare []uint64 // key << postingBlockBits | block in the shard
	first        int      // block of the shard
	blocks       int      // in the shard
	ints         intWriter
	keys, at     []uint64

	shards, groups, bodies []byte
}

// add notes what a block refers to. It says whether it could.
func (b *postingsBuilder) add(s *segment, e *blockEntry) bool {
	if len(b.pairs) >= postingShardMax || b.blocks == 1<<postingBlockBits {
		b.flush()
	}
	return b.note(s, e)
}

// note is add to the shard as it is.
func (b *postingsBuilder) note(s *segment, e *blockEntry) bool {
	before := len(b.pairs)
	ok := !e.lost && e.end() <= postingIDMax && s.with(e, func(v *blockView) error { return b.references(v) }) == nil
	if !ok {
		b.pairs = b.pairs[:before]
	}
	b.blocks++
	return ok
}

// references notes the pairs of a block; a cause as often as it is referred to.
func (b *postingsBuilder) references(v *blockView) error {
	rows := v.h.rows
	if rows == 0 {
		return nil
	}
	sc := scratches.Get().(*scratch)
	defer sc.release()
	d := decoder{v: v, high: rows, sc: sc}
	note := func(what int, id uint64) {
		if id >= uint64(v.h.base) && id < uint64(v.h.end()) || id > postingIDMax {
			return
		}
		b.pairs = append(b.pairs, postingKey(what, event.ID(id))<<postingBlockBits|uint64(b.blocks)) // #nosec G115 -- below 1 << postingBlockBits
	}
	c, err := openDictionary(d.chunk(chunkCorrelation), rows, false)
	if err != nil {
		return err
	}
	values := sc.values[:c.n]
	if err := fillInts(&c.first, 0, values); err != nil {
		return err
	}
	for _, id := range values {
		note(postingCorrelation, id)
	}
	distances := sc.codes[:rows]
	column(&d, chunkParent, &distances)
	for i, distance := range distances {
		// Most causes lie a few rows before their effects.
		if distance > uint64(i) { // #nosec G115 -- an index
			note(postingCause, uint64(d.id(i))-distance)
		}
	}
	p := d.chunk(chunkFurther)
	if d.err != nil || len(p) == 0 {
		return d.err
	}
	f, err := openFurther(p, rows)
	if err != nil {
		return err
	}
	ends, err := f.ends(rows, sc)
	if err != nil {
		return err
	}
	distances = sc.room(int(ends[rows-1])) // #nosec G115 -- at most EdgesMax
	if err := fillInts(&f.seqs[0], 0, distances); err != nil {
		return err
	}
	at := uint64(0)
	for i, end := range ends {
		for ; at < end; at++ {
			if distance := distances[at]; distance > uint64(i) { // #nosec G115 -- an index
				note(postingCause, uint64(d.id(i))-distance)
			}
		}
	}
	return nil
}

// flush ends the shard.
func (b *postingsBuilder) flush() {
	if b.blocks == 0 {
		return
	}
	le, groups := binary.LittleEndian, 0
	for pairs := b.sorted(); len(pairs) > 0; groups++ {
		n := min(len(pairs), postingGroupMax)
		b.keys, b.at = b.keys[:0], b.at[:0]
		for _, p := range pairs[:n] {
			b.keys = append(b.keys, p>>postingBlockBits)
			b.at = append(b.at, p&(1<<postingBlockBits-1))
		}
		pairs = pairs[n:]
		start := len(b.bodies)
		b.bodies = b.ints.append(b.bodies, b.keys, true)
		b.bodies = b.ints.append(b.bodies, b.at, false)
		b.groups = le.AppendUint64(b.groups, b.keys[0])
		b.groups = le.AppendUint32(b.groups, uint32(start))               // #nosec G115 -- a part of the segment
		b.groups = le.AppendUint32(b.groups, uint32(len(b.bodies)-start)) // #nosec G115 -- a part of the segment
		b.groups = le.AppendUint32(b.groups, uint32(n))                   // #nosec G115 -- at most postingGroupMax
		b.groups = le.AppendUint32(b.groups, checksum(b.bodies[start:]))
	}
	b.shards = le.AppendUint32(b.shards, uint32(b.first))  // #nosec G115 -- bounded by the segment's size
	b.shards = le.AppendUint32(b.shards, uint32(b.blocks)) // #nosec G115 -- at most 1 << postingBlockBits
	b.shards = le.AppendUint32(b.shards, uint32(groups))   // #nosec G115 -- a part of the segment
	b.shards = le.AppendUint32(b.shards, 0)
	b.first, b.blocks, b.pairs = b.first+b.blocks, 0, b.pairs[:0]
}

// sorted gives the pairs of the shard in order, each once.
func (b *postingsBuilder) sorted() []uint64 {
	b.pairs, b.spare = sortPairs(b.pairs, b.spare)
	return slices.Compact(b.pairs)
}

// sortPairs sorts pairs by key. They come in the order of blocks, and stay in it where keys are equal. Ids lie within
// some millions of each other, mostly, so a few passes over 11 bits each do it, in a third of the time that comparing
// takes.
func sortPairs(pairs, spare []uint64) (sorted, other []uint64) {
	const digit = 11
	if len(pairs) < 1<<digit {
		slices.Sort(pairs)
		return pairs, spare
	}
	least, most := pairs[0], pairs[0]
	for _, p := range pairs {
		least, most = min(least, p), max(most, p)
	}
	least &^= 1<<postingBlockBits - 1
	spare = resize(spare, len(pairs))
	var counts [1 << digit]int
	for shift := uint(postingBlockBits); (most-least)>>shift != 0; shift += digit {
		clear(counts[:])
		for _, p := range pairs {
			counts[(p-least)>>shift&(1<<digit-1)]++
		}
		at := 0
		for i, n := range counts {
			counts[i], at = at, at+n
		}
		for _, p := range pairs {
			i := (p - least) >> shift & (1<<digit - 1)
			spare[counts[i]] = p
			counts[i]++
		}
		pairs, spare = spare, pairs
	}
	return pairs, spare
}

// openPostings checks what is relied on later: that shards have all blocks and all groups, and that groups lie in the bodies.
func openPostings(shards, groups, bodies []byte, blocks int) (*postings, error) {
	le := binary.LittleEndian
	p := &postings{shards: shards, groups: groups, bodies: bodies}
	block, group := uint64(0), uint64(0)
	for s := shards; len(s) > 0; s = s[postingShardBytes:] {
		if uint64(le.Uint32(s)) != block {
			return nil, corrupt("a shard of the postings from block %d, not %d", le.Uint32(s), block)
		}
		block += uint64(le.Uint32(s[4:]))
		group += uint64(le.Uint32(s[8:]))
	}
	if block != uint64(blocks) || group*postingGroupBytes != uint64(len(groups)) { // #nosec G115 -- a count
		return nil, corrupt("postings of %d blocks in %d groups, where there are %d and %d", block, group, blocks, len(groups)/postingGroupBytes)
	}
	for g := groups; len(g) > 0; g = g[postingGroupBytes:] {
		if n := le.Uint32(g[16:]); uint64(le.Uint32(g[8:]))+uint64(le.Uint32(g[12:])) > uint64(len(bodies)) || n == 0 || n > postingGroupMax {
			return nil, corrupt("a group of %d postings at %d", n, le.Uint32(g[8:]))
		}
	}
	return p, nil
}

// postingShard is one shard, of so many blocks.
type postingShard struct {
	blocks int
	groups []byte
}

// each gives the shards with the number of the first block of each.
func (p *postings) each(yield func(first int, s postingShard) bool) {
	le, groups := binary.LittleEndian, p.groups
	for s := p.shards; len(s) > 0; s = s[postingShardBytes:] {
		size := int(le.Uint32(s[8:])) * postingGroupBytes
		if !yield(int(le.Uint32(s)), postingShard{int(le.Uint32(s[4:])), groups[:size]}) {
			return
		}
		groups = groups[size:]
	}
}

// find appends the numbers of the blocks that refer to the id, from another block, as what.
func (p *postings) find(what int, id event.ID, sc *scratch, to []int) ([]int, error) {
	if id > postingIDMax {
		return to, nil
	}
	le, key := binary.LittleEndian, postingKey(what, id)
	for first, shard := range p.each {
		n, blocks := len(shard.groups)/postingGroupBytes, shard.blocks
		// The first group that may have it is the one before the first that begins with it, or behind it.
		g := sort.Search(n, func(i int) bool { return le.Uint64(shard.groups[i*postingGroupBytes:]) >= key })
		for g = max(g-1, 0); g < n && le.Uint64(shard.groups[g*postingGroupBytes:]) <= key; g++ {
			var err error
			if to, err = p.findIn(shard.groups[g*postingGroupBytes:], key, first, blocks, sc, to); err != nil {
				return to, err
			}
		}
	}
	return to, nil
}

// postingGroup is one group, opened for reading.
type postingGroup struct {
	n            int
	keys, blocks ints
}

// open checks the group that this entry of the directory begins with.
func (p *postings) open(group []byte) (g postingGroup, err error) {
	le := binary.LittleEndian
	off, length := le.Uint32(group[8:]), le.Uint32(group[12:])
	g.n = int(le.Uint32(group[16:]))
	body := p.bodies[off:][:length]
	if checksum(body) != le.Uint32(group[20:]) {
		return g, errChecksum
	}
	if g.keys, body, err = openInts(body, g.n); err == nil {
		g.blocks, _, err = openInts(body, g.n)
	}
	return g, err
}

// findIn looks into one group.
func (p *postings) findIn(group []byte, key uint64, first, blocks int, sc *scratch, to []int) ([]int, error) {
	g, err := p.open(group)
	if err != nil {
		return to, err
	}
	keys := sc.values[:g.n]
	if err := fillInts(&g.keys, 0, keys); err != nil {
		return to, err
	}
	at, found := slices.BinarySearch(keys, key)
	if !found {
		return to, nil
	}
	end := at + 1
	for end < g.n && keys[end] == key {
		end++
	}
	numbers := sc.codes[:end-at]
	if err := fillInts(&g.blocks, at, numbers); err != nil {
		return to, err
	}
	for _, number := range numbers {
		if number >= uint64(blocks) { // #nosec G115 -- a count
			return to, corrupt("block %d of %d", number, blocks)
		}
		to = append(to, first+int(number)) // #nosec G115 -- checked
	}
	return to, nil
}

// referring gives the entries of the blocks that may refer to any of the ids as what: those that hold it, those that the
// postings name, and those that no postings have. ok is false if the postings can not say.
func (seg *viewSegment) referring(what int, ids []event.ID) (numbers []int, ok bool) {
	sc := scratches.Get().(*scratch)
	defer sc.release()
	numbers = append(numbers, seg.unindexed...)
	for _, id := range ids {
		if id >= seg.end {
			continue
		}
		if id >= seg.base {
			if i := sort.Search(len(seg.entries), func(i int) bool { return seg.entries[i].end() > id }); i < len(seg.entries) {
				numbers = append(numbers, i)
			}
		}
		var err error
		if numbers, err = seg.postings.find(what, id, sc, numbers); err != nil {
			return nil, false
		}
	}
	slices.Sort(numbers)
	return slices.Compact(numbers), true
}

// candidates gives the numbers of the blocks that may have rows of the correlations and with the causes that are asked
// for. ok is false if only the filters can say.
func (seg *viewSegment) candidates(q *prune) (numbers []int, ok bool) {
	if seg.postings == nil || len(q.Correlations)+len(q.Causes) == 0 {
		return nil, false
	}
	err := seg.s.guard(&blockEntry{off: seg.bytes, base: seg.base}, func() error {
		numbers, ok = seg.asked(q)
		return nil
	})
	return numbers, ok && err == nil
}

// asked is candidates, without a guard against faults.
func (seg *viewSegment) asked(q *prune) (numbers []int, ok bool) {
	asked := [...][]event.ID{postingCorrelation: q.Correlations, postingCause: q.Causes}
	for what, ids := range asked {
		if len(ids) == 0 {
			continue
		}
		these, right := seg.referring(what, ids)
		if !right {
			return nil, false
		}
		if !ok {
			numbers, ok = these, true
			continue
		}
		numbers = slices.DeleteFunc(numbers, func(n int) bool {
			_, both := slices.BinarySearch(these, n)
			return !both
		})
	}
	return numbers, ok
}

// checkPostings holds the postings against the blocks: what they should be is worked out anew.
func (seg *viewSegment) checkPostings() error {
	p, b, keys, at := seg.postings, new(postingsBuilder), make([]uint64, postingGroupMax), make([]uint64, postingGroupMax)
	for first, shard := range p.each {
		b.pairs, b.blocks = b.pairs[:0], 0
		unknown := make([]bool, shard.blocks)
		for i := range unknown {
			_, marked := slices.BinarySearch(seg.unindexed, first+i)
			if marked {
				b.blocks++
			}
			unknown[i] = marked || !b.note(seg.s, seg.entries[first+i])
		}
		want := b.sorted()
		for groups := shard.groups; len(groups) > 0; groups = groups[postingGroupBytes:] {
			g, err := p.open(groups)
			if err == nil {
				err = errors.Join(fillInts(&g.keys, 0, keys[:g.n]), fillInts(&g.blocks, 0, at[:g.n]))
			}
			if err == nil && keys[0] != binary.LittleEndian.Uint64(groups) {
				err = corrupt("it begins with key %d, the directory says %d", keys[0], binary.LittleEndian.Uint64(groups))
			}
			if err != nil {
				return fmt.Errorf("the group at offset %d of the postings: %w", binary.LittleEndian.Uint32(groups[8:]), err)
			}
			for i, key := range keys[:g.n] {
				if at[i] < uint64(len(unknown)) && unknown[at[i]] {
					continue
				}
				if len(want) == 0 || want[0]>>postingBlockBits != key || want[0]&(1<<postingBlockBits-1) != at[i] {
					return corrupt("the postings of event %d do not agree with the blocks", key>>1)
				}
				want = want[1:]
			}
		}
		if len(want) > 0 {
			return corrupt("the postings lack event %d of block %d", want[0]>>(postingBlockBits+1), seg.entries[first+int(want[0]&(1<<postingBlockBits-1))].base) // #nosec G115 -- below the number of blocks
		}
	}
	return nil
}
