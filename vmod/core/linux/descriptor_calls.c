/*-
 * SPDX-License-Identifier: BSD-2-Clause
 *
 * Calls on open descriptors that move no bytes.
 */

#include <errno.h>
#include <fcntl.h>
#include <linux/close_range.h>
#include <sys/file.h>
#include <sys/ioctl.h>
#include <unistd.h>

#include "../object.h"
#include "linux.h"
#include "socket.h"

int64_t
tk_sys_close(struct tk_machine *m, const uint64_t a[6])
{

	return (tk_fd_close(m, a[0]));
}

/*
 * EINTR when the call's time is over: for each file all epolls may be looked
 * through.
 */
int64_t
tk_sys_close_range(struct tk_machine *m, const uint64_t a[6])
{
	uint32_t fd = (uint32_t)a[0], last = (uint32_t)a[1];
	int64_t r, result = 0;

	if (fd > last || (a[2] & ~(uint64_t)(CLOSE_RANGE_CLOEXEC |
	    CLOSE_RANGE_UNSHARE)))
		return (-EINVAL);
	for (; fd <= last && fd < m->files.n_fds; fd++) {
		if (m->files.fd[fd].file == 0)
			continue;
		if (a[2] & CLOSE_RANGE_CLOEXEC) {
			m->files.changed = true;
			m->files.fd[fd].cloexec = 1;
			continue;
		}
		if (tk_seconds_left(m) <= 0)
			return (result != 0 ? result : -EINTR);
		r = tk_fd_close(m, fd);
		if (r == TK_CALL_DONE || r == TK_CALL_ENDED)
			result = r;
	}
	return (result);
}

int64_t
tk_sys_dup(struct tk_machine *m, const uint64_t a[6])
{
	struct tk_file *f = tk_file_at(m, a[0]);

	return (f == NULL ? -EBADF : tk_fd_new(m, f, 0, false));
}

static int64_t
dup_to(struct tk_machine *m, uint64_t from, uint64_t to, bool cloexec)
{
	struct tk_file *f = tk_file_at(m, from);

	if (f == NULL || (uint32_t)to >= TK_MAX_FDS)
		return (-EBADF);
	return (tk_fd_replace(m, f, (uint32_t)to, cloexec));
}

int64_t
tk_sys_dup2(struct tk_machine *m, const uint64_t a[6])
{

	if ((uint32_t)a[0] == (uint32_t)a[1])
		return (tk_file_at(m, a[0]) == NULL ? -EBADF :
		    (int64_t)(uint32_t)a[0]);
	return (dup_to(m, a[0], a[1], false));
}

int64_t
tk_sys_dup3(struct tk_machine *m, const uint64_t a[6])
{

	if ((uint32_t)a[0] == (uint32_t)a[1] ||
	    (a[2] & ~(uint64_t)O_CLOEXEC))
		return (-EINVAL);
	return (dup_to(m, a[0], a[1], (a[2] & O_CLOEXEC) != 0));
}

/*
 * Locks. What the program opened in this request and may write is locked on
 * the host, against other requests; the rest belongs to one process that is
 * alone, whose locks never meet any other. The host's lock goes with the
 * descriptor at the reset.
 */
static bool
locks_on_host(const struct tk_file *f)
{

	return (f->host_fd >= 0 && f->writable && !f->of_master &&
	    f->type == &tk_type_regular);
}

static int64_t
lock(struct tk_machine *m, struct tk_file *f, uint64_t cmd, tk_gva gva)
{
	struct flock l;
	bool get = cmd == F_GETLK || cmd == F_OFD_GETLK;

	if (!tk_read(m, &l, gva, sizeof l))
		return (-EFAULT);
	if (l.l_type != F_RDLCK && l.l_type != F_WRLCK && l.l_type != F_UNLCK)
		return (-EINVAL);
	/* Relative to the guest's offset, which the host does not know. */
	if (l.l_whence == SEEK_CUR) {
		if (__builtin_add_overflow(l.l_start, (off_t)f->offset,
		    &l.l_start))
			return (-EOVERFLOW);
		l.l_whence = SEEK_SET;
	}
	l.l_pid = 0;
	if (!locks_on_host(f)) {
		if (!get)
			return (0);
		l.l_type = F_UNLCK;
	} else if (fcntl(f->host_fd, get ? F_OFD_GETLK : F_OFD_SETLK,
	    &l) != 0) {
		/* Never waits: who holds it may wait for us. */
		if ((cmd == F_SETLKW || cmd == F_OFD_SETLKW) &&
		    (errno == EAGAIN || errno == EACCES))
			return (-EDEADLK);
		return (-errno);
	}
	return (!get || tk_write(m, gva, &l, sizeof l) ? 0 : -EFAULT);
}

