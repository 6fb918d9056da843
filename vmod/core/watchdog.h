/*-
 * SPDX-License-Identifier: BSD-2-Clause
 *
 * One thread that ends what runs too long.
 *
 * A call stores its deadline and its thread; that is all it pays. The thread
 * looks at every watch some hundred times a second, and kicks an overdue one
 * with a signal whose handler sets immediate_exit for the vCPU that this very
 * thread runs. A kick that comes late is told from a real one by the deadline:
 * the run loop goes on when its own is not over.
 */

#ifndef TK_WATCHDOG_H_INCLUDED
#define TK_WATCHDOG_H_INCLUDED

#include <linux/kvm.h>
#include <signal.h>
#include <stdatomic.h>
#include <stdbool.h>
#include <stdint.h>
#include <sys/types.h>

/* A real-time signal: nothing in libc, Varnish or Python uses this one. */
#define TK_KICK_SIGNAL	(SIGRTMIN + 11)

enum tk_watch_state {
	TK_WATCH_IDLE,
	TK_WATCH_RUNNING,
	TK_WATCH_KICKING	/* the watchdog is using `thread` */
};

struct tk_watch {
	unsigned		magic;
#define TK_WATCH_MAGIC		0x7ac31d05
	_Atomic int		state;
	_Atomic uint64_t	deadline;	/* CLOCK_MONOTONIC, ns */
	pid_t			thread;
	/*
	 * Asked about a call that has been running for a tick or more: true
	 * ends it. From the watchdog's thread.
	 */
	bool			(*overused)(struct tk_watch *);
	_Atomic bool		over;		/* overused() said so */
	/* Asked so, too: true, and the time of the call is over. */
	bool			(*stopped)(struct tk_watch *);
	/* When others may have the vCPU, ns; 0: there are none. */
	_Atomic uint64_t	slice_end;
	struct tk_watch		*next, **prev;
};

/* Once per process. 0 or an errno value. */
int tk_watchdog_start(void);

void tk_watch_add(struct tk_watch *);
void tk_watch_remove(struct tk_watch *);

/* Around everything that a call runs, on its thread. */
void tk_watch_begin(struct tk_watch *, uint64_t deadline_ns);
void tk_watch_end(struct tk_watch *);

/* Around one KVM_RUN: which vCPU a kick of this thread is meant for. */
extern _Thread_local struct kvm_run *volatile tk_running;

/* CLOCK_MONOTONIC in nanoseconds. */
uint64_t tk_now(void);

#endif /* TK_WATCHDOG_H_INCLUDED */
