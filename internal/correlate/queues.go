package correlate

import (
	"math"
	"slices"
	"unsafe"

	"github.com/pastcone/pastcone/internal/wire"
)

// All queues. There are at most so many of them, in two generations; what is forgotten of a queue is what was offered in it,
// but not how much:
//
//	a queue      every offer
//	a remnant    how many there were, from when to when
//	uncounted    that there were some: nothing in a queue of that key can be told any more, and everybody finds a gap

const (
	queuesMax     = 1 << 16 // in a generation
	queuesSpare   = 64
	offersLeast   = 2  // that a queue has memory for
	offersKept    = 64 // that it keeps memory for when it is empty
	mapFill       = 2  // slots of a map that an entry may take, about
	queueSize     = int64(unsafe.Sizeof(queue{})) + mapFill*int64(unsafe.Sizeof(queueKey{})+unsafe.Sizeof(&queue{}))
	offerSize     = int64(unsafe.Sizeof(offer{}))
	remnantSize   = mapFill * int64(unsafe.Sizeof(queueKey{})+unsafe.Sizeof(remnant{}))
	remnantsLeast = 64
)

// queues is all queues, in two generations like the ends.
type queues struct {
	young, old map[queueKey]*queue
	spare      []*queue // to be used again
	offers     int      // in all queues
	arrays     int      // offers that there is memory for
	offersMax  int
	looked     uint64 // offers that were looked at to make room
	lastLost   int    // offers forgotten since it was looked for the longest queue
	max        int    // queues in a generation
	kept       int    // queues of the last generation that could not be forgotten
	forgotten  uint64

	remnants    map[queueKey]remnant // of queues that were forgotten
	remnantsMax int
	uncounted   map[keySpace]*nameSet // the keys of those of which not even a remnant is left
}

// remnant is what is left of a queue that was forgotten: what was offered in it, as one offer that stands for all.
type remnant struct {
	since, time        int64
	stream             wire.Name
	seq                uint64
	lost               uint32 // 0: nothing was offered
	mixed              bool
	acquired, ordinals bool // of a lock
}

// keySpace is the keys of a source, of messages or of locks.
type keySpace struct {
	source uint32
	lock   bool
}

func newQueues(bytesMax int64) queues {
	return queues{
		young: map[queueKey]*queue{}, old: map[queueKey]*queue{},
		remnants: map[queueKey]remnant{}, uncounted: map[keySpace]*nameSet{},
		max:         int(min(queuesMax, max(64, bytesMax/(4*(queueSize+offersLeast*offerSize))))),
		offersMax:   int(max(64, bytesMax/(2*offerSize))),
		remnantsMax: int(max(remnantsLeast, bytesMax/(4*remnantSize))),
	}
}

// find gives a queue, nil if there is none.
func (t *queues) find(k queueKey) *queue {
	if q := t.young[k]; q != nil {
		return q
	}
	q := t.old[k]
	switch {
	case q != nil:
		delete(t.old, k)
		t.young[k] = q
	case len(t.remnants) > 0:
		if _, is := t.remnants[k]; is {
			return t.anew(k)
		}
	}
	return q
}

// of gives a queue, a new one if need be.
func (t *queues) of(k queueKey) *queue {
	if q := t.find(k); q != nil {
		return q
	}
	return t.anew(k)
}

// anew gives a new queue, which begins with what is known of one before it that was forgotten.
func (t *queues) anew(k queueKey) *queue {
	if len(t.young) >= t.kept+max(t.max, t.kept) {
		t.turn()
	}
	q := &queue{}
	if n := len(t.spare); n > 0 {
		q, t.spare = t.spare[n-1], t.spare[:n-1]
		*q = queue{all: q.all, offers: q.all[:0]}
	}
	q.queueKey = k
	t.young[k] = q
	r, left := t.remnants[k]
	if left {
		delete(t.remnants, k)
	} else if names := t.uncounted[keySpace{k.source, k.lock}]; names != nil && (names.lost || names.has(k.key)) {
		// Nobody knows how many were offered: whatever anybody meets here may be another's, for good.
		left = true
		r = remnant{since: math.MinInt64, time: math.MinInt64, lost: math.MaxUint32, mixed: true, acquired: k.lock}
	}
	if left {
		q.tainted, q.ordinals = true, r.ordinals
		if r.acquired {
			q.acquires = 1
		}
		if r.lost > 0 {
			t.insert(q, 0, &offer{lost: r.lost, since: r.since, time: r.time, stream: r.stream, seq: r.seq, mixed: r.mixed})
		}
	}
	return q
}

