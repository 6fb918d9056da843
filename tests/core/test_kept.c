/*-
 * SPDX-License-Identifier: BSD-2-Clause
 *
 * Machines that are kept instead of reset, and what they are given to last
 * longer than themselves: a file, shared memory, or less time than they had.
 */

#include <errno.h>
#include <fcntl.h>
#include <pthread.h>
#include <sys/mman.h>
#include <sys/syscall.h>
#include <unistd.h>

#include "file_vm.h"
#include "one_fork.h"

/* A wait that was cut short is no part of the next call's. */
static void
after_a_wait(void)
{
	struct tk_error err;
	uint64_t start;
	unsigned i;

	set_up(NULL);
	for (i = 0; i < 3; i++) {
		CHECK(guest_op(&g, m, &err, 0.02, OP_SLEEP, 500, 0, 0) ==
		    TK_TIMEOUT);
		CHECK(tk_keep(m) && !tk_broken(m));
		start = tk_now();
		CHECK(guest_op(&g, m, &err, 5, OP_SLEEP, 50, 0, 0) == 0);
		CHECK(tk_now() - start > 45000000);
		(void)tk_keep(m);
	}
	tear_down();
}

static void
after_a_crash(void)
{
	struct tk_error err;
	unsigned i;

	set_up(NULL);
	for (i = 1; i < 20; i++) {
		CHECK(guest_op(&g, m, &err, 5, OP_STORE, 8, 0, 1) == TK_FAULT);
		CHECK(tk_keep(m) && !tk_broken(m));
		CHECK(guest_op(&g, m, &err, 5, OP_TLS, 0, 0, i) == 0);
		CHECK(g.result == (i == 1 ? 0x1122334455667788 :
		    (int64_t)i - 1));
		(void)tk_keep(m);
	}
	tear_down();
}

/* Cut short anywhere: the next call works, or we are told. */
static void
with_threads(void)
{
	struct tk_error err;
	unsigned i, broken = 0;

	set_up(NULL);
	for (i = 1; i < 60; i++) {
		/* Its libc's locks may be held for ever by now. */
		(void)guest_op(&g, m, &err, 0.0003 * i, OP_THREADS, 20, 0, 0);
		if (!tk_keep(m) || tk_broken(m)) {
			broken++;
			tk_fork_free(&m);
			CHECK(tk_fork(g.master, &m, &g, &err) == 0);
		}
		CHECK_MSG(guest_op(&g, m, &err, 5, OP_NOP, 0, 0, 0) == 0,
		    "%s", err.text);
		(void)tk_keep(m);
	}
	printf("%u of %u cut short on another thread\n", broken, i);
	tear_down();
}

static void *
end_soon(void *priv)
{

	(void)usleep(30000);
	tk_set_seconds_left(priv, 0);
	return (NULL);
}

static void
less_time(void)
{
	static const uint64_t ops[] = { OP_SPIN, OP_SLEEP };
	struct tk_error err;
	pthread_t thread;
	uint64_t start;
	unsigned i;

	set_up(NULL);
	/* Nothing is under way: the next call has its own time. */
	tk_set_seconds_left(m, 0);
	CHECK(guest_op(&g, m, &err, 5, OP_SLEEP, 20, 0, 0) == 0);
	for (i = 0; i < 2; i++) {
		start = tk_now();
		CHECK(pthread_create(&thread, NULL, end_soon, m) == 0);
		CHECK(guest_op(&g, m, &err, 60, ops[i], 50000, 0, 0) ==
		    TK_TIMEOUT);
		CHECK(tk_now() - start < 5000000000);
		CHECK(pthread_join(thread, NULL) == 0);
		(void)tk_keep(m);
	}
	tear_down();
}

static void *
stop_soon(void *priv)
{
	struct guest *guest = priv;
	struct timespec tick = { 0, 30 * 1000000 };

	(void)nanosleep(&tick, NULL);
	guest->stopped = true;
	return (NULL);
}

