package runtime

// Locks, wait groups and conditions: who let whom in.
//
// Outline. The types of package sync may not grow (their sizes are visible), so what is known of a lock lies in a table of fixed
// size, by the lock's address:
//
//  1. A release adds one to the lock's ordinal, notes which goroutine released and how many events it had left until then, and
//     leaves a record. An acquire by another goroutine leaves a record that names that ordinal.
//  2. What says nothing leaves no record. An acquire by the goroutine that released last: the order is that of its own stream.
//     A release behind another release of the same lock by the same goroutine, which has left no event since but releases: the
//     earlier one stands for it, since nothing is between them that could be of interest in somebody's past.
//  3. A lock that one goroutine releases again and again is quiet from the pastconeRunMax-th time on: releases are noted in the
//     table only. It is no longer quiet as soon as another goroutine takes it, or waits for it when it is released. An acquire
//     behind a quiet release is of a kind of its own that says so, and carries the goroutine that released and the number of
//     that goroutine's last event then.
//  4. Readers of an RWMutex release a second lock (the address of its readerCount); the next writer acquires the range of these.
//     A reader's acquire of what this goroutine has acquired before says nothing, either; the lock remembers some goroutines.
//  5. Each Done of a WaitGroup is a release, a Wait's return acquires the range of those since the Wait before it.
//
// Invariants. The fields of an entry that belong to an exclusive lock are touched only by its holder: after it got in, and
// before it lets go. What readers and Dones touch is atomic. An entry is put in by compare-and-swap, and taken out only while
// the world is stopped: these functions are not preemptible and hold their P, so none is in the middle of an entry then.
//
// Addresses are used again. When marking is complete and before anything is swept, the world being stopped, entries whose
// object was not marked are taken out: the memory can not be another's while the entry is there. At most pastconeLocksCheckedMax
// entries are looked at in a cycle; one that was passed over once is not certain to be the same lock's until its next release,
// and an acquire behind it is inferred. Locks outside the heap never change hands, if in the program's data.

import (
	"internal/runtime/atomic"
	"unsafe"
)

const (
	pastconeLockSlots       = 1 << 16
	pastconeLockWays        = 8
	pastconeRunMax          = 32 // releases in a row by one goroutine that are recorded
	pastconeReadsMax        = 64 // releases by readers that are recorded between two writers, unless one waits
	pastconeLockNumberMax   = 1<<32 - 1<<16
	pastconeLocksCheckedMax = 2048 // entries looked at in one collection cycle, while the world is stopped
)

// pastconeLock is an entry of the table: one cache line.
type pastconeLock struct {
	number  uint32 // the lock's, from 1
	cycle   uint32 // the cycle of collection until whose end what is here is certain to be of the lock that is there now
	ordinal uint64 // of the last release
	by      uint64 // the goroutine that made it
	after   uint64 // the number of that goroutine's last event then; of the release itself, if it was recorded. Of Dones: how many the last Wait was for
	base    uint64 // the last event of that goroutine that was no release. Of readers and Dones: the ordinal that the next range begins behind
	quiet   uint32 // the last release left no record; of readers and Dones: some did not
	run     uint16 // releases in a row by one goroutine, up to pastconeRunMax + 1. Of Dones: 1 if a Wait has returned
	period  uint16 // of recording: what the switch was when the lock was last released
	seen    [2]uint64
}

var (
	pastconeLockKeys   [pastconeLockSlots]uintptr
	pastconeLocks      [pastconeLockSlots]pastconeLock
	pastconeLocksUsed  [pastconeLockSlots]uint32 // the slots that are taken
	pastconeLocksCount uint32
	pastconeLocksNext  uint32 // the one of pastconeLocksUsed to look at first in the next cycle
	pastconeLockCycle  uint32
	pastconeLockNumber uint32
)

// pastconeBucket is the first of the slots where a lock can be.
//
//go:nosplit
func pastconeBucket(key uintptr) uintptr {
	return uintptr(uint64(key)*0x9e3779b97f4a7c15>>32) & (pastconeLockSlots - 1) &^ (pastconeLockWays - 1)
}

