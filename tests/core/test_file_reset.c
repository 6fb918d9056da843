/*-
 * SPDX-License-Identifier: BSD-2-Clause
 *
 * Reset as a property of descriptors: after any calls the fork's table equals
 * the master's, and the host's process has no descriptor more.
 */

#include <dirent.h>
#include <errno.h>
#include <fcntl.h>
#include <sys/epoll.h>
#include <sys/mman.h>
#include <sys/socket.h>
#include <sys/syscall.h>
#include <unistd.h>

#include "file_vm.h"
#include "linux/socket.h"

static struct file_vm vm;

static unsigned
host_descriptors(void)
{
	DIR *d = opendir("/proc/self/fd");
	unsigned n = 0;

	CHECK(d != NULL);
	while (readdir(d) != NULL)
		n++;
	closedir(d);
	return (n);
}

static void
same_bytes(const struct tk_bytes *a, const struct tk_bytes *b, unsigned i)
{

	CHECK_MSG(a->len == b->len && (a->len == 0 ||
	    memcmp(a->data, b->data, a->len) == 0), "data of %u: %zu, %zu", i,
	    a->len, b->len);
}

static void
check_same(void)
{
	const struct tk_files *a = &vm.g.master->files, *b = &vm.m->files;
	struct tk_file x, y;
	struct tk_stream s, t;
	unsigned i;

	CHECK(!tk_broken(vm.m));
	CHECK(a->n_fds == b->n_fds && a->n_files == b->n_files &&
	    a->n_streams == b->n_streams);
	CHECK(memcmp(a->fd, b->fd, sizeof a->fd) == 0);
	CHECK(strcmp(a->cwd, b->cwd) == 0 && a->umask == b->umask);
	CHECK(b->host_fds == 0 && b->n_incoming == 0 && !b->changed);
	CHECK(a->last_port == b->last_port);
	for (i = 0; i < a->n_files; i++) {
		x = *tk_file_nth(a, i);
		y = *tk_file_nth(b, i);
		same_bytes(&x.data, &y.data, i);
		x.data = y.data;
		CHECK_MSG(x.type == NULL || memcmp(&x, &y, sizeof x) == 0,
		    "file %u differs", i);
		CHECK(x.type == y.type && !y.touched);
	}
	for (i = 0; i < a->n_streams; i++) {
		s = *tk_stream_nth(a, (uint16_t)(i + 1));
		t = *tk_stream_nth(b, (uint16_t)(i + 1));
		same_bytes(&s.data, &t.data, i);
		s.data = t.data;
		CHECK(memcmp(&s, &t, sizeof s) == 0);
	}
	/* Nothing is left in entries that nobody uses. */
	for (; i < TK_MAX_FDS; i++)
		if (b->stream[i / TK_FILE_CHUNK] != NULL) {
			t = *tk_stream_nth(b, (uint16_t)(i + 1));
			CHECK(!t.used && t.data.data == NULL);
		}
	for (i = a->n_files; i < TK_MAX_FDS; i++)
		if (b->file[i / TK_FILE_CHUNK] != NULL) {
			y = *tk_file_nth(b, i);
			CHECK(y.type == NULL && y.data.data == NULL &&
			    y.path == NULL);
		}
}

