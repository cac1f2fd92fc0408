package runtime

import (
	"internal/abi"
	"unsafe"
)

// Errors. A goroutine remembers the last error that a recorded function returned, and how deep on the stack that function was.
//
//  1. A function further up returns the same error: passed. One whose chain holds it: wrapped. Any other: new.
//  2. A function further up returns no error: it dealt with the error, which is forgotten.
//  3. A function no further up returns the same error: new again; sentinel errors are returned from many places.
//
// The error is kept alive while it is remembered, so that its identity is its own.

const pastconeChainMax = 32 // errors of a chain that are looked at

// pastconeExitErrorOn records the return of a call whose error, if it has one, is not nil, or which has values.
func pastconeExitErrorOn(token uint64, v *PastconeValues, err *error) {
	gp := getg()
	if *pastconeOnWord == 0 || gp.pcState != pastconeRecorded && !pastconeAwake(gp) {
		return
	}
	id, silent := uint32(token), token&pastconeSilent != 0
	if token&pastconeTimed != 0 {
		id = uint32(token & (1<<pastconeTimedIDBits - 1))
	}
	flags := uint64(0)
	frame, unwound := pastconeFrame(gp, getfp())
	switch {
	case unwound:
		flags = pastconeReturnPanicked // the result is whatever it was
	case err != nil && *err != nil:
		flags = pastconeReturnError
		pastconeReturned(gp, id, *err, frame)
	default:
		pastconeHandled(gp, frame)
	}
	if silent {
		pastconeCountTime(token)
	} else if v == nil || unwound {
		pastconeWrite(gp.goid, &gp.pcSeq, pastconeKindReturn, uint64(id)|flags<<32, 0)
	} else {
		pastconeWriteValues(gp.goid, &gp.pcSeq, pastconeKindReturn, uint64(id)|flags<<32, 0, v)
	}
}

// pastconeReturned records what became of an error that a function returns.
func pastconeReturned(gp *g, id uint32, err error, frame uintptr) {
	identity := pastconeIdentity(err)
	what := uint64(pastconeErrorNew)
	if gp.pcErrorID != 0 {
		if identity == gp.pcErrorID {
			if frame < gp.pcErrorDepth {
				what = pastconeErrorPassed
			}
		} else if pastconeHolds(err, gp.pcErrorID) {
			what = pastconeErrorWrapped
		}
	}
	if what == pastconeErrorPassed {
		pastconeWrite(gp.goid, &gp.pcSeq, pastconeKindError, uint64(id)|what<<32, identity)
	} else {
		var v PastconeValues
		v.set(0, pastconeValueError, 0, pastconeErrorText(err))
		pastconeWriteValues(gp.goid, &gp.pcSeq, pastconeKindError, uint64(id)|what<<32, identity, &v)
		gp.pcError, gp.pcErrorID = efaceOf((*any)(unsafe.Pointer(&err))).data, identity
	}
	gp.pcErrorDepth = frame
}

// pastconeHandled forgets the error if a function above the one that returned it returns without one.
//
//go:nosplit
func pastconeHandled(gp *g, frame uintptr) {
	if gp.pcErrorID != 0 && frame < gp.pcErrorDepth {
		gp.pcErrorID, gp.pcErrorDepth = 0, 0
		gp.pcError = nil
	}
}

// pastconeForget is for a goroutine that ends.
func pastconeForget(gp *g) {
	if gp.pcErrorID != 0 {
		gp.pcErrorID, gp.pcErrorDepth, gp.pcError = 0, 0, nil
	}
}

