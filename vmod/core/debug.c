/*-
 * SPDX-License-Identifier: BSD-2-Clause
 *
 * Stops for a debugger, and how it goes on. Breakpoints are `int3` in the
 * program's private text, a step is the trap flag; both come back as
 * exceptions through the guest's own IDT, on every kind of KVM.
 *
 * The trap flag does not survive `syscall` and tells nothing behind an `out`
 * that the host completes: a step over these ends in tk_debug_after().
 */

#include <errno.h>
#include <signal.h>

#include "debug.h"
#include "exception.h"
#include "guest_kernel.h"
#include "guest_layout.h"
#include "linux/linux.h"
#include "object.h"

#define TF		0x100ULL
#define VECTOR_DB	1
#define VECTOR_BP	3

/*--------------------------------------------------------------------
 * Life
 */

/* No time limit runs. */
static void
hold_clock(struct tk_machine *m)
{
	uint64_t now = tk_now(), deadline = m->watch.deadline;

	m->debug->running = true;
	m->debug->left = deadline > now ? deadline - now : 0;
	m->watch.deadline = TK_FOREVER;
}

int
tk_debug_attach(struct tk_machine *m, const struct tk_debugger *ops,
    void *priv)
{
	struct tk_debug *d;

	TK_CHECK_OBJ(m, TK_MACHINE_MAGIC);
	if (m->debug != NULL)
		return (EBUSY);
	TK_ALLOC_OBJ(d, TK_DEBUG_MAGIC);
	if (d == NULL)
		return (ENOMEM);
	d->ops = ops;
	d->priv = priv;
	m->debug = d;
	/* The next reset looks at everything. */
	m->changed = true;
	m->scan = true;
	/* In a call its deadline is known; else tk_debug_start() asks. */
	if (m->error != NULL)
		hold_clock(m);
	return (0);
}

static void
forget_steps(struct tk_machine *m)
{
	unsigned i;

	m->debug->step = 0;
	m->debug->regs.rflags &= ~TF;
	for (i = 0; i < m->threads.n; i++)
		m->threads.thread[i].regs.rflags &= ~TF;
}

void
tk_debug_end(struct tk_machine *m, enum tk_debug_end how)
{
	struct tk_debug *d = m->debug;

	TK_CHECK_OBJ(d, TK_DEBUG_MAGIC);
	while (d->n > 0)
		tk_debug_unbreak(m, d->point[d->n - 1].at);
	forget_steps(m);
	if (d->running)
		m->watch.deadline = tk_now() + d->left;
	m->debug = NULL;
	d->ops->ended(m, how, d->priv);
	TK_FREE_OBJ(d);
}

void
tk_debug_detach(struct tk_machine *m)
{

	TK_CHECK_OBJ(m, TK_MACHINE_MAGIC);
	tk_assert(m->error == NULL);
	if (m->debug != NULL)
		tk_debug_end(m, TK_DEBUG_DETACHED);
}

bool
tk_debug_attached(const struct tk_machine *m)
{

	return (m->debug != NULL);
}

void
tk_debug_image(const struct tk_machine *m, struct tk_image *image)
{

	*image = m->image;
}

/*--------------------------------------------------------------------
 * Stop and go
 */

/* Who is shown as the one that stopped: alive, if anybody is. */
static struct tk_thread *
shown(const struct tk_machine *m)
{
	const struct tk_threads *ts = &m->threads;
	unsigned i;

	tk_assert(ts->n > 0);
	for (i = 0; i < ts->n; i++)
		if (ts->thread[(ts->current + i) % ts->n].state !=
		    TK_THREAD_NONE)
			break;
	return (&ts->thread[(ts->current + i) % ts->n]);
}

static bool
begin_step(struct tk_machine *m, uint32_t tid)
{
	struct tk_debug *d = m->debug;
	struct tk_thread *t = tk_threads_find(&m->threads, tid);

	if (t == NULL)
		return (false);
	if (!d->asleep && t == tk_current(&m->threads))
		d->regs.rflags |= TF;
	else
		t->regs.rflags |= TF;
	d->step = tid;
	d->fresh = true;
	return (true);
}

/*
 * The debugger has its say. r: of the current thread, NULL when nobody has the
 * vCPU. TK_RESUME leaves it to the caller to do so; *pass: the signal counts.
 */
static enum tk_verdict
stop(struct tk_machine *m, enum tk_debug_reason why, int sig,
    struct kvm_regs *r, bool *pass)
{
	struct tk_debug *d = m->debug;
	struct tk_debug_stop s = { why, sig, 0, NULL };
	enum tk_debug_go go;

