/*-
 * SPDX-License-Identifier: BSD-2-Clause
 */

#include <errno.h>
#include <pthread.h>
#include <stdarg.h>
#include <stdio.h>

#include "exception.h"
#include "guest_kernel.h"
#include "linux/linux.h"
#include "object.h"
#include "parallel.h"

#define STACK_SIZE	(512 * 1024)
#define HOST_STACK	(128 * 1024)

struct cpu {
	struct tk_machine	*m;
	struct tk_vcpu		*vcpu;
	struct tk_watch		watch;
	pthread_t		thread;
	bool			started, failed;
	tk_gva			stack;		/* ours, unmapped at the end */
	char			why[200];
};

struct tk_parallel {
	unsigned		magic;
#define TK_PARALLEL_MAGIC	0x4bd1e39f
	pthread_mutex_t		lock;
	bool			active;
	_Atomic bool		stop;
	uint64_t		deadline;
	struct cpu		cpu[TK_MAX_CPUS - 1];
};

void
tk_parallel_lock(struct tk_machine *m)
{

	if (m->parallel != NULL)
		(void)pthread_mutex_lock(&m->parallel->lock);
}

void
tk_parallel_unlock(struct tk_machine *m)
{

	if (m->parallel != NULL)
		(void)pthread_mutex_unlock(&m->parallel->lock);
}

/*--------------------------------------------------------------------
 * On the vCPU's thread
 */

static void __attribute__((format(printf, 2, 3)))
fail(struct cpu *c, const char *fmt, ...)
{
	va_list ap;
	int n;

	c->failed = true;
	n = snprintf(c->why, sizeof c->why, "vCPU %u: ", c->vcpu->number);
	va_start(ap, fmt);
	(void)vsnprintf(c->why + n, sizeof c->why - (size_t)n, fmt, ap);
	va_end(ap);
}

/* Memory that is backed when it is touched is; other faults end it. */
static bool
on_exception(struct cpu *c, unsigned vector)
{
	struct tk_machine *m = c->m;
	char where[160], what[160];
	struct kvm_regs r;
	tk_gva address = 0;
	uint64_t code = 0;
	bool ok = false;

	tk_parallel_lock(m);
	if (tk_exception_frame(m, c->vcpu, vector, &r, &code)) {
		if (vector == 14) {
			address = tk_vcpu_fault_address(c->vcpu);
			ok = tk_space_fault(&m->space, address, code & 0x10 ?
			    TK_PROT_X : code & 2 ? TK_PROT_W : TK_PROT_R);
		}
		if (!ok) {
			tk_exception_words(m, vector, address, code, r.rsp,
			    what, sizeof what);
			fail(c, "%s in %s", what, tk_symbols_name(m->symbols,
			    r.rip, where, sizeof where));
		}
	} else
		fail(c, "an exception with a broken stack");
	tk_parallel_unlock(m);
	return (ok);
}

static void *
cpu_main(void *arg)
{
	struct cpu *c = arg;
	struct tk_parallel *p = c->m->parallel;
	struct kvm_regs *r = c->vcpu->regs;
	unsigned vector = 0;
	char what[128];
	enum tk_exit x;

	/* It may have run for another request, or another program. */
	if (tk_vcpu_settle(c->vcpu)) {
		fail(c, "KVM_RUN, before the first entry");
		return (NULL);
	}
	tk_watch_begin(&c->watch, p->deadline);
	/* Whoever stops us may have come before the deadline was set. */
	if (p->stop)
		c->watch.deadline = 0;
	for (;;) {
		x = tk_vcpu_run(c->vcpu, &vector);
		if (x == TK_EXIT_HOST_CALL && (uint32_t)r->rax ==
		    TK_HC_RETURN)
			break;
		if (x == TK_EXIT_HOST_CALL || x == TK_EXIT_SYSCALL) {
			/* The stub of `syscall` goes back by itself. */
			if (x == TK_EXIT_SYSCALL && r->rcx >= TK_USER_END) {
				fail(c, "a system call from nowhere");
				break;
			}
			r->rax = (uint64_t)-ENOSYS;
			continue;
		}
		if (x == TK_EXIT_EXCEPTION && on_exception(c, vector))
			continue;
		if (x == TK_EXIT_KICK && tk_now() < c->watch.deadline)
			continue;
		if (x == TK_EXIT_KICK && p->stop)
			break;
		if (x == TK_EXIT_KICK && c->m->watch.over)
			fail(c, "the request " TK_WROTE_TOO_MUCH);
		else if (x == TK_EXIT_KICK)
			fail(c, "ran too long, or longer than the request");
		else if (!c->failed) {
			tk_vcpu_describe(c->vcpu, x, what, sizeof what);
			fail(c, "%s", what);
		}
		break;
	}
	tk_watch_end(&c->watch);
	return (NULL);
}

