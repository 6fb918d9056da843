/*-
 * SPDX-License-Identifier: BSD-2-Clause
 *
 * The host's files, beneath the roots that policy opened at boot. The kernel
 * itself sees to it that nothing leads out: openat2(2), RESOLVE_BENEATH.
 */

#include <errno.h>
#include <fcntl.h>
#include <linux/magic.h>
#include <linux/openat2.h>
#include <stdio.h>
#include <sys/syscall.h>
#include <sys/vfs.h>
#include <unistd.h>

#include "../object.h"
#include "linux.h"
#include "path.h"

/* EAGAIN: somebody renames on the way, and the kernel cannot be sure. */
#define TRIES	16

/*
 * By a link within a tree, what lies below another entry has a second name, of
 * which that entry says nothing. What is changed has none.
 */
enum use { LOOK, CHANGE };

static int
beneath(const struct tk_allowed *a, const char *rest, uint32_t flags,
    mode_t mode, enum use use)
{
	struct open_how how;
	long fd;
	int i = 0;

	memset(&how, 0, sizeof how);
	how.flags = flags | O_CLOEXEC;
	how.mode = flags & O_CREAT ? mode & 0777 : 0;
	how.resolve = RESOLVE_BENEATH | RESOLVE_NO_MAGICLINKS;
	if (use == CHANGE && a->holds_others)
		how.resolve |= RESOLVE_NO_SYMLINKS;
	do
		fd = syscall(SYS_openat2, a->root, *rest == '\0' ? "." : rest,
		    &how, sizeof how);
	while (fd < 0 && (errno == EINTR || (errno == EAGAIN && ++i < TRIES)));
	return (fd < 0 ? -errno : (int)fd);
}

/* Another open file description of what the embedder gave. */
static int
given(const struct tk_given_file *g, uint32_t flags)
{
	char path[32];
	int fd;

	if (!g->exists && !(flags & O_CREAT))
		return (-ENOENT);
	(void)snprintf(path, sizeof path, "/proc/self/fd/%d", g->fd);
	fd = open(path, (int)(flags & ~(uint32_t)(O_CREAT | O_EXCL |
	    O_NOFOLLOW)) | O_CLOEXEC);
	return (fd < 0 ? -errno : fd);
}

/* What an entry of the policy has under this name. */
static int
reach(const struct tk_allowed *a, const char *rest, uint32_t flags,
    mode_t mode, enum use use)
{

	if (a->given != NULL)
		return (given(a->given, flags));
	if (a->root < 0)
		return (-ENOENT);
	return (beneath(a, rest, flags, mode, use));
}

/*--------------------------------------------------------------------
 * Links that lead out
 */

#define MAX_LINKS	40		/* MAXSYMLINKS of the kernel */

static bool
leads_out(const struct tk_allowed *a, const char *rest)
{
	int fd = beneath(a, rest, O_PATH, 0, LOOK);

	if (fd >= 0)
		(void)close(fd);
	return (fd == -EXDEV);
}

/*
 * Of a name that leads out: the first component that does so by itself is a
 * link. Its target takes its place in the name. 0 or -errno.
 */
static int64_t
redirect(const struct tk_machine *m, struct tk_name *name)
{
	char target[TK_PATH_MAX], part[TK_PATH_MAX];
	size_t end = 0, start, n, skipped;
	ssize_t len;
	int fd;

	do {
		start = end + (name->rest[end] == '/');
		end = start + strcspn(name->rest + start, "/");
		memcpy(part, name->rest, end);
		part[end] = '\0';
	} while (!leads_out(name->allowed, part) && name->rest[end] != '\0');
	fd = beneath(name->allowed, part, O_PATH | O_NOFOLLOW, 0, LOOK);
	if (fd < 0)
		return (fd);
	len = readlinkat(fd, "", target, sizeof target - 1);
	(void)close(fd);
	if (len <= 0)
		return (-ENOENT);
	/* What follows in the name follows the target. */
	n = strlen(name->rest + end);
	if ((size_t)len + n >= sizeof target)
		return (-ENAMETOOLONG);
	memcpy(target + len, name->rest + end, n + 1);
	/* The directory that the link is in, as the program names it. */
	skipped = strlen(name->rest + start);
	n = strlen(name->path);
	n = name->allowed->prefix ? n - skipped - 1 :
	    (size_t)(strrchr(name->path, '/') - name->path);
	memcpy(part, name->path, n);
	part[n] = '\0';
	return (tk_name_of(m, n == 0 ? "/" : part, target, name));
}

