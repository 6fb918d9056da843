/*-
 * SPDX-License-Identifier: BSD-2-Clause
 */

#include <errno.h>

#include "guest_layout.h"
#include "list.h"
#include "object.h"
#include "page_pool.h"

void
tk_pool_init(struct tk_page_pool *pool, const struct tk_memory *mem)
{

	memset(pool, 0, sizeof *pool);
	pool->mem = mem;
	pool->next = mem->rw_gpa + TK_MAX_CPUS * TK_PAGE;
}

void
tk_pool_fini(struct tk_page_pool *pool)
{

	free(pool->unused);
	memset(pool, 0, sizeof *pool);
}

int
tk_pool_copy(struct tk_page_pool *pool, const struct tk_page_pool *from)
{

	if (!tk_reserve((void **)&pool->unused, from->n_unused,
	    &pool->room_unused, sizeof *pool->unused))
		return (ENOMEM);
	if (from->n_unused > 0)
		memcpy(pool->unused, from->unused,
		    from->n_unused * sizeof *pool->unused);
	pool->n_unused = from->n_unused;
	pool->next = from->next;
	pool->exhausted = false;
	return (0);
}

bool
tk_pool_take(struct tk_page_pool *pool, tk_gpa *gpa)
{
	struct tk_extent *x;

	if (pool->next < pool->mem->end) {
		*gpa = pool->next;
		pool->next += TK_PAGE;
		return (true);
	}
	if (pool->n_unused == 0 || tk_pool_full(pool)) {
		pool->exhausted = true;
		return (false);
	}
	x = &pool->unused[pool->n_unused - 1];
	*gpa = x->start;
	x->start += TK_PAGE;
	if (x->start == x->end)
		pool->n_unused--;
	if (pool->ws != NULL)
		tk_ws_add(pool->ws, (unsigned)((*gpa - pool->mem->rw_gpa) >>
		    TK_PAGE_SHIFT));
	memset(tk_memory_at(pool->mem, *gpa), 0, TK_PAGE);
	return (true);
}

uint64_t
tk_pool_free(const struct tk_page_pool *pool)
{
	uint64_t n = pool->mem->end - pool->next;
	unsigned i;

	for (i = 0; i < pool->n_unused; i++)
		n += pool->unused[i].end - pool->unused[i].start;
	return (n);
}

void
tk_pool_give(struct tk_page_pool *pool, tk_gpa gpa)
{
	struct tk_extent *x;

	if (gpa < pool->mem->rw_gpa)
		return;
	if (pool->n_unused > 0) {
		x = &pool->unused[pool->n_unused - 1];
		if (x->end == gpa) {
			x->end += TK_PAGE;
			return;
		}
	}
	/* Out of memory for the list: the page is lost until the reset. */
	if (!tk_reserve((void **)&pool->unused, pool->n_unused + 1,
	    &pool->room_unused, sizeof *pool->unused))
		return;
	pool->unused[pool->n_unused].start = gpa;
	pool->unused[pool->n_unused].end = gpa + TK_PAGE;
	pool->n_unused++;
}
