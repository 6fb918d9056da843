/*-
 * SPDX-License-Identifier: BSD-2-Clause
 */

#include <errno.h>
#include <limits.h>

#include "object.h"
#include "space.h"

#define ALIGNED(x)	(((x) & (TK_PAGE - 1)) == 0)

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
	tk_pt_copy(&sp->pt, &from->pt);
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
	bool back;
	int e;

	if (len == 0 || len > TK_USER_END)
		return (len == 0 ? -EINVAL : -ENOMEM);
	len = tk_round_page(len);
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
			hint = tk_find_room(sp, len, prot, kind);
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
	back = prot != 0 && kind != TK_VMA_LAZY;
	/* Where addresses are reserved there are entries, of TK_PROT_RW. */
	if ((back || prot != TK_PROT_RW) &&
	    tk_entries_protect(sp, v.start, v.end, prot, back)) {
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
		    tk_pt_set_huge(&sp->pt, gva, gpa, tk_entry_flags(prot)) == 0) {
			gva += TK_HUGE;
			gpa += TK_HUGE;
			continue;
		}
		e = tk_pt_entry(&sp->pt, gva, true);
		if (e == NULL || tk_pt_set(&sp->pt, e, gpa | tk_entry_flags(prot)))
			return (ENOMEM);
		gva += TK_PAGE;
		gpa += TK_PAGE;
	}
	return (0);
}

/*
 * Text and rodata may be mapped by entries of 2 MiB, which stay as they are:
 * page_table.h says why.
 */
static bool
is_huge(const struct tk_space *sp, const struct tk_vma *v, tk_gva start,
    tk_gva end)
{
	uint64_t left;
	tk_gva a;

	if (v->kind != TK_VMA_PROGRAM)
		return (false);
	if (start < v->start)
		start = v->start;
	if (end > v->end)
		end = v->end;
	for (a = start; a < end; a += tk_round_page(left))
		if (tk_pt_walk(&sp->pt, a, &left) & TK_PTE_HUGE)
			return (true);
	return (false);
}

/* Nothing of the range is, or all that is has this permission already. */
static bool
can_become(const struct tk_space *sp, tk_gva start, tk_gva end, unsigned prot)
{
	const struct tk_vma *v;
	unsigned i;

	for (i = tk_vmas_index(&sp->vmas, start); i < sp->vmas.n; i++) {
		v = &sp->vmas.vma[i];
		if (v->start >= end)
			break;
		if (v->prot != prot && is_huge(sp, v, start, end))
			return (false);
	}
	return (true);
}

/* No permission at all: not mapped. */
#define UNMAPPED	UINT_MAX

int
tk_space_unmap(struct tk_space *sp, tk_gva start, uint64_t len)
{
	struct tk_flush f = { 0 };
	unsigned i, j;
	int e;

	if (len > TK_USER_END)
		return (EINVAL);
	len = tk_round_page(len);
	e = check_range(sp, start, len);
	if (e != 0)
		return (e);
	if (!can_become(sp, start, start + len, UNMAPPED))
		return (ENOMEM);
	e = tk_vmas_split(&sp->vmas, start, start + len);
	if (e != 0)
		return (e);
	i = j = tk_vmas_index(&sp->vmas, start);
	while (j < sp->vmas.n && sp->vmas.vma[j].end <= start + len) {
		tk_entries_drop(sp, &f, sp->vmas.vma[j].start,
		    sp->vmas.vma[j].end);
		j++;
	}
	tk_entries_end(sp, &f);
	tk_vmas_remove(&sp->vmas, i, j);
	return (0);
}

static bool
is_mapped(const struct tk_space *sp, tk_gva start, tk_gva end)
{
	unsigned i;

	for (i = tk_vmas_index(&sp->vmas, start); start < end; i++) {
		if (i == sp->vmas.n || sp->vmas.vma[i].start > start)
			return (false);
		start = sp->vmas.vma[i].end;
	}
	return (true);
}

