/*-
 * SPDX-License-Identifier: BSD-2-Clause
 *
 * Threads: clone, exit, futex. There are no other processes.
 */

#include <errno.h>
#include <limits.h>
#include <linux/futex.h>
#include <linux/sched.h>
#include <time.h>

#include "../guest_layout.h"
#include "../object.h"
#include "linux.h"

#define NS	1000000000ULL

/*--------------------------------------------------------------------
 * Futexes. One address space, so an address is a key, shared or private.
 */

static unsigned
wake(struct tk_machine *m, tk_gva futex, unsigned most, uint32_t mask)
{
	struct tk_thread *t;
	unsigned i, n = 0;

	for (i = 0; i < m->threads.n && n < most; i++) {
		t = &m->threads.thread[i];
		if (t->state != TK_THREAD_BLOCKED || t->futex != futex ||
		    !(t->futex_mask & mask))
			continue;
		t->state = TK_THREAD_RUNNABLE;
		t->futex = 0;
		t->deadline = TK_FOREVER;
		t->regs.rax = 0;
		n++;
	}
	return (n);
}

static unsigned
requeue(struct tk_machine *m, tk_gva from, tk_gva to, unsigned most)
{
	struct tk_thread *t;
	unsigned i, n = 0;

	for (i = 0; i < m->threads.n && n < most; i++) {
		t = &m->threads.thread[i];
		if (t->state == TK_THREAD_BLOCKED && t->futex == from) {
			t->futex = to;
			n++;
		}
	}
	return (n);
}

/* Nanoseconds of CLOCK_MONOTONIC; absolute times may be of another clock. */
static int64_t
read_deadline(const struct tk_machine *m, tk_gva gva, bool absolute,
    bool realtime, uint64_t *deadline)
{
	struct timespec ts, real;
	uint64_t now = tk_now(), ns, base = 0;

	*deadline = TK_FOREVER;
	if (gva == 0)
		return (0);
	if (!tk_read(m, &ts, gva, sizeof ts))
		return (-EFAULT);
	if (ts.tv_sec < 0 || ts.tv_nsec < 0 || ts.tv_nsec >= (long)NS)
		return (-EINVAL);
	if ((uint64_t)ts.tv_sec > TK_FOREVER / NS / 4)
		return (0);
	ns = (uint64_t)ts.tv_sec * NS + (uint64_t)ts.tv_nsec;
	if (absolute && realtime) {
		(void)clock_gettime(CLOCK_REALTIME, &real);
		base = (uint64_t)real.tv_sec * NS + (uint64_t)real.tv_nsec;
		ns = ns > base ? ns - base : 0;
		absolute = false;
	}
	*deadline = absolute ? ns : now + ns;
	return (0);
}

static int64_t
futex_wait(struct tk_machine *m, const uint64_t a[6], uint32_t mask)
{
	struct tk_thread *t = tk_current(&m->threads);
	bool absolute = (a[1] & FUTEX_CMD_MASK) == FUTEX_WAIT_BITSET;
	uint64_t deadline;
	uint32_t value;
	int64_t e;

	if (mask == 0)
		return (-EINVAL);
	e = read_deadline(m, a[3], absolute, (a[1] & FUTEX_CLOCK_REALTIME) != 0,
	    &deadline);
	if (e != 0)
		return (e);
	if (!tk_read(m, &value, a[0], sizeof value))
		return (-EFAULT);
	if (value != (uint32_t)a[2])
		return (-EAGAIN);
	tk_stop_current(m);
	t->futex = a[0];
	t->futex_mask = mask;
	t->deadline = deadline;
	return (TK_CALL_BLOCKED);
}

