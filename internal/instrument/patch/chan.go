package patch

// chanArea gives each channel a number and counts what passes through it. Sends and receives are numbered under the channel's
// lock; whoever completes an operation on behalf of a goroutine that waits leaves the number in that goroutine's g. The events
// are written when the operation has returned to its goroutine, without the lock.
var chanArea = Area{
	Name: "channels",
	Edits: []Edit{
		{File: "runtime/chan.go", In: "hchan", Place: End, Text: "pcID uint64; pcSent uint64; pcReceived uint64"},

		{File: "runtime/chan.go", In: "chansend", Place: After, Anchor: "typedmemmove(c.elemtype, qp, ep)", Text: "; c.pcSent++; getg().pcOrd = c.pcSent"},
		{File: "runtime/chan.go", In: "chansend", Place: Before, Anchor: "return true", Times: 3, Text: "pastconeSent(c, callerpc); "},
		{File: "runtime/chan.go", In: "send", Place: Before, Anchor: "gp := sg.g",
			Text: "c.pcSent++; getg().pcOrd = c.pcSent; c.pcReceived++; sg.g.pcOrd = c.pcReceived; "},

		{File: "runtime/chan.go", In: "chanrecv", Place: After, Anchor: "typedmemclr(c.elemtype, qp)", Text: "; c.pcReceived++; getg().pcOrd = c.pcReceived"},
		{File: "runtime/chan.go", In: "chanrecv", Place: Before, Anchor: "return true, false", Times: 2, Text: "pastconeReceived(c, ep, false, getg().pcPC); "},
		{File: "runtime/chan.go", In: "chanrecv", Place: Before, Anchor: "return true, true", Times: 2, Text: "pastconeReceived(c, ep, true, getg().pcPC); "},
		{File: "runtime/chan.go", In: "chanrecv", Place: Before, Anchor: "return true, success", Text: "pastconeReceived(c, ep, success, getg().pcPC); "},
		{File: "runtime/chan.go", In: "recv", Place: Before, Anchor: "gp := sg.g",
			Text: "c.pcSent++; sg.g.pcOrd = c.pcSent; c.pcReceived++; getg().pcOrd = c.pcReceived; "},

		// chanrecv does not know its caller.
		{File: "runtime/chan.go", In: "chanrecv1", Place: Entry, Text: "getg().pcPC = sys.GetCallerPC()"},
		{File: "runtime/chan.go", In: "chanrecv2", Place: Entry, Text: "getg().pcPC = sys.GetCallerPC()"},
		{File: "runtime/chan.go", In: "selectnbrecv", Place: Entry, Text: "getg().pcPC = sys.GetCallerPC()"},
		{File: "runtime/chan.go", In: "reflect_chanrecv", Place: Entry, Text: "getg().pcPC = sys.GetCallerPC()"},

		{File: "runtime/chan.go", In: "closechan", Place: Before, Anchor: "for !glist.empty() {", Text: "pastconeClosed(c, sys.GetCallerPC()); "},

		// The runtime's own, which it also uses on the user's goroutines.
		{File: "runtime/proc.go", In: "main", Place: After, Anchor: "main_init_done = make(chan bool)", Text: "; pastconeOwn(unsafe.Pointer(&main_init_done))",
			Or: &Edit{Place: After, Anchor: "mainInitDoneChan = make(chan bool)", Text: "; pastconeOwn(unsafe.Pointer(&mainInitDoneChan))"}},
		{File: "runtime/mgc.go", In: "gcBgMarkStartWorkers", Place: After, Anchor: "ready := make(chan struct{}, 1)", Text: "; pastconeOwn(unsafe.Pointer(&ready))"},
		{File: "runtime/mgc.go", In: "unique_runtime_registerUniqueMapCleanup", Place: After, Anchor: "uniqueMapCleanup = make(chan struct{}, 1)",
			Text: "; pastconeOwn(unsafe.Pointer(&uniqueMapCleanup))", Optional: true}, // to Go 1.24
		{File: "runtime/signal_unix.go", In: "ensureSigM", Place: After, Anchor: "enableSigChan = make(chan uint32)",
			Text: "; pastconeOwn(unsafe.Pointer(&enableSigChan)); pastconeOwn(unsafe.Pointer(&disableSigChan)); pastconeOwn(unsafe.Pointer(&maskUpdatedChan))"},

		// What a timer sent and nobody will receive.
		{File: "runtime/chan.go", In: "timerchandrain", Place: After, Anchor: "c.qcount--", Text: "; c.pcReceived++"},
	},
}

// selectArea is the same for select statements of more than one case.
var selectArea = Area{
	Name: "select",
	Edits: []Edit{
		{File: "runtime/select.go", In: "selectgo", Place: After, Anchor: "typedmemclr(c.elemtype, qp)", Text: "; c.pcReceived++; gp.pcOrd = c.pcReceived"},
		{File: "runtime/select.go", In: "selectgo", Place: After, Anchor: "typedmemmove(c.elemtype, chanbuf(c, c.sendx), cas.elem)",
			Text: "; c.pcSent++; gp.pcOrd = c.pcSent"},
		{File: "runtime/select.go", In: "selectgo", Place: Before, Anchor: "return casi, recvOK",
			Text: "if casi >= nsends { pastconeReceived(c, cas.elem, recvOK, sys.GetCallerPC()) } else if casi >= 0 { pastconeSent(c, sys.GetCallerPC()) }; "},
	},
}