static bool
is_shared(const struct tk_space *sp, tk_gva start, tk_gva end)
{
	uint64_t left, pte;
	tk_gva a;

	for (a = start; a < end; a += tk_round_page(left)) {
		pte = tk_pt_walk(&sp->pt, a, &left);
		if (pte != 0 && (pte & TK_PTE_ADDR) < sp->pt.mem->rw_gpa)
			return (true);
	}
	return (false);
}

int
tk_space_protect(struct tk_space *sp, tk_gva start, uint64_t len,
    unsigned prot)
{
	struct tk_flush f = { 0 };
	unsigned i;
	tk_gva end;
	int e;

	if (len == 0)
		return (ALIGNED(start) ? 0 : EINVAL);
	if (len > TK_USER_END)
		return (ENOMEM);
	len = tk_round_page(len);
	end = start + len;
	e = check_range(sp, start, len);
	if (e != 0)
		return (e == EPERM ? EACCES : e);
	if (!is_mapped(sp, start, end))
		return (ENOMEM);
	for (i = tk_vmas_index(&sp->vmas, start); i < sp->vmas.n &&
	    sp->vmas.vma[i].start < end; i++)
		if (prot & ~(unsigned)sp->vmas.vma[i].prot & TK_PROT_X &&
		    !sp->allow_wx)
			return (EACCES);
	if ((prot & (TK_PROT_W | TK_PROT_X)) == (TK_PROT_W | TK_PROT_X) &&
	    !sp->allow_wx)
		return (EACCES);
	/* Text and rodata are shared by all forks. */
	if ((prot & TK_PROT_W) && is_shared(sp, start, end))
		return (EACCES);
	if (!can_become(sp, start, end, prot))
		return (ENOMEM);
	e = tk_vmas_split(&sp->vmas, start, end);
	if (e != 0)
		return (e);
	for (i = tk_vmas_index(&sp->vmas, start); i < sp->vmas.n && e == 0 &&
	    sp->vmas.vma[i].start < end; i++) {
		if (sp->vmas.vma[i].prot == prot)
			continue;
		e = tk_entries_change(sp, &f, sp->vmas.vma[i].start,
		    sp->vmas.vma[i].end, prot, prot != 0 &&
		    sp->vmas.vma[i].kind != TK_VMA_LAZY);
		if (e == 0)
			sp->vmas.vma[i].prot = (uint8_t)prot;
	}
	tk_entries_end(sp, &f);
	return (e);
}

/*
 * Does a page that is given up become zeros? Not what is shared by all forks,
 * nor what is a file's to Linux, unless the program can write it; nor what is
 * zero already: as written it would be the request's, and be reset ever after.
 */
static bool
becomes_zero(const struct tk_space *sp, tk_gva gva, uint64_t pte)
{
	const struct tk_vma *v = tk_space_find(sp, gva);
	tk_gpa gpa = pte & TK_PTE_ADDR;

	if (v == NULL || gpa < sp->pt.mem->rw_gpa)
		return (false);
	if (!(v->prot & TK_PROT_W) && (v->kind == TK_VMA_PROGRAM ||
	    v->kind == TK_VMA_FILE))
		return (false);
	return (!tk_page_is_zero(tk_memory_at(sp->pt.mem, gpa)));
}

int
tk_space_zero(struct tk_space *sp, tk_gva start, uint64_t len)
{
	static const uint8_t zeros[TK_PAGE];
	uint64_t left, n, pte;
	tk_gva a;
	int e;

	if (len > TK_USER_END)
		return (EINVAL);
	len = tk_round_page(len);
	e = check_range(sp, start, len);
	if (e != 0)
		return (e);
	for (a = start; a < start + len; a += n) {
		/* What is not backed is zero already. */
		pte = tk_pt_walk(&sp->pt, a, &left);
		if (pte == 0) {
			n = tk_round_page(left);
			continue;
		}
		n = TK_PAGE;
		if (becomes_zero(sp, a, pte)) {
			e = tk_space_fill(sp, a, zeros, n);
			if (e != 0)
				return (e);
		}
	}
	return (is_mapped(sp, start, start + len) ? 0 : ENOMEM);
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
		    tk_pt_set(&sp->pt, e, gpa | tk_entry_flags(v->prot))))
			return (ENOMEM);
		gpa = tk_pte(e) & TK_PTE_ADDR;
		if (gpa < sp->pt.mem->rw_gpa || tk_pool_full(&sp->pages))
			return (ENOMEM);
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

