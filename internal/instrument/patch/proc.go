package patch

// procArea follows goroutines: spawn (in the stream of the goroutine that has the go statement), start (when it runs for the
// first time) and exit. What package iter makes a coroutine of is a goroutine too.
var procArea = Area{
	Name: "goroutines",
	Edits: []Edit{
		{File: "runtime/proc.go", In: "newproc1", Place: Instead, Anchor: "isSystemGoroutine(newg, false)", Text: "pastconeSystem(newg)"},
		{File: "runtime/proc.go", In: "newproc1", Place: Before, Anchor: "releasem(mp)", Text: "pastconeSpawned(newg, callergp, callerpc); "},
		{File: "runtime/proc.go", In: "execute", Place: Before, Anchor: "gogo(&gp.sched)", Text: "if gp.pcState > pastconeRecorded { pastconeBegin(gp) }; "},
		{File: "runtime/coro.go", In: "corostart", Place: After, Anchor: "gp := getg()", Text: "; pastconeBegin(gp)"},
		{File: "runtime/proc.go", In: "gdestroy", Place: Entry, Text: "pastconeExited(gp)"},

		// Threads that C made come with a goroutine of their own, which nobody spawned.
		{File: "runtime/proc.go", In: "oneNewExtraM", Place: After, Anchor: "gp.goid = sched.goidgen.Add(1)", Text: "; gp.pcState = pastconeRecorded"},
	},
}
