#include "go_asm.h"
#include "textflag.h"

// func pastconeTicks() uint64
// Without a barrier: the order of events does not rest on it.
TEXT ·pastconeTicks<ABIInternal>(SB),NOSPLIT|NOFRAME,$0-8
	MRS	CNTVCT_EL0, R0
	RET
