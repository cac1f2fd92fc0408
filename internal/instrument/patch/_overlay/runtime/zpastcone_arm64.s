#include "go_asm.h"
#include "textflag.h"

// func pastconeTicks() uint64
// Without a barrier: the order of events does not rest on it.
TEXT ·pastconeTicks<ABIInternal>(SB),NOSPLIT|NOFRAME,$0-8
	MRS	CNTVCT_EL0, R0
	RET

// func pastconePut(at uintptr, w1, ab, c uint64)
// The words of a record, the second one last and for all to see behind the others.
TEXT ·pastconePut<ABIInternal>(SB),NOSPLIT|NOFRAME,$0-32
	MRS	CNTVCT_EL0, R4
	MOVD	R4, 0(R0)
	MOVD	R2, 16(R0)
	MOVD	R3, 24(R0)
	ADD	$8, R0, R5
	STLR	R1, (R5)
	RET