int64_t
tk_host_settle(const struct tk_machine *m, struct tk_name *name, bool follow)
{
	bool directory = name->directory;
	unsigned i;
	int64_t e;
	int fd;

	for (i = 0; name->kind == TK_NAME_HOST && name->allowed->root >= 0;
	    i++) {
		fd = beneath(name->allowed, name->rest, O_PATH |
		    (follow || directory ? 0 : O_NOFOLLOW), 0, LOOK);
		if (fd >= 0)
			(void)close(fd);
		if (fd != -EXDEV)
			break;
		e = i == MAX_LINKS ? -ELOOP : redirect(m, name);
		if (e != 0)
			return (e);
	}
	name->directory = directory;
	return (0);
}

/*--------------------------------------------------------------------*/

/* The words and the errno for what the host did not give. */
static int
denied(struct tk_machine *m, const char *verb, const char *path, int error)
{

	switch (error) {
	case -EXDEV:
		tk_refused_name(m, verb, path, "a symbolic link leads out of "
		    "what allowed_paths allows");
		return (-EACCES);
	case -ELOOP:
		tk_refused_name(m, verb, path, "symbolic links go round, or "
		    "one is on the way to a change in a tree that has another "
		    "entry of allowed_paths in it");
		return (error);
	case -EACCES:
	case -EPERM:
		tk_refused_name(m, verb, path, "the host denies it to the "
		    "user that Varnish runs as");
		return (error);
	default:
		return (error);
	}
}

int
tk_host_find(struct tk_machine *m, const char *verb,
    const struct tk_name *name, bool follow, struct stat *st)
{
	struct statfs fs;
	int fd, e;

	fd = reach(name->allowed, name->rest, O_PATH |
	    (follow ? 0 : O_NOFOLLOW) | (name->directory ? O_DIRECTORY : 0), 0,
	    LOOK);
	if (fd < 0)
		return (denied(m, verb, name->path, fd));
	if (fstat(fd, st) != 0 || fstatfs(fd, &fs) != 0) {
		e = errno;
		(void)close(fd);
		return (-e);
	}
	/* Beneath "self" there is the memory of this very process. */
	if (fs.f_type == PROC_SUPER_MAGIC) {
		(void)close(fd);
		tk_refused_name(m, verb, name->path, "the host's /proc is not "
		    "given to programs");
		return (-EACCES);
	}
	return (fd);
}

