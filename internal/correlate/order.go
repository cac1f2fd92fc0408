package correlate

import (
	"bytes"
	"math"
	"slices"
	"strconv"

	"github.com/pastcone/pastcone/event"
	"github.com/pastcone/pastcone/internal/wire"
)

// What can not be handled yet is parked, in stretches of consecutive seqs that lie side by side in a batch.
// A stream's stretches are a leftist heap by seq: indexes into one slab, without pointers.

// stretch is records of a batch that wait in their stream.
type stretch struct {
	seq         uint64 // of the first one
	batch       uint32 // index of what holds it
	first, n    uint32 // records in the batch
	left, right uint32
	rank        uint32 // length of the right spine
}

// held is a batch of which something is parked.
type held struct {
	*wire.Batch
	left  int // records that are neither emitted nor rejected
	last  event.ID
	bytes int64
}

// holding is a batch on its way through Add. It gets a place among those that are held when something of it
// is parked.
type holding struct {
	c     *Correlator
	b     *wire.Batch
	index uint32 // 0: nothing is parked
	last  event.ID
	high  int64 // of the event times
	low   int64
}

// hold gives the index of the batch.
func (h *holding) hold() uint32 {
	if h.index != 0 {
		return h.index
	}
	c := h.c
	if n := len(c.batchFree); n > 0 {
		h.index, c.batchFree = c.batchFree[n-1], c.batchFree[:n-1]
	} else {
		h.index = uint32(len(c.batches)) // #nosec G115 -- bounded by memory
		c.batches = append(c.batches, held{})
	}
	size := int64(cap(h.b.Records))*recordSize + int64(cap(h.b.Runs))*runSize + int64(cap(h.b.Arena)) + batchOverheadBytes
	c.heldBytes += size
	c.batches[h.index] = held{Batch: h.b, left: 1, bytes: size}
	return h.index
}

// release says that Add is through with the batch.
func (h *holding) release() {
	if h.index == 0 {
		h.c.finish(h.b, h.last)
		return
	}
	h.c.batches[h.index].last = max(h.c.batches[h.index].last, h.last)
	h.c.letGo(h.index)
}

// letGo counts one record of a held batch as emitted or rejected.
func (c *Correlator) letGo(index uint32) {
	b := &c.batches[index]
	if b.left--; b.left > 0 {
		return
	}
	c.heldBytes -= b.bytes
	c.finish(b.Batch, b.last)
	*b = held{}
	c.batchFree = append(c.batchFree, index)
}

// stretchEnd remembers the stretch that was parked last, for the next record to lengthen.
type stretchEnd struct{ index uint32 }

// park puts a record among those that wait in its stream.
func (c *Correlator) park(src *source, s *stream, h *holding, i int, tail *stretchEnd) {
	r := &h.b.Records[i]
	index := h.hold()
	c.batches[index].left++
	c.stats.Waiting++
	if t := &c.stretches[tail.index]; tail.index != 0 && t.batch == index && int(t.first+t.n) == i && t.seq+uint64(t.n) == r.Seq {
		t.n++
	} else {
		tail.index = c.newStretch(stretch{seq: r.Seq, batch: index, first: uint32(i), n: 1, rank: 1}) // #nosec G115 -- an index
		s.waiting = c.merge(s.waiting, tail.index)
	}
	c.promise(src, s, h.b, r)
	if s.wait.kind == waitNone || s.wait.kind == waitHole && s.waiting == tail.index {
		c.wake(s)
	}
}

func (c *Correlator) newStretch(t stretch) uint32 {
	i := c.stretchOf
	if i == 0 {
		c.stretches = append(c.stretches, t)
		return uint32(len(c.stretches) - 1) // #nosec G115 -- bounded by memory
	}
	c.stretchOf = c.stretches[i].left
	c.stretches[i] = t
	return i
}

// merge joins two heaps of stretches; of equal ones the first comes first.
func (c *Correlator) merge(a, b uint32) uint32 {
	switch {
	case a == 0:
		return b
	case b == 0:
		return a
	}
	if c.stretches[b].seq < c.stretches[a].seq {
		a, b = b, a
	}
	right := c.merge(c.stretches[a].right, b)
	t := &c.stretches[a]
	t.right = right
	if c.stretches[t.left].rank < c.stretches[right].rank {
		t.left, t.right = t.right, t.left
	}
	t.rank = c.stretches[t.right].rank + 1
	return a
}

