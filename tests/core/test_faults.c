/*-
 * SPDX-License-Identifier: BSD-2-Clause
 *
 * Whatever a guest does wrong is an error with its kind, its address and the
 * nearest symbol; the fork is as new after the reset.
 */

#include <errno.h>
#include <sys/syscall.h>

#include "guest_layout.h"
#include "list.h"
#include "one_fork.h"

/* The call fails so, and the next one is served as if nothing had been. */
static void
fails(enum tk_failure kind, const char *words, double seconds, uint64_t op,
    uint64_t a, uint64_t c)
{
	struct tk_error err;
	int e;

	memset(&err, 0, sizeof err);
	e = guest_op(&g, m, &err, seconds, op, a, 0, c);
	CHECK_MSG(e == (int)kind && (int)err.kind == e,
	    "operation %lu: %d, not %d: %s", (unsigned long)op, e, (int)kind,
	    err.text);
	CHECK_STR(err.text, words);
	(void)tk_reset(m);
	if (tk_broken(m)) {
		tk_fork_free(&m);
		CHECK(tk_fork(g.master, &m, &g, &err) == 0);
	}
	CHECK_MSG(guest_op(&g, m, &err, 5, OP_TLS, 0, 0, 5) == 0, "%s",
	    err.text);
	CHECK(g.result == 0x1122334455667788);
	(void)tk_reset(m);
}

static void
memory_faults(void)
{

	set_up(NULL);
	fails(TK_FAULT, "write to address 0x8 (a null pointer) in operate",
	    5, OP_STORE, 8, 1);
	fails(TK_FAULT, "read from address 0x0 (a null pointer)", 5, OP_LOAD,
	    0, 0);
	fails(TK_FAULT, "address 0x123456789000 (nothing is mapped there)", 5,
	    OP_STORE, 0x123456789000, 1);
	fails(TK_FAULT, "(read-only memory)", 5, OP_STORE,
	    g.at[ADDRESS_OPERATE], 1);
	fails(TK_FAULT, "(memory that is not executable)", 5, OP_JUMP,
	    g.at[ADDRESS_AREA], 0);
	fails(TK_FAULT, "(not the program's memory)", 5, OP_LOAD, TK_KERNEL,
	    0);
	fails(TK_FAULT, "(not the program's memory)", 5, OP_STORE,
	    TK_KERNEL + TK_K_STUBS, 0);
	fails(TK_FAULT, "general protection", 5, OP_LOAD, 1ULL << 63, 0);
	fails(TK_FAULT, "stack overflow", 5, OP_RECURSE, 0, 0);
	tear_down();
}

static void
cpu_faults(void)
{

	set_up(NULL);
	fails(TK_FAULT, "invalid instruction in operate", 5, OP_UD2, 0, 0);
	fails(TK_FAULT, "division error in operate", 5, OP_DIVIDE, 1, 0);
	fails(TK_FAULT, "general protection fault in operate", 5, OP_OUT,
	    0x60, 0);
	fails(TK_FAULT, "general protection fault in operate", 5, OP_IN, 0x64,
	    0);
	tear_down();
}

static void
the_address_is_told(void)
{
	struct tk_error err;

	set_up(NULL);
	CHECK(guest_op(&g, m, &err, 5, OP_STORE, 0x123456, 0, 1) == TK_FAULT);
	CHECK(err.address == 0x123456);
	tear_down();
}

static void
ends_of_the_process(void)
{

	set_up(NULL);
	fails(TK_EXITED, "abort", 5, OP_ABORT, 0, 0);
	fails(TK_EXITED, "3", 5, OP_EXIT, 3, 0);
	tear_down();
}

static void
time_limit(void)
{

	set_up(NULL);
	fails(TK_TIMEOUT, "ran longer than 0.05 s", 0.05, OP_SPIN, 0, 0);
	fails(TK_TIMEOUT, "slept longer", 0.05, OP_SLEEP, 60000, 0);
	tear_down();
}

/* What the host writes for a program counts like what it writes itself. */
static void
memory_limit_of_the_hosts_writes(void)
{
	static const struct boot b = { .memory = 256, .request_memory = 16 };
	const unsigned most = (16 << 20) / TK_PAGE;
	struct tk_error err;
	uint64_t i;
	int64_t at;
	int e;

	set_up(&b);
	for (i = 0; i < 2; i++) {
		m->changed = true;
		at = tk_space_map(&m->space, 0, 100 << 20, TK_PROT_R |
		    TK_PROT_W, TK_VMA_MMAP, false, false);
		CHECK(at > 0);
		/* More than all, or less than all again and again. */
		e = guest_op(&g, m, &err, 20, OP_DEVICE, (uint64_t)at,
		    i == 0 ? 100 << 20 : 10 << 20, 0);
		CHECK_MSG(e == TK_OUT_OF_MEMORY, "%d: %s", e, err.text);
		CHECK_STR(err.text, "max_request_memory");
		/* No further than to the limit, and what the call wrote. */
		CHECK_MSG(m->ws.n <= most + 64, "%u pages", m->ws.n);
		(void)tk_reset(m);
		CHECK(!tk_broken(m));
		CHECK(succeeds(5, OP_NOP, 0, 0, 0) == 0);
	}
	tear_down();
}