/*--------------------------------------------------------------------
 * On the thread that makes the call
 */

/*
 * Who waits for them has no way to tell them: neither that all is to end, nor
 * that together they wrote too much.
 */
static bool
is_stopped(struct tk_watch *w)
{
	struct cpu *c = (struct cpu *)((char *)w - offsetof(struct cpu,
	    watch));

	return (c->m->watch.over || tk_is_stopped(&c->m->watch));
}

static struct tk_parallel *
parallel_of(struct tk_machine *m)
{

	if (m->parallel == NULL) {
		TK_ALLOC_OBJ(m->parallel, TK_PARALLEL_MAGIC);
		if (m->parallel != NULL)
			(void)pthread_mutex_init(&m->parallel->lock, NULL);
		/* Whoever asked is in the handling of an exit. */
		tk_parallel_lock(m);
	}
	return (m->parallel);
}

static int
prepare(struct tk_machine *m, unsigned n, double seconds)
{
	struct tk_parallel *p;
	uint64_t end = tk_now() + (uint64_t)(seconds * 1e9);

	if (n < 1 || n > TK_MAX_CPUS - 1 || tk_is_booting(m))
		return (-EINVAL);
	p = parallel_of(m);
	if (p == NULL)
		return (-ENOMEM);
	if (p->active)
		return (-EBUSY);
	p->stop = false;
	p->deadline = end < m->watch.deadline ? end : m->watch.deadline;
	return (0);
}

/* Starts vCPU i + 1; its general registers are set. */
static int
start_one(struct tk_machine *m, unsigned i, const struct kvm_regs *r,
    tk_gva fs, const struct kvm_xsave *fpu, tk_gva stack)
{
	struct cpu *c = &m->parallel->cpu[i];
	pthread_attr_t attr;
	tk_gva gs = TK_KERNEL + TK_K_VCPU + (i + 1) * TK_GS_STEP;
	int e;

	memset(c, 0, sizeof *c);
	c->m = m;
	c->stack = stack;
	if (tk_vcpu_extra(m->vcpu, i + 1, m->space.pt.root, fs, gs, &c->vcpu,
	    NULL) || tk_vcpu_set_fpu(c->vcpu, fpu))
		return (-EAGAIN);
	*c->vcpu->regs = *r;
	c->watch.stopped = is_stopped;
	tk_watch_add(&c->watch);
	(void)pthread_attr_init(&attr);
	(void)pthread_attr_setstacksize(&attr, HOST_STACK);
	e = pthread_create(&c->thread, &attr, cpu_main, c);
	(void)pthread_attr_destroy(&attr);
	if (e != 0) {
		tk_watch_remove(&c->watch);
		return (-EAGAIN);
	}
	c->started = true;
	m->parallel->active = m->space.pt.beside = true;
	/* Pages become private through faults of other threads, too. */
	m->scan = true;
	return (0);
}

/* All have ended, or are made to. True when none failed. */
static bool
join_all(struct tk_machine *m)
{
	struct cpu *c;
	bool ok = true;
	unsigned i;

	for (i = 0; i < TK_MAX_CPUS - 1; i++) {
		c = &m->parallel->cpu[i];
		if (!c->started)
			continue;
		/* It may want the lock on its way. */
		tk_parallel_unlock(m);
		(void)pthread_join(c->thread, NULL);
		tk_parallel_lock(m);
		tk_watch_remove(&c->watch);
		c->started = false;
		/* The VM's vCPUs are put back or destroyed together. */
		if (c->vcpu->spoiled)
			m->vcpu->spoiled = true;
		if (c->failed) {
			ok = false;
			tk_refused(m, "%s", c->why);
		}
		if (c->stack != 0)
			(void)tk_space_unmap(&m->space, c->stack, STACK_SIZE);
	}
	m->parallel->active = m->space.pt.beside = false;
	return (ok);
}

