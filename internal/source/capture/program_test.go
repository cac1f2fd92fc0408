package capture

import (
	"errors"
	"math/rand/v2"
	"os"
	"runtime"
	"sync"
	"sync/atomic"
	"time"
	"unsafe"

	"golang.org/x/sys/unix"

	"github.com/pastcone/pastcone/internal/capture"
)

// simulated is a recorded program as the collector sees it: it maps the ring's file, takes chunks and writes records, by the words of
// docs/format/ring.md, with as many Ps as it is told. What it records, it notes.
type simulated struct {
	memory []byte
	ring   Ring // a view of the same layout, at the program's own address
	clock  uint32
	ps     []*simulatedP
	free   sync.Mutex // taking a chunk
	stop   atomic.Bool
}

// simulatedP writes into a chunk of its own.
type simulatedP struct {
	*simulated
	id    uint32
	chunk []byte // nil: none
	index int
	at    int // records in it
}

// startProgram maps the ring as a program does that was told of it in its environment.
func startProgram(path string, ps int, clock uint32) (*simulated, error) {
	f, err := os.OpenFile(path, os.O_RDWR, 0)
	if err != nil {
		return nil, err
	}
	defer f.Close()
	info, err := f.Stat()
	if err != nil {
		return nil, err
	}
	memory, err := unix.Mmap(int(f.Fd()), 0, int(info.Size()), unix.PROT_READ|unix.PROT_WRITE, unix.MAP_SHARED)
	if err != nil {
		return nil, err
	}
	s := &simulated{memory: memory, clock: clock, ring: Ring{memory: memory}}
	v := &s.ring
	if v.load64(capture.OffMagic) != capture.Magic || v.load32(capture.OffVersion32) != capture.Version {
		return nil, errors.New("this is no ring")
	}
	v.policy = Policy(v.load32(capture.OffPolicy32))
	v.chunks = int(v.load32(capture.OffChunks32))
	v.functions = int(v.load32(capture.OffFunctions32))
	v.rows = int(v.load32(capture.OffPs32))
	v.states, v.functionS = int(v.load64(capture.OffChunkStates)), int(v.load64(capture.OffFunctionStates))
	v.silence, v.data = int(v.load64(capture.OffSilence)), int(v.load64(capture.OffChunkData))
	if !atomic.CompareAndSwapUint32((*uint32)(v.at(capture.OffOwner32)), 0, uint32(os.Getpid())) {
		return nil, errors.New("the ring has an owner")
	}
	v.store64(capture.OffTextStart, 0x400000)
	v.store64(capture.OffTextEnd, 0x400000+1<<20)
	v.store64(capture.OffStartTicks, s.ticks())
	v.store64(capture.OffStartUnix, uint64(time.Now().UnixNano()))
	v.store32(capture.OffClock32, clock)
	for i := range ps {
		s.ps = append(s.ps, &simulatedP{simulated: s, id: uint32(i)})
	}
	return s, nil
}

func (s *simulated) close() error { return unix.Munmap(s.memory) }

func testClock() uint32 {
	switch runtime.GOARCH {
	case "amd64":
		return capture.ClockTSC
	case "arm64":
		return capture.ClockCNTVCT
	}
	return capture.ClockNanos
}

func (s *simulated) ticks() uint64 {
	if s.clock == capture.ClockNanos {
		return uint64(monotonicNanos())
	}
	return readCounter()
}

func (s *simulated) end(how uint32, code int32) {
	s.ring.store32(capture.OffExitCode32, uint32(code))
	s.ring.store32(capture.OffEnd32, how)
}

