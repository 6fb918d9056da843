/*-
 * SPDX-License-Identifier: BSD-2-Clause
 *
 * Calls that open, make, remove and rename.
 */

#include <errno.h>
#include <fcntl.h>
#include <stdio.h>
#include <sys/mman.h>
#include <sys/stat.h>
#include <sys/syscall.h>
#include <unistd.h>

#include "../object.h"
#include "linux.h"
#include "path.h"

/* Flags that a file keeps, and those that openat2() is given. */
#define KEPT	(O_ACCMODE | O_APPEND | O_NONBLOCK | O_PATH | O_DIRECTORY | \
    O_SYNC | O_DSYNC)
#define PASSED	(O_ACCMODE | O_CREAT | O_EXCL | O_TRUNC | O_DIRECTORY | \
    O_NOFOLLOW | O_SYNC | O_DSYNC)

static bool
wants_to_write(uint32_t flags)
{

	return ((flags & O_ACCMODE) != O_RDONLY || (flags & O_TRUNC));
}

/* The file gets its name and a descriptor. */
static int64_t
finish(struct tk_machine *m, struct tk_file *f, const struct tk_name *name,
    uint32_t flags)
{

	f->path = strdup(name->path);
	if (f->path == NULL) {
		tk_file_undo(m, f);
		return (-ENOMEM);
	}
	return (tk_fd_new(m, f, 0, (flags & O_CLOEXEC) != 0));
}

static int64_t
open_host(struct tk_machine *m, const struct tk_name *name, uint32_t flags,
    mode_t mode)
{
	struct tk_file *f;
	struct stat st;
	int fd;

	/* The guest's own offset decides where to append, see regular.c. */
	fd = tk_host_open(m, name, flags & O_PATH ? (flags & (O_DIRECTORY |
	    O_NOFOLLOW)) : flags & PASSED, mode & ~m->files.umask, &st);
	if (fd < 0)
		return (fd);
	f = tk_file_new(m, S_ISDIR(st.st_mode) ? &tk_type_directory :
	    &tk_type_regular, flags & KEPT);
	if (f == NULL) {
		(void)close(fd);
		return (-ENFILE);
	}
	f->host_fd = fd;
	m->files.host_fds++;
	f->writable = name->allowed->writable;
	f->given = name->allowed->given;
	return (finish(m, f, name, flags));
}

static int64_t
open_synthetic(struct tk_machine *m, const struct tk_name *name,
    uint32_t flags)
{
	const struct tk_synthetic *s = name->synthetic;
	struct tk_file *f;
	bool ok = true;

	if ((flags & O_CREAT) && (flags & O_EXCL))
		return (-EEXIST);
	if ((flags & O_DIRECTORY) || name->directory)
		return (-ENOTDIR);
	if (s->device == NULL && (wants_to_write(flags) ||
	    (s->make == NULL && s->text == NULL))) {
		tk_refused_name(m, "open", name->path, "it is the machine's");
		return (-EACCES);
	}
	f = tk_file_new(m, s->device != NULL ? s->device : &tk_type_memory,
	    flags & KEPT);
	if (f == NULL)
		return (-ENFILE);
	if (s->make != NULL)
		ok = s->make(m, &f->data);
	else if (s->text != NULL)
		ok = tk_bytes_add(&m->files, &f->data, s->text,
		    strlen(s->text));
	if (!ok) {
		tk_file_undo(m, f);
		return (-ENOMEM);
	}
	return (finish(m, f, name, flags));
}

static int64_t
open_virtual_directory(struct tk_machine *m, const struct tk_name *name,
    uint32_t flags)
{
	struct tk_file *f;

	if ((flags & O_CREAT) && (flags & O_EXCL))
		return (-EEXIST);
	if (wants_to_write(flags) || (flags & O_CREAT))
		return (-EISDIR);
	f = tk_file_new(m, &tk_type_directory, flags & KEPT);
	return (f == NULL ? -ENFILE : finish(m, f, name, flags));
}

