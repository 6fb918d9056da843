/*-
 * SPDX-License-Identifier: BSD-2-Clause
 */

#include <errno.h>

#include "address_space.h"
#include "guest_layout.h"
#include "object.h"

#define ALIGNED(x)	(((x) & (TK_PAGE - 1)) == 0)

static uint64_t
round_page(uint64_t len)
{

	return ((len + TK_PAGE - 1) & ~(uint64_t)(TK_PAGE - 1));
}

const struct tk_vma *
tk_space_find(const struct tk_space *sp, tk_gva gva)
{
	unsigned i = tk_vmas_index(&sp->vmas, gva);

	if (i == sp->vmas.n || sp->vmas.vma[i].start > gva)
		return (NULL);
	return (&sp->vmas.vma[i]);
}

/* Is the range one that the guest may ask about at all? */
static int
check_range(const struct tk_space *sp, tk_gva start, uint64_t len)
{
	unsigned i;

	if (!ALIGNED(start) || len == 0 || len > TK_USER_END ||
	    start > TK_USER_END - len)
		return (EINVAL);
	for (i = tk_vmas_index(&sp->vmas, start); i < sp->vmas.n &&
	    sp->vmas.vma[i].start < start + len; i++)
		if (sp->vmas.vma[i].kind == TK_VMA_FIXED)
			return (EPERM);
	return (0);
}

/*--------------------------------------------------------------------
 * Page-table entries
 */

static uint64_t
entry_flags(unsigned prot)
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

/* A run of physical pages whose old mapping the CPU may still know. */
struct run {
	tk_gpa from, to;
};

static void
run_end(struct tk_space *sp, struct run *r)
{

	if (r->to != r->from &&
	    tk_memory_flush(sp->pt.mem, r->from, r->to - r->from) != 0)
		sp->stale = true;
	r->from = r->to = 0;
}

static void
run_add(struct tk_space *sp, struct run *r, uint64_t entry)
{
	tk_gpa gpa = entry & TK_PTE_ADDR;

	if (!(entry & TK_PTE_P) || gpa < sp->pt.mem->rw_gpa)
		return;
	if (gpa != r->to) {
		run_end(sp, r);
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

/*
 * Gives every page of the range its permission, and memory when it has none
 * and back says so.
 */
static int
entries_protect(struct tk_space *sp, tk_gva start, tk_gva end, unsigned prot,
    bool back)
{
	uint64_t *e, old, new;
	struct run r = { 0, 0 };
	tk_gpa gpa;
	tk_gva a;

	for (a = start; a < end; a += TK_PAGE) {
		e = tk_pt_entry(&sp->pt, a, back);
		if (e == NULL) {
			if (!back) {
				a += skip(sp, a);
				continue;
			}
			run_end(sp, &r);
			return (ENOMEM);
		}
		old = tk_pte(e);
		if (old == 0) {
			if (!back)
				continue;
			if (!tk_pool_take(&sp->pages, &gpa)) {
				run_end(sp, &r);
				return (ENOMEM);
			}
			new = gpa | entry_flags(prot);
		} else
			new = (old & TK_PTE_ADDR) | entry_flags(prot);
		if (tk_pt_set(&sp->pt, e, new)) {
			run_end(sp, &r);
			return (ENOMEM);
		}
		if ((old & ~new & (TK_PTE_P | TK_PTE_W)) ||
		    (new & ~old & TK_PTE_NX))
			run_add(sp, &r, old);
	}
	run_end(sp, &r);
	return (0);
}

static void
entries_clear(struct tk_space *sp, tk_gva start, tk_gva end)
{
	struct run r = { 0, 0 };
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
		run_add(sp, &r, old);
		tk_pool_give(&sp->pages, old & TK_PTE_ADDR);
	}
	run_end(sp, &r);
}

/*--------------------------------------------------------------------
 * Reserved ranges, whose entries stay
 */

#define PROT_RW		(TK_PROT_R | TK_PROT_W)

/* The reserved range around or behind gva. */
static void
reserved(const struct tk_space *sp, tk_gva gva, tk_gva *from, tk_gva *to)
{
	tk_gva heap = round_page(sp->brk_start);

	if (gva < sp->heap_end) {
		*from = heap;
		*to = sp->heap_end;
	} else {
		*from = sp->arena;
		*to = sp->arena_end;
	}
}

static bool
is_zero(const uint8_t *page)
{

	return (page[0] == 0 && memcmp(page, page + 1, TK_PAGE - 1) == 0);
}

/* What was unmapped there is as it was when it was reserved: zero. */
static void
entries_renew(struct tk_space *sp, tk_gva start, tk_gva end)
{
	struct run r = { 0, 0 };
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
		if (!is_zero(page)) {
			if (sp->pages.ws != NULL)
				tk_ws_add(sp->pages.ws, (unsigned)((gpa -
				    sp->pt.mem->rw_gpa) >> TK_PAGE_SHIFT));
			memset(page, 0, TK_PAGE);
		}
		new = gpa | entry_flags(PROT_RW);
		if (tk_pt_set(&sp->pt, e, new))
			sp->stale = true;
		if ((old & ~new & TK_PTE_P) || (new & ~old & TK_PTE_NX))
			run_add(sp, &r, old);
	}
	run_end(sp, &r);
}

