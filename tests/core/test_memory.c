/*-
 * SPDX-License-Identifier: BSD-2-Clause
 *
 * Addresses that a guest names: used only where the guest itself may go.
 */

#include "guest_layout.h"
#include "one_fork.h"

static void
not_the_guests(tk_gva gva, size_t len)
{
	static uint8_t buf[4096];
	size_t n = len < sizeof buf ? len : sizeof buf;

	CHECK_MSG(!tk_readable(m, gva, len), "0x%lx+%zu", gva, len);
	CHECK(!tk_write(m, gva, buf, n) || n < len);
	CHECK(!tk_read(m, buf, gva, n) || n < len);
}

static void
wild_addresses(void)
{
	size_t have;

	set_up(NULL);
	not_the_guests(0, 1);
	not_the_guests(0xfff, 2);
	not_the_guests(TK_USER_END, 1);
	not_the_guests(TK_USER_END - 1, 2);
	not_the_guests(1ULL << 47, 1);
	not_the_guests(1ULL << 63, 1);
	not_the_guests(UINT64_MAX, 1);
	not_the_guests(UINT64_MAX - 7, 16);
	not_the_guests(TK_KERNEL, 8);
	not_the_guests(TK_KERNEL + TK_K_FPU, 8);
	not_the_guests(TK_EXC_STACK, 8);
	/* From the program's own memory to its end and further. */
	not_the_guests(g.at[ADDRESS_AREA], SIZE_MAX);
	not_the_guests(g.at[ADDRESS_AREA], SIZE_MAX - g.at[ADDRESS_AREA]);
	not_the_guests(g.at[ADDRESS_AREA], 1ULL << 46);
	CHECK(tk_view(m, TK_KERNEL, 8, &have) == NULL);
	CHECK(tk_view(m, UINT64_MAX, 1, &have) == NULL);
	tear_down();
}

static void
permissions(void)
{
	uint8_t b[8];

	set_up(NULL);
	CHECK(tk_executable(m, g.at[ADDRESS_OPERATE]));
	CHECK(!tk_executable(m, g.at[ADDRESS_AREA]));
	CHECK(!tk_executable(m, TK_KERNEL + TK_K_STUBS));
	CHECK(tk_read(m, b, g.at[ADDRESS_OPERATE], sizeof b));
	CHECK(!tk_write(m, g.at[ADDRESS_OPERATE], b, sizeof b));
	CHECK(tk_write(m, g.at[ADDRESS_AREA], b, sizeof b));
	tear_down();
}

static void
across_pages(void)
{
	uint8_t out[3 * TK_PAGE], in[3 * TK_PAGE];
	tk_gva at;
	size_t i;

	set_up(NULL);
	at = g.at[ADDRESS_AREA] + 100;
	for (i = 0; i < sizeof out; i++)
		out[i] = (uint8_t)(i * 7);
	CHECK(tk_write(m, at, out, sizeof out));
	CHECK(tk_read(m, in, at, sizeof in));
	CHECK(memcmp(in, out, sizeof in) == 0);
	/* What the host wrote is reset like what the guest wrote. */
	(void)tk_reset(m);
	CHECK(tk_read(m, in, at, sizeof in));
	for (i = 0; i < sizeof in; i++)
		CHECK(in[i] == 0x5a);
	tear_down();
}

/* Page by page, the views of a range are the range. */
static void
views(void)
{
	const uint8_t *p;
	size_t have, done;
	tk_gva at;

	set_up(NULL);
	at = g.at[ADDRESS_AREA] + 1;
	for (done = 0; done < 10 * TK_PAGE; done += have) {
		p = tk_view(m, at + done, 10 * TK_PAGE - done, &have);
		CHECK(p != NULL && have >= 1);
		CHECK(have <= 10 * TK_PAGE - done);
		CHECK(p[0] == 0x5a && p[have - 1] == 0x5a);
	}
	tear_down();
}

/* A request that gives up its own memory cannot make us use it. */
static void
unmapped_by_the_guest(void)
{
	struct tk_error err;
	uint8_t b[8];
	tk_gva page;

	set_up(NULL);
	page = g.at[ADDRESS_AREA] + 5 * TK_PAGE;
	CHECK(tk_readable(m, page, TK_PAGE));
	CHECK(guest_op(&g, m, &err, 5, OP_UNMAP, 5, 0, 0) == 0);
	not_the_guests(page, 8);
	(void)tk_reset(m);
	CHECK(tk_read(m, b, page, sizeof b) && b[0] == 0x5a);
	CHECK(guest_op(&g, m, &err, 5, OP_PROTECT, 5, 0, 1) == 0);
	not_the_guests(page, 8);
	(void)tk_reset(m);
	CHECK(guest_op(&g, m, &err, 5, OP_PROTECT, 5, 0, 0) == 0);
	CHECK(tk_read(m, b, page, sizeof b) && !tk_write(m, page, b, 8));
	tear_down();
}