// pastconeLockAt gives the entry of a lock, nil if there is none.
//
//go:nosplit
func pastconeLockAt(key uintptr) *pastconeLock {
	b := pastconeBucket(key)
	keys := (*[pastconeLockWays]uintptr)(unsafe.Pointer(&pastconeLockKeys[b]))
	for i := range keys {
		if keys[i] == key {
			return &pastconeLocks[b+uintptr(i)]
		}
	}
	return nil
}

// pastconeLockFor gives the entry of a lock, and makes it if there is none. It is nil for a lock on the goroutine's own stack,
// which nobody else sees, and if there is no room.
//
//go:nosplit
func pastconeLockFor(gp *g, key uintptr) *pastconeLock {
	if l := pastconeLockAt(key); l != nil && atomic.Load(&l.number) != 0 {
		return l
	}
	if key >= gp.stack.lo && key < gp.stack.hi {
		return nil
	}
	b := pastconeBucket(key)
	for i := b; i < b+pastconeLockWays && atomic.Load(&pastconeLockNumber) < pastconeLockNumberMax; {
		switch pastconeLockKeys[i] {
		case key: // another reader was faster; it gives the number last
			l := &pastconeLocks[i]
			for atomic.Load(&l.number) == 0 {
				osyield()
			}
			return l
		case 0:
			if !atomic.Casuintptr(&pastconeLockKeys[i], 0, key) {
				continue // look again whose it is
			}
			l := &pastconeLocks[i]
			l.cycle, l.period = pastconeLockCycle, pastconePeriod()
			pastconeLocksUsed[atomic.Xadd(&pastconeLocksCount, 1)-1] = uint32(i)
			atomic.Store(&l.number, atomic.Xadd(&pastconeLockNumber, 1))
			return l
		}
		i++
	}
	pastconeForgotten()
	return nil
}

// pastconeLocksMarked is called with the world stopped, when marking is complete and nothing is swept yet.
func pastconeLocksMarked() {
	if pastconeLocksCount == 0 {
		return
	}
	last := pastconeLockCycle
	pastconeLockCycle++
	// Half of those that may be looked at are always the same, the oldest ones, which therefore stay certain. If there are more
	// than that and the other half, the rest have their turns.
	at, rest := uint32(0), pastconeLocksNext
	for n := min(pastconeLocksCount, pastconeLocksCheckedMax); n > 0; n-- {
		i := at
		if at >= pastconeLocksCheckedMax/2 && pastconeLocksCount > pastconeLocksCheckedMax {
			if rest < at || rest >= pastconeLocksCount {
				rest = at
			}
			i = rest
		}
		if i >= pastconeLocksCount {
			break
		}
		slot := pastconeLocksUsed[i]
		l := &pastconeLocks[slot]
		switch pastconeMemory(pastconeLockKeys[slot]) {
		case pastconeMemoryFree:
			// The last one takes its place, and is looked at next.
			*l = pastconeLock{}
			pastconeLockKeys[slot] = 0
			pastconeLocksCount--
			pastconeLocksUsed[i] = pastconeLocksUsed[pastconeLocksCount]
			continue
		case pastconeMemoryKept:
			if l.cycle == last {
				l.cycle = pastconeLockCycle
			}
		case pastconeMemoryStatic:
			l.cycle = pastconeLockCycle
		}
		if i == at {
			at++
		} else {
			rest++
		}
	}
	pastconeLocksNext = rest
}

const (
	pastconeMemoryUnknown = iota
	pastconeMemoryFree
	pastconeMemoryKept
	pastconeMemoryStatic
)

// pastconeMemory tells what becomes of the memory at an address in the sweep that is about to begin.
func pastconeMemory(p uintptr) int {
	if s := spanOfHeap(p); s != nil {
		if s.markBitsForIndex(s.objIndex(p)).isMarked() {
			return pastconeMemoryKept
		}
		return pastconeMemoryFree
	}
	for _, datap := range activeModules() {
		if datap.data <= p && p < datap.edata || datap.bss <= p && p < datap.ebss ||
			datap.noptrdata <= p && p < datap.enoptrdata || datap.noptrbss <= p && p < datap.enoptrbss {
			return pastconeMemoryStatic
		}
	}
	return pastconeMemoryUnknown
}

