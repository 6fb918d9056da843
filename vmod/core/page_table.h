/*-
 * SPDX-License-Identifier: BSD-2-Clause
 *
 * The guest's page tables: four levels, written by nobody but the host. They
 * are mapped nowhere in guest virtual memory.
 *
 * In a fork every change is journalled, so that a reset can undo it.
 */

#ifndef TK_PAGE_TABLE_H_INCLUDED
#define TK_PAGE_TABLE_H_INCLUDED

#include "memory.h"

/* Intel SDM vol. 3A, 4.5 "4-level paging". */
#define TK_PTE_P	0x001ULL
#define TK_PTE_W	0x002ULL
#define TK_PTE_U	0x004ULL
/* Accessed and dirty, set beforehand: the CPU never has to write a table. */
#define TK_PTE_AD	0x060ULL
#define TK_PTE_HUGE	0x080ULL
/* Ignored by the CPU: a page belongs here although it is not present. */
#define TK_PTE_BACKED	0x200ULL
/* Ignored by the CPU: the journal knows what the entry was. */
#define TK_PTE_NOTED	0x400ULL
#define TK_PTE_NX	0x8000000000000000ULL
#define TK_PTE_ADDR	0x000ffffffffff000ULL

struct tk_pte_change {
	uint64_t		*entry;
	uint64_t		old;
};

struct tk_journal {
	struct tk_pte_change	*change;
	size_t			n;
	unsigned		room;
};

struct tk_page_table {
	struct tk_memory	*mem;
	tk_gpa			root;
	tk_gpa			next;		/* next unused table page */
	struct tk_journal	*journal;	/* NULL while booting */
};

/* The value of an entry. */
static inline uint64_t
tk_pte(const uint64_t *entry)
{

	return (*entry & ~TK_PTE_NOTED);
}

/* Takes the first page of the arena as root. */
void tk_pt_init(struct tk_page_table *, struct tk_memory *);

/*
 * The entry for a 4 KiB page. With create, missing tables are made; NULL when
 * there is none, or no more room for tables.
 */
uint64_t *tk_pt_entry(struct tk_page_table *, tk_gva, bool create);

/*
 * Writes an entry. The journal notes what it was before the first change only,
 * so that no guest can make it grow beyond the tables. Returns 0 or ENOMEM.
 */
int tk_pt_set(struct tk_page_table *, uint64_t *entry, uint64_t value);

/* Maps 2 MiB at once; gva and gpa are multiples of it. 0 or ENOMEM. */
int tk_pt_set_huge(struct tk_page_table *, tk_gva, tk_gpa, uint64_t flags);

/*
 * The value of the entry that maps gva, 0 when there is none. *left is how
 * many bytes from gva on it covers; its address part is that of gva's page.
 */
uint64_t tk_pt_walk(const struct tk_page_table *, tk_gva, uint64_t *left);

/*
 * Undoes all that the journal holds and empties it. Returns 0 or errno: then
 * the CPU may still see the changes and the machine must go.
 */
int tk_pt_undo(struct tk_page_table *);

#endif /* TK_PAGE_TABLE_H_INCLUDED */
