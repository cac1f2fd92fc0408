package runtime

import "internal/runtime/atomic"

func pastconeTicks() uint64

// pastconePut writes a record with the time of the counter.
//
//go:noescape
func pastconePut(at uintptr, w1, ab, c uint64)

func pastconeCounter() uint32 { return pastconeClockCNTVCT }

// pastconePublish stores the word that makes a record complete: nothing stored before it is seen after it.
//
//go:nosplit
func pastconePublish(at *uint64, v uint64) { atomic.Store64(at, v) }
