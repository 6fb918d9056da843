/*-
 * SPDX-License-Identifier: BSD-2-Clause
 *
 * Where things lie inside a virtual machine. Shared by C and assembly.
 *
 * Guest physical memory, which is also the layout of the master's memfd:
 *
 *	0		kernel		read-only slot, shared by all forks
 *	64 KiB		clock page	read-only slot, one page per process
 *	2 MiB		read-only	text and rodata: read-only slot, shared
 *	...		page tables	private slot, not logged, not copied
 *	...		writable	private slot with dirty log
 *	...		shared		one for all forks
 *
 * Page tables cannot be read-only: on nested paging a walk that finds or
 * wants accessed bits counts as a write at the second level (Intel SDM vol. 3C
 * "EPT violations", AMD APM vol. 2 "Nested versus guest page faults").
 *
 * Guest virtual memory:
 *
 *	below 2^47	the program, by address_space.c
 *	TK_KERNEL	the kernel pages, at the same offsets as physically
 */

#ifndef TK_GUEST_LAYOUT_H_INCLUDED
#define TK_GUEST_LAYOUT_H_INCLUDED

#define TK_PAGE			0x1000
#define TK_PAGE_SHIFT		12
#define TK_HUGE			0x200000

/* Kernel pages: offsets from physical 0 and from TK_KERNEL. */
#define TK_KERNEL		0xffffffff80000000
#define TK_K_GDT		0x1000
#define TK_K_IDT		0x2000
#define TK_K_STUBS		0x3000	/* ring 0 only: exceptions, syscall */
#define TK_K_TSS		0x4000
#define TK_K_USER_STUBS		0x5000	/* ring 3: entry, return, syscall */
#define TK_K_VCPU		0x6000	/* %gs:0, and at TK_K_RESUME: */
#define TK_K_RESUME		0x6200	/* what tk_ustub_resume loads */
#define TK_K_VDSO		0x7000	/* TK_VDSO_PAGES */
#define TK_VDSO_PAGES		1
/*
 * The frozen XSAVE image, zero behind its first page. xrstor wants memory for
 * all states that XCR0 has, also for those that it initializes; and where KVM
 * runs guests in the host's ring 3, XCR0 is the host's, with AMX: 11,008 bytes
 * (CPUID leaf 0xD, Intel SDM vol. 1, 13.2).
 */
#define TK_K_FPU		0x8000
#define TK_FPU_PAGES		4
#define TK_KERNEL_SIZE		0x10000

#define TK_CLOCK_GPA		0x10000
#define TK_RO_GPA		0x200000

/*
 * The exception stack of each vCPU: virtual addresses, a page unmapped between
 * two. Their pages are the first of writable memory.
 */
#define TK_EXC_STACK		(TK_KERNEL + 0x20000)
#define TK_EXC_STACK_TOP	(TK_EXC_STACK + TK_PAGE)
#define TK_EXC_STACK_STEP	(2 * TK_PAGE)

/* vCPUs of one machine: the first, and those of tk_parallel_start(). */
#define TK_MAX_CPUS		16
#define TK_TSS_STEP		0xb0	/* their task states: in one page */
#define TK_GS_STEP		16	/* %gs:0, their numbers */

/* Segment selectors. The user ones are Linux's own values. */
#define TK_SEL_KCODE		0x10
#define TK_SEL_KDATA		0x18
#define TK_SEL_UDATA		0x2b
#define TK_SEL_UCODE		0x33
#define TK_SEL_TSS		0x40

/* Ports. Ring 3 may use the first two; the exception stubs run in ring 0. */
#define TK_PORT_HOST_CALL	0x00
#define TK_PORT_SYSCALL		0x01
#define TK_PORT_EXCEPTION	0x80	/* + vector */

/*
 * Host-call number by which a handler's return is told: the guest ABI. Its
 * arguments are what the handler returned in RAX and RDX.
 */
#define TK_HC_RETURN		0xffff
/* Our own: the floor of any call, see tk_empty_call(). */
#define TK_HC_EMPTY		0x3ffff

/* User virtual addresses. */
#define TK_USER_MIN		0x10000
#define TK_USER_END		0x7ffffffff000
#define TK_VDSO_ADDR		0x7fffffffb000	/* clock page, then vDSO */
#define TK_STACK_TOP		0x7fffffe00000	/* of main() */
#define TK_STACK_SIZE		0x800000	/* 8 MiB, Linux's default */
#define TK_CALL_STACK_TOP	0x7fffff000000	/* of calls */
#define TK_CALL_STACK_SIZE	0x100000	/* 1 MiB */
#define TK_SHARED_ADDR		0x700000000000	/* memory of all forks */
#define TK_MMAP_TOP		0x7ffff0000000
#define TK_PIE_BASE		0x555555554000
/*
 * The entry stub lies at this address in the low half too, if a guest ever
 * manages to leave 64-bit mode: nothing may be mapped there.
 */
#define TK_STUB_ALIAS		0x80000000
#define TK_STUB_ALIAS_SIZE	0x100000

#endif /* TK_GUEST_LAYOUT_H_INCLUDED */
