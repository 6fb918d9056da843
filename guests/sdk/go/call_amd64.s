// SPDX-License-Identifier: BSD-2-Clause

#include "textflag.h"

// func call(number, a, b, c, d, e, f uintptr) uintptr
//
// The number in EAX and `out %eax, $0`; no register but AX changes. A request
// goes on behind the `out` of the paused wait, on this goroutine's stack.
TEXT ·call(SB), NOSPLIT, $0-64
	MOVQ	number+0(FP), AX
	MOVQ	a+8(FP), DI
	MOVQ	b+16(FP), SI
	MOVQ	c+24(FP), DX
	MOVQ	d+32(FP), CX
	MOVQ	e+40(FP), R8
	MOVQ	f+48(FP), R9
	BYTE	$0xe7
	BYTE	$0x00
	MOVQ	AX, ret+56(FP)
	RET