/* A range is unmapped: its pages are free, or stay where they are reserved. */
static void
entries_drop(struct tk_space *sp, tk_gva start, tk_gva end)
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
		entries_drop(sp, to, end);
}

/* Backs what is mapped but was not touched yet, from the lowest address on. */
static int
back_lazy(struct tk_space *sp, uint64_t budget)
{
	const struct tk_vma *v;
	uint64_t before, want;
	unsigned i;

	for (i = 0; i < sp->vmas.n && budget > 0; i++) {
		v = &sp->vmas.vma[i];
		if (v->kind != TK_VMA_LAZY || v->prot != PROT_RW)
			continue;
		want = v->end - v->start < budget ? v->end - v->start : budget;
		before = tk_pool_free(&sp->pages);
		if (entries_protect(sp, v->start, v->start + want, v->prot,
		    true))
			return (ENOMEM);
		before -= tk_pool_free(&sp->pages);
		budget = before < budget ? budget - before : 0;
	}
	return (0);
}

int
tk_space_reserve(struct tk_space *sp, uint64_t heap, uint64_t arena)
{
	tk_gva from = round_page(sp->brk), at;

	if (back_lazy(sp, round_page(arena / 2)))
		return (ENOMEM);

	heap = round_page(heap);
	arena = round_page(arena);
	if (heap > 0 && tk_vmas_is_free(&sp->vmas, from, heap)) {
		if (entries_protect(sp, from, from + heap, PROT_RW, true))
			return (ENOMEM);
		sp->heap_end = from + heap;
	}
	at = arena > 0 ? tk_vmas_gap(&sp->vmas, TK_STUB_ALIAS +
	    TK_STUB_ALIAS_SIZE, TK_MMAP_TOP, arena) : 0;
	if (at > sp->heap_end) {
		if (entries_protect(sp, at, at + arena, PROT_RW, true))
			return (ENOMEM);
		sp->arena = at;
		sp->arena_end = at + arena;
	}
	return (0);
}

uint64_t
tk_space_free(const struct tk_space *sp)
{

	return (tk_pool_free(&sp->pages) + (sp->arena_end - sp->arena));
}

/* Where a new mapping goes that may go anywhere; 0: there is no room. */
static tk_gva
find_room(const struct tk_space *sp, uint64_t len, unsigned prot,
    enum tk_vma_kind kind)
{
	tk_gva low = TK_STUB_ALIAS + TK_STUB_ALIAS_SIZE, at = 0;

