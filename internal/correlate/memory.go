package correlate

import (
	"math"
	"unsafe"

	"github.com/pastcone/pastcone/event"
	"github.com/pastcone/pastcone/internal/wire"
)

// What things take, in bytes.
const (
	endSize            = int64(unsafe.Sizeof(end{}))
	frameSize          = int64(unsafe.Sizeof(frame{}))
	takenSize          = int64(unsafe.Sizeof(taken{}))
	rareSize           = int64(unsafe.Sizeof(rare{}))
	placeSize          = int64(unsafe.Sizeof(waitPlace{}))
	streamSize         = int64(unsafe.Sizeof(stream{}))
	stretchSize        = int64(unsafe.Sizeof(stretch{}))
	recordSize         = int64(unsafe.Sizeof(wire.Record{}))
	streamSlotsSize    = 3 * int64(unsafe.Sizeof(streamSlot{})) // of the table, a stream, about
	runSize            = int64(unsafe.Sizeof(wire.Run{}))
	endedSize          = int64(unsafe.Sizeof(endedKey{}) + unsafe.Sizeof(endedValue{}))
	gapHeldSize        = 2*(int64(unsafe.Sizeof(endedKey{}))+24) + 16 // each may be the only one of its stream
	batchOverheadBytes = 256
	slabStreams        = 1024
	exitsMax           = 1024 // streams that are kept for a while after their exit
	bytesKept          = 4096 // of its parts that a freed stream keeps for the next, at most
	stateShare         = 4    // what streams are doing may take this part of all memory
	depthLeast         = 64   // open calls that a stream may have however little memory there is
)

// Stats are counts since New, and what is held now.
type Stats struct {
	Accepted   uint64 // events that came
	Emitted    uint64 // rows made, gaps included
	Gaps       uint64 // gap events among them
	Lost       uint64 // events that those gaps stand for
	LateEdges  uint64 // edges whose cause came after its effect was emitted
	Duplicates uint64 // rejected
	TooLate    uint64 // rejected
	Ended      uint64 // rejected
	Malformed  uint64 // rejected
	TooDeep    uint64 // calls beyond the bound of depth
	Evicted    uint64 // waits ended, and idle streams put away, for want of memory
	Forgotten  uint64 // causes that nothing can refer to any more, and ended streams that are not known any more

	Waiting     int      // events that wait
	Streams     int      // that are known
	MemoryBytes int64    // estimated
	HighTime    int64    // the highest event time so far
	NextID      event.ID // of the next event
}

// Stats gives the figures as of the last Add, Tick or End. It may be called from any goroutine.
func (c *Correlator) Stats() Stats {
	c.published.Lock()
	defer c.published.Unlock()
	return c.published.Stats
}

func (c *Correlator) publish() {
	s := c.stats
	if c.block != nil {
		s.Emitted += uint64(len(c.block.Rows))
	}
	s.MemoryBytes, s.HighTime, s.NextID = c.memoryBytes(), c.high, c.nextID
	s.Forgotten = c.ends.forgotten + c.queues.forgotten + c.ended.forgotten
	c.published.Lock()
	c.published.Stats = s
	c.published.Unlock()
}

// memoryBytes estimates what the correlator holds, the block that it fills aside.
func (c *Correlator) memoryBytes() int64 {
	return c.heldBytes + c.stateBytes + int64(len(c.streams))*slabStreams*streamSize + int64(len(c.streamOf.slots))*16 +
		int64(cap(c.stretches))*stretchSize + c.ends.bytes() + c.queues.bytes() + c.ended.bytes()
}

// weigh notes what the parts of a stream take.
func (c *Correlator) weigh(s *stream) {
	n := int64(cap(s.frames))*frameSize + int64(cap(s.taken))*takenSize
	if x := s.rare; x != nil {
		n += rareSize + int64(cap(x.places))*placeSize + int64(cap(x.closed)+cap(x.gaps))*16
	}
	c.stateBytes += n - int64(s.bytes)
	s.bytes = int32(n) // #nosec G115 -- bounded by the depth and what a frame keeps
}

