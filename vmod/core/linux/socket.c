/*-
 * SPDX-License-Identifier: BSD-2-Clause
 *
 * What sockets are; the calls are in socket_calls.c.
 */

#include <errno.h>
#include <poll.h>

#include "../object.h"
#include "linux.h"
#include "socket.h"

/*--------------------------------------------------------------------
 * The embedder's side
 */

static bool
listens(const struct tk_file *f)
{

	return (f->type == &tk_type_socket &&
	    f->socket.state == TK_SOCKET_LISTENING);
}

bool
tk_files_listening(const struct tk_machine *m)
{
	unsigned i;

	for (i = 0; i < m->files.n_files; i++)
		if (listens(tk_file_nth(&m->files, i)))
			return (true);
	return (false);
}

int
tk_files_connect(struct tk_machine *m, struct tk_connection *c)
{
	struct tk_files *fs = &m->files;
	struct tk_file *f;
	unsigned i;

	tk_assert(c->output != NULL);
	for (i = 0; i < fs->n_files; i++) {
		f = tk_file_nth(fs, i);
		if (!listens(f) || (c->port != 0 && c->port != f->socket.port))
			continue;
		if (fs->n_incoming == TK_MAX_INCOMING)
			return (EAGAIN);
		fs->incoming[fs->n_incoming].connection = c;
		fs->incoming[fs->n_incoming].file = (uint16_t)i;
		fs->n_incoming++;
		tk_file_touch(fs, f);
		f->socket.taken++;
		/* The reset looks at files only when the guest called. */
		m->changed = true;
		tk_woken(m);
		return (0);
	}
	return (ECONNREFUSED);
}

static bool
is_of(const struct tk_file *f, const struct tk_connection *c)
{

	return (f != NULL && f->type == &tk_type_socket &&
	    f->socket.connection == c);
}

bool
tk_connected(const struct tk_machine *m, int fd,
    const struct tk_connection *c)
{

	TK_CHECK_OBJ(m, TK_MACHINE_MAGIC);
	return (is_of(tk_file_at(m, (uint64_t)fd), c));
}

void
tk_disconnect(struct tk_machine *m, int fd, struct tk_connection *c)
{
	bool open = tk_connected(m, fd, c);
	struct tk_file *f;
	unsigned i;

	/* A copy of the descriptor may outlive it. */
	for (i = 0; i < m->files.n_files; i++) {
		f = tk_file_nth(&m->files, i);
		if (!is_of(f, c))
			continue;
		f->socket.state = TK_SOCKET_DEAD;
		f->socket.connection = NULL;
		f->socket.taken = 0;
	}
	if (open)
		(void)tk_fd_close(m, (uint64_t)fd);
}

static bool
takes(const struct tk_connection *c)
{

	return (c->room == NULL || *c->room > 0);
}

/* Hands bytes to the embedder. The result of a write, or a verdict. */
static int64_t
put_out(struct tk_machine *m, struct tk_connection *c, const void *data,
    size_t len)
{

	switch (c->output(c->priv, data, len)) {
	case TK_RESUME:
		return ((int64_t)len);
	case TK_DONE:
		return (TK_CALL_DONE);
	default:
		if (m->error->kind == TK_OK)
			(void)tk_end(m, TK_HOST, 0, "the connection failed");
		return (TK_CALL_ENDED);
	}
}

/*--------------------------------------------------------------------
 * As a file
 */

static int64_t
socket_read(struct tk_machine *m, struct tk_file *f, void *to, size_t len,
    const struct tk_io *io)
{
	struct tk_socket *s = &f->socket;
	const struct tk_connection *c = s->connection;

	switch (s->state) {
	case TK_SOCKET_PAIR:
		return (s->rx == 0 ? 0 :
		    tk_stream_read(m, s->rx, to, len, io->peek));
	case TK_SOCKET_ACCEPTED:
		break;
	case TK_SOCKET_DEAD:
		return (-ECONNRESET);
	default:
		return (-ENOTCONN);
	}
	if (s->no_read || len == 0)
		return (0);
	if (s->taken == c->in_len)
		return (c->keep_open ? -EAGAIN : 0);
	if (len > c->in_len - s->taken)
		len = c->in_len - s->taken;
	memcpy(to, c->in + s->taken, len);
	if (!io->peek) {
		tk_file_touch(&m->files, f);
		s->taken += len;
	}
	return ((int64_t)len);
}

static int64_t
socket_write(struct tk_machine *m, struct tk_file *f, const void *from,
    size_t len, const struct tk_io *io)
{
	struct tk_socket *s = &f->socket;
	const struct tk_connection *c = s->connection;

	(void)io;
	if (s->no_write)
		return (-EPIPE);
	switch (s->state) {
	case TK_SOCKET_PAIR:
		return (tk_stream_write(m, s->tx, from, len));
	case TK_SOCKET_ACCEPTED:
		if (len == 0)
			return (0);
		if (!takes(c))
			return (-EAGAIN);
		if (c->room != NULL && len > *c->room)
			len = *c->room;
		return (put_out(m, s->connection, from, len));
	default:
		return (-EPIPE);
	}
}

int64_t
tk_socket_readable(const struct tk_machine *m, const struct tk_file *f)
{
	const struct tk_socket *s = &f->socket;
	const struct tk_stream *st;

	if (s->state == TK_SOCKET_PAIR && s->rx != 0) {
		st = tk_stream_nth(&m->files, s->rx);
		return ((int64_t)(st->data.len - st->start));
	}
	if (s->state == TK_SOCKET_ACCEPTED && !s->no_read)
		return ((int64_t)(s->connection->in_len - s->taken));
	return (0);
}

