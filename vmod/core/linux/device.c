/*-
 * SPDX-License-Identifier: BSD-2-Clause
 *
 * The standard streams, and the devices of mem(4) and random(4).
 */

#include <errno.h>
#include <fcntl.h>
#include <poll.h>
#include <sys/random.h>

#include "../object.h"
#include "linux.h"

/* makedev(3), as a constant. */
#define DEVICE(major, minor)	((major) << 8 | (minor))

/* Standard input is empty; output and error go to the embedder. */
static int64_t
no_bytes(struct tk_machine *m, struct tk_file *f, void *to, size_t len,
    const struct tk_io *io)
{

	(void)m;
	(void)f;
	(void)to;
	(void)len;
	(void)io;
	return (0);
}

static int64_t
standard_write(struct tk_machine *m, struct tk_file *f, const void *from,
    size_t len, const struct tk_io *io)
{

	(void)io;
	if (m->ops->output != NULL && len > 0)
		m->ops->output(f->standard, from, len, m->priv);
	return ((int64_t)len);
}

static uint32_t
always_ready(const struct tk_machine *m, const struct tk_file *f)
{

	(void)m;
	return (f->flags & O_ACCMODE ? POLLOUT | POLLWRNORM :
	    POLLIN | POLLRDNORM);
}

const struct tk_file_type tk_type_standard = {
	.name = "/dev/console",
	.mode = S_IFCHR | 0620,
	.rdev = DEVICE(5, 1),
	.read = no_bytes,
	.write = standard_write,
	.poll = always_ready,
};

static int64_t
swallow(struct tk_machine *m, struct tk_file *f, const void *from, size_t len,
    const struct tk_io *io)
{

	(void)m;
	(void)f;
	(void)from;
	(void)io;
	return ((int64_t)len);
}

static int64_t
zeros(struct tk_machine *m, struct tk_file *f, void *to, size_t len,
    const struct tk_io *io)
{

	(void)m;
	(void)f;
	(void)io;
	memset(to, 0, len);
	return ((int64_t)len);
}

static int64_t
random_bytes(struct tk_machine *m, struct tk_file *f, void *to, size_t len,
    const struct tk_io *io)
{
	size_t done = 0;
	ssize_t n;

	(void)m;
	(void)f;
	(void)io;
	while (done < len) {
		n = getrandom((uint8_t *)to + done, len - done, 0);
		if (n < 0 && errno != EINTR)
			return (-EIO);
		done += n > 0 ? (size_t)n : 0;
	}
	return ((int64_t)len);
}

static int64_t
no_space(struct tk_machine *m, struct tk_file *f, const void *from, size_t len,
    const struct tk_io *io)
{

	(void)m;
	(void)f;
	(void)from;
	(void)io;
	return (len == 0 ? 0 : -ENOSPC);
}

/* Linux lets one seek in them, to no effect. */
const struct tk_file_type tk_type_null = {
	.name = "/dev/null",
	.mode = S_IFCHR | 0666,
	.rdev = DEVICE(1, 3),
	.seekable = true,
	.read = no_bytes,
	.write = swallow,
};

const struct tk_file_type tk_type_zero = {
	.name = "/dev/zero",
	.mode = S_IFCHR | 0666,
	.rdev = DEVICE(1, 5),
	.seekable = true,
	.read = zeros,
	.write = swallow,
};

const struct tk_file_type tk_type_full = {
	.name = "/dev/full",
	.mode = S_IFCHR | 0666,
	.rdev = DEVICE(1, 7),
	.seekable = true,
	.read = zeros,
	.write = no_space,
};

const struct tk_file_type tk_type_random = {
	.name = "/dev/urandom",
	.mode = S_IFCHR | 0666,
	.rdev = DEVICE(1, 9),
	.seekable = true,
	.read = random_bytes,
	.write = swallow,
};
