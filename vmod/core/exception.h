/*-
 * SPDX-License-Identifier: BSD-2-Clause
 *
 * The guest's user registers at an exit, wherever the CPU stands, and the way
 * back to them.
 */

#ifndef TK_EXCEPTION_H_INCLUDED
#define TK_EXCEPTION_H_INCLUDED

#include "machine.h"

/* At an exit for `syscall`: RIP and flags as they will be behind it. */
void tk_user_at_syscall(const struct tk_machine *, struct kvm_regs *);

/*
 * Resumes the guest with exactly these registers; user flags only. False when
 * RIP or RSP are no user addresses.
 */
bool tk_user_resume(struct tk_machine *, const struct kvm_regs *);

#endif /* TK_EXCEPTION_H_INCLUDED */