bool
tk_socket_has_next(const struct tk_machine *m, const struct tk_file *f)
{
	unsigned i;

	for (i = 0; i < m->files.n_incoming; i++)
		if (m->files.incoming[i].file == tk_file_index(&m->files, f))
			return (true);
	return (false);
}

static uint32_t
pair_poll(const struct tk_machine *m, const struct tk_socket *s)
{
	uint32_t in = POLLHUP, out = POLLERR, r = 0;

	if (s->rx != 0)
		in = tk_stream_poll_in(&m->files, s->rx);
	if (s->tx != 0)
		out = tk_stream_poll_out(&m->files, s->tx);
	if (in & POLLHUP)
		r |= POLLIN | POLLRDNORM | POLLRDHUP;
	/* Writing to nobody fails at once. */
	if (out & POLLERR)
		r |= POLLOUT | POLLWRNORM;
	if ((in & POLLHUP) && (out & POLLERR))
		r |= POLLHUP;
	return (r | (in & (POLLIN | POLLRDNORM)) |
	    (out & (POLLOUT | POLLWRNORM)));
}

static uint32_t
socket_poll(const struct tk_machine *m, const struct tk_file *f)
{
	const struct tk_socket *s = &f->socket;
	const uint32_t in = POLLIN | POLLRDNORM;
	uint32_t out = POLLOUT | POLLWRNORM;

	switch (s->state) {
	case TK_SOCKET_LISTENING:
		return (tk_socket_has_next(m, f) ? in : 0);
	case TK_SOCKET_PAIR:
		return (pair_poll(m, s));
	case TK_SOCKET_ACCEPTED:
		if (!takes(s->connection))
			out = 0;
		if (s->no_read || (s->taken == s->connection->in_len &&
		    !s->connection->keep_open))
			return (in | out | POLLRDHUP |
			    (s->no_write ? POLLHUP : 0));
		return (s->taken < s->connection->in_len ? in | out : out);
	case TK_SOCKET_DEAD:
		return (in | out | POLLRDHUP | POLLHUP | POLLERR);
	default:
		return (out | POLLHUP);
	}
}

static uint64_t
socket_edges(const struct tk_machine *m, const struct tk_file *f,
    uint32_t mask)
{
	const struct tk_socket *s = &f->socket;
	uint64_t n = s->no_read + s->no_write;

	if (s->state == TK_SOCKET_LISTENING)
		return (s->taken);
	if (s->state == TK_SOCKET_PAIR) {
		if ((mask & (POLLIN | POLLRDHUP)) && s->rx != 0)
			n += tk_stream_nth(&m->files, s->rx)->ins;
		if ((mask & POLLOUT) && s->tx != 0)
			n += tk_stream_nth(&m->files, s->tx)->outs;
	}
	return (n);
}

static int64_t
shut_down(struct tk_machine *m, struct tk_file *f, bool in, bool out)
{
	struct tk_socket *s = &f->socket;
	int64_t r = 0;

	tk_file_touch(&m->files, f);
	if (in && !s->no_read) {
		s->no_read = true;
		if (s->rx != 0)
			tk_stream_leave(m, s->rx, false);
		s->rx = 0;
	}
	if (out && !s->no_write) {
		s->no_write = true;
		if (s->tx != 0)
			tk_stream_leave(m, s->tx, true);
		s->tx = 0;
		if (s->state == TK_SOCKET_ACCEPTED)
			r = put_out(m, s->connection, "", 0);
	}
	tk_woken(m);
	return (r);
}

static void
forget_incoming(struct tk_machine *m, const struct tk_file *f)
{
	struct tk_files *fs = &m->files;
	unsigned i, j = 0;

	for (i = 0; i < fs->n_incoming; i++)
		if (fs->incoming[i].file != tk_file_index(fs, f))
			fs->incoming[j++] = fs->incoming[i];
	fs->n_incoming = j;
}

static int64_t
socket_close(struct tk_machine *m, struct tk_file *f)
{

	forget_incoming(m, f);
	return (shut_down(m, f, true, true));
}

const struct tk_file_type tk_type_socket = {
	.name = "socket",
	.mode = S_IFSOCK | 0777,
	.read = socket_read,
	.write = socket_write,
	.poll = socket_poll,
	.edges = socket_edges,
	.close = socket_close,
};

int64_t
tk_socket_shutdown(struct tk_machine *m, struct tk_file *f, uint64_t how)
{

	if (how > 2)
		return (-EINVAL);
	switch (f->socket.state) {
	case TK_SOCKET_PAIR:
	case TK_SOCKET_ACCEPTED:
		return (shut_down(m, f, how != 1, how != 0));
	case TK_SOCKET_LISTENING:
		if (how != 1) {
			forget_incoming(m, f);
			tk_file_touch(&m->files, f);
			f->socket.state = TK_SOCKET_BOUND;
			tk_woken(m);
		}
		return (0);
	default:
		return (-ENOTCONN);
	}
}

struct tk_connection *
tk_socket_next(struct tk_machine *m, const struct tk_file *f)
{
	struct tk_files *fs = &m->files;
	struct tk_connection *c;
	unsigned i;

	for (i = 0; i < fs->n_incoming; i++)
		if (fs->incoming[i].file == tk_file_index(fs, f)) {
			c = fs->incoming[i].connection;
			fs->n_incoming--;
			memmove(&fs->incoming[i], &fs->incoming[i + 1],
			    (fs->n_incoming - i) * sizeof fs->incoming[0]);
			return (c);
		}
	return (NULL);
}
