package correlate

import (
	"hash/maphash"
	"math"
	"math/rand/v2"
	"slices"
	"sync"
	"time"

	"github.com/pastcone/pastcone/event"
	"github.com/pastcone/pastcone/internal/wire"
)

// Options are what a correlator needs to know.
type Options struct {
	Table          *wire.Table
	FirstID        event.ID      // of the first event that it emits; 0 is 1
	Lateness       time.Duration // how far behind the highest event time an event may come
	MemoryBytesMax int64         // for everything that it holds, half-filled blocks aside; 0 is MemoryBytesDefault
	BlockRows      int           // rows of a block, at most wire.BlockRowsMax; 0 is that
	DepthMax       int           // open calls of a stream; 0 is DepthDefault
	// NewBlock, if set, gives an empty block to fill, perhaps one that nobody reads any more.
	NewBlock func() *wire.Block
}

// The defaults of Options.
const (
	MemoryBytesDefault = 256 << 20
	DepthDefault       = 1 << 16
	memoryBytesMin     = 1 << 20
)

// Sink takes what comes out.
type Sink interface {
	// Emit takes the next block, and owns it. It may block: that is back-pressure.
	Emit(b *wire.Block)
	// Reject takes an event that is not emitted. b and r are only good during the call.
	Reject(src wire.SourceID, stream wire.Name, b *wire.Batch, r *wire.Record, why Reason)
}

// Reason says why an event is not emitted.
type Reason uint8

// The reasons.
const (
	Duplicate Reason = iota + 1 // the same stream and seq came before
	TooLate                     // its place was declared a gap before it came
	Ended                       // its stream was over, so long ago that no more is known of it
	Malformed                   // it can not be what a source means
)

// String gives the reason in the words of the rejects file.
func (r Reason) String() string {
	switch r {
	case Duplicate:
		return "duplicate: this stream and seq came before"
	case TooLate:
		return "too late: its place was declared a gap before it came"
	case Ended:
		return "its stream was over long before it came"
	case Malformed:
		return "malformed"
	}
	return "unknown"
}

// Correlator is the sequencer. All of its methods but Stats are for one goroutine.
type Correlator struct {
	o        Options
	sink     Sink
	table    *wire.Table
	lateness int64

	nextID  event.ID
	high    int64 // the highest event time of all batches so far
	now     int64 // the arrival clock
	got     found // for the event at hand
	made    info  // of the event at hand
	ext     wire.Extension
	block   *wire.Block
	done    []finished // batches whose last row is in block
	seeds   [2]maphash.Seed
	serials uint32

	sources   []*source // by index; 0 is world
	world     *source   // whose references are those of all sources; it has no streams
	active    []*source // that are not over
	sourceOf  map[wire.SourceID]*source
	streams   [][]stream // slabs; index 0 is unused
	free      uint32     // streams that are free, linked by more
	streamOf  streamTable
	ends      ends
	queues    queues
	stretches []stretch
	stretchOf uint32 // free ones, linked by left
	batches   []held
	batchFree []uint32
	goOn      []uint32  // streams that can go on
	due       []uint32  // of expireArrived
	live      []*source // of forLive
	asks      bool      // of some source: an event has a global cause
	exits     fifo
	ended     ended

	evicting   bool // waits are ended for want of memory
	early      bool // so are those of finite sources: they are taken for live ones
	gapData    []byte
	gapBatch   wire.Batch // of the gap at hand
	stateBytes int64
	heldBytes  int64
	clock      uint32 // of memory.go
	hand       uint32
	stats      Stats
	published  struct {
		sync.Mutex
		Stats
	}
}

// source is one source: streams, keys and references are its own, but for the references that are global.
type source struct {
	id     wire.SourceID
	index  uint32
	finite bool
	over   bool
	asks   bool // an event of it has a global cause
	// marksStarts: a first event that is no start was not spawned.
	marksStarts bool
	// spawned, if not nil, is every stream that a spawn of the source names.
	spawned map[wire.Name]struct{}

	waits []uint32 // heap of the streams that wait with a limit, by event time
	first uint32   // of its streams
	high  int64    // of its event times
	lag   int64    // by how much at most one was earlier than what had come in batches before

	swept int64 // when waits was last looked through for those that are over in arrival time
}