// advance takes the first record off the first stretch.
func (c *Correlator) advance(s *stream) {
	i := s.waiting
	t := &c.stretches[i]
	t.seq, t.first, t.n = t.seq+1, t.first+1, t.n-1
	if t.n == 0 {
		s.waiting = c.merge(t.left, t.right)
		c.stretches[i] = stretch{left: c.stretchOf}
		c.stretchOf = i
	}
	c.stats.Waiting--
}

// wake puts a stream among those that can go on.
func (c *Correlator) wake(s *stream) {
	c.unwait(s)
	if !s.has(ready) {
		s.flags |= ready
		c.goOn = append(c.goOn, s.index)
	}
}

// settle lets every stream go on that can.
func (c *Correlator) settle() {
	for i := 0; i < len(c.goOn); i++ { // the list grows while we go
		s := c.at(c.goOn[i])
		s.flags &^= ready
		c.goThrough(s)
	}
	c.goOn = c.goOn[:0]
}

// goThrough handles what is parked in a stream, up to where it has to wait.
func (c *Correlator) goThrough(s *stream) {
	src := c.sources[s.src]
	for s.waiting != 0 {
		t := &c.stretches[s.waiting]
		index := t.batch
		b := c.batches[index].Batch
		r := &b.Records[t.first]
		switch {
		case r.Seq < s.next:
			c.breakPromise(src, s, b, r)
			c.advance(s)
			c.refuse(src, s.name, b, r, s.before(r.Seq))
			c.letGo(index)
			continue
		case r.Seq > s.next && !c.acrossHole(src, s, b, r):
			return
		}
		if !c.handle(src, s, b, r) {
			return
		}
		s.flags &^= overdue | abroad
		c.advance(s)
		c.batches[index].last = c.nextID - 1
		c.letGo(index)
	}
}

// Waiting. A stream waits for one thing at a time, and is woken when it comes.

type waitKind uint8

const (
	waitNone  waitKind = iota
	waitHole           // for the seq that is missing
	waitEnd            // for an end to open
	waitQueue          // for an offer of a queue, or for what a lock is like
	waitTime           // for the order of time to be known, or for the offer that it then took
)

// wait is what a stream waits for.
type wait struct {
	token          // of the end
	queue   *queue // of waitQueue and waitTime
	time    int64  // of the event that waits
	arrived int64  // when it did
	heap    int32  // place in the waits of heapOf; -1: without a limit, since what it waits for is here
	before  uint32 // in the list of those that wait for the same
	after   uint32
	kind    waitKind
	world   bool // in the world's heap
}

// awaits makes a stream wait.
func (c *Correlator) awaits(src *source, s *stream, b *wire.Batch, r *wire.Record, kind waitKind) {
	s.wait.kind, s.wait.time, s.wait.arrived = kind, r.Time, b.Arrived
	s.wait.heap = int32(len(src.waits)) // #nosec G115 -- the number of streams
	src.waits = append(src.waits, s.index)
	c.up(src, len(src.waits)-1)
}

// awaitsEnd makes a stream wait for an end.
func (c *Correlator) awaitsEnd(src *source, s *stream, b *wire.Batch, r *wire.Record, k token) {
	e := c.ends.put(k)
	s.wait.token, s.wait.before, s.wait.after = k, 0, e.waiters
	if e.waiters != 0 {
		c.at(e.waiters).wait.before = s.index
	}
	e.waiters = s.index
	if k.global() && src.finite {
		src, s.wait.world = c.world, true
	}
	c.awaits(src, s, b, r, waitEnd)
}

