/*-
 * SPDX-License-Identifier: BSD-2-Clause
 *
 * What programs find of Linux: memory, time, signals, output, identity.
 */

#include <errno.h>
#include <sys/syscall.h>
#include <time.h>

#include "one_fork.h"

#define does(op, a, b, c)	succeeds(5, (op), (a), (b), (c))

static void
arguments_and_environment(void)
{
	char word[8];

	set_up(NULL);
	CHECK(g.at[ADDRESS_ARGC] == 2);
	CHECK(tk_read(m, word, g.at[ADDRESS_ARGV1], 4));
	CHECK(strcmp(word, "one") == 0);
	CHECK(tk_read(m, word, g.at[ADDRESS_ENV], 4));
	CHECK(strcmp(word, "yes") == 0);
	tear_down();
}

static void
heap_and_mappings(void)
{
	unsigned i;

	set_up(NULL);
	for (i = 0; i < 32; i++) {
		/* Bits: written, unmapped in part, protected; then grown. */
		CHECK(does(OP_MMAP, i * 7, i % 16, 0) == 1);
		CHECK(does(OP_MMAP, i * 7, 17, 0) == 1);
		CHECK(does(OP_HEAP, i * 90001, i, 1) == 1);
		if (i % 4 == 0)
			(void)tk_reset(m);
	}
	/* All of them are gone after the reset. */
	(void)tk_reset(m);
	CHECK(m->space.vmas.n == g.master->space.vmas.n);
	CHECK(does(OP_REMAP_FIXED, 3, 0, 9) == 0);
	CHECK(does(OP_SYSCALL, SYS_munmap, 0x1001, 4096) == -1);
	CHECK(does(OP_SYSCALL, SYS_mmap, 0, (uint64_t)1 << 46) == -1);
	tear_down();
}

static void
signals(void)
{

	set_up(NULL);
	CHECK(does(OP_SIGNAL, 0, 0, 0) == 10);
	CHECK(does(OP_CATCH, 0x10, 0, 0) == 1);
	CHECK(does(OP_CATCH, 0x555500000000, 0, 0) == 1);
	/* Handlers are of the request, not of the fork. */
	(void)tk_reset(m);
	CHECK(m->process.action[10].handler ==
	    g.master->process.action[10].handler);
	tear_down();
}

static int64_t
host_clock(clockid_t id)
{
	struct timespec ts;

	CHECK(clock_gettime(id, &ts) == 0);
	return ((int64_t)ts.tv_sec * 1000000000 + ts.tv_nsec);
}

/* The guest reads the host's clocks, without leaving the machine. */
static void
clocks(void)
{
	static const clockid_t ids[] = { CLOCK_MONOTONIC, CLOCK_REALTIME };
	int64_t before, now, after, slack = 2000000;
	unsigned i;

	set_up(NULL);
	for (i = 0; i < 40; i++) {
		before = host_clock(ids[i & 1]);
		now = does(OP_CLOCK, i & 1, 0, 0);
		after = host_clock(ids[i & 1]);
		CHECK_MSG(now > before - slack && now < after + slack,
		    "clock %u: %ld, not in %ld to %ld", i & 1, now, before,
		    after);
		CHECK(tk_exits(m) == 1);
		(void)tk_reset(m);
	}
	tear_down();
}

static void
sleep_passes_time(void)
{
	int64_t before;

	set_up(NULL);
	before = host_clock(CLOCK_MONOTONIC);
	(void)does(OP_SLEEP, 30, 0, 0);
	CHECK(host_clock(CLOCK_MONOTONIC) - before >= 30000000);
	tear_down();
}

static void
output(void)
{

	set_up(NULL);
	CHECK(does(OP_PRINT, 0, 0, 0) == 21);
	CHECK(strcmp(g.output, "hello from the guest\n") == 0);
	tear_down();
}

static char unknown[64];

static void
on_unknown(const char *name, void *priv)
{

	(void)priv;
	snprintf(unknown, sizeof unknown, "%s", name);
}

static void
unknown_calls_are_named(void)
{
	struct tk_guest_ops ops = guest_ops;

	set_up(NULL);
	ops.unknown_call = on_unknown;
	m->ops = &ops;
	/* The libc turns -ENOSYS into -1. */
	CHECK(does(OP_SYSCALL, SYS_bpf, 0, 0) == -1);
	CHECK_MSG(strcmp(unknown, "bpf") == 0, "%s", unknown);
	CHECK(does(OP_SYSCALL, 451, 0, 0) == -1);
	CHECK_MSG(unknown[0] != '\0' && strcmp(unknown, "bpf") != 0, "%s",
	    unknown);
	m->ops = &guest_ops;
	tear_down();
}

/* Nothing of the host is to be had: each is refused or our own answer. */
static void
nothing_of_the_host(void)
{
	static const long calls[] = { SYS_socket, SYS_connect, SYS_fork,
	    SYS_vfork, SYS_clone3, SYS_execve, SYS_ptrace, SYS_mount,
	    SYS_unlink, SYS_mkdir, SYS_chroot, SYS_reboot, SYS_init_module,
	    SYS_process_vm_readv, SYS_io_uring_setup, SYS_userfaultfd };
	unsigned i;

	set_up(NULL);
	for (i = 0; i < sizeof calls / sizeof calls[0]; i++) {
		CHECK_MSG(does(OP_SYSCALL, (uint64_t)calls[i], 0, 0) == -1,
		    "call %ld", calls[i]);
		(void)tk_reset(m);
	}
	tear_down();
}

TESTS(
	T_KVM(arguments_and_environment),
	T_KVM(heap_and_mappings),
	T_KVM(signals),
	T_KVM(clocks),
	T_KVM(sleep_passes_time),
	T_KVM(output),
	T_KVM(unknown_calls_are_named),
	T_KVM(nothing_of_the_host)
)
