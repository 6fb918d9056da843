/*-
 * SPDX-License-Identifier: BSD-2-Clause
 *
 * What requests do to their mappings, as the CPU of this and the next ones sees
 * it: guest code reads and writes, the host's own view may be another.
 */

#include <errno.h>
#include <sys/mman.h>
#include <sys/syscall.h>
#include <unistd.h>

#include "guest_layout.h"
#include "one_fork.h"

#define RW		(PROT_READ | PROT_WRITE)
#define A		UINT64_C(0x200000000000)
#define B		UINT64_C(0x210000000000)
#define CONSTANT	0x43
#define ANSWER		42
#define N_CONSTANTS	(4 * TK_PAGE)

#define does(op, a, b, c)	succeeds(20, (op), (uint64_t)(a), (b), (c))

static tk_gva constants, code;

static void
up(const struct boot *b)
{

	set_up(b);
	constants = (tk_gva)does(OP_CONSTANTS, 0, 0, 0);
	code = (tk_gva)does(OP_CODE, 0, 0, 0);
	(void)tk_reset(m);
}

/* What makes the CPU forget mappings passes here: tk_memory_flush(). */
static unsigned flushes;

int
mprotect(void *at, size_t n, int prot)
{

	flushes += prot == PROT_NONE;
	return ((int)syscall(SYS_mprotect, at, n, prot));
}

int
madvise(void *at, size_t n, int advice)
{

	flushes += advice == MADV_DONTNEED;
	return ((int)syscall(SYS_madvise, at, n, advice));
}

/* The end of a request, whatever it did. */
static void
reset(void)
{

	(void)tk_reset(m);
	CHECK(!tk_broken(m));
}

static void
faults(uint64_t op, uint64_t a)
{
	struct tk_error err;

	CHECK(guest_op(&g, m, &err, 20, op, a, 1, 1) == TK_FAULT);
}

static void
map_fresh(tk_gva at, uint8_t fill)
{

	CHECK(does(OP_MAP_AT, at, 16 * TK_PAGE, RW) == (int64_t)at);
	CHECK_MSG(does(OP_LOAD, at, 0, 0) == 0, "0x%lx: 0x%lx",
	    (unsigned long)at, (unsigned long)g.result);
	(void)does(OP_STORE, at, 0, fill);
}

/* Text and constants are what they were in the executable. */
static void
program_is_whole(void)
{

	CHECK(does(OP_NOT_ZERO, constants, N_CONSTANTS, 0) == N_CONSTANTS);
	CHECK(does(OP_LOAD, constants, 0, 0) == CONSTANT);
	CHECK(does(OP_RUN_AT, code, 0, 0) == ANSWER);
}

/*--------------------------------------------------------------------
 * Tables
 */

static void
both_apart(tk_gva a, tk_gva b)
{

	map_fresh(a, 0x11);
	map_fresh(b, 0x22);
	CHECK(does(OP_LOAD, a, 0, 0) == 0x11);
	CHECK(does(OP_LOAD, b, 0, 0) == 0x22);
}

/* Whoever was where before: no two addresses have memory in common. */
static void
regions_are_apart(void)
{
	static const tk_gva order[][2] = { { A, B }, { B, A }, { A, B },
	    { B, A + (1ULL << 30) }, { A + (1ULL << 30), A },
	    { A + TK_HUGE, A }, { A, A + TK_HUGE } };
	unsigned i;

	up(NULL);
	map_fresh(A, 0x11);
	reset();
	for (i = 0; i < sizeof order / sizeof order[0]; i++) {
		both_apart(order[i][0], order[i][1]);
		reset();
		faults(OP_LOAD, order[i][0]);
		faults(OP_LOAD, order[i][1]);
		reset();
	}
	tear_down();
}

/*
 * However many tables a request used, and wherever, the next one finds as many
 * as the first.
 */