/* What the master had opened is found as it was, each time. */
static void
frozen_state(void)
{
	char text[64];
	unsigned i;

	file_vm_init(&vm, true);
	for (i = 0; i < 5; i++) {
		tk_gva b = file_vm_buffer(&vm);

		CHECK(SYS(&vm, read, FILE_BOOT_HELLO, b, 64) == 10);
		CHECK(tk_read(vm.m, text, b, 10));
		CHECK(memcmp(text, "lo, world\n", 10) == 0);
		CHECK(SYS(&vm, read, FILE_BOOT_PIPE, b, 64) == 6);
		CHECK(tk_read(vm.m, text, b, 6) &&
		    memcmp(text, "frozen", 6) == 0);
		CHECK(SYS(&vm, write, FILE_BOOT_PIPE + 1, b, 64) == 64);
		CHECK(SYS(&vm, read, FILE_BOOT_EVENT, b, 8) == 8);
		CHECK(tk_read(vm.m, text, b, 8) && text[0] == 5);
		CHECK(SYS(&vm, read, FILE_BOOT_EVENT, b, 8) == -EAGAIN);
		CHECK(SYS(&vm, read, FILE_BOOT_PAIR + 1, b, 64) == 6);
		CHECK(SYS(&vm, getdents64, FILE_BOOT_DIRECTORY, b, 512) ==
		    4 * 24);
		CHECK(SYS(&vm, pread64, FILE_BOOT_MEMORY, b, 64) == 6);
		CHECK(SYS(&vm, ftruncate, FILE_BOOT_MEMORY, 9999, 0) == 0);
		CHECK(SYS(&vm, read, FILE_BOOT_STATUS, b, 64) == 64);
		CHECK(file_vm_call(&vm, SYS_epoll_wait, FILE_BOOT_EPOLL, b, 8,
		    0, 0) == 1);
		CHECK(file_vm_call(&vm, SYS_epoll_wait, FILE_BOOT_EPOLL, b, 8,
		    0, 0) == 0);
		CHECK(SYS(&vm, chdir, file_vm_text(&vm, 0, "/data/sub"), 0, 0)
		    == 0);
		CHECK(SYS(&vm, write, FILE_BOOT_LOG, file_vm_text(&vm, 0,
		    "line\n"), 5) == 5);
		/* Closed, and something else in its place. */
		CHECK(SYS(&vm, close, FILE_BOOT_HELLO, 0, 0) == 0);
		CHECK(SYS(&vm, open, file_vm_text(&vm, 0, "a"), O_RDONLY, 0) ==
		    FILE_BOOT_HELLO);
		CHECK(SYS(&vm, close, FILE_BOOT_PIPE, 0, 0) == 0);
		CHECK(SYS(&vm, pipe2, b, 0, 0) == 0);
		CHECK(SYS(&vm, close_range, 3, 1023, 0) == 0);
		(void)tk_reset(vm.m);
		check_same();
	}
	/* The file itself is the host's: appended by each. */
	CHECK(SYS(&vm, pread64, FILE_BOOT_LOG, file_vm_buffer(&vm), 4096) ==
	    25);
	file_vm_fini(&vm);
}

/*
 * A process of its own may have opened a file by the same name; here two forks
 * share one host descriptor, each with its own place in it.
 */
static void
forks_have_own_offsets(void)
{
	struct tk_machine *first, *second;
	struct tk_error err;
	char c;
	unsigned i;

	file_vm_init(&vm, true);
	first = vm.m;
	CHECK(tk_fork(vm.g.master, &second, &vm.g, &err) == 0);
	for (i = 0; i < 8; i++) {
		vm.m = i & 1 ? second : first;
		CHECK(SYS(&vm, read, FILE_BOOT_HELLO, file_vm_buffer(&vm), 1)
		    == 1);
		CHECK(tk_read(vm.m, &c, file_vm_buffer(&vm), 1));
		CHECK(c == "lo, world"[i / 2]);
	}
	tk_fork_free(&second);
	vm.m = first;
	file_vm_fini(&vm);
}

static enum tk_verdict
ignore_output(void *priv, const uint8_t *data, size_t len)
{

	(void)priv;
	(void)data;
	(void)len;
	return (TK_RESUME);
}

static struct tk_connection connection = { .in = (const uint8_t *)"request",
    .in_len = 7, .output = ignore_output };