	if (sp->arena != 0 && prot == PROT_RW && kind == TK_VMA_MMAP)
		at = tk_vmas_gap(&sp->vmas, sp->arena, sp->arena_end, len);
	/* Others keep out of the arena, whose entries they would change. */
	if (at == 0 && sp->arena != 0)
		at = tk_vmas_gap(&sp->vmas, low, sp->arena, len);
	if (at == 0)
		at = tk_vmas_gap(&sp->vmas, low, TK_MMAP_TOP, len);
	return (at);
}

/*--------------------------------------------------------------------
 * The verbs
 */

void
tk_space_init(struct tk_space *sp, struct tk_memory *mem)
{

	memset(sp, 0, sizeof *sp);
	tk_pt_init(&sp->pt, mem);
	tk_pool_init(&sp->pages, mem);
}

void
tk_space_fini(struct tk_space *sp)
{

	tk_vmas_fini(&sp->vmas);
	tk_pool_fini(&sp->pages);
	memset(sp, 0, sizeof *sp);
}

int
tk_space_copy(struct tk_space *sp, const struct tk_space *from)
{

	if (tk_vmas_copy(&sp->vmas, &from->vmas) ||
	    tk_pool_copy(&sp->pages, &from->pages))
		return (ENOMEM);
	sp->brk_start = from->brk_start;
	sp->brk = from->brk;
	sp->heap_end = from->heap_end;
	sp->arena = from->arena;
	sp->arena_end = from->arena_end;
	sp->allow_wx = from->allow_wx;
	sp->pt.root = from->pt.root;
	sp->pt.next = from->pt.next;
	return (0);
}

/*
 * Writable and executable at once, or executable at all but by the loader or
 * from a file that policy allows: libraries.
 */
static bool
forbidden(const struct tk_space *sp, unsigned prot, unsigned kind)
{

	if (sp->allow_wx || !(prot & TK_PROT_X))
		return (false);
	if (kind == TK_VMA_FILE)
		return ((prot & TK_PROT_W) != 0);
	return (kind != TK_VMA_PROGRAM && kind != TK_VMA_FIXED);
}

int64_t
tk_space_map(struct tk_space *sp, tk_gva hint, uint64_t len, unsigned prot,
    enum tk_vma_kind kind, bool fixed, bool replace)
{
	struct tk_vma v;
	int e;

	if (len == 0 || len > TK_USER_END)
		return (len == 0 ? -EINVAL : -ENOMEM);
	len = round_page(len);
	if (forbidden(sp, prot, kind))
		return (-EACCES);
	if (fixed) {
		if (hint < TK_USER_MIN)
			return (-EPERM);
		e = check_range(sp, hint, len);
		if (e != 0)
			return (e == EINVAL && ALIGNED(hint) ? -ENOMEM : -e);
		if (hint < TK_STUB_ALIAS + TK_STUB_ALIAS_SIZE &&
		    hint + len > TK_STUB_ALIAS)
			return (-EPERM);
		if (!tk_vmas_is_free(&sp->vmas, hint, len)) {
			if (!replace)
				return (-EEXIST);
			e = tk_space_unmap(sp, hint, len);
			if (e != 0)
				return (-e);
		}
	} else {
		hint &= ~(tk_gva)(TK_PAGE - 1);
		if (hint < TK_USER_MIN || (hint < TK_STUB_ALIAS +
		    TK_STUB_ALIAS_SIZE && hint + len > TK_STUB_ALIAS) ||
		    hint > TK_MMAP_TOP || len > TK_MMAP_TOP - hint ||
		    !tk_vmas_is_free(&sp->vmas, hint, len))
			hint = find_room(sp, len, prot, kind);
		if (hint == 0)
			return (-ENOMEM);
	}
	if (kind == TK_VMA_MMAP && len >= TK_LAZY_MIN)
		kind = TK_VMA_LAZY;
	v.start = hint;
	v.end = hint + len;
	v.prot = (uint8_t)prot;
	v.kind = (uint8_t)kind;
	if (tk_vmas_insert(&sp->vmas, v))
		return (-ENOMEM);
	if (prot != 0 && kind != TK_VMA_LAZY &&
	    entries_protect(sp, v.start, v.end, prot, true)) {
		(void)tk_vmas_split(&sp->vmas, v.start, v.end);
		(void)tk_space_unmap(sp, v.start, len);
		return (-ENOMEM);
	}
	return ((int64_t)hint);
}

