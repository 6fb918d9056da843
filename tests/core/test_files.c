/*-
 * SPDX-License-Identifier: BSD-2-Clause
 *
 * Files and everything else that has a descriptor: as on Linux, and nothing of
 * the host beyond what is allowed.
 */

#include <errno.h>
#include <fcntl.h>
#include <poll.h>
#include <signal.h>
#include <sys/epoll.h>
#include <sys/resource.h>
#include <sys/socket.h>
#include <sys/stat.h>
#include <sys/syscall.h>
#include <unistd.h>

#include "file_vm.h"
#include "linux/linux.h"

static struct file_vm vm;

/*--------------------------------------------------------------------
 * The same program, here and on the host's own kernel
 */

static unsigned
run_natively(struct file_notes *to, const char *root, unsigned n)
{
	char line[700];
	unsigned i = 0;
	FILE *f;

	snprintf(line, sizeof line, "%s/file_guest_native %s/data %u </dev/null",
	    getenv("TK_TESTS"), root, n);
	f = popen(line, "r");
	CHECK(f != NULL);
	while (i < FILE_NOTES && fscanf(f, "%d %ld", &to->note[i].line,
	    &to->note[i].value) == 2)
		i++;
	CHECK(pclose(f) == 0);
	return (i);
}

static struct file_notes ours, linux_notes;

static void
compare(unsigned n)
{
	unsigned i;

	file_vm_init(&vm, false);
	/* Twice: the second after a reset. */
	(void)file_vm_run(&vm, n);
	(void)tk_reset(vm.m);
	CHECK(!tk_broken(vm.m));
	linux_notes.n = run_natively(&linux_notes, vm.root, n);
	(void)file_vm_run(&vm, n);
	CHECK(tk_read(vm.m, &ours, vm.g.at[FILE_AT_NOTES], sizeof ours));
	for (i = 0; i < ours.n && i < linux_notes.n; i++)
		CHECK_MSG(ours.note[i].line == linux_notes.note[i].line &&
		    ours.note[i].value == linux_notes.note[i].value,
		    "scenario %u, line %d: %ld; on Linux, line %d: %ld", n,
		    ours.note[i].line, ours.note[i].value,
		    linux_notes.note[i].line, linux_notes.note[i].value);
	CHECK(ours.n == linux_notes.n && ours.n > 20);
	file_vm_fini(&vm);
}

static void regular_files(void) { compare(0); }
static void names(void) { compare(1); }
static void directories(void) { compare(2); }
static void descriptors(void) { compare(3); }
static void pipes(void) { compare(4); }
static void counters_and_timers(void) { compare(5); }
static void epoll(void) { compare(6); }
static void poll_and_select(void) { compare(7); }
static void socket_pairs(void) { compare(8); }
static void listening(void) { compare(9); }
static void mappings(void) { compare(10); }
static void generated_files(void) { compare(11); }

/*--------------------------------------------------------------------
 * What is allowed, and what is not
 */

static int64_t
opens(const char *path, int flags)
{

	return (SYS(&vm, open, PATH(&vm, path), flags, 0644));
}

static void
denied(const char *path, int flags, int error, const char *words)
{
	int64_t r;

	vm.g.refused[0] = '\0';
	r = opens(path, flags);
	CHECK_MSG(r == -error, "%s: %ld, not %d", path, (long)r, -error);
	if (words != NULL)
		CHECK_STR(vm.g.refused, words);
}