// take gets the P a chunk. It is false if there is none.
func (p *simulatedP) take() bool {
	v := &p.ring
	if p.chunk != nil {
		v.store32(v.states+4*p.index, capture.ChunkFull)
		p.chunk = nil
	}
	for {
		p.free.Lock()
		found := -1
		cursor := v.load64(capture.OffCursor)
		for i := range v.chunks {
			if j := int((cursor + uint64(i)) % uint64(v.chunks)); v.chunkState(j) == capture.ChunkFree {
				found = j
				break
			}
		}
		if found < 0 && v.policy == Overwrite {
			oldest := ^uint64(0)
			for i := range v.chunks {
				if order := atomic.LoadUint64((*uint64)(unsafe.Pointer(&v.chunk(i)[0]))); v.chunkState(i) == capture.ChunkFull && order < oldest {
					found, oldest = i, order
				}
			}
			if found >= 0 {
				v.store32(v.states+4*found, capture.ChunkWriting)
				v.store64(capture.OffOverwritten, v.load64(capture.OffOverwritten)+eventsIn(v.chunk(found)))
				clear(v.chunk(found))
			}
		}
		if found >= 0 {
			order := cursor + 1
			v.store64(capture.OffCursor, order)
			p.chunk, p.index, p.at = v.chunk(found), found, 0
			atomic.StoreUint32((*uint32)(unsafe.Pointer(&p.chunk[8])), p.id)
			atomic.StoreUint64((*uint64)(unsafe.Pointer(&p.chunk[0])), order)
			v.store32(v.states+4*found, capture.ChunkWriting)
			p.free.Unlock()
			return true
		}
		p.free.Unlock()
		if v.policy != Block || monotonicNanos()-int64(v.load64(capture.OffBeat)) > capture.BeatStaleNanos || v.load32(capture.OffOn32) == 0 {
			return false
		}
		began := monotonicNanos()
		time.Sleep(20 * time.Microsecond)
		atomic.AddUint64((*uint64)(v.at(capture.OffBlockedNanos)), uint64(monotonicNanos()-began))
	}
}

// text is a value of a record that is a text.
type text struct {
	kind uint8
	s    string
}

// emit writes one event and its values: it is false if it was lost.
func (p *simulatedP) emit(kind uint8, stream, seq uint64, a, b uint32, c uint64, texts ...text) bool {
	v := &p.ring
	if v.load32(capture.OffOn32) == 0 {
		return false
	}
	now := p.ticks()
	need := 1
	for _, t := range texts {
		need += max(1, (min(len(t.s), capture.TextBytesMax)+textPart-1)/textPart)
	}
	if p.chunk == nil || p.at+need > capture.ChunkRecords {
		if p.chunk != nil && p.at < capture.ChunkRecords {
			p.put(p.at, now, capture.KindPad, 0, 0)
		}
		if !p.take() {
			atomic.AddUint64((*uint64)(v.at(capture.OffDropped)), 1)
			return false
		}
	}
	at := p.at + 1
	for i, t := range texts {
		left := []byte(t.s[:min(len(t.s), capture.TextBytesMax)])
		w1 := uint64(capture.KindValue) | uint64(t.kind)<<8 | uint64(i)<<16 | uint64(len(texts)-1-i)<<24 | uint64(len(t.s))<<32
		for first := true; first || len(left) > 0; first = false {
			var part [textPart]byte
			left = left[copy(part[:], left):]
			w := func(i int) uint64 { return *(*uint64)(unsafe.Pointer(&part[i])) }
			p.put(at, w(0), w1, w(8), w(16))
			w1 = capture.KindText
			at++
		}
	}
	p.put(p.at, now, uint64(kind)|seq&0xffff<<8|stream<<24, uint64(a)|uint64(b)<<32, c)
	p.at = at
	return true
}

// put stores a record, its second word last.
func (p *simulatedP) put(at int, w0, w1, w2, w3 uint64) {
	r := p.chunk[offsetOf(at):]
	store := func(i int, w uint64) { atomic.StoreUint64((*uint64)(unsafe.Pointer(&r[i])), w) }
	store(0, w0)
	store(16, w2)
	store(24, w3)
	store(8, w1)
}

