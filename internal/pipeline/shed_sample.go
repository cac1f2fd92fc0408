package pipeline

import (
	"math"
	"math/bits"
	"slices"
	"time"
	"unsafe"

	"github.com/pastcone/pastcone/event"
	"github.com/pastcone/pastcone/internal/wire"
)

// How correlations are sampled, behind the correlator and before the store:
//
//  1. While a share of them is to be kept, blocks wait in a window: up to windowBlocks, for windowAge, with windowBytesMax. What
//     they hold is looked at as they come in: who founded each correlation, and whether it is interesting. Interesting is
//     one with an error (a panic is one), or with a return that took longer than the 99th percentile of its function.
//  2. As a block leaves the window, the fate of each correlation that has no fate yet is decided: it is kept if it is interesting, or if the
//     hash of its founder's stream and seq is below the share. Its fate stays, so a kept chain is kept whole, and the same
//     chains are kept whatever the share was before: those of a smaller share are among those of a larger one.
//  3. A correlation that becomes interesting after it was sampled out is kept from there on.
//  4. Only work is sampled, and only what was founded since sampling began: of the rest nobody knows the
//     founder, and background has no end. Exits stay, so that it is known which streams are over.
//
// What is sampled out leaves its row: ids are dense, and an id's block is arithmetic. The row becomes a gap, in its place, with its
// parent and its correlation, so that a chain through it can be followed and says where it was cut; its payload, its
// names and its further edges are gone, which is what a row costs.
//
// Invariant: blocks leave in the order in which they came; whatever was looked at is bounded: the window, the founders, the
// functions.
const (
	windowBlocks    = 16
	windowAge       = 100 * time.Millisecond
	foundersMax     = 1 << 16
	functionsMax    = 1 << 12
	returnsForP99   = 100
	durationBuckets = 4 * 64
)

type fate uint8

const (
	fateUnknown fate = iota
	fateKept
	fateDropped
)

type founded struct {
	hash        uint64
	fate        fate
	interesting bool
}

type waitingBlock struct {
	b     *wire.Block
	since time.Time
	bytes int64
}

// durations counts a function's returns by how long they took: four buckets to each power of two.
type durations struct {
	n      uint32
	counts [durationBuckets]uint32
}

// durationBucket gives the bucket of a duration. Both ends are in: 0 and the longest.
func durationBucket(ns int64) int {
	if ns < 4 {
		return int(max(0, ns))
	}
	v := uint64(ns)                      // #nosec G115 -- at least four
	exp := bits.Len64(v) - 1             // at least 2
	return 4*(exp-1) + int(v>>(exp-2)&3) // #nosec G115 -- of four
}

// add counts a return, and says whether it was slower than the 99th percentile of those before.
func (d *durations) add(ns int64) (slow bool) {
	at := durationBucket(ns)
	if d.n >= returnsForP99 {
		longer := uint32(0) // returns in this bucket and beyond
		for i := at; i < durationBuckets; i++ {
			longer += d.counts[i]
		}
		slow = uint64(longer)*100 < uint64(d.n)
	}
	if d.n == math.MaxUint32 {
		d.n = 0
		for i := range d.counts {
			d.counts[i] /= 2
			d.n += d.counts[i]
		}
	}
	d.n++
	d.counts[at]++
	return slow
}

// SamplerOptions say what a sampler works on. All but Exempt must be set.
type SamplerOptions struct {
	Kept           func() float64                                // the share of correlations to keep
	Name           func(wire.Name) string                        // of a founder's stream
	Shed           func(src wire.SourceID, n int, reason string) // books what was sampled out
	Exempt         func(src wire.SourceID) bool                  // sources of which nothing is sampled out; nil: none
	Out            func(*wire.Block)                             // takes what leaves
	WindowBytesMax int64                                         // of the blocks that wait
}

// Sampler samples correlations. It is used by one goroutine.
type Sampler struct {
	o        SamplerOptions
	window   []waitingBlock
	bytes    int64
	founders map[event.ID]*founded
	order    []event.ID // of the founders, oldest first
	took     map[wire.Site]*durations

	Kept, Dropped, Interesting, Late uint64 // correlations; Late: kept from their middle on
}

// NewSampler makes a sampler.
func NewSampler(o SamplerOptions) *Sampler {
	return &Sampler{o: o, founders: map[event.ID]*founded{}, took: map[wire.Site]*durations{}}
}

// Waiting gives how many blocks wait in the window.
func (s *Sampler) Waiting() int { return len(s.window) }

// Add takes a block. With nothing to sample it goes on at once.
func (s *Sampler) Add(now time.Time, b *wire.Block) {
	if s.o.Kept() >= 1 {
		s.Flush()
		s.o.Out(b)
		return
	}
	s.look(b)
	w := waitingBlock{b, now, blockBytesOf(b)}
	s.window = append(s.window, w)
	s.bytes += w.bytes
	s.Tick(now)
}

// Tick lets go of the blocks that have waited long enough.
func (s *Sampler) Tick(now time.Time) {
	if len(s.window) == 0 {
		return
	}
	if s.o.Kept() >= 1 {
		s.Flush()
		return
	}
	for len(s.window) > 0 && (len(s.window) > windowBlocks || s.bytes > s.o.WindowBytesMax || now.Sub(s.window[0].since) >= windowAge) {
		s.leave()
	}
}

// Flush lets go of everything, now: what is decided is decided by what is known. When nothing is sampled any more, all that was
// known is forgotten.
func (s *Sampler) Flush() {
	for len(s.window) > 0 {
		s.leave()
	}
	if s.o.Kept() >= 1 && len(s.founders)+len(s.took) > 0 {
		clear(s.founders)
		clear(s.took)
		s.order = nil
	}
}

