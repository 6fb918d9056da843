/*-
 * SPDX-License-Identifier: BSD-2-Clause
 *
 * The guest's threads: they run, wait, are signalled and preempted as on Linux;
 * those of the frozen program are alive in every request, and back in their
 * frozen state after it.
 */

#include <pthread.h>
#include <time.h>

#include "exception.h"
#include "one_fork.h"

#define does(op, a, b)	succeeds(20, (op), (a), (b), 0)

static void
check_as_frozen(void)
{
	const struct tk_threads *a = &g.master->threads, *b = &m->threads;

	(void)tk_reset(m);
	CHECK(!tk_broken(m));
	CHECK(a->n == b->n && a->alive == b->alive);
	CHECK(a->current == b->current && a->next_tid == b->next_tid);
	CHECK(a->frozen_at == b->frozen_at);
	CHECK(memcmp(a->thread, b->thread, a->n * sizeof *a->thread) == 0);
	if (a->n > 1)
		CHECK(memcmp(a->fpu, b->fpu, a->n * sizeof *a->fpu) == 0);
}

static void
create_and_join(void)
{
	unsigned i;

	set_up(NULL);
	for (i = 0; i < 50; i++) {
		CHECK(does(OP_THREADS, 20, 0) == 2470);
		check_as_frozen();
	}
	/* Without a reset, too: places are used again. */
	for (i = 0; i < 20; i++) {
		CHECK(does(OP_THREADS, 20, 0) == 2470);
		CHECK(tk_keep(m));
	}
	check_as_frozen();
	tear_down();
}

static void
frozen_threads_live(void)
{
	unsigned i;

	set_up(&(struct boot){ .threads = true });
	CHECK(g.master->threads.alive == 3);
	for (i = 1; i < 100; i++) {
		/* Its own count is part of what is frozen. */
		CHECK(does(OP_PING, i, 0) == (int64_t)i * 1000 + 1);
		CHECK(does(OP_PING, i, 0) == (int64_t)i * 1000 + 2);
		check_as_frozen();
	}
	/* A call in which no thread changes takes one exit. */
	CHECK(does(OP_NOP, 0, 0) == 0);
	CHECK_MSG(tk_exits(m) == 1, "%u exits", tk_exits(m));
	tear_down();
}

static void
spinning_threads_take_turns(void)
{

	set_up(NULL);
	CHECK(does(OP_PREEMPT, 0, 0) == 1);
	check_as_frozen();
	CHECK(does(OP_PREEMPT, 0, 0) == 1);
	check_as_frozen();
	tear_down();
}

static void
signals_between_threads(void)
{
	unsigned i;

	set_up(&(struct boot){ .threads = true });
	for (i = 0; i < 10; i++) {
		CHECK(does(OP_TGKILL, i & 1, 0) == 1);
		check_as_frozen();
	}
	tear_down();
	/* Alone: others, not blocking it, would be the ones to get it. */
	set_up(NULL);
	CHECK(does(OP_SIGWAIT, 0, 0) == 1);
	tear_down();
}

static void
timed_waits(void)
{
	int64_t ms;

	set_up(NULL);
	ms = does(OP_TIMED_WAIT, 20, 0);
	CHECK_MSG(ms >= 19, "%ld ms", (long)ms);
	tear_down();
}

static void
vector_state_and_locks(void)
{

	set_up(&(struct boot){ .threads = true });
	CHECK(does(OP_VECTORS, 0, 0) == 0);
	check_as_frozen();
	CHECK(does(OP_MUTEXES, 200, 0) == 800);
	check_as_frozen();
	tear_down();
}

/* Time limits end a request whose other threads would go on for ever. */
static void
time_limit_with_threads(void)
{
	struct tk_error err;
	unsigned i;

	set_up(&(struct boot){ .threads = true });
	for (i = 0; i < 10; i++) {
		CHECK(guest_op(&g, m, &err, 0.05, OP_SPIN, 0, 0, 0) ==
		    TK_TIMEOUT);
		check_as_frozen();
		CHECK(does(OP_PING, 7, 0) == 7001);
		check_as_frozen();
	}
	tear_down();
}