int
tk_space_map_at(struct tk_space *sp, tk_gva gva, uint64_t len, unsigned prot,
    enum tk_vma_kind kind, tk_gpa gpa)
{
	struct tk_vma v = { gva, gva + len, (uint8_t)prot, (uint8_t)kind };
	uint64_t *e;

	tk_assert(ALIGNED(gva) && ALIGNED(len) && ALIGNED(gpa));
	if (tk_vmas_insert(&sp->vmas, v))
		return (ENOMEM);
	while (gva < v.end) {
		if (gva % TK_HUGE == 0 && gpa % TK_HUGE == 0 &&
		    v.end - gva >= TK_HUGE &&
		    tk_pt_set_huge(&sp->pt, gva, gpa, entry_flags(prot)) == 0) {
			gva += TK_HUGE;
			gpa += TK_HUGE;
			continue;
		}
		e = tk_pt_entry(&sp->pt, gva, true);
		if (e == NULL || tk_pt_set(&sp->pt, e, gpa | entry_flags(prot)))
			return (ENOMEM);
		gva += TK_PAGE;
		gpa += TK_PAGE;
	}
	return (0);
}

int
tk_space_unmap(struct tk_space *sp, tk_gva start, uint64_t len)
{
	unsigned i, j;
	int e;

	if (len > TK_USER_END)
		return (EINVAL);
	len = round_page(len);
	e = check_range(sp, start, len);
	if (e != 0)
		return (e);
	e = tk_vmas_split(&sp->vmas, start, start + len);
	if (e != 0)
		return (e);
	i = j = tk_vmas_index(&sp->vmas, start);
	while (j < sp->vmas.n && sp->vmas.vma[j].end <= start + len) {
		entries_drop(sp, sp->vmas.vma[j].start, sp->vmas.vma[j].end);
		j++;
	}
	tk_vmas_remove(&sp->vmas, i, j);
	return (0);
}

int
tk_space_protect(struct tk_space *sp, tk_gva start, uint64_t len,
    unsigned prot)
{
	unsigned i;
	tk_gva end, a;
	int e;

	if (len == 0)
		return (ALIGNED(start) ? 0 : EINVAL);
	if (len > TK_USER_END)
		return (ENOMEM);
	len = round_page(len);
	end = start + len;
	e = check_range(sp, start, len);
	if (e != 0)
		return (e == EPERM ? EACCES : e);
	for (a = start, i = tk_vmas_index(&sp->vmas, start); a < end; i++) {
		if (i == sp->vmas.n || sp->vmas.vma[i].start > a)
			return (ENOMEM);
		if (prot & ~(unsigned)sp->vmas.vma[i].prot & TK_PROT_X &&
		    !sp->allow_wx)
			return (EACCES);
		a = sp->vmas.vma[i].end;
	}
	if ((prot & (TK_PROT_W | TK_PROT_X)) == (TK_PROT_W | TK_PROT_X) &&
	    !sp->allow_wx)
		return (EACCES);
	if ((prot & TK_PROT_W) && !sp->allow_wx) {
		/* Text and rodata are shared by all forks. */
		for (a = start; a < end; a += TK_PAGE) {
			uint64_t left, pte = tk_pt_walk(&sp->pt, a, &left);

			if (pte != 0 &&
			    (pte & TK_PTE_ADDR) < sp->pt.mem->rw_gpa)
				return (EACCES);
		}
	}
	e = tk_vmas_split(&sp->vmas, start, end);
	if (e != 0)
		return (e);
	for (i = tk_vmas_index(&sp->vmas, start); i < sp->vmas.n &&
	    sp->vmas.vma[i].start < end; i++) {
		if (sp->vmas.vma[i].prot == prot)
			continue;
		e = entries_protect(sp, sp->vmas.vma[i].start,
		    sp->vmas.vma[i].end, prot, prot != 0 &&
		    sp->vmas.vma[i].kind != TK_VMA_LAZY);
		if (e != 0)
			return (e);
		sp->vmas.vma[i].prot = (uint8_t)prot;
	}
	return (0);
}

