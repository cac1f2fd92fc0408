package patch

// syncArea makes package sync tell who let whom in: Mutex, RWMutex, WaitGroup, Once, Cond. Their types stay as they are; what
// has to be remembered of a lock is in a table of the runtime (zpastcone_sync.go).
//
// The calls take their caller's place, which keeps Lock, Unlock and the like from being inlined: the place is the user's.
var syncArea = Area{
	Name:  "sync",
	Added: []string{"runtime/zpastcone_sync.go", "sync/zpastcone.go"},
	Edits: []Edit{
		{File: "sync/mutex.go", Place: Package, Text: `import ("internal/runtime/sys"; "unsafe")`},
		{File: "sync/mutex.go", In: "Mutex.Lock", Anchor: "m.mu.Lock()",
			Text: "; if pastconeOn() { pastconeLocked(unsafe.Pointer(&m.mu), sys.GetCallerPC()) }"},
		{File: "sync/mutex.go", In: "Mutex.TryLock", Place: Instead, Anchor: "return m.mu.TryLock()",
			Text: "if !m.mu.TryLock() { return false }; if pastconeOn() { pastconeLocked(unsafe.Pointer(&m.mu), sys.GetCallerPC()) }; return true"},
		{File: "sync/mutex.go", In: "Mutex.Unlock", Place: Before, Anchor: "m.mu.Unlock()",
			Text: "if pastconeOn() { pastconeUnlocking(unsafe.Pointer(&m.mu), sys.GetCallerPC()) }; "},

		{File: "sync/rwmutex.go", Place: Package, Text: `import "internal/runtime/sys"`},
		{File: "sync/rwmutex.go", In: "RWMutex.RLock", Place: End,
			Text: "if pastconeOn() { pastconeReaderIn(unsafe.Pointer(&rw.w), sys.GetCallerPC()) }"},
		{File: "sync/rwmutex.go", In: "RWMutex.TryRLock", Place: Before, Anchor: "return true",
			Text: "if pastconeOn() { pastconeReaderIn(unsafe.Pointer(&rw.w), sys.GetCallerPC()) }; "},
		{File: "sync/rwmutex.go", In: "RWMutex.RUnlock", Place: Entry,
			Text: "if pastconeOn() { pastconeReaderOut(unsafe.Pointer(&rw.readerCount), sys.GetCallerPC()) }"},
		{File: "sync/rwmutex.go", In: "RWMutex.Lock", Place: Instead, Anchor: "rw.w.Lock()", Text: "rw.w.mu.Lock()"},
		{File: "sync/rwmutex.go", In: "RWMutex.Lock", Place: End,
			Text: "if pastconeOn() { pastconeWriterIn(unsafe.Pointer(&rw.w), unsafe.Pointer(&rw.readerCount), sys.GetCallerPC()) }"},
		{File: "sync/rwmutex.go", In: "RWMutex.TryLock", Place: Instead, Anchor: "rw.w.TryLock()", Text: "rw.w.mu.TryLock()"},
		{File: "sync/rwmutex.go", In: "RWMutex.TryLock", Place: Instead, Anchor: "rw.w.Unlock()", Text: "rw.w.mu.Unlock()"},
		{File: "sync/rwmutex.go", In: "RWMutex.TryLock", Place: Before, Anchor: "return true",
			Text: "if pastconeOn() { pastconeWriterIn(unsafe.Pointer(&rw.w), unsafe.Pointer(&rw.readerCount), sys.GetCallerPC()) }; "},
		{File: "sync/rwmutex.go", In: "RWMutex.Unlock", Place: Entry,
			Text: "if pastconeOn() { pastconeWriterOut(unsafe.Pointer(&rw.w), unsafe.Pointer(&rw.readerCount), sys.GetCallerPC()) }"},
		{File: "sync/rwmutex.go", In: "RWMutex.Unlock", Place: Instead, Anchor: "rw.w.Unlock()", Text: "rw.w.mu.Unlock()"},

		{File: "sync/waitgroup.go", Place: Package, Text: `import "internal/runtime/sys"`},
		{File: "sync/waitgroup.go", In: "WaitGroup.Add", Place: Instead, Anchor: "func (wg *WaitGroup) Add(delta int) {",
			Text: "func (wg *WaitGroup) Add(delta int) { wg.pastconeAdd(delta, sys.GetCallerPC()) }; " +
				"func (wg *WaitGroup) pastconeAdd(delta int, pc uintptr) {"},
		{File: "sync/waitgroup.go", In: "WaitGroup.Add", Place: Before, Anchor: "state := wg.state.Add(uint64(delta) << 32)",
			Text: "if pastconeOn() && delta < 0 { pastconeDone(unsafe.Pointer(wg), pc) }; "},
		{File: "sync/waitgroup.go", In: "WaitGroup.Add", Anchor: "v := int32(state >> 32)",
			Text: "; if pastconeOn() && delta > 0 && v == int32(delta) { pastconeBegins(unsafe.Pointer(wg)) }"},
		{File: "sync/waitgroup.go", In: "WaitGroup.Done", Place: Instead, Anchor: "wg.Add(-1)", Text: "wg.pastconeAdd(-1, sys.GetCallerPC())"},
		{File: "sync/waitgroup.go", In: "WaitGroup.Wait", Place: Instead, Times: 2, Anchor: "\t\t\treturn\n",
			Text: "\t\t\tif pastconeOn() { pastconeWaited(unsafe.Pointer(wg), sys.GetCallerPC()) }; return\n"},

		{File: "sync/once.go", Place: Package, Text: `import ("internal/runtime/sys"; "unsafe")`},
		{File: "sync/once.go", In: "Once.doSlow", Place: Instead, Anchor: "o.m.Lock()",
			Text: "pc := sys.GetCallerPC(); o.m.mu.Lock(); if pastconeOn() { pastconeLocked(unsafe.Pointer(&o.m.mu), pc) }"},
		{File: "sync/once.go", In: "Once.doSlow", Place: Instead, Anchor: "defer o.m.Unlock()", Text: "defer pastconeUnlock(&o.m.mu, pc)"},

		{File: "sync/cond.go", Place: Package, Text: `import "internal/runtime/sys"`},
		{File: "sync/cond.go", In: "Cond.Wait", Anchor: "runtime_notifyListWait(&c.notify, t)",
			Text: "; if pastconeOn() { pastconeWoken(sys.GetCallerPC()) }"},
		{File: "sync/cond.go", In: "Cond.Signal", Place: Before, Anchor: "runtime_notifyListNotifyOne(&c.notify)",
			Text: "if pastconeOn() { pastconeNotify(unsafe.Pointer(&c.notify), sys.GetCallerPC()) }; "},
		{File: "sync/cond.go", In: "Cond.Broadcast", Place: Before, Anchor: "runtime_notifyListNotifyAll(&c.notify)",
			Text: "if pastconeOn() { pastconeNotify(unsafe.Pointer(&c.notify), sys.GetCallerPC()) }; "},

		{File: "runtime/sema.go", In: "notifyListNotifyOne", Place: Before, Anchor: "readyWithTime(s, 4)", Text: "if pastconeOn() { pastconeNotifies(s.g) }; "},
		{File: "runtime/sema.go", In: "notifyListNotifyAll", Place: Before, Anchor: "readyWithTime(s, 4)", Text: "if pastconeOn() { pastconeNotifies(s.g) }; "},
		{File: "runtime/runtime2.go", In: "g", Anchor: "goid uint64", Text: "; pcReleased, pcContent, pcWaker, pcNotice uint64"},
		{File: "runtime/proc.go", In: "newproc1", Anchor: "newg.goid = pp.goidcache", Text: "; newg.pcReleased, newg.pcContent, newg.pcWaker = 0, 0, 0"},
		{File: "runtime/mgc.go", In: "gcMarkTermination", Place: Before, Anchor: "stwSwept = gcSweep(work.mode)", Text: "pastconeLocksMarked(); "},
	},
}