int64_t
tk_sys_flock(struct tk_machine *m, const uint64_t a[6])
{
	struct tk_file *f = tk_file_at(m, a[0]);
	int op = (int)a[1] & ~LOCK_NB;

	if (f == NULL)
		return (-EBADF);
	if (op != LOCK_SH && op != LOCK_EX && op != LOCK_UN)
		return (-EINVAL);
	if (!locks_on_host(f))
		return (0);
	if (flock(f->host_fd, op | LOCK_NB) == 0)
		return (0);
	return (errno == EWOULDBLOCK && !(a[1] & LOCK_NB) ? -ENOLCK : -errno);
}

int64_t
tk_sys_fcntl(struct tk_machine *m, const uint64_t a[6])
{
	const uint32_t settable = O_APPEND | O_NONBLOCK;
	struct tk_file *f = tk_file_at(m, a[0]);
	struct tk_fd *d;

	if (f == NULL)
		return (-EBADF);
	d = &m->files.fd[(uint32_t)a[0]];
	switch (a[1]) {
	case F_DUPFD:
	case F_DUPFD_CLOEXEC:
		if (a[2] >= TK_MAX_FDS)
			return (-EINVAL);
		return (tk_fd_new(m, f, (unsigned)a[2],
		    a[1] == F_DUPFD_CLOEXEC));
	case F_GETFD:
		return (d->cloexec ? FD_CLOEXEC : 0);
	case F_SETFD:
		m->files.changed = true;
		d->cloexec = (a[2] & FD_CLOEXEC) != 0;
		return (0);
	case F_GETFL:
		/* O_LARGEFILE, as the 64-bit kernel shows it. */
		return (f->flags | 0100000);
	case F_SETFL:
		tk_file_touch(&m->files, f);
		f->flags = (f->flags & ~settable) |
		    ((uint32_t)a[2] & settable);
		return (0);
	case F_GETLK:
	case F_SETLK:
	case F_SETLKW:
	case F_OFD_GETLK:
	case F_OFD_SETLK:
	case F_OFD_SETLKW:
		return (lock(m, f, a[1], a[2]));
	case F_GETPIPE_SZ:
	case F_SETPIPE_SZ:
		return (f->type == &tk_type_pipe_in ||
		    f->type == &tk_type_pipe_out ? TK_STREAM_ROOM : -EBADF);
	case F_SETOWN:
	case F_GETOWN:
		return (0);
	case F_ADD_SEALS:
	case F_GET_SEALS:
		return (f->type == &tk_type_memory && f->writable ? 0 :
		    -EINVAL);
	default:
		return (-EINVAL);
	}
}

/* Bytes that could be read now; negative: the file knows of none. */
static int64_t
readable_bytes(const struct tk_machine *m, const struct tk_file *f)
{
	struct stat st;

	if (f->type == &tk_type_pipe_in) {
		const struct tk_stream *s = tk_stream_nth(&m->files,
		    f->stream);

		return ((int64_t)(s->data.len - s->start));
	}
	if (f->type == &tk_type_socket)
		return (tk_socket_readable(m, f));
	if ((f->type == &tk_type_regular || f->type == &tk_type_memory) &&
	    tk_file_stat(m, f, &st) == 0)
		return ((uint64_t)st.st_size > f->offset ?
		    st.st_size - (int64_t)f->offset : 0);
	return (-1);
}

