/*-
 * SPDX-License-Identifier: BSD-2-Clause
 */

#include <errno.h>
#include <pthread.h>
#include <stdio.h>
#include <sys/ioctl.h>
#include <sys/mman.h>
#include <unistd.h>

#include "error.h"
#include "guest_kernel.h"
#include "guest_layout.h"
#include "object.h"
#include "vcpu.h"
#include "watchdog.h"

/* Intel SDM vol. 3A, 2.5 "Control registers"; AMD APM vol. 2, 3.1. */
#define CR0		(0x80000000ULL | 1 | 2 | 0x10 | 0x20 | 0x10000)
			/* PG | PE | MP | ET | NE | WP */
#define CR4_BASE	(0x20ULL | 0x200 | 0x400 | 1 << 16 | 1 << 18)
			/* PAE | OSFXSR | OSXMMEXCPT | FSGSBASE | OSXSAVE */
#define CR4_UMIP	(1ULL << 11)
#define CR4_SMEP	(1ULL << 20)
#define EFER		(1ULL | 0x100 | 0x400 | 0x800)
			/* SCE | LME | LMA | NXE */
#define MSR_STAR	0xc0000081U
#define MSR_LSTAR	0xc0000082U
#define MSR_SFMASK	0xc0000084U
/* Cleared by `syscall`: TF, IF, DF, NT, AC. */
#define SFMASK		(0x100ULL | 0x200 | 0x400 | 0x4000 | 0x40000)
/* sysretq loads CS from this + 16 and SS from this + 8 (SDM vol. 2). */
#define STAR		((uint64_t)TK_SEL_KCODE << 32 | \
			    (uint64_t)(TK_SEL_UCODE - 16) << 48)

/* Of an XSAVE image, in words: Intel SDM vol. 1, 13.4.2. */
#define XSTATE_BV	(512 / 4)

/* Idle machines to keep. */
#define MAX_IDLE	64

static pthread_mutex_t idle_lock = PTHREAD_MUTEX_INITIALIZER;
static struct tk_vcpu *idle;
static unsigned n_idle;

static int
host_error(struct tk_error *err, const char *what)
{
	int e = errno;

	if (e == EMFILE || e == ENFILE)
		return (tk_error(err, TK_HOST, 0, "%s: out of file "
		    "descriptors: raise the limit (ulimit -n), or lower "
		    "concurrency", what));
	return (tk_error(err, TK_HOST, 0, "%s: %s", what, strerror(e)));
}

static void
special_registers(struct tk_vcpu *v, tk_gpa cr3)
{
	struct kvm_sregs *s = &v->sregs;
	struct kvm_segment code = {
		.limit = 0xffffffff, .selector = TK_SEL_UCODE, .type = 11,
		.present = 1, .dpl = 3, .s = 1, .l = 1, .g = 1
	};
	struct kvm_segment data = {
		.limit = 0xffffffff, .selector = TK_SEL_UDATA, .type = 3,
		.present = 1, .dpl = 3, .db = 1, .s = 1, .g = 1
	};

	s->cr3 = cr3;
	s->cr0 = CR0;
	s->cr4 = CR4_BASE;
	if (v->host->has_umip)
		s->cr4 |= CR4_UMIP;
	/*
	 * The self-test's probe may have to run in ring 0 on a user page; and
	 * where `syscall` lands in ring 3 no ring 0 code of a guest can run.
	 */
	if (v->host->has_smep && v->host->self_tested &&
	    !v->host->facts.syscall_lands_in_ring3)
		s->cr4 |= CR4_SMEP;
	s->efer = EFER;
	s->cs = code;
	s->ss = s->ds = s->es = s->fs = s->gs = data;
	s->gs.base = TK_KERNEL + TK_K_VCPU + v->number * TK_GS_STEP;
	s->gdt.base = TK_KERNEL + TK_K_GDT;
	s->gdt.limit = TK_GDT_LIMIT;
	s->idt.base = TK_KERNEL + TK_K_IDT;
	s->idt.limit = TK_IDT_LIMIT;
	memset(&s->tr, 0, sizeof s->tr);
	s->tr.base = TK_KERNEL + TK_K_TSS + v->number * TK_TSS_STEP;
	s->tr.limit = TK_TSS_LIMIT;
	s->tr.selector = TK_SEL_TSS;
	s->tr.type = 11;
	s->tr.present = 1;
	memset(&s->ldt, 0, sizeof s->ldt);
	s->ldt.unusable = 1;
}

