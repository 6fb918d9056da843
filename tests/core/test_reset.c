/*-
 * SPDX-License-Identifier: BSD-2-Clause
 *
 * Reset as a property: after any sequence of writes, system calls, crashes and
 * time-outs, the fork's memory, page tables, records and registers equal the
 * master's.
 */

#include <cpuid.h>
#include <dirent.h>
#include <sys/mman.h>

#include "guest_layout.h"
#include "vm.h"

static uint8_t pristine[DUMP_BYTES];

static void
dump(struct guest *g, struct tk_machine *m, uint8_t *to)
{
	struct tk_error err;
	struct tk_call call;

	memset(&call, 0, sizeof call);
	call.function = g->at[ADDRESS_DUMP_STATE];
	call.seconds = 5;
	CHECK_MSG(tk_call(m, &call, &err) == 0, "%s", err.text);
	CHECK(tk_read(m, to, g->at[ADDRESS_DUMP], DUMP_BYTES));
	(void)tk_reset(m);
	CHECK(!tk_broken(m));
}

static void
check_memory(const struct guest *g, const struct tk_machine *m)
{
	const struct tk_memory *a = &g->master->mem, *b = &m->mem;
	uint64_t is, was;
	tk_gpa p;

	for (p = a->rw_gpa; p < a->end; p += TK_PAGE)
		CHECK_MSG(memcmp(tk_memory_at(a, p), tk_memory_at(b, p),
		    TK_PAGE) == 0, "writable page 0x%llx differs",
		    (unsigned long long)p);
	/* Tables that requests made stay, but lead nowhere. */
	for (p = a->pt_gpa; p < m->space.pt.next; p += 8) {
		is = *(uint64_t *)tk_memory_at(b, p);
		if (is & TK_PTE_KEPT)
			is = 0;
		was = *(uint64_t *)tk_memory_at(a, p);
		CHECK_MSG(is == was, "page table entry 0x%llx is 0x%llx, was "
		    "0x%llx", (unsigned long long)p, (unsigned long long)is,
		    (unsigned long long)was);
	}
}

/* Field by field: what lies between them is nobody's. */
static void
check_ranges(const struct tk_vma_list *a, const struct tk_vma_list *b)
{
	unsigned i;

	CHECK(a->n == b->n);
	for (i = 0; i < a->n; i++)
		CHECK(a->vma[i].start == b->vma[i].start &&
		    a->vma[i].end == b->vma[i].end &&
		    a->vma[i].prot == b->vma[i].prot &&
		    a->vma[i].kind == b->vma[i].kind);
}

static void
check_records(const struct guest *g, const struct tk_machine *m)
{
	const struct tk_space *a = &g->master->space, *b = &m->space;

	check_ranges(&a->vmas, &b->vmas);
	CHECK(a->pages.n_unused == b->pages.n_unused);
	CHECK(a->pages.next == b->pages.next);
	CHECK(a->brk == b->brk);
	CHECK(b->pt.allowed == (a->pt.mem->rw_gpa - a->pt.next) / TK_PAGE / 2);
	CHECK(b->pt.journal->n == 0);
	CHECK(memcmp(&g->master->process, &m->process, sizeof m->process) == 0);
	CHECK(g->master->threads.n == m->threads.n);
	CHECK(g->master->threads.current == m->threads.current);
	CHECK(memcmp(g->master->threads.thread, m->threads.thread,
	    m->threads.n * sizeof *m->threads.thread) == 0);
	CHECK(m->threads.n < 2 || memcmp(g->master->threads.fpu,
	    m->threads.fpu, m->threads.n * sizeof *m->threads.fpu) == 0);
}

/* Everything that a request could see of an earlier one. */
static void
check_equal(struct guest *g, struct tk_machine *m)
{
	uint8_t now[DUMP_BYTES];
	size_t i;

	CHECK(!tk_broken(m));
	check_records(g, m);
	check_memory(g, m);
	dump(g, m, now);
	for (i = 0; i < DUMP_BYTES; i++)
		CHECK_MSG(now[i] == pristine[i], "register state differs at "
		    "byte %zu: %02x, not %02x", i, now[i], pristine[i]);
}

static void
replace_if_broken(struct guest *g, struct tk_machine **m)
{
	struct tk_error err;

	if (!tk_broken(*m))
		return;
	tk_fork_free(m);
	CHECK(tk_fork(g->master, m, g, &err) == 0);
}

