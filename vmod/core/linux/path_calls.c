/*-
 * SPDX-License-Identifier: BSD-2-Clause
 *
 * Calls that look at a name: stat(2), access(2), readlink(2), and where the
 * program is. What opens or changes a file is in open_calls.c.
 */

#include <errno.h>
#include <fcntl.h>
#include <linux/magic.h>
#include <stdio.h>
#include <sys/statfs.h>
#include <sys/syscall.h>
#include <sys/sysmacros.h>
#include <unistd.h>

#include "../object.h"
#include "linux.h"
#include "path.h"

#define NO_FOLLOW	AT_SYMLINK_NOFOLLOW

/* A number for what has none: FNV-1a. */
static uint64_t
inode_of(const char *path)
{
	uint64_t h = 0xcbf29ce484222325ULL;

	while (*path != '\0')
		h = (h ^ (uint8_t)*path++) * 0x100000001b3ULL;
	return (h >> 16 | 1);
}

static void
made_up(const struct tk_name *name, mode_t mode, struct stat *st)
{

	memset(st, 0, sizeof *st);
	st->st_dev = 1;
	st->st_ino = inode_of(name->path);
	st->st_nlink = S_ISDIR(mode) ? 2 : 1;
	st->st_mode = mode;
	st->st_blksize = 4096;
}

/* Where a made-up link leads; NULL when the name is none. */
static const char *
link_target(const struct tk_machine *m, const struct tk_name *name)
{

	if (name->kind == TK_NAME_HOST && name->allowed->symlink &&
	    strcmp(name->path, name->allowed->virtual_path) == 0)
		return (name->allowed->real_path);
	if (name->kind != TK_NAME_SYNTHETIC || name->synthetic->link == NULL)
		return (NULL);
	return (*name->synthetic->link != '\0' ? name->synthetic->link :
	    m->files.cwd);
}

static int64_t
stat_name(struct tk_machine *m, struct tk_name *name, bool follow,
    struct stat *st)
{
	const char *to = link_target(m, name);
	const struct tk_synthetic *s = name->synthetic;
	int64_t e = 0;
	int fd;

	if (to != NULL && !follow) {
		made_up(name, S_IFLNK | 0777, st);
		st->st_size = (off_t)strlen(to);
		return (0);
	}
	if (to != NULL && name->kind == TK_NAME_SYNTHETIC) {
		e = tk_name_of(m, m->files.cwd, to, name);
		if (e != 0)
			return (e);
		s = name->synthetic;
	}
	switch (name->kind) {
	case TK_NAME_HOST:
		fd = tk_host_find(m, "stat", name, follow, st);
		if (fd < 0)
			return (fd);
		(void)close(fd);
		return (0);
	case TK_NAME_DIRECTORY:
		made_up(name, S_IFDIR | 0555, st);
		return (0);
	case TK_NAME_SYNTHETIC:
		made_up(name, s->device != NULL ? s->device->mode :
		    s->make == NULL && s->text == NULL ? S_IFREG | 0755 :
		    S_IFREG | 0444, st);
		if (s->device != NULL)
			st->st_rdev = s->device->rdev;
		return (name->directory ? -ENOTDIR : 0);
	case TK_NAME_DESCRIPTOR:
		if (!follow) {
			made_up(name, S_IFLNK | 0700, st);
			return (0);
		}
		return (tk_file_stat(m, tk_file_at(m, name->fd), st));
	case TK_NAME_NONE:
		break;
	}
	return (tk_no_such_name(m, "stat", name));
}

/* What the fstatat() family looks at. */
static int64_t
stat_at(struct tk_machine *m, uint64_t dirfd, tk_gva path, uint64_t flags,
    struct stat *st)
{
	struct tk_name name;
	const struct tk_file *f;
	int64_t e;

	if (path == 0 && (flags & AT_EMPTY_PATH))
		e = -ENOENT;
	else
		e = tk_name_read(m, dirfd, path, !(flags & NO_FOLLOW), &name);
	if (e == -ENOENT && (flags & AT_EMPTY_PATH)) {
		if ((int)dirfd == AT_FDCWD) {
			e = tk_name_of(m, m->files.cwd, ".", &name);
			return (e != 0 ? e : stat_name(m, &name, true, st));
		}
		f = tk_file_at(m, dirfd);
		return (f == NULL ? -EBADF : tk_file_stat(m, f, st));
	}
	return (e != 0 ? e : stat_name(m, &name, !(flags & NO_FOLLOW), st));
}

static int64_t
give_stat(struct tk_machine *m, int64_t e, tk_gva to, const struct stat *st)
{

	if (e != 0)
		return (e);
	return (tk_write(m, to, st, sizeof *st) ? 0 : -EFAULT);
}