static int
set_msr(struct tk_vcpu *v, uint32_t index, uint64_t value)
{
	struct {
		struct kvm_msrs		head;
		struct kvm_msr_entry	entry[1];
	} m;

	memset(&m, 0, sizeof m);
	m.head.nmsrs = 1;
	m.entry[0].index = index;
	m.entry[0].data = value;
	return (ioctl(v->fd, KVM_SET_MSRS, &m) == 1 ? 0 : -1);
}

int
tk_vcpu_set_lstar(struct tk_vcpu *v, tk_gva gva, struct tk_error *err)
{

	if (set_msr(v, MSR_LSTAR, gva) != 0)
		return (host_error(err, "KVM_SET_MSRS (LSTAR)"));
	return (0);
}

/* Guests read the host's counter, so that one clock page serves them all. */
static void
set_tsc_offset(struct tk_vcpu *v)
{
	uint64_t zero = 0;
	struct kvm_device_attr a;

	memset(&a, 0, sizeof a);
	a.group = KVM_VCPU_TSC_CTRL;
	a.attr = KVM_VCPU_TSC_OFFSET;
	a.addr = (uint64_t)&zero;
	/* Where this fails the self-test finds another counter. */
	(void)ioctl(v->fd, KVM_SET_DEVICE_ATTR, &a);
}

static int
vcpu_setup(struct tk_vcpu *v, struct tk_error *err)
{
	struct kvm_xcrs x;

	if (ioctl(v->fd, KVM_SET_CPUID2, &v->host->cpuid))
		return (host_error(err, "KVM_SET_CPUID2"));
	if (ioctl(v->fd, KVM_GET_SREGS, &v->sregs))
		return (host_error(err, "KVM_GET_SREGS"));
	memset(&x, 0, sizeof x);
	x.nr_xcrs = 1;
	x.xcrs[0].value = v->host->facts.xcr0;
	special_registers(v, 0);
	if (ioctl(v->fd, KVM_SET_SREGS, &v->sregs))
		return (host_error(err, "KVM_SET_SREGS"));
	if (ioctl(v->fd, KVM_SET_XCRS, &x))
		return (host_error(err, "KVM_SET_XCRS"));
	set_tsc_offset(v);
	if (set_msr(v, MSR_STAR, STAR) || set_msr(v, MSR_SFMASK, SFMASK))
		return (host_error(err, "KVM_SET_MSRS"));
	return (tk_vcpu_set_lstar(v, tk_syscall_target(v->host), err));
}

static void
vcpu_destroy(struct tk_vcpu *v)
{
	unsigned i;

	for (i = 0; i < TK_MAX_CPUS - 1; i++)
		if (v->extra[i] != NULL)
			vcpu_destroy(v->extra[i]);
	if (v->run != NULL)
		(void)munmap(v->run, v->host->run_size);
	if (v->fd >= 0)
		(void)close(v->fd);
	/* The machine is the first one's. */
	if (v->vm_fd >= 0 && v->number == 0)
		(void)close(v->vm_fd);
	TK_FREE_OBJ(v);
}