static void
nothing_outside(void)
{

	file_vm_init(&vm, false);
	CHECK(opens("hello", O_RDONLY) == 3);
	CHECK(opens("/data/../data/./hello", O_RDONLY) == 4);
	CHECK(opens("/etc/one", O_RDONLY) == 5);
	CHECK(opens("inner", O_RDONLY) == 6);
	/* By name, by dots, by links in and at the end of the path. */
	denied("/etc/passwd", O_RDONLY, ENOENT, "open /etc/passwd: not in "
	    "allowed_paths");
	denied("../secret", O_RDONLY, ENOENT, "open /secret");
	denied("/data/../secret", O_RDONLY, ENOENT, "/secret");
	denied("/../../../etc/passwd", O_RDONLY, ENOENT, "/etc/passwd");
	denied("sub/../../secret", O_RDONLY, ENOENT, "/secret");
	denied("up", O_RDONLY, ENOENT, "open /secret: not in");
	denied("out", O_RDONLY, ENOENT, "open /etc/passwd: not in");
	denied("root/etc/passwd", O_RDONLY, ENOENT, "/etc/passwd");
	denied("parent/secret", O_RDONLY, ENOENT, "/secret");
	denied("parent/parent/parent/etc/passwd", O_RDONLY, ENOENT, NULL);
	denied("self/etc/passwd", O_RDONLY, ENOENT, NULL);
	denied("inner/x", O_RDONLY, ENOTDIR, NULL);
	/* Where they come back to what is allowed, they may. */
	CHECK(opens("parent/data/hello", O_RDONLY) == 7);
	CHECK(opens("root/ro/deep/file", O_RDONLY) == 8);
	CHECK(opens("root/dev/null", O_RDONLY) == 9);
	CHECK(opens("across", O_RDONLY) == 10);
	denied("across", O_RDWR, EROFS, "/ro/deep/file");
	denied("across", O_RDONLY | O_NOFOLLOW, ELOOP, NULL);
	denied("circle", O_RDONLY, ELOOP, NULL);
	denied("loop", O_RDONLY, ELOOP, NULL);
	denied("/proc/self/root/etc/passwd", O_RDONLY, ENOENT, NULL);
	denied("/proc/self/cwd/hello", O_RDONLY, ENOENT, NULL);
	denied("/proc/self/mem", O_RDONLY, ENOENT, NULL);
	denied("/proc/self/environ", O_RDONLY, ENOENT, NULL);
	denied("/proc/2/maps", O_RDONLY, ENOENT, NULL);
	/* The host's /proc is refused even where it is allowed. */
	denied("/hostproc/self/maps", O_RDONLY, EACCES, "/proc");
	denied("/hostproc/1/environ", O_RDONLY, EACCES, NULL);
	/* Neither devices nor pipes. */
	denied("fifo", O_RDONLY, EACCES, "neither a file nor a directory");
	denied("fifo", O_RDWR, EACCES, NULL);
	denied("/hostdev/null", O_RDWR, EACCES, "neither");
	denied("/hostdev/kvm", O_RDWR, EACCES, "neither");
	/* Reading is not writing. */
	denied("/ro/deep/file", O_RDWR, EROFS, "not writable");
	denied("/ro/deep/file", O_RDONLY | O_TRUNC, EROFS, "not writable");
	denied("/ro/new", O_WRONLY | O_CREAT, EROFS, "not writable");
	denied("/elsewhere", O_WRONLY | O_CREAT, EACCES, "not in");
	denied("/etc/one", O_WRONLY, EROFS, "not writable");
	denied("/absent/file", O_RDONLY, ENOENT, NULL);
	denied("/program", O_RDONLY, EACCES, NULL);
	/* What is said can be printed. */
	denied("/no\n\x01\xff", O_RDONLY, ENOENT, "open /no???: not in");
	CHECK(SYS(&vm, mkdir, PATH(&vm, "/ro/d"), 0755, 0) == -EROFS);
	CHECK(SYS(&vm, mkdir, PATH(&vm, "/ro/deep"), 0755, 0) == -EEXIST);
	CHECK(SYS(&vm, mkdir, PATH(&vm, "/d"), 0755, 0) == -EACCES);
	CHECK(SYS(&vm, mkdir, PATH(&vm, "/data"), 0755, 0) == -EEXIST);
	CHECK(SYS(&vm, unlink, PATH(&vm, "/ro/deep/file"), 0, 0) == -EROFS);
	CHECK(SYS(&vm, unlink, PATH(&vm, "parent/secret"), 0, 0) == -ENOENT);
	CHECK(SYS(&vm, rmdir, PATH(&vm, "/data"), 0, 0) == -EBUSY);
	CHECK(SYS(&vm, rename, PATH(&vm, "hello"), file_vm_text(&vm, 1,
	    "/ro/x"), 0) == -EROFS);
	CHECK(SYS(&vm, rename, file_vm_text(&vm, 1, "/ro/deep/file"),
	    PATH(&vm, "x"), 0) == -EROFS);
	CHECK(SYS(&vm, rename, PATH(&vm, "hello"), file_vm_text(&vm, 1,
	    "parent/stolen"), 0) == -EACCES);
	CHECK(SYS(&vm, truncate, PATH(&vm, "up"), 0, 0) == -ENOENT);
	CHECK(SYS(&vm, truncate, PATH(&vm, "/ro/deep/file"), 0, 0) == -EROFS);
	CHECK(SYS(&vm, symlink, PATH(&vm, "/etc"), file_vm_text(&vm, 1, "e"),
	    0) == -EACCES);
	CHECK(SYS(&vm, access, PATH(&vm, "up"), R_OK, 0) == -ENOENT);
	CHECK(SYS(&vm, access, PATH(&vm, "/ro/deep/file"), W_OK, 0) == -EROFS);
	CHECK(SYS(&vm, access, PATH(&vm, "/etc/shadow"), F_OK, 0) == -ENOENT);
	CHECK(SYS(&vm, chdir, PATH(&vm, "parent"), 0, 0) == 0);
	CHECK(opens("secret", O_RDONLY) == -ENOENT);
	CHECK(opens("data/hello", O_RDONLY) == 11);
	file_vm_fini(&vm);
}