/* Shared memory is one for all forks, and no reset touches it. */
static void
shared_memory(void)
{
	struct tk_machine *other;
	struct tk_error err;
	uint64_t size, x = 0x1122334455667788, y;
	tk_gva at;

	set_up(&(struct boot){ .shared = 3 });
	CHECK(tk_fork(g.master, &other, &g, &err) == 0);
	at = tk_shared_area(m, &size);
	CHECK(size >= 3 << 20);
	CHECK(guest_op(&g, m, &err, 5, OP_STORE, at + 5000, 0, 77) == 0);
	(void)tk_reset(m);
	CHECK(guest_op(&g, other, &err, 5, OP_LOAD, at + 5000, 0, 0) == 0);
	CHECK(g.result == 77);
	CHECK(tk_write(m, at + size - 8, &x, 8));
	CHECK(tk_read(other, &y, at + size - 8, 8) && x == y);
	CHECK(!tk_write(m, at + size - 4, &x, 8));
	CHECK(guest_op(&g, m, &err, 5, OP_LOAD, at + size, 0, 0) == TK_FAULT);
	/* It is not the guest's to unmap or protect. */
	(void)tk_reset(m);
	CHECK(guest_op(&g, m, &err, 5, OP_SYSCALL, 11, at, 4096) == 0);
	CHECK(g.result == -1);
	tk_fork_free(&other);
	tear_down();
}

/* Kept instead of reset, a fork goes on; a reset later undoes it all. */
static void
kept_instead_of_reset(void)
{
	struct tk_error err;
	uint64_t i;

	set_up(NULL);
	for (i = 1; i < 10; i++) {
		CHECK(guest_op(&g, m, &err, 5, OP_TLS, 0, 0, i) == 0);
		CHECK(g.result == (i == 1 ? 0x1122334455667788 :
		    (int64_t)i - 1));
		CHECK(tk_keep(m));
	}
	(void)tk_reset(m);
	CHECK(guest_op(&g, m, &err, 5, OP_TLS, 0, 0, 0) == 0);
	CHECK(g.result == 0x1122334455667788);
	tear_down();
}

/* What was never touched costs a program nothing: so it must not cost us. */
static void
untouched_memory(void)
{
	const uint64_t terabytes = 1ULL << 46;
	const tk_gva at = 1ULL << 40;
	uint64_t left;

	set_up(NULL);
	m->changed = true;
	CHECK(tk_space_map(&m->space, at, terabytes, TK_PROT_R, TK_VMA_MMAP,
	    true, false) == (int64_t)at);
	/* Looked through in few steps, to its end and no further. */
	CHECK(tk_space_readable(&m->space, at + 5, &left));
	CHECK_MSG(left >= TK_HUGE - 5 && left <= terabytes - 5, "%lu", left);
	CHECK(tk_space_readable(&m->space, at + terabytes - 1, &left));
	CHECK_MSG(left == 1, "%lu", left);
	CHECK(!tk_space_readable(&m->space, at + terabytes, &left));
	CHECK(tk_readable(m, at + terabytes - TK_HUGE, TK_HUGE));
	CHECK(!tk_readable(m, at + terabytes - TK_HUGE, TK_HUGE + 1));
	/* More than all the memory that it could have is nobody's data. */
	CHECK(tk_readable(m, at, 64 << 20));
	CHECK(!tk_readable(m, at, terabytes));
	CHECK(!tk_readable(m, at, 1ULL << 30));
	/* A touched page in the middle. */
	CHECK(tk_space_protect(&m->space, at + TK_HUGE, TK_PAGE,
	    TK_PROT_R | TK_PROT_W) == 0);
	CHECK(tk_write(m, at + TK_HUGE, "x", 1));
	CHECK(tk_readable(m, at + 5, 64 << 20));
	CHECK(tk_space_protect(&m->space, at + TK_HUGE, TK_PAGE, 0) == 0);
	CHECK(!tk_readable(m, at + 5, 64 << 20));
	CHECK(tk_readable(m, at + 5, TK_HUGE - 5));
	CHECK(!tk_readable(m, at + 5, TK_HUGE - 4));
	(void)tk_reset(m);
	CHECK(!tk_broken(m) && !tk_readable(m, at, 1));
	tear_down();
}

TESTS(
	T_KVM(untouched_memory),
	T_KVM(shared_memory),
	T_KVM(kept_instead_of_reset),
	T_KVM(wild_addresses),
	T_KVM(permissions),
	T_KVM(across_pages),
	T_KVM(views),
	T_KVM(unmapped_by_the_guest)
)
