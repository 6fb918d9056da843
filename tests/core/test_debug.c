/*-
 * SPDX-License-Identifier: BSD-2-Clause
 *
 * What a debugger does to a fork: breakpoints, steps, registers, memory; and
 * that a reset leaves nothing of it, byte for byte.
 */

#include <errno.h>

#include "debug.h"
#include "guest_layout.h"
#include "one_fork.h"

static struct {
	unsigned		stops[8];	/* by reason */
	unsigned		steps;		/* to make at a breakpoint */
	unsigned		ended;
	enum tk_debug_end	how;
	bool			scribble;
	tk_gva			at;
} seen;

/* Writes to everything that can be written, and into all registers. */
static void
scribble(uint32_t thread)
{
	static const tk_gva places[] = { ADDRESS_OPERATE, ADDRESS_AREA };
	struct tk_debug_regs r, again;
	uint8_t page[TK_PAGE];
	unsigned i;
	tk_gva at;

	for (i = 0; i < 2; i++) {
		at = g.at[places[i]];
		CHECK(tk_debug_read(m, page, at, 64));
		CHECK(tk_debug_write(m, at - 8192, page, 64));
		CHECK(tk_debug_break(m, at + 1) == 0);
		CHECK(tk_debug_break(m, at + 1) == 0);
		/* It is not seen, and what is written there is kept. */
		CHECK(tk_debug_write(m, at, "\x11\x22\x33", 3));
		CHECK(tk_debug_read(m, page, at, 3));
		CHECK(memcmp(page, "\x11\x22\x33", 3) == 0);
		tk_debug_unbreak(m, at + 1);
		CHECK(tk_debug_read(m, page, at, 3));
		CHECK(memcmp(page, "\x11\x22\x33", 3) == 0);
	}
	CHECK(!tk_debug_read(m, page, TK_KERNEL + TK_K_STUBS, 1));
	CHECK(!tk_debug_write(m, TK_KERNEL + TK_K_STUBS, page, 1));
	CHECK(!tk_debug_write(m, TK_VDSO_ADDR + TK_PAGE, page, 1));
	CHECK(tk_debug_read(m, page, TK_VDSO_ADDR + TK_PAGE, 4));
	CHECK(memcmp(page, "\177ELF", 4) == 0);
	CHECK(!tk_debug_read(m, page, 0, 8));
	CHECK(!tk_debug_read(m, page, UINT64_MAX - 4, 8));
	CHECK(tk_debug_break(m, 8) == EFAULT);
	CHECK(tk_debug_break(m, TK_KERNEL + TK_K_STUBS) == EFAULT);

	CHECK(!tk_debug_read_regs(m, thread + 100, &r));
	CHECK(tk_debug_read_regs(m, thread, &r));
	for (i = 0; i < TK_GENERAL; i++)
		if (i != TK_RSP)
			r.general[i] = 0x1111111111111111ULL * i;
	memset(r.fxsave + 160, 0x5a, 256);
	r.rflags |= 0x100;
	r.fs_base = 0x123456;
	CHECK(tk_debug_write_regs(m, thread, &r));
	CHECK(tk_debug_read_regs(m, thread, &again));
	CHECK(memcmp(r.general, again.general, sizeof r.general) == 0);
	CHECK(memcmp(r.fxsave, again.fxsave, 416) == 0);
	CHECK(again.fs_base == 0x123456 && (again.rflags & 0x100) == 0);
	r.gs_base = 1ULL << 62;
	CHECK(!tk_debug_write_regs(m, thread, &r));
}

static enum tk_debug_go
on_stopped(struct tk_machine *vm, struct tk_debug_stop *s, void *priv)
{
	struct tk_debug_regs r;
	const char *what;

	(void)priv;
	CHECK(vm == m && tk_debug_thread(m, 0, &what) == s->thread);
	seen.stops[s->reason]++;
	CHECK(tk_debug_read_regs(m, s->thread, &r));
	switch (s->reason) {
	case TK_DEBUG_START:
		CHECK(r.rip < TK_USER_END);
		if (seen.at != 0)
			CHECK(tk_debug_break(m, seen.at) == 0);
		if (seen.scribble) {
			scribble(s->thread);
			return (TK_DEBUG_KILL);
		}
		return (TK_DEBUG_RUN);
	case TK_DEBUG_BREAKPOINT:
		CHECK(r.rip == seen.at);
		tk_debug_unbreak(m, seen.at);
		return (seen.steps > 0 ? TK_DEBUG_STEP : TK_DEBUG_RUN);
	case TK_DEBUG_STEPPED:
		return (--seen.steps > 0 ? TK_DEBUG_STEP : TK_DEBUG_RUN);
	case TK_DEBUG_SIGNAL:
		return (TK_DEBUG_PASS);
	default:
		return (TK_DEBUG_RUN);
	}
}