#define RENAME(from, to, flags)	(int)file_vm_call(&vm, SYS_renameat2,	\
    (uint64_t)AT_FDCWD, PATH(&vm, from), (uint64_t)AT_FDCWD,		\
    file_vm_text(&vm, 1, to), (flags))
#define EXCHANGE	2		/* RENAME_EXCHANGE */

/* What is read-only stays so under any name of the directories above it. */
static void
read_only_below_writable(void)
{
	int64_t fd;

	file_vm_init(&vm, false);
	CHECK(opens("/room/conf/ro/file", O_WRONLY) == -EROFS);
	CHECK(RENAME("/room/conf", "/room/moved", 0) == -EBUSY);
	CHECK(RENAME("/room//other/../conf/", "/room/moved", 0) == -EBUSY);
	CHECK(RENAME("/room/other", "/room/conf", 0) == -EBUSY);
	CHECK(RENAME("/room/other", "/room/conf", EXCHANGE) == -EBUSY);
	CHECK(RENAME("/room/conf", "/room/other", EXCHANGE) == -EBUSY);
	CHECK(RENAME("/room/conf/ro", "/room/moved", 0) == -EROFS);
	CHECK(RENAME("/room/other", "/room/conf/ro", EXCHANGE) == -EROFS);
	CHECK(RENAME("/room/conf/ro/file", "/room/moved", 0) == -EROFS);
	fd = opens("/room", O_RDONLY | O_DIRECTORY);
	CHECK(fd >= 0 && file_vm_call(&vm, SYS_renameat, (uint64_t)fd,
	    PATH(&vm, "conf"), (uint64_t)fd, file_vm_text(&vm, 1, "moved"),
	    0) == -EBUSY);
	CHECK(SYS(&vm, rmdir, PATH(&vm, "/room/conf"), 0, 0) == -EBUSY);
	CHECK(SYS(&vm, unlink, PATH(&vm, "/room/conf"), 0, 0) == -EBUSY);
	CHECK_STR(vm.g.refused, "/room/conf: ");
	CHECK(opens("/room/conf/ro/file", O_RDONLY) > fd);
	/* Links of the host give it no other name to be changed by. */
	CHECK(opens("/room/names/ro/file", O_RDONLY) > fd);
	CHECK(opens("/room/names/ro/file", O_WRONLY) == -ELOOP);
	CHECK_STR(vm.g.refused, "/room/names/ro/file: ");
	CHECK(opens("/room/names/ro/new", O_WRONLY | O_CREAT) == -ELOOP);
	CHECK(opens("/room/name", O_RDWR) == -ELOOP);
	CHECK(SYS(&vm, truncate, PATH(&vm, "/room/names/ro/file"), 0, 0) ==
	    -ELOOP);
	CHECK(SYS(&vm, mkdir, PATH(&vm, "/room/names/ro/d"), 0777, 0) ==
	    -ELOOP);
	CHECK(SYS(&vm, unlink, PATH(&vm, "/room/names/ro/file"), 0, 0) ==
	    -ELOOP);
	CHECK(RENAME("/room/names/ro", "/room/moved", 0) == -ELOOP);
	CHECK(RENAME("/room/other", "/room/names/ro/d", 0) == -ELOOP);
	/* What is beside them can be moved. */
	CHECK(RENAME("/room/other", "/room/conf/beside", 0) == 0);
	CHECK(RENAME("/room/conf/beside", "/room/other", 0) == 0);
	CHECK(SYS(&vm, rmdir, PATH(&vm, "/room/other"), 0, 0) == 0);
	file_vm_fini(&vm);
}

