package runtime

import (
	"internal/abi"
	"internal/goarch"
	"internal/runtime/atomic"
	"unsafe"
)

// What rewritten sources call:
//
//	defer runtime.PastconeExit(runtime.PastconeEnter(17))
//
// A token tells the exit what the entry did: the function's id in its low 32 bits, and one of
const (
	pastconeDead   = 1 << 63 // nothing was recorded: off, or a goroutine that is not recorded
	pastconeSilent = 1 << 62 // the call was counted only
	pastconeTimed  = 1 << 61 // the same, and it is timed: 21 bits of id, 40 of ticks above them

	pastconeTimedIDBits = 21
	pastconeTimedSilent = 16
)

// PastconeEnter records a call.
//
//go:nosplit
func PastconeEnter(id uint32) uint64 {
	if *pastconeOnWord == 0 {
		return pastconeDead
	}
	return pastconeEnterOn(id)
}

// PastconeExit records the return of a call.
//
//go:nosplit
func PastconeExit(token uint64) {
	if token&pastconeDead == 0 {
		pastconeExitOn(token)
	}
}

// PastconeEnterRoot records the call of a root.
//
//go:nosplit
func PastconeEnterRoot(id uint32) uint64 {
	if *pastconeOnWord == 0 {
		return pastconeDead
	}
	return pastconeEnterValuesOn(id, pastconeKindCallRoot, nil)
}

// PastconeEnterValues records a call with its arguments.
//
//go:nosplit
func PastconeEnterValues(id uint32, root bool, v *PastconeValues) uint64 {
	if *pastconeOnWord == 0 {
		return pastconeDead
	}
	kind := uint64(pastconeKindCall)
	if root {
		kind = pastconeKindCallRoot
	}
	return pastconeEnterValuesOn(id, kind, v)
}

//go:nosplit
func pastconeEnterOn(id uint32) uint64 {
	gp := getg()
	if gp.pcState != pastconeRecorded && !pastconeAwake(gp) {
		return pastconeDead
	}
	if id < pastconeFunctions && *(*uint8)(unsafe.Pointer(pastconeFuncStates + uintptr(id))) != pastconeFunctionOn {
		return pastconeCountCall(id)
	}
	pastconeWrite(gp.goid, &gp.pcSeq, pastconeKindCall, uint64(id), 0)
	return uint64(id)
}

// pastconeEnterValuesOn is for calls with more to them. A root is never silent.
//
//go:nosplit
func pastconeEnterValuesOn(id uint32, kind uint64, v *PastconeValues) uint64 {
	gp := getg()
	if gp.pcState != pastconeRecorded && !pastconeAwake(gp) {
		return pastconeDead
	}
	if kind == pastconeKindCall && id < pastconeFunctions && *(*uint8)(unsafe.Pointer(pastconeFuncStates + uintptr(id))) != pastconeFunctionOn {
		return pastconeCountCall(id)
	}
	if v == nil {
		pastconeWrite(gp.goid, &gp.pcSeq, kind, uint64(id), 0)
	} else {
		pastconeWriteValues(gp.goid, &gp.pcSeq, kind, uint64(id), 0, v)
	}
	return uint64(id)
}

//go:nosplit
func pastconeExitOn(token uint64) {
	if token&pastconeSilent != 0 {
		pastconeCountTime(token)
		return
	}
	gp := getg()
	if *pastconeOnWord == 0 || gp.pcState != pastconeRecorded && !pastconeAwake(gp) {
		return
	}
	flags := uint64(0)
	if gp._panic != nil || gp.pcErrorID != 0 {
		frame, unwound := pastconeFrame(gp, getfp())
		if unwound {
			flags = pastconeReturnPanicked
		}
		pastconeHandled(gp, frame)
	}
	pastconeWrite(gp.goid, &gp.pcSeq, pastconeKindReturn, uint64(uint32(token))|flags<<32, 0)
}

// PastconeExitValues records the return of a call with its results. err is the last result if that is an error, or nil.
func PastconeExitValues(token uint64, v *PastconeValues, err *error) {
	if token&pastconeDead == 0 {
		pastconeExitErrorOn(token, v, err)
	}
}

// PastconeExitError records the return of a call whose last result is an error.
func PastconeExitError(token uint64, err *error) {
	if token&pastconeDead == 0 {
		if *err == nil {
			pastconeExitOn(token)
		} else {
			pastconeExitErrorOn(token, nil, err)
		}
	}
}

// pastconeCountCall counts a call of a silent function. Rows of Ps beyond the table's are one row, which several may use at once.
//
//go:nosplit
func pastconeCountCall(id uint32) uint64 {
	calls, shared := pastconeSilenceOf(id)
	n := *calls + 1
	if shared {
		n = uint64(atomic.Xadd64(calls, 1))
	} else {
		*calls = n
	}
	if n%pastconeTimedSilent == 0 && id < 1<<pastconeTimedIDBits {
		if n%pastconeTimedEvery == 0 {
			pastconeTimeCount(id)
		}
		return pastconeSilent | pastconeTimed | uint64(id) | pastconeNow()&(1<<40-1)<<pastconeTimedIDBits
	}
	return pastconeSilent | uint64(id)
}

// pastconeTimeCount times what it takes to count a call, by doing it once more with nothing to add.
//
//go:nosplit
func pastconeTimeCount(id uint32) {
	if !pastconeCounted {
		return
	}
	began := pastconeTicks()
	calls, _ := pastconeSilenceOf(id)
	atomic.Xadd64(calls, 0)
	pastconeTook(pastconeTicks() - began)
}