/* The limit is for all calls until the reset, and not for what we bring. */
static void
memory_limit_of_many_calls(void)
{
	static const struct boot b = { .memory = 256, .request_memory = 16 };
	const unsigned most = (16 << 20) / TK_PAGE, piece = 65536, n = 400;
	static const uint8_t ours[65536];
	struct tk_error err;
	uint64_t at;
	unsigned i, k;
	int e = 0;

	set_up(&b);
	for (i = 0; i < 2; i++) {
		m->changed = true;
		at = (uint64_t)tk_space_map(&m->space, 0, 2 * n * piece,
		    TK_PROT_R | TK_PROT_W, TK_VMA_MMAP, false, false);
		for (k = 0; k < n; k++) {
			CHECK(tk_write(m, at + 2 * k * piece, ours, piece));
			e = guest_op(&g, m, &err, 20, OP_SYSCALL,
			    SYS_getrandom, at + (2 * k + 1) * piece, piece);
			if (e != 0 || g.result < 0)
				break;
		}
		CHECK_MSG(k > 200 && k <= 256, "%u calls: %d", k, e);
		CHECK_MSG(m->ws.n <= 2 * most + 64, "%u pages", m->ws.n);
		(void)tk_reset(m);
		CHECK(!tk_broken(m));
		CHECK(succeeds(5, OP_NOP, 0, 0, 0) == 0);
	}
	tear_down();
}

/* Pages that had other contents before are zeroed by the host, too. */
static void
memory_limit_of_zeroed_pages(void)
{
	static const struct boot b = { .memory = 256, .request_memory = 16 };
	struct tk_working_set *ws;
	struct tk_page_pool *pool;
	tk_gva old;

	set_up(&b);
	m->changed = true;
	pool = &m->space.pages;
	ws = &m->ws;
	/* As if all but what is in use had been used and freed. */
	CHECK(tk_reserve((void **)&pool->unused, pool->n_unused + 1,
	    &pool->room_unused, sizeof *pool->unused));
	pool->unused[pool->n_unused].start = pool->next;
	pool->unused[pool->n_unused++].end = pool->mem->end;
	pool->next = pool->mem->end;
	old = m->space.brk;
	ws->limit = ws->n + 100;
	CHECK(tk_space_brk(&m->space, old + (200 << 20)) == old);
	CHECK_MSG(ws->n <= ws->limit + 1, "%u pages", ws->n);
	ws->limit = UINT64_MAX;
	CHECK(tk_space_brk(&m->space, old + (100 << 20)) ==
	    old + (100 << 20));
	(void)tk_reset(m);
	CHECK(!tk_broken(m));
	tear_down();
}

/* So are those of the master's that a call gives up. */
static void
memory_limit_of_pages_given_up(void)
{
	static const struct boot mapped = { .memory = 256,
	    .request_memory = 16, .in_use = "100" };
	static const struct boot heap = { .memory = 256,
	    .request_memory = 16, .in_use = "h100" };
	const unsigned most = (16 << 20) / TK_PAGE;
	const struct tk_vma *v;
	struct tk_error err;
	unsigned i, n;

	set_up(&mapped);
	v = NULL;
	for (i = 0; i < m->space.vmas.n; i++)
		if (m->space.vmas.vma[i].kind == TK_VMA_LAZY)
			v = &m->space.vmas.vma[i];
	CHECK(v != NULL && v->end - v->start == 100 << 20);
	m->changed = true;
	m->ws.limit = m->ws.n + 100;
	CHECK(tk_space_zero(&m->space, v->start, 100 << 20) == ENOMEM);
	CHECK_MSG(m->ws.n <= m->ws.limit + 1, "%u pages", m->ws.n);
	m->ws.limit = UINT64_MAX;
	(void)tk_reset(m);
	CHECK(tk_space_zero(&m->space, v->start, 100 << 20) == 0);
	tear_down();

	set_up(&heap);
	for (i = 0; i < 2; i++) {
		/* Whether it ends for it depends on what it does then. */
		(void)guest_op(&g, m, &err, 20, OP_SYSCALL, SYS_brk,
		    m->space.brk_start, 0);
		n = m->ws.n;
		CHECK_MSG(n <= most + 64, "%u pages", n);
		(void)tk_reset(m);
		CHECK(!tk_broken(m));
		CHECK(succeeds(5, OP_NOP, 0, 0, 0) == 0);
	}
	tear_down();
}

