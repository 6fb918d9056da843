/*-
 * SPDX-License-Identifier: BSD-2-Clause
 *
 * Files with contents: the host's, and those in memory (memfd_create(2), and
 * what synthetic.c made).
 */

#include <errno.h>
#include <fcntl.h>
#include <sys/uio.h>
#include <unistd.h>

#include "../object.h"
#include "linux.h"

static int64_t
regular_read(struct tk_machine *m, struct tk_file *f, void *to, size_t len,
    const struct tk_io *io)
{
	ssize_t n;

	(void)m;
	if (io->offset > INT64_MAX - len)
		return (-EINVAL);
	do
		n = pread(f->host_fd, to, len, (off_t)io->offset);
	while (n < 0 && errno == EINTR);
	return (n < 0 ? -errno : n);
}

static uint64_t
largest(const struct tk_machine *m, const struct tk_given_file *given)
{
	uint64_t max = m->files.policy->max_file;

	return (given != NULL && given->max_size < max ? given->max_size : max);
}

int64_t
tk_regular_truncate(struct tk_machine *m, int fd, struct tk_given_file *given,
    uint64_t size)
{

	if (size > largest(m, given))
		return (-EFBIG);
	if (ftruncate(fd, (off_t)size) != 0)
		return (-errno);
	if (given != NULL)
		given->changes++;
	return (0);
}

static int64_t
regular_write(struct tk_machine *m, struct tk_file *f, const void *from,
    size_t len, const struct tk_io *io)
{
	struct iovec v = { (void *)(uintptr_t)from, len };
	uint64_t max = largest(m, f->given);
	struct stat st;
	ssize_t n;

	if (io->offset > INT64_MAX - len)
		return (-EINVAL);
	/* Told before it is tried; and what was given has limits of its own. */
	if (max != INT64_MAX) {
		if (fstat(f->host_fd, &st) != 0)
			return (-errno);
		if (io->offset + len > max || (uint64_t)st.st_size + len > max)
			return (-EFBIG);
	}
	do
		n = f->flags & O_APPEND ?
		    pwritev2(f->host_fd, &v, 1, 0, RWF_APPEND) :
		    pwrite(f->host_fd, from, len, (off_t)io->offset);
	while (n < 0 && errno == EINTR);
	if (n > 0 && f->given != NULL)
		f->given->changes++;
	return (n < 0 ? -errno : n);
}

static int64_t
host_stat(const struct tk_machine *m, const struct tk_file *f,
    struct stat *st)
{

	(void)m;
	return (fstat(f->host_fd, st) == 0 ? 0 : -errno);
}

const struct tk_file_type tk_type_regular = {
	.name = "file",
	.mode = S_IFREG | 0644,
	.seekable = true,
	.read = regular_read,
	.write = regular_write,
	.stat = host_stat,
};

static int64_t
memory_read(struct tk_machine *m, struct tk_file *f, void *to, size_t len,
    const struct tk_io *io)
{

	(void)m;
	if (io->offset >= f->data.len)
		return (0);
	if (len > f->data.len - io->offset)
		len = f->data.len - io->offset;
	memcpy(to, f->data.data + io->offset, len);
	return ((int64_t)len);
}

static int64_t
memory_write(struct tk_machine *m, struct tk_file *f, const void *from,
    size_t len, const struct tk_io *io)
{
	uint64_t at = f->flags & O_APPEND ? f->data.len : io->offset;

	if (at > TK_MAX_BUFFERED || !tk_bytes_room(&m->files, &f->data,
	    at + len))
		return (-ENOSPC);
	tk_file_touch(&m->files, f);
	if (at > f->data.len)
		memset(f->data.data + f->data.len, 0, at - f->data.len);
	if (len > 0)
		memcpy(f->data.data + at, from, len);
	if (at + len > f->data.len)
		f->data.len = at + len;
	return ((int64_t)len);
}

static int64_t
memory_stat(const struct tk_machine *m, const struct tk_file *f,
    struct stat *st)
{

	(void)m;
	if (!f->writable)
		st->st_mode = S_IFREG | 0444;
	st->st_blocks = (blkcnt_t)((f->data.len + 511) / 512);
	return (0);
}

const struct tk_file_type tk_type_memory = {
	.name = "memfd",
	.mode = S_IFREG | 0600,
	.seekable = true,
	.read = memory_read,
	.write = memory_write,
	.stat = memory_stat,
};