//go:nosplit
func pastconeCountTime(token uint64) {
	if token&pastconeTimed == 0 {
		return
	}
	id := uint32(token & (1<<pastconeTimedIDBits - 1))
	took := (pastconeNow() - token>>pastconeTimedIDBits) & (1<<40 - 1) * pastconeTimedSilent
	calls, shared := pastconeSilenceOf(id)
	ticks := (*uint64)(add(unsafe.Pointer(calls), 8))
	if shared {
		atomic.Xadd64(ticks, int64(took))
	} else {
		*ticks += took
	}
}

// pastconeSilenceOf returns where the present P counts the calls of a silent function; the ticks are behind it.
//
//go:nosplit
func pastconeSilenceOf(id uint32) (calls *uint64, shared bool) {
	row := uint32(getg().m.p.ptr().id)
	if row >= pastconePs-1 {
		row, shared = pastconePs-1, true
	}
	return (*uint64)(unsafe.Pointer(pastconeSilence + 16*(uintptr(row)*uintptr(pastconeFunctions)+uintptr(id)))), shared
}

// pastconeFrame looks at who called a deferred exit, whose frame pointer is fp: the function itself as it returns, or a panic
// (or Goexit) that unwinds it. frame is the function's frame pointer, as a distance from the stack's end, which a move of the
// stack does not change: callers have smaller ones. 0: not known.
//
//	function → [deferreturn] → wrapper that the compiler makes for the defer → [Pastcone…, if not inlined] → …On
//
//go:nosplit
func pastconeFrame(gp *g, fp uintptr) (frame uintptr, unwound bool) {
	if fp == 0 {
		return 0, gp._panic != nil // no frame pointers on this architecture
	}
	caller := func(fp uintptr) (uintptr, uintptr) {
		return *(*uintptr)(unsafe.Pointer(fp)), *(*uintptr)(unsafe.Pointer(fp + goarch.PtrSize))
	}
	fp, pc := caller(fp)
	if in := pastconeEntry(pc); in == abi.FuncPCABIInternal(PastconeExit) || in == abi.FuncPCABIInternal(PastconeExitError) || in == abi.FuncPCABIInternal(PastconeExitValues) {
		fp, _ = caller(fp)
	}
	fp, pc = caller(fp) // who called the wrapper
	switch pastconeEntry(pc) {
	case abi.FuncPCABIInternal(gopanic), abi.FuncPCABIInternal(Goexit):
		return 0, true
	case abi.FuncPCABIInternal(deferreturn):
		fp, _ = caller(fp)
	}
	return gp.stack.hi - fp, false
}

//go:nosplit
func pastconeEntry(pc uintptr) uintptr {
	f := findfunc(pc)
	if !f.valid() {
		return 0
	}
	return f.entry()
}

// PastconeValues holds up to eight values of an event. It lives on the stack of the function that is recorded.
type PastconeValues struct {
	types [8]uint8
	bits  [8]uint64
	texts [8]string
}

//go:nosplit
func (v *PastconeValues) set(i int, kind uint8, bits uint64, text string) {
	if uint(i) < uint(len(v.types)) {
		v.types[i], v.bits[i], v.texts[i] = kind, bits, text
	}
}

func (v *PastconeValues) Int(i int, x int64)   { v.set(i, pastconeValueInt, uint64(x), "") }
func (v *PastconeValues) Uint(i int, x uint64) { v.set(i, pastconeValueUint, x, "") }
func (v *PastconeValues) Float(i int, x float64) {
	v.set(i, pastconeValueFloat, *(*uint64)(unsafe.Pointer(&x)), "")
}
func (v *PastconeValues) Bool(i int, x bool) {
	bits := uint64(0)
	if x {
		bits = 1
	}
	v.set(i, pastconeValueBool, bits, "")
}
func (v *PastconeValues) String(i int, x string) { v.set(i, pastconeValueString, 0, x) }
func (v *PastconeValues) Pointer(i int, x unsafe.Pointer) {
	v.set(i, pastconeValuePtr, uint64(uintptr(x)), "")
}
func (v *PastconeValues) Other(i int, typeName string) { v.set(i, pastconeValueOther, 0, typeName) }

// Error takes the error's text, if anybody is listening: Error methods are the user's.
func (v *PastconeValues) Error(i int, x error) {
	switch {
	case x == nil:
		v.set(i, pastconeValueNil, 0, "")
	case *pastconeOnWord == 0:
	default:
		v.set(i, pastconeValueError, 0, pastconeErrorText(x))
	}
}

// PastconeState records an assignment: value 0 is the old one, value 1 the new one.
//
//go:nosplit
func PastconeState(site uint32, addr unsafe.Pointer, v *PastconeValues) {
	pastconeEmitValues(pastconeKindState, site, 0, uint64(uintptr(addr)), v)
}

// PastconeQueueSend and PastconeQueueReceive record that an element went into a queue, and came out of it.
//
//go:nosplit
func PastconeQueueSend(id uint32, element uint64) {
	pastconeEmit(pastconeKindQueueSend, id, 0, element)
}

//go:nosplit
func PastconeQueueReceive(id uint32, element uint64) {
	pastconeEmit(pastconeKindQueueReceive, id, 0, element)
}

// pastconeEmitValues is pastconeEmit for an event with values.
//
//go:nosplit
func pastconeEmitValues(kind uint8, a, b uint32, c uint64, v *PastconeValues) uint64 {
	if *pastconeOnWord == 0 {
		return 0
	}
	gp := getg()
	if mp := gp.m; gp != mp.curg {
		if gp = mp.curg; gp == nil {
			return 0
		}
	}
	if gp.pcState != pastconeRecorded && !pastconeAwake(gp) {
		return 0
	}
	return pastconeWriteValues(gp.goid, &gp.pcSeq, uint64(kind), uint64(a)|uint64(b)<<32, c, v)
}