	TK_CHECK_OBJ(d, TK_DEBUG_MAGIC);
	if (r != NULL)
		d->regs = *r;
	d->asleep = r == NULL;
	d->interrupt = false;
	forget_steps(m);
	s.thread = shown(m)->tid;
	if (why == TK_DEBUG_FAILED)
		s.error = m->error;
	m->watch.slice_end = 0;
	d->stopped = true;
	go = d->ops->stopped(m, &s, d->priv);
	d->stopped = false;
	*pass = go == TK_DEBUG_PASS || go == TK_DEBUG_DETACH;
	if (why == TK_DEBUG_FAILED)
		return (TK_FAIL);
	if (go == TK_DEBUG_KILL) {
		d->killed = true;
		return (tk_end(m, TK_EXITED, 0, "ended by the debugger"));
	}
	if (go == TK_DEBUG_STEP)
		(void)begin_step(m, s.thread);
	if (r != NULL)
		*r = d->regs;
	if (go == TK_DEBUG_DETACH)
		tk_debug_end(m, TK_DEBUG_DETACHED);
	tk_slice_begin(m);
	return (TK_RESUME);
}

static enum tk_verdict
resume(struct tk_machine *m, const struct kvm_regs *r)
{
	struct tk_thread *t = tk_current(&m->threads);

	/* Another thread is to step: it gets the vCPU. */
	if (tk_debug_stepping(m) && m->debug->step != t->tid) {
		t->regs = *r;
		return (tk_schedule(m));
	}
	if (!tk_user_resume(m, r))
		return (tk_end(m, TK_FAULT, r->rip, "the debugger continued "
		    "at 0x%llx with the stack at 0x%llx, which are not the "
		    "program's", (unsigned long long)r->rip,
		    (unsigned long long)r->rsp));
	return (TK_RESUME);
}

static enum tk_verdict
stop_and_go(struct tk_machine *m, enum tk_debug_reason why, int sig,
    struct kvm_regs *r)
{
	enum tk_verdict v;
	bool pass;

	v = stop(m, why, sig, r, &pass);
	return (v == TK_RESUME ? resume(m, r) : v);
}

/*
 * The program's registers at an exit that was handled, or will not be: in
 * ring 3, in front of the way back from ring 0, or in a stub of `syscall`.
 */
static void
user_registers(const struct tk_machine *m, enum tk_exit x, struct kvm_regs *r)
{
	uint64_t code;

	*r = *m->vcpu->regs;
	if (x == TK_EXIT_HOST_CALL && r->rip < TK_USER_END)
		r->rip = tk_after_host_call(m);
	else if (r->rip == tk_iret_address())
		(void)tk_exception_frame(m, m->vcpu, VECTOR_BP, r, &code);
	else if (x == TK_EXIT_SYSCALL && r->rip >= TK_USER_END)
		tk_user_at_syscall(m, r);
}

enum tk_verdict
tk_debug_stop(struct tk_machine *m)
{
	struct kvm_regs r;

	TK_CHECK_OBJ(m, TK_MACHINE_MAGIC);
	tk_assert(m->debug != NULL && m->error != NULL);
	user_registers(m, TK_EXIT_HOST_CALL, &r);
	return (stop_and_go(m, TK_DEBUG_CALL, SIGTRAP, &r));
}

/* What the stubs of entry do, done here: the program's first instruction. */
static bool
enter(struct tk_machine *m, struct kvm_regs *r)
{
	const struct tk_master *ma = m->master;

	*r = *m->vcpu->regs;
	if (r->rip == tk_entry_address()) {
		r->rip = r->rax;
		r->rbx = r->r12 = r->r13 = r->r14 = r->r15 = 0;
	} else if (r->rip == tk_resume_address()) {
		*r = ma->resume;
		r->rax = m->vcpu->regs->rax;
	} else
		return (true);
	m->vcpu->sregs_dirty = true;
	return (tk_vcpu_set_fpu(m->vcpu, tk_memory_at(&m->mem, TK_K_FPU)) ==
	    0 && tk_vcpu_set_bases(m->vcpu, ma->fs_base, ma->gs_base) == 0);
}

enum tk_verdict
tk_debug_start(struct tk_machine *m)
{
	enum tk_verdict v;
	struct kvm_regs r;

	hold_clock(m);
	if (m->master == NULL || m->vcpu->regs->rip == tk_empty_address())
		return (TK_RESUME);
	if (!enter(m, &r)) {
		m->broken = true;
		return (tk_end(m, TK_HOST, 0, "KVM refuses the program's "
		    "registers: %s", strerror(errno)));
	}
	v = stop_and_go(m, TK_DEBUG_START, SIGTRAP, &r);
	if (m->debug != NULL)
		m->debug->fresh = false;
	return (v);
}

