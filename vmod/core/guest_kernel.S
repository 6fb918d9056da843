/*-
 * SPDX-License-Identifier: BSD-2-Clause
 *
 * All the code that is ours inside a guest. Two pages, each copied to its
 * place in guest memory (guest_layout.h); position-independent.
 */

#include "guest_layout.h"

	.section .rodata
	.globl	tk_stubs, tk_stubs_end, tk_stub_syscall, tk_stub_sysret
	.globl	tk_stub_iret
	.globl	tk_ustubs, tk_ustubs_end, tk_ustub_entry, tk_ustub_return
	.globl	tk_ustub_syscall, tk_ustub_sysret, tk_ustub_probe
	.globl	tk_ustub_empty, tk_ustub_signal_return, tk_ustub_entry_end
	.globl	tk_ustub_probe_landing, tk_ustub_resume, tk_ustub_probe_keys
	.globl	tk_ustub_entry_keys, tk_ustub_resume_keys

/*
 * Ring 0. Exceptions: 16 bytes per vector, on the IST stack. The port names
 * the vector; the host finds the frame at RSP. When the host resumes, the
 * (changed) frame is returned to; vectors with an error code drop it first.
 */
	.balign	4096
tk_stubs:
	.set	vector, 0
	.rept	32
	.balign	16
	out	%eax, $(TK_PORT_EXCEPTION + vector)
	.if	vector == 8 || (vector >= 10 && vector <= 14) || vector == 17 \
	    || vector == 21 || vector == 29 || vector == 30
	add	$8, %rsp
	.endif
	iretq
	.set	vector, vector + 1
	.endr
/*
 * `syscall` where it lands in ring 0. The host checked that RCX is canonical
 * before it resumes here: sysretq would fault in ring 0 otherwise (Intel SDM
 * vol. 2, SYSRET).
 */
	.balign	64
tk_stub_syscall:
	out	%eax, $TK_PORT_SYSCALL
tk_stub_sysret:
	sysretq
/* Back to the user with all registers as the host wrote them. */
	.balign	64
tk_stub_iret:
	iretq
tk_stubs_end:

/*
 * Ring 3.
 */
	.balign	4096
tk_ustubs:
/*
 * All that the last guest code could have left in the vCPU and that is not in
 * the general registers is set here, where it costs no ioctl. R12 = FPU image,
 * R13 = GS base, R14 = FS base; RAX and RDX are lost. xrstor's mask is all that
 * the CPU has, more than XCR0 of guests: in ring 3 of a software KVM they have
 * what the host has. For the same reason protection keys may have to be
 * cleared, before anything of ring 3 is read: the last guest code may have
 * denied itself all of it. What KVM says is a CPU without them has a NOP in
 * that place: see tk_kernel_stubs().
 */
	.macro	fresh_vcpu keys
	mov	$TK_SEL_UDATA, %eax
	mov	%eax, %ds
	mov	%eax, %es
	mov	%eax, %fs
	mov	%eax, %gs
	wrfsbase %r14
	wrgsbase %r13
	mov	%rcx, %r14
	xor	%eax, %eax
	xor	%ecx, %ecx
	xor	%edx, %edx
\keys:	wrpkru
	mov	%r14, %rcx
	mov	$-1, %eax
	mov	$-1, %edx
	xrstor64 (%r12)
	.endm

/* Entry: as fresh_vcpu says, RAX = function. */
	.balign	64
tk_ustub_entry:
	mov	%rdx, %rbx
	mov	%rax, %r15
	fresh_vcpu tk_ustub_entry_keys
	mov	%rbx, %rdx
	mov	%r15, %rax
	xor	%ebx, %ebx
	xor	%r12d, %r12d
	xor	%r13d, %r13d
	xor	%r14d, %r14d
	xor	%r15d, %r15d
tk_ustub_entry_end:
	jmp	*%rax

/*
 * Entry in the middle of the program, where it was frozen: as above, then the
 * registers that this needed are loaded from the frozen record. Flags stay.
 */
	.set	resume, tk_ustubs + (TK_K_RESUME - TK_K_USER_STUBS)
	.balign	64
tk_ustub_resume:
	mov	%rax, %r15
	fresh_vcpu tk_ustub_resume_keys
	mov	%r15, %rax
	mov	(resume + 0)(%rip), %rbx
	mov	(resume + 8)(%rip), %rdx
	mov	(resume + 16)(%rip), %r12
	mov	(resume + 24)(%rip), %r13
	mov	(resume + 32)(%rip), %r14
	mov	(resume + 40)(%rip), %r15
	jmp	*(resume + 48)(%rip)

/* Where a handler's `ret` goes; what it returns becomes arguments. */
	.balign	64
tk_ustub_return:
	mov	%rax, %rdi
	mov	%rdx, %rsi
	mov	$TK_HC_RETURN, %eax
	out	%eax, $TK_PORT_HOST_CALL
	ud2

/* `syscall` where it lands in ring 3. */
	.balign	64
tk_ustub_syscall:
	out	%eax, $TK_PORT_SYSCALL
tk_ustub_sysret:
	jmp	*%rcx

/* For programs whose sigaction gives no restorer. 15 = rt_sigreturn. */
	.balign	64
tk_ustub_signal_return:
	mov	$15, %eax
	syscall
	ud2

/*
 * The floor of any call, and the first half of the self-test: an exit, and
 * where RIP stands at it.
 */
	.balign	64
tk_ustub_empty:
	mov	$TK_HC_EMPTY, %eax
	out	%eax, $TK_PORT_HOST_CALL
	jmp	tk_ustub_empty

/*
 * The self-test: RSI:RDI = time-stamp counter, then `syscall` with LSTAR at
 * tk_ustub_probe_landing, which tells the ring in EAX.
 */
	.balign	64
tk_ustub_probe:
	rdtsc
	mov	%eax, %edi
	mov	%edx, %esi
	syscall
	ud2
	.balign	64
tk_ustub_probe_landing:
	mov	%cs, %eax
	out	%eax, $TK_PORT_SYSCALL
	jmp	*%rcx
/* Has ring 3 protection keys? An exit, or an invalid instruction. */
	.balign	64
tk_ustub_probe_keys:
	xor	%ecx, %ecx
	rdpkru
	mov	$TK_HC_EMPTY, %eax
	out	%eax, $TK_PORT_HOST_CALL
	ud2
tk_ustubs_end:

/* The vDSO, built from vdso/. */
	.balign	4096
	.globl	tk_vdso, tk_vdso_end
tk_vdso:
	.incbin	TK_VDSO_IMAGE
tk_vdso_end:

	.section .note.GNU-stack, "", @progbits
