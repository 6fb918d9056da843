/*-
 * SPDX-License-Identifier: BSD-2-Clause
 *
 * Signals that a program sends itself, and faults handed to its handlers.
 *
 * Sending only marks; a handler is entered when its thread next goes on: behind
 * each system call, and whenever the thread gets the vCPU.
 *
 * The frame is Linux's: arch/x86/include/uapi/asm/sigcontext.h and
 * ucontext.h, struct rt_sigframe of the kernel.
 */

#include <asm/unistd_64.h>
#include <errno.h>
#include <signal.h>
#include <ucontext.h>

#include "../guest_kernel.h"
#include "../guest_layout.h"
#include "../object.h"
#include "linux.h"

#define BIT(sig)	(1ULL << ((sig) - 1))
#define UNBLOCKABLE	(BIT(SIGKILL) | BIT(SIGSTOP))
#define KERNEL_SA_RESTORER 0x04000000ULL
/* Bytes of the XSAVE image that a frame keeps. */
#define FPU_BYTES	((size_t)2752)

/* The kernel's signal mask is 8 bytes, not glibc's 128. */
struct guest_ucontext {
	uint64_t	flags, link;
	uint64_t	stack_sp;
	uint32_t	stack_flags, stack_pad;
	uint64_t	stack_size;
	uint64_t	greg[23];
	uint64_t	fpstate;
	uint64_t	reserved[8];
	uint64_t	mask;
};
_Static_assert(sizeof(struct guest_ucontext) == 304, "Linux ABI");

struct frame {
	uint64_t		restorer;
	struct guest_ucontext	uc;
	siginfo_t		info;
};
_Static_assert(sizeof(siginfo_t) == 128, "Linux ABI");

static void
to_gregs(const struct kvm_regs *r, uint64_t *g)
{

	g[REG_R8] = r->r8;
	g[REG_R9] = r->r9;
	g[REG_R10] = r->r10;
	g[REG_R11] = r->r11;
	g[REG_R12] = r->r12;
	g[REG_R13] = r->r13;
	g[REG_R14] = r->r14;
	g[REG_R15] = r->r15;
	g[REG_RDI] = r->rdi;
	g[REG_RSI] = r->rsi;
	g[REG_RBP] = r->rbp;
	g[REG_RBX] = r->rbx;
	g[REG_RDX] = r->rdx;
	g[REG_RAX] = r->rax;
	g[REG_RCX] = r->rcx;
	g[REG_RSP] = r->rsp;
	g[REG_RIP] = r->rip;
	g[REG_EFL] = r->rflags;
	g[REG_CSGSFS] = TK_SEL_UCODE | (uint64_t)TK_SEL_UDATA << 48;
}

static void
from_gregs(const uint64_t *g, struct kvm_regs *r)
{

	r->r8 = g[REG_R8];
	r->r9 = g[REG_R9];
	r->r10 = g[REG_R10];
	r->r11 = g[REG_R11];
	r->r12 = g[REG_R12];
	r->r13 = g[REG_R13];
	r->r14 = g[REG_R14];
	r->r15 = g[REG_R15];
	r->rdi = g[REG_RDI];
	r->rsi = g[REG_RSI];
	r->rbp = g[REG_RBP];
	r->rbx = g[REG_RBX];
	r->rdx = g[REG_RDX];
	r->rax = g[REG_RAX];
	r->rcx = g[REG_RCX];
	r->rsp = g[REG_RSP];
	r->rip = g[REG_RIP];
	r->rflags = g[REG_EFL];
}

static bool
on_altstack(const struct tk_thread *t, tk_gva sp)
{

	return (t->altstack_size != 0 && sp > t->altstack &&
	    sp - t->altstack <= t->altstack_size);
}