int64_t
tk_sys_newfstatat(struct tk_machine *m, const uint64_t a[6])
{
	struct stat st;

	if (a[3] & ~(uint64_t)(AT_EMPTY_PATH | NO_FOLLOW | AT_NO_AUTOMOUNT))
		return (-EINVAL);
	return (give_stat(m, stat_at(m, a[0], a[1], a[3], &st), a[2], &st));
}

int64_t
tk_sys_stat(struct tk_machine *m, const uint64_t a[6])
{
	struct stat st;

	return (give_stat(m, stat_at(m, (uint64_t)AT_FDCWD, a[0], 0, &st),
	    a[1], &st));
}

int64_t
tk_sys_lstat(struct tk_machine *m, const uint64_t a[6])
{
	struct stat st;

	return (give_stat(m, stat_at(m, (uint64_t)AT_FDCWD, a[0], NO_FOLLOW,
	    &st), a[1], &st));
}

int64_t
tk_sys_fstat(struct tk_machine *m, const uint64_t a[6])
{
	const struct tk_file *f = tk_file_at(m, a[0]);
	struct stat st;

	if (f == NULL)
		return (-EBADF);
	return (give_stat(m, tk_file_stat(m, f, &st), a[1], &st));
}

static struct statx_timestamp
timestamp(struct timespec ts)
{
	struct statx_timestamp t = { .tv_sec = ts.tv_sec,
	    .tv_nsec = (uint32_t)ts.tv_nsec };

	return (t);
}

int64_t
tk_sys_statx(struct tk_machine *m, const uint64_t a[6])
{
	struct statx x;
	struct stat st;
	int64_t e;

	if (a[2] & ~(uint64_t)(AT_EMPTY_PATH | NO_FOLLOW | AT_NO_AUTOMOUNT |
	    AT_STATX_FORCE_SYNC | AT_STATX_DONT_SYNC))
		return (-EINVAL);
	e = stat_at(m, a[0], a[1], a[2], &st);
	if (e != 0)
		return (e);
	memset(&x, 0, sizeof x);
	x.stx_mask = STATX_BASIC_STATS;
	x.stx_blksize = (uint32_t)st.st_blksize;
	x.stx_nlink = (uint32_t)st.st_nlink;
	x.stx_uid = st.st_uid;
	x.stx_gid = st.st_gid;
	x.stx_mode = (uint16_t)st.st_mode;
	x.stx_ino = st.st_ino;
	x.stx_size = (uint64_t)st.st_size;
	x.stx_blocks = (uint64_t)st.st_blocks;
	x.stx_atime = timestamp(st.st_atim);
	x.stx_ctime = timestamp(st.st_ctim);
	x.stx_mtime = timestamp(st.st_mtim);
	x.stx_rdev_major = major(st.st_rdev);
	x.stx_rdev_minor = minor(st.st_rdev);
	x.stx_dev_major = major(st.st_dev);
	x.stx_dev_minor = minor(st.st_dev);
	return (tk_write(m, a[4], &x, sizeof x) ? 0 : -EFAULT);
}

/*--------------------------------------------------------------------*/

static int64_t
access_at(struct tk_machine *m, uint64_t dirfd, tk_gva path, uint64_t mode,
    uint64_t flags)
{
	struct tk_name name;
	struct stat st;
	int64_t e;
	int fd;

	if (mode & ~(uint64_t)(R_OK | W_OK | X_OK))
		return (-EINVAL);
	e = tk_name_read(m, dirfd, path, !(flags & NO_FOLLOW), &name);
	if (e != 0)
		return (e);
	if (name.kind == TK_NAME_HOST) {
		fd = tk_host_find(m, "access", &name, !(flags & NO_FOLLOW),
		    &st);
		if (fd < 0)
			return (fd);
		/* What the host's own user could do decides. */
		if (syscall(SYS_faccessat2, fd, "", (int)mode, AT_EMPTY_PATH |
		    AT_EACCESS) != 0)
			e = -errno;
		else if ((mode & W_OK) && !name.allowed->writable)
			e = -EROFS;
		(void)close(fd);
		return (e);
	}
	if (name.kind == TK_NAME_NONE)
		return (tk_no_such_name(m, "access", &name));
	e = stat_name(m, &name, true, &st);
	if (e != 0)
		return (e);
	if ((mode & W_OK) && !S_ISCHR(st.st_mode))
		return (S_ISDIR(st.st_mode) ? -EROFS : -EACCES);
	return ((mode & X_OK) && !(st.st_mode & 0111) ? -EACCES : 0);
}

int64_t
tk_sys_access(struct tk_machine *m, const uint64_t a[6])
{

	return (access_at(m, (uint64_t)AT_FDCWD, a[0], a[1], 0));
}

int64_t
tk_sys_faccessat(struct tk_machine *m, const uint64_t a[6])
{

	return (access_at(m, a[0], a[1], a[2], 0));
}

