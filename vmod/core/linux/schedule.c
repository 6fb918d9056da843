/*-
 * SPDX-License-Identifier: BSD-2-Clause
 *
 * Which thread has the vCPU. A thread loses it when it waits in a system call,
 * when it ends, and, while others could run, at the end of its time slice.
 *
 * A call that must wait is made again from its start when there is something
 * to look at: so every implementation is written once, without states.
 */

#include <errno.h>
#include <signal.h>
#include <sys/syscall.h>
#include <time.h>

#include "../debug.h"
#include "../guest_layout.h"
#include "../object.h"
#include "../parallel.h"
#include "linux.h"
#include "socket.h"

#define NS	1000000000ULL

void
tk_thaw(struct tk_machine *m)
{
	struct tk_threads *ts = &m->threads;
	uint64_t frozen;
	unsigned i;

	if (ts->frozen_at == 0)
		return;
	frozen = tk_now() - ts->frozen_at;
	for (i = 0; i < ts->n; i++)
		if (ts->thread[i].state == TK_THREAD_BLOCKED &&
		    ts->thread[i].deadline != TK_FOREVER)
			ts->thread[i].deadline += frozen;
	tk_files_thaw(m, frozen);
	ts->frozen_at = 0;
}

void
tk_stop_current(struct tk_machine *m)
{
	struct tk_thread *t = tk_current(&m->threads);

	tk_user_at_syscall(m, &t->regs);
	t->state = TK_THREAD_BLOCKED;
}

int64_t
tk_block(struct tk_machine *m, uint64_t timeout)
{
	struct tk_thread *t = tk_current(&m->threads);
	uint64_t now = tk_now();

	if (!t->again)
		t->deadline = timeout > TK_FOREVER - now ? TK_FOREVER :
		    now + timeout;
	if (t->deadline <= now)
		return (0);
	tk_stop_current(m);
	t->again = true;
	t->retry = false;
	return (TK_CALL_BLOCKED);
}

void
tk_woken(struct tk_machine *m)
{
	struct tk_thread *t;
	unsigned i;

	for (i = 0; i < m->threads.n; i++) {
		t = &m->threads.thread[i];
		if (t->state == TK_THREAD_BLOCKED && t->again) {
			t->state = TK_THREAD_RUNNABLE;
			t->retry = true;
		}
	}
}

/* Its time is over: a futex tells so itself, other calls look again. */
static void
expire(struct tk_threads *ts, uint64_t now)
{
	struct tk_thread *t;
	unsigned i;

	for (i = 0; i < ts->n; i++) {
		t = &ts->thread[i];
		if (t->state != TK_THREAD_BLOCKED || t->deadline > now)
			continue;
		t->state = TK_THREAD_RUNNABLE;
		if (t->futex != 0) {
			t->futex = 0;
			t->deadline = TK_FOREVER;
			t->regs.rax = (uint64_t)-ETIMEDOUT;
		} else
			t->retry = true;
	}
}

/* The next one after the current, which comes last. */
static struct tk_thread *
next_runnable(struct tk_threads *ts)
{
	unsigned i, k;

	for (i = 1; i <= ts->n; i++) {
		k = (ts->current + i) % ts->n;
		if (ts->thread[k].state == TK_THREAD_RUNNABLE)
			return (&ts->thread[k]);
	}
	return (NULL);
}

static bool
put_on_vcpu(struct tk_machine *m, const struct tk_thread *t)
{
	struct tk_threads *ts = &m->threads;
	struct tk_thread *old = tk_current(ts);
	unsigned i = (unsigned)(t - ts->thread);

	if (t == old)
		return (true);
	if (old->state != TK_THREAD_NONE) {
		if (tk_vcpu_get_fpu(m->vcpu, &ts->fpu[ts->current]) ||
		    tk_vcpu_get_bases(m->vcpu, &old->fs, &old->gs))
			return (false);
	}
	ts->current = i;
	return (tk_vcpu_set_fpu(m->vcpu, &ts->fpu[i]) == 0 &&
	    tk_vcpu_set_bases(m->vcpu, t->fs, t->gs) == 0);
}

/* Waits that a new connection would end. */
static bool
waits_for_connections(const struct tk_machine *m)
{
	const struct tk_thread *t;
	unsigned i;

	if (!m->may_serve || !tk_files_listening(m))
		return (false);
	for (i = 0; i < m->threads.n; i++) {
		t = &m->threads.thread[i];
		if (t->state != TK_THREAD_BLOCKED || !t->again)
			continue;
		switch (t->regs.rax) {
		case SYS_accept:
		case SYS_accept4:
		case SYS_poll:
		case SYS_ppoll:
		case SYS_select:
		case SYS_pselect6:
		case SYS_epoll_wait:
		case SYS_epoll_pwait:
		case SYS_epoll_pwait2:
			return (true);
		default:
			break;
		}
	}
	return (false);
}