// unwait ends a stream's wait.
func (c *Correlator) unwait(s *stream) {
	w := &s.wait
	switch w.kind {
	case waitNone:
		return
	case waitEnd, waitQueue:
		if w.after != 0 {
			c.at(w.after).wait.before = w.before
		}
		switch {
		case w.before != 0:
			c.at(w.before).wait.after = w.after
		case w.kind == waitQueue:
			w.queue.waiters = w.after
		default:
			if e := c.ends.get(w.token); e != nil && e.waiters == s.index {
				e.waiters = w.after
			}
		}
	case waitHole, waitTime:
	}
	if w.heap >= 0 {
		c.unheap(s)
	}
	*w = wait{heap: -1}
}

// wakeAll wakes the streams of a list.
func (c *Correlator) wakeAll(first *uint32) {
	for *first != 0 {
		i := *first
		s := c.at(i)
		*first = s.wait.after
		if *first != 0 {
			c.at(*first).wait.before = 0
		}
		s.wait.before, s.wait.after = 0, 0
		if s.wait.heap >= 0 {
			c.unheap(s)
		}
		s.wait = wait{heap: -1}
		c.wake(s)
	}
}

// expire ends the waits that are over in event time, the earliest first.
func (c *Correlator) expire() {
	if c.high == math.MinInt64 {
		return
	}
	mark := int64(math.MinInt64)
	if c.high >= math.MinInt64+c.lateness {
		mark = c.high - c.lateness
	}
	c.forLive(func(sources []*source) {
		for {
			s := c.firstWaiting(sources)
			if s == nil || s.wait.time >= mark {
				return
			}
			c.waited(s)
			c.settle()
		}
	})
	c.sweepExits(mark)
}

// forLive goes over the live sources whose waits are ended in one order: each by itself, or, when some wait for what others may
// have, all together. For who goes on after such a wait takes part in the order of time of its own source, and must not come
// when those behind it are decided.
func (c *Correlator) forLive(end func(sources []*source)) {
	live := c.live[:0]
	for _, src := range c.active {
		if src.finite {
			continue
		}
		if live = append(live, src); !c.asks {
			end(live)
			live = live[:0]
		}
	}
	if c.asks {
		live = append(live, c.world)
		end(live)
	}
	c.live = live[:0]
}

// firstWaiting gives the stream among those that wait with a limit whose event is the earliest, nil if none waits.
func (c *Correlator) firstWaiting(sources []*source) (first *stream) {
	for _, src := range sources {
		if len(src.waits) == 0 {
			continue
		}
		if s := c.at(src.waits[0]); first == nil || s.wait.time < first.wait.time {
			first = s
		}
	}
	return first
}

// expireArrived ends the waits that are over in arrival time, the earliest in event time first. So that it
// costs little when many wait, it looks only so often in the allowed lateness.
const arrivalLooks = 8

func (c *Correlator) expireArrived(sources []*source) {
	last := &sources[len(sources)-1].swept
	if c.firstWaiting(sources) == nil || c.now < math.MinInt64+c.lateness || *last > c.now-c.lateness/arrivalLooks-1 && *last != math.MinInt64 {
		return
	}
	*last = c.now
	mark := c.now - c.lateness
	for {
		// Mostly the earliest have also come first. Who goes on may wait again, and before those behind it.
		for s := c.firstWaiting(sources); s != nil && s.wait.arrived < mark; s = c.firstWaiting(sources) {
			c.waited(s)
			c.settle()
		}
		due := c.due[:0]
		for _, src := range sources {
			for _, i := range src.waits {
				if c.at(i).wait.arrived < mark {
					due = append(due, i)
				}
			}
		}
		c.due = due
		if len(due) == 0 {
			return
		}
		slices.SortFunc(due, func(i, j uint32) int {
			if c.earlier(c.at(i), c.at(j)) {
				return -1
			}
			return 1
		})
		for _, i := range due {
			// It may have been woken by one before it, and wait for something else since.
			if s := c.at(i); s.wait.kind != waitNone && s.wait.heap >= 0 && s.wait.arrived < mark {
				c.waited(s)
				c.settle()
			}
		}
	}
}

