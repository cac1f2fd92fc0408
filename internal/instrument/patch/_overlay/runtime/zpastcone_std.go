package runtime

// What packages above the runtime record with values: signals, and the causal context of requests.

import (
	"internal/runtime/sys"
	_ "unsafe" // for linkname
)

// pastconeSignal records that a signal is about to be delivered to the program's channels.
//
//go:linkname pastconeSignal os/signal.pastconeSignal
func pastconeSignal(name string) {
	if !pastconeRecords(getg()) {
		return
	}
	var v PastconeValues
	v.String(0, name)
	pastconeEmitValues(pastconeKindSignal, 0, pastconePlace(sys.GetCallerPC()), 0, &v)
}

// pastconeTrace records that a request left, or came, with a causal context: 16 bytes of a trace's id and 8 of a span's, in the
// order in which they are written.
//
//go:linkname pastconeTrace net/http.pastconeTrace
func pastconeTrace(out bool, context *[24]byte, pc uintptr) {
	if !pastconeRecords(getg()) {
		return
	}
	kind := uint8(pastconeKindTraceIn)
	if out {
		kind = pastconeKindTraceOut
	}
	var v PastconeValues
	v.String(0, string(context[:]))
	pastconeEmitValues(kind, 0, pastconePlace(pc), 0, &v)
}

// pastconeOnWord is read by packages above the runtime: it is 0 while nothing is recorded.
//
//go:linkname pastconeOnWord
