/*-
 * SPDX-License-Identifier: BSD-2-Clause
 */

#include <errno.h>

#include "object.h"
#include "space.h"

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
	(void)tk_entries_protect(sp, from, to, v->prot, true);
	/* Short of memory, at least this one. */
	return (tk_pt_walk(&sp->pt, gva, &left) != 0 ||
	    tk_entries_protect(sp, gva & ~(tk_gva)(TK_PAGE - 1),
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

bool
tk_space_readable(const struct tk_space *sp, tk_gva gva, uint64_t *left)
{
	const struct tk_vma *v;

	if (user_entry(sp, gva, left) != 0)
		return (true);
	if (gva >= TK_USER_END || tk_pt_walk(&sp->pt, gva, left) != 0)
		return (false);
	v = tk_space_find(sp, gva);
	if (!allows(v, TK_PROT_R))
		return (false);
	if (*left > v->end - gva)
		*left = v->end - gva;
	return (true);
}

void *
tk_space_write_at(struct tk_space *sp, tk_gva gva, uint64_t *left)
{
	const struct tk_memory *mem = sp->pt.mem;
	uint64_t pte = user_entry(sp, gva, left);
	tk_gpa gpa;

	if (pte == 0 && tk_space_fault(sp, gva, TK_PROT_W))
		pte = user_entry(sp, gva, left);
	gpa = pte & TK_PTE_ADDR;
	/* Whatever the entry says: what all forks share is not written. */
	if (!(pte & TK_PTE_W) || gpa < mem->rw_gpa)
		return (NULL);
	if (sp->pages.ws != NULL && gpa < mem->end) {
		if (__builtin_expect(tk_ws_full(sp->pages.ws), 0))
			return (NULL);
		tk_ws_add(sp->pages.ws, (unsigned)((gpa - mem->rw_gpa) >>
		    TK_PAGE_SHIFT));
	}
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
