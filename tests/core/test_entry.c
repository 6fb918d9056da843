/*-
 * SPDX-License-Identifier: BSD-2-Clause
 *
 * What a request leaves in the CPU that no reset of memory puts back: the next
 * entry does.
 */

#include <cpuid.h>

#include "guest_layout.h"
#include "one_fork.h"

/*
 * Protection keys: where a software KVM leaves ring 3 those of the host, a
 * program can deny itself all of its memory, and with it the entry of the next
 * call, on this vCPU, another of the machine, or in the program that has the
 * machine next. Elsewhere both instructions are faults and ours has none.
 */
#define DENY_ALL	0x55555557

static bool
is_in_stubs(const char *code, size_t len)
{

	return (memmem(tk_memory_at(&m->mem, TK_K_USER_STUBS), TK_PAGE, code,
	    len) != NULL);
}

static void
no_call_inherits(bool there, int64_t rights)
{
	struct tk_error err;
	int e;

	(void)tk_reset(m);
	CHECK(!tk_broken(m));
	CHECK(succeeds(5, OP_SPOIL, OP_NOP, 0, 0) == 0);
	(void)tk_reset(m);
	e = guest_op(&g, m, &err, 5, OP_KEYS, 0, 0, 0);
	CHECK_MSG(e == (there ? 0 : TK_FAULT), "%d: %s", e, err.text);
	CHECK_MSG(!there || g.result == rights, "0x%lx, not 0x%lx",
	    (long)g.result, (long)rights);
	(void)tk_reset(m);
}

/* Boots, other threads and further vCPUs begin with an image. */
static void
the_frozen_image_has_them(int64_t rights)
{
	struct kvm_xsave x;
	unsigned a, at, c, d;

	/* Where they lie: Intel SDM vol. 2, CPUID leaf 0xD. */
	CHECK(__get_cpuid_count(0xd, 9, &a, &at, &c, &d) == 1 && at > 576);
	CHECK(tk_vcpu_set_fpu(m->vcpu, tk_memory_at(&m->mem, TK_K_FPU)) == 0);
	CHECK(tk_vcpu_get_fpu(m->vcpu, &x) == 0);
	CHECK_MSG(x.region[at / 4] == (uint32_t)rights, "0x%x",
	    x.region[at / 4]);
}

static void
protection_keys_are_forgotten(void)
{
	struct tk_error err;
	int64_t rights = 0;
	unsigned i;
	bool there;

	for (i = 0; i < 3; i++) {
		set_up(NULL);
		there = guest_op(&g, m, &err, 5, OP_KEYS, 0, 0, 0) == 0;
		if (there && i == 0)
			rights = g.result;
		CHECK(is_in_stubs("\x0f\x01\xef", 3) == there);
		no_call_inherits(there, rights);
		/* On a vCPU beside the first, then on that. */
		(void)guest_op(&g, m, &err, 5, OP_SPOIL, OP_KEYS, DENY_ALL,
		    0);
		no_call_inherits(there, rights);
		(void)guest_op(&g, m, &err, 5, OP_KEYS, DENY_ALL, 0, 0);
		no_call_inherits(there, rights);
		/* Its machine is the next one's. */
		(void)guest_op(&g, m, &err, 5, OP_KEYS, DENY_ALL, 0, 0);
		if (m->host->xsave_keys != 0)
			the_frozen_image_has_them(rights);
		(void)guest_op(&g, m, &err, 5, OP_KEYS, DENY_ALL, 0, 0);
		tear_down();
	}
}

static enum tk_verdict
nothing(void *priv, const uint8_t *data, size_t len)
{

	(void)priv;
	(void)data;
	(void)len;
	return (TK_RESUME);
}

/*
 * A server's request goes on where the program waits; what the last one left in
 * the CPU is gone all the same. What becomes of this request is of no interest:
 * nobody listens.
 */
static void
servers_begin_with_the_selectors(void)
{
	struct tk_connection c = { .output = nothing };
	struct kvm_regs r;
	struct tk_error err;

	set_up(NULL);
	/* It ends where it can go on, and tells what it has there. */
	CHECK(succeeds(5, OP_SELECTORS, 0, 0, 0) == 0);
	CHECK(tk_continue(m, 0, 5, &err) == 0 && g.result == 0);
	r = *m->vcpu->regs;
	r.rip = tk_after_host_call(m);
	g.master->serves = true;
	CHECK(tk_serve(m, &c, 5, &err) == TK_HOST);
	CHECK_STR(err.text, "no connection could be made");
	/* What the next entry would set is not asked. */
	m->broken = m->vcpu->sregs_dirty = false;
	*m->vcpu->regs = r;
	CHECK_MSG(tk_continue(m, 0, 5, &err) == 0, "%s", err.text);
	CHECK_MSG(g.result == (TK_SEL_UDATA << 16 | TK_SEL_UDATA), "0x%lx",
	    (long)g.result);
	tear_down();
}

TESTS(
	T_KVM(servers_begin_with_the_selectors),
	T_KVM(protection_keys_are_forgotten)
)