// pastconeIdentity is the error's pointer; for values of up to a word, which each interface holds a copy of, it is made from
// type and value.
func pastconeIdentity(err error) uint64 {
	i := (*iface)(unsafe.Pointer(&err))
	t := i.tab.Type
	if t.IsDirectIface() {
		return uint64(uintptr(i.data))
	}
	if t.PtrBytes == 0 {
		value := uint64(0)
		switch t.Size_ {
		case 0:
		case 1:
			value = uint64(*(*uint8)(i.data))
		case 2:
			value = uint64(*(*uint16)(i.data))
		case 4:
			value = uint64(*(*uint32)(i.data))
		case 8:
			value = *(*uint64)(i.data)
		default:
			return uint64(uintptr(i.data))
		}
		return uint64(uintptr(unsafe.Pointer(t))) + (value+1)*0x9e3779b97f4a7c15 | 1
	}
	return uint64(uintptr(i.data))
}

// pastconeHolds tells whether an error's chain holds another. Unwrap methods are the user's: see pastconeErrorText.
func pastconeHolds(err error, identity uint64) (holds bool) {
	gp := getg()
	gp.pcState += pastconeBusy
	defer func() {
		recover()
		gp.pcState -= pastconeBusy
	}()
	left := pastconeChainMax
	return pastconeHoldsNext(err, identity, &left)
}

func pastconeHoldsNext(err error, identity uint64, left *int) bool {
	for first := true; err != nil && *left > 0; first = false {
		*left--
		if !first && pastconeIdentity(err) == identity {
			return true
		}
		switch x := err.(type) {
		case interface{ Unwrap() error }:
			err = x.Unwrap()
		case interface{ Unwrap() []error }:
			for _, joined := range x.Unwrap() {
				if joined != nil && (pastconeIdentity(joined) == identity || pastconeHoldsNext(joined, identity, left)) {
					return true
				}
			}
			return false
		default:
			return false
		}
	}
	return false
}

// pastconeErrorText returns what the error says. Its method runs as if nobody recorded: it leaves no events, and a panic in it
// goes no further.
func pastconeErrorText(err error) (text string) {
	gp := getg()
	gp.pcState += pastconeBusy
	text = "its Error method panicked"
	defer func() {
		recover()
		gp.pcState -= pastconeBusy
	}()
	return err.Error()
}

// Panics.

// pastconePanicked records that a panic begins.
func pastconePanicked(arg any) {
	gp := getg()
	if *pastconeOnWord == 0 || gp.pcState != pastconeRecorded && !pastconeAwake(gp) {
		return
	}
	var v PastconeValues
	switch x := arg.(type) {
	case nil:
		v.set(0, pastconeValueNil, 0, "")
	case error:
		v.Error(0, x)
	case string:
		v.String(0, x)
	case bool:
		v.Bool(0, x)
	case int:
		v.Int(0, int64(x))
	case int32:
		v.Int(0, int64(x))
	case int64:
		v.Int(0, x)
	case uint:
		v.Uint(0, uint64(x))
	case uint32:
		v.Uint(0, uint64(x))
	case uint64:
		v.Uint(0, x)
	case float64:
		v.Float(0, x)
	default:
		v.Other(0, toRType(efaceOf(&arg)._type).string())
	}
	pastconeEmitValues(pastconeKindPanic, 0, pastconePlace(pastconeUserPC(getfp())), 0, &v)
}

// pastconeUserPC finds the innermost return address that is not the runtime's.
func pastconeUserPC(fp uintptr) uintptr {
	var pcs [24]uintptr
	fault := uintptr(0)
	for _, pc := range pcs[:fpTracebackPCs(unsafe.Pointer(fp), pcs[:])] {
		f := findfunc(pc)
		if !f.valid() {
			return 0
		}
		if f.funcID == abi.FuncID_sigpanic {
			fault = 1 // what comes next is no return address, but the instruction that failed
			continue
		}
		if name := funcname(f); len(name) < 8 || name[:8] != "runtime." {
			return pc + fault
		}
		fault = 0
	}
	return 0
}

// pastconeRecovered records that a panic was recovered from.
//
//go:nosplit
func pastconeRecovered(pc uintptr) { pastconeEmit(pastconeKindRecover, 0, pastconePlace(pc), 0) }
