/*-
 * SPDX-License-Identifier: BSD-2-Clause
 */

#include <signal.h>
#include <stdio.h>

#include "debug.h"
#include "exception.h"
#include "guest_kernel.h"
#include "guest_layout.h"
#include "linux/linux.h"
#include "object.h"

/* What a program may set itself: arithmetic flags, TF, DF, AC, ID. */
#define USER_FLAGS	0x240dd5ULL

/* Pushed by the CPU: Intel SDM vol. 3A, figure 6-9. */
struct iret_frame {
	uint64_t	rip, cs, rflags, rsp, ss;
};

enum { DE = 0, DB = 1, BP = 3, OF = 4, UD = 6, DF = 8, TS = 10, NP = 11,
    SS = 12, GP = 13, PF = 14, MF = 16, AC = 17, XM = 19, CP = 21 };

static bool
has_error_code(unsigned vector)
{

	return (vector == DF || (vector >= TS && vector <= PF) ||
	    vector == AC || vector == CP || vector == 29 || vector == 30);
}

static uint8_t *
exception_stack(const struct tk_machine *m)
{

	return (tk_memory_at(&m->mem, m->mem.rw_gpa));
}

void
tk_user_at_syscall(const struct tk_machine *m, struct kvm_regs *r)
{

	*r = *m->vcpu->regs;
	r->rip = r->rcx;
	r->rflags = r->r11;
}

bool
tk_user_resume(struct tk_machine *m, const struct kvm_regs *r)
{
	uint64_t flags = (r->rflags & USER_FLAGS) | 2;
	struct iret_frame f;

	if (r->rip >= TK_USER_END || r->rsp >= TK_USER_END)
		return (false);
	*m->vcpu->regs = *r;
	m->vcpu->regs->rflags = flags;
	if (!m->in_ring0)
		return (true);
	f.rip = r->rip;
	f.cs = TK_SEL_UCODE;
	f.rflags = flags;
	f.rsp = r->rsp;
	f.ss = TK_SEL_UDATA;
	memcpy(exception_stack(m) + TK_PAGE - sizeof f, &f, sizeof f);
	if (m->space.pages.ws != NULL)
		tk_ws_add(m->space.pages.ws, 0);
	m->vcpu->regs->rip = tk_iret_address();
	m->vcpu->regs->rsp = TK_EXC_STACK_TOP - sizeof f;
	m->vcpu->regs->rflags = 2;
	return (true);
}

bool
tk_exception_frame(const struct tk_machine *m, const struct tk_vcpu *v,
    unsigned vector, struct kvm_regs *r, uint64_t *code)
{
	tk_gva low = TK_EXC_STACK + v->number * TK_EXC_STACK_STEP;
	tk_gva rsp = v->regs->rsp;
	struct iret_frame f;
	size_t need = sizeof f + (has_error_code(vector) ? 8 : 0);
	const uint8_t *p;

	*code = 0;
	if (rsp < low || rsp > low + TK_PAGE - need)
		return (false);
	p = exception_stack(m) + v->number * TK_PAGE + (rsp - low);
	if (has_error_code(vector)) {
		memcpy(code, p, 8);
		p += 8;
	}
	memcpy(&f, p, sizeof f);
	*r = *v->regs;
	r->rip = f.rip;
	r->rflags = f.rflags;
	r->rsp = f.rsp;
	/* From our own code: not what a program can go on from. */
	return ((f.cs & 3) == 3 || f.rip >= TK_KERNEL);
}

static bool
is_int3(const struct tk_machine *m, tk_gva gva)
{
	uint8_t op;

	return (tk_read(m, &op, gva, 1) && op == 0xcc);
}

/* INT n, of a vector that a program might call. */
static bool
is_int_n(const struct tk_machine *m, tk_gva gva)
{
	uint8_t op[2];

	return (tk_read(m, op, gva, 2) && op[0] == 0xcd &&
	    (op[1] == BP || op[1] == OF));
}

bool
tk_exception_waits(const struct tk_machine *m)
{
	tk_gva rip = m->vcpu->regs->rip;

	/*
	 * KVM does not tell of those of INT3 and INT n, for which there is no
	 * place to put the instruction's length (KVM_GET_VCPU_EVENTS). A
	 * software KVM has RIP behind it by then; an exit of VMX in the midst
	 * of the delivery leaves it there, and KVM begins again (Intel SDM vol.
	 * 3C, "Information for VM Exits That Occur During Event Delivery").
	 * Where one lies there by chance, or was not executed yet, the next
	 * kick sees another place.
	 */
	return (!tk_vcpu_is_quiet(m->vcpu) ||
	    is_int3(m, rip - 1) || is_int_n(m, rip - 2) ||
	    is_int3(m, rip) || is_int_n(m, rip));
}

static const char *
vector_name(unsigned vector)
{
	static const char *const names[32] = {
		[DE] = "division error",
		[DB] = "debug trap",
		[2] = "non-maskable interrupt",
		[BP] = "breakpoint instruction",
		[OF] = "overflow",
		[5] = "bound range exceeded",
		[UD] = "invalid instruction",
		[7] = "no floating-point unit",
		[DF] = "double fault",
		[TS] = "invalid task state",
		[NP] = "segment not present",
		[SS] = "stack segment fault",
		[GP] = "general protection fault",
		[MF] = "x87 floating-point exception",
		[AC] = "misaligned access",
		[18] = "machine check",
		[XM] = "SIMD floating-point exception",
		[CP] = "control protection fault",
	};

	return (vector < 32 && names[vector] != NULL ? names[vector] :
	    "exception");
}