/*
 * The guest maps what it wants, and looks at it itself: at memory that is new,
 * at its own and, when nothing was called in this request yet, at its program.
 */
static void
mappings_are_right(struct guest *g, struct tk_machine *m, uint64_t seed,
    bool first)
{
	struct tk_error err;
	int e;

	e = guest_op(g, m, &err, 5, OP_MAPPINGS, seed, first, 0);
	CHECK_MSG(e == 0 || !first, "%s", err.text);
	CHECK_MSG(e != 0 || g->result == 0, "mapping %ld of 0x%llx is wrong",
	    (long)g->result, (unsigned long long)seed);
}

/* first: of the request. */
static void
some_operation(struct guest *g, struct tk_machine *m, uint64_t *seed,
    bool first)
{
	/* Operations that may end the call in any way. */
	static const uint64_t ops[] = {
		OP_NOP, OP_WRITE, OP_WRITE, OP_WRITE, OP_INITIALISED, OP_TLS,
		OP_HEAP, OP_HEAP, OP_BRK, OP_MMAP, OP_MMAP, OP_PROTECT,
		OP_UNMAP, OP_REMAP_FIXED, OP_REGISTERS, OP_BASES, OP_FLAGS,
		OP_SIGNAL, OP_CATCH, OP_BLOCK, OP_STORE, OP_JUMP, OP_UD2,
		OP_DIVIDE, OP_SPIN, OP_RECURSE, OP_ABORT, OP_EXIT, OP_SYSCALL,
		OP_OUT, OP_IN, OP_THREADS, OP_PING, OP_TGKILL, OP_VECTORS,
		OP_MUTEXES, OP_LAZY, OP_MAPPINGS, OP_MAPPINGS, OP_MAPPINGS
	};
	uint64_t op = ops[test_random(seed) % (sizeof ops / sizeof ops[0])];
	uint64_t a = test_random(seed), b = test_random(seed);
	uint64_t c = test_random(seed);
	struct tk_error err;

	switch (op) {
	case OP_WRITE:
		b %= 100;
		break;
	case OP_STORE:
	case OP_JUMP:
	case OP_CATCH:
		if (c & 1)
			a &= 0xfffff;
		break;
	case OP_DIVIDE:
		c = 0;
		break;
	case OP_SYSCALL:
		a %= 460;
		/* Not the two that would only wait for the time limit. */
		if (a == 34 || a == 35 || a == 230 || a == 7)
			a = 39;
		break;
	case OP_OUT:
	case OP_IN:
		a &= 0xff;
		break;
	case OP_THREADS:
	case OP_MUTEXES:
		a %= 20;
		break;
	case OP_TGKILL:
		a &= 1;
		break;
	case OP_LAZY:
		a = a % 8 + 1;
		b = b % 100 + 1;
		break;
	case OP_MAPPINGS:
		mappings_are_right(g, m, a, first);
		return;
	default:
		break;
	}
	(void)guest_op(g, m, &err, op == OP_SPIN ? 0.01 : 5, op, a, b, c);
}

static void
sequences(unsigned rounds, unsigned check_every, uint64_t seed)
{
	struct boot b = { .threads = true };
	struct tk_machine *m;
	struct tk_error err;
	struct guest g;
	unsigned i, k, n;

	guest_boot(&g, &b);
	CHECK(tk_fork(g.master, &m, &g, &err) == 0);
	dump(&g, m, pristine);
	for (i = 0; i < rounds; i++) {
		/* Several operations on the same state, then the reset. */
		n = 1 + (unsigned)(test_random(&seed) % 4);
		for (k = 0; k < n && !tk_broken(m); k++)
			some_operation(&g, m, &seed, k == 0);
		(void)tk_reset(m);
		replace_if_broken(&g, &m);
		if (i % check_every == 0)
			check_equal(&g, m);
		else
			check_records(&g, m);
	}
	check_equal(&g, m);
	tk_fork_free(&m);
	guest_free(&g);
}

static void
random_sequences(void)
{

	sequences(400, 4, 0x9e3779b97f4a7c15ULL);
}

static void
random_sequences_long(void)
{
	const char *s = getenv("TK_TEST_SEED");

	sequences(20000, 16, s != NULL ? strtoull(s, NULL, 0) | 1 :
	    0xd1342543de82ef95ULL);
}