// pastconeRecords tells whether a goroutine is recorded.
//
//go:nosplit
func pastconeRecords(gp *g) bool { return gp.pcState == pastconeRecorded || pastconeAwake(gp) }

// pastconePeriod tells one period of recording from another. What happened to a lock in between is not known.
//
//go:nosplit
func pastconePeriod() uint16 { return uint16(*pastconeOnWord) }

// pastconeContent is the number of a goroutine's last event that was no release. gp.pcReleased is the number of its last event as
// this was called last, or as it released last.
//
//go:nosplit
func pastconeContent(gp *g) uint64 {
	if gp.pcSeq != gp.pcReleased {
		gp.pcContent, gp.pcReleased = gp.pcSeq, gp.pcSeq
	}
	return gp.pcContent
}

// pastconeForgotten counts a release for which there is no room in the table.
//
//go:nosplit
func pastconeForgotten() { atomic.Xadd64(pastcone64(pastconeOffLocksForgotten), 1) }

// pastconeRelease is called by the holder of a lock that is about to let it go. waiting says that somebody is known to wait.
//
//go:nosplit
func pastconeRelease(gp *g, l *pastconeLock, pc uintptr, waiting bool) {
	self := gp.goid
	period, content := pastconePeriod(), pastconeContent(gp)
	if l.by == self && l.period == period {
		if l.base == content {
			l.cycle = pastconeLockCycle
			return
		}
		if l.run <= pastconeRunMax {
			l.run++
		}
	} else {
		l.by, l.run, l.period = self, 1, period
	}
	l.base, l.cycle = content, pastconeLockCycle
	l.ordinal++
	l.quiet = 0
	if l.run > pastconeRunMax && !waiting || !pastconeRecords(gp) ||
		pastconeEmit(pastconeKindRelease, l.number, pastconePlace(pc), l.ordinal) == 0 {
		l.quiet = 1
	}
	l.after, gp.pcReleased = gp.pcSeq, gp.pcSeq
}

// pastconeAcquire is called by a goroutine that has just got in.
//
//go:nosplit
func pastconeAcquire(gp *g, l *pastconeLock, pc uintptr) {
	if !pastconeRecords(gp) {
		return
	}
	number, ordinal := l.number, l.ordinal
	switch {
	case l.period != pastconePeriod():
		pastconeAcquireUnseen(number, pc, 0, 0, 0)
	case l.quiet != 0:
		pastconeAcquireUnseen(number, pc, ordinal, l.by, l.after)
	case l.cycle != pastconeLockCycle:
		pastconeEmit(pastconeKindAcquireInferred, number, pastconePlace(pc), ordinal)
	default:
		pastconeEmit(pastconeKindAcquire, number, pastconePlace(pc), ordinal)
	}
}

// pastconeAcquireUnseen records an acquire behind releases that left no record. It may be preempted: nothing is done with the
// lock's entry after it.
func pastconeAcquireUnseen(number uint32, pc uintptr, ordinal, by, after uint64) {
	var v PastconeValues
	v.Uint(0, by)
	v.Uint(1, after)
	pastconeEmitValues(pastconeKindAcquireUnseen, number, pastconePlace(pc), ordinal, &v)
}

// pastconeAcquireRange records acquires behind the releases base+1 to last.
//
//go:nosplit
func pastconeAcquireRange(gp *g, number uint32, pc uintptr, base, last uint64) {
	count := last - base
	if count > pastconeRangeMax {
		atomic.Xadd64(pastcone64(pastconeOffAcquiresLeft), int64(count-pastconeRangeMax))
		count = pastconeRangeMax
	}
	if pastconeEmit(pastconeKindAcquireRange, number, pastconePlace(pc), last<<24|count) == 0 {
		return
	}
	gp.pcSeq += count - 1 // the record has the number of the first one
}

// Mutex.

//go:linkname pastconeLocked sync.pastconeLocked
//go:nosplit
func pastconeLocked(m unsafe.Pointer, pc uintptr) {
	gp := getg()
	if l := pastconeLockAt(uintptr(m)); l != nil && (l.by != gp.goid || l.period != pastconePeriod()) && l.ordinal != 0 {
		pastconeAcquire(gp, l, pc)
	}
}

