/*-
 * SPDX-License-Identifier: BSD-2-Clause
 *
 * Buffers of a machine's files: what they hold together is limited.
 */

#include <stdarg.h>
#include <stdio.h>

#include "../object.h"
#include "linux.h"

#define LEAST	256

/* Room for n bytes, no more and no less. */
static bool
set_room(struct tk_files *fs, struct tk_bytes *b, size_t n)
{
	uint8_t *more;

	if (fs->buffered - b->room + n > TK_MAX_BUFFERED)
		return (false);
	more = realloc(b->data, n);
	if (more == NULL)
		return (false);
	fs->buffered += n - b->room;
	b->data = more;
	b->room = n;
	return (true);
}

bool
tk_bytes_room(struct tk_files *fs, struct tk_bytes *b, size_t room)
{
	size_t n = b->room > LEAST ? b->room : LEAST;

	if (room <= b->room)
		return (true);
	if (room > TK_MAX_BUFFERED)
		return (false);
	while (n < room)
		n *= 2;
	if (fs->buffered - b->room + n > TK_MAX_BUFFERED)
		n = room;
	return (set_room(fs, b, n));
}

bool
tk_bytes_copy(struct tk_files *fs, struct tk_bytes *b,
    const struct tk_bytes *from)
{

	if (from->len > b->room && !set_room(fs, b, from->len))
		return (false);
	if (from->len > 0)
		memcpy(b->data, from->data, from->len);
	b->len = from->len;
	return (true);
}

bool
tk_bytes_add(struct tk_files *fs, struct tk_bytes *b, const void *data,
    size_t len)
{

	if (len > TK_MAX_BUFFERED || !tk_bytes_room(fs, b, b->len + len))
		return (false);
	memcpy(b->data + b->len, data, len);
	b->len += len;
	return (true);
}

bool
tk_bytes_printf(struct tk_files *fs, struct tk_bytes *b, const char *fmt, ...)
{
	char line[4096];
	va_list ap;
	int n;

	va_start(ap, fmt);
	n = vsnprintf(line, sizeof line, fmt, ap);
	va_end(ap);
	if (n < 0)
		return (false);
	if ((size_t)n >= sizeof line)
		n = sizeof line - 1;
	return (tk_bytes_add(fs, b, line, (size_t)n));
}

void
tk_bytes_free(struct tk_files *fs, struct tk_bytes *b)
{

	tk_assert(fs->buffered >= b->room);
	fs->buffered -= b->room;
	free(b->data);
	memset(b, 0, sizeof *b);
}
