package runtime

func pastconeTicks() uint64

// pastconePut writes a record with the time of the counter.
//
//go:noescape
func pastconePut(at uintptr, w1, ab, c uint64)

func pastconeInvariant() uint32

// pastconeCounter says which counter of the processor serves as clock; 0: none.
func pastconeCounter() uint32 {
	if pastconeInvariant() != 0 {
		return pastconeClockTSC
	}
	return 0
}

// pastconePublish stores the word that makes a record complete: nothing stored before it is seen after it. On this
// architecture stores are seen in their order, and the compiler keeps that order.
//
//go:nosplit
func pastconePublish(at *uint64, v uint64) { *at = v }