func blockBytesOf(b *wire.Block) int64 {
	return int64(len(b.Rows))*int64(unsafe.Sizeof(wire.Row{})) + int64(len(b.Edges))*int64(unsafe.Sizeof(wire.Edge{})) + int64(len(b.Arena))
}

// look notes what a block tells of its correlations.
func (s *Sampler) look(b *wire.Block) {
	for i := range b.Rows {
		r := &b.Rows[i]
		if r.Flags&wire.FlagBackground != 0 {
			continue
		}
		id := b.Base + event.ID(i) // #nosec G115 -- an index
		if r.Correlation == id && (s.o.Exempt == nil || !s.o.Exempt(r.Source)) {
			s.found(id, r)
		}
		interesting := r.Kind == event.KindError
		if r.Kind == event.KindReturn && r.Site != 0 && s.returned(r.Site, r.Duration) {
			interesting = true
		}
		if !interesting {
			continue
		}
		if f := s.founders[r.Correlation]; f != nil && !f.interesting {
			f.interesting = true
			s.Interesting++
		}
	}
}

// found notes a founder.
func (s *Sampler) found(id event.ID, r *wire.Row) {
	if len(s.order) >= foundersMax {
		delete(s.founders, s.order[0])
		s.order = s.order[1:]
	}
	s.founders[id] = &founded{hash: hashOf(s.o.Name(r.Stream), r.Seq)}
	s.order = append(s.order, id)
}

// hashOf is the same in every process and in every recording: FNV-1a, mixed once more, since its upper bits decide.
func hashOf(stream string, seq uint64) uint64 {
	h := uint64(14695981039346656037)
	for i := range len(stream) {
		h = (h ^ uint64(stream[i])) * 1099511628211
	}
	h ^= seq * 0x9E3779B97F4A7C15
	h = (h ^ h>>30) * 0xBF58476D1CE4E5B9
	h = (h ^ h>>27) * 0x94D049BB133111EB
	return h ^ h>>31
}

func (s *Sampler) returned(site wire.Site, ns int64) (slow bool) {
	d := s.took[site]
	if d == nil {
		if len(s.took) >= functionsMax {
			return false
		}
		d = &durations{}
		s.took[site] = d
	}
	return d.add(ns)
}

// leave decides on the oldest block, and lets go of it.
func (s *Sampler) leave() {
	w := s.window[0]
	s.window[0] = waitingBlock{}
	if s.window = s.window[1:]; len(s.window) == 0 {
		s.window = nil
	}
	s.bytes -= w.bytes
	below := s.o.Kept() * float64(1<<63) * 2
	var out []bool
	for i := range w.b.Rows {
		r := &w.b.Rows[i]
		if r.Flags&wire.FlagBackground != 0 || r.Kind == event.KindGap {
			continue
		}
		f := s.founders[r.Correlation]
		if f == nil {
			continue
		}
		switch {
		case f.fate == fateUnknown && (f.interesting || float64(f.hash) < below):
			f.fate = fateKept
			s.Kept++
		case f.fate == fateUnknown:
			f.fate = fateDropped
			s.Dropped++
		case f.fate == fateDropped && f.interesting:
			f.fate = fateKept
			s.Late++
		}
		if f.fate == fateDropped && r.Kind != event.KindExit {
			if out == nil {
				out = make([]bool, len(w.b.Rows))
			}
			out[i] = true
		}
	}
	if out != nil {
		s.thin(w.b, out)
	}
	s.o.Out(w.b)
}

// thin turns rows into gaps.
func (s *Sampler) thin(b *wire.Block, out []bool) {
	type counted struct {
		src wire.SourceID
		by  [event.KindGap + 1]int
	}
	var counts []counted
	var marks [event.KindGap + 1]struct{ off, length uint32 }
	arena, edges := make([]byte, 0, len(b.Arena)/2), make([]wire.Edge, 0, len(b.Edges)/2)
	move := func(off, n uint32) uint32 {
		at := len(arena)
		arena = append(arena, b.Arena[off:off+n]...)
		return uint32(at) // #nosec G115 -- not more than before, and the marks
	}
	for i := range b.Rows {
		r := &b.Rows[i]
		if !out[i] {
			if r.DataLen > 0 {
				r.DataOff = move(r.DataOff, r.DataLen)
			}
			if r.ExtLen > 0 {
				r.ExtOff = move(r.ExtOff, r.ExtLen)
			}
			if r.EdgeLen > 0 {
				further := b.Edges[r.EdgeOff : r.EdgeOff+r.EdgeLen]
				r.EdgeOff = uint32(len(edges)) // #nosec G115 -- less than before
				edges = append(edges, further...)
			}
			continue
		}
		at := slices.IndexFunc(counts, func(c counted) bool { return c.src == r.Source })
		if at < 0 {
			at = len(counts)
			counts = append(counts, counted{src: r.Source})
		}
		counts[at].by[r.Kind]++
		m := &marks[r.Kind]
		if m.length == 0 {
			m.off = uint32(len(arena)) // #nosec G115 -- as above
			arena = appendShed(arena, 1, ShedSample, r.Kind.String())
			m.length = uint32(len(arena)) - m.off // #nosec G115 -- short
		}
		r.Record = wire.Record{Time: r.Time, Seq: r.Seq, Site: r.Site, Flags: r.Flags & wire.FlagBackground, Kind: event.KindGap,
			DataOff: m.off, DataLen: m.length}
		r.Duration, r.EdgeOff, r.EdgeLen = 0, 0, 0
	}
	b.Arena, b.Edges = arena, edges
	for i := range counts {
		for kind, n := range counts[i].by {
			if n > 0 {
				s.o.Shed(counts[i].src, n, ShedSample+": "+event.Kind(kind).String()) // #nosec G115 -- a kind
			}
		}
	}
}
