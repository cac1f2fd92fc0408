package correlate

import (
	"slices"

	"github.com/pastcone/pastcone/internal/wire"
)

// ended is the streams that are known no more, but for their last seq: so that a late duplicate is not taken
// for a new stream. The latest of them are in a table; what does not fit is only a set of names, as stretches
// of consecutive ones: "g1" to "g1000000" are one.
type ended struct {
	young, old map[endedKey]endedValue
	slotsMax   int
	gaps       map[endedKey][]seqRange // of those that had some: what comes for them is too late
	gapsHeld   int                     // in all of them
	over       map[uint32]*nameSet     // by source
	forgotten  uint64
}

type endedStream struct {
	name    wire.Name
	src     uint32
	seq     uint64
	exited  bool
	unnoted bool // it had gaps, and their places are not known any more
}

type endedKey struct {
	name wire.Name
	src  uint32
}

type endedValue struct {
	seq             uint64
	exited, unnoted bool
}

func newEnded(bytesMax int64) ended {
	return ended{
		young: map[endedKey]endedValue{}, old: map[endedKey]endedValue{},
		slotsMax: int(max(256, bytesMax/(2*2*endedSize))), over: map[uint32]*nameSet{}, gaps: map[endedKey][]seqRange{},
	}
}

func (t *ended) add(s endedStream) {
	if len(t.young) >= t.slotsMax {
		t.turn()
	}
	t.young[endedKey{s.name, s.src}] = endedValue{s.seq, s.exited, s.unnoted}
}

// note keeps the places of a stream's gaps with it, as long as there are not too many in all.
func (t *ended) note(k endedKey, gaps []seqRange) {
	if t.gapsHeld+len(gaps) > t.slotsMax {
		v := t.young[k]
		v.unnoted = true
		t.young[k] = v
		return
	}
	t.gapsHeld += len(gaps)
	t.gaps[k] = append([]seqRange(nil), gaps...)
}

// unnote forgets them.
func (t *ended) unnote(k endedKey) {
	t.gapsHeld -= len(t.gaps[k])
	delete(t.gaps, k)
}

// before gives the reason why an event of a stream that is over is not emitted.
func (t *ended) before(s endedStream, seq uint64) Reason {
	for _, g := range t.gaps[endedKey{s.name, s.src}] {
		if g.low <= seq && seq < g.high {
			return TooLate
		}
	}
	if s.unnoted {
		return Ended
	}
	return Duplicate
}

// turn forgets the old generation, but for the names. Streams that have not exited are kept as long as they are
// not too many.
func (t *ended) turn() {
	t.old, t.young = t.young, t.old
	names := map[uint32][]wire.Name{}
	kept := 0
	for k, v := range t.young {
		if !v.exited && kept < t.slotsMax/2 {
			kept++
			continue
		}
		names[k.src] = append(names[k.src], k.name)
		delete(t.young, k)
		t.unnote(k)
	}
	for src, list := range names {
		if t.over[src] == nil {
			t.over[src] = &nameSet{}
		}
		slices.Sort(list)
		t.forgotten += t.over[src].add(list)
	}
}

func (t *ended) find(src uint32, name wire.Name) (endedStream, bool) {
	k := endedKey{name, src}
	v, ok := t.young[k]
	if !ok {
		v, ok = t.old[k]
	}
	return endedStream{name, src, v.seq, v.exited, v.unnoted}, ok
}

func (t *ended) remove(src uint32, name wire.Name) {
	k := endedKey{name, src}
	delete(t.young, k)
	delete(t.old, k)
	t.unnote(k)
}

// forgot says whether a stream is over of which only the name is known.
func (t *ended) forgot(src uint32, name wire.Name) bool {
	return len(t.over) > 0 && t.over[src] != nil && t.over[src].has(name)
}

func (t *ended) bytes() int64 {
	n := int64(len(t.young)+len(t.old))*2*endedSize + int64(t.gapsHeld)*gapHeldSize
	for _, s := range t.over {
		n += int64(cap(s.all)) * 16
	}
	return n
}

// nameSet is a set of names as stretches, in order.
type nameSet struct {
	all  []nameRange
	lost bool // it had to forget some
}

type nameRange struct{ low, high wire.Name } // inclusive

const nameRangesMax = 1 << 15

func (s *nameSet) has(n wire.Name) bool {
	_, is := slices.BinarySearchFunc(s.all, n, func(r nameRange, n wire.Name) int {
		switch {
		case r.high < n:
			return -1
		case r.low > n:
			return 1
		}
		return 0
	})
	return is
}

// add adds sorted names, and gives how many stretches it had to forget: those of the names that are known for
// longest.
func (s *nameSet) add(names []wire.Name) (forgotten uint64) {
	merged := make([]nameRange, 0, len(s.all)+16)
	put := func(r nameRange) {
		if n := len(merged); n > 0 && r.low <= merged[n-1].high+1 {
			merged[n-1].high = max(merged[n-1].high, r.high)
			return
		}
		merged = append(merged, r)
	}
	i := 0
	for _, n := range names {
		for i < len(s.all) && s.all[i].low <= n {
			put(s.all[i])
			i++
		}
		put(nameRange{n, n})
	}
	for ; i < len(s.all); i++ {
		put(s.all[i])
	}
	if over := len(merged) - nameRangesMax; over > 0 {
		forgotten, s.lost = uint64(over), true // #nosec G115 -- positive
		merged = append(merged[:0], merged[over:]...)
	}
	s.all = merged
	return forgotten
}
