/*-
 * SPDX-License-Identifier: BSD-2-Clause
 *
 * What a debugger sees of a machine that stands still, and changes in it.
 */

#include <errno.h>

#include "debug.h"
#include "guest_layout.h"
#include "object.h"

#define TF		0x100ULL

/*--------------------------------------------------------------------
 * Threads and their registers
 */

uint32_t
tk_debug_thread(const struct tk_machine *m, unsigned i, const char **what)
{
	const struct tk_thread *t;
	unsigned k;

	TK_CHECK_OBJ(m, TK_MACHINE_MAGIC);
	for (k = 0; k < m->threads.n; k++) {
		t = &m->threads.thread[k];
		if (t->state == TK_THREAD_NONE || i-- > 0)
			continue;
		*what = t == tk_current(&m->threads) &&
		    t->state == TK_THREAD_RUNNABLE ? "has the vCPU" :
		    t->state == TK_THREAD_RUNNABLE ? "can run" :
		    t->futex != 0 ? "waits for a futex" :
		    "waits in a system call";
		return (t->tid);
	}
	return (0);
}

/* Where the registers of a thread lie at a stop, NULL when it is none. */
static struct kvm_regs *
registers(const struct tk_machine *m, uint32_t tid, bool *on_vcpu,
    unsigned *index)
{
	struct tk_thread *t = tk_threads_find(&m->threads, tid);

	tk_assert(m->debug != NULL && m->debug->stopped);
	if (t == NULL)
		return (NULL);
	*index = (unsigned)(t - m->threads.thread);
	*on_vcpu = *index == m->threads.current;
	return (*on_vcpu && !m->debug->asleep ? &m->debug->regs : &t->regs);
}

bool
tk_debug_read_regs(const struct tk_machine *m, uint32_t tid,
    struct tk_debug_regs *to)
{
	const struct kvm_regs *r;
	struct kvm_xsave x;
	unsigned i;
	bool on_vcpu;

	TK_CHECK_OBJ(m, TK_MACHINE_MAGIC);
	r = registers(m, tid, &on_vcpu, &i);
	if (r == NULL)
		return (false);
	*to = (struct tk_debug_regs){
		.general = { r->rax, r->rbx, r->rcx, r->rdx, r->rsi, r->rdi,
		    r->rbp, r->rsp, r->r8, r->r9, r->r10, r->r11, r->r12,
		    r->r13, r->r14, r->r15 },
		.rip = r->rip, .rflags = r->rflags,
		.fs_base = m->threads.thread[i].fs,
		.gs_base = m->threads.thread[i].gs
	};
	if (on_vcpu) {
		if (tk_vcpu_get_bases(m->vcpu, &to->fs_base, &to->gs_base) ||
		    tk_vcpu_get_fpu(m->vcpu, &x))
			return (false);
	}
	memcpy(to->fxsave, on_vcpu ? &x : &m->threads.fpu[i],
	    sizeof to->fxsave);
	return (true);
}

/* XSTATE_BV, Intel SDM vol. 1, 13.4.2: x87 and SSE are in the image. */
static void
set_fxsave(struct kvm_xsave *x, const uint8_t *fxsave)
{
	uint64_t there;
	uint8_t *image = (uint8_t *)x;

	memcpy(image, fxsave, 512);
	memcpy(&there, image + 512, sizeof there);
	there |= 3;
	memcpy(image + 512, &there, sizeof there);
}

/* Canonical: not every KVM looks before the CPU refuses to enter. */
static bool
is_base(tk_gva base)
{

	return (base < TK_USER_END || base >= 0xffff800000000000ULL);
}

bool
tk_debug_write_regs(struct tk_machine *m, uint32_t tid,
    const struct tk_debug_regs *from)
{
	const uint64_t *g = from->general;
	struct kvm_regs *r;
	struct kvm_xsave x;
	unsigned i;
	bool on_vcpu;

	TK_CHECK_OBJ(m, TK_MACHINE_MAGIC);
	r = registers(m, tid, &on_vcpu, &i);
	if (r == NULL || m->threads.thread[i].state == TK_THREAD_BLOCKED ||
	    !is_base(from->fs_base) || !is_base(from->gs_base))
		return (false);
	if (on_vcpu) {
		/* KVM refuses reserved bits of MXCSR. */
		if (tk_vcpu_get_fpu(m->vcpu, &x))
			return (false);
		set_fxsave(&x, from->fxsave);
		if (tk_vcpu_set_fpu(m->vcpu, &x) || tk_vcpu_set_bases(m->vcpu,
		    from->fs_base, from->gs_base))
			return (false);
	} else {
		set_fxsave(&m->threads.fpu[i], from->fxsave);
		m->threads.thread[i].fs = from->fs_base;
		m->threads.thread[i].gs = from->gs_base;
	}
	*r = (struct kvm_regs){
		.rax = g[TK_RAX], .rbx = g[TK_RBX], .rcx = g[TK_RCX],
		.rdx = g[TK_RDX], .rsi = g[TK_RSI], .rdi = g[TK_RDI],
		.rbp = g[TK_RBP], .rsp = g[TK_RSP], .r8 = g[TK_R8],
		.r9 = g[TK_R9], .r10 = g[TK_R10], .r11 = g[TK_R11],
		.r12 = g[TK_R12], .r13 = g[TK_R13], .r14 = g[TK_R14],
		.r15 = g[TK_R15], .rip = from->rip,
		.rflags = from->rflags & ~TF
	};
	return (true);
}

/*--------------------------------------------------------------------
 * Memory
 */