/* The vCPU of a machine that is there. */
static int
vcpu_add(struct tk_vcpu *v, struct tk_error *err)
{
	void *p;

	v->fd = ioctl(v->vm_fd, KVM_CREATE_VCPU, v->number);
	if (v->fd < 0)
		return (host_error(err, "KVM_CREATE_VCPU"));
	p = mmap(NULL, v->host->run_size, PROT_READ | PROT_WRITE, MAP_SHARED,
	    v->fd, 0);
	if (p == MAP_FAILED)
		return (host_error(err, "mmap of the vCPU"));
	v->run = p;
	v->regs = &v->run->s.regs.regs;
	return (vcpu_setup(v, err));
}

static struct tk_vcpu *
vcpu_create(const struct tk_host *h, struct tk_error *err)
{
	struct kvm_enable_cap cap;
	struct tk_vcpu *v;

	TK_ALLOC_OBJ(v, TK_VCPU_MAGIC);
	if (v == NULL) {
		(void)tk_error(err, TK_HOST, 0, "Out of memory");
		return (NULL);
	}
	v->host = h;
	v->fd = -1;
	v->vm_fd = ioctl(h->kvm_fd, KVM_CREATE_VM, 0);
	if (v->vm_fd < 0) {
		(void)host_error(err, "KVM_CREATE_VM");
		vcpu_destroy(v);
		return (NULL);
	}
	memset(&cap, 0, sizeof cap);
	cap.cap = KVM_CAP_MANUAL_DIRTY_LOG_PROTECT2;
	cap.args[0] = KVM_DIRTY_LOG_MANUAL_PROTECT_ENABLE;
	if (ioctl(v->vm_fd, KVM_ENABLE_CAP, &cap)) {
		(void)host_error(err, "KVM_CAP_MANUAL_DIRTY_LOG_PROTECT2");
		vcpu_destroy(v);
		return (NULL);
	}
	if (vcpu_add(v, err)) {
		vcpu_destroy(v);
		return (NULL);
	}
	return (v);
}

int
tk_vcpu_extra(struct tk_vcpu *v, unsigned number, tk_gpa cr3, tk_gva fs,
    tk_gva gs, struct tk_vcpu **pv, struct tk_error *err)
{
	struct tk_vcpu *x;

	tk_assert(number > 0 && number < TK_MAX_CPUS);
	x = v->extra[number - 1];
	if (x == NULL) {
		TK_ALLOC_OBJ(x, TK_VCPU_MAGIC);
		if (x == NULL)
			return (tk_error(err, TK_HOST, 0, "Out of memory"));
		x->host = v->host;
		x->vm_fd = v->vm_fd;
		x->fd = -1;
		x->number = number;
		if (vcpu_add(x, err)) {
			vcpu_destroy(x);
			return (TK_HOST);
		}
		v->extra[number - 1] = x;
	}
	special_registers(x, cr3);
	x->sregs.fs.base = fs;
	x->sregs.gs.base = gs;
	x->sregs_dirty = true;
	x->run->kvm_valid_regs = KVM_SYNC_X86_REGS;
	x->run->immediate_exit = 0;
	*pv = x;
	return (tk_vcpu_drop_events(x) ? TK_HOST : 0);
}

int
tk_vcpu_get(struct tk_vcpu **pv, const struct tk_host *h, tk_gpa cr3,
    struct tk_error *err)
{
	struct tk_vcpu *v;

	(void)pthread_mutex_lock(&idle_lock);
	v = idle;
	if (v != NULL) {
		idle = v->next_idle;
		n_idle--;
	}
	(void)pthread_mutex_unlock(&idle_lock);
	if (v != NULL) {
		TK_CHECK_OBJ(v, TK_VCPU_MAGIC);
		/* Nothing pending may survive from its last life. */
		if (tk_vcpu_drop_events(v)) {
			vcpu_destroy(v);
			v = NULL;
		}
	}
	if (v == NULL)
		v = vcpu_create(h, err);
	if (v == NULL)
		return (TK_HOST);
	special_registers(v, cr3);
	memset(v->regs, 0, sizeof *v->regs);
	v->regs->rflags = 2;
	v->sregs_dirty = true;
	v->run->kvm_valid_regs = KVM_SYNC_X86_REGS;
	v->run->immediate_exit = 0;
	*pv = v;
	return (0);
}