static struct stat
stat_of(const char *path, int follow)
{
	struct stat st;
	int64_t r;

	r = follow ? SYS(&vm, stat, PATH(&vm, path), file_vm_buffer(&vm), 0) :
	    SYS(&vm, lstat, PATH(&vm, path), file_vm_buffer(&vm), 0);
	CHECK_MSG(r == 0, "%s: %ld", path, (long)r);
	CHECK(tk_read(vm.m, &st, file_vm_buffer(&vm), sizeof st));
	return (st);
}

/* Every directory on the way exists, so that realpath() and walks work. */
static void
directories_above(void)
{
	char text[512];
	int64_t n;

	file_vm_init(&vm, false);
	CHECK(S_ISDIR(stat_of("/", 1).st_mode));
	CHECK(S_ISDIR(stat_of("/etc", 0).st_mode));
	CHECK(S_ISDIR(stat_of("/sys/devices/system", 1).st_mode));
	CHECK(S_ISREG(stat_of("/etc/one", 0).st_mode));
	CHECK(S_ISLNK(stat_of("/etc/link", 0).st_mode));
	CHECK(S_ISREG(stat_of("/etc/link", 1).st_mode));
	n = SYS(&vm, readlink, PATH(&vm, "/etc/link"), file_vm_buffer(&vm),
	    512);
	CHECK(n > 0 && n < 512 && tk_read(vm.m, text, file_vm_buffer(&vm),
	    (size_t)n));
	text[n] = '\0';
	CHECK_STR(text, "/file_guest");
	CHECK(SYS(&vm, readlink, PATH(&vm, "/etc"), file_vm_buffer(&vm), 512)
	    == -EINVAL);
	n = SYS(&vm, readlink, PATH(&vm, "/proc/self/exe"), file_vm_buffer(&vm),
	    512);
	CHECK(n == 8 && tk_read(vm.m, text, file_vm_buffer(&vm), 8) &&
	    memcmp(text, "/program", 8) == 0);
	/* Their listings name what leads on, once. */
	CHECK(opens("/etc", O_RDONLY | O_DIRECTORY) == 3);
	n = SYS(&vm, getdents64, 3, file_vm_buffer(&vm), 512);
	CHECK_MSG(n == 24 + 24 + 24 + 24, "%ld", (long)n);
	CHECK(SYS(&vm, getdents64, 3, file_vm_buffer(&vm), 512) == 0);
	CHECK(SYS(&vm, getcwd, file_vm_buffer(&vm), 5, 0) == -ERANGE);
	CHECK(SYS(&vm, getcwd, file_vm_buffer(&vm), 6, 0) == 6);
	CHECK(SYS(&vm, chdir, PATH(&vm, "/etc"), 0, 0) == 0);
	CHECK(opens("one", O_RDONLY) == 4);
	file_vm_fini(&vm);
}

static void
reads(const char *path, const char *words)
{
	static char text[32768];
	int64_t fd, n, have = 0;

	fd = opens(path, O_RDONLY);
	CHECK_MSG(fd >= 0, "%s: %ld", path, (long)fd);
	while ((n = SYS(&vm, read, fd, file_vm_buffer(&vm), 4096)) > 0) {
		CHECK(have + n < (int64_t)sizeof text);
		CHECK(tk_read(vm.m, text + have, file_vm_buffer(&vm),
		    (size_t)n));
		have += n;
	}
	CHECK(n == 0);
	text[have] = '\0';
	CHECK_MSG(strstr(text, words) != NULL, "%s: \"%s\" in\n%s", path,
	    words, text);
	CHECK(SYS(&vm, close, fd, 0, 0) == 0);
}