static void
tables_for_every_request(void)
{
	int64_t all;
	unsigned i;

	up(NULL);
	all = does(OP_SPREAD, A, 100000, 0);
	CHECK_MSG(all > 500 && all < 100000, "%ld", (long)all);
	for (i = 0; i < 4; i++) {
		reset();
		CHECK_MSG(does(OP_SPREAD, i & 1 ? A : B, 100000, 0) == all,
		    "%ld, not %ld", (long)g.result, (long)all);
	}
	for (i = 0; i < 30; i++) {
		reset();
		CHECK(does(OP_SPREAD, A + i % 3 * (B - A), 100 + i, 0) ==
		    100 + i);
	}
	reset();
	CHECK_MSG(does(OP_SPREAD, A, 100000, 0) == all, "%ld, not %ld",
	    (long)g.result, (long)all);
	tear_down();
}

/* Requests that use the same addresses make tables once. */
static void
tables_stay_with_their_region(void)
{
	unsigned i;
	tk_gpa next;

	up(NULL);
	CHECK(does(OP_SPREAD, A, 100, 0) == 100);
	reset();
	next = m->space.pt.next;
	for (i = 0; i < 50; i++) {
		CHECK(does(OP_SPREAD, A, 100, 0) == 100);
		reset();
		CHECK(m->space.pt.next == next);
	}
	tear_down();
}

/* Where all tables were used up nothing else is other than before. */
static void
memory_after_many_tables(void)
{
	struct tk_error err;
	unsigned i;

	/* So much that a software KVM keeps shadows of all the tables. */
	up(&(struct boot){ .memory = 1024 });
	for (i = 0; i < 6; i++) {
		(void)does(OP_SPREAD, i & 1 ? A : B, 100000, 0);
		(void)does(OP_WRITE, i * 50, 100, 0xabcdef);
		if (i % 3 == 2)
			CHECK(guest_op(&g, m, &err, 20, OP_UD2, 0, 0, 0) ==
			    TK_FAULT);
		reset();
		/* What is written is found and undone as ever. */
		(void)does(OP_WRITE, i * 40, 200, 0xabcdef);
		both_apart(A, B);
		both_apart(A + (i + 2) * (B - A), A + 30 * TK_PAGE);
		CHECK(does(OP_LOAD, B, 0, 0) == 0x22);
		reset();
		CHECK(does(OP_NOT_ZERO, g.at[ADDRESS_AREA], 2048 * TK_PAGE,
		    0) == 1024 * TK_PAGE);
		program_is_whole();
		CHECK(does(OP_SPOIL, OP_LOAD, constants, 0) == 0);
		reset();
	}
	tear_down();
}

/* Another program in the machine, with other tables at other places. */
static void
programs_are_apart(void)
{
	struct guest other;
	struct tk_machine *ours;
	struct tk_error err;
	unsigned i;

	guest_boot(&other, &(struct boot){ .memory = 200 });
	up(NULL);
	for (i = 0; i < 6; i++) {
		map_fresh(i & 1 ? A : B, 0x11);
		tk_fork_free(&m);
		CHECK(tk_fork(other.master, &ours, &other, &err) == 0);
		CHECK(guest_op(&other, ours, &err, 20, OP_MAP_AT, A, TK_PAGE,
		    RW) == 0);
		CHECK(guest_op(&other, ours, &err, 20, OP_NOT_ZERO, A, TK_PAGE,
		    0) == 0 && other.result == 0);
		CHECK(guest_op(&other, ours, &err, 20, OP_LOAD, B, 0, 0) ==
		    TK_FAULT);
		tk_fork_free(&ours);
		CHECK(tk_fork(g.master, &m, &g, &err) == 0);
		map_fresh(i & 1 ? B : A, 0x22);
		map_fresh(i & 1 ? A : B, 0x11);
		program_is_whole();
	}
	tear_down();
	guest_free(&other);
}