/* Whoever is to end ends, and so does what begins behind it. */
static void
stopped(void)
{
	static const uint64_t ops[] = { OP_SPIN, OP_SLEEP };
	struct tk_error err;
	pthread_t thread;
	unsigned i;

	set_up(NULL);
	for (i = 0; i < 2; i++) {
		g.stopped = false;
		CHECK(pthread_create(&thread, NULL, stop_soon, &g) == 0);
		CHECK(guest_op(&g, m, &err, 600, ops[i], 600000, 0, 0) ==
		    TK_TIMEOUT);
		CHECK(pthread_join(thread, NULL) == 0);
		(void)tk_reset(m);
		CHECK(guest_op(&g, m, &err, 600, ops[i], 600000, 0, 0) ==
		    TK_TIMEOUT);
		(void)tk_reset(m);
	}
	g.stopped = false;
	CHECK(guest_op(&g, m, &err, 5, OP_SLEEP, 20, 0, 0) == 0);
	tear_down();
}

/* Two programs, one memory. */
static void
memory_of_another(void)
{
	struct boot b = { .shared = 2 };
	struct guest other;
	struct tk_machine *m2;
	struct tk_error err;
	uint64_t size, size2;
	tk_gva at;

	guest_boot(&g, &b);
	b.shared_of = g.master;
	guest_boot(&other, &b);
	CHECK(tk_fork(g.master, &m, &g, &err) == 0);
	CHECK(tk_fork(other.master, &m2, &other, &err) == 0);
	at = tk_shared_area(m, &size);
	CHECK(tk_shared_area(m2, &size2) == at && size == size2);
	CHECK(size == 2 << 20);
	CHECK(guest_op(&g, m, &err, 5, OP_STORE, at + 8, 0, 77) == 0);
	CHECK(guest_op(&other, m2, &err, 5, OP_LOAD, at + 8, 0, 0) == 0);
	CHECK(other.result == 77);
	tk_fork_free(&m2);
	guest_free(&other);
	CHECK(guest_op(&g, m, &err, 5, OP_LOAD, at + 8, 0, 0) == 0);
	CHECK(g.result == 77);
	tear_down();
}

/*--------------------------------------------------------------------
 * A file that is given
 */

static struct file_vm vm;
static struct tk_given_file file;

static void
boot_with_file(void)
{
	struct tk_path paths[] = {
		{ .virtual_path = "/it", .real_path = "/it", .writable = true,
		    .given = &file },
		{ .virtual_path = "/look", .real_path = "/it",
		    .given = &file },
	};
	struct boot b = { .paths = paths, .n_paths = 2, .in_use = "0" };
	struct tk_error err;
	char program[512];

	CHECK(getenv("TK_TESTS") != NULL);
	snprintf(program, sizeof program, "%s/file_guest", getenv("TK_TESTS"));
	b.file = program;
	memset(&file, 0, sizeof file);
	file.fd = memfd_create("given", MFD_CLOEXEC);
	CHECK(file.fd >= 0);
	file.max_size = 8192;
	memset(&vm, 0, sizeof vm);
	guest_boot(&vm.g, &b);
	CHECK(tk_fork(vm.g.master, &vm.m, &vm.g, &err) == 0);
}

static int64_t
opens(const char *path, int flags)
{

	return (SYS(&vm, open, PATH(&vm, path), flags, 0644));
}

