/*-
 * SPDX-License-Identifier: BSD-2-Clause
 */

#include <errno.h>

#include "object.h"
#include "space.h"

/* Backs what is mapped but was not touched yet, from the lowest address on. */
static int
back_lazy(struct tk_space *sp, uint64_t budget)
{
	const struct tk_vma *v;
	uint64_t before, want;
	unsigned i;

	for (i = 0; i < sp->vmas.n && budget > 0; i++) {
		v = &sp->vmas.vma[i];
		if (v->kind != TK_VMA_LAZY || v->prot != TK_PROT_RW)
			continue;
		want = v->end - v->start < budget ? v->end - v->start : budget;
		before = tk_pool_free(&sp->pages);
		if (tk_entries_protect(sp, v->start, v->start + want, v->prot,
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
	tk_gva from = tk_round_page(sp->brk), at;

	if (back_lazy(sp, tk_round_page(arena / 2)))
		return (ENOMEM);

	heap = tk_round_page(heap);
	arena = tk_round_page(arena);
	if (heap > 0 && tk_vmas_is_free(&sp->vmas, from, heap)) {
		if (tk_entries_protect(sp, from, from + heap, TK_PROT_RW, true))
			return (ENOMEM);
		sp->heap_end = from + heap;
	}
	at = arena > 0 ? tk_vmas_gap(&sp->vmas, TK_STUB_ALIAS +
	    TK_STUB_ALIAS_SIZE, TK_MMAP_TOP, arena) : 0;
	if (at > sp->heap_end) {
		if (tk_entries_protect(sp, at, at + arena, TK_PROT_RW, true))
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

tk_gva
tk_find_room(const struct tk_space *sp, uint64_t len, unsigned prot,
    enum tk_vma_kind kind)
{
	tk_gva low = TK_STUB_ALIAS + TK_STUB_ALIAS_SIZE, at = 0;

	if (sp->arena != 0 && prot == TK_PROT_RW && kind == TK_VMA_MMAP)
		at = tk_vmas_gap(&sp->vmas, sp->arena, sp->arena_end, len);
	/* Others keep out of the arena, whose entries they would change. */
	if (at == 0 && sp->arena != 0)
		at = tk_vmas_gap(&sp->vmas, low, sp->arena, len);
	if (at == 0)
		at = tk_vmas_gap(&sp->vmas, low, TK_MMAP_TOP, len);
	return (at);
}