// waited ends the wait of a stream that has waited long enough: what has not come is missing. What is here
// all the same, and only waits in its own stream, is still waited for, without a limit of its own: that
// stream has one. Were it to wait for this one in turn, it would be for ever.
func (c *Correlator) waited(s *stream) {
	if h := c.holder(s); h != 0 && !c.circle(s, h) && !c.comesTooLate(s, h) {
		c.unheap(s)
		return
	}
	over := overdue
	if s.wait.world {
		over = abroad // what its own source has is another wait, to its end
	}
	c.wake(s)
	s.flags |= over
}

// comesTooLate says that what s waits for is here, in a stream of another source, but that s can not wait for it: its own source
// is over.
func (c *Correlator) comesTooLate(s *stream, holder uint32) bool {
	return c.sources[s.src].over && c.at(holder).src != s.src
}

// holder gives the stream in which lies what s waits for, 0 if it is not here.
func (c *Correlator) holder(s *stream) uint32 {
	switch s.wait.kind {
	case waitEnd:
		if e := c.ends.get(s.wait.token); e != nil && !e.open() {
			return e.holder()
		}
	case waitQueue, waitTime:
		if !s.has(reserves) {
			return 0 // not to look through all that is offered
		}
		if o := s.wait.queue.reserved(s.index); o != nil && o.id == 0 {
			return o.holder
		}
	case waitNone, waitHole:
	}
	return 0
}

const circleMax = 10_000

// circle says whether h waits for s, through others that wait without a limit.
func (c *Correlator) circle(s *stream, h uint32) bool {
	for range circleMax {
		o := c.at(h)
		if o == s {
			return true
		}
		if o.wait.kind == waitNone || o.wait.heap >= 0 {
			return false
		}
		if h = c.holder(o); h == 0 {
			return false
		}
	}
	return true
}

// The heap of waits of a source, by event time; of equal ones by the names of the streams. Who waits in a
// finite source for what any other may have is in the world's: that wait has a limit.

// heapOf gives the source in whose heap a stream waits.
func (c *Correlator) heapOf(s *stream) *source {
	if s.wait.world {
		return c.world
	}
	return c.sources[s.src]
}

// waitsAbroad says that a stream waits for what another source may have.
func (s *stream) waitsAbroad() bool { return s.wait.kind == waitEnd && s.wait.global() }

func (c *Correlator) earlier(a, b *stream) bool {
	if a.wait.time != b.wait.time {
		return a.wait.time < b.wait.time
	}
	return c.compareNames(a.name, b.name) < 0
}

// compareNames compares two names as texts.
func (c *Correlator) compareNames(a, b wire.Name) int {
	if a == b {
		return 0
	}
	var x, y [64]byte
	return bytes.Compare(c.appendName(x[:0], a), c.appendName(y[:0], b))
}

func (c *Correlator) appendName(dst []byte, n wire.Name) []byte {
	dst = append(dst, c.table.TextOf(n.Text())...)
	if tail, is := n.Tail(); is {
		dst = strconv.AppendUint(dst, tail, 10)
	}
	return dst
}

func (c *Correlator) up(src *source, i int) {
	h := src.waits
	for i > 0 {
		p := (i - 1) / 2
		if !c.earlier(c.at(h[i]), c.at(h[p])) {
			break
		}
		c.swap(h, i, p)
		i = p
	}
}

func (c *Correlator) down(src *source, i int) {
	h := src.waits
	for {
		l := 2*i + 1
		if l >= len(h) {
			return
		}
		if l+1 < len(h) && c.earlier(c.at(h[l+1]), c.at(h[l])) {
			l++
		}
		if !c.earlier(c.at(h[l]), c.at(h[i])) {
			return
		}
		c.swap(h, i, l)
		i = l
	}
}

func (c *Correlator) swap(h []uint32, i, j int) {
	h[i], h[j] = h[j], h[i]
	c.at(h[i]).wait.heap, c.at(h[j]).wait.heap = int32(i), int32(j) // #nosec G115 -- the number of streams
}

// unheap takes a stream out of its heap.
func (c *Correlator) unheap(s *stream) {
	src := c.heapOf(s)
	i, last := int(s.wait.heap), len(src.waits)-1
	if i != last {
		c.swap(src.waits, i, last)
	}
	src.waits = src.waits[:last]
	if i != last {
		c.up(src, i)
		c.down(src, i)
	}
	s.wait.heap = -1
}