/* Within reserved memory a copy is cheaper than a change of page tables. */
static int64_t
remap_by_copy(struct tk_space *sp, tk_gva start, uint64_t old_len,
    uint64_t new_len)
{
	uint64_t off, left, n;
	const void *from;
	void *page;
	int64_t to;
	int e;

	to = tk_space_map(sp, 0, new_len, TK_PROT_RW, TK_VMA_MMAP, false, false);
	if (to < 0)
		return (to);
	for (off = 0; off < old_len; off += n) {
		/* What is not backed is zero there, too. */
		if (tk_pt_walk(&sp->pt, start + off, &left) == 0) {
			n = tk_round_page(left);
			continue;
		}
		n = TK_PAGE;
		from = tk_space_read_at(sp, start + off, &left);
		if (from == NULL || tk_page_is_zero(from))
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

/*
 * Moves the pages, and backs the rest as the kind of mapping wants it. -ENOMEM:
 * nothing was moved. The borders of the old range are borders of ranges.
 */
static int64_t
remap_by_entries(struct tk_space *sp, struct tk_vma moved, uint64_t new_len)
{
	uint64_t old_len = moved.end - moved.start;
	bool back = moved.prot != 0 && moved.kind != TK_VMA_LAZY;
	tk_gva at, end;
	int64_t to;

	to = tk_space_map(sp, 0, new_len, 0, moved.kind, false, false);
	if (to < 0)
		return (to);
	at = (tk_gva)to;
	end = at + new_len;
	if (tk_vmas_split(&sp->vmas, at, end) ||
	    tk_entries_protect(sp, at + old_len, end, moved.prot, back) ||
	    tk_entries_move(sp, moved.start, at, old_len)) {
		(void)tk_space_unmap(sp, at, new_len);
		return (-ENOMEM);
	}
	/* Pages that were reserved where none was moved to. */
	if (tk_entries_protect(sp, at, at + old_len, moved.prot, false))
		sp->stale = true;
	sp->vmas.vma[tk_vmas_index(&sp->vmas, at)].prot = moved.prot;
	return (to);
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
	old_len = tk_round_page(old_len);
	new_len = tk_round_page(new_len);
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
	/*
	 * What all forks share stays where it is: elsewhere it would pass for
	 * memory of the program's own.
	 */
	if (!may_move || is_shared(sp, start, start + old_len))
		return (-ENOMEM);
	/* From here on the old range can be unmapped, or nothing happens. */
	if (tk_vmas_split(&sp->vmas, start, start + old_len))
		return (-ENOMEM);
	moved.start = start;
	moved.end = start + old_len;
	if (sp->arena != 0 && moved.prot == TK_PROT_RW)
		return (remap_by_copy(sp, start, old_len, new_len));
	to = remap_by_entries(sp, moved, new_len);
	if (to < 0)
		return (to);
	e = tk_space_unmap(sp, start, old_len);
	return (e != 0 ? -e : to);
}

/* Beyond what is reserved for the heap each page is one of the pool's. */
static bool
can_grow(const struct tk_space *sp, tk_gva old, tk_gva new)
{
	tk_gva from = old > sp->heap_end ? old : sp->heap_end;

	return (new <= from || new - from <= tk_pool_free(&sp->pages));
}

tk_gva
tk_space_brk(struct tk_space *sp, tk_gva want)
{
	tk_gva old, new;

	old = tk_round_page(sp->brk);
	if (want < sp->brk_start || want > TK_USER_END)
		return (sp->brk);
	new = tk_round_page(want);
	if (new > old) {
		/* Refused before anything was mapped for it: see mmap(). */
		if (!can_grow(sp, old, new) || tk_space_map(sp, old, new - old,
		    TK_PROT_RW, TK_VMA_HEAP, true, false) < 0)
			return (sp->brk);
	} else if (new < old && tk_space_unmap(sp, new, old - new) != 0)
		return (sp->brk);
	sp->brk = want;
	return (want);
}
