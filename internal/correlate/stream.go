package correlate

import (
	"github.com/pastcone/pastcone/event"
	"github.com/pastcone/pastcone/internal/wire"
)

// frame is an open call of a stream, or, at the bottom, its first event.
type frame struct {
	info           // of the call; bits: root, tainted, forgotten
	time int64     // of the call
	site wire.Site // of the call
	from uint32    // contexts taken on in this frame lie in stream.taken[from:], up to the next frame's
}

func (f *frame) tainted() bool { return f.bits&bitTainted != 0 }
func (f *frame) root() bool    { return f.bits&bitRoot != 0 }

// taken is a receive that took on work, or may have (bits: unsure, mere).
type taken struct {
	info
	key wire.Name
}

// stream is what is known of a stream: what it is doing, and what of it waits.
type stream struct {
	name   wire.Name
	next   uint64 // the seq that comes next
	frames []frame
	taken  []taken

	// The first two cache lines end behind flags: most events need no more of a stream.
	rare    *rare  // what few streams have
	waiting uint32 // the parked stretch with the lowest seq; 0: none
	serial  uint32 // never used by another stream
	roots   uint32 // open root calls
	sure    uint32 // of these, opened after the last gap
	deeper  uint32 // open calls beyond the bound of depth
	src     uint32 // index in Correlator.sources
	recent  uint32 // the clock of memory.go when it last did something; 0: the hand has come by since
	flags   streamFlags

	wait wait

	bytes      int32  // what its parts take: see weigh
	index      uint32 // of the stream itself
	prev, more uint32 // the streams of its source
}

type streamFlags uint16

const (
	gapped     streamFlags = 1 << iota // something of it is missing
	gotContent                         // it has received a message with content
	placesOpen                         // it may wait for work at places that nobody saw
	exited                             // its last event was an exit
	live                               // in use
	ready                              // in the list of those to go on
	overdue                            // the wait of its next event is over
	reserves                           // it has reserved an offer
	abroad                             // its next event has waited long enough for what other sources may have
)

// rare is what few streams have.
type rare struct {
	places []waitPlace
	closed []closedMark
	gaps   []seqRange // the last places that were declared gaps
}

// waitPlace is a place where a stream waits for work (rule 3).
type waitPlace struct {
	at uint64
	belief
}

// closedMark remembers that a channel was found closed in a frame, for its callers.
type closedMark struct {
	key   wire.Name
	depth int // of the frame, as an index
}

// seqRange is the seqs from low up to, and without, high.
type seqRange struct{ low, high uint64 }

const (
	takenMax    = 32 // contexts that a frame keeps, one a channel; one when the stream keeps takenAllMax
	takenAllMax = 4096
	placesMax   = 256 // places that a stream keeps
	closedMax   = 1024
	gapsMax     = 64
)

func (s *stream) has(f streamFlags) bool { return s.flags&f != 0 }

func (s *stream) odd() *rare {
	if s.rare == nil {
		s.rare = &rare{}
	}
	return s.rare
}

func (s *stream) top() *frame { return &s.frames[len(s.frames)-1] }

// streamTable finds streams by source and name: open addressing, without pointers.
type streamTable struct {
	slots []streamSlot
	used  int
	seed  uint64
}

type streamSlot struct {
	name  wire.Name
	src   uint32
	index uint32 // 0: free
}

func (t *streamTable) hash(src uint32, name wire.Name) uint64 {
	h := (uint64(name) ^ t.seed) * 0x9e3779b97f4a7c15
	h = (h ^ h>>29 ^ uint64(src)) * 0xbf58476d1ce4e5b9
	return h ^ h>>32
}

func (t *streamTable) find(src uint32, name wire.Name) uint32 {
	mask := uint64(len(t.slots) - 1) // #nosec G115 -- a length
	for i := t.hash(src, name) & mask; ; i = (i + 1) & mask {
		s := &t.slots[i]
		if s.index == 0 || s.name == name && s.src == src {
			return s.index
		}
	}
}

func (t *streamTable) add(src uint32, name wire.Name, index uint32) {
	if 2*(t.used+1) > len(t.slots) {
		old := t.slots
		t.slots = make([]streamSlot, max(1024, 2*len(old)))
		for _, s := range old {
			if s.index != 0 {
				*t.place(s.src, s.name) = s
			}
		}
	}
	t.used++
	*t.place(src, name) = streamSlot{name, src, index}
}

