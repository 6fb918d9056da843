/*-
 * SPDX-License-Identifier: BSD-2-Clause
 *
 * Bytes on their way from a writer to a reader: pipe(7).
 */

#include <errno.h>
#include <limits.h>
#include <poll.h>

#include "../object.h"
#include "linux.h"

struct tk_stream *
tk_stream_nth(const struct tk_files *fs, uint16_t id)
{
	unsigned i = id - 1u;

	tk_assert(id > 0 && i < TK_MAX_FDS &&
	    fs->stream[i / TK_FILE_CHUNK] != NULL);
	return (&fs->stream[i / TK_FILE_CHUNK][i % TK_FILE_CHUNK]);
}

static void
touch(struct tk_files *fs, struct tk_stream *s)
{

	fs->changed = s->touched = true;
}

uint16_t
tk_stream_new(struct tk_files *fs)
{
	struct tk_stream *s, **chunk;
	unsigned i;

	for (i = 0; i < fs->n_streams; i++)
		if (!tk_stream_nth(fs, (uint16_t)(i + 1))->used)
			break;
	if (i == TK_MAX_FDS)
		return (0);
	chunk = &fs->stream[i / TK_FILE_CHUNK];
	if (*chunk == NULL)
		*chunk = calloc(TK_FILE_CHUNK, sizeof **chunk);
	if (*chunk == NULL)
		return (0);
	if (i == fs->n_streams)
		fs->n_streams++;
	s = tk_stream_nth(fs, (uint16_t)(i + 1));
	touch(fs, s);
	s->used = true;
	s->readers = s->writers = 1;
	return ((uint16_t)(i + 1));
}

void
tk_stream_leave(struct tk_machine *m, uint16_t id, bool writer)
{
	struct tk_stream *s = tk_stream_nth(&m->files, id);

	touch(&m->files, s);
	if (writer) {
		tk_assert(s->writers > 0);
		s->writers--;
		s->ins++;
	} else {
		tk_assert(s->readers > 0);
		s->readers--;
		s->outs++;
	}
	if (s->readers == 0 && s->writers == 0) {
		tk_bytes_free(&m->files, &s->data);
		memset(s, 0, sizeof *s);
		touch(&m->files, s);
	}
	tk_woken(m);
}

int64_t
tk_stream_read(struct tk_machine *m, uint16_t id, void *to, size_t len,
    bool peek)
{
	struct tk_stream *s = tk_stream_nth(&m->files, id);
	size_t n = s->data.len - s->start;

	if (len == 0)
		return (0);
	if (n == 0)
		return (s->writers == 0 ? 0 : -EAGAIN);
	if (n > len)
		n = len;
	memcpy(to, s->data.data + s->start, n);
	if (peek)
		return ((int64_t)n);
	touch(&m->files, s);
	/* Only for writers that found it full is this news. */
	if (TK_STREAM_ROOM - (s->data.len - s->start) < PIPE_BUF)
		s->outs++;
	s->start += n;
	if (s->start == s->data.len)
		s->start = s->data.len = 0;
	tk_woken(m);
	return ((int64_t)n);
}

int64_t
tk_stream_write(struct tk_machine *m, uint16_t id, const void *from,
    size_t len)
{
	struct tk_files *fs = &m->files;
	struct tk_stream *s = tk_stream_nth(fs, id);
	size_t used = s->data.len - s->start, room = TK_STREAM_ROOM - used;

	if (s->readers == 0)
		return (-EPIPE);
	if (len == 0)
		return (0);
	/* What is no longer than PIPE_BUF goes in one piece. */
	if (room == 0 || (len <= PIPE_BUF && room < len))
		return (-EAGAIN);
	if (len > room)
		len = room;
	touch(fs, s);
	if (s->start > 0) {
		memmove(s->data.data, s->data.data + s->start, used);
		s->data.len = used;
		s->start = 0;
	}
	if (!tk_bytes_add(fs, &s->data, from, len))
		return (-ENOMEM);
	s->ins++;
	tk_woken(m);
	return ((int64_t)len);
}

uint32_t
tk_stream_poll_in(const struct tk_files *fs, uint16_t id)
{
	const struct tk_stream *s = tk_stream_nth(fs, id);
	uint32_t r = 0;

	if (s->data.len > s->start)
		r |= POLLIN | POLLRDNORM;
	if (s->writers == 0)
		r |= POLLHUP;
	return (r);
}

uint32_t
tk_stream_poll_out(const struct tk_files *fs, uint16_t id)
{
	const struct tk_stream *s = tk_stream_nth(fs, id);
	uint32_t r = 0;

	if (TK_STREAM_ROOM - (s->data.len - s->start) >= PIPE_BUF)
		r |= POLLOUT | POLLWRNORM;
	if (s->readers == 0)
		r |= POLLERR;
	return (r);
}