// turn forgets the old generation, except for what streams wait for: that is bounded by what waits, not here. How much was offered in a queue is kept, so that
// whoever takes from it later finds as often that it is missing, and never what is another's.
func (t *queues) turn() {
	old := t.old
	t.old, t.young = t.young, map[queueKey]*queue{}
	for k, q := range old {
		if q.waiters != 0 || q.needed() {
			t.young[k] = q
			continue
		}
		t.leave(q)
		t.drop(q)
	}
	t.kept = len(t.young)
}

// leave keeps a remnant of a queue, if it says anything.
func (t *queues) leave(q *queue) {
	if len(q.offers) == 0 && !q.tainted && !q.lock {
		return
	}
	if len(t.remnants) >= t.remnantsMax {
		t.uncount()
	}
	r := remnant{acquired: q.acquires > 0, ordinals: q.ordinals}
	if len(q.offers) > 0 {
		all := q.offers[0]
		for i := range q.offers {
			if q.offers[i].lost == 0 {
				t.forgotten++
			}
			if i > 0 {
				o := q.offers[i]
				o.swallow(&all)
				all = o
			}
		}
		r.lost = max(1, all.lost)
		r.since, r.time, r.stream, r.seq, r.mixed = all.from(), all.time, all.stream, all.seq, all.mixed
	}
	t.remnants[q.queueKey] = r
}

// uncount forgets all remnants, but for the keys.
func (t *queues) uncount() {
	keys := map[keySpace][]wire.Name{}
	for k := range t.remnants {
		keys[keySpace{k.source, k.lock}] = append(keys[keySpace{k.source, k.lock}], k.key)
	}
	clear(t.remnants)
	for space, names := range keys {
		if t.uncounted[space] == nil {
			t.uncounted[space] = &nameSet{}
		}
		slices.Sort(names)
		t.uncounted[space].add(slices.Compact(names))
	}
}

// drop gives back what a queue takes.
func (t *queues) drop(q *queue) {
	t.offers -= len(q.offers)
	t.arrays -= cap(q.all)
}

// needed says whether something in the queue is reserved or promised.
func (q *queue) needed() bool {
	for i := range q.offers {
		if o := &q.offers[i]; o.reserved != 0 || o.holder != 0 {
			return true
		}
	}
	return false
}

// tidy drops a queue of messages that says nothing: what comes later does not depend on it.
func (t *queues) tidy(q *queue) {
	if !q.lock && len(q.offers) == 0 && q.waiters == 0 && !q.tainted && t.find(q.queueKey) == q {
		delete(t.young, q.queueKey)
		if len(t.spare) < queuesSpare && cap(q.all) <= offersKept {
			t.spare = append(t.spare, q)
		} else {
			t.drop(q)
		}
	}
}

func (t *queues) forgetSource(s *source) {
	for _, m := range []map[queueKey]*queue{t.young, t.old} {
		for k, q := range m {
			if k.source == s.index {
				t.drop(q)
				delete(m, k)
			}
		}
	}
	for k := range t.remnants {
		if k.source == s.index {
			delete(t.remnants, k)
		}
	}
	delete(t.uncounted, keySpace{s.index, false})
	delete(t.uncounted, keySpace{s.index, true})
}

func (t *queues) bytes() int64 {
	n := int64(len(t.young)+len(t.old)+len(t.spare))*queueSize + int64(t.arrays)*offerSize + int64(len(t.remnants))*remnantSize
	for _, s := range t.uncounted {
		n += int64(cap(s.all)) * 16
	}
	return n
}
