/*-
 * SPDX-License-Identifier: BSD-2-Clause
 */

#include <errno.h>

#include "object.h"
#include "space.h"

uint64_t
tk_entry_flags(unsigned prot)
{
	uint64_t f;

	if (prot == 0)
		return (TK_PTE_BACKED);
	f = TK_PTE_BACKED | TK_PTE_P | TK_PTE_U | TK_PTE_AD;
	if (prot & TK_PROT_W)
		f |= TK_PTE_W;
	if (!(prot & TK_PROT_X))
		f |= TK_PTE_NX;
	return (f);
}

/* The change of one entry; the CPU will be told at the end. 0 or ENOMEM. */
static int
entry_set(struct tk_space *sp, struct tk_flush *f, uint64_t *e, uint64_t new)
{
	uint64_t old = tk_pte(e);

	if (tk_pt_set(&sp->pt, e, new))
		return (ENOMEM);
	if (tk_pte_lowers(old, new))
		tk_flush_add(&sp->pt, f, old);
	return (0);
}

void
tk_entries_end(struct tk_space *sp, struct tk_flush *f)
{

	if (tk_flush_end(&sp->pt, f) != 0)
		sp->stale = true;
}

/* Text and rodata, that is. */
static bool
all_forks_see(const struct tk_space *sp, uint64_t entry)
{

	return (entry != 0 && (entry & TK_PTE_ADDR) < sp->pt.mem->rw_gpa);
}

/*
 * Where there is no table: how far to the last page of what it would map.
 * Reservations of terabytes are looked through in few steps.
 */
static uint64_t
skip(const struct tk_space *sp, tk_gva a)
{
	uint64_t left;

	(void)tk_pt_walk(&sp->pt, a, &left);
	return ((left - 1) & ~(uint64_t)(TK_PAGE - 1));
}

/* The value for an entry of this permission; 0: there is no memory for it. */
static uint64_t
with_permission(struct tk_space *sp, uint64_t old, unsigned prot)
{
	tk_gpa gpa = old & TK_PTE_ADDR;

	if (old == 0 && !tk_pool_take(&sp->pages, &gpa))
		return (0);
	if (all_forks_see(sp, old) && (prot & TK_PROT_W))
		return (0);
	return (gpa | tk_entry_flags(prot));
}

int
tk_entries_change(struct tk_space *sp, struct tk_flush *f, tk_gva start,
    tk_gva end, unsigned prot, bool back)
{
	uint64_t *e, new;
	tk_gva a;
	int r = 0;

	for (a = start; a < end && r == 0; a += TK_PAGE) {
		e = tk_pt_entry(&sp->pt, a, back);
		if (e == NULL) {
			if (back)
				r = ENOMEM;
			else
				a += skip(sp, a);
			continue;
		}
		if (tk_pte(e) == 0 && !back)
			continue;
		new = with_permission(sp, tk_pte(e), prot);
		r = new == 0 ? ENOMEM : entry_set(sp, f, e, new);
	}
	return (r);
}

int
tk_entries_protect(struct tk_space *sp, tk_gva start, tk_gva end, unsigned prot,
    bool back)
{
	struct tk_flush f = { 0 };
	int r;

	r = tk_entries_change(sp, &f, start, end, prot, back);
	tk_entries_end(sp, &f);
	return (r);
}

static void
entries_clear(struct tk_space *sp, struct tk_flush *f, tk_gva start, tk_gva end)
{
	uint64_t *e, old;
	tk_gva a;

	for (a = start; a < end; a += TK_PAGE) {
		e = tk_pt_entry(&sp->pt, a, false);
		if (e == NULL) {
			a += skip(sp, a);
			continue;
		}
		old = tk_pte(e);
		if (old == 0)
			continue;
		if (entry_set(sp, f, e, 0)) {
			sp->stale = true;
			continue;
		}
		tk_pool_give(&sp->pages, old & TK_PTE_ADDR);
	}
}