static int
set_slot(struct tk_vcpu *v, enum tk_slot slot, unsigned flags, tk_gpa gpa,
    const void *host, uint64_t size)
{
	struct kvm_userspace_memory_region r;

	memset(&r, 0, sizeof r);
	r.slot = slot;
	r.flags = flags;
	r.guest_phys_addr = gpa;
	r.userspace_addr = (uint64_t)host;
	r.memory_size = size;
	return (ioctl(v->vm_fd, KVM_SET_USER_MEMORY_REGION, &r));
}

int
tk_vcpu_take_memory(struct tk_vcpu *v)
{
	unsigned slot;

	for (slot = 0; slot < TK_SLOTS; slot++)
		if (set_slot(v, slot, 0, 0, NULL, 0) && errno != EINVAL)
			return (errno);
	return (0);
}

void
tk_vcpu_put(struct tk_vcpu **pv)
{
	struct tk_vcpu *v;
	bool keep;

	TK_TAKE_OBJ(v, pv, TK_VCPU_MAGIC);
	keep = tk_vcpu_take_memory(v) == 0;
	(void)pthread_mutex_lock(&idle_lock);
	/* Its next program could not undo what this one did to them. */
	if (v->host->has_keys && v->host->xsave_keys == 0)
		keep = false;
	if (keep && !v->spoiled && n_idle < MAX_IDLE) {
		v->next_idle = idle;
		idle = v;
		n_idle++;
		v = NULL;
	}
	(void)pthread_mutex_unlock(&idle_lock);
	if (v != NULL)
		vcpu_destroy(v);
}

int
tk_vcpu_set_memory(struct tk_vcpu *v, const struct tk_memory *mem,
    bool booting, struct tk_error *err)
{
	unsigned ro = KVM_MEM_READONLY;

	if (set_slot(v, TK_SLOT_KERNEL, ro, 0, mem->low, TK_KERNEL_SIZE) ||
	    set_slot(v, TK_SLOT_CLOCK, ro, TK_CLOCK_GPA, v->host->clock_page,
	    TK_PAGE) ||
	    (mem->pt_gpa > TK_RO_GPA && set_slot(v, TK_SLOT_READ_ONLY, ro,
	    TK_RO_GPA, tk_memory_at(mem, TK_RO_GPA),
	    mem->pt_gpa - TK_RO_GPA)) ||
	    set_slot(v, TK_SLOT_TABLES, 0, mem->pt_gpa,
	    tk_memory_at(mem, mem->pt_gpa), mem->rw_gpa - mem->pt_gpa) ||
	    set_slot(v, TK_SLOT_WRITABLE,
	    booting ? 0 : KVM_MEM_LOG_DIRTY_PAGES, mem->rw_gpa,
	    tk_memory_at(mem, mem->rw_gpa), mem->end - mem->rw_gpa) ||
	    (mem->shared_size > 0 && set_slot(v, TK_SLOT_SHARED, 0, mem->end,
	    mem->shared, mem->shared_size)))
		return (host_error(err, "KVM_SET_USER_MEMORY_REGION"));
	return (0);
}

/*--------------------------------------------------------------------*/

static enum tk_exit
classify_io(struct tk_vcpu *v, unsigned *vector)
{
	const struct kvm_run *run = v->run;

	if (run->io.direction != KVM_EXIT_IO_OUT || run->io.size != 4 ||
	    run->io.count != 1) {
		v->spoiled = true;
		return (TK_EXIT_PORT);
	}
	if (run->io.port == TK_PORT_HOST_CALL)
		return (TK_EXIT_HOST_CALL);
	if (run->io.port == TK_PORT_SYSCALL)
		return (TK_EXIT_SYSCALL);
	if (run->io.port >= TK_PORT_EXCEPTION &&
	    run->io.port < TK_PORT_EXCEPTION + 32) {
		*vector = run->io.port - TK_PORT_EXCEPTION;
		return (TK_EXIT_EXCEPTION);
	}
	v->spoiled = true;
	return (TK_EXIT_PORT);
}

