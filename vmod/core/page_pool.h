/*-
 * SPDX-License-Identifier: BSD-2-Clause
 *
 * Which pages of writable guest memory nobody uses.
 */

#ifndef TK_PAGE_POOL_H_INCLUDED
#define TK_PAGE_POOL_H_INCLUDED

#include "memory.h"
#include "working_set.h"

struct tk_extent {
	tk_gpa			start, end;
};

struct tk_page_pool {
	const struct tk_memory	*mem;
	struct tk_working_set	*ws;	/* a fork's, else NULL */
	tk_gpa			next;	/* never used from here on: zero */
	struct tk_extent	*unused; /* given back, may hold old data */
	unsigned		n_unused, room_unused;
	bool			exhausted;	/* a page could not be had */
};

/* All pages but the first TK_MAX_CPUS: these are exception stacks. */
void tk_pool_init(struct tk_page_pool *, const struct tk_memory *);
void tk_pool_fini(struct tk_page_pool *);

/* The call under way has written all that it may: tk_ws_full(). */
static inline bool
tk_pool_full(const struct tk_page_pool *pool)
{

	return (pool->ws != NULL && tk_ws_full(pool->ws));
}

/* Takes over what `from` says; memory and working set stay. 0 or ENOMEM. */
int tk_pool_copy(struct tk_page_pool *, const struct tk_page_pool *from);

/* One zeroed page; false when the program's memory is used up. */
bool tk_pool_take(struct tk_page_pool *, tk_gpa *);

/* Bytes that can still be taken. */
uint64_t tk_pool_free(const struct tk_page_pool *);

/* Gives a page back. Shared read-only pages are not ours: nothing happens. */
void tk_pool_give(struct tk_page_pool *, tk_gpa);

#endif /* TK_PAGE_POOL_H_INCLUDED */
