package probe

import (
	"runtime"
	"strconv"
	"sync"
)

// place is a line of the program, as its fields stand in an event line.
type place struct {
	pc       uintptr
	whole    string // ,"func":"…","file":"…","line":17
	function string // ,"func":"…"
}

// places keeps each place by its program counter. There are as many as the program has calls of this
// package.
var places sync.Map // uintptr → *place

// placeOf gives the place that a function on the stack is at: 1 is the function that calls placeOf, 2
// its caller, and so on. Inlined functions count.
//
//go:noinline
func placeOf(depth int) *place {
	var pc [1]uintptr
	if runtime.Callers(depth+1, pc[:]) == 0 {
		return nil
	}
	return placeAt(pc[0])
}

// placeAt gives the place of a return address, as runtime.Callers gives it; nil for 0.
func placeAt(pc uintptr) *place {
	if pc == 0 {
		return nil
	}
	if p, ok := places.Load(pc); ok {
		return p.(*place)
	}
	frame, _ := runtime.CallersFrames([]uintptr{pc}).Next()
	p := &place{pc: pc}
	if frame.Function != "" {
		text := appendText([]byte(`,"func":`), frame.Function, textBytesMax)
		p.function = string(text)
		if frame.File != "" {
			text = appendText(append(text, `,"file":`...), frame.File, textBytesMax)
			text = strconv.AppendInt(append(text, `,"line":`...), int64(frame.Line), 10)
		}
		p.whole = string(text)
	}
	places.Store(pc, p)
	return p
}
