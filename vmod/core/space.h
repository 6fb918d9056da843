/*-
 * SPDX-License-Identifier: BSD-2-Clause
 *
 * What the files of the address space share: page-table entries of whole
 * ranges. Where a permission is lowered or a page goes, the CPU is made to see
 * it (the rule is in page_table.h); what cannot be put right marks the space
 * stale.
 *
 *	address_space.c		mappings: the verbs of Linux
 *	space_entries.c		their page-table entries
 *	space_reserve.c		entries that stay, for calls to come
 *	space_access.c		addresses of the guest, looked up
 */

#ifndef TK_SPACE_H_INCLUDED
#define TK_SPACE_H_INCLUDED

#include "address_space.h"
#include "guest_layout.h"

#define TK_PROT_RW	(TK_PROT_R | TK_PROT_W)

static inline uint64_t
tk_round_page(uint64_t len)
{

	return ((len + TK_PAGE - 1) & ~(uint64_t)(TK_PAGE - 1));
}

/* The flags of an entry with this permission. */
uint64_t tk_entry_flags(unsigned prot);

/*
 * Gives every page of the range its permission, and memory when it has none
 * and back says so. 0 or ENOMEM, also where it would make shared pages
 * writable.
 */
int tk_entries_protect(struct tk_space *, tk_gva start, tk_gva end,
    unsigned prot, bool back);
/* The same as part of a larger operation, which ends with tk_entries_end(). */
int tk_entries_change(struct tk_space *, struct tk_flush *, tk_gva start,
    tk_gva end, unsigned prot, bool back);
/*
 * The range is unmapped: its pages are free, or stay where they are reserved. No
 * page is to be taken before tk_entries_end().
 */
void tk_entries_drop(struct tk_space *, struct tk_flush *, tk_gva start,
    tk_gva end);
/* The CPU sees all of it. */
void tk_entries_end(struct tk_space *, struct tk_flush *);
/*
 * Moves the entries of a range; the pages stay where they are. 0, or ENOMEM and
 * nothing was moved.
 */
int tk_entries_move(struct tk_space *, tk_gva from, tk_gva to, uint64_t len);

/* Where a new mapping goes that may go anywhere; 0: there is no room. */
tk_gva tk_find_room(const struct tk_space *, uint64_t len, unsigned prot,
    enum tk_vma_kind);

bool tk_page_is_zero(const void *);

#endif /* TK_SPACE_H_INCLUDED */
