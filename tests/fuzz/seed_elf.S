/* SPDX-License-Identifier: BSD-2-Clause
 * Waits for requests: 0x10001 of the guest API. */
	.globl	_start
_start:
	mov	$0x10001, %eax
	out	%eax, $0
	ud2
	.data
	.quad	1
	.section .note.GNU-stack,"",@progbits