// pastconeUnlocking is called before the Mutex is let go; its first word is its state, and the number of waiters is above the
// lowest three bits there.
//
//go:linkname pastconeUnlocking sync.pastconeUnlocking
//go:nosplit
func pastconeUnlocking(m unsafe.Pointer, pc uintptr) {
	gp := getg()
	if l := pastconeLockFor(gp, uintptr(m)); l != nil {
		pastconeRelease(gp, l, pc, atomic.Load((*uint32)(m))>>3 != 0)
	}
}

// RWMutex: m is its Mutex, readers its readerCount.

const pastconeReadersMax = 1 << 30

//go:linkname pastconeWriterIn sync.pastconeWriterIn
//go:nosplit
func pastconeWriterIn(m, readers unsafe.Pointer, pc uintptr) {
	gp := getg()
	number, base, last, unseen := uint32(0), uint64(0), uint64(0), false
	if r := pastconeLockAt(uintptr(readers)); r != nil && (r.ordinal != r.base || r.quiet != 0 || r.period != pastconePeriod()) {
		number, base, last = r.number, r.base, r.ordinal
		unseen = r.quiet != 0
		if r.cycle != pastconeLockCycle || r.period != pastconePeriod() {
			unseen, base = true, last
		}
		r.base, r.quiet, r.seen, r.period = last, 0, [2]uint64{}, pastconePeriod()
		r.cycle = pastconeLockCycle
	}
	if l := pastconeLockAt(uintptr(m)); l != nil && (l.by != gp.goid || l.period != pastconePeriod()) && l.ordinal != 0 {
		pastconeAcquire(gp, l, pc)
	}
	if number == 0 || !pastconeRecords(gp) {
		return
	}
	if base != last {
		pastconeAcquireRange(gp, number, pc, base, last)
	}
	if unseen {
		pastconeAcquireUnseen(number, pc, last, 0, 0)
	}
}

//go:linkname pastconeWriterOut sync.pastconeWriterOut
//go:nosplit
func pastconeWriterOut(m, readers unsafe.Pointer, pc uintptr) {
	gp := getg()
	if l := pastconeLockFor(gp, uintptr(m)); l != nil {
		l.seen = [2]uint64{}
		waiting := int32(atomic.Load((*uint32)(readers))) > -pastconeReadersMax || atomic.Load((*uint32)(m))>>3 != 0
		pastconeRelease(gp, l, pc, waiting)
	}
}

//go:linkname pastconeReaderIn sync.pastconeReaderIn
//go:nosplit
func pastconeReaderIn(m unsafe.Pointer, pc uintptr) {
	gp := getg()
	l := pastconeLockAt(uintptr(m))
	if l == nil || l.ordinal == 0 || !pastconeRecords(gp) {
		return
	}
	seen := &l.seen[gp.goid&1]
	if l.period == pastconePeriod() && (l.by == gp.goid || atomic.Load64(seen) == gp.goid) {
		return
	}
	atomic.Store64(seen, gp.goid)
	pastconeAcquire(gp, l, pc)
}

//go:linkname pastconeReaderOut sync.pastconeReaderOut
//go:nosplit
func pastconeReaderOut(readers unsafe.Pointer, pc uintptr) {
	gp := getg()
	r := pastconeLockFor(gp, uintptr(readers))
	if r == nil {
		return
	}
	if r.period != pastconePeriod() || r.cycle != pastconeLockCycle {
		// What is here is of another time, or perhaps of another lock. Several readers may do this at once: some releases more
		// are not in the next writer's range then, which is said to be incomplete anyway.
		atomic.Store(&r.quiet, 1)
		atomic.Store64(&r.base, atomic.Load64(&r.ordinal))
		r.seen, r.period, r.cycle = [2]uint64{}, pastconePeriod(), pastconeLockCycle
	}
	seen := &r.seen[gp.goid&1]
	said := gp.goid<<32 | pastconeContent(gp)&(1<<32-1)
	if atomic.Load64(seen) == said && gp.goid < 1<<32 {
		return
	}
	if !pastconeRecords(gp) || atomic.Load64(&r.ordinal)-r.base >= pastconeReadsMax && int32(atomic.Load((*uint32)(readers))) >= 0 {
		if r.quiet == 0 {
			atomic.Store(&r.quiet, 1)
		}
		return
	}
	number, ordinal := r.number, atomic.Xadd64(&r.ordinal, 1)
	atomic.Store64(seen, said)
	pastconeEmit(pastconeKindRelease, number, pastconePlace(pc), uint64(ordinal))
	gp.pcReleased = gp.pcSeq
}

