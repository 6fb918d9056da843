/*-
 * SPDX-License-Identifier: BSD-2-Clause
 *
 * One KVM virtual machine with one vCPU, and the verbs that the rest needs.
 * Made machines are kept for reuse when they are given back: making one costs
 * several times as much as giving it other memory.
 */

#ifndef TK_VCPU_H_INCLUDED
#define TK_VCPU_H_INCLUDED

#include <sys/types.h>

#include "guest_layout.h"
#include "kvm_host.h"
#include "memory.h"

enum tk_slot {
	TK_SLOT_KERNEL,
	TK_SLOT_CLOCK,
	TK_SLOT_READ_ONLY,
	TK_SLOT_TABLES,
	TK_SLOT_WRITABLE,
	TK_SLOT_SHARED,
	TK_SLOTS
};

struct tk_vcpu {
	unsigned		magic;
#define TK_VCPU_MAGIC		0x51e0c7d2
	const struct tk_host	*host;
	int			vm_fd, fd;
	struct kvm_run		*run;
	/* General registers: read after an exit, written before the next. */
	struct kvm_regs		*regs;
	/* What the special registers are in guest code at ring 3. */
	struct kvm_sregs	sregs;
	/* The vCPU's differ: an exception left it in ring 0. */
	bool			sregs_dirty;
	/*
	 * KVM may still hold part of an emulated access (string I/O, MMIO) and
	 * would finish it at the next entry, in somebody else's registers:
	 * such a machine is not entered again.
	 */
	bool			spoiled;
	/*
	 * Its last exit was a kick, with these general registers. KVM may hold
	 * an exception that it was about to deliver, and forgets it when
	 * registers are written (the kernel's __set_regs()): a fault comes
	 * again, a trap would be lost.
	 */
	bool			kicked;
	struct kvm_regs		at_kick;
	struct tk_vcpu		*next_idle;
	/* Further ones of the same machine, made when they are wanted. */
	struct tk_vcpu		*extra[TK_MAX_CPUS - 1];
	unsigned		number;
};

enum tk_exit {
	TK_EXIT_HOST_CALL,	/* out to TK_PORT_HOST_CALL */
	TK_EXIT_SYSCALL,
	TK_EXIT_EXCEPTION,	/* vcpu->vector */
	TK_EXIT_KICK,		/* signal: look at deadline and go on */
	TK_EXIT_PORT,		/* another port, width or direction */
	TK_EXIT_SHUTDOWN,	/* triple fault */
	TK_EXIT_ERROR		/* KVM itself: errno or internal error */
};

/*
 * A machine with its special registers set for ring 3; no memory yet. Returns
 * 0 or TK_HOST.
 */
int tk_vcpu_get(struct tk_vcpu **, const struct tk_host *, tk_gpa cr3,
    struct tk_error *);
/* Takes its memory away and keeps it for another tk_vcpu_get(). */
void tk_vcpu_put(struct tk_vcpu **);

/*
 * vCPU `number`, 1 and up, of the same machine; it stays the machine's. Its
 * special registers are set for ring 3, with these segment bases. 0 or TK_HOST.
 */
int tk_vcpu_extra(struct tk_vcpu *, unsigned number, tk_gpa cr3, tk_gva fs,
    tk_gva gs, struct tk_vcpu **, struct tk_error *);

/* Gives it memory: for a fork with dirty log. 0 or TK_HOST. */
int tk_vcpu_set_memory(struct tk_vcpu *, const struct tk_memory *,
    bool booting, struct tk_error *);

/*
 * Takes its memory away, and with it whatever KVM and the CPU know of its page
 * tables. 0 or errno: then it must go.
 */
int tk_vcpu_take_memory(struct tk_vcpu *);

/* Where `syscall` goes: MSR LSTAR. */
int tk_vcpu_set_lstar(struct tk_vcpu *, tk_gva, struct tk_error *);

/*
 * Enters the guest with *vcpu->regs and leaves the new ones there. vector:
 * of an exception.
 */
enum tk_exit tk_vcpu_run(struct tk_vcpu *, unsigned *vector);

/*
 * Before the first entry at an address that a guest has chosen: the last one
 * may have been another's. On VMX and SVM an `out` is finished by the next
 * KVM_RUN, which takes the registers and then skips the instruction if RIP is
 * where that `out` was (complete_fast_pio_out() in the kernel's
 * arch/x86/kvm/x86.c): the first of this guest's would be skipped. With
 * immediate_exit KVM finishes it and enters nothing (KVM_RUN in
 * Documentation/virt/kvm/api.rst). On the thread that then enters: before Linux
 * 6.13 another one waits for an RCU grace period. 0 or errno: then it must not
 * be entered, and is spoiled.
 */
int tk_vcpu_settle(struct tk_vcpu *);

/* A sentence for TK_EXIT_PORT, _SHUTDOWN and _ERROR. */
void tk_vcpu_describe(const struct tk_vcpu *, enum tk_exit, char *, size_t);

/* CR2 after a page fault. A vCPU ioctl: not for the hot path. */
tk_gva tk_vcpu_fault_address(struct tk_vcpu *);
/* Segment bases as the guest has set them. 0 or EPERM, and both 0. */
int tk_vcpu_get_bases(struct tk_vcpu *, tk_gva *fs, tk_gva *gs);
/* Sets them for the code that runs now, wherever it stands. 0 or EPERM. */
int tk_vcpu_set_bases(struct tk_vcpu *, tk_gva fs, tk_gva gs);

/* No exception that KVM tells of waits for its delivery to the guest. */
bool tk_vcpu_is_quiet(const struct tk_vcpu *);
/* None does any more. 0 or errno. */
int tk_vcpu_drop_events(const struct tk_vcpu *);

/* The XSAVE image, 4 KiB. 0 or errno. */
int tk_vcpu_get_fpu(const struct tk_vcpu *, struct kvm_xsave *);
int tk_vcpu_set_fpu(const struct tk_vcpu *, const struct kvm_xsave *);

/*
 * Reads the dirty log of the writable slot: accumulated, nothing is protected
 * anew. From any thread. 0 or errno.
 */
int tk_vcpu_dirty_log(const struct tk_vcpu *, uint64_t *bitmap);
/* Starts the log anew. 0 or errno. */
int tk_vcpu_clear_log(const struct tk_vcpu *, uint64_t *bitmap,
    unsigned pages);

#endif /* TK_VCPU_H_INCLUDED */