/* What one vCPU of a machine gave up no other one has. */
static void
vcpus_agree(void)
{
	unsigned i;

	up(NULL);
	for (i = 0; i < 4; i++) {
		map_fresh(A, 0x11);
		CHECK(does(OP_SPOIL, OP_LOAD, A, 0) == 0);
		CHECK(does(OP_UNMAP_AT, A, TK_PAGE, 0) == 0);
		CHECK(does(OP_SPOIL, OP_LOAD, A, 0) != 0);
		CHECK(does(OP_SPOIL, OP_LOAD, constants, 0) == 0);
		CHECK(does(OP_UNMAP_AT, constants, TK_PAGE, 0) == 0);
		CHECK(does(OP_SPOIL, OP_LOAD, constants, 0) != 0);
		reset();
		CHECK(does(OP_SPOIL, OP_LOAD, constants, 0) == 0);
		CHECK(does(OP_SPOIL, OP_LOAD, A, 0) != 0);
		reset();
	}
	tear_down();
}

/*--------------------------------------------------------------------
 * What all forks share
 */

static void
removed_is_there_again(void)
{
	static const uint64_t to[] = { PROT_NONE, PROT_READ };
	unsigned i;

	up(NULL);
	program_is_whole();
	for (i = 0; i < 2; i++) {
		CHECK(does(OP_PROTECT_AT, constants, TK_PAGE, PROT_NONE) == 0);
		CHECK(does(OP_PROTECT_AT, code, TK_PAGE, to[i]) == 0);
		faults(OP_LOAD, constants);
		faults(OP_RUN_AT, code);
		reset();
		program_is_whole();
		CHECK(does(OP_UNMAP_AT, constants, TK_PAGE, 0) == 0);
		CHECK(does(OP_UNMAP_AT, code, TK_PAGE, 0) == 0);
		faults(OP_LOAD, constants);
		faults(OP_RUN_AT, code);
		reset();
		program_is_whole();
	}
	tear_down();
}

/* Memory instead of it is empty; the next request sees nothing of that. */
static void
replaced_is_there_again(void)
{
	static const uint64_t prot[] = { PROT_READ, RW };
	unsigned i;

	up(NULL);
	for (i = 0; i < 4; i++) {
		program_is_whole();
		CHECK(does(OP_MAP_AT, constants, TK_PAGE, prot[i & 1]) ==
		    (int64_t)constants);
		CHECK(does(OP_MAP_AT, code, TK_PAGE, RW) == (int64_t)code);
		CHECK(does(OP_NOT_ZERO, constants, TK_PAGE, 0) == 0);
		CHECK(does(OP_NOT_ZERO, code, TK_PAGE, 0) == 0);
		(void)does(OP_STORE, code, 0, 0xc3);
		faults(OP_RUN_AT, code);
		reset();
		program_is_whole();
	}
	tear_down();
}

/* It cannot be moved: it stays, and nothing of it is anywhere else. */
static void
shared_pages_do_not_move(void)
{
	tk_gva at;

	up(NULL);
	program_is_whole();
	CHECK(does(OP_REMAP, constants, TK_PAGE, 2 * TK_PAGE) == -ENOMEM);
	CHECK(does(OP_REMAP, code, TK_PAGE, 2 * TK_PAGE) == -ENOMEM);
	program_is_whole();
	/* Where only addresses are left that are reserved for calls. */
	at = (tk_gva)does(OP_MAP_AT, 0, 16 * TK_PAGE, RW);
	CHECK(does(OP_FILL, 0, 0, 0) > 0);
	CHECK(does(OP_UNMAP_AT, at, 16 * TK_PAGE, 0) == 0);
	CHECK(does(OP_REMAP, constants, TK_PAGE, 16 * TK_PAGE) == -ENOMEM);
	CHECK(does(OP_MAP_AT, at, 16 * TK_PAGE, RW) == (int64_t)at);
	CHECK(does(OP_NOT_ZERO, at, 16 * TK_PAGE, 0) == 0);
	CHECK(does(OP_SYSCALL, SYS_getrandom, at, 16) == 16);
	program_is_whole();
	reset();
	program_is_whole();
	tear_down();
}

/*--------------------------------------------------------------------
 * Flushes
 */

#define MANY		2000
#define FEW		(TK_FLUSH_RUNS + 2)
#define LOW		UINT64_C(0x100000)	/* below the program */

