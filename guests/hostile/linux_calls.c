/*-
 * SPDX-License-Identifier: BSD-2-Clause
 *
 * Linux calls with wrong pointers, sizes and wishes.
 */

#define _GNU_SOURCE
#include <sched.h>
#include <signal.h>
#include <stdlib.h>
#include <string.h>
#include <sys/epoll.h>
#include <sys/mman.h>
#include <sys/syscall.h>
#include <sys/uio.h>
#include <unistd.h>

#include "hostile.h"

#define WILD	0x123456789000L
#define KERNEL	(-0x80000000L)
#define UNTOUCHED	(1L << 46)

static void
do_abort(const char *arg)
{

	(void)arg;
	abort();
}

static void
do_exit(const char *arg)
{

	(void)arg;
	exit(3);
}

static void
kill_self(const char *arg)
{

	(void)arg;
	(void)kill(getpid(), SIGKILL);
}

static void
unknown_syscall(const char *arg)
{

	(void)arg;
	respondf(200, "%ld\n", linux_call(9999, 1, 2, 3, 4, 5, 6));
}

/* Every number with wild arguments, but those that end or wait. */
static void
every_syscall(const char *arg)
{
	static const long values[] = { 0, -1, WILD, KERNEL, 1, 4096 };
	long n, v;

	(void)arg;
	for (n = 0; n < 470; n++) {
		if (n == SYS_exit || n == SYS_exit_group || n == SYS_pause ||
		    n == SYS_rt_sigreturn || n == SYS_nanosleep ||
		    n == SYS_clock_nanosleep || n == SYS_poll ||
		    n == SYS_futex || n == SYS_kill || n == SYS_tkill ||
		    n == SYS_tgkill || n == SYS_arch_prctl ||
		    n == SYS_munmap || n == SYS_brk)
			continue;
		for (v = 0; v < 6; v++)
			(void)linux_call(n, values[v], values[(v + 1) % 6],
			    values[(v + 2) % 6], values[(v + 3) % 6],
			    values[(v + 4) % 6], values[(v + 5) % 6]);
	}
}

static void
thread_bomb(const char *arg)
{
	long i, made = 0;

	(void)arg;
	for (i = 0; i < 1000; i++) {
		made += linux_call(SYS_clone, CLONE_VM | CLONE_THREAD |
		    CLONE_SIGHAND, 0, 0, 0, 0, 0) > 0;
		made += linux_call(SYS_fork, 0, 0, 0, 0, 0, 0) > 0;
	}
	respondf(200, "%ld\n", made);
}

static void
sleep_long(const char *arg)
{

	(void)arg;
	(void)sleep(1000);
}

static void
deadlock(const char *arg)
{
	static int word;

	(void)arg;
	(void)linux_call(SYS_futex, (long)&word, 0, 0, 0, 0, 0);
}

static void
odd_mmaps(const char *arg)
{
	static const long at[] = { 0, 4096, KERNEL, 0x7ffffffff000,
	    0x800000000000, -4096, 0x80000000, 0x7fffff000000 - 4096,
	    0x7fffffffb000, 0x7fffffffc000 };
	static const long len[] = { 0, 1, 4096, 1L << 30, 1L << 47, -4096 };
	size_t i, j;
	int flags;

	(void)arg;
	for (i = 0; i < sizeof at / sizeof at[0]; i++)
		for (j = 0; j < sizeof len / sizeof len[0]; j++)
			for (flags = 0; flags < 2; flags++)
				(void)linux_call(SYS_mmap, at[i], len[j],
				    PROT_READ | PROT_WRITE | PROT_EXEC,
				    MAP_PRIVATE | MAP_ANONYMOUS |
				    (flags ? MAP_FIXED : 0), -1, 0);
}

static void
mprotect_text(const char *arg)
{
	long page = (long)odd_mmaps & -4096L;

	(void)arg;
	if (linux_call(SYS_mprotect, page, 4096, PROT_READ | PROT_WRITE |
	    PROT_EXEC, 0, 0, 0) == 0)
		respond_text(200, "writable text\n");
	*(volatile char *)odd_mmaps = 0;
}

