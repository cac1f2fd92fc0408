package runtime

import (
	"internal/abi"
	"unsafe"
)

func pastconePid() int32 {
	var pid int32
	libcCall(unsafe.Pointer(abi.FuncPCABI0(pastcone_getpid_trampoline)), unsafe.Pointer(&pid))
	return pid
}

func pastcone_getpid_trampoline()