/* Pages of which every other one may not be used: as many runs. */
static void
map_in_pieces(tk_gva at, unsigned pages)
{
	unsigned i;

	m->changed = true;
	for (i = 0; i < pages; i += 100)
		CHECK(tk_space_map(&m->space, at + i * TK_PAGE, 100 * TK_PAGE,
		    TK_PROT_R | TK_PROT_W, TK_VMA_MMAP, true, true) > 0);
	CHECK(does(OP_NOT_ZERO, at, pages * TK_PAGE, 0) == 0);
	for (i = 0; i < pages; i += 2)
		CHECK(tk_space_protect(&m->space, at + i * TK_PAGE, TK_PAGE,
		    0) == 0);
}

static void
few_flushes(const char *after)
{

	CHECK_MSG(flushes > 0 && flushes <= FEW, "%s: %u", after, flushes);
	flushes = 0;
}

/* However many pages lie apart: and none of them is seen any more. */
static void
flushes_are_bounded(void)
{
	unsigned i, k;

	up(NULL);
	for (k = 0; k < 4; k++) {
		map_in_pieces(A, MANY);
		flushes = 0;
		if (k == 0)
			CHECK(does(OP_UNMAP_AT, A, MANY * TK_PAGE, 0) == 0);
		else if (k == 1)
			CHECK(does(OP_PROTECT_AT, A, MANY * TK_PAGE,
			    PROT_NONE) == 0);
		else if (k == 2)
			CHECK(does(OP_MAP_AT, A, MANY * TK_PAGE, PROT_NONE) ==
			    (int64_t)A);
		if (k < 3)
			few_flushes("call");
		for (i = 1; k < 3 && i < MANY; i += 222)
			faults(OP_LOAD, A + i * TK_PAGE);
		flushes = 0;
		reset();
		CHECK_MSG(flushes <= FEW, "reset: %u", flushes);
		faults(OP_LOAD, A + (MANY - 1) * TK_PAGE);
		reset();
		program_is_whole();
	}
	tear_down();
}

/* In one call memory of the program's own and what all forks share. */
static void
flushes_of_both_kinds(void)
{
	unsigned i;

	up(NULL);
	for (i = 0; i < 3; i++) {
		program_is_whole();
		map_in_pieces(LOW, 400);
		flushes = 0;
		CHECK(tk_space_unmap(&m->space, LOW, A - LOW) == 0);
		few_flushes("unmap");
		reset();
		program_is_whole();
		CHECK(does(OP_NOT_ZERO, g.at[ADDRESS_AREA], 2048 * TK_PAGE,
		    0) == 1024 * TK_PAGE);
		reset();
	}
	tear_down();
}

/*--------------------------------------------------------------------
 * Moves
 */

/* Memory of this permission, with something behind it: it has to move. */
static tk_gva
move_from(uint64_t prot)
{

	map_fresh(A, 0x77);
	CHECK(does(OP_PROTECT_AT, A, TK_PAGE, prot) == 0);
	return (A);
}

/* To where tables have entries already: these count no more. */
static void
moved_to_reserved_addresses(void)
{
	tk_gva at;
	int64_t to;

	up(NULL);
	at = (tk_gva)does(OP_MAP_AT, 0, 16 * TK_PAGE, RW);
	(void)does(OP_STORE, at, 0, 0x55);
	(void)move_from(PROT_READ);
	CHECK(does(OP_FILL, 0, 0, 0) > 0);
	CHECK(does(OP_UNMAP_AT, at, 16 * TK_PAGE, 0) == 0);
	to = does(OP_REMAP, A, TK_PAGE, 16 * TK_PAGE);
	CHECK(to == (int64_t)at);
	CHECK(does(OP_LOAD, to, 0, 0) == 0x77);
	CHECK(does(OP_NOT_ZERO, to, 16 * TK_PAGE, 0) == 1);
	faults(OP_STORE, at);
	faults(OP_LOAD, A);
	reset();
	at = (tk_gva)does(OP_MAP_AT, 0, 16 * TK_PAGE, RW);
	CHECK(does(OP_NOT_ZERO, at, 16 * TK_PAGE, 0) == 0);
	tear_down();
}