int64_t
tk_sys_ioctl(struct tk_machine *m, const uint64_t a[6])
{
	struct tk_file *f = tk_file_at(m, a[0]);
	int64_t n;
	int value;

	if (f == NULL || (f->flags & O_PATH))
		return (-EBADF);
	switch ((uint32_t)a[1]) {
	case FIOCLEX:
	case FIONCLEX:
		m->files.changed = true;
		m->files.fd[(uint32_t)a[0]].cloexec = a[1] == FIOCLEX;
		return (0);
	case FIONBIO:
		if (!tk_read(m, &value, a[2], sizeof value))
			return (-EFAULT);
		tk_file_touch(&m->files, f);
		f->flags = value != 0 ? f->flags | O_NONBLOCK :
		    f->flags & ~(uint32_t)O_NONBLOCK;
		return (0);
	case FIONREAD:
		n = readable_bytes(m, f);
		if (n < 0)
			return (-ENOTTY);
		value = n > INT32_MAX ? INT32_MAX : (int)n;
		return (tk_write(m, a[2], &value, sizeof value) ? 0 : -EFAULT);
	default:
		return (-ENOTTY);
	}
}

int64_t
tk_sys_lseek(struct tk_machine *m, const uint64_t a[6])
{
	struct tk_file *f = tk_file_at(m, a[0]);
	int64_t at = (int64_t)a[1], base = 0;
	struct stat st;

	if (f == NULL || (f->flags & O_PATH))
		return (-EBADF);
	/* What is no kind of file at all has no place either, but no error. */
	if (!f->type->seekable)
		return (f->type->mode & S_IFMT ? -ESPIPE : 0);
	if (S_ISCHR(f->type->mode))
		return (0);
	switch (a[2]) {
	case SEEK_SET:
		break;
	case SEEK_CUR:
		base = (int64_t)f->offset;
		break;
	case SEEK_END:
		if (tk_file_stat(m, f, &st) != 0)
			return (-EINVAL);
		base = f->type == &tk_type_directory ? (int64_t)f->data.len :
		    st.st_size;
		break;
	case SEEK_DATA:
	case SEEK_HOLE:
		if (f->type != &tk_type_regular)
			return (-EINVAL);
		/* The host's own offset is nobody's. */
		at = lseek(f->host_fd, (off_t)a[1], (int)a[2]);
		if (at < 0)
			return (-errno);
		break;
	default:
		return (-EINVAL);
	}
	if (__builtin_add_overflow(at, base, &at))
		return (-EOVERFLOW);
	if (at < 0)
		return (-EINVAL);
	tk_file_touch(&m->files, f);
	f->offset = (uint64_t)at;
	return (at);
}

int64_t
tk_sys_fsync(struct tk_machine *m, const uint64_t a[6])
{
	const struct tk_file *f = tk_file_at(m, a[0]);

	if (f == NULL)
		return (-EBADF);
	if (f->type != &tk_type_regular && f->type != &tk_type_directory)
		return (f->type == &tk_type_memory ? 0 : -EINVAL);
	if (f->host_fd < 0 || !f->writable)
		return (0);
	return (fdatasync(f->host_fd) == 0 ? 0 : -errno);
}

int64_t
tk_sys_ftruncate(struct tk_machine *m, const uint64_t a[6])
{
	struct tk_file *f = tk_file_at(m, a[0]);

	if (f == NULL)
		return (-EBADF);
	if (a[1] > INT64_MAX || (f->flags & O_ACCMODE) == O_RDONLY)
		return (-EINVAL);
	if (f->type == &tk_type_regular)
		return (tk_regular_truncate(m, f->host_fd, f->given, a[1]));
	if (f->type != &tk_type_memory)
		return (-EINVAL);
	if (!tk_bytes_room(&m->files, &f->data, a[1]))
		return (-ENOSPC);
	tk_file_touch(&m->files, f);
	if (a[1] > f->data.len)
		memset(f->data.data + f->data.len, 0, a[1] - f->data.len);
	f->data.len = a[1];
	return (0);
}

int64_t
tk_sys_fadvise64(struct tk_machine *m, const uint64_t a[6])
{
	const struct tk_file *f = tk_file_at(m, a[0]);

	if (f == NULL)
		return (-EBADF);
	return (f->type->seekable ? 0 : -ESPIPE);
}

/* The libc then writes the bytes itself. */
int64_t
tk_sys_fallocate(struct tk_machine *m, const uint64_t a[6])
{

	return (tk_file_at(m, a[0]) == NULL ? -EBADF : -EOPNOTSUPP);
}

int64_t
tk_sys_umask(struct tk_machine *m, const uint64_t a[6])
{
	uint32_t old = m->files.umask;

	m->files.changed = true;
	m->files.umask = (uint32_t)a[0] & 0777;
	return (old);
}