// New makes a correlator.
func New(o Options, sink Sink) *Correlator {
	if o.FirstID == 0 {
		o.FirstID = 1
	}
	if o.BlockRows <= 0 || o.BlockRows > wire.BlockRowsMax {
		o.BlockRows = wire.BlockRowsMax
	}
	if o.DepthMax <= 0 {
		o.DepthMax = DepthDefault
	}
	if o.MemoryBytesMax <= 0 {
		o.MemoryBytesMax = MemoryBytesDefault
	}
	o.MemoryBytesMax = max(o.MemoryBytesMax, memoryBytesMin)
	if o.NewBlock == nil {
		o.NewBlock = func() *wire.Block { return &wire.Block{} }
	}
	// Of its memory, each of the two generations of ends may take an eighth.
	slotsMax := slotsMin
	for int64(2*slotsMax)*endSize <= o.MemoryBytesMax/8 {
		slotsMax *= 2
	}
	world := &source{swept: math.MinInt64, high: math.MinInt64}
	return &Correlator{
		o: o, sink: sink, table: o.Table, lateness: max(0, int64(o.Lateness)),
		nextID: o.FirstID, high: math.MinInt64, now: math.MinInt64,
		seeds:     [2]maphash.Seed{maphash.MakeSeed(), maphash.MakeSeed()},
		sources:   []*source{world},
		world:     world,
		sourceOf:  map[wire.SourceID]*source{},
		streamOf:  streamTable{slots: make([]streamSlot, 1024), seed: rand.Uint64()}, // #nosec G404 -- no secret
		ends:      newEnds([2]uint64{rand.Uint64(), rand.Uint64()}, slotsMax),        // #nosec G404 -- no secret
		queues:    newQueues(o.MemoryBytesMax / 8),
		stretches: make([]stretch, 1),
		batches:   make([]held, 1),
		ended:     newEnded(o.MemoryBytesMax / 16),
		clock:     1,
	}
}

// Open begins a source. What waits in a finite one waits to its end, in a live one as long as the allowed
// lateness; a source that is open can change from one to the other. One that has ended can begin anew: Resume tells
// of its streams.
func (c *Correlator) Open(id wire.SourceID, finite bool) {
	src := c.open(id)
	src.finite = finite
	if src.over {
		src.over, src.high, src.lag = false, math.MinInt64, 0
		c.active = append(c.active, src)
	}
}

// MarksStarts says of a source that every stream of it that was spawned begins with a start. Then no other first
// event waits whether a spawn comes that names its stream; else it does, as long as for anything that may come.
func (c *Correlator) MarksStarts(id wire.SourceID) { c.open(id).marksStarts = true }

// Spawns tells all streams that the spawns of a source name, when that is known before: of a file that was read once
// already. Then only the first events of these wait for a spawn. The correlator keeps the map, which is never
// changed from then on.
func (c *Correlator) Spawns(id wire.SourceID, streams map[wire.Name]struct{}) {
	c.open(id).spawned = streams
}

func (c *Correlator) open(id wire.SourceID) *source {
	s := c.sourceOf[id]
	if s == nil {
		s = &source{id: id, index: uint32(len(c.sources)), swept: math.MinInt64, high: math.MinInt64} // #nosec G115 -- few
		c.sources = append(c.sources, s)
		c.active = append(c.active, s)
		c.sourceOf[id] = s
	}
	return s
}

// Add takes a batch, and owns it until it has called b.Done: once all its events are emitted in a block, or
// rejected. Behind that it does not look at the batch again, so that its owner may fill it anew. The high-water mark of event time moves on only behind it.
func (c *Correlator) Add(b *wire.Batch) {
	src := c.open(b.Source)
	h := holding{c: c, b: b, high: math.MinInt64, low: math.MaxInt64}
	at := 0
	for i := range b.Runs {
		run := &b.Runs[i]
		n := min(int(run.Len), len(b.Records)-at)
		if run.Stream == 0 || src.over {
			why := Malformed
			if src.over {
				why = Ended
			}
			for ; n > 0; n, at = n-1, at+1 {
				c.refuse(src, run.Stream, b, &b.Records[at], why)
			}
			continue
		}
		c.addRun(src, run.Stream, &h, at, n)
		at += n
	}
	for ; at < len(b.Records); at++ {
		c.refuse(src, 0, b, &b.Records[at], Malformed)
	}
	c.stats.Accepted += uint64(len(b.Records))
	arrived := b.Arrived
	h.release() // the batch may be in use again behind this
	if h.low < src.high {
		src.lag = max(src.lag, lagOf(src.high, h.low))
	}
	src.high = max(src.high, h.high)
	c.high = max(c.high, h.high)
	c.now = max(c.now, arrived)
	c.expire()
	c.keepWithin()
	c.publish()
}

// lagOf gives by how much low is below high, without overflow.
func lagOf(high, low int64) int64 {
	if d := high - low; d >= 0 {
		return d
	}
	return math.MaxInt64
}