int
tk_exception_signal(unsigned vector)
{

	switch (vector) {
	case DE: case MF: case XM:
		return (SIGFPE);
	case DB: case BP:
		return (SIGTRAP);
	case UD:
		return (SIGILL);
	case AC:
		return (SIGBUS);
	default:
		return (SIGSEGV);
	}
}

/* The words for a page fault: what was tried, and what lies there. */
static void
describe_page_fault(const struct tk_machine *m, tk_gva address, uint64_t code,
    tk_gva rsp, char *buf, size_t size)
{
	const struct tk_vma *v;
	const char *what, *why = "";
	tk_gva low;

	what = code & 0x10 ? "execution of" : code & 2 ? "write to" :
	    "read from";
	v = address < TK_USER_END ? tk_space_find(&m->space, address) : NULL;
	low = TK_CALL_STACK_TOP - TK_CALL_STACK_SIZE;
	if (address < TK_USER_MIN)
		why = " (a null pointer)";
	else if (address >= TK_KERNEL)
		why = " (not the program's memory)";
	else if ((address < low && address >= low - TK_CALL_STACK_SIZE &&
	    rsp < low + TK_PAGE) || (address < TK_STACK_TOP - TK_STACK_SIZE &&
	    address >= TK_STACK_TOP - 2 * TK_STACK_SIZE))
		why = " (stack overflow)";
	else if (v != NULL && (code & 2) && !(v->prot & TK_PROT_W))
		why = " (read-only memory)";
	else if (v != NULL && (code & 0x10) && !(v->prot & TK_PROT_X))
		why = " (memory that is not executable)";
	else if (v == NULL)
		why = " (nothing is mapped there)";
	(void)snprintf(buf, size, "invalid %s address 0x%llx%s", what,
	    (unsigned long long)address, why);
}

/* Which address is lazily backed memory is known only when it is touched. */
static bool
page_fault_resolved(struct tk_machine *m, tk_gva address, uint64_t code)
{

	/* Of this fault: a program may have survived an earlier shortage. */
	m->space.pages.exhausted = false;
	/*
	 * The same again, and no system call in between that could have taken
	 * the page away: it did not help, so it is a fault.
	 */
	if (address == m->fault_at && ++m->fault_repeats > 3)
		return (false);
	if (address != m->fault_at) {
		m->fault_at = address;
		m->fault_repeats = 0;
	}
	m->changed = true;
	return (tk_space_fault(&m->space, address, code & 0x10 ? TK_PROT_X :
	    code & 2 ? TK_PROT_W : TK_PROT_R));
}

/* si_code of SIGSEGV: is there nothing, or may it not be used so? */
static int
segv_code(const struct tk_machine *m, tk_gva address)
{

	return (address < TK_USER_END &&
	    tk_space_find(&m->space, address) != NULL ? SEGV_ACCERR :
	    SEGV_MAPERR);
}

void
tk_exception_words(const struct tk_machine *m, unsigned vector,
    tk_gva address, uint64_t code, tk_gva rsp, char *buf, size_t size)
{

	if (vector == PF)
		describe_page_fault(m, address, code, rsp, buf, size);
	else
		(void)snprintf(buf, size, "%s", vector_name(vector));
}

enum tk_verdict
tk_exception(struct tk_machine *m, unsigned vector)
{
	struct kvm_regs r;
	enum tk_verdict v;
	uint64_t code;
	tk_gva address = 0;
	char what[160], where[160];
	int sig = tk_exception_signal(vector);
	bool user;

	if (!tk_exception_frame(m, m->vcpu, vector, &r, &code)) {
		m->broken = true;
		return (tk_end(m, TK_FAULT, 0, "%s with a broken stack",
		    vector_name(vector)));
	}
	user = r.rip < TK_USER_END;
	if (vector == PF) {
		address = tk_vcpu_fault_address(m->vcpu);
		if (user && page_fault_resolved(m, address, code) &&
		    tk_user_resume(m, &r))
			return (TK_RESUME);
	}
	if (__builtin_expect(m->debug != NULL, 0) && user &&
	    tk_debug_exception(m, vector, &r, &v))
		return (v);
	if (vector == PF) {
		if (m->space.pages.exhausted)
			return (tk_end(m, TK_OUT_OF_MEMORY, address,
			    tk_ws_full(&m->ws) ? TK_WROTE_TOO_MUCH :
			    "the program's memory (max_memory) is used up"));
	}
	if (user && tk_signal_fault(m, &r, sig, sig == SIGSEGV ?
	    segv_code(m, address) : 1, address))
		return (TK_RESUME);
	tk_exception_words(m, vector, address, code, r.rsp, what, sizeof what);
	return (tk_end(m, TK_FAULT, address ? address : r.rip, "%s in %s",
	    what, tk_symbols_name(m->symbols, r.rip, where, sizeof where)));
}