// simulatedG is a goroutine of the program: a stream that goes on on any P.
type simulatedG struct {
	id, seq uint64
	depth   []uint32 // open calls
	notes   []note
	lost    int
}

// note is what the program knows of an event of its own.
type note struct {
	kind     uint8
	function uint32
	entity   uint64
	ordinal  uint64
	lost     bool
}

func (g *simulatedG) emit(p *simulatedP, kind uint8, function uint32, entity, ordinal uint64, texts ...text) {
	a, c := function, uint64(0)
	if forms[kind].entity {
		a, c = uint32(entity), entity>>32<<48|ordinal
	}
	g.seq++
	ok := p.emit(kind, g.id, g.seq, a, 0, c, texts...)
	g.notes = append(g.notes, note{kind, function, entity, ordinal, !ok})
	if !ok {
		g.lost++
	}
}

// channel is a channel of the program: what was sent is received once, in order.
type channel struct {
	mu             sync.Mutex
	id             uint64
	sent, received uint64
}

// work is a program of goroutines that call, and hand messages to each other, while they move from P to P.
type work struct {
	*simulated
	gs       []*simulatedG
	channels []*channel
	ready    chan *simulatedG
}

const (
	simulatedFunctions = 50
	firstGoroutine     = 2 // not that of main: its first event is no start
)

func newWork(s *simulated, goroutines, channels int) *work {
	w := &work{simulated: s, ready: make(chan *simulatedG, goroutines)}
	for i := range goroutines {
		g := &simulatedG{id: uint64(i + firstGoroutine)}
		w.gs = append(w.gs, g)
		w.ready <- g
	}
	for i := range channels {
		w.channels = append(w.channels, &channel{id: uint64(i+1) + uint64(i%3)<<40})
	}
	return w
}

// run does steps pieces of work on every P.
func (w *work) run(seed uint64, steps int) {
	var all sync.WaitGroup
	for i, p := range w.ps {
		all.Go(func() {
			random := rand.New(rand.NewPCG(seed, uint64(i)))
			for range steps {
				if w.stop.Load() {
					return
				}
				select {
				case g := <-w.ready:
					for range 1 + random.IntN(40) {
						w.step(p, g, random)
					}
					w.ready <- g
				default: // all run
					runtime.Gosched()
				}
			}
		})
	}
	all.Wait()
}

func (w *work) step(p *simulatedP, g *simulatedG, random *rand.Rand) {
	if g.seq == 0 {
		g.emit(p, capture.KindStart, 0, 0, 0)
	}
	switch n := random.IntN(10); {
	case n < 4 && len(g.depth) < 8:
		f := uint32(1 + random.IntN(simulatedFunctions))
		g.depth = append(g.depth, f)
		if random.IntN(8) == 0 {
			g.emit(p, capture.KindCall, f, 0, 0, text{capture.ValueString, "a text of some length that needs two records"}, text{capture.ValueString, ""})
			return
		}
		g.emit(p, capture.KindCall, f, 0, 0)
	case n < 7 && len(g.depth) > 0:
		f := g.depth[len(g.depth)-1]
		g.depth = g.depth[:len(g.depth)-1]
		g.emit(p, capture.KindReturn, f, 0, 0)
	default:
		c := w.channels[random.IntN(len(w.channels))]
		c.mu.Lock()
		if c.received < c.sent && random.IntN(2) == 0 {
			c.received++
			n := c.received
			c.mu.Unlock()
			g.emit(p, capture.KindReceive, 0, c.id, n)
			return
		}
		// The send is recorded before anybody can receive it.
		n := c.sent + 1
		g.emit(p, capture.KindSend, 0, c.id, n)
		c.sent = n
		c.mu.Unlock()
	}
}

// eventsIn counts the events of a chunk.
func eventsIn(chunk []byte) (n uint64) {
	for i := range capture.ChunkRecords {
		if isEvent(*(*uint64)(unsafe.Pointer(&chunk[offsetOf(i)+8]))) {
			n++
		}
	}
	return n
}