int
tk_space_zero(struct tk_space *sp, tk_gva start, uint64_t len)
{
	uint64_t left, n;
	tk_gva a;
	void *p;
	int e;

	if (len > TK_USER_END)
		return (EINVAL);
	len = round_page(len);
	e = check_range(sp, start, len);
	if (e != 0)
		return (e);
	for (a = start; a < start + len; a += n) {
		/* What is not backed is zero already. */
		if (tk_pt_walk(&sp->pt, a, &left) == 0) {
			n = (left + TK_PAGE - 1) & ~(uint64_t)(TK_PAGE - 1);
			continue;
		}
		p = tk_space_write_at(sp, a, &left);
		n = TK_PAGE;
		if (p != NULL)
			memset(p, 0, n);
	}
	return (0);
}

int
tk_space_fill(struct tk_space *sp, tk_gva gva, const void *from, size_t len)
{
	const struct tk_vma *v;
	const uint8_t *in = from;
	uint64_t *e, n;
	tk_gpa gpa;

	for (; len > 0; gva += n, in += n, len -= n) {
		v = tk_space_find(sp, gva);
		e = tk_pt_entry(&sp->pt, gva & ~(tk_gva)(TK_PAGE - 1), true);
		if (v == NULL || e == NULL)
			return (ENOMEM);
		if (tk_pte(e) == 0 && (!tk_pool_take(&sp->pages, &gpa) ||
		    tk_pt_set(&sp->pt, e, gpa | entry_flags(v->prot))))
			return (ENOMEM);
		gpa = tk_pte(e) & TK_PTE_ADDR;
		tk_assert(gpa >= sp->pt.mem->rw_gpa);
		n = TK_PAGE - (gva & (TK_PAGE - 1));
		if (n > len)
			n = len;
		if (sp->pages.ws != NULL)
			tk_ws_add(sp->pages.ws, (unsigned)((gpa -
			    sp->pt.mem->rw_gpa) >> TK_PAGE_SHIFT));
		memcpy((uint8_t *)tk_memory_at(sp->pt.mem, gpa) +
		    (gva & (TK_PAGE - 1)), in, n);
	}
	return (0);
}

/* Moves the entries of a range; the pages stay where they are. */
static int
entries_move(struct tk_space *sp, tk_gva from, tk_gva to, uint64_t len)
{
	struct run r = { 0, 0 };
	uint64_t *e, *f, off, old;

	for (off = 0; off < len; off += TK_PAGE) {
		e = tk_pt_entry(&sp->pt, from + off, false);
		if (e == NULL || tk_pte(e) == 0)
			continue;
		old = tk_pte(e);
		f = tk_pt_entry(&sp->pt, to + off, true);
		if (f == NULL || tk_pt_set(&sp->pt, f, old) ||
		    tk_pt_set(&sp->pt, e, 0)) {
			run_end(sp, &r);
			return (ENOMEM);
		}
		run_add(sp, &r, old);
	}
	run_end(sp, &r);
	return (0);
}