static enum tk_exit
kicked(struct tk_vcpu *v)
{

	v->at_kick = *v->regs;
	v->kicked = true;
	return (TK_EXIT_KICK);
}

enum tk_exit
tk_vcpu_run(struct tk_vcpu *v, unsigned *vector)
{
	struct kvm_run *run = v->run;
	int r, e;

	run->kvm_dirty_regs = KVM_SYNC_X86_REGS;
	if (__builtin_expect(v->kicked, 0)) {
		v->kicked = false;
		if (memcmp(v->regs, &v->at_kick, sizeof v->at_kick) == 0)
			run->kvm_dirty_regs = 0;
	}
	if (__builtin_expect(v->sregs_dirty, 0)) {
		run->s.regs.sregs = v->sregs;
		run->kvm_dirty_regs |= KVM_SYNC_X86_SREGS;
		v->sregs_dirty = false;
	}
	tk_running = run;
	r = ioctl(v->fd, KVM_RUN, 0);
	e = errno;
	tk_running = NULL;
	if (r < 0) {
		/* Only now: a kick from here on is for the next entry. */
		run->immediate_exit = 0;
		if (e == EINTR || e == EAGAIN)
			return (kicked(v));
		run->exit_reason = KVM_EXIT_UNKNOWN;
		run->hw.hardware_exit_reason = (uint64_t)e;
		v->spoiled = true;
		return (TK_EXIT_ERROR);
	}
	switch (run->exit_reason) {
	case KVM_EXIT_IO:
		return (classify_io(v, vector));
	case KVM_EXIT_INTR:
		return (kicked(v));
	case KVM_EXIT_SHUTDOWN:
		v->spoiled = true;
		return (TK_EXIT_SHUTDOWN);
	case KVM_EXIT_HLT:
	case KVM_EXIT_MMIO:
		v->spoiled = true;
		return (TK_EXIT_PORT);
	default:
		v->spoiled = true;
		return (TK_EXIT_ERROR);
	}
}

int
tk_vcpu_settle(struct tk_vcpu *v)
{
	const struct kvm_regs regs = *v->regs;
	struct kvm_run *run = v->run;
	int e;

	/* Nothing is mapped at 0: no `out` was there. */
	memset(v->regs, 0, sizeof *v->regs);
	v->regs->rflags = 2;
	v->kicked = false;
	run->kvm_dirty_regs = KVM_SYNC_X86_REGS;
	run->immediate_exit = 1;
	e = ioctl(v->fd, KVM_RUN, 0) ? errno : 0;
	run->immediate_exit = 0;
	*v->regs = regs;
	if (e == EINTR)
		return (0);
	v->spoiled = true;
	return (e != 0 ? e : EIO);
}

void
tk_vcpu_describe(const struct tk_vcpu *v, enum tk_exit exit, char *buf,
    size_t size)
{
	const struct kvm_run *run = v->run;

	if (exit == TK_EXIT_SHUTDOWN)
		(void)snprintf(buf, size, "triple fault");
	else if (run->exit_reason == KVM_EXIT_IO)
		(void)snprintf(buf, size, "%s of %u bytes at I/O port 0x%x",
		    run->io.direction == KVM_EXIT_IO_OUT ? "write" : "read",
		    run->io.size * run->io.count, run->io.port);
	else if (run->exit_reason == KVM_EXIT_MMIO)
		(void)snprintf(buf, size, "access to physical address 0x%llx, "
		    "where there is no memory",
		    (unsigned long long)run->mmio.phys_addr);
	else if (run->exit_reason == KVM_EXIT_HLT)
		(void)snprintf(buf, size, "halt");
	else if (run->exit_reason == KVM_EXIT_INTERNAL_ERROR)
		(void)snprintf(buf, size, "KVM could not emulate an "
		    "instruction (internal error %u)",
		    run->internal.suberror);
	else if (run->exit_reason == KVM_EXIT_UNKNOWN)
		(void)snprintf(buf, size, "KVM_RUN: %s",
		    strerror((int)run->hw.hardware_exit_reason));
	else
		(void)snprintf(buf, size, "KVM exit reason %u",
		    run->exit_reason);
}