/* One call with arguments that often mean something. */
static void
any_call(uint64_t *seed)
{
	static const long calls[] = {
		SYS_read, SYS_write, SYS_open, SYS_open, SYS_open, SYS_close,
		SYS_close, SYS_fstat, SYS_lseek, SYS_pread64, SYS_pwrite64,
		SYS_readv, SYS_writev, SYS_pipe2, SYS_pipe2, SYS_dup, SYS_dup2,
		SYS_dup3, SYS_fcntl, SYS_ioctl, SYS_ftruncate, SYS_getdents64,
		SYS_chdir, SYS_fchdir, SYS_umask, SYS_eventfd2, SYS_eventfd2,
		SYS_timerfd_create, SYS_timerfd_settime, SYS_epoll_create1,
		SYS_epoll_ctl, SYS_epoll_ctl, SYS_epoll_ctl, SYS_epoll_wait,
		SYS_poll, SYS_socket, SYS_socketpair, SYS_socketpair, SYS_bind,
		SYS_listen, SYS_accept4, SYS_accept4, SYS_connect,
		SYS_shutdown, SYS_recvfrom, SYS_sendto, SYS_setsockopt,
		SYS_memfd_create, SYS_sendfile, SYS_close_range, SYS_select,
		SYS_readlink, SYS_stat, SYS_mkdir, SYS_unlink, SYS_rename,
		SYS_flock, SYS_getsockname, SYS_recvmsg, SYS_statx,
		SYS_preadv, SYS_pwritev, SYS_chmod, SYS_mmap
	};
	static const char *const names[] = { "hello", "sub", "sub/a", "many",
	    "new", "/proc/self/maps", "/dev/zero", "/dev/urandom", ".", "..",
	    "/etc", "link", "made", "/proc/self/fd", "/dev/stdout", "pages" };
	uint64_t arg[5], r;
	struct tk_error err;
	long n = calls[test_random(seed) % (sizeof calls / sizeof calls[0])];
	unsigned i;

	for (i = 0; i < 16; i++)
		(void)file_vm_text(&vm, i, names[i]);
	for (i = 0; i < 5; i++) {
		r = test_random(seed);
		switch (r >> 8 & 7) {
		case 0:
		case 1:
		case 2:
			arg[i] = r >> 16 & 31;
			break;
		case 3:
			arg[i] = vm.g.at[FILE_AT_AREA] + (r >> 16 & 15) * 2048;
			break;
		case 4:
			arg[i] = file_vm_buffer(&vm) + (r >> 16 & 0xfff);
			break;
		case 5:
			arg[i] = r >> 16 & 0xffff;
			break;
		case 6:
			arg[i] = 1ULL << (r >> 16 & 63);
			break;
		default:
			arg[i] = r >> 16 & 1 ? UINT64_MAX : r;
		}
	}
	if (n == SYS_open || n == SYS_stat || n == SYS_chdir ||
	    n == SYS_readlink || n == SYS_mkdir || n == SYS_unlink ||
	    n == SYS_memfd_create)
		arg[0] = vm.g.at[FILE_AT_AREA] + (arg[0] & 15) * 2048;
	/* The sources stay what they are. */
	if ((n == SYS_unlink || n == SYS_rename) && arg[0] & 2048)
		return;
	if (n == SYS_open && (test_random(seed) & 3))
		arg[1] &= O_CREAT | O_RDWR | O_DIRECTORY | O_CLOEXEC;
	if (n == SYS_epoll_wait)
		arg[3] &= 1;
	if (n == SYS_socket || n == SYS_socketpair) {
		arg[0] = n == SYS_socket ? AF_INET : AF_UNIX;
		arg[1] = SOCK_STREAM | SOCK_NONBLOCK;
		arg[2] = 0;
		arg[3] = file_vm_buffer(&vm);
	}
	/* Not over the test's own names. */
	if (n == SYS_mmap)
		arg[3] &= MAP_PRIVATE | MAP_SHARED;
	if (n == SYS_pipe2)
		arg[1] = O_NONBLOCK;
	if (n == SYS_eventfd2 || n == SYS_timerfd_create)
		arg[1] = O_NONBLOCK;
	if (n == SYS_poll || n == SYS_select)
		arg[2] = 0;
	{
		struct tk_call call = { .function = vm.g.at[FILE_AT_CALL],
		    .args = { (uint64_t)n, arg[0], arg[1], arg[2], arg[3],
		    arg[4] }, .seconds = 0.01 };

		(void)tk_call(vm.m, &call, &err);
	}
}

static void
sequences(unsigned rounds, uint64_t seed)
{
	unsigned i, n, before;
	struct tk_error err;

	file_vm_init(&vm, true);
	before = host_descriptors();
	for (i = 0; i < rounds; i++) {
		for (n = (unsigned)(test_random(&seed) % 40); n > 0; n--) {
			any_call(&seed);
			if (test_random(&seed) % 16 == 0)
				(void)tk_files_connect(vm.m, &connection);
			if (tk_broken(vm.m))
				break;
		}
		(void)tk_reset(vm.m);
		if (tk_broken(vm.m)) {
			tk_fork_free(&vm.m);
			CHECK(tk_fork(vm.g.master, &vm.m, &vm.g, &err) == 0);
		}
		check_same();
	}
	CHECK_MSG(host_descriptors() == before, "%u descriptors, not %u",
	    host_descriptors(), before);
	file_vm_fini(&vm);
}

static void
random_calls(void)
{

	sequences(400, 0x6a09e667f3bcc909ULL);
}

static void
random_calls_long(void)
{
	const char *s = getenv("TK_TEST_SEED");

	sequences(20000, s != NULL ? strtoull(s, NULL, 0) | 1 :
	    0xbb67ae8584caa73bULL);
}