static int
undo(struct tk_machine *m, int e)
{
	unsigned i;

	m->parallel->stop = true;
	for (i = 0; i < TK_MAX_CPUS - 1; i++)
		m->parallel->cpu[i].watch.deadline = 0;
	(void)join_all(m);
	return (e);
}

/* vCPU i + 1, in a function of the program, on a stack of ours. 0 or -errno. */
static int
start_function(struct tk_machine *m, unsigned i, tk_gva function,
    const uint64_t args[3])
{
	uint64_t back = tk_return_address();
	struct kvm_regs r;
	int64_t stack;
	int e;

	stack = tk_space_map(&m->space, 0, STACK_SIZE, TK_PROT_R | TK_PROT_W,
	    TK_VMA_MMAP, false, false);
	if (stack < 0)
		return ((int)stack);
	memset(&r, 0, sizeof r);
	r.rip = function;
	r.rflags = 2;
	r.rsp = (tk_gva)stack + STACK_SIZE - 16 - sizeof back;
	r.rdi = args[0];
	r.rsi = args[1];
	r.rdx = args[2];
	e = tk_write(m, r.rsp, &back, sizeof back) ? start_one(m, i, &r,
	    m->master->fs_base, tk_memory_at(&m->mem, TK_K_FPU),
	    (tk_gva)stack) : -ENOMEM;
	/* Of those that were started it goes when they have ended. */
	if (e != 0)
		(void)tk_space_unmap(&m->space, (tk_gva)stack, STACK_SIZE);
	return (e);
}

int
tk_parallel_start(struct tk_machine *m, unsigned n, tk_gva function,
    const uint64_t (*args)[3], double seconds)
{
	unsigned i;
	int e;

	TK_CHECK_OBJ(m, TK_MACHINE_MAGIC);
	e = prepare(m, n, seconds);
	if (e != 0)
		return (e);
	m->changed = true;
	for (i = 0; i < n; i++) {
		e = start_function(m, i, function, args[i]);
		if (e != 0)
			return (undo(m, e));
	}
	return (0);
}

int
tk_parallel_clone(struct tk_machine *m, unsigned n, tk_gva stacks,
    uint64_t size, double seconds)
{
	struct kvm_xsave fpu;
	struct kvm_regs r;
	tk_gva fs, gs;
	unsigned i;
	int e;

	TK_CHECK_OBJ(m, TK_MACHINE_MAGIC);
	e = prepare(m, n, seconds);
	if (e != 0)
		return (e);
	if (size < TK_PAGE || size > (uint64_t)1 << 30 ||
	    stacks >= TK_USER_END || tk_vcpu_get_fpu(m->vcpu, &fpu) ||
	    tk_vcpu_get_bases(m->vcpu, &fs, &gs))
		return (-EINVAL);
	for (i = 0; i < n; i++) {
		r = *m->vcpu->regs;
		r.rip = tk_after_host_call(m);
		r.rflags = (r.rflags & 0xcd5) | 2;
		r.rax = i + 1;
		r.rsp = (stacks + (i + 1) * size) & ~15ULL;
		e = start_one(m, i, &r, fs, &fpu, 0);
		if (e != 0)
			return (undo(m, e));
	}
	return (0);
}

int
tk_parallel_wait(struct tk_machine *m)
{

	TK_CHECK_OBJ(m, TK_MACHINE_MAGIC);
	if (m->parallel == NULL || !m->parallel->active)
		return (0);
	return (join_all(m) ? 0 : -1);
}

void
tk_parallel_stop(struct tk_machine *m)
{

	if (m->parallel == NULL || !m->parallel->active)
		return;
	tk_parallel_lock(m);
	(void)undo(m, 0);
	tk_parallel_unlock(m);
}

void
tk_parallel_free(struct tk_machine *m)
{

	if (m->parallel == NULL)
		return;
	(void)pthread_mutex_destroy(&m->parallel->lock);
	TK_FREE_OBJ(m->parallel);
}