// addRun takes the records [at, at+n) of a batch, all of one stream.
func (c *Correlator) addRun(src *source, name wire.Name, h *holding, at, n int) {
	b := h.b
	var s *stream
	if i := c.streamOf.find(src.index, name); i != 0 {
		s = c.at(i)
		s.recent = c.clock
	}
	tail := stretchEnd{}
	for i, end := at, at+n; i < end; i++ {
		if s != nil && s.waiting == 0 && len(s.frames) > 0 {
			if i = c.plainRun(src, s, h, i, end); i == end {
				break
			}
		}
		r := &b.Records[i]
		if r.Seq-1 >= event.SeqMax || r.Ordinal > event.SeqMax || !r.Kind.Valid() || r.DataLen|r.ExtLen != 0 && !wellPlaced(b, r) {
			c.refuse(src, name, b, r, Malformed)
			continue
		}
		h.high, h.low = max(h.high, r.Time), min(h.low, r.Time)
		if s == nil {
			if s = c.stream(src, name, b, r); s == nil {
				continue
			}
			s.recent = c.clock
		}
		if s.waiting == 0 && r.Seq == s.next {
			if c.handle(src, s, b, r) {
				h.last = c.nextID - 1
				continue
			}
		} else if r.Seq < s.next {
			c.refuse(src, name, b, r, s.before(r.Seq))
			continue
		}
		c.park(src, s, h, i, &tail)
	}
	if len(c.goOn) > 0 {
		c.settle()
	}
}

// Tick moves the arrival clock on: it ends the waits that are over by it.
func (c *Correlator) Tick(now int64) {
	c.now = max(c.now, now)
	c.clock++
	c.forLive(c.expireArrived)
	c.keepWithin()
	c.publish()
}

// End ends a source: what still waits in it has waited long enough. Its state is freed.
func (c *Correlator) End(id wire.SourceID) {
	src := c.sourceOf[id]
	if src == nil || src.over {
		return
	}
	src.over = true
	c.endWaits(src)
	for src.first != 0 {
		c.freeStream(src, c.at(src.first))
	}
	c.ends.forgetSource(src)
	c.queues.forgetSource(src)
	c.active = slices.DeleteFunc(c.active, func(s *source) bool { return s == src })
	c.publish()
}

// Drains says whether a source that is about to end should be given the allowed lateness before: something waits in it, and it
// has asked for events of other sources, which may be on their way. Who ends it asks again until it is false, or that time is over.
func (c *Correlator) Drains(id wire.SourceID) bool {
	src := c.sourceOf[id]
	if src == nil || src.over || !src.asks {
		return false
	}
	for i := src.first; i != 0; i = c.at(i).more {
		if s := c.at(i); s.waitsAbroad() || s.waiting != 0 && !src.finite {
			return true
		}
	}
	return false
}

// endWaits ends all waits of a source that is over: first those for what other sources may have, so that what comes behind
// them takes part in the order of time.
func (c *Correlator) endWaits(src *source) {
	for i := src.first; i != 0; i = c.at(i).more {
		if s := c.at(i); s.waitsAbroad() {
			c.wake(s)
			s.flags |= abroad
		}
	}
	c.settle()
	for len(src.waits) > 0 {
		c.waited(c.at(src.waits[0]))
		c.settle()
	}
}

// Finish ends all sources, and emits what is left.
func (c *Correlator) Finish() {
	for len(c.active) > 0 {
		c.End(c.active[0].id)
	}
	c.Flush()
}

// wellPlaced says whether a record's data and rarer fields lie in the arena, and can be read.
func wellPlaced(b *wire.Batch, r *wire.Record) bool {
	arena := uint64(len(b.Arena))
	if uint64(r.DataOff)+uint64(r.DataLen) > arena || uint64(r.ExtOff)+uint64(r.ExtLen) > arena {
		return false
	}
	return r.ExtLen == 0 || wellEncoded(b.Ext(r))
}

// refuse rejects a record.
func (c *Correlator) refuse(src *source, name wire.Name, b *wire.Batch, r *wire.Record, why Reason) {
	switch why {
	case Duplicate:
		c.stats.Duplicates++
	case TooLate:
		c.stats.TooLate++
	case Ended:
		c.stats.Ended++
	case Malformed:
		c.stats.Malformed++
	}
	arena := uint64(len(b.Arena)) // whoever looks at it must not fall over it
	if uint64(r.DataOff)+uint64(r.DataLen) > arena {
		r.DataOff, r.DataLen = 0, 0
	}
	if uint64(r.ExtOff)+uint64(r.ExtLen) > arena {
		r.ExtOff, r.ExtLen = 0, 0
	}
	c.sink.Reject(src.id, name, b, r, why)
}