// WaitGroup.

// pastconeBegins says that the counter was zero before an Add. It may have been so in the middle of starting a group, all of
// whose goroutines so far were fast: the next Wait is for them, too. So what it is for begins where the last Wait ended.
//
//go:linkname pastconeBegins sync.pastconeBegins
//go:nosplit
func pastconeBegins(wg unsafe.Pointer) {
	l := pastconeLockAt(uintptr(wg))
	if l == nil {
		return
	}
	switch {
	case l.cycle != pastconeLockCycle: // perhaps of another WaitGroup
		l.cycle = pastconeLockCycle
		atomic.Store64(&l.base, atomic.Load64(&l.ordinal))
		atomic.Store(&l.quiet, 1)
	case l.run != 0:
		atomic.Store64(&l.base, atomic.Load64(&l.after))
		atomic.Store(&l.quiet, 0)
	default:
		return
	}
	l.run, l.period = 0, pastconePeriod()
}

//go:linkname pastconeDone sync.pastconeDone
//go:nosplit
func pastconeDone(wg unsafe.Pointer, pc uintptr) {
	gp := getg()
	l := pastconeLockFor(gp, uintptr(wg))
	if l == nil {
		return
	}
	if !pastconeRecords(gp) || l.period != pastconePeriod() {
		atomic.Store(&l.quiet, 1)
		return
	}
	number, ordinal := l.number, atomic.Xadd64(&l.ordinal, 1)
	pastconeContent(gp)
	pastconeEmit(pastconeKindRelease, number, pastconePlace(pc), uint64(ordinal))
	gp.pcReleased = gp.pcSeq
}

//go:linkname pastconeWaited sync.pastconeWaited
//go:nosplit
func pastconeWaited(wg unsafe.Pointer, pc uintptr) {
	gp := getg()
	l := pastconeLockAt(uintptr(wg))
	if l == nil {
		return
	}
	number, base, last := l.number, atomic.Load64(&l.base), atomic.Load64(&l.ordinal)
	atomic.Store64(&l.after, last)
	l.run = 1
	if !pastconeRecords(gp) {
		return
	}
	unseen := atomic.Load(&l.quiet) != 0
	if base == last && !unseen {
		return
	}
	self := gp.goid<<32 | last&(1<<32-1)
	if atomic.Load64(&l.seen[0]) == self && gp.goid < 1<<32 {
		return // it has waited for the same ones before
	}
	atomic.Store64(&l.seen[0], self)
	if base != last {
		pastconeAcquireRange(gp, number, pc, base, last)
	}
	if unseen {
		pastconeAcquireUnseen(number, pc, last, 0, 0)
	}
}

// Cond. A notification is recorded if somebody waits; its number goes to the waiter through the waiter's g.

//go:linkname pastconeNotify sync.pastconeNotify
//go:nosplit
func pastconeNotify(list unsafe.Pointer, pc uintptr) {
	gp := getg()
	l := (*notifyList)(list)
	gp.pcNotice = 0
	if l.wait.Load() != atomic.Load(&l.notify) && pastconeRecords(gp) {
		gp.pcNotice = pastconeEmit(pastconeKindNotify, 0, pastconePlace(pc), 0)
	}
}

// pastconeNotifies tells a waiter that is about to be woken who wakes it.
//
//go:nosplit
func pastconeNotifies(waiter *g) {
	gp := getg()
	waiter.pcWaker, waiter.pcNotice = gp.goid, gp.pcNotice
}

//go:linkname pastconeWoken sync.pastconeWoken
//go:nosplit
func pastconeWoken(pc uintptr) {
	gp := getg()
	by, notice := gp.pcWaker, gp.pcNotice
	gp.pcWaker, gp.pcNotice = 0, 0
	if notice != 0 && by != 0 && pastconeRecords(gp) {
		pastconeEmit(pastconeKindWake, uint32(notice), pastconePlace(pc), by)
	}
}