static enum tk_debug_poll
on_poll(struct tk_machine *vm, void *priv)
{

	CHECK(vm == m && priv == &seen);
	return (TK_DEBUG_NOTHING);
}

static void
on_ended(struct tk_machine *vm, enum tk_debug_end how, void *priv)
{

	CHECK(vm == m && priv == &seen);
	seen.ended++;
	seen.how = how;
}

static const struct boot own_text = { .private_text = true };

static const struct tk_debugger debugger = {
	.stopped = on_stopped,
	.poll = on_poll,
	.ended = on_ended,
};

static void
as_the_master(void)
{
	const struct tk_memory *a = &m->mem, *b = &g.master->mem;
	struct tk_error err;

	(void)tk_reset(m);
	CHECK(!tk_broken(m) && m->debug == NULL);
	CHECK(memcmp(a->high, b->high, a->end - a->pt_gpa) == 0);
	CHECK_MSG(guest_op(&g, m, &err, 5, OP_TLS, 0, 0, 5) == 0, "%s",
	    err.text);
	CHECK(g.result == 0x1122334455667788);
	(void)tk_reset(m);
}

static void
attach(void)
{

	CHECK(tk_debug_attach(m, &debugger, &seen) == 0);
	CHECK(tk_debug_attach(m, &debugger, &seen) == EBUSY);
}

static void
breakpoint_and_steps(void)
{
	struct tk_error err;

	set_up(&own_text);
	seen.at = g.at[ADDRESS_OPERATE];
	seen.steps = 300;
	attach();
	CHECK_MSG(guest_op(&g, m, &err, 5, OP_TLS, 0, 0, 5) == 0, "%s",
	    err.text);
	CHECK(g.result == 0x1122334455667788);
	CHECK(seen.stops[TK_DEBUG_START] == 1);
	CHECK(seen.stops[TK_DEBUG_STEPPED] > 5);
	CHECK(seen.ended == 1 && seen.how == TK_DEBUG_DONE);
	as_the_master();
	/* A breakpoint that stays to the end of the call. */
	seen.at = g.at[ADDRESS_AREA];
	attach();
	CHECK(guest_op(&g, m, &err, 5, OP_TLS, 0, 0, 5) == 0);
	CHECK(seen.ended == 2);
	as_the_master();
	tear_down();
}

static void
reset_undoes_a_debugger(void)
{
	struct tk_error err;
	unsigned i;

	set_up(&own_text);
	seen.scribble = true;
	for (i = 0; i < 3; i++) {
		attach();
		CHECK(guest_op(&g, m, &err, 5, OP_TLS, 0, 0, 5) == TK_EXITED);
		CHECK_STR(err.text, "ended by the debugger");
		CHECK(seen.how == TK_DEBUG_ENDED);
		as_the_master();
	}
	tear_down();
}

static void
faults_stop_once(void)
{
	struct tk_error err;

	set_up(&own_text);
	attach();
	CHECK(guest_op(&g, m, &err, 5, OP_STORE, 8, 0, 1) == TK_FAULT);
	CHECK_STR(err.text, "null pointer");
	CHECK(seen.stops[TK_DEBUG_SIGNAL] == 1);
	CHECK(seen.stops[TK_DEBUG_FAILED] == 0);
	as_the_master();
	/* What is no fault stops, too, but cannot go on. */
	attach();
	CHECK(guest_op(&g, m, &err, 5, OP_EXIT, 3, 0, 1) == TK_EXITED);
	CHECK(seen.stops[TK_DEBUG_FAILED] == 1);
	as_the_master();
	tear_down();
}

static void
detached_before_the_call(void)
{

	set_up(&own_text);
	attach();
	tk_debug_detach(m);
	CHECK(seen.ended == 1 && seen.how == TK_DEBUG_DETACHED);
	tk_debug_detach(m);
	CHECK(seen.ended == 1);
	as_the_master();
	tear_down();
}

static void
shared_text_takes_no_breakpoints(void)
{

	set_up(NULL);
	attach();
	m->debug->stopped = true;
	CHECK(tk_debug_break(m, g.at[ADDRESS_OPERATE]) == EFAULT);
	CHECK(!tk_debug_write(m, g.at[ADDRESS_OPERATE], "x", 1));
	tk_debug_detach(m);
	tear_down();
}

TESTS(
	T_KVM(breakpoint_and_steps),
	T_KVM(reset_undoes_a_debugger),
	T_KVM(faults_stop_once),
	T_KVM(detached_before_the_call),
	T_KVM(shared_text_takes_no_breakpoints)
)