/* Makes *r what they are at the entry of the handler, its frame written. */
static bool
enter_handler(struct tk_machine *m, struct kvm_regs *r, int sig, int code,
    tk_gva address)
{
	struct tk_thread *t = tk_current(&m->threads);
	struct tk_sigaction *act = &m->process.action[sig - 1];
	struct kvm_xsave fpu;
	struct frame f;
	tk_gva sp, fp;

	if (tk_vcpu_get_fpu(m->vcpu, &fpu))
		return (false);
	sp = r->rsp;
	if ((act->flags & SA_ONSTACK) && t->altstack_size != 0 &&
	    !on_altstack(t, sp))
		sp = t->altstack + t->altstack_size;
	else
		sp -= 128;		/* red zone: SysV ABI, 3.2.2 */
	fp = (sp - FPU_BYTES) & ~63ULL;
	sp = ((fp - sizeof f) & ~15ULL) - 8;

	memset(&f, 0, sizeof f);
	f.restorer = act->flags & KERNEL_SA_RESTORER ? act->restorer :
	    tk_signal_return_address();
	f.uc.stack_sp = t->altstack;
	f.uc.stack_size = t->altstack_size;
	f.uc.stack_flags = t->altstack_size == 0 ? SS_DISABLE : 0;
	f.uc.mask = t->mask_saved ? t->saved_mask : t->blocked;
	f.uc.fpstate = fp;
	to_gregs(r, f.uc.greg);
	f.uc.greg[REG_CR2] = address;
	f.info.si_signo = sig;
	f.info.si_code = code;
	if (code > 0)
		f.info.si_addr = (void *)address;
	else
		f.info.si_pid = 1;
	if (!tk_write(m, fp, &fpu, FPU_BYTES) || !tk_write(m, sp, &f,
	    sizeof f))
		return (false);

	r->rip = act->handler;
	r->rsp = sp;
	r->rdi = (uint64_t)sig;
	r->rsi = sp + offsetof(struct frame, info);
	r->rdx = sp + offsetof(struct frame, uc);
	r->rax = 0;
	r->rflags = 2;
	t->mask_saved = false;
	t->blocked |= act->mask & ~UNBLOCKABLE;
	if (!(act->flags & SA_NODEFER))
		t->blocked |= BIT(sig);
	if (act->flags & SA_RESETHAND)
		act->handler = (tk_gva)SIG_DFL;
	m->changed = true;
	return (true);
}

static bool
has_handler(const struct tk_machine *m, int sig)
{
	tk_gva h = m->process.action[sig - 1].handler;

	return (h != (tk_gva)SIG_DFL && h != (tk_gva)SIG_IGN);
}

static bool
ignored(const struct tk_machine *m, int sig)
{
	tk_gva h = m->process.action[sig - 1].handler;

	return (h == (tk_gva)SIG_IGN || (h == (tk_gva)SIG_DFL &&
	    (sig == SIGCHLD || sig == SIGURG || sig == SIGWINCH ||
	    sig == SIGCONT)));
}

bool
tk_signal_fault(struct tk_machine *m, const struct kvm_regs *at, int sig,
    int code, tk_gva address)
{
	struct kvm_regs r = *at;

	/* A fault in the handler itself, or blocked: Linux ends the process. */
	if (!has_handler(m, sig) ||
	    (tk_current(&m->threads)->blocked & BIT(sig)))
		return (false);
	return (enter_handler(m, &r, sig, code, address) &&
	    tk_user_resume(m, &r));
}

static const char *
signal_name(int sig)
{

	switch (sig) {
	case SIGABRT: return ("SIGABRT: abort() or a failed assertion");
	case SIGTERM: return ("SIGTERM");
	case SIGKILL: return ("SIGKILL");
	case SIGSEGV: return ("SIGSEGV");
	case SIGTRAP: return ("SIGTRAP");
	default: return ("a signal");
	}
}

bool
tk_signals_due(const struct tk_machine *m)
{
	const struct tk_thread *t = tk_current(&m->threads);

	return (((t->pending | m->process.pending) & ~t->blocked) != 0);
}

