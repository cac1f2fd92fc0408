package time

import _ "unsafe" // for linkname

// These are the runtime's.

//go:linkname pastconeOnWord runtime.pastconeOnWord
var pastconeOnWord *uint32

// pastconeOn tells whether the program is recorded at this moment.
func pastconeOn() bool { return *pastconeOnWord != 0 }

//go:linkname pastconeTimerPlace
func pastconeTimerPlace(pc uintptr)
