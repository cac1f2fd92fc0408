package capture

import (
	"errors"
	"fmt"
	"os"
	"sync"
	"sync/atomic"
	"unsafe"

	"github.com/pastcone/pastcone/internal/capture"
)

// Policy says what the program does when the ring is full.
type Policy uint32

// The policies.
const (
	Block     Policy = capture.PolicyBlock     // it waits: nothing is lost
	Drop      Policy = capture.PolicyDrop      // it goes on, and what it lost is counted
	Overwrite Policy = capture.PolicyOverwrite // it overwrites the oldest: the flight recorder
)

// String names a policy as the command line does.
func (p Policy) String() string {
	switch p {
	case Block:
		return "block"
	case Drop:
		return "drop"
	case Overwrite:
		return "overwrite"
	}
	return fmt.Sprintf("policy(%d)", uint32(p))
}

// The bounds of a ring.
const (
	RingBytesDefault = 64 << 20
	RingBytesMin     = 8 * capture.ChunkBytes
	RingBytesMax     = 16 << 30
	FunctionsMax     = 1 << 20
	silenceBytesMax  = 16 << 20
	silenceRowsMax   = 64
	silenceEntry     = 16
	pageBytes        = 4096
)

// ErrUnsupported says that this system can not record programs.
var ErrUnsupported = errors.New("recording programs needs linux or darwin")

// RingOptions say how to make a ring. The zero RingOptions are fine but for Functions.
type RingOptions struct {
	Bytes     int64 // for records; 0: RingBytesDefault
	Policy    Policy
	Functions int // one more than the largest id of a function or a site
}

// Ring is the memory that a program and its collector share.
type Ring struct {
	path   string
	memory []byte

	policy    Policy
	chunks    int
	functions int
	rows      int // of the silence table

	states    int // offsets
	functionS int
	silence   int
	data      int

	closing sync.Once
	closed  error
}

// NewRing makes a ring in a new file in dir. If dir is empty, it is in shared memory where there is room, else in the
// directory for temporary files. Only its owner may read it. The ring must be closed.
func NewRing(dir string, o RingOptions) (*Ring, error) {
	if o.Bytes == 0 {
		o.Bytes = RingBytesDefault
	}
	switch {
	case o.Bytes < RingBytesMin || o.Bytes > RingBytesMax:
		return nil, fmt.Errorf("ring: %d bytes: it must be from %d to %d", o.Bytes, RingBytesMin, int64(RingBytesMax))
	case o.Policy > Overwrite:
		return nil, fmt.Errorf("ring: %v: it must be block, drop or overwrite", o.Policy)
	case o.Functions < 0 || o.Functions > FunctionsMax:
		return nil, fmt.Errorf("ring: %d functions: at most %d can be recorded; leave out packages with --exclude", o.Functions, FunctionsMax)
	}
	r := &Ring{policy: o.Policy, chunks: int(o.Bytes / capture.ChunkBytes), functions: max(o.Functions, 1)}
	r.rows = min(max(silenceBytesMax/(silenceEntry*r.functions), 1), silenceRowsMax)
	size := r.lay()
	if err := r.create(dir, int64(size)); err != nil {
		return nil, fmt.Errorf("ring: %w", err)
	}
	r.fillHeader()
	return r, nil
}

// lay gives each part its place, and the size of all.
func (r *Ring) lay() int {
	at := capture.HeaderBytes
	part := func(bytes int) int {
		begin := at
		at = (at + bytes + pageBytes - 1) &^ (pageBytes - 1)
		return begin
	}
	r.states = part(4 * r.chunks)
	r.functionS = part(r.functions)
	r.silence = part(r.rows * r.functions * silenceEntry)
	r.data = part(r.chunks * capture.ChunkBytes)
	return at
}