/* Each that looks again wakes nobody else: it is seen that all wait. */
static void
many_wait_in_accept(void)
{
	struct tk_error err;
	unsigned n;
	int e;

	for (n = 1; n < 5; n++) {
		set_up(NULL);
		e = guest_op(&g, m, &err, 0.1, OP_ACCEPTS, n, 0, 0);
		CHECK_MSG(e != 0, "%u threads: %ld", n, (long)g.result);
		CHECK_STR(err.text, "waits for a descriptor that nothing can");
		check_as_frozen();
		tear_down();
	}
}

/* A call that makes no system call, while another thread has its turn. */
static void
turns_without_a_call(void)
{
	unsigned i;

	set_up(&(struct boot){ .spinner = true });
	CHECK(g.master->threads.alive == 2);
	for (i = 0; i < 10; i++) {
		CHECK(does(OP_TURN, 0, 0) == 1);
		check_as_frozen();
		CHECK(does(OP_NOP, 0, 0) == 0);
		check_as_frozen();
	}
	tear_down();
}

static _Atomic bool traps_are_over;
static pthread_t trapping;

static void *
kick(void *unused)
{
	struct timespec ts = { 0, 100000 };

	(void)unused;
	while (!traps_are_over) {
		(void)nanosleep(&ts, NULL);
		(void)pthread_kill(trapping, TK_KICK_SIGNAL);
	}
	return (NULL);
}

/*
 * A kick may come when an instruction that traps is over, and its exception not
 * yet delivered: nothing would bring that again.
 */
static void
no_trap_is_lost(void)
{
	pthread_t t;
	int spinner;

	for (spinner = 0; spinner < 2; spinner++) {
		set_up(&(struct boot){ .spinner = spinner });
		trapping = pthread_self();
		traps_are_over = false;
		CHECK(pthread_create(&t, NULL, kick, NULL) == 0);
		CHECK_MSG(does(OP_TRAPS, 2000, 0) == 2000, "int3: %ld",
		    (long)g.result);
		check_as_frozen();
		CHECK_MSG(does(OP_TRAPS, 2000, 1) == 2000, "TF: %ld",
		    (long)g.result);
		traps_are_over = true;
		CHECK(pthread_join(t, NULL) == 0);
		check_as_frozen();
		tear_down();
	}
}

/* Nor one that KVM has to deliver again, with RIP still at the instruction. */
static void
no_exchange_around_a_trap(void)
{
	tk_gva code, end;

	set_up(NULL);
	code = (tk_gva)does(OP_CODE, 0, 0);
	/* mov $42, %eax; ret; and then INT3 to the end of the page. */
	end = code + 6;
	m->vcpu->regs->rip = code + 1;
	CHECK(!tk_exception_waits(m));
	m->vcpu->regs->rip = end - 1;
	CHECK(!tk_exception_waits(m));
	m->vcpu->regs->rip = end;
	CHECK(tk_exception_waits(m));
	m->vcpu->regs->rip = end + 1;
	CHECK(tk_exception_waits(m));
	check_as_frozen();
	tear_down();
}

static void
lazy_memory(void)
{
	unsigned i;

	set_up(NULL);
	/* 4 TiB, of which little is touched. */
	for (i = 0; i < 10; i++) {
		CHECK(does(OP_LAZY, 4 << 20, 1UL << 38) == 16);
		check_as_frozen();
		/* Every page of 8 MiB. */
		CHECK(does(OP_LAZY, 8, 4096) == 2048);
		CHECK(does(OP_LAZY, 8, 4096) == 2048);
		check_as_frozen();
	}
	tear_down();
}

TESTS(
	T_KVM(create_and_join),
	T_KVM(frozen_threads_live),
	T_KVM(spinning_threads_take_turns),
	T_KVM(signals_between_threads),
	T_KVM(timed_waits),
	T_KVM(vector_state_and_locks),
	T_KVM(time_limit_with_threads),
	T_KVM(many_wait_in_accept),
	T_KVM(turns_without_a_call),
	T_KVM(no_trap_is_lost),
	T_KVM(no_exchange_around_a_trap),
	T_KVM(lazy_memory)
)