/* What may not be used, or not be written, where entries are reserved. */
static void
denied_among_reserved_addresses(void)
{
	tk_gva at, page;
	unsigned i;

	up(NULL);
	for (i = 0; i < 3; i++) {
		at = (tk_gva)does(OP_MAP_AT, 0, 4 << 20, RW);
		CHECK(at >= m->space.arena && at < m->space.arena_end);
		CHECK(does(OP_NOT_ZERO, at, 4 << 20, 0) == 0);
		page = at + TK_PAGE;
		CHECK(does(OP_MAP_AT, page, TK_PAGE, PROT_NONE) ==
		    (int64_t)page);
		CHECK(does(OP_SYSCALL, SYS_getrandom, page, 16) == -1);
		faults(OP_STORE, page);
		faults(OP_LOAD, page);
		(void)does(OP_STORE, at, 0, 1);
		(void)does(OP_STORE, page + TK_PAGE, 0, 1);
		CHECK(does(OP_PROTECT_AT, page, TK_PAGE, RW) == 0);
		CHECK(does(OP_SYSCALL, SYS_getrandom, page, 16) == 16);
		/* As large as those that are backed late. */
		CHECK(does(OP_MAP_AT, at, 2 << 20, PROT_READ) == (int64_t)at);
		CHECK(does(OP_NOT_ZERO, at, 2 << 20, 0) == 0);
		faults(OP_STORE, page);
		CHECK(does(OP_SYSCALL, SYS_getrandom, page, 16) == -1);
		CHECK(does(OP_MAP_AT, at, 2 << 20, RW) == (int64_t)at);
		(void)does(OP_STORE, page, 0, 1);
		reset();
	}
	tear_down();
}

/* A program that may write its own text moves it, or keeps it. */
static void
code_is_not_lost(void)
{
	int64_t to;

	up(&(struct boot){ .private_text = true });
	program_is_whole();
	to = does(OP_REMAP, code, TK_PAGE, 2 * TK_PAGE);
	CHECK_MSG(to > 0 || to == -ENOMEM, "%ld", (long)to);
	CHECK(does(OP_RUN_AT, to > 0 ? (tk_gva)to : code, 0, 0) == ANSWER);
	if (to > 0)
		faults(OP_RUN_AT, code);
	reset();
	program_is_whole();
	if (to > 0)
		faults(OP_RUN_AT, (tk_gva)to);
	tear_down();
}

/* Nor is anything else, where there is no room for what it wants to be. */
static void
too_large_to_move(void)
{

	up(NULL);
	(void)move_from(PROT_READ);
	CHECK(does(OP_REMAP, A, TK_PAGE, 60 << 20) > 0 ||
	    g.result == -ENOMEM);
	CHECK(does(OP_LOAD, g.result > 0 ? g.result : (int64_t)A, 0, 0) ==
	    0x77);
	reset();
	/* One page, and then no more tables for where it would go. */
	(void)move_from(PROT_READ);
	CHECK(does(OP_SPREAD, B, 100000, 0) > 0);
	CHECK(does(OP_REMAP, A, TK_PAGE, 2 * TK_PAGE) > 0 ||
	    g.result == -ENOMEM);
	CHECK(does(OP_LOAD, g.result > 0 ? g.result : (int64_t)A, 0, 0) ==
	    0x77);
	reset();
	tear_down();
}

TESTS(
	T_KVM(regions_are_apart),
	T_KVM(tables_for_every_request),
	T_KVM(tables_stay_with_their_region),
	T_KVM(memory_after_many_tables),
	T_KVM(programs_are_apart),
	T_KVM(vcpus_agree),
	T_KVM(removed_is_there_again),
	T_KVM(replaced_is_there_again),
	T_KVM(shared_pages_do_not_move),
	T_KVM(flushes_are_bounded),
	T_KVM(flushes_of_both_kinds),
	T_KVM(moved_to_reserved_addresses),
	T_KVM(denied_among_reserved_addresses),
	T_KVM(code_is_not_lost),
	T_KVM(too_large_to_move)
)