/* FUTEX_WAKE_OP: futex(2). */
static int64_t
wake_op(struct tk_machine *m, const uint64_t a[6])
{
	uint32_t op = (uint32_t)a[5], old, new, arg;
	int32_t cmp;
	bool yes;

	arg = op >> 12 & 0xfff;
	if (op & (uint32_t)FUTEX_OP_OPARG_SHIFT << 28) {
		if (arg > 31)
			return (-EINVAL);
		arg = 1U << arg;
	}
	if (!tk_read(m, &old, a[4], sizeof old))
		return (-EFAULT);
	switch (op >> 28 & 7) {
	case FUTEX_OP_SET: new = arg; break;
	case FUTEX_OP_ADD: new = old + arg; break;
	case FUTEX_OP_OR: new = old | arg; break;
	case FUTEX_OP_ANDN: new = old & ~arg; break;
	case FUTEX_OP_XOR: new = old ^ arg; break;
	default: return (-ENOSYS);
	}
	if (!tk_write(m, a[4], &new, sizeof new))
		return (-EFAULT);
	cmp = (int32_t)(op << 20) >> 20;
	switch (op >> 24 & 15) {
	case FUTEX_OP_CMP_EQ: yes = (int32_t)old == cmp; break;
	case FUTEX_OP_CMP_NE: yes = (int32_t)old != cmp; break;
	case FUTEX_OP_CMP_LT: yes = (int32_t)old < cmp; break;
	case FUTEX_OP_CMP_LE: yes = (int32_t)old <= cmp; break;
	case FUTEX_OP_CMP_GT: yes = (int32_t)old > cmp; break;
	case FUTEX_OP_CMP_GE: yes = (int32_t)old >= cmp; break;
	default: return (-ENOSYS);
	}
	return (wake(m, a[0], (unsigned)a[2], UINT32_MAX) +
	    (yes ? wake(m, a[4], (unsigned)a[3], UINT32_MAX) : 0));
}

int64_t
tk_sys_futex(struct tk_machine *m, const uint64_t a[6])
{
	unsigned most = (int)a[2] < 0 ? INT_MAX : (unsigned)(int)a[2], n;
	uint32_t value;

	if (a[0] & 3)
		return (-EINVAL);
	switch (a[1] & FUTEX_CMD_MASK) {
	case FUTEX_WAIT:
		return (futex_wait(m, a, UINT32_MAX));
	case FUTEX_WAIT_BITSET:
		return (futex_wait(m, a, (uint32_t)a[5]));
	case FUTEX_WAKE:
		return (wake(m, a[0], most, UINT32_MAX));
	case FUTEX_WAKE_BITSET:
		return ((uint32_t)a[5] == 0 ? -EINVAL :
		    (int64_t)wake(m, a[0], most, (uint32_t)a[5]));
	case FUTEX_CMP_REQUEUE:
		if (!tk_read(m, &value, a[0], sizeof value))
			return (-EFAULT);
		if (value != (uint32_t)a[5])
			return (-EAGAIN);
		/* FALLTHROUGH */
	case FUTEX_REQUEUE:
		if (a[4] & 3)
			return (-EINVAL);
		n = wake(m, a[0], most, UINT32_MAX);
		return (n + requeue(m, a[0], a[4], (unsigned)a[3]));
	case FUTEX_WAKE_OP:
		return (wake_op(m, a));
	default:
		return (-ENOSYS);
	}
}

/*--------------------------------------------------------------------
 * The life of a thread
 */

/* What pthread_create() and its like ask for, and nothing that forks. */
#define NEEDED	(CLONE_VM | CLONE_SIGHAND | CLONE_THREAD)