static void
what_runtimes_read(void)
{

	file_vm_init(&vm, false);
	reads("/proc/self/maps", "[stack]\n");
	reads("/proc/self/maps", "r-xp 00000000 00:00 1 ");
	reads("/proc/1/maps", "[vdso]\n");
	reads("/proc/self/status", "Threads:\t1\n");
	reads("/proc/self/stat", "1 (program) R 0 ");
	reads("/proc/self/statm", " ");
	reads("/proc/self/cmdline", "guest");
	reads("/proc/cpuinfo", "processor\t: 0\n");
	reads("/proc/cpuinfo", " sse2 ");
	reads("/proc/meminfo", "MemTotal: ");
	reads("/proc/stat", "cpu0 ");
	reads("/proc/sys/vm/overcommit_memory", "0\n");
	reads("/proc/sys/net/core/somaxconn", "4096\n");
	reads("/sys/kernel/mm/transparent_hugepage/hpage_pmd_size", "2097152");
	reads("/sys/devices/system/cpu/online", "0\n");
	CHECK(opens("/sys/fs/cgroup/memory.max", O_RDONLY) == -ENOENT);
	CHECK(opens("/etc/localtime", O_RDONLY) == -ENOENT);
	CHECK(opens("/proc/self/maps", O_RDWR) == -EACCES);
	/* The program's own descriptors by name. */
	CHECK(opens("/dev/stdout", O_WRONLY) == 3);
	CHECK(SYS(&vm, write, 3, PATH(&vm, "by name"), 7) == 7);
	CHECK_STR(vm.g.output, "by name");
	CHECK(opens("/proc/self/fd", O_RDONLY | O_DIRECTORY) == 4);
	CHECK(SYS(&vm, getdents64, 4, file_vm_buffer(&vm), 4096) == 7 * 24);
	file_vm_fini(&vm);
}

/* Randomness is fresh: forks and requests share none. */
static void
random_is_fresh(void)
{
	uint64_t a, b;
	unsigned i;

	file_vm_init(&vm, false);
	for (i = 0, a = 0; i < 10; i++, a = b) {
		CHECK(opens(i & 1 ? "/dev/random" : "/dev/urandom", O_RDONLY)
		    == 3);
		CHECK(SYS(&vm, read, 3, file_vm_buffer(&vm), 8) == 8);
		CHECK(tk_read(vm.m, &b, file_vm_buffer(&vm), 8));
		CHECK(a != b);
		(void)tk_reset(vm.m);
	}
	file_vm_fini(&vm);
}

/*--------------------------------------------------------------------
 * Limits
 */

/*
 * An epoll's list may be long, and poll() and select() may name it a thousand
 * times: between two it is asked whether there is time.
 */
static void
poll_ends_in_time(void)
{
	uint64_t a[6] = { 0, 2, 0 }, b[6] = { 0 }, set = 0;
	const struct timeval no_time = { 0, 0 };
	struct pollfd p[2];
	int64_t fd;

	file_vm_init(&vm, false);
	fd = SYS(&vm, epoll_create1, 0, 0, 0);
	CHECK(fd >= 0);
	p[0].fd = p[1].fd = (int)fd;
	p[0].events = p[1].events = POLLIN;
	a[0] = file_vm_buffer(&vm);
	CHECK(tk_write(vm.m, a[0], p, sizeof p));
	vm.m->watch.deadline = UINT64_MAX;
	CHECK(tk_sys_poll(vm.m, a) == 0);
	vm.m->watch.deadline = 0;
	CHECK(tk_sys_poll(vm.m, a) == -EINTR);
	b[0] = (uint64_t)fd + 1;
	b[1] = a[0] + sizeof p;
	b[4] = b[1] + sizeof set;
	CHECK(tk_write(vm.m, b[4], &no_time, sizeof no_time));
	set = 1ULL << fd;
	CHECK(tk_write(vm.m, b[1], &set, sizeof set));
	CHECK(tk_sys_select(vm.m, b) == -EINTR);
	vm.m->watch.deadline = UINT64_MAX;
	CHECK(tk_sys_select(vm.m, b) == 0);
	(void)tk_reset(vm.m);
	file_vm_fini(&vm);
}

