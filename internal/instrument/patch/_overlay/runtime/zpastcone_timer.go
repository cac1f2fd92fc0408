package runtime

// Timers of package time. A timer is a stream of its own: its firings are events there, since no goroutine makes them. Each
// setting (New, Reset) is an event of the goroutine that made it, and has a number; a firing names the setting that it
// follows. The ordinal of what a firing sent is the channel's own, kept under the channel's lock: firings that are given up,
// since the timer was stopped or set again meanwhile, take none.

import (
	"internal/abi"
	"internal/runtime/atomic"
	"internal/runtime/sys"
	_ "unsafe" // for linkname
)

var pastconeTimers uint64 // timers that have a number

// pastconeTimerPlace keeps the place of a user's call of package time until the runtime's timer is set: that of the outermost
// function of the package.
//
//go:linkname pastconeTimerPlace time.pastconeTimerPlace
//go:nosplit
func pastconeTimerPlace(pc uintptr) {
	if gp := getg(); gp.pcPlace == 0 {
		gp.pcPlace = pc
	}
}

// pastconeTimerSet records that a timer is about to be set. The setting takes effect in timer.modify, under the timer's lock.
func pastconeTimerSet(t *timer) {
	gp := getg()
	pc := gp.pcPlace
	gp.pcPlace = 0
	if pc == 0 {
		pc = sys.GetCallerPC()
	}
	if !pastconeRecords(gp) {
		return
	}
	if t.pcNumber == 0 {
		t.pcNumber = uint64(atomic.Xadd64(&pastconeTimers, 1))
	}
	n := atomic.Xadd(&t.pcAsked, 1)
	pastconeEmit(pastconeKindTimerSet, 0, pastconePlace(pc), t.pcNumber<<24|uint64(n)&(1<<24-1))
}

// pastconeFires is called on the system stack before a timer's function is.
//
//go:nosplit
func pastconeFires() {
	getg().pcOrd = 0
}

// pastconeFired is called behind it, also on the system stack. What the function did is left at the system stack's g: the
// ordinal of what it sent, or the child that it started.
func pastconeFired(t *timer, setting uint32, arg any) {
	did := getg().pcOrd
	if did == 0 {
		return
	}
	if efaceOf(&arg)._type.Kind() == abi.Chan {
		c := (*hchan)(efaceOf(&arg).data)
		id := pastconeChannel(c)
		pastconeEmitFor(t.pcNumber, &t.pcSeq, pastconeKindTimerSend, uint32(id), setting, pastconeOrdinal(id, did))
		return
	}
	pastconeEmitFor(t.pcNumber, &t.pcSeq, pastconeKindTimerSpawn, 0, setting, did)
}
