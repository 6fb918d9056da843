/*-
 * SPDX-License-Identifier: BSD-2-Clause
 */

#include <errno.h>
#include <sys/mman.h>

#include "guest_layout.h"
#include "object.h"
#include "working_set.h"

/* Every so many resets the pages that really changed are counted, */
#define SAMPLE_EVERY	256
/* and after so many samples in a row in which under a quarter did, */
#define SAMPLES_IDLE	4
/* sets of at least so many pages are given up. */
#define WORTH_DROPPING	64

static size_t
bitmap_bytes(unsigned pages)
{

	return (((size_t)pages + 63) / 64 * 8);
}

/* Tables sized for the worst case cost nothing until they are touched. */
static void *
lazy_table(size_t bytes)
{
	void *p;

	p = mmap(NULL, bytes, PROT_READ | PROT_WRITE,
	    MAP_PRIVATE | MAP_ANONYMOUS | MAP_NORESERVE, -1, 0);
	return (p == MAP_FAILED ? NULL : p);
}

int
tk_ws_init(struct tk_working_set *ws, const struct tk_memory *mem)
{

	memset(ws, 0, sizeof *ws);
	ws->limit = UINT64_MAX;
	ws->size = (unsigned)((mem->end - mem->rw_gpa) >> TK_PAGE_SHIFT);
	ws->member = lazy_table(bitmap_bytes(ws->size));
	ws->log = lazy_table(bitmap_bytes(ws->size));
	ws->page = lazy_table(ws->size * sizeof *ws->page);
	if (ws->member != NULL && ws->log != NULL && ws->page != NULL)
		return (0);
	tk_ws_fini(ws);
	return (ENOMEM);
}

void
tk_ws_fini(struct tk_working_set *ws)
{

	if (ws->member != NULL)
		(void)munmap(ws->member, bitmap_bytes(ws->size));
	if (ws->log != NULL)
		(void)munmap(ws->log, bitmap_bytes(ws->size));
	if (ws->page != NULL)
		(void)munmap(ws->page, ws->size * sizeof *ws->page);
	memset(ws, 0, sizeof *ws);
}

void
tk_ws_learn(struct tk_working_set *ws)
{
	uint64_t fresh;
	size_t w;

	for (w = 0; w < bitmap_bytes(ws->size) / 8; w++) {
		fresh = ws->log[w] & ~ws->member[w];
		while (fresh != 0) {
			tk_ws_add(ws, (unsigned)(w * 64) +
			    (unsigned)__builtin_ctzll(fresh));
			fresh &= fresh - 1;
		}
	}
}

bool
tk_ws_restore(struct tk_working_set *ws, const struct tk_memory *fork,
    const struct tk_memory *master)
{
	const uint8_t *from;
	uint8_t *to;
	unsigned i, changed = 0;
	size_t offset;
	bool sample;

	sample = ++ws->resets % SAMPLE_EVERY == 0 && ws->n >= WORTH_DROPPING;
	from = tk_memory_at(master, master->rw_gpa);
	to = tk_memory_at(fork, fork->rw_gpa);
	for (i = 0; i < ws->n; i++) {
		offset = (size_t)ws->page[i] << TK_PAGE_SHIFT;
		if (sample && memcmp(to + offset, from + offset, TK_PAGE) != 0)
			changed++;
		memcpy(to + offset, from + offset, TK_PAGE);
	}
	if (sample)
		ws->idle_samples = changed < ws->n / 4 ?
		    ws->idle_samples + 1 : 0;
	return (ws->idle_samples < SAMPLES_IDLE);
}

void
tk_ws_forget(struct tk_working_set *ws)
{
	unsigned i;

	for (i = 0; i < ws->n; i++)
		ws->member[ws->page[i] >> 6] = 0;
	ws->n = 0;
	ws->idle_samples = 0;
}
