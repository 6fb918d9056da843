/*-
 * SPDX-License-Identifier: BSD-2-Clause
 *
 * The pages that are ours inside every guest: descriptor tables, stubs, the
 * frozen FPU image, the vDSO. Written once, before the first entry; the guest
 * cannot write them at any privilege level.
 */

#ifndef TK_GUEST_KERNEL_H_INCLUDED
#define TK_GUEST_KERNEL_H_INCLUDED

#include "address_space.h"
#include "kvm_host.h"

#define TK_GDT_LIMIT	(10 * 8 - 1)
#define TK_IDT_LIMIT	(32 * 16 - 1)
/* 104 bytes, then the I/O bitmap for ports 0..0x1ff and its end byte. */
#define TK_TSS_LIMIT	(104 + 64)

/* Writes the kernel pages and maps them. 0 or ENOMEM. */
int tk_kernel_install(struct tk_space *, const struct tk_host *);
/* Only the code, as what is known of the host has it. */
void tk_kernel_stubs(const struct tk_memory *, const struct tk_host *);

/*
 * At TK_K_RESUME: the registers that the resume stub itself needs, as they are
 * to be behind it. guest_kernel.S knows the order.
 */
struct tk_resume_regs {
	uint64_t	rbx, rdx, r12, r13, r14, r15, rip;
};

/* Guest addresses of code in the stubs. */
tk_gva tk_entry_address(void);
tk_gva tk_resume_address(void);
tk_gva tk_entry_end(void);	/* the jump to the function */
tk_gva tk_return_address(void);
tk_gva tk_empty_address(void);
tk_gva tk_signal_return_address(void);
tk_gva tk_iret_address(void);
tk_gva tk_probe_address(void);
tk_gva tk_probe_landing(void);
tk_gva tk_probe_keys_address(void);
/* Where `syscall` is to land on this host. */
tk_gva tk_syscall_target(const struct tk_host *);
/* The instruction that goes back to the user after a system call. */
tk_gva tk_sysret_address(const struct tk_host *);

#endif /* TK_GUEST_KERNEL_H_INCLUDED */