static void
given_file(void)
{
	char text[16] = "";
	uint64_t before;
	int64_t fd;

	boot_with_file();
	/* Not there yet, under either name. */
	CHECK(opens("/it", O_RDONLY) == -ENOENT);
	CHECK(opens("/it", O_WRONLY) == -ENOENT);
	CHECK(opens("/look", O_RDONLY | O_CREAT) == -EROFS);
	CHECK(SYS(&vm, access, PATH(&vm, "/it"), 0, 0) == -ENOENT);
	CHECK(file.changes == 0);
	fd = opens("/it", O_RDWR | O_CREAT | O_EXCL);
	CHECK(fd >= 3 && file.exists && file.changes == 1);
	CHECK(opens("/it", O_RDWR | O_CREAT | O_EXCL) == -EEXIST);
	CHECK(opens("/it", O_RDONLY | O_DIRECTORY) == -ENOTDIR);
	CHECK(file.changes == 1);
	CHECK(SYS(&vm, write, fd, file_vm_text(&vm, 1, "hello"), 5) == 5);
	CHECK(file.changes == 2);
	CHECK(pread(file.fd, text, sizeof text, 0) == 5);
	CHECK(strcmp(text, "hello") == 0);
	/* What the host writes is seen. */
	CHECK(pwrite(file.fd, "J", 1, 0) == 1);
	CHECK(SYS(&vm, lseek, fd, 0, SEEK_SET) == 0);
	CHECK(SYS(&vm, read, fd, file_vm_buffer(&vm), 5) == 5);
	CHECK(tk_read(vm.m, text, file_vm_buffer(&vm), 5));
	CHECK(strcmp(text, "Jello") == 0);
	/* Its size has a limit. */
	CHECK(SYS(&vm, lseek, fd, 8190, SEEK_SET) == 8190);
	CHECK(SYS(&vm, write, fd, PATH(&vm, "abc"), 3) == -EFBIG);
	CHECK(SYS(&vm, write, fd, PATH(&vm, "abc"), 2) == 2);
	CHECK(SYS(&vm, ftruncate, fd, 8193, 0) == -EFBIG);
	CHECK(SYS(&vm, truncate, PATH(&vm, "/it"), 8193, 0) == -EFBIG);
	before = file.changes;
	CHECK(SYS(&vm, ftruncate, fd, 10, 0) == 0);
	CHECK(SYS(&vm, truncate, PATH(&vm, "/it"), 20, 0) == 0);
	CHECK(file.changes == before + 2);
	/* Where it may only be read; and it has no directory. */
	CHECK(opens("/look", O_RDWR) == -EROFS);
	CHECK(opens("/look", O_RDONLY | O_TRUNC) == -EROFS);
	CHECK(opens("/look", O_RDONLY) > fd);
	CHECK(SYS(&vm, unlink, PATH(&vm, "/it"), 0, 0) == -EBUSY);
	CHECK(SYS(&vm, rename, PATH(&vm, "/it"), file_vm_text(&vm, 1, "/b"),
	    0) < 0);
	CHECK(SYS(&vm, mkdir, PATH(&vm, "/it"), 0755, 0) == -EEXIST);
	CHECK(file.changes == before + 2 && lseek(file.fd, 0, SEEK_END) == 20);
	CHECK(opens("/it", O_WRONLY | O_TRUNC) > fd);
	CHECK(file.changes == before + 3 && lseek(file.fd, 0, SEEK_END) == 0);
	(void)tk_reset(vm.m);
	CHECK(!tk_broken(vm.m));
	CHECK(opens("/it", O_RDONLY) == fd);
	tk_fork_free(&vm.m);
	guest_free(&vm.g);
	CHECK(close(file.fd) == 0);
}

/* A call that goes on where it asked the host, in the middle of a function. */
static void
continued(void)
{
	struct tk_machine *other;
	struct tk_error err;
	unsigned round;
	int64_t i, sum;

	set_up(NULL);
	CHECK(tk_fork(g.master, &other, &g, &err) == 0);
	for (round = 0; round < 3; round++) {
		CHECK(guest_op(&g, m, &err, 5, OP_EVENTS, 100, 0, 0) == 0);
		CHECK(g.result == 100);
		for (i = 1, sum = 100; i < 50; i++) {
			/* Others compute meanwhile. */
			CHECK(guest_op(&g, other, &err, 5, OP_VECTORS, 0, 0,
			    0) == 0);
			(void)tk_reset(other);
			CHECK(tk_continue(m, (uint64_t)i, 5, &err) == 0);
			sum += i;
			CHECK(g.result == sum);
		}
		CHECK(tk_continue(m, 0, 5, &err) == 0);
		CHECK(g.result == 2 * sum);
		/* It returned: that is asked of the host, too. */
		if (round == 1)
			CHECK(tk_continue(m, 0, 5, &err) == TK_MISUSE);
		(void)tk_reset(m);
	}
	tk_fork_free(&other);
	tear_down();
}

/* The number of an empty entry is the host's own: from a guest it is any other. */
static void
a_number_of_the_hosts_own(void)
{
	struct tk_error err;

	set_up(NULL);
	CHECK(tk_empty_call(m, &err) == 0);
	CHECK(guest_op(&g, m, &err, 5, OP_HOST, 0x3ffff, 0, 0) == TK_MISUSE);
	CHECK_STR(err.text, "host call 262143");
	(void)tk_reset(m);
	CHECK(tk_empty_call(m, &err) == 0);
	tear_down();
}

TESTS(
	T_KVM(after_a_wait),
	T_KVM(after_a_crash),
	T_KVM(with_threads),
	T_KVM(less_time),
	T_KVM(stopped),
	T_KVM(memory_of_another),
	T_KVM(given_file),
	T_KVM(continued),
	T_KVM(a_number_of_the_hosts_own)
)
