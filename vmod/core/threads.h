/*-
 * SPDX-License-Identifier: BSD-2-Clause
 *
 * The guest's threads. They take turns on the machine's only vCPU: one is
 * current, the others lie here with their registers.
 */

#ifndef TK_THREADS_H_INCLUDED
#define TK_THREADS_H_INCLUDED

#include <linux/kvm.h>

#include "tinykvm.h"

#define TK_MAX_THREADS	256
#define TK_FOREVER	UINT64_MAX

enum tk_thread_state {
	TK_THREAD_NONE,			/* the place is free */
	TK_THREAD_RUNNABLE,
	TK_THREAD_BLOCKED
};

/* Plain data: copied at fork and reset. */
struct tk_thread {
	enum tk_thread_state	state;
	uint32_t		tid;
	/* As in guest code, also in the middle of a system call. */
	struct kvm_regs		regs;
	tk_gva			fs, gs;
	/* Signals. */
	uint64_t		blocked, pending;
	uint64_t		saved_mask;	/* in rt_sigsuspend() */
	bool			mask_saved;
	tk_gva			altstack;
	uint64_t		altstack_size;
	tk_gva			clear_child_tid;
	/*
	 * Waiting. The deadline is CLOCK_MONOTONIC, ns, and stays while the
	 * call is made again.
	 */
	uint64_t		deadline;
	tk_gva			futex;		/* 0: not for one */
	uint32_t		futex_mask;
	bool			again;		/* make the call again */
	bool			retry;		/* ... now */
};

struct tk_threads {
	struct tk_thread	*thread;
	/* Each one's vector state while it is not current; 4 KiB. */
	struct kvm_xsave	*fpu;
	unsigned		room, room_fpu;
	unsigned		n;		/* places in use, with gaps */
	unsigned		alive;
	unsigned		current;
	uint32_t		next_tid;
	/*
	 * A frozen thread's deadline counts from here: time that passed before
	 * the request began is nobody's waiting time. 0: deadlines are true.
	 */
	uint64_t		frozen_at;
};

/* The first thread of a process, number 1. 0 or ENOMEM. */
int tk_threads_init(struct tk_threads *);
void tk_threads_fini(struct tk_threads *);

/* Takes over all that `from` says. 0 or ENOMEM. */
int tk_threads_copy(struct tk_threads *, const struct tk_threads *from);

/* A place for one more, cleared but for its number; NULL: no more. */
struct tk_thread *tk_threads_add(struct tk_threads *);

/* A thread that lives, or NULL. */
struct tk_thread *tk_threads_find(const struct tk_threads *, uint32_t tid);

/*
 * The current thread waits for nothing, as it did in `from`. False: it is
 * another one than there, or it has ended.
 */
bool tk_threads_settle(struct tk_threads *, const struct tk_threads *from);

static inline struct tk_thread *
tk_current(const struct tk_threads *t)
{

	return (&t->thread[t->current]);
}

#endif /* TK_THREADS_H_INCLUDED */