// at gives a stream by its index.
func (c *Correlator) at(i uint32) *stream { return &c.streams[i/slabStreams][i%slabStreams] }

// stream gives the stream of a record, a new one if need be. It is nil if the record was rejected: its stream
// was over long ago.
func (c *Correlator) stream(src *source, name wire.Name, b *wire.Batch, r *wire.Record) *stream {
	if i := c.streamOf.find(src.index, name); i != 0 {
		return c.at(i)
	}
	was, known := c.ended.find(src.index, name)
	if known && r.Seq <= was.seq {
		c.refuse(src, name, b, r, c.ended.before(was, r.Seq))
		return nil
	}
	if !known && c.ended.forgot(src.index, name) {
		c.refuse(src, name, b, r, Ended)
		return nil
	}
	s := c.newStream(src, name)
	if known {
		s.next = was.seq + 1
		if gaps := c.ended.gaps[endedKey{name, src.index}]; len(gaps) > 0 {
			s.odd().gaps = append(s.odd().gaps[:0], gaps...)
			c.weigh(s)
		}
		c.ended.remove(src.index, name)
	}
	return s
}

func (c *Correlator) newStream(src *source, name wire.Name) *stream {
	i := c.free
	if i == 0 {
		slab := make([]stream, slabStreams)
		first := uint32(len(c.streams)) * slabStreams // #nosec G115 -- bounded by memory
		c.streams = append(c.streams, slab)
		for k := slabStreams - 1; k >= 0; k-- {
			if j := first + uint32(k); j != 0 { // #nosec G115 -- small
				slab[k].more, c.free = c.free, j
			}
		}
		i = c.free
	}
	s := c.at(i)
	c.free = s.more
	c.serials++
	*s = stream{
		name: name, next: 1, frames: s.frames[:0], taken: s.taken[:0], rare: s.rare, bytes: s.bytes, src: src.index,
		serial: c.serials, flags: live, wait: wait{heap: -1}, index: i, more: src.first, recent: c.clock,
	}
	if src.first != 0 {
		c.at(src.first).prev = i
	}
	src.first = i
	c.streamOf.add(src.index, name, i)
	c.stats.Streams++
	return s
}

// freeStream forgets a stream, but for its last seq. Nothing of it may wait.
func (c *Correlator) freeStream(src *source, s *stream) {
	c.streamOf.remove(src.index, s.name)
	if !src.over {
		c.ended.add(endedStream{name: s.name, src: src.index, seq: s.next - 1, exited: s.has(exited)})
		if s.rare != nil && len(s.rare.gaps) > 0 {
			c.ended.note(endedKey{s.name, src.index}, s.rare.gaps)
		}
	}
	if s.more != 0 {
		c.at(s.more).prev = s.prev
	}
	if s.prev != 0 {
		c.at(s.prev).more = s.more
	} else {
		src.first = s.more
	}
	if c.weigh(s); s.bytes > bytesKept || c.stateBytes > c.o.MemoryBytesMax/(2*stateShare) {
		s.frames, s.taken, s.rare = nil, nil, nil
		c.weigh(s)
	} else if x := s.rare; x != nil {
		x.places, x.closed, x.gaps = x.places[:0], x.closed[:0], x.gaps[:0]
	}
	s.flags = 0
	s.prev, s.more = 0, c.free
	c.free = s.index
	c.stats.Streams--
}

// fifo is the streams that have exited, in that order.
type fifo struct {
	items []exit
	head  int
}

type exit struct {
	index, serial uint32
	time          int64
}

// exited notes that a stream has exited: it is soon forgotten.
func (c *Correlator) exited(s *stream, time int64) {
	s.flags |= exited
	c.exits.items = append(c.exits.items, exit{s.index, s.serial, time})
}