/* Takes the lowest of these signals off the pending ones. */
static int
take_signal(struct tk_machine *m, uint64_t set)
{
	struct tk_thread *t = tk_current(&m->threads);
	uint64_t due = (t->pending | m->process.pending) & set;
	int sig;

	if (due == 0)
		return (0);
	sig = __builtin_ctzll(due) + 1;
	if (t->pending & BIT(sig))
		t->pending &= ~BIT(sig);
	else
		m->process.pending &= ~BIT(sig);
	return (sig);
}

enum tk_verdict
tk_user_continue(struct tk_machine *m, const struct kvm_regs *at)
{
	struct tk_thread *t = tk_current(&m->threads);
	struct kvm_regs r = *at;
	char where[160];
	int sig;

	while ((sig = take_signal(m, ~t->blocked)) != 0) {
		if (ignored(m, sig))
			continue;
		if (has_handler(m, sig) &&
		    enter_handler(m, &r, sig, SI_TKILL, 0))
			continue;
		return (tk_end(m, TK_EXITED, r.rip, "the program was ended "
		    "by signal %d (%s) in %s", sig, signal_name(sig),
		    tk_symbols_name(m->symbols, r.rip, where, sizeof where)));
	}
	if (t->mask_saved) {
		t->blocked = t->saved_mask;
		t->mask_saved = false;
	}
	if (!tk_user_resume(m, &r))
		return (tk_end(m, TK_FAULT, r.rip, "continues at 0x%llx with "
		    "its stack at 0x%llx: no addresses of the program",
		    (unsigned long long)r.rip, (unsigned long long)r.rsp));
	return (TK_RESUME);
}

/* Calls that SA_RESTART makes again from their start: signal(7). */
static bool
restartable(uint64_t call)
{

	switch (call) {
	case __NR_read:
	case __NR_readv:
	case __NR_write:
	case __NR_writev:
	case __NR_accept:
	case __NR_accept4:
	case __NR_recvfrom:
	case __NR_recvmsg:
	case __NR_sendto:
	case __NR_sendmsg:
	case __NR_futex:
		return (true);
	default:
		return (false);
	}
}

void
tk_signal_interrupts(struct tk_machine *m, struct tk_thread *t)
{
	uint64_t due = (t->pending | m->process.pending) & ~t->blocked;
	int sig = due != 0 ? __builtin_ctzll(due) + 1 : 0;

	if (sig != 0 && has_handler(m, sig) &&
	    (m->process.action[sig - 1].flags & SA_RESTART) &&
	    restartable(t->regs.rax) && (t->futex == 0 ||
	    t->deadline == TK_FOREVER))
		t->regs.rip -= 2;	/* `syscall`, RAX still its number */
	else
		t->regs.rax = (uint64_t)-EINTR;
	t->again = t->retry = false;
	t->futex = 0;
	t->deadline = TK_FOREVER;
}

/*--------------------------------------------------------------------
 * Sending
 */

/* A thread that waits is woken by what it does not block. */
static void
interrupt(const struct tk_machine *m, struct tk_thread *t, int sig)
{

	if (t->state != TK_THREAD_BLOCKED)
		return;
	if (!(t->blocked & BIT(sig))) {
		if (ignored(m, sig))
			return;
		t->state = TK_THREAD_RUNNABLE;
		t->retry = false;
	} else if (t->again) {
		/* It may be in rt_sigtimedwait(). */
		t->state = TK_THREAD_RUNNABLE;
		t->retry = true;
	}
}

static int64_t
send(struct tk_machine *m, struct tk_thread *t, uint64_t sig)
{

	if (sig > TK_NSIG)
		return (-EINVAL);
	if (sig == 0)
		return (0);
	if (sig == SIGKILL || sig == SIGSTOP) {
		(void)tk_end(m, TK_EXITED, m->vcpu->regs->rcx, "the program "
		    "was ended by signal %d (%s)", (int)sig,
		    signal_name((int)sig));
		return (TK_CALL_ENDED);
	}
	t->pending |= BIT(sig);
	interrupt(m, t, (int)sig);
	return (0);
}

