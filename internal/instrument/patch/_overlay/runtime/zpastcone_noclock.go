//go:build !amd64 && !arm64

package runtime

import "internal/runtime/atomic"

//go:nosplit
func pastconeTicks() uint64 { return uint64(nanotime()) }

//go:nosplit
func pastconePut(at uintptr, w1, ab, c uint64) {}

func pastconeCounter() uint32 { return 0 }

//go:nosplit
func pastconePublish(at *uint64, v uint64) { atomic.Store64(at, v) }