static enum tk_verdict
deadlock(struct tk_machine *m)
{
	const struct tk_thread *t;
	unsigned i;

	for (i = 0; i < m->threads.n; i++) {
		t = &m->threads.thread[i];
		if (t->state == TK_THREAD_BLOCKED && t->futex != 0)
			return (tk_fail(m, t->futex, "waits for a lock that "
			    "no other thread can release (futex at 0x%llx)",
			    (unsigned long long)t->futex));
	}
	return (tk_fail(m, 0, "waits for a descriptor that nothing can "
	    "change"));
}

/* Nobody can run: until somebody's time is over. */
static enum tk_verdict
sleep_for_all(struct tk_machine *m)
{
	uint64_t until = TK_FOREVER, limit = m->watch.deadline, due;
	const struct tk_thread *t;
	struct timespec ts;
	unsigned i;

	if (waits_for_connections(m)) {
		m->serves = true;
		return (TK_DONE);
	}
	for (i = 0; i < m->threads.n; i++) {
		t = &m->threads.thread[i];
		if (t->state == TK_THREAD_BLOCKED && t->deadline < until)
			until = t->deadline;
	}
	due = tk_files_next_due(m);
	if (due < until)
		until = due;
	if (until == TK_FOREVER)
		return (deadlock(m));
	if (until > limit)
		until = limit;
	ts.tv_sec = (time_t)(until / NS);
	ts.tv_nsec = (long)(until % NS);
	/* Other vCPUs may have something to say meanwhile. */
	tk_parallel_unlock(m);
	(void)clock_nanosleep(CLOCK_MONOTONIC, TIMER_ABSTIME, &ts, NULL);
	tk_parallel_lock(m);
	if (due <= tk_now())
		tk_woken(m);
	if (tk_now() < limit)
		return (TK_RESUME);
	return (tk_end(m, TK_TIMEOUT, m->vcpu->regs->rcx,
	    "slept longer than it may run"));
}

/*
 * The thread on the vCPU goes on: its call is made again, or its registers are
 * loaded. TK_CALL_BLOCKED when it waits once more, else a verdict.
 */
static int64_t
go_on(struct tk_machine *m, struct tk_thread *t)
{
	int64_t result;

	if (t->again && t->retry) {
		*m->vcpu->regs = t->regs;
		t->retry = false;
		result = tk_linux_make(m);
		if (result == TK_CALL_BLOCKED)
			return (result);
		/* Implementations may have moved the table. */
		t = tk_current(&m->threads);
		t->again = false;
		t->deadline = TK_FOREVER;
		if (result == TK_CALL_ENDED)
			return (TK_FAIL);
		if (result == TK_CALL_DONE)
			return (TK_DONE);
		t->regs.rax = (uint64_t)result;
	} else if (t->again || t->futex != 0)
		tk_signal_interrupts(m, t);
	t->state = TK_THREAD_RUNNABLE;
	return (tk_user_continue(m, &t->regs));
}

enum tk_verdict
tk_schedule(struct tk_machine *m)
{
	struct tk_thread *t;
	enum tk_verdict v;
	int64_t result;
	uint64_t now;

	tk_thaw(m);
	for (;;) {
		now = tk_now();
		expire(&m->threads, now);
		t = next_runnable(&m->threads);
		if (__builtin_expect(m->debug != NULL, 0)) {
			v = tk_debug_choose(m, &t);
			if (v != TK_RESUME)
				return (v);
		}
		if (t == NULL) {
			v = sleep_for_all(m);
			if (v != TK_RESUME)
				return (v);
			continue;
		}
		if (!put_on_vcpu(m, t)) {
			m->broken = true;
			return (tk_end(m, TK_HOST, 0, "KVM refuses a "
			    "thread's registers: %s", strerror(errno)));
		}
		result = go_on(m, t);
		if (result == TK_CALL_BLOCKED) {
			/* Calls that wake each other may never leave here. */
			if (now < m->watch.deadline)
				continue;
			return (tk_end(m, TK_TIMEOUT, m->vcpu->regs->rcx,
			    "waited longer than it may run"));
		}
		tk_slice_begin(m);
		return ((enum tk_verdict)result);
	}
}

/*--------------------------------------------------------------------
 * Time slices
 */

#define SLICE_NS	10000000	/* 10 ms: what Go's own scheduler takes */

void
tk_slice_begin(struct tk_machine *m)
{

	/* A debugger may want to have a word in between. */
	atomic_store_explicit(&m->watch.slice_end, m->threads.alive > 1 ||
	    m->debug != NULL ? tk_now() + SLICE_NS : 0, memory_order_relaxed);
}

enum tk_verdict
tk_slice_over(struct tk_machine *m)
{
	struct tk_thread *t = tk_current(&m->threads);
	const struct kvm_regs *r = m->vcpu->regs;

	tk_slice_begin(m);
	/*
	 * Only in the program's own code: between `syscall` and its exit, or
	 * in the entry stub, the registers are not the program's. Nor may an
	 * exception wait for its delivery: it is this thread's.
	 */
	if (m->threads.alive < 2 || tk_debug_stepping(m) ||
	    r->rip >= TK_USER_END || tk_exception_waits(m))
		return (TK_RESUME);
	m->in_ring0 = false;
	/* The reset looks at threads only when the guest called. */
	m->changed = true;
	t->regs = *r;
	return (tk_schedule(m));
}
