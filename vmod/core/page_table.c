/*-
 * SPDX-License-Identifier: BSD-2-Clause
 */

#include <errno.h>

#include "guest_layout.h"
#include "list.h"
#include "object.h"
#include "page_table.h"

#define ENTRIES	512

static uint64_t *
table_at(const struct tk_page_table *pt, tk_gpa gpa)
{

	/* Only the host writes tables: anything else here is our bug. */
	tk_assert(gpa >= pt->mem->pt_gpa && gpa < pt->mem->rw_gpa);
	return (tk_memory_at(pt->mem, gpa));
}

static unsigned
index_of(tk_gva gva, unsigned level)
{

	return ((unsigned)(gva >> (TK_PAGE_SHIFT + 9 * level)) & (ENTRIES - 1));
}

void
tk_pt_init(struct tk_page_table *pt, struct tk_memory *mem)
{

	pt->mem = mem;
	pt->root = mem->pt_gpa;
	pt->next = pt->root + TK_PAGE;
	pt->journal = NULL;
}

int
tk_pt_set(struct tk_page_table *pt, uint64_t *entry, uint64_t value)
{
	struct tk_journal *j = pt->journal;

	if (tk_pte(entry) == value)
		return (0);
	if (j != NULL && !(*entry & TK_PTE_NOTED)) {
		if (!tk_reserve((void **)&j->change, j->n + 1, &j->room,
		    sizeof *j->change))
			return (ENOMEM);
		j->change[j->n].entry = entry;
		j->change[j->n].old = *entry;
		j->n++;
	}
	*entry = j != NULL ? value | TK_PTE_NOTED : value;
	return (0);
}

static uint64_t *
descend(struct tk_page_table *pt, tk_gva gva, unsigned level, bool create)
{
	uint64_t *table, *entry;
	unsigned l;

	table = table_at(pt, pt->root);
	for (l = 3; l > level; l--) {
		entry = &table[index_of(gva, l)];
		if (!(*entry & TK_PTE_P)) {
			if (!create || pt->next >= pt->mem->rw_gpa)
				return (NULL);
			/* A fork may find what an earlier call left here. */
			memset(table_at(pt, pt->next), 0, TK_PAGE);
			if (tk_pt_set(pt, entry, pt->next | TK_PTE_P |
			    TK_PTE_W | TK_PTE_U | TK_PTE_AD))
				return (NULL);
			pt->next += TK_PAGE;
		} else if (*entry & TK_PTE_HUGE)
			return (NULL);
		table = table_at(pt, *entry & TK_PTE_ADDR);
	}
	return (&table[index_of(gva, level)]);
}

uint64_t *
tk_pt_entry(struct tk_page_table *pt, tk_gva gva, bool create)
{

	return (descend(pt, gva, 0, create));
}

int
tk_pt_set_huge(struct tk_page_table *pt, tk_gva gva, tk_gpa gpa,
    uint64_t flags)
{
	uint64_t *entry;

	tk_assert((gva | gpa) % TK_HUGE == 0);
	entry = descend(pt, gva, 1, true);
	if (entry == NULL)
		return (ENOMEM);
	tk_assert(tk_pte(entry) == 0);
	return (tk_pt_set(pt, entry, gpa | flags | TK_PTE_HUGE | TK_PTE_AD));
}

uint64_t
tk_pt_walk(const struct tk_page_table *pt, tk_gva gva, uint64_t *left)
{
	const uint64_t *table;
	uint64_t entry, span;
	unsigned l;

	table = table_at(pt, pt->root);
	for (l = 3;; l--) {
		entry = tk_pte(&table[index_of(gva, l)]);
		span = 1ULL << (TK_PAGE_SHIFT + 9 * l);
		*left = span - (gva & (span - 1));
		if (l == 0 || (entry & TK_PTE_HUGE))
			break;
		if (!(entry & TK_PTE_P))
			return (0);
		table = table_at(pt, entry & TK_PTE_ADDR);
	}
	if (l > 0)
		entry += gva & (span - 1) & ~(uint64_t)(TK_PAGE - 1);
	return (entry);
}

int
tk_pt_undo(struct tk_page_table *pt)
{
	struct tk_journal *j = pt->journal;
	struct tk_pte_change *c;
	uint64_t now, gone;
	tk_gpa from = 0, to = 0;
	int e = 0;

	if (j == NULL)
		return (0);
	while (j->n > 0) {
		c = &j->change[--j->n];
		now = tk_pte(c->entry);
		*c->entry = c->old;
		gone = now & ~c->old & (TK_PTE_P | TK_PTE_W);
		if (!(now & TK_PTE_P) || (now & TK_PTE_ADDR) < pt->mem->rw_gpa ||
		    (gone == 0 && ((now ^ c->old) &
		    (TK_PTE_ADDR | TK_PTE_NX)) == 0))
			continue;
		/* Runs of pages, in the order of their making or backwards. */
		now &= TK_PTE_ADDR;
		if (to != from && now == to)
			to += TK_PAGE;
		else if (to != from && now + TK_PAGE == from)
			from = now;
		else {
			if (to != from && e == 0)
				e = tk_memory_flush(pt->mem, from, to - from);
			from = now;
			to = now + TK_PAGE;
		}
	}
	if (to != from && e == 0)
		e = tk_memory_flush(pt->mem, from, to - from);
	return (e);
}