// sweepExits forgets streams that have exited, when nothing of them can come any more, or when there are many.
func (c *Correlator) sweepExits(mark int64) {
	q := &c.exits
	for q.head < len(q.items) {
		e := q.items[q.head]
		s := c.at(e.index)
		gone := s.serial != e.serial || !s.has(live)
		if !gone {
			if len(q.items)-q.head <= exitsMax && e.time >= mark {
				break
			}
			if s.waiting == 0 && s.wait.kind == waitNone && !s.has(ready) {
				c.freeStream(c.sources[s.src], s)
			}
		}
		q.head++
	}
	if q.head == len(q.items) {
		q.items, q.head = q.items[:0], 0
	} else if q.head > 4*exitsMax {
		q.items = append(q.items[:0], q.items[q.head:]...)
		q.head = 0
	}
}

// decideEarly ends waits of finite sources when there are many offers: of those whose events have come in the
// order of time so far, but for the lateness, as if they were live ones. Else what is offered would have to be
// forgotten before anybody may take it. What it decides is not exact. A source that keeps the order better than it
// has to is believed to go on so: its waits are over at twice the lag that it has shown.
func (c *Correlator) decideEarly() {
	if c.queues.offers <= c.queues.offersMax/4*3 {
		return
	}
	c.evicting, c.early = true, true
	for _, src := range c.active {
		late := min(c.lateness, 2*min(src.lag, math.MaxInt64/2))
		if !src.finite || src.lag > c.lateness || src.high < math.MinInt64+late {
			continue
		}
		for len(src.waits) > 0 && c.queues.offers > c.queues.offersMax/2 {
			s := c.at(src.waits[0])
			if s.wait.time >= src.high-late {
				break
			}
			c.stats.Evicted++
			c.waited(s)
			c.settle()
		}
	}
	c.evicting, c.early = false, false
}

// keepWithin ends waits, and puts idle streams away, until what is held is within the bound.
func (c *Correlator) keepWithin() {
	c.decideEarly()
	if c.memoryBytes() <= c.o.MemoryBytesMax && !c.tooManyStreams() {
		return
	}
	c.evicting = true
	for c.heldBytes > 0 && (c.memoryBytes() > c.o.MemoryBytesMax || c.tooManyStreams()) {
		first := c.firstWaiting(c.active)
		if abroad := c.firstWaiting(c.sources[:1]); first == nil || abroad != nil && abroad.wait.time < first.wait.time {
			first = abroad
		}
		if first == nil {
			break
		}
		c.stats.Evicted++
		c.waited(first)
		c.settle()
		if c.tooManyStreams() && first.resting() {
			c.freeStream(c.sources[first.src], first)
		}
	}
	c.evicting = false
	// Streams are put away only when their number is what costs: a quarter of the bound is theirs. The memory of
	// a slab is not given back, it is for the streams to come.
	for n := c.stats.Streams / 4; n > 0 && int64(c.stats.Streams)*(streamSize+16)+c.stateBytes > c.o.MemoryBytesMax/stateShare; n-- {
		if !c.putAway() {
			break
		}
	}
}

// tooManyStreams says that streams, also those that wait, take more than half of the bound: their memory is not given back.
func (c *Correlator) tooManyStreams() bool {
	return int64(c.stats.Streams)*(streamSize+streamSlotsSize) > c.o.MemoryBytesMax/2
}

// resting says that nothing of a stream waits.
func (s *stream) resting() bool {
	return s.has(live) && s.waiting == 0 && s.wait.kind == waitNone && !s.has(ready)
}

// putAway forgets the stream that has done nothing for longest, about: a hand goes round, and takes the first
// that did nothing since it came by last. Should the stream go on, that is a gap that has lost nothing.
func (c *Correlator) putAway() bool {
	total := uint32(len(c.streams)) * slabStreams // #nosec G115 -- bounded by memory
	for range 2 * total {
		if c.hand++; c.hand >= total {
			c.hand = 0
		}
		s := c.at(c.hand)
		if !s.resting() {
			continue
		}
		if s.recent != 0 {
			s.recent = 0
			continue
		}
		c.freeStream(c.sources[s.src], s)
		c.stats.Evicted++
		return true
	}
	return false
}