/* The steady state takes no page fault and reads no log: nothing is missed. */
static void
steady_state(void)
{
	struct boot b = { 0 };
	struct tk_machine *m;
	struct tk_error err;
	struct guest g;
	uint64_t seed = 42;
	unsigned i, n;

	guest_boot(&g, &b);
	CHECK(tk_fork(g.master, &m, &g, &err) == 0);
	dump(&g, m, pristine);
	for (i = 0; i < 3000; i++) {
		/* Mostly the same pages, now and then others. */
		n = i % 50 == 0 ? (unsigned)(test_random(&seed) % 300) : 8;
		CHECK(guest_op(&g, m, &err, 5, OP_WRITE, n, n, i) == 0);
		(void)tk_reset(m);
		if (i % 100 == 0)
			check_memory(&g, m);
	}
	check_equal(&g, m);
	tk_fork_free(&m);
	guest_free(&g);
}

/* A working set of which little is used is given up, and stays right. */
static void
working_set_shrinks(void)
{
	struct boot b = { 0 };
	struct tk_machine *m;
	struct tk_error err;
	struct guest g;
	unsigned i, most, pages;

	guest_boot(&g, &b);
	CHECK(tk_fork(g.master, &m, &g, &err) == 0);
	dump(&g, m, pristine);
	CHECK(guest_op(&g, m, &err, 5, OP_WRITE, 0, 500, 7) == 0);
	most = tk_reset(m);
	CHECK(most >= 500);
	for (i = 0; i < 4000; i++) {
		CHECK(guest_op(&g, m, &err, 5, OP_WRITE, 3, 1, 7) == 0);
		pages = tk_reset(m);
	}
	CHECK_MSG(pages < 20, "%u pages", pages);
	check_equal(&g, m);
	tk_fork_free(&m);
	guest_free(&g);
}

/* Descriptors of this process. */
static unsigned
open_files(void)
{
	struct dirent *e;
	unsigned n = 0;
	DIR *d;

	d = opendir("/proc/self/fd");
	CHECK(d != NULL);
	while ((e = readdir(d)) != NULL)
		n++;
	closedir(d);
	return (n);
}

/* System calls by the dozen, with arguments by chance. */
static void
storms(unsigned rounds, uint64_t seed)
{
	struct boot b = { .threads = true };
	struct tk_machine *m;
	struct tk_error err;
	struct guest g;
	unsigned i, files;

	guest_boot(&g, &b);
	CHECK(tk_fork(g.master, &m, &g, &err) == 0);
	dump(&g, m, pristine);
	files = open_files();
	for (i = 0; i < rounds; i++) {
		(void)guest_op(&g, m, &err, 0.3, OP_STORM,
		    test_random(&seed), 60, 0);
		(void)tk_reset(m);
		replace_if_broken(&g, &m);
		mappings_are_right(&g, m, test_random(&seed), true);
		(void)tk_reset(m);
		replace_if_broken(&g, &m);
		check_records(&g, m);
		CHECK_MSG(open_files() == files, "%u descriptors, not %u",
		    open_files(), files);
		if (i % 16 == 0)
			check_equal(&g, m);
	}
	check_equal(&g, m);
	tk_fork_free(&m);
	guest_free(&g);
}

static void
storms_of_system_calls(void)
{

	storms(150, 0x2545f4914f6cdd1dULL);
}

static void
storms_of_system_calls_long(void)
{
	const char *s = getenv("TK_TEST_SEED");

	storms(20000, s != NULL ? strtoull(s, NULL, 0) | 1 : 77);
}

/* A guest that changes permissions for ever costs the host no memory. */
static void
journal_is_bounded(void)
{
	struct boot b = { 0 };
	struct tk_machine *m;
	struct tk_error err;
	struct guest g;
	unsigned i;

	guest_boot(&g, &b);
	CHECK(tk_fork(g.master, &m, &g, &err) == 0);
	dump(&g, m, pristine);
	for (i = 0; i < 2000; i++)
		CHECK(guest_op(&g, m, &err, 5, OP_PROTECT, i % 8, 3, i) == 0);
	for (i = 0; i < 200; i++)
		CHECK(guest_op(&g, m, &err, 5, OP_REMAP_FIXED, i % 8, 3, i) == 0);
	CHECK_MSG(m->journal.n < 50, "%zu", m->journal.n);
	(void)tk_reset(m);
	check_equal(&g, m);
	tk_fork_free(&m);
	guest_free(&g);
}

