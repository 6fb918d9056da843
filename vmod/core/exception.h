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

/*
 * What the CPU pushed at an exception of this vCPU: RIP, RSP and flags of *r,
 * the rest as they are. False when it is not where it must be.
 */
bool tk_exception_frame(const struct tk_machine *, const struct tk_vcpu *,
    unsigned vector, struct kvm_regs *r, uint64_t *code);

/*
 * After a kick: may the registers not be exchanged yet, as an exception waits for
 * its delivery to who runs now?
 */
bool tk_exception_waits(const struct tk_machine *);

/* The signal that Linux would send for it. */
int tk_exception_signal(unsigned vector);

/* The exception in words. */
void tk_exception_words(const struct tk_machine *, unsigned vector,
    tk_gva address, uint64_t code, tk_gva rsp, char *, size_t);

#endif /* TK_EXCEPTION_H_INCLUDED */
