/*-
 * SPDX-License-Identifier: BSD-2-Clause
 *
 * What programs do with descriptors, each step's result noted with its line.
 * The same source runs in a machine and, built with NATIVE, on the host's own
 * Linux: the notes must be the same.
 *
 * In the machine two functions are told: one runs a scenario, one makes any
 * system call. Before the freeze some descriptors of every kind are opened.
 */

#define _GNU_SOURCE
#include <arpa/inet.h>
#include <errno.h>
#include <fcntl.h>
#include <netinet/in.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/epoll.h>
#include <sys/eventfd.h>
#include <sys/mman.h>
#include <sys/socket.h>
#include <sys/stat.h>
#include <sys/timerfd.h>
#include <unistd.h>

#include "file_notes.h"
#include "file_ops.h"

static struct file_notes notes;

long
note(int line, long value)
{

	if (value == -1)
		value = -errno;
	if (notes.n < FILE_NOTES) {
		notes.note[notes.n].line = line;
		notes.note[notes.n].value = value;
		notes.n++;
	}
	return (value);
}

void
note_text(int line, const void *p, long n)
{
	const unsigned char *s = p;
	long h = 1, i;

	for (i = 0; i < n; i++)
		h = h * 31 + s[i];
	(void)note(line, n);
	(void)note(line, h & 0x7fffffffffffff);
}

static scenario *const scenarios[] = {
	regular, names, directories, descriptors, pipes, counters, epolls,
	selects, pairs, servers, mappings, made_up
};
#define SCENARIOS	(sizeof scenarios / sizeof scenarios[0])

#ifdef NATIVE

#include <signal.h>

/* argv: the directory, the scenario. */
int
main(int argc, char **argv)
{
	unsigned i, n;

	if (argc != 3 || chdir(argv[1]) != 0)
		return (2);
	n = (unsigned)atoi(argv[2]);
	signal(SIGPIPE, SIG_IGN);
	close_range(3, ~0U, 0);
	umask(022);
	if (n >= SCENARIOS)
		return (3);
	scenarios[n]();
	for (i = 0; i < notes.n; i++)
		printf("%d %ld\n", notes.note[i].line, notes.note[i].value);
	return (0);
}

#else

static unsigned char area[FILE_AREA] __attribute__((aligned(4096)));

static long
host(long number, long a, long b)
{
	long r;

	__asm__ volatile ("out %%eax, $0" : "=a" (r) : "a" (number), "D" (a),
	    "S" (b) : "memory");
	return (r);
}

static void
run(unsigned long n)
{

	notes.n = 0;
	if (n < SCENARIOS)
		scenarios[n]();
	host(3, (long)notes.n, 0);
}

/* Any system call of up to five arguments; -errno as the kernel gives it. */
static void
make_call(long number, long a, long b, long c, long d, long e)
{
	register long r10 __asm__("r10") = d;
	register long r8 __asm__("r8") = e;
	register long r9 __asm__("r9") = 0;
	long r;

	__asm__ volatile ("syscall" : "=a" (r) : "0" (number), "D" (a),
	    "S" (b), "d" (c), "r" (r10), "r" (r8), "r" (r9) :
	    "rcx", "r11", "memory");
	host(3, r, 0);
}

/* What is open when the master is frozen: FILE_BOOT_*. */
static void
boot(void)
{
	struct sockaddr_in in = { .sin_family = AF_INET,
	    .sin_port = htons(8080) };
	struct itimerspec its = { .it_value = { 1000, 0 } };
	struct epoll_event e;
	char buf[8];
	int p[2], ok = 1;

	ok &= open("hello", O_RDONLY) == FILE_BOOT_HELLO;
	ok &= read(FILE_BOOT_HELLO, buf, 3) == 3;
	ok &= open("sub", O_RDONLY | O_DIRECTORY) == FILE_BOOT_DIRECTORY;
	ok &= pipe(p) == 0 && p[0] == FILE_BOOT_PIPE;
	ok &= write(p[1], "frozen", 6) == 6;
	ok &= eventfd(5, EFD_NONBLOCK) == FILE_BOOT_EVENT;
	ok &= timerfd_create(CLOCK_MONOTONIC, 0) == FILE_BOOT_TIMER;
	ok &= timerfd_settime(FILE_BOOT_TIMER, 0, &its, NULL) == 0;
	ok &= socketpair(AF_UNIX, SOCK_STREAM, 0, p) == 0 &&
	    p[0] == FILE_BOOT_PAIR;
	ok &= write(p[0], "paired", 6) == 6;
	ok &= socket(AF_INET, SOCK_STREAM | SOCK_NONBLOCK, 0) ==
	    FILE_BOOT_LISTEN;
	ok &= bind(FILE_BOOT_LISTEN, (void *)&in, sizeof in) == 0;
	ok &= listen(FILE_BOOT_LISTEN, 8) == 0;
	ok &= epoll_create1(0) == FILE_BOOT_EPOLL;
	e.events = EPOLLIN | EPOLLET;
	e.data.u64 = 7;
	ok &= epoll_ctl(FILE_BOOT_EPOLL, EPOLL_CTL_ADD, FILE_BOOT_PIPE, &e) == 0;
	e.data.u64 = 8;
	ok &= epoll_ctl(FILE_BOOT_EPOLL, EPOLL_CTL_ADD, FILE_BOOT_LISTEN, &e) ==
	    0;
	ok &= open("/proc/self/status", O_RDONLY) == FILE_BOOT_STATUS;
	ok &= memfd_create("m", 0) == FILE_BOOT_MEMORY;
	ok &= write(FILE_BOOT_MEMORY, "memory", 6) == 6;
	ok &= open("log", O_RDWR | O_CREAT | O_APPEND, 0644) == FILE_BOOT_LOG;
	host(1, FILE_AT_BOOT_OK, ok);
}

int
main(int argc, char **argv)
{

	if (argc > 1 && strcmp(argv[1], "one") == 0 && argc <= 2)
		boot();
	(void)chdir("/data");
	memset(area, 1, sizeof area);
	host(1, FILE_AT_RUN, (long)run);
	host(1, FILE_AT_CALL, (long)make_call);
	host(1, FILE_AT_NOTES, (long)&notes);
	host(1, FILE_AT_AREA, (long)area);
	host(2, 0, 0);
	return (99);
}

#endif