/* A request that leaves everything open, many times. */
static void
leaky_requests(unsigned n)
{
	unsigned i, before = 0;
	size_t buffered = 0;
	tk_gva hello;

	file_vm_init(&vm, true);
	hello = file_vm_text(&vm, 0, "hello");
	for (i = 0; i < n; i++) {
		hello = file_vm_text(&vm, 0, "hello");
		CHECK(SYS(&vm, open, hello, O_RDONLY, 0) == FILE_BOOT_NEXT);
		CHECK(SYS(&vm, read, FILE_BOOT_PIPE, file_vm_buffer(&vm), 64) ==
		    6);
		switch (i % 4) {
		case 0:
			CHECK(SYS(&vm, pipe2, file_vm_buffer(&vm), 0, 0) == 0);
			CHECK(SYS(&vm, write, FILE_BOOT_NEXT + 2, hello, 5) ==
			    5);
			break;
		case 1:
			CHECK(SYS(&vm, getdents64, FILE_BOOT_DIRECTORY,
			    file_vm_buffer(&vm), 512) == 96);
			break;
		case 2:
			CHECK(SYS(&vm, close, FILE_BOOT_HELLO, 0, 0) == 0);
			break;
		default:
			CHECK(tk_files_connect(vm.m, &connection) == 0);
			CHECK(SYS(&vm, accept4, FILE_BOOT_LISTEN, 0, 0) ==
			    FILE_BOOT_NEXT + 1);
		}
		(void)tk_reset(vm.m);
		if (i == 99) {
			before = host_descriptors();
			buffered = vm.m->files.buffered;
		}
	}
	check_same();
	CHECK(host_descriptors() == before);
	CHECK(vm.m->files.buffered == buffered);
	file_vm_fini(&vm);
}

static void
nothing_grows(void)
{

	leaky_requests(10000);
}

static void
nothing_grows_long(void)
{

	leaky_requests(100000);
}

/* Masters and forks come and go with all that they had open. */
static void
nothing_stays_open(void)
{
	unsigned i, before = 0;

	for (i = 0; i < 8; i++) {
		file_vm_init(&vm, true);
		CHECK(SYS(&vm, open, file_vm_text(&vm, 0, "hello"), O_RDONLY, 0)
		    == FILE_BOOT_NEXT);
		file_vm_fini(&vm);
		/* Some are the host's own, and the pool of machines'. */
		if (i == 3)
			before = host_descriptors();
	}
	CHECK_MSG(host_descriptors() == before, "%u, not %u",
	    host_descriptors(), before);
}

static void
holds(struct tk_files *fs, unsigned file, size_t len)
{
	struct tk_file *f = tk_file_nth(fs, file);

	CHECK(tk_bytes_room(fs, &f->data, len));
	memset(f->data.data, 0x33, len);
	f->data.len = len;
}

/*
 * A master whose files hold almost all that they may has forks: buffers do not
 * grow there as they grew here, and in another order.
 */
static void
full_masters_have_forks(void)
{
	struct tk_machine *other;
	struct tk_files *fs;
	struct tk_error err;
	unsigned i;

	file_vm_init(&vm, true);
	tk_fork_free(&vm.m);
	fs = &vm.g.master->files;
	holds(fs, 2, 1 << 20);
	holds(fs, 1, 9 << 20);
	holds(fs, 0, 5 << 20);
	CHECK(fs->buffered > 15 << 20);
	CHECK_MSG(tk_fork(vm.g.master, &vm.m, &vm.g, &err) == 0, "%s",
	    err.text);
	CHECK_MSG(tk_fork(vm.g.master, &other, &vm.g, &err) == 0, "%s",
	    err.text);
	tk_fork_free(&other);
	check_same();
	for (i = 0; i < 3; i++) {
		CHECK(SYS(&vm, dup2, FILE_BOOT_HELLO, i, 0) == i);
		CHECK(SYS(&vm, ftruncate, FILE_BOOT_MEMORY, 1 << 20, 0) == 0);
		(void)tk_reset(vm.m);
		check_same();
	}
	file_vm_fini(&vm);
}

TESTS(
	T_KVM(frozen_state),
	T_KVM(forks_have_own_offsets),
	T_KVM(full_masters_have_forks),
	T_KVM(random_calls),
	T_LONG(random_calls_long),
	T_KVM(nothing_grows),
	T_LONG(nothing_grows_long),
	T_KVM(nothing_stays_open)
)
