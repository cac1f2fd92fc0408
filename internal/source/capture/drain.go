package capture

import (
	"sync/atomic"

	"github.com/pastcone/pastcone/internal/capture"
)

// Draining, chunk by chunk.
//
//  1. A chunk that is being written has records up to the first whose second word is zero: the program stores that word last, and
//     goes on in order. A chunk that is full will not be touched again.
//  2. What is complete and not yet in the file is packed into it, and looked at on the way: whose program counter is new, which
//     functions are busy.
//  3. A full chunk is then all in the file: it is zeroed and given back.
//
// Invariants: a record is in the file once; of one chunk the records are in the file in order; a frame ends between two events, never
// between an event and its values, since the values are stored first.

// drain empties what is complete in the ring into the file.
func (c *Collector) drain(last bool) (drained int, err error) {
	freed := uint64(0)
	for i := range c.ring.chunks {
		state := c.ring.chunkState(i)
		if state == capture.ChunkFree {
			continue
		}
		next, records, err := c.spool.addRecords(c.ring.chunk(i), int(c.taken[i]), c.notice)
		if err != nil {
			return drained, err
		}
		c.taken[i] = uint32(next) // #nosec G115 -- at most ChunkRecords
		drained += records
		if state == capture.ChunkFull {
			c.ring.free(i, next)
			c.taken[i] = 0
			freed++
		}
		if !last && c.overfull() { // the rest waits in the ring
			break
		}
	}
	c.mu.Lock()
	c.stats.Records += uint64(drained) // #nosec G115 -- not negative
	c.stats.Chunks += freed
	c.mu.Unlock()
	return drained, nil
}

// interest says what the collector looks for in a record of each kind.
type interest uint8

const (
	wantCall interest = 1 << iota
	wantReturn
	wantPC    // a return address in b
	wantEntry // the entry of a function in b
	wantNothing
)

var interests = [256]interest{
	capture.KindValue: wantNothing, capture.KindText: wantNothing, // they belong to the event before
	capture.KindCall: wantCall, capture.KindCallRoot: wantCall, capture.KindReturn: wantReturn,
	capture.KindStart: wantEntry,
	capture.KindSpawn: wantPC, capture.KindSend: wantPC, capture.KindSendEmpty: wantPC, capture.KindReceive: wantPC,
	capture.KindReceiveEmpty: wantPC, capture.KindReceiveClosed: wantPC, capture.KindClose: wantPC, capture.KindAcquire: wantPC,
	capture.KindAcquireInferred: wantPC, capture.KindAcquireRange: wantPC, capture.KindRelease: wantPC, capture.KindNotify: wantPC,
	capture.KindWake: wantPC, capture.KindTimerSet: wantPC, capture.KindPanic: wantPC, capture.KindRecover: wantPC,
	capture.KindSignal: wantPC, capture.KindLog: wantPC, capture.KindTraceOut: wantPC, capture.KindTraceIn: wantPC,
	capture.KindAcquireUnseen: wantPC, capture.KindProbe: wantPC,
}

// noticing is what the collector looks at in records on their way.
type noticing struct {
	budget *budget
	places *places

	// The call that the record before was, if it was one.
	function uint32
	stream   uint64
	open     bool
}

// see looks at a record of a kind that is of interest.
func (n *noticing) see(is interest, w1, w2 uint64) {
	switch {
	case is&(wantPC|wantEntry) != 0:
		n.open = false
		if pc := uint32(w2 >> 32); pc != 0 {
			n.places.see(counterOf(pc, is&wantEntry != 0))
		}
	case is == wantCall:
		n.function, n.stream, n.open = uint32(w2), w1>>24, true // #nosec G115 -- the low half
		n.budget.call(n.function, 1)
	case is == wantReturn:
		if n.open && n.stream == w1>>24 && n.function == uint32(w2) { // #nosec G115 -- the low half
			n.budget.leaf(n.function, 1)
		}
		n.open = false
	default:
		n.open = false
	}
}

// sample counts the calls of a chunk that stands for so many. Nothing of it goes into the file, so places do not matter.
func (n *noticing) sample(chunk []byte, weight uint32) {
	n.open = false
	words := recordsOf(chunk)
	for i := range words {
		w1 := atomic.LoadUint64(&words[i][1])
		if w1 == 0 || uint8(w1) == capture.KindPad { // #nosec G115 -- the kind is the low byte
			break
		}
		function := uint32(atomic.LoadUint64(&words[i][2])) // #nosec G115 -- the low half
		switch interests[uint8(w1)] {                       // #nosec G115 -- the kind is the low byte
		case wantNothing:
		case wantCall:
			n.function, n.stream, n.open = function, w1>>24, true
			n.budget.call(function, weight)
		case wantReturn:
			if n.open && n.stream == w1>>24 && n.function == function {
				n.budget.leaf(function, weight)
			}
			n.open = false
		default:
			n.open = false
		}
	}
	n.open = false
}
