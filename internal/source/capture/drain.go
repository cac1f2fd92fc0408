package capture

import (
	"encoding/binary"
	"sync/atomic"
	"unsafe"

	"github.com/pastcone/pastcone/internal/capture"
)

// Draining, chunk by chunk.
//
//  1. A chunk that is being written has records up to the first whose second word is zero: the program stores that word last, and
//     goes on in order. A chunk that is full will not be touched again.
//  2. What is complete and not yet in the file is copied into it, and looked at there: whose program counter is new, which functions
//     are busy.
//  3. A full chunk is then all in the file: it is zeroed and given back.
//
// Invariants: a record is in the file once; of one chunk the records are in the file in order; a frame ends between two events, never
// between an event and its values, since the values are stored first.

// offsetOf gives where a record of a chunk begins.
func offsetOf(record int) int { return capture.ChunkHeaderBytes + record*capture.RecordBytes }

// complete gives how many records of a chunk are complete, from the one numbered from on.
func complete(chunk []byte, from int) int {
	for ; from < capture.ChunkRecords; from++ {
		word := (*uint64)(unsafe.Pointer(&chunk[offsetOf(from)+8])) // #nosec G103 -- shared memory, aligned
		if atomic.LoadUint64(word) == 0 {
			break
		}
	}
	return from
}

// drain empties what is complete in the ring into the file.
func (c *Collector) drain(last bool) (drained int, err error) {
	for i := range c.ring.chunks {
		state := c.ring.chunkState(i)
		if state == capture.ChunkFree {
			continue
		}
		chunk := c.ring.chunk(i)
		from := int(c.taken[i])
		to := complete(chunk, from)
		if to > from {
			if err := c.store(chunk, from, to); err != nil {
				return drained, err
			}
			drained += to - from
			c.taken[i] = uint32(to) // #nosec G115 -- at most ChunkRecords
		}
		if state == capture.ChunkFull {
			c.ring.free(i)
			c.taken[i] = 0
			c.mu.Lock()
			c.stats.Chunks++
			c.mu.Unlock()
		}
		if !last && c.overfull() { // the rest waits in the ring
			break
		}
	}
	return drained, nil
}

// store copies records from to to of a chunk into the file.
func (c *Collector) store(chunk []byte, from, to int) error {
	order := atomic.LoadUint64((*uint64)(unsafe.Pointer(&chunk[0])))                             // #nosec G103 -- shared memory, aligned
	p := atomic.LoadUint32((*uint32)(unsafe.Pointer(&chunk[8])))                                 // #nosec G103 -- shared memory, aligned
	records, err := c.spool.addChunk(order, p, uint32(from), chunk[offsetOf(from):offsetOf(to)]) // #nosec G115 -- at most ChunkRecords
	if err != nil {
		return err
	}
	c.look(records)
	c.mu.Lock()
	c.stats.Records += uint64(to - from) // #nosec G115 -- not negative
	c.mu.Unlock()
	if c.spool.full() {
		return c.spool.flush()
	}
	return nil
}

// interest says what the collector looks for in a record of each kind.
type interest uint8

const (
	wantCall interest = 1 << iota
	wantReturn
	wantPC    // a return address in b
	wantEntry // the entry of a function in b
)

var interests = [256]interest{
	capture.KindCall: wantCall, capture.KindCallRoot: wantCall, capture.KindReturn: wantReturn,
	capture.KindStart: wantEntry,
	capture.KindSpawn: wantPC, capture.KindSend: wantPC, capture.KindSendEmpty: wantPC, capture.KindReceive: wantPC,
	capture.KindReceiveEmpty: wantPC, capture.KindReceiveClosed: wantPC, capture.KindClose: wantPC, capture.KindAcquire: wantPC,
	capture.KindAcquireInferred: wantPC, capture.KindAcquireRange: wantPC, capture.KindRelease: wantPC, capture.KindNotify: wantPC,
	capture.KindWake: wantPC, capture.KindTimerSet: wantPC, capture.KindPanic: wantPC, capture.KindRecover: wantPC,
	capture.KindSignal: wantPC, capture.KindLog: wantPC, capture.KindTraceOut: wantPC, capture.KindTraceIn: wantPC,
	capture.KindAcquireUnseen: wantPC,
}

// look goes through records for the budget of calls and for program counters that are new.
func (c *Collector) look(records []byte) {
	// The call that the record before was, if it was one: its function and stream.
	var function uint32
	var stream uint64
	open := false
	for ; len(records) >= capture.RecordBytes; records = records[capture.RecordBytes:] {
		w1 := binary.LittleEndian.Uint64(records[8:])
		is := interests[uint8(w1)] // #nosec G115 -- the kind is the low byte
		switch {
		case is&(wantPC|wantEntry) != 0:
			open = false
			if pc := binary.LittleEndian.Uint32(records[20:]); pc != 0 {
				c.places.see(counterOf(pc, is&wantEntry != 0))
			}
		case is == wantCall:
			function, stream, open = binary.LittleEndian.Uint32(records[16:]), w1>>24, true
			c.budget.call(function)
		case is == wantReturn:
			if open && stream == w1>>24 && function == binary.LittleEndian.Uint32(records[16:]) {
				c.budget.leaf(function)
			}
			open = false
		default: // values belong to the event before
			open = open && uint8(w1) >= capture.KindText // #nosec G115 -- the kind is the low byte
		}
	}
}