static int64_t
new_thread(struct tk_machine *m, uint64_t flags, tk_gva stack,
    tk_gva parent_tid, tk_gva child_tid, tk_gva tls)
{
	struct tk_threads *ts = &m->threads;
	const struct tk_thread *self;
	struct tk_thread *t;
	uint32_t tid;
	tk_gva fs, gs;

	if ((flags & NEEDED) != NEEDED) {
		tk_refused(m, "fork: there is one process");
		return (-ENOSYS);
	}
	if ((flags & CLONE_SETTLS) && tls >= TK_USER_END)
		return (-EPERM);
	t = tk_threads_add(ts);
	if (t == NULL)
		return (-EAGAIN);
	self = tk_current(ts);
	tid = t->tid;
	/* The parent's vector state and bases are on the vCPU. */
	if (tk_vcpu_get_fpu(m->vcpu, &ts->fpu[t - ts->thread]) ||
	    tk_vcpu_get_bases(m->vcpu, &fs, &gs)) {
		t->state = TK_THREAD_NONE;
		ts->alive--;
		return (-EAGAIN);
	}
	tk_user_at_syscall(m, &t->regs);
	t->regs.rax = 0;
	if (stack != 0)
		t->regs.rsp = stack;
	t->fs = flags & CLONE_SETTLS ? tls : fs;
	t->gs = gs;
	t->blocked = self->blocked;
	if (flags & CLONE_CHILD_CLEARTID)
		t->clear_child_tid = child_tid;
	if ((flags & CLONE_PARENT_SETTID) &&
	    !tk_write(m, parent_tid, &tid, sizeof tid))
		goto fault;
	if ((flags & CLONE_CHILD_SETTID) &&
	    !tk_write(m, child_tid, &tid, sizeof tid))
		goto fault;
	tk_slice_begin(m);
	return (tid);
fault:
	t->state = TK_THREAD_NONE;
	ts->alive--;
	return (-EFAULT);
}

int64_t
tk_sys_clone(struct tk_machine *m, const uint64_t a[6])
{

	return (new_thread(m, a[0] & ~(uint64_t)CSIGNAL, a[1], a[2], a[3],
	    a[4]));
}

int64_t
tk_sys_clone3(struct tk_machine *m, const uint64_t a[6])
{
	struct clone_args c;

	if (a[1] < CLONE_ARGS_SIZE_VER0)
		return (-EINVAL);
	if (a[1] > TK_PAGE)
		return (-E2BIG);
	memset(&c, 0, sizeof c);
	if (!tk_read(m, &c, a[0], a[1] < sizeof c ? a[1] : sizeof c))
		return (-EFAULT);
	if (c.stack_size > TK_USER_END || c.stack > TK_USER_END ||
	    (c.stack != 0) != (c.stack_size != 0) || (c.flags & CSIGNAL))
		return (-EINVAL);
	return (new_thread(m, c.flags, c.stack + c.stack_size, c.parent_tid,
	    c.child_tid, c.tls));
}

int64_t
tk_sys_no_process(struct tk_machine *m, const uint64_t a[6])
{

	(void)a;
	tk_refused(m, "fork: there is one process");
	return (-ENOSYS);
}

int64_t
tk_sys_exit_group(struct tk_machine *m, const uint64_t a[6])
{

	(void)tk_end(m, TK_EXITED, 0, "the program ended with exit status %d",
	    (int)(a[0] & 0xff));
	return (TK_CALL_ENDED);
}

int64_t
tk_sys_exit(struct tk_machine *m, const uint64_t a[6])
{
	struct tk_thread *t = tk_current(&m->threads);
	uint32_t zero = 0;

	if (m->threads.alive == 1)
		return (tk_sys_exit_group(m, a));
	if (t->clear_child_tid != 0 &&
	    tk_write(m, t->clear_child_tid, &zero, sizeof zero))
		(void)wake(m, t->clear_child_tid, 1, UINT32_MAX);
	t->state = TK_THREAD_NONE;
	m->threads.alive--;
	return (TK_CALL_BLOCKED);
}

int64_t
tk_sys_gettid(struct tk_machine *m, const uint64_t a[6])
{

	(void)a;
	return (tk_current(&m->threads)->tid);
}

int64_t
tk_sys_set_tid_address(struct tk_machine *m, const uint64_t a[6])
{
	struct tk_thread *t = tk_current(&m->threads);

	t->clear_child_tid = a[0];
	return (t->tid);
}

int64_t
tk_sys_sched_yield(struct tk_machine *m, const uint64_t a[6])
{
	struct tk_thread *t = tk_current(&m->threads);

	(void)a;
	if (m->threads.alive == 1)
		return (0);
	tk_stop_current(m);
	t->state = TK_THREAD_RUNNABLE;
	t->regs.rax = 0;
	return (TK_CALL_BLOCKED);
}