/* To the process: a thread that does not block it, this one first. */
int64_t
tk_sys_kill(struct tk_machine *m, const uint64_t a[6])
{
	struct tk_threads *ts = &m->threads;
	struct tk_thread *t = tk_current(ts);
	unsigned i;

	if ((int)a[0] > 1)
		return (-ESRCH);
	if (a[1] == 0 || a[1] > TK_NSIG || !(t->blocked & BIT(a[1])))
		return (send(m, t, a[1]));
	for (i = 0; i < ts->n; i++)
		if (ts->thread[i].state != TK_THREAD_NONE &&
		    !(ts->thread[i].blocked & BIT(a[1])))
			return (send(m, &ts->thread[i], a[1]));
	m->process.pending |= BIT(a[1]);
	for (i = 0; i < ts->n; i++)
		interrupt(m, &ts->thread[i], (int)a[1]);
	return (0);
}

int64_t
tk_sys_tkill(struct tk_machine *m, const uint64_t a[6])
{
	struct tk_thread *t = tk_threads_find(&m->threads, (uint32_t)a[0]);

	return (t == NULL ? -ESRCH : send(m, t, a[1]));
}

int64_t
tk_sys_tgkill(struct tk_machine *m, const uint64_t a[6])
{

	return ((int)a[0] != 1 ? -ESRCH : tk_sys_tkill(m, a + 1));
}

/*--------------------------------------------------------------------
 * Handlers and masks
 */

int64_t
tk_sys_rt_sigaction(struct tk_machine *m, const uint64_t a[6])
{
	struct tk_sigaction *act, new;
	uint64_t sig = a[0];

	if (sig < 1 || sig > TK_NSIG || a[3] != 8)
		return (-EINVAL);
	act = &m->process.action[sig - 1];
	if (a[1] != 0 && !tk_read(m, &new, a[1], sizeof new))
		return (-EFAULT);
	if (a[1] != 0 && (BIT(sig) & UNBLOCKABLE))
		return (-EINVAL);
	if (a[2] != 0 && !tk_write(m, a[2], act, sizeof *act))
		return (-EFAULT);
	if (a[1] != 0)
		*act = new;
	return (0);
}

int64_t
tk_sys_rt_sigprocmask(struct tk_machine *m, const uint64_t a[6])
{
	struct tk_thread *t = tk_current(&m->threads);
	uint64_t set = 0;

	if (a[3] != 8)
		return (-EINVAL);
	if (a[1] != 0 && !tk_read(m, &set, a[1], sizeof set))
		return (-EFAULT);
	if (a[2] != 0 && !tk_write(m, a[2], &t->blocked, sizeof t->blocked))
		return (-EFAULT);
	if (a[1] == 0)
		return (0);
	set &= ~UNBLOCKABLE;
	switch (a[0]) {
	case SIG_BLOCK:
		t->blocked |= set;
		break;
	case SIG_UNBLOCK:
		t->blocked &= ~set;
		break;
	case SIG_SETMASK:
		t->blocked = set;
		break;
	default:
		return (-EINVAL);
	}
	return (0);
}

int64_t
tk_sys_rt_sigpending(struct tk_machine *m, const uint64_t a[6])
{
	uint64_t set = (tk_current(&m->threads)->pending |
	    m->process.pending) & tk_current(&m->threads)->blocked;

	if (a[1] > 8)
		return (-EINVAL);
	return (tk_write(m, a[0], &set, a[1]) ? 0 : -EFAULT);
}

