/*-
 * SPDX-License-Identifier: BSD-2-Clause
 *
 * What a request leaves in the CPU that no reset of memory puts back: the next
 * entry does.
 */

#include <cpuid.h>
#include <stdarg.h>
#include <sys/ioctl.h>
#include <sys/mman.h>
#include <sys/syscall.h>
#include <unistd.h>

#include "guest_layout.h"
#include "image.h"
#include "one_fork.h"

/*
 * KVM's ioctls pass here, and where RIP is behind an `out` at its exit, KVM_RUN
 * is looked at as one where it is not would: it skips an `out` at the next
 * entry, if RIP is still there. What began there anew would lose its first
 * instruction.
 */
static struct {
	struct kvm_run	*run;
	uint64_t	out;		/* the last one's address, or 0 */
} cpu[1024];
static unsigned settled, skipped;

#define OUT_IMM8_SIZE	2

static void
before_run(int fd)
{
	const struct kvm_run *r = cpu[fd].run;

	if (r->immediate_exit && r->s.regs.regs.rip == 0)
		settled++;
	if (cpu[fd].out != 0 && r->s.regs.regs.rip == cpu[fd].out &&
	    (r->kvm_dirty_regs & KVM_SYNC_X86_REGS))
		skipped++;
	cpu[fd].out = 0;
}

static void
after_run(int fd)
{
	const struct kvm_run *r = cpu[fd].run;

	if (r->exit_reason == KVM_EXIT_IO)
		cpu[fd].out = r->s.regs.regs.rip - OUT_IMM8_SIZE;
}

int
ioctl(int fd, unsigned long request, ...)
{
	va_list ap;
	void *arg;
	int r;

	va_start(ap, request);
	arg = va_arg(ap, void *);
	va_end(ap);
	if (request == KVM_RUN) {
		CHECK(fd < 1024);
		if (cpu[fd].run == NULL)
			cpu[fd].run = mmap(NULL, TK_PAGE, PROT_READ,
			    MAP_SHARED, fd, 0);
		CHECK(cpu[fd].run != MAP_FAILED);
		before_run(fd);
	}
	r = (int)syscall(SYS_ioctl, fd, request, arg);
	if (request == KVM_RUN && r == 0)
		after_run(fd);
	/* The number of one that is gone. */
	if (request == KVM_CREATE_VCPU && r >= 0 && r < 1024)
		memset(&cpu[r], 0, sizeof cpu[r]);
	return (r);
}

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

/*
 * The second program begins where the last `out` of the first was, in the same
 * machine.
 */
static void
programs_begin_with_their_first_instruction(void)
{
	struct guest first, second;
	const struct tk_host *h;
	struct tk_error err;
	struct image im;
	unsigned before;

	h = tk_host(&err);
	CHECK_MSG(h != NULL, "%s", err.text);
	image_init(&im);
	image_waits(&im, 0);
	CHECK_MSG(image_boot(&first, &im, sizeof im, 5, &err) == 0, "%s",
	    err.text);
	before = settled;
	skipped = 0;
	image_init(&im);
	image_waits(&im, 5);
	CHECK_MSG(image_boot(&second, &im, sizeof im, 5, &err) == 0, "%s",
	    err.text);
	CHECK(skipped == 0 || !h->facts.rip_after_out);
	CHECK(settled > before);
	guest_free(&second);
	guest_free(&first);
}

/* And so do functions that further vCPUs begin with, in each request. */
static void
functions_begin_with_their_first_instruction(void)
{
	unsigned i, before;

	set_up(NULL);
	for (i = 0; i < 3; i++) {
		before = settled;
		CHECK(succeeds(5, OP_SPOIL, OP_NOP, 0, 0) == 0);
		CHECK_MSG(settled == before + 1, "%u", settled - before);
		(void)tk_reset(m);
		CHECK(!tk_broken(m));
	}
	/* A request without is not asked for more than before. */
	before = settled;
	CHECK(succeeds(5, OP_NOP, 0, 0, 0) == 0);
	CHECK(settled == before);
	tear_down();
}

TESTS(
	T_KVM(programs_begin_with_their_first_instruction),
	T_KVM(functions_begin_with_their_first_instruction),
	T_KVM(servers_begin_with_the_selectors),
	T_KVM(protection_keys_are_forgotten)
)