int
tk_host_open(struct tk_machine *m, const struct tk_name *name, uint32_t flags,
    mode_t mode, struct stat *st)
{
	bool writes = (flags & O_ACCMODE) != O_RDONLY || (flags & O_TRUNC);
	int fd, e;

	if (m->files.host_fds >= TK_MAX_HOST_FDS)
		return (-ENFILE);
	fd = tk_host_find(m, "open", name, !(flags & O_NOFOLLOW), st);
	if (fd == -ENOENT && (flags & O_CREAT) && (name->allowed->root >= 0 ||
	    name->allowed->given != NULL)) {
		if (!name->allowed->writable) {
			tk_refused_name(m, "create", name->path,
			    "not writable by allowed_paths");
			return (-EROFS);
		}
		fd = reach(name->allowed, name->rest, (flags &
		    ~(uint32_t)O_TRUNC) | O_NONBLOCK | O_NOCTTY, mode, CHANGE);
		if (fd < 0)
			return (denied(m, "create", name->path, fd));
	} else if (fd < 0)
		return (fd);
	else {
		(void)close(fd);
		if (flags & O_CREAT && flags & O_EXCL)
			return (-EEXIST);
		/* Opening a device can have an effect: look before. */
		if (S_ISLNK(st->st_mode))
			return (-ELOOP);
		if (!S_ISREG(st->st_mode) && !S_ISDIR(st->st_mode)) {
			tk_refused_name(m, "open", name->path,
			    "neither a file nor a directory");
			return (-EACCES);
		}
		if (S_ISDIR(st->st_mode) && (writes || (flags & O_CREAT)))
			return (-EISDIR);
		if (writes && !name->allowed->writable) {
			tk_refused_name(m, "open for writing", name->path,
			    "not writable by allowed_paths");
			return (-EROFS);
		}
		fd = reach(name->allowed, name->rest, (flags &
		    ~(uint32_t)(O_CREAT | O_EXCL | O_TRUNC)) | O_NONBLOCK |
		    O_NOCTTY, 0, writes ? CHANGE : LOOK);
		if (fd < 0)
			return (denied(m, "open", name->path, fd));
	}
	/* It may have been replaced meanwhile. */
	if (fstat(fd, st) != 0 || (!S_ISREG(st->st_mode) &&
	    !S_ISDIR(st->st_mode))) {
		(void)close(fd);
		return (-EACCES);
	}
	if ((flags & O_TRUNC) && S_ISREG(st->st_mode)) {
		if (ftruncate(fd, 0) != 0) {
			e = errno;
			(void)close(fd);
			return (-e);
		}
		st->st_size = 0;
	}
	if (name->allowed->given != NULL && (!name->allowed->given->exists ||
	    (flags & O_TRUNC))) {
		name->allowed->given->exists = true;
		name->allowed->given->changes++;
	}
	return (fd);
}

int
tk_host_parent(struct tk_machine *m, const char *verb,
    const struct tk_name *name, const char **leaf)
{
	char directory[TK_PATH_MAX];
	const char *slash;
	int fd;

	if (!name->allowed->writable) {
		tk_refused_name(m, verb, name->path,
		    "not writable by allowed_paths");
		return (-EROFS);
	}
	if (name->allowed->given != NULL)
		return (-EBUSY);
	if (name->allowed->root < 0)
		return (-ENOENT);
	if (*name->rest == '\0')	/* the root itself */
		return (-EBUSY);
	slash = strrchr(name->rest, '/');
	*leaf = slash == NULL ? name->rest : slash + 1;
	memcpy(directory, name->rest, (size_t)(*leaf - name->rest));
	directory[*leaf - name->rest] = '\0';
	fd = beneath(name->allowed, directory, O_PATH | O_DIRECTORY, 0, CHANGE);
	return (fd < 0 ? denied(m, verb, name->path, fd) : fd);
}

int
tk_host_read(struct tk_machine *m, const char *path, size_t max, void **image,
    size_t *len)
{
	struct tk_name name;
	struct stat st;
	ssize_t n = 1;
	int64_t e;
	char *p;
	int fd;

	e = tk_name_of(m, m->files.cwd, path, &name);
	if (e == 0)
		e = tk_host_settle(m, &name, true);
	if (e == 0 && name.kind != TK_NAME_HOST)
		e = -ENOENT;
	if (e != 0)
		return ((int)-e);
	fd = tk_host_open(m, &name, O_RDONLY, 0, &st);
	if (fd < 0)
		return (-fd);
	p = !S_ISREG(st.st_mode) || (size_t)st.st_size > max ? NULL :
	    malloc((size_t)st.st_size + 1);
	if (p == NULL) {
		(void)close(fd);
		return (S_ISREG(st.st_mode) ? ENOMEM : EISDIR);
	}
	for (*len = 0; *len < (size_t)st.st_size && n > 0; *len += (size_t)n) {
		n = pread(fd, p + *len, (size_t)st.st_size - *len,
		    (off_t)*len);
		if (n < 0)
			break;
	}
	(void)close(fd);
	if (n < 0) {
		free(p);
		return (EIO);
	}
	*image = p;
	return (0);
}
