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

void
tk_run_end(struct tk_space *sp, struct tk_run *r)
{

	if (r->to != r->from &&
	    tk_memory_flush(sp->pt.mem, r->from, r->to - r->from) != 0)
		sp->stale = true;
	r->from = r->to = 0;
}

void
tk_run_add(struct tk_space *sp, struct tk_run *r, uint64_t entry)
{
	tk_gpa gpa = entry & TK_PTE_ADDR;

	if (!(entry & TK_PTE_P) || gpa < sp->pt.mem->rw_gpa)
		return;
	if (gpa != r->to) {
		tk_run_end(sp, r);
		r->from = gpa;
	}
	r->to = gpa + TK_PAGE;
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

int
tk_entries_protect(struct tk_space *sp, tk_gva start, tk_gva end, unsigned prot,
    bool back)
{
	uint64_t *e, old, new;
	struct tk_run r = { 0, 0 };
	tk_gpa gpa;
	tk_gva a;

	for (a = start; a < end; a += TK_PAGE) {
		e = tk_pt_entry(&sp->pt, a, back);
		if (e == NULL) {
			if (!back) {
				a += skip(sp, a);
				continue;
			}
			tk_run_end(sp, &r);
			return (ENOMEM);
		}
		old = tk_pte(e);
		if (old == 0) {
			if (!back)
				continue;
			if (!tk_pool_take(&sp->pages, &gpa)) {
				tk_run_end(sp, &r);
				return (ENOMEM);
			}
			new = gpa | tk_entry_flags(prot);
		} else
			new = (old & TK_PTE_ADDR) | tk_entry_flags(prot);
		if (tk_pt_set(&sp->pt, e, new)) {
			tk_run_end(sp, &r);
			return (ENOMEM);
		}
		if ((old & ~new & (TK_PTE_P | TK_PTE_W)) ||
		    (new & ~old & TK_PTE_NX))
			tk_run_add(sp, &r, old);
	}
	tk_run_end(sp, &r);
	return (0);
}

static void
entries_clear(struct tk_space *sp, tk_gva start, tk_gva end)
{
	struct tk_run r = { 0, 0 };
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
		if (tk_pt_set(&sp->pt, e, 0)) {
			sp->stale = true;
			continue;
		}
		tk_run_add(sp, &r, old);
		tk_pool_give(&sp->pages, old & TK_PTE_ADDR);
	}
	tk_run_end(sp, &r);
}

int
tk_entries_move(struct tk_space *sp, tk_gva from, tk_gva to, uint64_t len)
{
	struct tk_run r = { 0, 0 };
	uint64_t *e, *f, off, old;

	for (off = 0; off < len; off += TK_PAGE) {
		e = tk_pt_entry(&sp->pt, from + off, false);
		if (e == NULL) {
			off += skip(sp, from + off);
			continue;
		}
		if (tk_pte(e) == 0)
			continue;
		old = tk_pte(e);
		f = tk_pt_entry(&sp->pt, to + off, true);
		if (f == NULL || tk_pt_set(&sp->pt, f, old) ||
		    tk_pt_set(&sp->pt, e, 0)) {
			tk_run_end(sp, &r);
			return (ENOMEM);
		}
		tk_run_add(sp, &r, old);
	}
	tk_run_end(sp, &r);
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

/* What was unmapped there is as it was when it was reserved: zero. */
static void
entries_renew(struct tk_space *sp, tk_gva start, tk_gva end)
{
	struct tk_run r = { 0, 0 };
	uint64_t *e, old, new;
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
			if (sp->pages.ws != NULL)
				tk_ws_add(sp->pages.ws, (unsigned)((gpa -
				    sp->pt.mem->rw_gpa) >> TK_PAGE_SHIFT));
			memset(page, 0, TK_PAGE);
		}
		new = gpa | tk_entry_flags(TK_PROT_RW);
		if (tk_pt_set(&sp->pt, e, new))
			sp->stale = true;
		if ((old & ~new & TK_PTE_P) || (new & ~old & TK_PTE_NX))
			tk_run_add(sp, &r, old);
	}
	tk_run_end(sp, &r);
}

void
tk_entries_drop(struct tk_space *sp, tk_gva start, tk_gva end)
{
	tk_gva from, to;

	reserved(sp, start, &from, &to);
	if (end <= from || start >= to) {
		entries_clear(sp, start, end);
		return;
	}
	if (start < from) {
		entries_clear(sp, start, from);
		start = from;
	}
	entries_renew(sp, start, end < to ? end : to);
	if (end > to)
		tk_entries_drop(sp, to, end);
}
