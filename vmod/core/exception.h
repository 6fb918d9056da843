/*-
 * SPDX-License-Identifier: BSD-2-Clause
 *
 * The guest's user registers at an exit, wherever the CPU stands, and the way
 * back to them.
 */

#ifndef TK_EXCEPTION_H_INCLUDED
#define TK_EXCEPTION_H_INCLUDED

#include "machine.h"

struct tk_user_regs {
	struct kvm_regs		r;		/* rip, rsp, rflags included */
	/* Set when the CPU is in ring 0, where iretq leads back. */
	bool			in_ring0;
};

/* At an exit for `syscall`. */
void tk_user_at_syscall(const struct tk_machine *, struct tk_user_regs *);

/*
 * Resumes the guest with exactly these registers; user flags only. False when
 * RIP or RSP are no user addresses.
 */
bool tk_user_resume(struct tk_machine *, const struct tk_user_regs *);

#endif /* TK_EXCEPTION_H_INCLUDED */
