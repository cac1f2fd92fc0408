package runtime

import (
	"internal/runtime/atomic"
	"unsafe"
)

// The runtime is not patched here: this file and its neighbours are added to it, and nothing of its own is changed. So a
// goroutine and a P carry nothing for us; what they would carry is kept beside, and what happens between goroutines is not seen.
//
// A g is used again for another goroutine when its own has ended, which is not seen either: a side whose goid is another's
// begins anew. So there are never more sides than there were goroutines at one time.

const (
	pastconeRecorded = 1
	pastconeSystems  = 2      // a goroutine of the runtime's own
	pastconeBusy     = 1 << 8 // as where the runtime is patched

	pastconeSides    = 1 << 16
	pastconeSideTry  = 64
	pastconeSidesOfP = 1 << 12
)

// pastconeSide is what a patched g has itself.
type pastconeSide struct {
	of           uintptr // the g; 0: free
	goid         uint64
	pcState      uint32
	pcSeq        uint64
	pcErrorID    uint64
	pcErrorDepth uintptr
	pcError      unsafe.Pointer
}

// pastconePSide is what a patched p has itself.
type pastconePSide struct {
	pcAt, pcEnd         uintptr
	pcChunk, pcDropping uint32
	_                   [40]byte // a cache line for each P
}

var (
	pastconeGSides [pastconeSides]pastconeSide
	pastconePSides [pastconeSidesOfP]pastconePSide
	pastconeNoSide = pastconeSide{pcState: pastconeSystems} // of a goroutine for which there was no room
)

// pastconeG finds the side of a g: linear probing from a hash of its address. Only the goroutine itself looks, so only the
// claim of a free side is contended.
//
//go:nosplit
func pastconeG(gp *g) *pastconeSide {
	of := uintptr(unsafe.Pointer(gp))
	h := uint32(uint64(of) >> 6 * 0x9e3779b97f4a7c15 >> 48)
	for i := uint32(0); i < pastconeSideTry; i++ {
		s := &pastconeGSides[(h+i)%pastconeSides]
		if s.of != of {
			if s.of != 0 || !atomic.Casuintptr(&s.of, 0, of) {
				continue
			}
		}
		if s.goid != gp.goid {
			s.goid, s.pcState, s.pcSeq = gp.goid, 0, 0
			s.pcErrorID, s.pcErrorDepth = 0, 0
		}
		return s
	}
	return &pastconeNoSide
}

//go:nosplit
func pastconeP(pp *p) *pastconePSide { return &pastconePSides[uint32(pp.id)%pastconeSidesOfP] }

// The runtime's own goroutines have done what they do here by now; those of the user's have not begun.
func init() { pastconeStart() }

// pastconeAwake decides whether a goroutine is recorded when its first probe comes, and starts it.
//
//go:nosplit
func pastconeAwake(gp *g) bool {
	s := pastconeG(gp)
	if s == &pastconeNoSide {
		pastconeLost()
		return false
	}
	if s.pcState == 0 {
		s.pcState = pastconeRecorded
		pastconeAddGoroutine()
		pastconeWrite(gp.goid, &s.pcSeq, pastconeKindStart, uint64(pastconePlace(gp.startpc))<<32, 0)
	}
	return s.pcState == pastconeRecorded
}

//go:nosplit
func pastconeEmit(kind uint8, a, b uint32, c uint64) uint64 {
	if *pastconeOnWord == 0 {
		return 0
	}
	gp := getg()
	if gp != gp.m.curg || pastconeG(gp).pcState != pastconeRecorded && !pastconeAwake(gp) {
		return 0
	}
	return pastconeWrite(gp.goid, &pastconeG(gp).pcSeq, uint64(kind), uint64(a)|uint64(b)<<32, c)
}