tk_gva
tk_vcpu_fault_address(struct tk_vcpu *v)
{
	struct kvm_sregs s;

	if (ioctl(v->fd, KVM_GET_SREGS, &s))
		return (0);
	return (s.cr2);
}

int
tk_vcpu_get_bases(struct tk_vcpu *v, tk_gva *fs, tk_gva *gs)
{
	struct kvm_sregs s;

	*fs = *gs = 0;
	if (ioctl(v->fd, KVM_GET_SREGS, &s))
		return (EPERM);
	*fs = s.fs.base;
	*gs = s.gs.base;
	return (0);
}

int
tk_vcpu_set_bases(struct tk_vcpu *v, tk_gva fs, tk_gva gs)
{
	struct kvm_sregs s = v->sregs;

	/* What would be written at the next entry is written now. */
	if (!v->sregs_dirty && ioctl(v->fd, KVM_GET_SREGS, &s))
		return (EPERM);
	s.fs.base = fs;
	s.gs.base = gs;
	if (ioctl(v->fd, KVM_SET_SREGS, &s))
		return (EPERM);
	v->sregs_dirty = false;
	return (0);
}

bool
tk_vcpu_is_quiet(const struct tk_vcpu *v)
{
	struct kvm_vcpu_events e;

	if (ioctl(v->fd, KVM_GET_VCPU_EVENTS, &e))
		return (false);
	return (!e.exception.injected && !e.exception.pending &&
	    !e.interrupt.injected && !e.nmi.injected);
}

int
tk_vcpu_drop_events(const struct tk_vcpu *v)
{
	struct kvm_vcpu_events none;

	memset(&none, 0, sizeof none);
	return (ioctl(v->fd, KVM_SET_VCPU_EVENTS, &none) ? errno : 0);
}

int
tk_vcpu_get_fpu(const struct tk_vcpu *v, struct kvm_xsave *x)
{

	if (ioctl(v->fd, KVM_GET_XSAVE, x))
		return (errno);
	/*
	 * What an image does not have becomes as it is at a CPU's reset when
	 * it is set again, but for protection keys, which stay: so all have
	 * them, the rights of their reset being 0.
	 */
	x->region[XSTATE_BV] |= (uint32_t)v->host->xsave_keys;
	return (0);
}

int
tk_vcpu_set_fpu(const struct tk_vcpu *v, const struct kvm_xsave *x)
{

	return (ioctl(v->fd, KVM_SET_XSAVE, x) ? errno : 0);
}

int
tk_vcpu_dirty_log(const struct tk_vcpu *v, uint64_t *bitmap)
{
	struct kvm_dirty_log l;

	memset(&l, 0, sizeof l);
	l.slot = TK_SLOT_WRITABLE;
	l.dirty_bitmap = bitmap;
	return (ioctl(v->vm_fd, KVM_GET_DIRTY_LOG, &l) ? errno : 0);
}

int
tk_vcpu_clear_log(const struct tk_vcpu *v, uint64_t *bitmap, unsigned pages)
{
	struct kvm_clear_dirty_log c;
	int e;

	e = tk_vcpu_dirty_log(v, bitmap);
	if (e != 0)
		return (e);
	memset(&c, 0, sizeof c);
	c.slot = TK_SLOT_WRITABLE;
	c.num_pages = pages;
	c.dirty_bitmap = bitmap;
	return (ioctl(v->vm_fd, KVM_CLEAR_DIRTY_LOG, &c) ? errno : 0);
}
