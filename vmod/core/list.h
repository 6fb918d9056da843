/*-
 * SPDX-License-Identifier: BSD-2-Clause
 *
 * Arrays that grow.
 */

#ifndef TK_LIST_H_INCLUDED
#define TK_LIST_H_INCLUDED

#include <stdbool.h>
#include <stdlib.h>

/* Room for `want` elements of `size` bytes, doubled; false without memory. */
static inline bool
tk_reserve(void **list, size_t want, unsigned *room, size_t size)
{
	size_t n = *room ? *room : 16;
	void *more;

	if (want <= *room)
		return (true);
	while (n < want)
		n *= 2;
	more = realloc(*list, n * size);
	if (more == NULL)
		return (false);
	*list = more;
	*room = (unsigned)n;
	return (true);
}

#endif /* TK_LIST_H_INCLUDED */