/* Follows the made-up links. */
static int64_t
follow(struct tk_machine *m, struct tk_name *name, uint32_t flags)
{

	if (name->kind != TK_NAME_SYNTHETIC || name->synthetic->link == NULL)
		return (0);
	if (flags & O_NOFOLLOW)
		return (-ELOOP);
	return (tk_name_of(m, m->files.cwd, *name->synthetic->link != '\0' ?
	    name->synthetic->link : m->files.cwd, name));
}

static int64_t
open_at(struct tk_machine *m, uint64_t dirfd, tk_gva path, uint64_t how,
    uint64_t mode)
{
	uint32_t flags = (uint32_t)how;
	struct tk_name name;
	int64_t e;

	if ((flags & O_TMPFILE) == O_TMPFILE)
		return (-EOPNOTSUPP);
	/* 3 is for ioctl() only: nothing that we have. */
	if ((flags & O_ACCMODE) == O_ACCMODE)
		return (-EINVAL);
	if (flags & O_PATH)
		flags &= O_PATH | O_DIRECTORY | O_NOFOLLOW | O_CLOEXEC;
	e = tk_name_read(m, dirfd, path, !(flags & O_NOFOLLOW), &name);
	if (e == 0)
		e = follow(m, &name, flags);
	if (e != 0)
		return (e);
	switch (name.kind) {
	case TK_NAME_HOST:
		return (open_host(m, &name, flags, (mode_t)mode));
	case TK_NAME_SYNTHETIC:
		return (open_synthetic(m, &name, flags));
	case TK_NAME_DIRECTORY:
		return (open_virtual_directory(m, &name, flags));
	case TK_NAME_DESCRIPTOR:
		/* As dup(): the position is shared, unlike on Linux. */
		return (tk_fd_new(m, tk_file_at(m, name.fd), 0,
		    (flags & O_CLOEXEC) != 0));
	case TK_NAME_NONE:
		break;
	}
	e = tk_no_such_name(m, flags & O_CREAT ? "create" : "open", &name);
	return (flags & O_CREAT ? -EACCES : e);
}

int64_t
tk_sys_open(struct tk_machine *m, const uint64_t a[6])
{

	return (open_at(m, (uint64_t)AT_FDCWD, a[0], a[1], a[2]));
}

int64_t
tk_sys_openat(struct tk_machine *m, const uint64_t a[6])
{

	return (open_at(m, a[0], a[1], a[2], a[3]));
}

int64_t
tk_sys_creat(struct tk_machine *m, const uint64_t a[6])
{

	return (open_at(m, (uint64_t)AT_FDCWD, a[0], O_CREAT | O_WRONLY |
	    O_TRUNC, a[1]));
}

int64_t
tk_sys_memfd_create(struct tk_machine *m, const uint64_t a[6])
{
	char name[256];
	struct tk_file *f;
	int64_t e;

	if (a[1] & ~(uint64_t)(MFD_CLOEXEC | MFD_ALLOW_SEALING))
		return (-EINVAL);
	e = tk_read_string(m, name, 250, a[0]);
	if (e != 0)
		return (e == -ENAMETOOLONG ? -EINVAL : e);
	f = tk_file_new(m, &tk_type_memory, O_RDWR);
	if (f == NULL)
		return (-ENFILE);
	f->writable = true;
	if (asprintf(&f->path, "/memfd:%s (deleted)", name) < 0) {
		f->path = NULL;
		tk_file_undo(m, f);
		return (-ENOMEM);
	}
	return (tk_fd_new(m, f, 0, (a[1] & MFD_CLOEXEC) != 0));
}

/*--------------------------------------------------------------------
 * Changes of directories
 */

/*
 * The host directory in which a change is allowed. Where nothing can be
 * changed: EEXIST for what is there, when it was to be made.
 */