#define SLOTS		900		/* numbers that go round, */
#define FIRST_SLOT	100		/* from here on */

static int64_t
watch(uint64_t epoll, uint64_t fd)
{
	const uint64_t a[6] = { epoll, EPOLL_CTL_ADD, fd, file_vm_buffer(&vm) };

	return (tk_sys_epoll_ctl(vm.m, a));
}

/* How many are told as ready: all that are watched. */
static int64_t
watched(uint64_t epoll, uint64_t room)
{

	return (file_vm_call(&vm, SYS_epoll_wait, epoll, room, 5000, 0, 0));
}

/*
 * An item is a number and a file: the same numbers for one file after another
 * make many. There is a limit, and all of a file's go when it goes.
 */
static void
epoll_lists_are_bounded(void)
{
	const struct epoll_event e = { .events = EPOLLOUT };
	uint64_t a[6] = { 0 }, b[6] = { FIRST_SLOT, FIRST_SLOT + SLOTS - 1 };
	int64_t epoll, file[5], room, r = 0;
	unsigned i, n = 0;

	file_vm_init(&vm, false);
	epoll = SYS(&vm, epoll_create1, 0, 0, 0);
	room = file_vm_call(&vm, SYS_mmap, 0, 65536, 3, 0x22, UINT64_MAX);
	CHECK(epoll == 3 && room > 0);
	CHECK(tk_write(vm.m, file_vm_buffer(&vm), &e, sizeof e));
	for (i = 0; i < 5; i++) {
		file[i] = SYS(&vm, eventfd2, 0, 0, 0);
		CHECK(file[i] == 4 + i);
	}
	vm.m->watch.deadline = UINT64_MAX;
	for (i = 0; i < 5 * SLOTS && r == 0; i++) {
		a[0] = (uint64_t)file[i / SLOTS];
		a[1] = FIRST_SLOT + i % SLOTS;
		CHECK(tk_sys_dup2(vm.m, a) == (int64_t)a[1]);
		r = watch((uint64_t)epoll, a[1]);
		n += r == 0;
	}
	CHECK_MSG(r == -ENOSPC && n == 4096, "%ld after %u", (long)r, n);
	CHECK(watched((uint64_t)epoll, (uint64_t)room) == n);
	/* The third file, whose numbers all went on to others. */
	CHECK(SYS(&vm, close, file[2], 0, 0) == 0);
	CHECK(watched((uint64_t)epoll, (uint64_t)room) == n - SLOTS);
	CHECK(watch((uint64_t)epoll, (uint64_t)file[0]) == 0);
	/* Each closed number may be a look through all lists. */
	vm.m->watch.deadline = 0;
	CHECK(tk_sys_close_range(vm.m, b) == -EINTR);
	CHECK(tk_file_at(vm.m, b[0]) != NULL);
	vm.m->watch.deadline = UINT64_MAX;
	CHECK(tk_sys_close_range(vm.m, b) == 0);
	CHECK(tk_file_at(vm.m, b[0]) == NULL && tk_file_at(vm.m, b[1]) == NULL);
	CHECK(SYS(&vm, close, file[3], 0, 0) == 0);
	CHECK(watched((uint64_t)epoll, (uint64_t)room) == n - 2 * SLOTS + 1);
	(void)tk_reset(vm.m);
	CHECK(!tk_broken(vm.m) && vm.m->files.buffered == 0);
	file_vm_fini(&vm);
}