/* Tables for what will be moved. 0 or ENOMEM. */
static int
make_room(struct tk_space *sp, tk_gva from, tk_gva to, uint64_t len)
{
	uint64_t *e, off;

	for (off = 0; off < len; off += TK_PAGE) {
		e = tk_pt_entry(&sp->pt, from + off, false);
		if (e == NULL)
			off += skip(sp, from + off);
		else if (tk_pte(e) != 0 &&
		    tk_pt_entry(&sp->pt, to + off, true) == NULL)
			return (ENOMEM);
	}
	return (0);
}

int
tk_entries_move(struct tk_space *sp, tk_gva from, tk_gva to, uint64_t len)
{
	struct tk_flush f = { 0 };
	uint64_t *e, *at, off, gone;

	if (make_room(sp, from, to, len))
		return (ENOMEM);
	for (off = 0; off < len; off += TK_PAGE) {
		e = tk_pt_entry(&sp->pt, from + off, false);
		if (e == NULL) {
			off += skip(sp, from + off);
			continue;
		}
		if (tk_pte(e) == 0)
			continue;
		at = tk_pt_entry(&sp->pt, to + off, false);
		/* What was reserved there is not needed any more. */
		gone = tk_pte(at);
		if (entry_set(sp, &f, at, tk_pte(e)) ||
		    entry_set(sp, &f, e, 0))
			sp->stale = true;
		else if (gone != 0)
			tk_pool_give(&sp->pages, gone & TK_PTE_ADDR);
	}
	tk_entries_end(sp, &f);
	return (0);
}

/*--------------------------------------------------------------------
 * Unmapping, where entries are reserved: they stay
 */

/* The reserved range around or behind gva. */
static void
reserved(const struct tk_space *sp, tk_gva gva, tk_gva *from, tk_gva *to)
{
	tk_gva heap = tk_round_page(sp->brk_start);

	if (gva < sp->heap_end) {
		*from = heap;
		*to = sp->heap_end;
	} else {
		*from = sp->arena;
		*to = sp->arena_end;
	}
}

bool
tk_page_is_zero(const void *page)
{
	const uint8_t *p = page;

	return (p[0] == 0 && memcmp(p, p + 1, TK_PAGE - 1) == 0);
}

/*
 * What was unmapped there is as it was when it was reserved: zero. A call that
 * has written all that it may reserves nothing any more.
 */
static void
entries_renew(struct tk_space *sp, struct tk_flush *f, tk_gva start, tk_gva end)
{
	uint64_t *e, old;
	uint8_t *page;
	tk_gpa gpa;
	tk_gva a;

	for (a = start; a < end; a += TK_PAGE) {
		e = tk_pt_entry(&sp->pt, a, false);
		old = e != NULL ? tk_pte(e) : 0;
		gpa = old & TK_PTE_ADDR;
		if (gpa < sp->pt.mem->rw_gpa)
			continue;
		page = tk_memory_at(sp->pt.mem, gpa);
		if (!tk_page_is_zero(page)) {
			if (tk_pool_full(&sp->pages)) {
				entries_clear(sp, f, a, end);
				break;
			}
			if (sp->pages.ws != NULL)
				tk_ws_add(sp->pages.ws, (unsigned)((gpa -
				    sp->pt.mem->rw_gpa) >> TK_PAGE_SHIFT));
			memset(page, 0, TK_PAGE);
		}
		if (entry_set(sp, f, e, gpa | tk_entry_flags(TK_PROT_RW)))
			sp->stale = true;
	}
}

void
tk_entries_drop(struct tk_space *sp, struct tk_flush *f, tk_gva start,
    tk_gva end)
{
	tk_gva from, to;

	reserved(sp, start, &from, &to);
	if (end <= from || start >= to) {
		entries_clear(sp, f, start, end);
		return;
	}
	if (start < from) {
		entries_clear(sp, f, start, from);
		start = from;
	}
	entries_renew(sp, f, start, end < to ? end : to);
	if (end > to)
		tk_entries_drop(sp, f, to, end);
}
