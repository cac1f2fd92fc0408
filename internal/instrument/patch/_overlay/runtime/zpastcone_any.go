package runtime

import (
	"internal/abi"
	"unsafe"
)

// What rewritten sources use where they know no more of a value than its expression: the type decides here, by its kind, so
// that a named type is read like the one below it, and no method of the user's is called.

// Any takes a scalar or a string as it is, the address of what is a pointer, and of all else the type's name.
func (v *PastconeValues) Any(i int, x any) {
	e := efaceOf((*any)(noescape(unsafe.Pointer(&x))))
	if e._type == nil {
		v.Error(i, nil)
		return
	}
	p := noescape(e.data)
	switch e._type.Kind() {
	case abi.Bool:
		v.Bool(i, *(*bool)(p))
	case abi.Int:
		v.Int(i, int64(*(*int)(p)))
	case abi.Int8:
		v.Int(i, int64(*(*int8)(p)))
	case abi.Int16:
		v.Int(i, int64(*(*int16)(p)))
	case abi.Int32:
		v.Int(i, int64(*(*int32)(p)))
	case abi.Int64:
		v.Int(i, *(*int64)(p))
	case abi.Uint:
		v.Uint(i, uint64(*(*uint)(p)))
	case abi.Uint8:
		v.Uint(i, uint64(*(*uint8)(p)))
	case abi.Uint16:
		v.Uint(i, uint64(*(*uint16)(p)))
	case abi.Uint32:
		v.Uint(i, uint64(*(*uint32)(p)))
	case abi.Uint64:
		v.Uint(i, *(*uint64)(p))
	case abi.Uintptr:
		v.Uint(i, uint64(*(*uintptr)(p)))
	case abi.Float32:
		v.Float(i, float64(*(*float32)(p)))
	case abi.Float64:
		v.Float(i, *(*float64)(p))
	case abi.String:
		v.String(i, *(*string)(p))
	case abi.Pointer, abi.UnsafePointer, abi.Chan, abi.Map, abi.Func:
		if p == nil {
			v.Error(i, nil)
			return
		}
		v.Pointer(i, p)
	default:
		v.Other(i, toRType(e._type).string())
	}
}

// PastconeIdentity is what makes an element of a queue that one: a pointer's address, an integer's value, the address of a
// text or of a slice's array. What has none is known by its type alone. 0 is no element.
func PastconeIdentity(x any) uint64 {
	e := efaceOf((*any)(noescape(unsafe.Pointer(&x))))
	if e._type == nil {
		return 0
	}
	p, word := noescape(e.data), uint64(0)
	switch e._type.Kind() {
	case abi.Pointer, abi.UnsafePointer, abi.Chan, abi.Map, abi.Func:
		return uint64(uintptr(p))
	case abi.String, abi.Slice:
		return uint64(uintptr(*(*unsafe.Pointer)(p)))
	case abi.Int8, abi.Uint8:
		word = uint64(*(*uint8)(p))
	case abi.Int16, abi.Uint16:
		word = uint64(*(*uint16)(p))
	case abi.Int32, abi.Uint32:
		word = uint64(*(*uint32)(p))
	case abi.Int64, abi.Uint64:
		word = *(*uint64)(p)
	case abi.Int, abi.Uint, abi.Uintptr:
		word = uint64(*(*uint)(p))
	default:
		return uint64(uintptr(unsafe.Pointer(e._type)))
	}
	return ^word // so that the number 0 is an element
}

// PastconeAssigned records an assignment to a field. at is a pointer to it.
func PastconeAssigned(site uint32, at, before, after any) {
	var v PastconeValues
	v.Any(0, before)
	v.Any(1, after)
	PastconeState(site, efaceOf((*any)(noescape(unsafe.Pointer(&at)))).data, &v)
}