/* Two that write at once may both have found room. */
static void
beyond_the_hosts_limit(void)
{
	const uint64_t most = 1ULL << 30;
	const struct rlimit r = { most, RLIM_INFINITY };
	struct sigaction sa;
	int64_t fd;

	memset(&sa, 0, sizeof sa);
	sa.sa_handler = SIG_DFL;
	CHECK(sigaction(SIGXFSZ, &sa, NULL) == 0);
	CHECK(setrlimit(RLIMIT_FSIZE, &r) == 0);
	file_vm_init(&vm, false);
	fd = opens("hello", O_WRONLY);
	CHECK(fd >= 0);
	CHECK(SYS(&vm, lseek, fd, most - 1, SEEK_SET) == (int64_t)most - 1);
	CHECK(SYS(&vm, write, fd, PATH(&vm, "ab"), 2) == -EFBIG);
	/* Seen too late, it is an error of the call, too. */
	vm.g.master->policy->max_file = INT64_MAX;
	CHECK(SYS(&vm, lseek, fd, most, SEEK_SET) == (int64_t)most);
	CHECK(SYS(&vm, write, fd, PATH(&vm, "ab"), 2) == -EFBIG);
	CHECK(SYS(&vm, ftruncate, fd, most + 1, 0) == -EFBIG);
	CHECK(SYS(&vm, write, fd, PATH(&vm, "ab"), 0) == 0);
	file_vm_fini(&vm);
}

static void
too_many(void)
{
	int64_t r = 0;
	unsigned i;

	file_vm_init(&vm, false);
	for (i = 3; i < 1024; i++)
		CHECK(SYS(&vm, dup, 1, 0, 0) == i);
	CHECK(SYS(&vm, dup, 1, 0, 0) == -EMFILE);
	CHECK(opens("hello", O_RDONLY) == -EMFILE);
	CHECK(SYS(&vm, pipe2, file_vm_buffer(&vm), 0, 0) == -EMFILE);
	CHECK(SYS(&vm, eventfd2, 0, 0, 0) == -EMFILE);
	CHECK(SYS(&vm, socket, AF_INET, SOCK_STREAM, 0) == -EMFILE);
	CHECK(SYS(&vm, fcntl, 1, F_DUPFD, 1000) == -EMFILE);
	CHECK(SYS(&vm, close, 500, 0, 0) == 0);
	/* A pipe needs two: none is left behind. */
	CHECK(SYS(&vm, pipe2, file_vm_buffer(&vm), 0, 0) == -EMFILE);
	CHECK(opens("hello", O_RDONLY) == 500);
	(void)tk_reset(vm.m);
	CHECK(SYS(&vm, dup, 1, 0, 0) == 3);
	(void)tk_reset(vm.m);

	for (i = 0; i < 1021; i++)
		CHECK(SYS(&vm, eventfd2, 0, 0, 0) == 3 + i);
	CHECK(SYS(&vm, eventfd2, 0, 0, 0) < 0);
	(void)tk_reset(vm.m);
	/* Of the host's descriptors a machine has fewer. */
	for (i = 0; i < 1000 && r >= 0; i++)
		r = opens("hello", O_RDONLY);
	CHECK(r == -ENFILE && i == TK_MAX_HOST_FDS + 1);
	(void)tk_reset(vm.m);
	/* What is buffered is limited, and comes back. */
	CHECK(SYS(&vm, memfd_create, PATH(&vm, "big"), 0, 0) == 3);
	CHECK(SYS(&vm, ftruncate, 3, TK_MAX_BUFFERED, 0) == 0);
	CHECK(SYS(&vm, memfd_create, PATH(&vm, "big"), 0, 0) == 4);
	CHECK(SYS(&vm, ftruncate, 4, 1, 0) == -ENOSPC);
	CHECK(SYS(&vm, ftruncate, 4, 1ULL << 50, 0) == -ENOSPC);
	CHECK(SYS(&vm, pwrite64, 4, file_vm_buffer(&vm), 1) == -ENOSPC);
	CHECK(SYS(&vm, pipe2, file_vm_buffer(&vm), 0, 0) == 0);
	CHECK(SYS(&vm, write, 6, file_vm_buffer(&vm), 1) == -ENOMEM);
	CHECK(SYS(&vm, close, 3, 0, 0) == 0);
	CHECK(SYS(&vm, write, 6, file_vm_buffer(&vm), 1) == 1);
	(void)tk_reset(vm.m);
	CHECK(vm.m->files.buffered == 0);
	file_vm_fini(&vm);
}

