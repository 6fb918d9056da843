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

static uint64_t
tables_left(const struct tk_page_table *pt)
{

	return ((pt->mem->rw_gpa - pt->next) >> TK_PAGE_SHIFT);
}

/* Does an entry lead to a table, and not to a page? */
static bool
is_table(const struct tk_page_table *pt, uint64_t entry)
{
	tk_gpa gpa = entry & TK_PTE_ADDR;

	return ((entry & TK_PTE_P) && gpa >= pt->mem->pt_gpa &&
	    gpa < pt->mem->rw_gpa);
}

static bool
is_there(uint64_t entry)
{

	return ((entry & (TK_PTE_P | TK_PTE_KEPT)) == TK_PTE_P);
}

void
tk_pt_init(struct tk_page_table *pt, struct tk_memory *mem)
{

	pt->mem = mem;
	pt->root = mem->pt_gpa;
	pt->next = pt->root + TK_PAGE;
	pt->allowed = tables_left(pt);
	pt->journal = NULL;
}

void
tk_pt_copy(struct tk_page_table *pt, const struct tk_page_table *from)
{

	pt->root = from->root;
	if (pt->next < from->next)
		pt->next = from->next;
	/* The other half is for what stays: see tk_pt_is_short(). */
	pt->allowed = tables_left(from) / 2;
}

bool
tk_pt_is_short(const struct tk_page_table *pt)
{

	return (tables_left(pt) < pt->allowed);
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

/* A table where none is: a new one, or that of an earlier call. */
static int
make_table(struct tk_page_table *pt, uint64_t *entry)
{
	bool kept = (*entry & TK_PTE_KEPT) != 0;

	if (pt->allowed == 0 || (!kept && tables_left(pt) == 0))
		return (ENOMEM);
	if (tk_pt_set(pt, entry, kept ? tk_pte(entry) & ~TK_PTE_KEPT :
	    pt->next | TK_PTE_P | TK_PTE_W | TK_PTE_U | TK_PTE_AD))
		return (ENOMEM);
	if (!kept)
		pt->next += TK_PAGE;
	pt->allowed--;
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
		if (*entry & TK_PTE_HUGE)
			return (NULL);
		if (!is_there(*entry) && (!create || make_table(pt, entry)))
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

	tk_assert((gva | gpa) % TK_HUGE == 0 && pt->journal == NULL);
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
		if (!is_there(entry))
			return (0);
		table = table_at(pt, entry & TK_PTE_ADDR);
	}
	if (l > 0)
		entry += gva & (span - 1) & ~(uint64_t)(TK_PAGE - 1);
	return (entry);
}

static void
flush(const struct tk_page_table *pt, struct tk_flush *f, struct tk_range *r)
{
	int e = 0;

	if (r->to != r->from)
		e = tk_memory_flush(pt->mem, r->from, r->to - r->from);
	if (f->error == 0)
		f->error = e;
	r->from = r->to = 0;
}

/* Between the two kinds of memory are the tables, which no flush is for. */
static void
put_off(const struct tk_page_table *pt, struct tk_flush *f)
{
	struct tk_range *r = &f->rest[f->run.from >= pt->mem->rw_gpa];

	if (r->from == r->to)
		*r = f->run;
	if (f->run.from < r->from)
		r->from = f->run.from;
	if (f->run.to > r->to)
		r->to = f->run.to;
}

static void
end_run(const struct tk_page_table *pt, struct tk_flush *f)
{

	if (f->run.from == f->run.to)
		return;
	/* A vCPU that runs beside would fail on what lies between. */
	if (f->runs >= TK_FLUSH_RUNS && !pt->beside)
		put_off(pt, f);
	else {
		flush(pt, f, &f->run);
		f->runs++;
	}
}

int
tk_flush_end(const struct tk_page_table *pt, struct tk_flush *f)
{

	end_run(pt, f);
	flush(pt, f, &f->rest[0]);
	flush(pt, f, &f->rest[1]);
	f->run.from = f->run.to = 0;
	f->runs = 0;
	return (f->error);
}

void
tk_flush_add(const struct tk_page_table *pt, struct tk_flush *f,
    uint64_t entry)
{
	tk_gpa gpa = entry & TK_PTE_ADDR;
	struct tk_range *r = &f->run;

	/* Runs of pages, in the order of their making or backwards. */
	if (r->to != r->from && gpa == r->to)
		r->to += TK_PAGE;
	else if (r->to != r->from && gpa + TK_PAGE == r->from)
		r->from = gpa;
	else {
		end_run(pt, f);
		r->from = gpa;
		r->to = gpa + TK_PAGE;
	}
}

int
tk_pt_undo(struct tk_page_table *pt)
{
	struct tk_journal *j = pt->journal;
	struct tk_flush f = { 0 };
	struct tk_pte_change *c;
	uint64_t now;

	if (j == NULL)
		return (0);
	while (j->n > 0) {
		c = &j->change[--j->n];
		now = tk_pte(c->entry);
		if (is_table(pt, now)) {
			*c->entry = now | TK_PTE_KEPT;
			continue;
		}
		*c->entry = c->old;
		if (tk_pte_lowers(now, c->old))
			tk_flush_add(pt, &f, now);
	}
	return (tk_flush_end(pt, &f));
}