static void
munmap_all(const char *arg)
{

	(void)arg;
	(void)linux_call(SYS_munmap, 0, 0x7ffffffff000, 0, 0, 0, 0);
	(void)linux_call(SYS_munmap, 0x10000, 0x7ff000000000, 0, 0, 0, 0);
	*(volatile char *)odd_mmaps;
}

static void
odd_brk(const char *arg)
{

	(void)arg;
	(void)linux_call(SYS_brk, -1, 0, 0, 0, 0, 0);
	(void)linux_call(SYS_brk, KERNEL, 0, 0, 0, 0, 0);
	(void)linux_call(SYS_brk, 1L << 46, 0, 0, 0, 0, 0);
}

/* Terabytes that may be read and were never touched. */
static void *
untouched(void)
{

	return (mmap(NULL, UNTOUCHED, PROT_READ, MAP_PRIVATE | MAP_ANONYMOUS |
	    MAP_NORESERVE, -1, 0));
}

static void
untouched_body(const char *arg)
{

	(void)arg;
	(void)kvm_call(KVM_BACKEND_RESPONSE, 200, (long)"a", 1,
	    (long)untouched(), UNTOUCHED, 0);
}

static void
untouched_log(const char *arg)
{

	(void)arg;
	(void)kvm_call(KVM_LOG, (long)untouched(), UNTOUCHED, 0, 0, 0, 0);
	respond_text(200, "logged\n");
}

static void
reserve_terabytes(const char *arg)
{
	char *p = mmap(NULL, 1UL << 44, PROT_NONE, MAP_PRIVATE |
	    MAP_ANONYMOUS | MAP_NORESERVE, -1, 0);
	long e;

	(void)arg;
	if (p == MAP_FAILED)
		respond_text(500, "no reservation\n");
	e = linux_call(SYS_mprotect, (long)p, 1L << 44, PROT_READ, 0, 0, 0);
	(void)munmap(p, 1UL << 44);
	respondf(200, "%ld\n", e);
}

/* The host changes its own mappings for that, under a lock of all its threads. */
static void
remap_storm(const char *arg)
{
	const size_t len = 8 * 1024 * 1024;
	char *p = mmap(NULL, len, PROT_READ | PROT_WRITE, MAP_PRIVATE |
	    MAP_ANONYMOUS, -1, 0);

	(void)arg;
	if (p == MAP_FAILED)
		respond_text(500, "no memory\n");
	for (;;) {
		memset(p, 1, len);
		(void)mprotect(p, len, PROT_READ);
		(void)mprotect(p, len, PROT_READ | PROT_WRITE);
	}
}

/*
 * An epoll keeps what it watches while the file is open under any number: the
 * same numbers again and again, for one file after another, and then all of
 * them are closed at once.
 */
static void
epoll_hoard(const char *arg)
{
	struct epoll_event e = { .events = EPOLLIN };
	long epoll, file, fd, i;

	(void)arg;
	for (;;) {
		epoll = linux_call(SYS_epoll_create1, 0, 0, 0, 0, 0, 0);
		for (i = 0; i < 16 && epoll >= 0; i++) {
			file = linux_call(SYS_eventfd2, 0, 0, 0, 0, 0, 0);
			for (fd = 200; fd < 1024; fd++) {
				(void)linux_call(SYS_dup2, file, fd, 0, 0, 0,
				    0);
				(void)linux_call(SYS_epoll_ctl, epoll,
				    EPOLL_CTL_ADD, fd, (long)&e, 0, 0);
			}
		}
		(void)linux_call(SYS_close_range, epoll < 0 ? 3 : 200, 1023,
		    0, 0, 0, 0);
	}
}

static void
wild_writes(const char *arg)
{
	static const struct iovec v[] = { { (void *)WILD, 10 },
	    { (void *)"x", 1UL << 62 }, { NULL, ~0UL } };

	(void)arg;
	(void)linux_call(SYS_write, 1, WILD, 100, 0, 0, 0);
	(void)linux_call(SYS_write, 1, (long)"x", 1L << 62, 0, 0, 0);
	(void)linux_call(SYS_writev, 1, (long)v, 3, 0, 0, 0);
	(void)linux_call(SYS_writev, 1, (long)v, 1L << 40, 0, 0, 0);
	(void)linux_call(SYS_writev, 1, WILD, 4, 0, 0, 0);
}