static int64_t
parent_of(struct tk_machine *m, const char *verb, const struct tk_name *name,
    bool make, const char **leaf)
{

	switch (name->kind) {
	case TK_NAME_HOST:
		return (tk_host_parent(m, verb, name, leaf));
	case TK_NAME_NONE:
		(void)tk_no_such_name(m, verb, name);
		return (make ? -EACCES : -ENOENT);
	default:
		return (make ? -EEXIST : -EROFS);
	}
}

/*
 * The same for a name that goes, or becomes another's. What lies on the way to
 * another entry of the policy stays where it is, as mount points do: by its new
 * name, what is below would be allowed more than that entry says.
 */
static int64_t
parent_to_move(struct tk_machine *m, const char *verb,
    const struct tk_name *name, bool make, const char **leaf)
{

	if (name->kind == TK_NAME_HOST && tk_policy_above(m->files.policy,
	    name->path)) {
		tk_refused_name(m, verb, name->path,
		    "an entry of allowed_paths is below it");
		return (-EBUSY);
	}
	return (parent_of(m, verb, name, make, leaf));
}

static int64_t
done(int directory, int result)
{
	int64_t e = result == 0 ? 0 : -errno;

	(void)close(directory);
	return (e);
}

static int64_t
mkdir_at(struct tk_machine *m, uint64_t dirfd, tk_gva path, uint64_t mode)
{
	struct tk_name name;
	struct stat st;
	const char *leaf;
	int64_t e;
	int fd;

	e = tk_name_read(m, dirfd, path, false, &name);
	if (e != 0)
		return (e);
	if (name.kind == TK_NAME_HOST) {
		/* "mkdir -p" asks for each directory on the way. */
		fd = tk_host_find(m, "mkdir", &name, false, &st);
		if (fd >= 0) {
			(void)close(fd);
			return (-EEXIST);
		}
	}
	e = parent_of(m, "mkdir", &name, true, &leaf);
	if (e < 0)
		return (e == -EBUSY ? -EEXIST : e);
	return (done((int)e, mkdirat((int)e, leaf,
	    (mode_t)mode & 0777 & ~m->files.umask)));
}

int64_t
tk_sys_mkdir(struct tk_machine *m, const uint64_t a[6])
{

	return (mkdir_at(m, (uint64_t)AT_FDCWD, a[0], a[1]));
}

int64_t
tk_sys_mkdirat(struct tk_machine *m, const uint64_t a[6])
{

	return (mkdir_at(m, a[0], a[1], a[2]));
}

static int64_t
unlink_at(struct tk_machine *m, uint64_t dirfd, tk_gva path, uint64_t flags)
{
	struct tk_name name;
	const char *leaf;
	int64_t e;

	if (flags & ~(uint64_t)AT_REMOVEDIR)
		return (-EINVAL);
	e = tk_name_read(m, dirfd, path, false, &name);
	if (e != 0)
		return (e);
	e = parent_to_move(m, "unlink", &name, false, &leaf);
	if (e < 0)
		return (e);
	return (done((int)e, unlinkat((int)e, leaf, (int)flags)));
}

int64_t
tk_sys_unlink(struct tk_machine *m, const uint64_t a[6])
{

	return (unlink_at(m, (uint64_t)AT_FDCWD, a[0], 0));
}

int64_t
tk_sys_rmdir(struct tk_machine *m, const uint64_t a[6])
{

	return (unlink_at(m, (uint64_t)AT_FDCWD, a[0], AT_REMOVEDIR));
}

int64_t
tk_sys_unlinkat(struct tk_machine *m, const uint64_t a[6])
{

	return (unlink_at(m, a[0], a[1], a[2]));
}

