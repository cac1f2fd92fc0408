package sync

import (
	isync "internal/sync"
	"unsafe"
)

// These are the runtime's.

//go:linkname pastconeOnWord runtime.pastconeOnWord
var pastconeOnWord *uint32

// pastconeOn tells whether the program is recorded at this moment.
func pastconeOn() bool { return *pastconeOnWord != 0 }

//go:linkname pastconeLocked
//go:noescape
func pastconeLocked(m unsafe.Pointer, pc uintptr)

//go:linkname pastconeUnlocking
//go:noescape
func pastconeUnlocking(m unsafe.Pointer, pc uintptr)

//go:linkname pastconeWriterIn
//go:noescape
func pastconeWriterIn(m, readers unsafe.Pointer, pc uintptr)

//go:linkname pastconeWriterOut
//go:noescape
func pastconeWriterOut(m, readers unsafe.Pointer, pc uintptr)

//go:linkname pastconeReaderIn
//go:noescape
func pastconeReaderIn(m unsafe.Pointer, pc uintptr)

//go:linkname pastconeReaderOut
//go:noescape
func pastconeReaderOut(readers unsafe.Pointer, pc uintptr)

//go:linkname pastconeBegins
//go:noescape
func pastconeBegins(wg unsafe.Pointer)

//go:linkname pastconeDone
//go:noescape
func pastconeDone(wg unsafe.Pointer, pc uintptr)

//go:linkname pastconeWaited
//go:noescape
func pastconeWaited(wg unsafe.Pointer, pc uintptr)

//go:linkname pastconeNotify
//go:noescape
func pastconeNotify(list unsafe.Pointer, pc uintptr)

//go:linkname pastconeWoken
func pastconeWoken(pc uintptr)

// pastconeUnlock unlocks a Once's mutex, in the name of its user.
func pastconeUnlock(m *isync.Mutex, pc uintptr) {
	if pastconeOn() {
		pastconeUnlocking(unsafe.Pointer(m), pc)
	}
	m.Unlock()
}