/* Within reserved memory a copy is cheaper than a change of page tables. */
static int64_t
remap_by_copy(struct tk_space *sp, tk_gva start, uint64_t old_len,
    uint64_t new_len)
{
	uint64_t off, left;
	const void *from;
	void *page;
	int64_t to;
	int e;

	to = tk_space_map(sp, 0, new_len, PROT_RW, TK_VMA_MMAP, false, false);
	if (to < 0)
		return (to);
	for (off = 0; off < old_len; off += TK_PAGE) {
		from = tk_space_read_at(sp, start + off, &left);
		if (from == NULL || is_zero(from))
			continue;
		page = tk_space_write_at(sp, (tk_gva)to + off, &left);
		if (page == NULL) {
			(void)tk_space_unmap(sp, (tk_gva)to, new_len);
			return (-ENOMEM);
		}
		memcpy(page, from, TK_PAGE);
	}
	e = tk_space_unmap(sp, start, old_len);
	return (e != 0 ? -e : to);
}

int64_t
tk_space_remap(struct tk_space *sp, tk_gva start, uint64_t old_len,
    uint64_t new_len, bool may_move)
{
	const struct tk_vma *v;
	struct tk_vma moved;
	int64_t to;
	int e;

	if (new_len == 0 || new_len > TK_USER_END || old_len > TK_USER_END)
		return (-EINVAL);
	old_len = round_page(old_len);
	new_len = round_page(new_len);
	e = check_range(sp, start, old_len);
	if (e != 0)
		return (e == EPERM ? -EFAULT : -e);
	v = tk_space_find(sp, start);
	if (v == NULL || v->end - start < old_len)
		return (-EFAULT);
	if (new_len == old_len)
		return ((int64_t)start);
	if (new_len < old_len) {
		e = tk_space_unmap(sp, start + new_len, old_len - new_len);
		return (e != 0 ? -e : (int64_t)start);
	}
	moved = *v;
	to = tk_space_map(sp, start + old_len, new_len - old_len, moved.prot,
	    moved.kind, true, false);
	if (to > 0)
		return ((int64_t)start);
	if (!may_move)
		return (-ENOMEM);
	if (sp->arena != 0 && moved.prot == PROT_RW)
		return (remap_by_copy(sp, start, old_len, new_len));
	/* Reserve, move the old pages, then back the rest. */
	to = tk_space_map(sp, 0, new_len, 0, moved.kind, false, false);
	if (to < 0)
		return (to);
	e = entries_move(sp, start, (tk_gva)to, old_len);
	if (e == 0)
		e = tk_space_protect(sp, (tk_gva)to, new_len, moved.prot);
	if (e == 0)
		e = tk_space_unmap(sp, start, old_len);
	return (e != 0 ? -e : to);
}

tk_gva
tk_space_brk(struct tk_space *sp, tk_gva want)
{
	tk_gva old, new;

	old = round_page(sp->brk);
	if (want < sp->brk_start || want > TK_USER_END)
		return (sp->brk);
	new = round_page(want);
	if (new > old) {
		if (tk_space_map(sp, old, new - old, TK_PROT_R | TK_PROT_W,
		    TK_VMA_HEAP, true, false) < 0)
			return (sp->brk);
	} else if (new < old && tk_space_unmap(sp, new, old - new) != 0)
		return (sp->brk);
	sp->brk = want;
	return (want);
}

/*--------------------------------------------------------------------
 * Access
 */

/* Pages that one fault backs: 256 KiB. */
#define CLUSTER		64

static bool
allows(const struct tk_vma *v, unsigned prot)
{

	return (v != NULL && (v->prot & prot) == prot);
}

bool
tk_space_fault(struct tk_space *sp, tk_gva gva, unsigned prot)
{
	const struct tk_vma *v;
	uint64_t left;
	tk_gva from, to;

	if (gva >= TK_USER_END)
		return (false);
	v = tk_space_find(sp, gva);
	if (!allows(v, prot))
		return (false);
	/*
	 * Present and allowed: on hardware a fault that was raised by an entry
	 * from before the host raised its permission is spurious.
	 */
	if (tk_pt_walk(&sp->pt, gva, &left) != 0)
		return (true);
	from = gva & ~(tk_gva)(CLUSTER * TK_PAGE - 1);
	to = from + CLUSTER * TK_PAGE;
	if (from < v->start)
		from = v->start;
	if (to > v->end)
		to = v->end;
	(void)entries_protect(sp, from, to, v->prot, true);
	/* Short of memory, at least this one. */
	return (tk_pt_walk(&sp->pt, gva, &left) != 0 ||
	    entries_protect(sp, gva & ~(tk_gva)(TK_PAGE - 1),
	    (gva & ~(tk_gva)(TK_PAGE - 1)) + TK_PAGE, v->prot, true) == 0);
}