/*
 * The host's address of a byte of user memory that is backed, or of the vDSO,
 * whatever the guest may do there; for writing, only what a reset copies back,
 * or what all forks share anyway. *left: to the end of its page.
 */
static uint8_t *
address_of(const struct tk_machine *m, tk_gva gva, bool write, uint64_t *left)
{
	const struct tk_memory *mem = &m->mem;
	uint64_t pte;
	tk_gpa gpa;

	if (gva >= TK_USER_END)
		return (NULL);
	pte = tk_pt_walk(&m->space.pt, gva, left);
	gpa = pte & TK_PTE_ADDR;
	*left = TK_PAGE - (gva & (TK_PAGE - 1));
	/* Code that the program may stand in. */
	if (!write && gpa >= TK_K_VDSO &&
	    gpa < TK_K_VDSO + TK_VDSO_PAGES * TK_PAGE)
		return ((uint8_t *)tk_memory_at(mem, gpa) +
		    (gva & (TK_PAGE - 1)));
	if (pte == 0 || gpa < (write ? mem->rw_gpa : TK_RO_GPA) ||
	    (gpa >= mem->pt_gpa && gpa < mem->rw_gpa) ||
	    gpa >= mem->end + mem->shared_size)
		return (NULL);
	if (write && m->space.pages.ws != NULL && gpa < mem->end)
		tk_ws_add(m->space.pages.ws, (unsigned)((gpa - mem->rw_gpa) >>
		    TK_PAGE_SHIFT));
	return ((uint8_t *)tk_memory_at(mem, gpa) + (gva & (TK_PAGE - 1)));
}

/* Points that lie in [gva, gva+len), one after the other. */
static struct tk_breakpoint *
next_point(struct tk_debug *d, unsigned *i, tk_gva gva, uint64_t len)
{

	while (*i < d->n) {
		(*i)++;
		if (d->point[*i - 1].at - gva < len)
			return (&d->point[*i - 1]);
	}
	return (NULL);
}

/* What is mapped but was not touched yet is zeros. */
static bool
is_untouched(const struct tk_machine *m, tk_gva gva, uint64_t *left)
{
	const struct tk_vma *v;

	if (gva >= TK_USER_END || tk_pt_walk(&m->space.pt, gva, left) != 0)
		return (false);
	v = tk_space_find(&m->space, gva);
	*left = TK_PAGE - (gva & (TK_PAGE - 1));
	return (v != NULL && v->prot != 0);
}

bool
tk_debug_read(const struct tk_machine *m, void *to, tk_gva gva, size_t len)
{
	const struct tk_breakpoint *b;
	const uint8_t *p;
	uint8_t *out = to;
	uint64_t left;
	size_t done;
	unsigned i = 0;

	tk_assert(m->debug != NULL);
	if (len > TK_USER_END || gva > TK_USER_END - len)
		return (false);
	for (done = 0; done < len; done += left) {
		p = address_of(m, gva + done, false, &left);
		if (p == NULL && !is_untouched(m, gva + done, &left))
			return (false);
		if (left > len - done)
			left = len - done;
		if (p != NULL)
			memcpy(out + done, p, left);
		else
			memset(out + done, 0, left);
	}
	while ((b = next_point(m->debug, &i, gva, len)) != NULL)
		out[b->at - gva] = b->byte;
	return (true);
}

bool
tk_debug_write(struct tk_machine *m, tk_gva gva, const void *from, size_t len)
{
	const uint8_t *in = from;
	struct tk_breakpoint *b;
	uint64_t left;
	uint8_t *p;
	unsigned i;

	tk_assert(m->debug != NULL);
	if (len > TK_USER_END || gva > TK_USER_END - len)
		return (false);
	for (; len > 0; gva += left, in += left, len -= left) {
		if (is_untouched(m, gva, &left) && !tk_space_fault(&m->space,
		    gva, tk_space_find(&m->space, gva)->prot))
			return (false);
		p = address_of(m, gva, true, &left);
		if (p == NULL)
			return (false);
		if (left > len)
			left = len;
		memcpy(p, in, left);
		i = 0;
		while ((b = next_point(m->debug, &i, gva, left)) != NULL) {
			b->byte = in[b->at - gva];
			p[b->at - gva] = 0xcc;
		}
	}
	return (true);
}

struct tk_breakpoint *
tk_debug_point(const struct tk_debug *d, tk_gva at)
{
	unsigned i;

	for (i = 0; i < d->n; i++)
		if (d->point[i].at == at)
			return ((struct tk_breakpoint *)(uintptr_t)
			    &d->point[i]);
	return (NULL);
}

int
tk_debug_break(struct tk_machine *m, tk_gva at)
{
	struct tk_debug *d = m->debug;
	uint64_t left;
	uint8_t *p;

	tk_assert(d != NULL && d->stopped);
	if (tk_debug_point(d, at) != NULL)
		return (0);
	if (d->n == TK_MAX_BREAKPOINTS)
		return (ENOSPC);
	p = address_of(m, at, true, &left);
	if (p == NULL)
		return (EFAULT);
	d->point[d->n].at = at;
	d->point[d->n++].byte = *p;
	*p = 0xcc;
	return (0);
}

void
tk_debug_unbreak(struct tk_machine *m, tk_gva at)
{
	struct tk_debug *d = m->debug;
	struct tk_breakpoint *b = tk_debug_point(d, at);
	uint64_t left;
	uint8_t *p;

	if (b == NULL)
		return;
	/* Unless the program has mapped something else there meanwhile. */
	p = address_of(m, at, true, &left);
	if (p != NULL && *p == 0xcc)
		*p = b->byte;
	*b = d->point[--d->n];
}