static int64_t
rename_at(struct tk_machine *m, uint64_t from_fd, tk_gva from, uint64_t to_fd,
    tk_gva to, uint64_t flags)
{
	struct tk_name old, new;
	const char *old_leaf, *new_leaf;
	int64_t e, old_dir, new_dir;

	if (flags & ~(uint64_t)(RENAME_NOREPLACE | RENAME_EXCHANGE))
		return (-EINVAL);
	e = tk_name_read(m, from_fd, from, false, &old);
	if (e == 0)
		e = tk_name_read(m, to_fd, to, false, &new);
	if (e != 0)
		return (e);
	old_dir = parent_to_move(m, "rename", &old, false, &old_leaf);
	if (old_dir < 0)
		return (old_dir);
	new_dir = parent_to_move(m, "rename to", &new, true, &new_leaf);
	if (new_dir < 0) {
		(void)close((int)old_dir);
		return (new_dir == -EEXIST ? -EROFS : new_dir);
	}
	e = syscall(SYS_renameat2, (int)old_dir, old_leaf, (int)new_dir,
	    new_leaf, (unsigned)flags) == 0 ? 0 : -errno;
	(void)close((int)new_dir);
	(void)close((int)old_dir);
	return (e);
}

int64_t
tk_sys_rename(struct tk_machine *m, const uint64_t a[6])
{

	return (rename_at(m, (uint64_t)AT_FDCWD, a[0], (uint64_t)AT_FDCWD,
	    a[1], 0));
}

int64_t
tk_sys_renameat(struct tk_machine *m, const uint64_t a[6])
{

	return (rename_at(m, a[0], a[1], a[2], a[3], 0));
}

int64_t
tk_sys_renameat2(struct tk_machine *m, const uint64_t a[6])
{

	return (rename_at(m, a[0], a[1], a[2], a[3], a[4]));
}

/*--------------------------------------------------------------------
 * Contents and attributes by name
 */

int64_t
tk_sys_truncate(struct tk_machine *m, const uint64_t a[6])
{
	struct tk_name name;
	struct stat st;
	int64_t e;
	int fd;

	if (a[1] > INT64_MAX)
		return (-EINVAL);
	e = tk_name_read(m, (uint64_t)AT_FDCWD, a[0], true, &name);
	if (e != 0)
		return (e);
	if (name.kind == TK_NAME_NONE)
		return (tk_no_such_name(m, "truncate", &name));
	if (name.kind != TK_NAME_HOST)
		return (name.kind == TK_NAME_DIRECTORY ? -EISDIR : -EACCES);
	fd = tk_host_open(m, &name, O_WRONLY, 0, &st);
	if (fd < 0)
		return (fd);
	e = tk_regular_truncate(m, fd, name.allowed->given, a[1]);
	(void)close(fd);
	return (e);
}

/*
 * Modes, owners and times of a file that the program may write are not its
 * business, but asking is no error.
 */
static int64_t
change_attributes(struct tk_machine *m, uint64_t dirfd, tk_gva path)
{
	struct tk_name name;
	struct stat st;
	int64_t e;
	int fd;

	e = tk_name_read(m, dirfd, path, true, &name);
	if (e != 0)
		return (e);
	if (name.kind == TK_NAME_NONE)
		return (tk_no_such_name(m, "change", &name));
	if (name.kind != TK_NAME_HOST)
		return (-EPERM);
	fd = tk_host_find(m, "change", &name, true, &st);
	if (fd < 0)
		return (fd);
	(void)close(fd);
	return (name.allowed->writable ? 0 : -EROFS);
}

int64_t
tk_sys_chmod(struct tk_machine *m, const uint64_t a[6])
{

	return (change_attributes(m, (uint64_t)AT_FDCWD, a[0]));
}

int64_t
tk_sys_fchmodat(struct tk_machine *m, const uint64_t a[6])
{

	/* utimensat() names the descriptor itself with NULL. */
	if (a[1] == 0)
		return (tk_sys_fchmod(m, a));
	return (change_attributes(m, a[0], a[1]));
}

int64_t
tk_sys_fchmod(struct tk_machine *m, const uint64_t a[6])
{
	const struct tk_file *f = tk_file_at(m, a[0]);

	if (f == NULL)
		return (-EBADF);
	return (f->host_fd >= 0 && !f->writable ? -EROFS : 0);
}