/* The entry of a page that the guest may use so; 0 when it may not. */
static uint64_t
user_entry(const struct tk_space *sp, tk_gva gva, uint64_t *left)
{
	const struct tk_memory *mem = sp->pt.mem;
	uint64_t pte;
	tk_gpa gpa;

	if (gva >= TK_USER_END)
		return (0);
	pte = tk_pt_walk(&sp->pt, gva, left);
	if ((pte & (TK_PTE_P | TK_PTE_U)) != (TK_PTE_P | TK_PTE_U))
		return (0);
	gpa = pte & TK_PTE_ADDR;
	/* The kernel's own pages are not data that a guest may hand to us. */
	if (gpa < TK_RO_GPA || (gpa >= mem->pt_gpa && gpa < mem->rw_gpa) ||
	    gpa >= mem->end + mem->shared_size)
		return (0);
	return (pte);
}

static uint8_t *
host_address(const struct tk_space *sp, uint64_t pte, tk_gva gva)
{

	return ((uint8_t *)tk_memory_at(sp->pt.mem, pte & TK_PTE_ADDR) +
	    (gva & (TK_PAGE - 1)));
}

const void *
tk_space_read_at(const struct tk_space *sp, tk_gva gva, uint64_t *left)
{
	static const uint8_t zeros[TK_PAGE] __attribute__((aligned(TK_PAGE)));
	uint64_t pte = user_entry(sp, gva, left);

	if (pte != 0)
		return (host_address(sp, pte, gva));
	if (gva >= TK_USER_END || tk_pt_walk(&sp->pt, gva, left) != 0 ||
	    !allows(tk_space_find(sp, gva), TK_PROT_R))
		return (NULL);
	*left = TK_PAGE - (gva & (TK_PAGE - 1));
	return (zeros + (gva & (TK_PAGE - 1)));
}

void *
tk_space_write_at(struct tk_space *sp, tk_gva gva, uint64_t *left)
{
	const struct tk_memory *mem = sp->pt.mem;
	uint64_t pte = user_entry(sp, gva, left);
	tk_gpa gpa;

	if (pte == 0 && tk_space_fault(sp, gva, TK_PROT_W))
		pte = user_entry(sp, gva, left);
	if (!(pte & TK_PTE_W))
		return (NULL);
	gpa = pte & TK_PTE_ADDR;
	tk_assert(gpa >= mem->rw_gpa);
	if (sp->pages.ws != NULL && gpa < mem->end)
		tk_ws_add(sp->pages.ws, (unsigned)((gpa - mem->rw_gpa) >>
		    TK_PAGE_SHIFT));
	*left = TK_PAGE - (gva & (TK_PAGE - 1));
	return (host_address(sp, pte, gva));
}

bool
tk_space_writable(const struct tk_space *sp, tk_gva gva, uint64_t *left)
{
	uint64_t pte = user_entry(sp, gva, left);

	if (pte != 0)
		return ((pte & TK_PTE_W) != 0);
	if (gva >= TK_USER_END || tk_pt_walk(&sp->pt, gva, left) != 0)
		return (false);
	*left = TK_PAGE - (gva & (TK_PAGE - 1));
	return (allows(tk_space_find(sp, gva), TK_PROT_W));
}

bool
tk_space_executable(const struct tk_space *sp, tk_gva gva)
{
	uint64_t left, pte = user_entry(sp, gva, &left);

	return (pte != 0 && !(pte & TK_PTE_NX));
}
