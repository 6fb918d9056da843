/*-
 * SPDX-License-Identifier: BSD-2-Clause
 *
 * The pages of writable memory that a fork has ever written, which are
 * exactly those that a reset copies back.
 */

#ifndef TK_WORKING_SET_H_INCLUDED
#define TK_WORKING_SET_H_INCLUDED

#include "memory.h"

struct tk_working_set {
	uint64_t		*member;	/* one bit per page */
	uint64_t		*log;		/* KVM's, room for a copy */
	uint32_t		*page;		/* dense list */
	unsigned		n;		/* pages in the list */
	unsigned		size;		/* pages of writable memory */
	/* Members that the host's writes may make: tk_ws_full(). */
	uint64_t		limit;
	/* Are most members idle? See tk_ws_restore(). */
	unsigned		resets;
	unsigned		idle_samples;
};

/* 0 or ENOMEM. The tables are touched only as far as they are used. */
int tk_ws_init(struct tk_working_set *, const struct tk_memory *);
void tk_ws_fini(struct tk_working_set *);

/* Host code is about to write, or KVM reported, this page. */
static inline void
tk_ws_add(struct tk_working_set *ws, unsigned page)
{
	uint64_t bit = 1ULL << (page & 63);

	if (ws->member[page >> 6] & bit)
		return;
	ws->member[page >> 6] |= bit;
	ws->page[ws->n++] = page;
}

/*
 * The call under way has written more than it may, by the members alone: the
 * one page too many lets the watchdog know it, too.
 */
static inline bool
tk_ws_full(const struct tk_working_set *ws)
{

	return (ws->n > ws->limit);
}

/* Adds all that ws->log names. */
void tk_ws_learn(struct tk_working_set *);

/*
 * Copies every member back from the master. Returns false when the set has
 * become a burden: many members of which few are still written. The caller
 * then drops the memory and the log and calls tk_ws_forget().
 */
bool tk_ws_restore(struct tk_working_set *, const struct tk_memory *fork,
    const struct tk_memory *master);
void tk_ws_forget(struct tk_working_set *);

#endif /* TK_WORKING_SET_H_INCLUDED */
