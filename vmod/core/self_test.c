/*-
 * SPDX-License-Identifier: BSD-2-Clause
 *
 * What only running a guest can tell about this host's KVM:
 *
 *  - whether RIP at an exit for `out` stands at the instruction (VMX and SVM,
 *    where KVM skips it at the next entry) or behind it;
 *  - whether `syscall` lands in ring 0, as on hardware, or in ring 3, as where
 *    KVM runs guests in the host's ring 3 under shadow paging;
 *  - whether the guest reads the host's time-stamp counter;
 *  - whether ring 3 has protection keys, which are not offered to guests, but
 *    which it has where it is the host's;
 *  - whether the entry stub runs, of which xrstor depends on the CPU.
 */

#include <stdio.h>
#include <x86intrin.h>

#include "clock_page.h"
#include "error.h"
#include "guest_kernel.h"
#include "guest_layout.h"
#include "object.h"
#include "vcpu.h"

/* Bytes of `mov $imm32, %eax` before the `out` of the empty stub. */
#define MOV_IMM32_SIZE	5

static int
unexpected(struct tk_vcpu *v, enum tk_exit exit, const char *step,
    struct tk_error *err)
{
	char what[128];

	tk_vcpu_describe(v, exit, what, sizeof what);
	return (tk_error(err, TK_HOST, 0, "KVM self-test (%s): exit %d (%s) at "
	    "0x%llx: this KVM cannot run guests", step, exit, what,
	    (unsigned long long)v->regs->rip));
}

/* PKRU: Intel SDM vol. 1, 13.1. */
#define XSTATE_KEYS		(1ULL << 9)
#define VECTOR_UD		6

static int
probe_keys(struct tk_host *h, struct tk_vcpu *v, const struct tk_memory *mem,
    struct tk_error *err)
{
	struct kvm_xsave fpu;
	enum tk_exit x;
	unsigned vector;

	v->regs->rip = tk_probe_keys_address();
	x = tk_vcpu_run(v, &vector);
	if (x == TK_EXIT_EXCEPTION && vector == VECTOR_UD) {
		/* It is in ring 0 now. */
		v->regs->rflags = 2;
		v->sregs_dirty = true;
		return (0);
	}
	if (x != TK_EXIT_HOST_CALL || v->regs->rax != TK_HC_EMPTY)
		return (unexpected(v, x, "protection keys", err));
	h->has_keys = true;
	tk_kernel_stubs(mem, h);
	if (tk_vcpu_get_fpu(v, &fpu))
		return (tk_error(err, TK_HOST, 0, "KVM self-test: "
		    "KVM_GET_XSAVE failed"));
	fpu.region[512 / 4] |= (uint32_t)XSTATE_KEYS;
	if (tk_vcpu_set_fpu(v, &fpu) == 0)
		h->xsave_keys = XSTATE_KEYS;
	return (0);
}

static int
run_tests(struct tk_host *h, struct tk_vcpu *v, const struct tk_memory *mem,
    struct tk_error *err)
{
	uint64_t before, after, guest;
	enum tk_exit x;
	unsigned vector;

	v->regs->rip = tk_empty_address();
	x = tk_vcpu_run(v, &vector);
	if (x != TK_EXIT_HOST_CALL || v->regs->rax != TK_HC_EMPTY)
		return (unexpected(v, x, "first exit", err));
	h->facts.rip_after_out =
	    v->regs->rip != tk_empty_address() + MOV_IMM32_SIZE;

	if (probe_keys(h, v, mem, err))
		return (TK_HOST);

	v->regs->rip = tk_entry_address();
	v->regs->rax = tk_empty_address();
	v->regs->r12 = TK_KERNEL + TK_K_FPU;
	v->regs->r13 = v->regs->r14 = 0;
	x = tk_vcpu_run(v, &vector);
	if (x != TK_EXIT_HOST_CALL || v->regs->rax != TK_HC_EMPTY)
		return (unexpected(v, x, "entry of a call", err));

	if (tk_vcpu_set_lstar(v, tk_probe_landing(), err))
		return (TK_HOST);
	before = __rdtsc();
	v->regs->rip = tk_probe_address();
	x = tk_vcpu_run(v, &vector);
	after = __rdtsc();
	if (x != TK_EXIT_SYSCALL)
		return (unexpected(v, x, "syscall", err));
	h->facts.syscall_lands_in_ring3 = (v->regs->rax & 3) == 3;
	guest = (v->regs->rsi << 32) | (v->regs->rdi & 0xffffffff);
	h->facts.guest_tsc_is_host_tsc = guest >= before && guest <= after;
	return (0);
}

/* A counter that stops or differs between CPUs is none that Linux uses. */
static bool
host_trusts_tsc(void)
{
	char name[16] = "";
	FILE *f;

	f = fopen("/sys/devices/system/clocksource/clocksource0/"
	    "current_clocksource", "r");
	if (f == NULL)
		return (false);
	if (fgets(name, sizeof name, f) == NULL)
		name[0] = '\0';
	(void)fclose(f);
	return (strncmp(name, "tsc", 3) == 0);
}

int
tk_self_test(struct tk_host *h, struct tk_error *err)
{
	struct tk_memory mem;
	struct tk_space space;
	struct tk_vcpu *v;
	int e;

	e = tk_memory_new(&mem, 0, TK_HUGE);
	if (e != 0)
		return (tk_error(err, TK_HOST, 0,
		    "Memory for the KVM self-test: %s", strerror(e)));
	tk_space_init(&space, &mem);
	if (tk_kernel_install(&space, h))
		e = tk_error(err, TK_HOST, 0, "Out of memory");
	else
		e = tk_vcpu_get(&v, h, space.pt.root, err);
	if (e == 0) {
		e = tk_vcpu_set_memory(v, &mem, true, err);
		if (e == 0)
			e = run_tests(h, v, &mem, err);
		/* Its LSTAR is the probe's. */
		v->spoiled = true;
		tk_vcpu_put(&v);
	}
	tk_space_fini(&space);
	tk_memory_free(&mem);
	if (e != 0)
		return (e);
	h->self_tested = true;
	if (!host_trusts_tsc())
		h->facts.guest_tsc_is_host_tsc = false;
	tk_clock_page_usable(h->facts.guest_tsc_is_host_tsc);
	return (0);
}