/* Waiting ends at its own time, or at the call's. */
static void
waiting(void)
{
	struct tk_error err;
	uint64_t before;

	file_vm_init(&vm, true);
	before = tk_now();
	CHECK(SYS(&vm, poll, 0, 0, 20) == 0);
	CHECK(SYS(&vm, epoll_wait, FILE_BOOT_EPOLL, file_vm_buffer(&vm), 8)
	    == 1);
	CHECK(file_vm_call(&vm, SYS_epoll_wait, FILE_BOOT_EPOLL,
	    file_vm_buffer(&vm), 8, 20, 0) == 0);
	CHECK(tk_now() - before >= 40000000);
	CHECK(SYS(&vm, read, FILE_BOOT_PIPE, file_vm_buffer(&vm), 64) == 6);
	vm.m->files.fd[0].cloexec = 0;
	{
		struct tk_call call = { .function = vm.g.at[FILE_AT_CALL],
		    .args = { SYS_read, FILE_BOOT_PIPE, file_vm_buffer(&vm),
		    64 }, .seconds = 0.05 };

		CHECK(tk_call(vm.m, &call, &err) == TK_TIMEOUT);
	}
	(void)tk_reset(vm.m);
	CHECK(!tk_broken(vm.m));
	CHECK(SYS(&vm, read, FILE_BOOT_PIPE, file_vm_buffer(&vm), 64) == 6);
	file_vm_fini(&vm);
}

/* The host's own loader maps a program and its libraries from files. */
static void
dynamic_loader(void)
{
	static const char loader[] = "/lib64/ld-linux-x86-64.so.2";
	const char *argv[] = { loader, "/bin/sh", "-c", "echo $((6 * 7)); "
	    "test -r /lib64/ld-linux-x86-64.so.2; cd /etc; pwd", NULL };
	const char *envp[] = { NULL };
	struct tk_path paths[] = {
		{ .virtual_path = "/usr", .real_path = "/usr", .prefix = true },
		{ .virtual_path = "/lib", .real_path = "/lib", .prefix = true },
		{ .virtual_path = "/bin", .real_path = "/bin", .prefix = true },
		{ .virtual_path = "/lib64", .real_path = "/lib64",
		    .prefix = true },
		{ .virtual_path = "/etc/one", .real_path = "/bin/sh" },
	};
	struct tk_boot_options o;
	struct tk_master *ma;
	struct tk_error err;
	struct guest g;
	void *elf;

	if (access(loader, R_OK) != 0)
		return;
	memset(&g, 0, sizeof g);
	memset(&o, 0, sizeof o);
	elf = read_file(loader, &o.elf_len);
	o.elf = elf;
	o.argv = argv;
	o.envp = envp;
	o.memory = 64 << 20;
	o.request_memory = o.input_size = 1 << 20;
	o.seconds = 60;
	o.ops = &guest_ops;
	o.priv = &g;
	o.paths = paths;
	o.n_paths = sizeof paths / sizeof paths[0];
	CHECK(tk_boot(&ma, &o, &err) == TK_EXITED);
	CHECK_MSG(strcmp(g.output, "42\n/etc\n") == 0, "%s%s", g.output,
	    err.text);
	CHECK_STR(err.text, "exit status 0");
	free(elf);
}

TESTS(
	T_KVM(regular_files),
	T_KVM(names),
	T_KVM(directories),
	T_KVM(descriptors),
	T_KVM(pipes),
	T_KVM(counters_and_timers),
	T_KVM(epoll),
	T_KVM(poll_and_select),
	T_KVM(socket_pairs),
	T_KVM(listening),
	T_KVM(mappings),
	T_KVM(generated_files),
	T_KVM(nothing_outside),
	T_KVM(read_only_below_writable),
	T_KVM(directories_above),
	T_KVM(what_runtimes_read),
	T_KVM(random_is_fresh),
	T_KVM(too_many),
	T_KVM(beyond_the_hosts_limit),
	T_KVM(poll_ends_in_time),
	T_KVM(epoll_lists_are_bounded),
	T_KVM(waiting),
	T_KVM(dynamic_loader)
)
