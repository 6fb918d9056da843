/*-
 * SPDX-License-Identifier: BSD-2-Clause
 *
 * The guest's page tables: four levels, written by nobody but the host. They
 * are mapped nowhere in guest virtual memory.
 *
 * In a fork every change is journalled, so that a reset can undo it.
 *
 * What the CPU must be told of a change: nothing sees the host write an entry.
 * A software KVM walks shadow tables of its own, which it fills at page faults
 * and drops when guest code writes a table, when the host's mapping of a page
 * that they map changes, and when a slot of memory goes; CR3 and invlpg do not
 * help (Documentation/virt/kvm/x86/mmu.rst). With nested paging the CPU keeps
 * translations, and the upper entries by themselves (Intel SDM vol. 3A, 4.10.3
 * "Paging-Structure Caches"; vol. 3C "Caching Translation Information"; AMD APM
 * vol. 2, 15.16 and 15.25). Hence, for changes of an entry
 *
 *  1. from 0 to anything, or to more permission: nothing. What is not present
 *     is not kept, and a fault looks at the entry anew (SDM 4.10.4.3); on
 *     hardware the fault may be a spurious one.
 *  2. of a page to less permission, to another page or to none: the page that
 *     was there is flushed before the guest goes on, whichever memory it is
 *     of: tk_flush_add(), tk_memory_flush(). KVM then drops its shadows of the
 *     page, at all addresses. With nested paging it drops the page's own
 *     second-level entry, and by INVEPT or TLB_CONTROL all that the CPU has
 *     kept for the machine; where there was no such entry, the CPU had no
 *     translation to the page either.
 *  3. of a table: there are none. Such an entry is written once, from 0, and
 *     stays as long as the machine has its memory. No flush of pages would do:
 *     KVM finds the shadow of a table by the table's address, and an address
 *     that once led through a table goes on to do so. Two that led through it
 *     in turn would have memory in common. On hardware an upper entry may be
 *     kept where no page below it ever was. So a reset leaves tables where
 *     they are and marks them, in a bit that the CPU ignores, as not there:
 *     TK_PTE_KEPT. The entries of pages it undoes.
 *  4. of 2 MiB: there are none either. It is written before the machine first
 *     runs; else it could become that of a table. Who wants to unmap or protect
 *     what it maps gets ENOMEM.
 *
 * A machine forgets all of it with its slots: tk_vcpu_take_memory().
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
/*
 * Ignored by the CPU: an earlier call made this table. It is empty, and to this
 * call it is not there.
 */
#define TK_PTE_KEPT	0x800ULL
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
	tk_gpa			next;		/* zero from here on */
	/*
	 * Tables that may still be made or used again: as many for each call,
	 * so that none learns from what it gets what others had.
	 */
	uint64_t		allowed;
	struct tk_journal	*journal;	/* NULL while booting */
	bool			beside;		/* other vCPUs run: parallel.h */
};

/* The value of an entry. */
static inline uint64_t
tk_pte(const uint64_t *entry)
{

	return (*entry & ~TK_PTE_NOTED);
}

/* Going from one value to the other takes something away: rule 2. */
static inline bool
tk_pte_lowers(uint64_t old, uint64_t new)
{

	return ((old & TK_PTE_P) && ((old & ~new & (TK_PTE_P | TK_PTE_W)) ||
	    (new & ~old & TK_PTE_NX) || ((old ^ new) & TK_PTE_ADDR)));
}

/* Takes the first page of the arena as root. */
void tk_pt_init(struct tk_page_table *, struct tk_memory *);

/*
 * For a call: the root and the limits of `from`, which no call changes. Tables
 * that calls have made stay.
 */
void tk_pt_copy(struct tk_page_table *, const struct tk_page_table *from);

/* Earlier calls made so many tables that the next one may find too few. */
bool tk_pt_is_short(const struct tk_page_table *);

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
 * Each flush takes two system calls, 7.5 us here, and the lock of all that the
 * process has mapped. When so many runs of pages were flushed in one operation,
 * the rest is flushed as one range at its end; what lies between is faulted in
 * again where the guest uses it.
 */
#define TK_FLUSH_RUNS	64

/* Physical pages whose old mappings the CPU may still know. */
struct tk_range {
	tk_gpa			from, to;
};

struct tk_flush {
	struct tk_range		run;
	unsigned		runs;		/* flushed so far */
	struct tk_range		rest[2];	/* read-only, writable */
	int			error;		/* the first */
};

/*
 * Adds the page of an entry that was lowered, as it was; the end makes the CPU
 * forget all. Returns 0 or errno: then it may still use one of them, and the
 * machine must go.
 */
void tk_flush_add(const struct tk_page_table *, struct tk_flush *, uint64_t);
int tk_flush_end(const struct tk_page_table *, struct tk_flush *);

/*
 * Undoes all that the journal holds and empties it. Returns 0 or errno: then
 * the CPU may still see the changes and the machine must go.
 */
int tk_pt_undo(struct tk_page_table *);

#endif /* TK_PAGE_TABLE_H_INCLUDED */
