/*-
 * SPDX-License-Identifier: BSD-2-Clause
 *
 * Signals that a program sends itself, and faults handed to its handlers.
 * The frame is Linux's: arch/x86/include/uapi/asm/sigcontext.h and
 * ucontext.h, struct rt_sigframe of the kernel.
 */

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
on_altstack(const struct tk_process *p, tk_gva sp)
{

	return (p->altstack_size != 0 && sp > p->altstack &&
	    sp - p->altstack <= p->altstack_size);
}

/* Enters the program's handler for sig as the kernel would. */
static bool
deliver(struct tk_machine *m, const struct tk_user_regs *user, int sig,
    int code, tk_gva address)
{
	struct tk_process *p = &m->process;
	struct tk_sigaction *act = &p->action[sig - 1];
	struct tk_user_regs to = *user;
	struct kvm_xsave fpu;
	struct frame f;
	tk_gva sp, fp;

	if (tk_vcpu_get_fpu(m->vcpu, &fpu))
		return (false);
	sp = user->r.rsp;
	if ((act->flags & SA_ONSTACK) && p->altstack_size != 0 &&
	    !on_altstack(p, sp))
		sp = p->altstack + p->altstack_size;
	else
		sp -= 128;		/* red zone: SysV ABI, 3.2.2 */
	fp = (sp - FPU_BYTES) & ~63ULL;
	sp = ((fp - sizeof f) & ~15ULL) - 8;

	memset(&f, 0, sizeof f);
	f.restorer = act->flags & KERNEL_SA_RESTORER ? act->restorer :
	    tk_signal_return_address();
	f.uc.stack_sp = p->altstack;
	f.uc.stack_size = p->altstack_size;
	f.uc.stack_flags = p->altstack_size == 0 ? SS_DISABLE : 0;
	f.uc.mask = p->blocked;
	f.uc.fpstate = fp;
	to_gregs(&user->r, f.uc.greg);
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

	to.r.rip = act->handler;
	to.r.rsp = sp;
	to.r.rdi = (uint64_t)sig;
	to.r.rsi = sp + offsetof(struct frame, info);
	to.r.rdx = sp + offsetof(struct frame, uc);
	to.r.rax = 0;
	to.r.rflags = 2;
	p->blocked |= act->mask & ~UNBLOCKABLE;
	if (!(act->flags & SA_NODEFER))
		p->blocked |= BIT(sig);
	if (act->flags & SA_RESETHAND)
		act->handler = (tk_gva)SIG_DFL;
	m->changed = true;
	return (tk_user_resume(m, &to));
}

static bool
has_handler(const struct tk_machine *m, int sig)
{
	tk_gva h = m->process.action[sig - 1].handler;

	return (h != (tk_gva)SIG_DFL && h != (tk_gva)SIG_IGN);
}

