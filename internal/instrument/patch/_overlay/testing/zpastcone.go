package testing

import (
	"runtime"
	_ "unsafe" // for linkname
)

//go:linkname pastconeOnWord runtime.pastconeOnWord
var pastconeOnWord *uint32

// pastconeOn tells whether the program is recorded at this moment.
func pastconeOn() bool { return *pastconeOnWord != 0 }

// Numbers of the functions that are roots here.
const (
	pastconeTest      = 2
	pastconeFuzz      = 3
	pastconeBenchmark = 4
)

// pastconeEnter records that a test, a fuzz target or a benchmark begins.
func pastconeEnter(function uint32, name string) uint64 {
	var v runtime.PastconeValues
	v.String(0, name)
	return runtime.PastconeEnterValues(function, true, &v)
}
