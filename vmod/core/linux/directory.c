/*-
 * SPDX-License-Identifier: BSD-2-Clause
 *
 * Directories. A listing is made when it is read from its start, and kept
 * with the file: offsets into it are the guest's, and no two forks share the
 * position of a host descriptor.
 */

#include <dirent.h>
#include <errno.h>
#include <fcntl.h>
#include <stdio.h>
#include <sys/syscall.h>
#include <unistd.h>

#include "../object.h"
#include "linux.h"
#include "path.h"

/* getdents64(2). */
struct entry {
	uint64_t	ino;
	int64_t		off;		/* of the next one */
	uint16_t	reclen;
	uint8_t		type;
	char		name[];
} __attribute__((packed));

#define HEADER	offsetof(struct entry, name)

static int64_t
directory_stat(const struct tk_machine *m, const struct tk_file *f,
    struct stat *st)
{

	(void)m;
	if (f->host_fd >= 0)
		return (fstat(f->host_fd, st) == 0 ? 0 : -errno);
	st->st_size = 4096;
	st->st_nlink = 2;
	return (0);
}

const struct tk_file_type tk_type_directory = {
	.name = "directory",
	.mode = S_IFDIR | 0555,
	.seekable = true,
	.stat = directory_stat,
};

static bool
add(struct tk_files *fs, struct tk_bytes *b, uint64_t ino, uint8_t type,
    const char *name, size_t len)
{
	static const char zeros[8];
	struct entry e;
	size_t n = (HEADER + len + 1 + 7) & ~(size_t)7;

	memset(&e, 0, sizeof e);
	e.ino = ino != 0 ? ino : 1;
	e.off = (int64_t)(b->len + n);
	e.reclen = (uint16_t)n;
	e.type = type;
	return (tk_bytes_add(fs, b, &e, HEADER) &&
	    tk_bytes_add(fs, b, name, len) &&
	    tk_bytes_add(fs, b, zeros, n - HEADER - len));
}

static int64_t
list_host(struct tk_machine *m, struct tk_file *f)
{
	uint8_t *buf = tk_scratch(m);
	const struct entry *e;
	int64_t r = 0;
	long n, i;
	int fd;

	if (buf == NULL)
		return (-ENOMEM);
	fd = openat(f->host_fd, ".", O_RDONLY | O_DIRECTORY | O_CLOEXEC);
	if (fd < 0)
		return (-errno);
	while (r == 0 && (n = syscall(SYS_getdents64, fd, buf, TK_PIECE)) > 0)
		for (i = 0; i < n && r == 0; i += e->reclen) {
			e = (const struct entry *)(buf + i);
			if (!add(&m->files, &f->data, e->ino, e->type, e->name,
			    strlen(e->name)))
				r = -ENOMEM;
		}
	if (r == 0 && n < 0)
		r = -errno;
	(void)close(fd);
	return (r);
}

static bool
has_entry(const struct tk_bytes *b, const char *name, size_t len)
{
	const struct entry *e;
	size_t at;

	for (at = 0; at < b->len; at += e->reclen) {
		e = (const struct entry *)(b->data + at);
		if (strncmp(e->name, name, len) == 0 && e->name[len] == '\0')
			return (true);
	}
	return (false);
}

/* Adds the child of dir that leads to path, if it does. */
static bool
add_child(struct tk_files *fs, struct tk_bytes *b, const char *dir,
    const char *path, uint8_t type)
{
	size_t n = strcmp(dir, "/") == 0 ? 0 : strlen(dir), len;

	if (strncmp(path, dir, n) != 0 || path[n] != '/' || path[n + 1] == '\0')
		return (true);
	path += n + 1;
	len = strcspn(path, "/");
	if (path[len] == '/')
		type = DT_DIR;
	if (has_entry(b, path, len))
		return (true);
	return (add(fs, b, b->len + 2, type, path, len));
}

static uint8_t
synthetic_type(const struct tk_synthetic *s)
{

	return (s->link != NULL ? DT_LNK : s->device != NULL ? DT_CHR : DT_REG);
}

static int64_t
list_virtual(struct tk_machine *m, struct tk_file *f)
{
	struct tk_files *fs = &m->files;
	const struct tk_policy *po = fs->policy;
	const struct tk_synthetic *s;
	struct tk_bytes *b = &f->data;
	char number[16];
	bool ok;
	unsigned i;

	ok = add(fs, b, 1, DT_DIR, ".", 1) && add(fs, b, 1, DT_DIR, "..", 2);
	for (i = 0; ok && i < po->n; i++)
		ok = add_child(fs, b, f->path, po->allowed[i].virtual_path,
		    po->allowed[i].symlink ? DT_LNK :
		    po->allowed[i].prefix ? DT_DIR : DT_REG);
	for (i = 0; ok && (s = tk_synthetic_nth(i)) != NULL; i++)
		ok = add_child(fs, b, f->path, s->path, synthetic_type(s));
	if (ok && strcmp(f->path, "/proc/self") == 0)
		ok = add(fs, b, 2, DT_DIR, "fd", 2);
	if (strcmp(f->path, "/proc/self/fd") == 0)
		for (i = 0; ok && i < fs->n_fds; i++) {
			if (fs->fd[i].file == 0)
				continue;
			(void)snprintf(number, sizeof number, "%u", i);
			ok = add(fs, b, i + 2, DT_LNK, number, strlen(number));
		}
	return (ok ? 0 : -ENOMEM);
}

int64_t
tk_sys_getdents64(struct tk_machine *m, const uint64_t a[6])
{
	struct tk_file *f = tk_file_at(m, a[0]);
	uint64_t count = (uint32_t)a[2], done = 0;
	const struct entry *e;
	size_t at;
	int64_t r;

	if (f == NULL)
		return (-EBADF);
	if (f->type != &tk_type_directory)
		return (-ENOTDIR);
	tk_file_touch(&m->files, f);
	if (f->offset == 0) {
		f->data.len = 0;
		r = f->host_fd >= 0 ? list_host(m, f) : list_virtual(m, f);
		if (r != 0) {
			f->data.len = 0;
			return (r);
		}
	}
	for (at = 0; at < f->data.len; at += e->reclen) {
		e = (const struct entry *)(f->data.data + at);
		/* lseek() may point anywhere. */
		if (at < f->offset)
			continue;
		if (e->reclen > count - done)
			return (done > 0 ? (int64_t)done : -EINVAL);
		if (!tk_write(m, a[1] + done, e, e->reclen))
			return (done > 0 ? (int64_t)done : -EFAULT);
		done += e->reclen;
		f->offset = at + e->reclen;
	}
	return ((int64_t)done);
}