static void
bad_sigreturn(const char *arg)
{

	(void)arg;
	(void)linux_call(SYS_rt_sigreturn, 0, 0, 0, 0, 0, 0);
}

static void
on_fault(int sig)
{

	(void)sig;
}

/* A handler that mends nothing: the same fault for ever. */
static void
fault_loop(const char *arg)
{

	(void)arg;
	(void)signal(SIGSEGV, on_fault);
	*(volatile char *)16 = 1;
}

/* A handler on a stack that is not there. */
static void
bad_altstack(const char *arg)
{
	stack_t ss = { (void *)WILD, 0, 65536 };
	struct sigaction sa;

	(void)arg;
	memset(&sa, 0, sizeof sa);
	sa.sa_handler = on_fault;
	sa.sa_flags = SA_ONSTACK;
	(void)sigaltstack(&ss, NULL);
	(void)sigaction(SIGSEGV, &sa, NULL);
	*(volatile char *)16 = 1;
}

/* A handler in the kernel's half. */
static void
kernel_handler(const char *arg)
{

	(void)arg;
	(void)signal(SIGSEGV, (void (*)(int))KERNEL);
	*(volatile char *)16 = 1;
}

static void
open_files(const char *arg)
{
	static const char *const names[] = { "/etc/passwd", "/dev/kvm",
	    "/proc/self/mem", "../../etc/passwd", "" };
	/* sockaddr_in: 127.0.0.1, ports 22 and 80; 169.254.169.254, 80. */
	static const unsigned char to[][16] = { { 2, 0, 0, 22, 127, 0, 0, 1 },
	    { 2, 0, 0, 80, 127, 0, 0, 1 }, { 2, 0, 0, 80, 169, 254, 169, 254 } };
	size_t i;

	(void)arg;
	for (i = 0; i < sizeof names / sizeof names[0]; i++)
		if (linux_call(SYS_openat, -100, (long)names[i], 0, 0, 0, 0)
		    >= 0)
			respond_text(200, "opened\n");
	/* A socket of streams is to be had, but nobody to talk to. */
	for (i = 0; i < sizeof to / sizeof to[0]; i++) {
		long fd = linux_call(SYS_socket, 2, 1, 0, 0, 0, 0);

		if (linux_call(SYS_connect, fd, (long)to[i], sizeof to[i], 0,
		    0, 0) >= 0)
			respond_text(200, "a connection\n");
	}
	if (linux_call(SYS_socket, 2, 2, 0, 0, 0, 0) >= 0 ||
	    linux_call(SYS_socket, 16, 3, 0, 0, 0, 0) >= 0 ||
	    linux_call(SYS_socket, 1, 1, 0, 0, 0, 0) >= 0)
		respond_text(200, "another socket\n");
	respond_text(200, "nothing\n");
}

const struct misdeed linux_misdeeds[] = {
	{ "/abort", do_abort }, { "/exit", do_exit },
	{ "/kill-self", kill_self }, { "/unknown-syscall", unknown_syscall },
	{ "/every-syscall", every_syscall }, { "/thread-bomb", thread_bomb },
	{ "/sleep-long", sleep_long }, { "/deadlock", deadlock },
	{ "/odd-mmaps", odd_mmaps }, { "/mprotect-text", mprotect_text },
	{ "/munmap-all", munmap_all }, { "/odd-brk", odd_brk },
	{ "/reserve-terabytes", reserve_terabytes },
	{ "/remap-storm", remap_storm }, { "/epoll-hoard", epoll_hoard },
	{ "/untouched-body", untouched_body },
	{ "/untouched-log", untouched_log },
	{ "/wild-writes", wild_writes }, { "/bad-sigreturn", bad_sigreturn },
	{ "/fault-loop", fault_loop }, { "/bad-altstack", bad_altstack },
	{ "/kernel-handler", kernel_handler }, { "/open-files", open_files },
	{ NULL, NULL }
};