/* And those that another vCPU writes, while the first waits for it. */
static void
memory_limit_of_other_cpus(void)
{
	static const struct boot b = { .memory = 512, .request_memory = 16 };
	struct tk_error err;
	unsigned n;
	int64_t at;
	int e;

	set_up(&b);
	m->changed = true;
	at = tk_space_map(&m->space, 0, 400 << 20, TK_PROT_R | TK_PROT_W,
	    TK_VMA_MMAP, false, false);
	CHECK(at > 0);
	e = guest_op(&g, m, &err, 20, OP_SPOIL, OP_FLOOD, (uint64_t)at, 0);
	/* It may be done before it is ended for what the other wrote. */
	CHECK_MSG(e == TK_OUT_OF_MEMORY || (e == 0 && g.result == -1),
	    "%d: %s", e, err.text);
	CHECK_STR(g.refused, "vCPU 1: the request wrote more memory");
	n = tk_reset(m);
	CHECK_MSG(n <= (200 << 20) / TK_PAGE, "%u pages", n);
	CHECK(!tk_broken(m));
	CHECK(succeeds(5, OP_NOP, 0, 0, 0) == 0);
	tear_down();
}

static void
memory_limit(void)
{

	set_up(&(struct boot){ .request_memory = 4 });
	fails(TK_OUT_OF_MEMORY, "memory", 20, OP_HOG, 0, 0);
	tear_down();
}

/* What earlier calls wrote, and was kept, is not the next one's. */
static void
memory_limit_of_what_is_kept(void)
{
	unsigned i;

	set_up(&(struct boot){ .request_memory = 4 });
	for (i = 0; i < 4; i++) {
		/* Two MiB, of eight. */
		CHECK(succeeds(5, OP_WRITE, i * 512, 512, 1) == 512);
		CHECK(tk_keep(m));
		/* Long enough to be looked at. */
		CHECK(succeeds(5, OP_SLEEP, 50, 0, 0) == 0);
		CHECK(tk_keep(m));
	}
	fails(TK_OUT_OF_MEMORY, "memory", 20, OP_HOG, 0, 0);
	tear_down();
}

static void
misuse_of_host_calls(void)
{

	set_up(NULL);
	/* What the embedder refuses ends the call in its words. */
	fails(TK_MISUSE, "host call 1", 5, OP_OUT, 0, 0);
	tear_down();
}

/* A master that cannot become one says why. */
static int
boot(double seconds, const char *in_use, struct tk_error *err)
{
	const char *argv[] = { "guest", "one", in_use, NULL };
	static const char *const none[] = { NULL };
	struct tk_boot_options o;
	struct tk_master *ma = NULL;
	struct guest unused;
	void *elf;
	int e;

	memset(&o, 0, sizeof o);
	memset(&unused, 0, sizeof unused);
	elf = read_file(getenv("TK_TEST_GUEST"), &o.elf_len);
	o.elf = elf;
	o.argv = argv;
	o.envp = none;
	o.memory = 32 << 20;
	o.request_memory = 1 << 20;
	o.input_size = 4096;
	o.seconds = seconds;
	o.ops = &guest_ops;
	o.priv = &unused;
	e = tk_boot(&ma, &o, err);
	free(elf);
	if (e == 0)
		tk_master_free(&ma);
	return (e);
}

static void
boots_that_fail(void)
{
	struct tk_error err;

	CHECK(boot(5, "1", &err) == 0);
	/* 98: its mmap of 100 MiB was refused. */
	CHECK(boot(5, "100", &err) == TK_EXITED);
	CHECK_STR(err.text, "98");
	CHECK(boot(0.000001, "1", &err) == TK_TIMEOUT);
}

TESTS(
	T_KVM(memory_faults),
	T_KVM(cpu_faults),
	T_KVM(the_address_is_told),
	T_KVM(ends_of_the_process),
	T_KVM(time_limit),
	T_KVM(memory_limit),
	T_KVM(memory_limit_of_what_is_kept),
	T_KVM(memory_limit_of_the_hosts_writes),
	T_KVM(memory_limit_of_many_calls),
	T_KVM(memory_limit_of_zeroed_pages),
	T_KVM(memory_limit_of_pages_given_up),
	T_KVM(memory_limit_of_other_cpus),
	T_KVM(misuse_of_host_calls),
	T_KVM(boots_that_fail)
)
