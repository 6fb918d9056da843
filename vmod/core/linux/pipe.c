/*-
 * SPDX-License-Identifier: BSD-2-Clause
 *
 * Pipes: a stream and a file for each of its ends.
 */

#include <errno.h>
#include <fcntl.h>
#include <poll.h>

#include "../object.h"
#include "linux.h"

static int64_t
pipe_read(struct tk_machine *m, struct tk_file *f, void *to, size_t len,
    const struct tk_io *io)
{

	return (tk_stream_read(m, f->stream, to, len, io->peek));
}

static int64_t
pipe_write(struct tk_machine *m, struct tk_file *f, const void *from,
    size_t len, const struct tk_io *io)
{

	(void)io;
	return (tk_stream_write(m, f->stream, from, len));
}

static uint32_t
in_poll(const struct tk_machine *m, const struct tk_file *f)
{

	return (tk_stream_poll_in(&m->files, f->stream));
}

static uint32_t
out_poll(const struct tk_machine *m, const struct tk_file *f)
{

	return (tk_stream_poll_out(&m->files, f->stream));
}

static uint64_t
in_edges(const struct tk_machine *m, const struct tk_file *f, uint32_t mask)
{

	(void)mask;
	return (tk_stream_nth(&m->files, f->stream)->ins);
}

static uint64_t
out_edges(const struct tk_machine *m, const struct tk_file *f, uint32_t mask)
{

	(void)mask;
	return (tk_stream_nth(&m->files, f->stream)->outs);
}

static int64_t
in_close(struct tk_machine *m, struct tk_file *f)
{

	tk_stream_leave(m, f->stream, false);
	return (0);
}

static int64_t
out_close(struct tk_machine *m, struct tk_file *f)
{

	tk_stream_leave(m, f->stream, true);
	return (0);
}

const struct tk_file_type tk_type_pipe_in = {
	.name = "pipe",
	.mode = S_IFIFO | 0600,
	.read = pipe_read,
	.poll = in_poll,
	.edges = in_edges,
	.close = in_close,
};

const struct tk_file_type tk_type_pipe_out = {
	.name = "pipe",
	.mode = S_IFIFO | 0600,
	.write = pipe_write,
	.poll = out_poll,
	.edges = out_edges,
	.close = out_close,
};

int64_t
tk_install_two(struct tk_machine *m, struct tk_file *a, struct tk_file *b,
    bool cloexec, tk_gva to)
{
	int64_t first, second;
	int fd[2];

	first = tk_fd_new(m, a, 0, cloexec);
	if (first < 0) {
		tk_file_undo(m, b);
		return (first);
	}
	second = tk_fd_new(m, b, 0, cloexec);
	if (second < 0) {
		(void)tk_fd_close(m, (uint64_t)first);
		return (second);
	}
	fd[0] = (int)first;
	fd[1] = (int)second;
	if (tk_write(m, to, fd, sizeof fd))
		return (0);
	(void)tk_fd_close(m, (uint64_t)first);
	(void)tk_fd_close(m, (uint64_t)second);
	return (-EFAULT);
}

int64_t
tk_sys_pipe2(struct tk_machine *m, const uint64_t a[6])
{
	struct tk_file *in, *out;
	uint16_t id;

	if (a[1] & ~(uint64_t)(O_CLOEXEC | O_NONBLOCK))
		return (-EINVAL);	/* O_DIRECT: packets */
	id = tk_stream_new(&m->files);
	if (id == 0)
		return (-ENFILE);
	in = tk_file_new(m, &tk_type_pipe_in, O_RDONLY |
	    ((uint32_t)a[1] & O_NONBLOCK));
	if (in == NULL) {
		tk_stream_leave(m, id, false);
		tk_stream_leave(m, id, true);
		return (-ENFILE);
	}
	in->stream = id;
	out = tk_file_new(m, &tk_type_pipe_out, O_WRONLY |
	    ((uint32_t)a[1] & O_NONBLOCK));
	if (out == NULL) {
		tk_file_undo(m, in);
		tk_stream_leave(m, id, true);
		return (-ENFILE);
	}
	out->stream = id;
	return (tk_install_two(m, in, out, (a[1] & O_CLOEXEC) != 0, a[0]));
}

int64_t
tk_sys_pipe(struct tk_machine *m, const uint64_t a[6])
{
	const uint64_t two[6] = { a[0] };

	return (tk_sys_pipe2(m, two));
}