func (r *Ring) fillHeader() {
	r.store32(capture.OffVersion32, capture.Version)
	r.store32(capture.OffPolicy32, uint32(r.policy))
	r.store32(capture.OffChunkBytes32, capture.ChunkBytes)
	r.store32(capture.OffChunks32, uint32(r.chunks))       // #nosec G115 -- bounded by RingBytesMax
	r.store32(capture.OffFunctions32, uint32(r.functions)) // #nosec G115 -- bounded by FunctionsMax
	r.store32(capture.OffPs32, uint32(r.rows))             // #nosec G115 -- bounded by silenceRowsMax
	r.store64(capture.OffChunkStates, uint64(r.states))
	r.store64(capture.OffFunctionStates, uint64(r.functionS))
	r.store64(capture.OffSilence, uint64(r.silence))
	r.store64(capture.OffChunkData, uint64(r.data))
	r.store32(capture.OffCollector32, uint32(os.Getpid())) // #nosec G115 -- a process id
	r.beat()
	r.store32(capture.OffOn32, 1)
	r.store64(capture.OffMagic, capture.Magic) // last: now it is a ring
}

// Path gives the file's path.
func (r *Ring) Path() string { return r.path }

// Env gives the setting of the environment that tells the program of the ring.
func (r *Ring) Env() string { return capture.EnvRing + "=" + r.path }

// Policy gives what the program does when the ring is full.
func (r *Ring) Policy() Policy { return r.policy }

// Owner gives the process id of the program, 0 if none has come yet.
func (r *Ring) Owner() int { return int(r.load32(capture.OffOwner32)) }

// Record switches the recording on or off. It takes effect with the program's next event.
func (r *Ring) Record(on bool) {
	var value uint32
	if on {
		value = 1
	}
	r.store32(capture.OffOn32, value)
}

// Close ends the ring: the program records no more, the file is removed, the memory is given back. Nothing may use it then.
func (r *Ring) Close() error {
	r.closing.Do(func() {
		r.Record(false)
		r.closed = r.remove()
	})
	return r.closed
}

func (r *Ring) beat() { r.store64(capture.OffBeat, uint64(monotonicNanos())) } // #nosec G115 -- since boot

// at gives the address of an offset. The memory is a mapping: it neither moves nor is it collected.
func (r *Ring) at(offset int) unsafe.Pointer { return unsafe.Pointer(&r.memory[offset]) } // #nosec G103 -- shared memory

func (r *Ring) load32(offset int) uint32     { return atomic.LoadUint32((*uint32)(r.at(offset))) }
func (r *Ring) load64(offset int) uint64     { return atomic.LoadUint64((*uint64)(r.at(offset))) }
func (r *Ring) store32(offset int, v uint32) { atomic.StoreUint32((*uint32)(r.at(offset)), v) }
func (r *Ring) store64(offset int, v uint64) { atomic.StoreUint64((*uint64)(r.at(offset)), v) }

func (r *Ring) chunkState(i int) uint32 { return r.load32(r.states + 4*i) }

// chunk gives the memory of a chunk, its header included.
func (r *Ring) chunk(i int) []byte {
	from := r.data + i*capture.ChunkBytes
	return r.memory[from : from+capture.ChunkBytes : from+capture.ChunkBytes]
}

// free empties a chunk that has records up to the one numbered next, and gives it back to the program.
func (r *Ring) free(i, next int) {
	clear(r.chunk(i)[:offsetOf(next)])
	r.store32(r.states+4*i, capture.ChunkFree)
}

// silenced gives how often a function was called while it was silent, and for how many ticks, in all so far.
func (r *Ring) silenced(function int) (calls, ticks uint64) {
	for row := range r.rows {
		at := r.silence + (row*r.functions+function)*silenceEntry
		calls += r.load64(at)
		ticks += r.load64(at + 8)
	}
	return calls, ticks
}

// setFunction sets the state of a function. The collector is the only one that writes it.
func (r *Ring) setFunction(function int, state byte) { r.memory[r.functionS+function] = state }
