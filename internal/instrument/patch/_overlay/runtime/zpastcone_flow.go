package runtime

import (
	"internal/runtime/atomic"
	"unsafe"
)

// Bits of g.pcState. A goroutine whose state is pastconeRecorded alone is recorded; anything more is looked at closely.
const (
	pastconeRecorded  = 1      // a goroutine of the user's
	pastconeUnstarted = 2      // it has a spawn, and no start yet
	pastconeParented  = 4      // the spawn is in its parent's stream
	pastconeBusy      = 1 << 8 // counts: it runs code of the user's on behalf of a probe, which leaves no events
)

// pastconeAwake decides whether a goroutine whose state is not plain is recorded, and starts it.
//
//go:nosplit
func pastconeAwake(gp *g) bool {
	state := gp.pcState
	if state >= pastconeBusy || state&pastconeRecorded == 0 {
		return false
	}
	if state&pastconeUnstarted != 0 {
		gp.pcState = pastconeRecorded
		parent := uint64(0)
		if state&pastconeParented != 0 {
			parent = gp.parentGoid
		}
		pastconeWrite(gp.goid, &gp.pcSeq, pastconeKindStart, uint64(pastconePlace(gp.startpc))<<32, parent)
	}
	return true
}

// pastconeEmit writes an event of the goroutine that runs, or on whose thread the runtime works, and returns the event's full
// number in its stream; 0 if it is not recorded.
//
//go:nosplit
func pastconeEmit(kind uint8, a, b uint32, c uint64) uint64 {
	if *pastconeOnWord == 0 {
		return 0
	}
	gp := getg()
	if mp := gp.m; gp != mp.curg {
		if gp = mp.curg; gp == nil {
			return 0
		}
	}
	return pastconeEmitG(gp, uint64(kind), uint64(a)|uint64(b)<<32, c)
}

//go:nosplit
func pastconeEmitG(gp *g, kind, ab, c uint64) uint64 {
	if gp.pcState != pastconeRecorded && !pastconeAwake(gp) {
		return 0
	}
	return pastconeWrite(gp.goid, &gp.pcSeq, kind, ab, c)
}

// pastconeEmitFor writes an event of a stream that is no goroutine, and whose number is kept by the caller, who makes sure that
// nobody else writes for it meanwhile.
//
//go:nosplit
func pastconeEmitFor(stream uint64, seq *uint64, kind uint8, a, b uint32, c uint64) uint64 {
	if *pastconeOnWord == 0 {
		return 0
	}
	return pastconeWrite(stream, seq, uint64(kind), uint64(a)|uint64(b)<<32, c)
}

// Goroutines.

// pastconeSystem is isSystemGoroutine for a goroutine that is being made. System goroutines are never recorded.
func pastconeSystem(newg *g) bool {
	newg.pcSeq = 0
	if isSystemGoroutine(newg, false) {
		newg.pcState = 0
		return true
	}
	newg.pcState = pastconeRecorded
	return false
}

// pastconeSpawned records the spawn of newg, which does not run yet, and makes its first running its start.
func pastconeSpawned(newg, callergp *g, pc uintptr) {
	if *pastconeOnWord == 0 || newg.pcState == 0 {
		return
	}
	pastconeAddGoroutine()
	newg.pcState = pastconeRecorded | pastconeUnstarted
	if pastconeEmitG(callergp, pastconeKindSpawn, uint64(pastconePlace(pc))<<32, newg.goid) != 0 {
		newg.pcState |= pastconeParented
	}
}

// pastconeBegin records the start of a goroutine that is about to run for the first time.
func pastconeBegin(gp *g) {
	if *pastconeOnWord != 0 && gp.pcState&pastconeUnstarted != 0 {
		pastconeAwake(gp)
	}
}

// pastconeExited records the exit of a goroutine.
func pastconeExited(gp *g) {
	if *pastconeOnWord != 0 {
		pastconeEmitG(gp, pastconeKindExit, 0, 0)
	}
	gp.pcState = 0
	pastconeForget(gp)
}

// Channels. The edits in chan.go and select.go give out ordinals under the channel's lock and leave the present goroutine's, or
// that of the one that they wake, in its g.pcOrd; what is below is called without the lock, when the operation has succeeded.

// pastconeOwnChannel is the number of channels that the runtime uses for itself; operations on them are not recorded.
const pastconeOwnChannel = 1<<64 - 1

// pastconeOwn takes the address of a variable of a channel type.
func pastconeOwn(variable unsafe.Pointer) { (*(**hchan)(variable)).pcID = pastconeOwnChannel }

// pastconeChannel returns the channel's number, which it gets when it is first needed.
//
//go:nosplit
func pastconeChannel(c *hchan) uint64 {
	if id := atomic.Load64(&c.pcID); id != 0 {
		return id
	}
	id := pastconeChannels.Add(1)
	if atomic.Cas64(&c.pcID, 0, id) {
		return id
	}
	return atomic.Load64(&c.pcID)
}

// pastconeOrdinal is the fourth word of a record about a channel or lock.
//
//go:nosplit
func pastconeOrdinal(id, ordinal uint64) uint64 { return id>>32<<48 | ordinal&(1<<48-1) }

func pastconeSent(c *hchan, pc uintptr) {
	if *pastconeOnWord != 0 {
		pastconeSentOn(c, pc)
	}
}

//go:nosplit
func pastconeSentOn(c *hchan, pc uintptr) {
	gp := getg()
	if gp != gp.m.curg {
		return // a timer's, on the system stack: pastconeFired, which knows the timer, records it by the ordinal in this g
	}
	if gp.pcState != pastconeRecorded && !pastconeAwake(gp) {
		return
	}
	kind := uint64(pastconeKindSend)
	if c.elemsize == 0 {
		kind = pastconeKindSendEmpty
	}
	id := pastconeChannel(c)
	if id == pastconeOwnChannel {
		return
	}
	pastconeWrite(gp.goid, &gp.pcSeq, kind, uint64(uint32(id))|uint64(pastconePlace(pc))<<32, pastconeOrdinal(id, gp.pcOrd))
}

func pastconeReceived(c *hchan, ep unsafe.Pointer, ok bool, pc uintptr) {
	if *pastconeOnWord != 0 {
		pastconeReceivedOn(c, ep, ok, pc)
	}
}

//go:nosplit
func pastconeReceivedOn(c *hchan, ep unsafe.Pointer, ok bool, pc uintptr) {
	gp := getg()
	if gp != gp.m.curg || gp.pcState != pastconeRecorded && !pastconeAwake(gp) {
		return
	}
	kind, ordinal := uint64(pastconeKindReceive), gp.pcOrd
	switch {
	case !ok:
		kind, ordinal = pastconeKindReceiveClosed, 0
	case ep == nil || c.elemsize == 0:
		kind = pastconeKindReceiveEmpty
	}
	id := pastconeChannel(c)
	if id == pastconeOwnChannel {
		return
	}
	pastconeWrite(gp.goid, &gp.pcSeq, kind, uint64(uint32(id))|uint64(pastconePlace(pc))<<32, pastconeOrdinal(id, ordinal))
}

// pastconeClosed records that the channel was closed, before those who wait for it are woken.
func pastconeClosed(c *hchan, pc uintptr) {
	if *pastconeOnWord == 0 {
		return
	}
	id := pastconeChannel(c)
	if id == pastconeOwnChannel {
		return
	}
	pastconeEmit(pastconeKindClose, uint32(id), pastconePlace(pc), pastconeOrdinal(id, 0))
}