enum tk_verdict
tk_debug_after(struct tk_machine *m, enum tk_exit x, enum tk_verdict v)
{
	struct tk_debug *d = m->debug;
	struct kvm_regs r;

	if (v != TK_RESUME)
		return (v);
	d->passed = false;
	if (d->step == 0 || d->fresh || (x != TK_EXIT_HOST_CALL &&
	    x != TK_EXIT_SYSCALL) ||
	    tk_current(&m->threads)->tid != d->step) {
		d->fresh = false;
		return (v);
	}
	user_registers(m, x, &r);
	/* `syscall` left the flags there. */
	if (x == TK_EXIT_SYSCALL)
		r.r11 &= ~TF;
	v = stop_and_go(m, TK_DEBUG_STEPPED, SIGTRAP, &r);
	if (m->debug != NULL)
		m->debug->fresh = false;
	return (v);
}

static void
poll_debugger(struct tk_machine *m)
{
	struct tk_debug *d = m->debug;

	/* In front of the start nobody has come yet. */
	if (!d->running)
		return;
	switch (d->ops->poll(m, d->priv)) {
	case TK_DEBUG_GONE:
		tk_debug_end(m, TK_DEBUG_DETACHED);
		break;
	case TK_DEBUG_INTERRUPT:
		d->interrupt = true;
		break;
	case TK_DEBUG_NOTHING:
		break;
	}
}

bool
tk_debug_kicked(struct tk_machine *m, enum tk_verdict *v)
{
	struct kvm_regs r = *m->vcpu->regs;

	poll_debugger(m);
	/* Elsewhere the registers are not the program's: see tk_slice_over(). */
	if (m->debug == NULL || !m->debug->interrupt ||
	    r.rip >= TK_USER_END || tk_exception_waits(m))
		return (false);
	m->in_ring0 = false;
	*v = stop_and_go(m, TK_DEBUG_INTERRUPTED, SIGINT, &r);
	return (true);
}

enum tk_verdict
tk_debug_choose(struct tk_machine *m, struct tk_thread **t)
{
	struct tk_thread *step;
	bool pass;

	step = tk_threads_find(&m->threads, m->debug->step);
	if (step != NULL && step->state == TK_THREAD_RUNNABLE)
		*t = step;
	if (*t != NULL)
		return (TK_RESUME);
	poll_debugger(m);
	if (m->debug == NULL || !m->debug->interrupt)
		return (TK_RESUME);
	return (stop(m, TK_DEBUG_INTERRUPTED, SIGINT, NULL, &pass));
}

bool
tk_debug_exception(struct tk_machine *m, unsigned vector, struct kvm_regs *r,
    enum tk_verdict *v)
{
	struct tk_debug *d = m->debug;
	bool pass;

	if (vector == VECTOR_BP && tk_debug_point(d, r->rip - 1) != NULL) {
		r->rip--;
		*v = stop_and_go(m, TK_DEBUG_BREAKPOINT, SIGTRAP, r);
		return (true);
	}
	if (vector == VECTOR_DB) {
		r->rflags &= ~TF;
		if (d->step == tk_current(&m->threads)->tid)
			*v = stop_and_go(m, TK_DEBUG_STEPPED, SIGTRAP, r);
		else	/* The flag of an older step, saved and restored. */
			*v = resume(m, r);
		return (true);
	}
	*v = stop(m, TK_DEBUG_SIGNAL, tk_exception_signal(vector), r, &pass);
	if (pass) {
		if (m->debug != NULL)
			m->debug->passed = true;
		return (false);
	}
	if (*v == TK_RESUME)
		*v = resume(m, r);
	return (true);
}

/* What Linux would have sent. */
static int
failure_signal(const struct tk_machine *m, enum tk_exit x, unsigned vector)
{

	if (x == TK_EXIT_EXCEPTION && m->error->kind == TK_FAULT)
		return (tk_exception_signal(vector));
	switch (m->error->kind) {
	case TK_TIMEOUT: return (SIGXCPU);
	case TK_MISUSE: return (SIGSYS);
	case TK_FAULT: return (SIGSEGV);
	default: return (SIGABRT);
	}
}

void
tk_debug_failed(struct tk_machine *m, enum tk_exit x, unsigned vector)
{
	struct kvm_regs r;
	uint64_t code;
	bool pass;

	if (m->error->kind == TK_HOST || m->broken)
		return;
	if (m->debug == NULL && m->ops->failing != NULL)
		m->ops->failing(m, m->error, m->priv);
	if (m->debug == NULL || m->debug->killed || m->debug->passed)
		return;
	user_registers(m, x, &r);
	if (x == TK_EXIT_EXCEPTION &&
	    !tk_exception_frame(m, m->vcpu, vector, &r, &code))
		return;
	(void)stop(m, TK_DEBUG_FAILED, failure_signal(m, x, vector),
	    tk_current(&m->threads)->state == TK_THREAD_BLOCKED ? NULL : &r,
	    &pass);
}
