#include "go_asm.h"
#include "textflag.h"

// func pastconeTicks() uint64
// Not serialized: that would cost twice as much, and the order of events does not rest on it.
TEXT ·pastconeTicks<ABIInternal>(SB),NOSPLIT|NOFRAME,$0-8
	RDTSC
	SHLQ	$32, DX
	ORQ	DX, AX
	RET

// func pastconePut(at uintptr, w1, ab, c uint64)
// The words of a record, the second one last.
TEXT ·pastconePut<ABIInternal>(SB),NOSPLIT|NOFRAME,$0-32
	MOVQ	AX, R8
	RDTSC
	SHLQ	$32, DX
	ORQ	DX, AX
	MOVQ	AX, 0(R8)
	MOVQ	CX, 16(R8)
	MOVQ	DI, 24(R8)
	MOVQ	BX, 8(R8)
	RET

// func pastconeInvariant() uint32
// CPUID 80000007, EDX, bit 8: the counter's rate does not change, and it does not stop.
TEXT ·pastconeInvariant(SB),NOSPLIT,$0-4
	MOVL	$0x80000000, AX
	CPUID
	CMPL	AX, $0x80000007
	JCS	no
	MOVL	$0x80000007, AX
	CPUID
	SHRL	$8, DX
	ANDL	$1, DX
	MOVL	DX, ret+0(FP)
	RET
no:
	MOVL	$0, ret+0(FP)
	RET
