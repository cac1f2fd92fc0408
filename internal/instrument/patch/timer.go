package patch

// timerArea makes the timers of package time tell who set them, and what their firing sent or started.
var timerArea = Area{
	Name:  "timers",
	Added: []string{"runtime/zpastcone_timer.go", "time/zpastcone.go"},
	Edits: []Edit{
		// pcAsked counts settings as they are asked for, pcSet (under the timer's lock) is the one that holds.
		{File: "runtime/time.go", In: "timer", Anchor: "isSending atomic.Int32", Text: "; pcNumber, pcSeq uint64; pcAsked, pcSet uint32"},
		{File: "runtime/time.go", In: "newTimer", Place: Before, Anchor: "t.modify(when, period, f, arg, 0)", Text: "if pastconeOn() { pastconeTimerSet(&t.timer) }; "},
		{File: "runtime/time.go", In: "resetTimer", Place: Before, Anchor: "return t.reset(when, period)", Text: "if pastconeOn() { pastconeTimerSet(&t.timer) }; "},
		{File: "runtime/time.go", In: "timer.modify", Anchor: "t.lock()", Text: "; t.pcSet = t.pcAsked"},
		{File: "runtime/time.go", In: "timer.unlockAndRun", Anchor: "seq := t.seq", Text: "; setting := t.pcSet; recorded := pastconeOn() && t.pcNumber != 0"},
		{File: "runtime/time.go", In: "timer.unlockAndRun", Place: Instead, Anchor: "f(arg, seq, delay)",
			Text: "if recorded { pastconeFires() }; f(arg, seq, delay); if recorded { pastconeFired(t, setting, arg) }"},
		{File: "runtime/proc.go", In: "newproc1", Anchor: "newg.goid = pp.goidcache", Text: "; if callergp.goid == 0 { callergp.pcOrd = newg.goid }"},
		{File: "runtime/runtime2.go", In: "g", Anchor: "goid uint64", Text: "; pcPlace uintptr"},

		{File: "time/sleep.go", Place: Package, Text: `import "internal/runtime/sys"`},
		{File: "time/sleep.go", In: "NewTimer", Place: Entry, Text: placed},
		{File: "time/sleep.go", In: "After", Place: Entry, Text: placed},
		{File: "time/sleep.go", In: "AfterFunc", Place: Entry, Text: placed},
		{File: "time/sleep.go", In: "Timer.Reset", Place: Before, Anchor: "w := when(d)", Text: placed + "; "},
		{File: "time/tick.go", Place: Package, Text: `import "internal/runtime/sys"`},
		{File: "time/tick.go", In: "NewTicker", Place: Before, Anchor: "c := make(chan Time, 1)", Text: placed + "; "},
		{File: "time/tick.go", In: "Tick", Place: Before, Anchor: "return NewTicker(d).C", Text: placed + "; "},
		{File: "time/tick.go", In: "Ticker.Reset", Place: Before, Anchor: "resetTimer((*Timer)(unsafe.Pointer(t)), when(d), int64(d))", Text: placed + "; "},
	},
}

// placed keeps the place of the user's call, and keeps the function from being inlined.
const placed = "if pastconeOn() { pastconeTimerPlace(sys.GetCallerPC()) }"