int64_t
tk_sys_faccessat2(struct tk_machine *m, const uint64_t a[6])
{

	if (a[3] & ~(uint64_t)(AT_EACCESS | NO_FOLLOW))
		return (-EINVAL);
	return (access_at(m, a[0], a[1], a[2], a[3]));
}

static int64_t
readlink_at(struct tk_machine *m, uint64_t dirfd, tk_gva path, tk_gva to,
    uint64_t size)
{
	char text[TK_PATH_MAX];
	struct tk_name name;
	const struct tk_file *f;
	const char *target;
	struct stat st;
	ssize_t n;
	int64_t e;
	int fd;

	if ((int)size <= 0)
		return (-EINVAL);
	e = tk_name_read(m, dirfd, path, false, &name);
	if (e != 0)
		return (e);
	target = link_target(m, &name);
	if (target == NULL)
		switch (name.kind) {
		case TK_NAME_DESCRIPTOR:
			f = tk_file_at(m, name.fd);
			if (f->path != NULL)
				target = f->path;
			else if (f->type->name[0] == '/')
				target = f->type->name;
			else {
				(void)snprintf(text, sizeof text, "%s:[%u]",
				    f->type->name, 1000 + tk_file_index(
				    &m->files, f));
				target = text;
			}
			break;
		case TK_NAME_HOST:
			fd = tk_host_find(m, "readlink", &name, false, &st);
			if (fd < 0)
				return (fd);
			/* ENOENT is what it says of other files: man page. */
			n = readlinkat(fd, "", text, sizeof text - 1);
			e = n < 0 ? (errno == ENOENT ? -EINVAL : -errno) : 0;
			(void)close(fd);
			if (e != 0)
				return (e);
			text[n] = '\0';
			target = text;
			break;
		case TK_NAME_NONE:
			return (tk_no_such_name(m, "readlink", &name));
		default:
			return (-EINVAL);
		}
	n = (ssize_t)strlen(target);
	if ((uint64_t)n > size)
		n = (ssize_t)size;
	return (tk_write(m, to, target, (size_t)n) ? n : -EFAULT);
}

int64_t
tk_sys_readlink(struct tk_machine *m, const uint64_t a[6])
{

	return (readlink_at(m, (uint64_t)AT_FDCWD, a[0], a[1], a[2]));
}

int64_t
tk_sys_readlinkat(struct tk_machine *m, const uint64_t a[6])
{

	return (readlink_at(m, a[0], a[1], a[2], a[3]));
}

/*--------------------------------------------------------------------*/

int64_t
tk_sys_getcwd(struct tk_machine *m, const uint64_t a[6])
{
	size_t n = strlen(m->files.cwd) + 1;

	if (a[1] < n)
		return (-ERANGE);
	return (tk_write(m, a[0], m->files.cwd, n) ? (int64_t)n : -EFAULT);
}

static void
change_directory(struct tk_machine *m, const char *path)
{

	m->files.changed = true;
	memcpy(m->files.cwd, path, strlen(path) + 1);
}

int64_t
tk_sys_chdir(struct tk_machine *m, const uint64_t a[6])
{
	struct tk_name name;
	struct stat st;
	int64_t e;

	e = tk_name_read(m, (uint64_t)AT_FDCWD, a[0], true, &name);
	if (e == 0)
		e = stat_name(m, &name, true, &st);
	if (e != 0)
		return (e);
	if (!S_ISDIR(st.st_mode))
		return (-ENOTDIR);
	change_directory(m, name.path);
	return (0);
}

int64_t
tk_sys_fchdir(struct tk_machine *m, const uint64_t a[6])
{
	const struct tk_file *f = tk_file_at(m, a[0]);

	if (f == NULL)
		return (-EBADF);
	if (f->type != &tk_type_directory)
		return (-ENOTDIR);
	change_directory(m, f->path);
	return (0);
}

/* A plausible answer: what matters is that there is one. */
static int64_t
give_statfs(struct tk_machine *m, tk_gva to)
{
	struct statfs s;

	memset(&s, 0, sizeof s);
	s.f_type = TMPFS_MAGIC;
	s.f_bsize = s.f_frsize = 4096;
	s.f_blocks = s.f_bfree = s.f_bavail = 1 << 20;
	s.f_files = s.f_ffree = 1 << 20;
	s.f_namelen = 255;
	return (tk_write(m, to, &s, sizeof s) ? 0 : -EFAULT);
}

int64_t
tk_sys_statfs(struct tk_machine *m, const uint64_t a[6])
{
	struct stat st;
	int64_t e = stat_at(m, (uint64_t)AT_FDCWD, a[0], 0, &st);

	return (e != 0 ? e : give_statfs(m, a[1]));
}

int64_t
tk_sys_fstatfs(struct tk_machine *m, const uint64_t a[6])
{

	return (tk_file_at(m, a[0]) == NULL ? -EBADF : give_statfs(m, a[1]));
}