bool
tk_signal_fault(struct tk_machine *m, const struct tk_user_regs *u, int sig,
    tk_gva address)
{

	/* A fault in the handler itself, or blocked: Linux ends the process. */
	if (!has_handler(m, sig) || (m->process.blocked & BIT(sig)))
		return (false);
	return (deliver(m, u, sig, sig == SIGSEGV ? SEGV_MAPERR : 1,
	    address));
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

static bool
ignored_by_default(int sig)
{

	return (sig == SIGCHLD || sig == SIGURG || sig == SIGWINCH ||
	    sig == SIGCONT);
}

/* The program sends itself a signal. */
static int64_t
raise_signal(struct tk_machine *m, uint64_t sig)
{
	struct tk_user_regs u;
	char where[160];

	if (sig > TK_NSIG)
		return (-EINVAL);
	if (sig == 0)
		return (0);
	if (m->process.blocked & BIT(sig) & ~UNBLOCKABLE) {
		m->process.pending |= BIT(sig);
		return (0);
	}
	if (has_handler(m, (int)sig)) {
		tk_user_at_syscall(m, &u);
		u.r.rax = 0;
		if (deliver(m, &u, (int)sig, SI_TKILL, 0))
			return (TK_CALL_RESUMED);
	} else if (m->process.action[sig - 1].handler == (tk_gva)SIG_IGN ||
	    ignored_by_default((int)sig))
		return (0);
	(void)tk_end(m, TK_EXITED, m->vcpu->regs->rcx, "the program was ended "
	    "by signal %d (%s) in %s", (int)sig, signal_name((int)sig),
	    tk_symbols_name(m->symbols, m->vcpu->regs->rcx, where,
	    sizeof where));
	return (TK_CALL_ENDED);
}

int64_t
tk_sys_kill(struct tk_machine *m, const uint64_t a[6])
{

	if ((int)a[0] > 1)
		return (-ESRCH);
	return (raise_signal(m, a[1]));
}

int64_t
tk_sys_tkill(struct tk_machine *m, const uint64_t a[6])
{

	if ((int)a[0] != 1)
		return (-ESRCH);
	return (raise_signal(m, a[1]));
}

int64_t
tk_sys_tgkill(struct tk_machine *m, const uint64_t a[6])
{

	return (tk_sys_tkill(m, a + 1));
}

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
	struct tk_process *p = &m->process;
	uint64_t set = 0, due;
	int sig;

	if (a[3] != 8)
		return (-EINVAL);
	if (a[1] != 0 && !tk_read(m, &set, a[1], sizeof set))
		return (-EFAULT);
	if (a[2] != 0 && !tk_write(m, a[2], &p->blocked, sizeof p->blocked))
		return (-EFAULT);
	if (a[1] == 0)
		return (0);
	set &= ~UNBLOCKABLE;
	switch (a[0]) {
	case SIG_BLOCK:
		p->blocked |= set;
		break;
	case SIG_UNBLOCK:
		p->blocked &= ~set;
		break;
	case SIG_SETMASK:
		p->blocked = set;
		break;
	default:
		return (-EINVAL);
	}
	/* One at a time: the next when the mask changes again. */
	due = p->pending & ~p->blocked;
	if (due == 0)
		return (0);
	sig = __builtin_ctzll(due) + 1;
	p->pending &= ~BIT(sig);
	return (raise_signal(m, (uint64_t)sig));
}

int64_t
tk_sys_sigaltstack(struct tk_machine *m, const uint64_t a[6])
{
	struct tk_process *p = &m->process;
	struct { uint64_t sp; uint32_t flags, pad; uint64_t size; } ss;

	if (a[1] != 0) {
		memset(&ss, 0, sizeof ss);
		ss.sp = p->altstack;
		ss.size = p->altstack_size;
		ss.flags = p->altstack_size == 0 ? SS_DISABLE :
		    on_altstack(p, m->vcpu->regs->rsp) ? SS_ONSTACK : 0;
		if (!tk_write(m, a[1], &ss, sizeof ss))
			return (-EFAULT);
	}
	if (a[0] == 0)
		return (0);
	if (!tk_read(m, &ss, a[0], sizeof ss))
		return (-EFAULT);
	if (ss.flags & SS_DISABLE) {
		p->altstack = p->altstack_size = 0;
		return (0);
	}
	if (ss.size < 2048)
		return (-ENOMEM);
	p->altstack = ss.sp;
	p->altstack_size = ss.size;
	return (0);
}

int64_t
tk_sys_rt_sigreturn(struct tk_machine *m, const uint64_t a[6])
{
	struct guest_ucontext uc;
	struct tk_user_regs u;
	struct kvm_xsave fpu;
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
	tk_user_at_syscall(m, &u);
	from_gregs(uc.greg, &u.r);
	m->process.blocked = uc.mask & ~UNBLOCKABLE;
	if (!tk_user_resume(m, &u))
		goto broken;
	return (TK_CALL_RESUMED);
broken:
	(void)tk_end(m, TK_FAULT, sp, "returned from a signal handler with a "
	    "broken frame");
	return (TK_CALL_ENDED);
}