func (t *streamTable) place(src uint32, name wire.Name) *streamSlot {
	mask := uint64(len(t.slots) - 1) // #nosec G115 -- a length
	i := t.hash(src, name) & mask
	for t.slots[i].index != 0 {
		i = (i + 1) & mask
	}
	return &t.slots[i]
}

func (t *streamTable) remove(src uint32, name wire.Name) {
	mask := len(t.slots) - 1
	i := int(t.hash(src, name)) & mask // #nosec G115 -- masked
	for t.slots[i].name != name || t.slots[i].src != src || t.slots[i].index == 0 {
		i = (i + 1) & mask
	}
	for j := i; ; {
		j = (j + 1) & mask
		s := &t.slots[j]
		if s.index == 0 {
			break
		}
		home := int(t.hash(s.src, s.name)) & mask // #nosec G115 -- masked
		if (j-home)&mask >= (j-i)&mask {
			t.slots[i] = *s
			i = j
		}
	}
	t.slots[i] = streamSlot{}
	t.used--
}

// push opens a frame.
func (c *Correlator) push(s *stream, i *info, bits uint8, r *wire.Record) {
	n := len(s.frames)
	if n == cap(s.frames) {
		s.frames = append(s.frames, frame{})
		c.weigh(s)
	} else {
		s.frames = s.frames[:n+1]
	}
	f := &s.frames[n]
	f.set(i)
	f.bits |= bits
	f.time, f.site, f.from = r.Time, r.Site, uint32(len(s.taken)) // #nosec G115 -- bounded by depth
}

// call opens a call. Beyond the bound of depth, or of the memory for what streams are doing, it is only counted, and what happens inside it is inferred.
func (c *Correlator) call(s *stream, r *wire.Record, i *info) {
	if n := len(s.frames); n > c.o.DepthMax || n > depthLeast && c.stateBytes > c.o.MemoryBytesMax/stateShare {
		s.deeper++
		c.stats.TooDeep++
		return
	}
	var bits uint8
	if r.Flags&wire.FlagRoot != 0 {
		bits = bitRoot
		s.roots++
		s.sure++
	}
	c.push(s, i, bits, r)
}

// callOf gives the frame that a return without a reference returns from: the innermost open one, or, if
// that is tainted, the innermost of the same function. 0 is none.
func (c *Correlator) callOf(s *stream, r *wire.Record) (frame int, sure bool) {
	if s.deeper > 0 || len(s.frames) <= 1 {
		return 0, false
	}
	i := len(s.frames) - 1
	if !s.frames[i].tainted() {
		return i, true
	}
	f := c.table.PlaceOf(r.Site).Func
	for ; i > 0; i-- {
		if c.table.PlaceOf(s.frames[i].site).Func == f {
			return i, false
		}
	}
	return 0, false
}

// frameOf gives the open call with that id, 0 if there is none: ids ascend on the stack.
func (s *stream) frameOf(id event.ID) int {
	low, high := 1, len(s.frames)
	for low < high {
		mid := (low + high) / 2
		if s.frames[mid].id < id {
			low = mid + 1
		} else {
			high = mid
		}
	}
	if low < len(s.frames) && s.frames[low].id == id {
		return low
	}
	return 0
}

// leave closes the frames from i on, the innermost first. Each hands what it has taken on to its caller, a
// root call nothing.
func (s *stream) leave(i int) {
	s.deeper = 0
	for len(s.frames) > i {
		n := len(s.frames) - 1
		f := &s.frames[n]
		if f.root() {
			s.roots--
			if !f.tainted() {
				s.sure--
			}
			s.taken = s.taken[:f.from]
		} else if s.rare != nil && len(s.rare.closed) > 0 || len(s.taken) > int(f.from) && s.frames[n-1].from != f.from {
			s.handOver(n)
		} else { // all that it has taken on simply becomes its caller's
			s.frames[n-1].bits |= f.bits & bitForgotten
		}
		s.frames = s.frames[:n]
	}
}

// exit closes all calls; they hand over nothing.
func (s *stream) exit() {
	if len(s.frames) > 1 {
		s.taken = s.taken[:s.frames[1].from]
		s.frames = s.frames[:1]
	}
	s.roots, s.sure, s.deeper = 0, 0, 0
	if s.rare != nil {
		s.rare.closed = s.rare.closed[:0]
	}
}