/* Forks of one master see nothing of each other. */
static void
forks_are_apart(void)
{
	struct boot b = { 0 };
	struct tk_machine *m[8];
	struct tk_error err;
	struct guest g;
	unsigned i;

	guest_boot(&g, &b);
	for (i = 0; i < 8; i++)
		CHECK(tk_fork(g.master, &m[i], &g, &err) == 0);
	dump(&g, m[0], pristine);
	for (i = 0; i < 8; i++)
		CHECK(guest_op(&g, m[i], &err, 5, OP_TLS, 0, 0, i) == 0 &&
		    g.result == 0x1122334455667788);
	for (i = 0; i < 8; i++)
		CHECK(guest_op(&g, m[i], &err, 5, OP_TLS, 0, 0, 0) == 0 &&
		    g.result == i);
	for (i = 0; i < 8; i++) {
		(void)tk_reset(m[i]);
		check_equal(&g, m[i]);
		tk_fork_free(&m[i]);
	}
	guest_free(&g);
}

/* A machine that served one program serves another, of another layout. */
static void
machines_are_recycled(void)
{
	struct boot b[2] = { { 0 }, { .memory = 200 } };
	struct tk_machine *m;
	struct tk_error err;
	struct guest g[2];
	unsigned i;

	guest_boot(&g[0], &b[0]);
	guest_boot(&g[1], &b[1]);
	for (i = 0; i < 50; i++) {
		struct guest *it = &g[i & 1];

		CHECK(tk_fork(it->master, &m, it, &err) == 0);
		if (i < 2)
			dump(it, m, pristine);
		CHECK(guest_op(it, m, &err, 5, OP_WRITE, i, 50, i) == 0);
		CHECK(guest_op(it, m, &err, 5, OP_UD2, 0, 0, 0) == TK_FAULT);
		(void)tk_reset(m);
		check_memory(it, m);
		check_records(it, m);
		tk_fork_free(&m);
	}
	guest_free(&g[0]);
	guest_free(&g[1]);
}

/*
 * AMX where the CPU has it: XCR0 of guests is without, but where they run in
 * the host's ring 3 it is the host's that counts. They may get a fault then or
 * its use, but nothing of another request.
 */
static void
tiles_are_forgotten(void)
{
	struct boot b = { 0 };
	struct tk_machine *m;
	struct tk_error err;
	struct guest g;
	unsigned i;
	int e;

	guest_boot(&g, &b);
	for (i = 0; i < 10; i++) {
		CHECK(tk_fork(g.master, &m, &g, &err) == 0);
		e = guest_op(&g, m, &err, 5, OP_TILES, 1, 0, 0);
		CHECK_MSG(e == TK_FAULT || (e == 0 && g.result == 1040),
		    "%d, %ld: %s", e, (long)g.result, err.text);
		(void)tk_reset(m);
		if (!tk_broken(m)) {
			e = guest_op(&g, m, &err, 5, OP_TILES, 0, 0, 0);
			CHECK_MSG(e == TK_FAULT || (e == 0 && g.result == 0),
			    "%d, %ld: %s", e, (long)g.result, err.text);
			(void)tk_reset(m);
		}
		tk_fork_free(&m);
	}
	guest_free(&g);
}

/*
 * A CPU with more state than the image has room for would make every call a
 * fault: this one and, as far as CPUs say what is to come, the next ones.
 */
static void
state_of_the_cpu_has_room(void)
{
	unsigned a, of_xcr0, of_all, d;

	CHECK(__get_cpuid_count(0xd, 0, &a, &of_xcr0, &of_all, &d) == 1);
	CHECK_MSG(of_all >= of_xcr0 && of_all <= TK_FPU_PAGES * TK_PAGE,
	    "%u and %u bytes", of_xcr0, of_all);
}

TESTS(
	T(state_of_the_cpu_has_room),
	T_KVM(tiles_are_forgotten),
	T_KVM(random_sequences),
	T_LONG(random_sequences_long),
	T_KVM(storms_of_system_calls),
	T_LONG(storms_of_system_calls_long),
	T_KVM(steady_state),
	T_KVM(working_set_shrinks),
	T_KVM(journal_is_bounded),
	T_KVM(forks_are_apart),
	T_KVM(machines_are_recycled)
)
