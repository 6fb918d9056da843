/*-
 * SPDX-License-Identifier: BSD-2-Clause
 */

#include <errno.h>

#include "guest_layout.h"
#include "list.h"
#include "object.h"
#include "vma_list.h"

void
tk_vmas_fini(struct tk_vma_list *l)
{

	free(l->vma);
	memset(l, 0, sizeof *l);
}

int
tk_vmas_copy(struct tk_vma_list *l, const struct tk_vma_list *from)
{

	if (!tk_reserve((void **)&l->vma, from->n, &l->room, sizeof *l->vma))
		return (ENOMEM);
	if (from->n > 0)
		memcpy(l->vma, from->vma, from->n * sizeof *l->vma);
	l->n = from->n;
	return (0);
}

unsigned
tk_vmas_index(const struct tk_vma_list *l, tk_gva gva)
{
	unsigned lo = 0, hi = l->n, mid;

	while (lo < hi) {
		mid = (lo + hi) / 2;
		if (l->vma[mid].end <= gva)
			lo = mid + 1;
		else
			hi = mid;
	}
	return (lo);
}

static bool
mergeable(const struct tk_vma *a, const struct tk_vma *b)
{

	return (a->end == b->start && a->prot == b->prot &&
	    a->kind == b->kind);
}

int
tk_vmas_insert(struct tk_vma_list *l, struct tk_vma v)
{
	unsigned i = tk_vmas_index(l, v.start);

	if (i > 0 && mergeable(&l->vma[i - 1], &v)) {
		l->vma[i - 1].end = v.end;
		return (0);
	}
	if (i < l->n && mergeable(&v, &l->vma[i])) {
		l->vma[i].start = v.start;
		return (0);
	}
	if (l->n >= TK_MAX_VMAS || !tk_reserve((void **)&l->vma, l->n + 1,
	    &l->room, sizeof *l->vma))
		return (ENOMEM);
	memmove(&l->vma[i + 1], &l->vma[i],
	    (l->n - i) * sizeof *l->vma);
	l->vma[i] = v;
	l->n++;
	return (0);
}

/* Makes gva a border between ranges. */
static int
split_at(struct tk_vma_list *l, tk_gva gva)
{
	unsigned i = tk_vmas_index(l, gva);

	if (i == l->n || l->vma[i].start >= gva)
		return (0);
	if (l->n >= TK_MAX_VMAS || !tk_reserve((void **)&l->vma, l->n + 1,
	    &l->room, sizeof *l->vma))
		return (ENOMEM);
	memmove(&l->vma[i + 1], &l->vma[i],
	    (l->n - i) * sizeof *l->vma);
	l->n++;
	l->vma[i].end = gva;
	l->vma[i + 1].start = gva;
	return (0);
}

int
tk_vmas_split(struct tk_vma_list *l, tk_gva start, tk_gva end)
{

	return (split_at(l, start) || split_at(l, end) ? ENOMEM : 0);
}

void
tk_vmas_remove(struct tk_vma_list *l, unsigned from, unsigned to)
{

	if (from == to)
		return;
	memmove(&l->vma[from], &l->vma[to], (l->n - to) * sizeof *l->vma);
	l->n -= to - from;
}

bool
tk_vmas_is_free(const struct tk_vma_list *l, tk_gva start, uint64_t len)
{
	unsigned i = tk_vmas_index(l, start);

	return (i == l->n || l->vma[i].start >= start + len);
}

tk_gva
tk_vmas_gap(const struct tk_vma_list *l, tk_gva low, tk_gva top, uint64_t len)
{
	unsigned i = tk_vmas_index(l, top);
	tk_gva below;

	/* A range that contains top, or ends there. */
	if (i < l->n && l->vma[i].start < top)
		top = l->vma[i].start;
	for (;;) {
		below = i > 0 ? l->vma[i - 1].end : low;
		if (below < low)
			below = low;
		if (top >= below && top - below >= len)
			return (top - len);
		if (i == 0 || below == low)
			return (0);
		i--;
		top = l->vma[i].start;
	}
}
