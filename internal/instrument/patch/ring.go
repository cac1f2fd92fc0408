package patch

// ringArea is what every other area needs: the ring's writer and the probes in package runtime, where the program's streams
// keep their place (g), where its Ps keep theirs in the ring (p), and the moments at which it begins and ends.
//
//   - a g carries the number of its last event, the ordinal of its last channel operation, the place of the receive that it
//     is in, and the last error that it returned. g.pcState is 1 if the goroutine is recorded and nothing speaks against it.
//   - a p carries where it writes next.
var ringArea = Area{
	Name: "ring",
	Edits: []Edit{
		{File: "runtime/runtime2.go", In: "g", Place: After, Anchor: "goid uint64",
			Text: "; pcState uint32; pcSeq uint64; pcOrd uint64; pcPC uintptr; pcErrorID uint64; pcErrorDepth uintptr; pcError unsafe.Pointer"},
		{File: "runtime/runtime2.go", In: "p", Place: End, Text: "pcAt uintptr; pcEnd uintptr; pcChunk uint32; pcDropping uint32"},
		{File: "runtime/proc.go", In: "p.destroy", Place: Entry, Text: "pastconeLeave(pp)"},

		// The program begins when the runtime does not do things of its own on the main goroutine any more.
		{File: "runtime/proc.go", In: "main", Place: After, Anchor: "gcenable()", Text: "; pastconeStart()"},

		{File: "runtime/proc.go", In: "main", Place: Before, Anchor: "exit(0)", Text: "pastconeEnded(pastconeEndExit, 0); "},
		{File: "runtime/runtime.go", In: "syscall_Exit", Place: Before, Anchor: "exit(int32(code))", Text: "pastconeEnded(pastconeEndExit, int32(code)); "},
		{File: "runtime/panic.go", In: "fatalpanic", Place: Entry, Text: "pastconeEnded(pastconeEndPanic, 2)"},
		{File: "runtime/panic.go", In: "fatalthrow", Place: Entry, Text: "pastconeEnded(pastconeEndFatal, 2)"},
		// Of a signal that the runtime dies of by itself, with all stacks printed: SIGQUIT, or another process's SIGSEGV.
		{File: "runtime/signal_unix.go", In: "sighandler", Place: Before, Anchor: "gp = fatalsignal(sig, c, gp, mp)", Text: "pastconeEnded(pastconeEndFatal, 2); "},
		{File: "runtime/signal_unix.go", In: "dieFromSignal", Place: Entry, Text: "pastconeEndedBySignal(sig)"},
	},
	Added: []string{
		"runtime/zpastcone.go",
		"runtime/zpastcone_map.go",
		"runtime/zpastcone_nomap.go",
		"runtime/zpastcone_linux.go",
		"runtime/zpastcone_darwin.go",
		"runtime/zpastcone_darwin_amd64.s",
		"runtime/zpastcone_darwin_arm64.s",
		"runtime/zpastcone_amd64.go",
		"runtime/zpastcone_amd64.s",
		"runtime/zpastcone_arm64.go",
		"runtime/zpastcone_arm64.s",
		"runtime/zpastcone_noclock.go",
		"runtime/zpastcone_ring.go",
		"runtime/zpastcone_probe.go",
		"runtime/zpastcone_any.go",
		"runtime/zpastcone_error.go",
		"runtime/zpastcone_flow.go",
	},
}
