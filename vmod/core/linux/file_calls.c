/*-
 * SPDX-License-Identifier: BSD-2-Clause
 *
 * Files: standard input is empty, standard output and error go to the log.
 * There are no others.
 */

#include <errno.h>
#include <fcntl.h>
#include <poll.h>
#include <sys/stat.h>
#include <sys/uio.h>
#include <time.h>

#include "../object.h"
#include "linux.h"

/* A longer write is a short write, so that logging takes bounded time. */
#define MAX_WRITE	65536
#define MAX_IOV		1024
#define MAX_PATH	4096

static bool
is_stream(uint64_t fd)
{

	return ((uint32_t)fd <= 2);
}

static int64_t
output(struct tk_machine *m, int fd, tk_gva gva, uint64_t len)
{
	char buf[512];
	uint64_t n, done = 0;

	if (len > MAX_WRITE)
		len = MAX_WRITE;
	while (done < len) {
		n = len - done < sizeof buf ? len - done : sizeof buf;
		if (!tk_read(m, buf, gva + done, n))
			return (done > 0 ? (int64_t)done : -EFAULT);
		if (m->ops->output != NULL)
			m->ops->output(fd, buf, n, m->priv);
		done += n;
	}
	return ((int64_t)done);
}

int64_t
tk_sys_write(struct tk_machine *m, const uint64_t a[6])
{

	if (!is_stream(a[0]) || a[0] == 0)
		return (-EBADF);
	return (output(m, (int)a[0], a[1], a[2]));
}

int64_t
tk_sys_writev(struct tk_machine *m, const uint64_t a[6])
{
	struct { uint64_t base, len; } v;
	int64_t r, done = 0;
	uint64_t i;

	if (!is_stream(a[0]) || a[0] == 0)
		return (-EBADF);
	if (a[2] > MAX_IOV)
		return (-EINVAL);
	for (i = 0; i < a[2] && done < MAX_WRITE; i++) {
		if (!tk_read(m, &v, a[1] + i * sizeof v, sizeof v))
			return (done > 0 ? done : -EFAULT);
		r = output(m, (int)a[0], v.base, v.len);
		if (r < 0)
			return (done > 0 ? done : r);
		done += r;
		if ((uint64_t)r < v.len)
			break;
	}
	return (done);
}

int64_t
tk_sys_read(struct tk_machine *m, const uint64_t a[6])
{

	(void)m;
	return (a[0] == 0 ? 0 : -EBADF);
}

int64_t
tk_sys_readv(struct tk_machine *m, const uint64_t a[6])
{

	return (tk_sys_read(m, a));
}

int64_t
tk_sys_close(struct tk_machine *m, const uint64_t a[6])
{

	(void)m;
	return (is_stream(a[0]) ? 0 : -EBADF);
}

int64_t
tk_sys_dup(struct tk_machine *m, const uint64_t a[6])
{

	(void)m;
	return (is_stream(a[0]) ? -EMFILE : -EBADF);
}

static int64_t
stat_stream(struct tk_machine *m, tk_gva to)
{
	struct stat st;

	memset(&st, 0, sizeof st);
	st.st_mode = S_IFCHR | 0620;
	st.st_nlink = 1;
	st.st_blksize = 1024;
	return (tk_write(m, to, &st, sizeof st) ? 0 : -EFAULT);
}

int64_t
tk_sys_fstat(struct tk_machine *m, const uint64_t a[6])
{

	return (is_stream(a[0]) ? stat_stream(m, a[1]) : -EBADF);
}

/* 0, or why a path is none: its text is looked at, as Linux would. */
static int64_t
path_error(struct tk_machine *m, tk_gva path, bool *empty)
{
	char c;
	unsigned i;

	for (i = 0; i < MAX_PATH; i++) {
		if (!tk_read(m, &c, path + i, 1))
			return (-EFAULT);
		if (c == '\0') {
			*empty = i == 0;
			return (0);
		}
	}
	return (-ENAMETOOLONG);
}

int64_t
tk_sys_newfstatat(struct tk_machine *m, const uint64_t a[6])
{
	bool empty = false;
	int64_t e;

	e = path_error(m, a[1], &empty);
	if (e != 0)
		return (e);
	if (empty && (a[3] & AT_EMPTY_PATH))
		return (is_stream(a[0]) ? stat_stream(m, a[2]) : -EBADF);
	return (-ENOENT);
}

int64_t
tk_sys_no_file(struct tk_machine *m, const uint64_t a[6])
{
	bool empty = false;
	int64_t e;

	e = path_error(m, a[0], &empty);
	return (e != 0 ? e : -ENOENT);
}

int64_t
tk_sys_no_file_at(struct tk_machine *m, const uint64_t a[6])
{

	return (tk_sys_no_file(m, a + 1));
}

int64_t
tk_sys_lseek(struct tk_machine *m, const uint64_t a[6])
{

	(void)m;
	return (is_stream(a[0]) ? -ESPIPE : -EBADF);
}

int64_t
tk_sys_ioctl(struct tk_machine *m, const uint64_t a[6])
{

	(void)m;
	return (is_stream(a[0]) ? -ENOTTY : -EBADF);
}

int64_t
tk_sys_fcntl(struct tk_machine *m, const uint64_t a[6])
{

	(void)m;
	if (!is_stream(a[0]))
		return (-EBADF);
	switch (a[1]) {
	case F_GETFD:
	case F_SETFD:
	case F_SETFL:
		return (0);
	case F_GETFL:
		return (O_RDWR);
	default:
		return (-EINVAL);
	}
}

int64_t
tk_sys_getcwd(struct tk_machine *m, const uint64_t a[6])
{

	if (a[1] < 2)
		return (-ERANGE);
	return (tk_write(m, a[0], "/", 2) ? 2 : -EFAULT);
}

/* Nothing ever becomes ready: a poll is a sleep, or asks for bad fds. */
int64_t
tk_sys_poll(struct tk_machine *m, const uint64_t a[6])
{
	struct pollfd p;
	int64_t bad = 0;
	uint64_t i;

	if (a[1] > MAX_IOV)
		return (-EINVAL);
	for (i = 0; i < a[1]; i++) {
		if (!tk_read(m, &p, a[0] + i * sizeof p, sizeof p))
			return (-EFAULT);
		p.revents = p.fd < 0 || is_stream((uint64_t)p.fd) ? 0 :
		    POLLNVAL;
		bad += p.revents != 0;
		if (!tk_write(m, a[0] + i * sizeof p, &p, sizeof p))
			return (-EFAULT);
	}
	if (bad != 0 || (int)a[2] == 0)
		return (bad);
	return (tk_block(m, (int)a[2] < 0 ? UINT64_MAX :
	    (uint64_t)(int)a[2] * 1000000));
}

bool
tk_files_listening(const struct tk_machine *m)
{

	(void)m;
	return (false);
}

int
tk_files_connect(struct tk_machine *m, struct tk_connection *c)
{

	(void)m;
	(void)c;
	return (ECONNREFUSED);
}