int64_t
tk_sys_rt_sigsuspend(struct tk_machine *m, const uint64_t a[6])
{
	struct tk_thread *t = tk_current(&m->threads);
	uint64_t set;

	if (a[1] != 8)
		return (-EINVAL);
	if (!tk_read(m, &set, a[0], sizeof set))
		return (-EFAULT);
	if (!t->mask_saved) {
		t->saved_mask = t->blocked;
		t->mask_saved = true;
	}
	t->blocked = set & ~UNBLOCKABLE;
	if (tk_signals_due(m))
		return (-EINTR);
	return (tk_block(m, TK_FOREVER));
}

/* Until a handler ran: that is EINTR. */
int64_t
tk_sys_pause(struct tk_machine *m, const uint64_t a[6])
{

	(void)a;
	return (tk_block(m, TK_FOREVER));
}

int64_t
tk_sys_rt_sigtimedwait(struct tk_machine *m, const uint64_t a[6])
{
	uint64_t set, ns = TK_FOREVER;
	siginfo_t info;
	int64_t e = 0;
	int sig;

	if (a[3] != 8)
		return (-EINVAL);
	if (!tk_read(m, &set, a[0], sizeof set))
		return (-EFAULT);
	if (a[2] != 0)
		e = tk_read_timespec(m, a[2], &ns);
	if (e != 0)
		return (e);
	sig = take_signal(m, set & ~UNBLOCKABLE);
	if (sig == 0) {
		e = tk_block(m, ns);
		return (e != 0 ? e : -EAGAIN);
	}
	memset(&info, 0, sizeof info);
	info.si_signo = sig;
	info.si_code = SI_TKILL;
	info.si_pid = 1;
	if (a[1] != 0 && !tk_write(m, a[1], &info, sizeof info))
		return (-EFAULT);
	return (sig);
}

int64_t
tk_sys_sigaltstack(struct tk_machine *m, const uint64_t a[6])
{
	struct tk_thread *t = tk_current(&m->threads);
	struct { uint64_t sp; uint32_t flags, pad; uint64_t size; } ss;
	bool now = on_altstack(t, m->vcpu->regs->rsp);

	if (a[1] != 0) {
		memset(&ss, 0, sizeof ss);
		ss.sp = t->altstack;
		ss.size = t->altstack_size;
		ss.flags = t->altstack_size == 0 ? SS_DISABLE :
		    now ? SS_ONSTACK : 0;
		if (!tk_write(m, a[1], &ss, sizeof ss))
			return (-EFAULT);
	}
	if (a[0] == 0)
		return (0);
	if (!tk_read(m, &ss, a[0], sizeof ss))
		return (-EFAULT);
	if (now)
		return (-EPERM);
	if (ss.flags & SS_DISABLE) {
		t->altstack = t->altstack_size = 0;
		return (0);
	}
	if (ss.size < 2048)
		return (-ENOMEM);
	t->altstack = ss.sp;
	t->altstack_size = ss.size;
	return (0);
}

int64_t
tk_sys_rt_sigreturn(struct tk_machine *m, const uint64_t a[6])
{
	struct guest_ucontext uc;
	struct kvm_xsave fpu;
	struct kvm_regs r;
	tk_gva sp = m->vcpu->regs->rsp;

	(void)a;
	/* The restorer's `ret` has popped its own address. */
	if (!tk_read(m, &uc, sp, sizeof uc))
		goto broken;
	if (uc.fpstate != 0) {
		if (tk_vcpu_get_fpu(m->vcpu, &fpu) ||
		    !tk_read(m, &fpu, uc.fpstate, FPU_BYTES) ||
		    tk_vcpu_set_fpu(m->vcpu, &fpu))
			goto broken;
	}
	tk_user_at_syscall(m, &r);
	from_gregs(uc.greg, &r);
	tk_current(&m->threads)->blocked = uc.mask & ~UNBLOCKABLE;
	return (tk_user_continue(m, &r) == TK_RESUME ? TK_CALL_RESUMED :
	    TK_CALL_ENDED);
broken:
	(void)tk_end(m, TK_FAULT, sp, "returned from a signal handler with a "
	    "broken frame");
	return (TK_CALL_ENDED);
}
