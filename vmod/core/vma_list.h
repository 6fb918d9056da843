/*-
 * SPDX-License-Identifier: BSD-2-Clause
 *
 * The ranges of an address space: sorted, disjoint, neighbours of one kind and
 * permission merged.
 */

#ifndef TK_VMA_LIST_H_INCLUDED
#define TK_VMA_LIST_H_INCLUDED

#include "tinykvm.h"

#define TK_PROT_R	1	/* Linux's PROT_READ, PROT_WRITE, PROT_EXEC */
#define TK_PROT_W	2
#define TK_PROT_X	4

enum tk_vma_kind {
	TK_VMA_PROGRAM,		/* segments of the executable */
	TK_VMA_HEAP,		/* brk */
	TK_VMA_MMAP,
	TK_VMA_LAZY,		/* mmap, backed when touched */
	TK_VMA_STACK,
	TK_VMA_FILE,		/* mmap of a file */
	/* What follows belongs to us: the guest cannot map, unmap or protect
	 * anything there. */
	TK_VMA_FIXED
};

struct tk_vma {
	tk_gva			start, end;
	uint8_t			prot;
	uint8_t			kind;
};

/* As vm.max_map_count: more ranges are ENOMEM. */
#define TK_MAX_VMAS	65530

struct tk_vma_list {
	struct tk_vma		*vma;
	unsigned		n, room;
};

void tk_vmas_fini(struct tk_vma_list *);
/* 0 or ENOMEM. */
int tk_vmas_copy(struct tk_vma_list *, const struct tk_vma_list *from);

/* The index of the first range that ends above gva. */
unsigned tk_vmas_index(const struct tk_vma_list *, tk_gva);

/* Adds a range where none is. 0 or ENOMEM. */
int tk_vmas_insert(struct tk_vma_list *, struct tk_vma);

/* Makes both ends borders between ranges. 0 or ENOMEM. */
int tk_vmas_split(struct tk_vma_list *, tk_gva start, tk_gva end);

/* Takes the ranges [from, to) off the list. */
void tk_vmas_remove(struct tk_vma_list *, unsigned from, unsigned to);

bool tk_vmas_is_free(const struct tk_vma_list *, tk_gva start, uint64_t len);

/* Room for len bytes within [low, top), highest first; 0: there is none. */
tk_gva tk_vmas_gap(const struct tk_vma_list *, tk_gva low, tk_gva top,
    uint64_t len);

#endif /* TK_VMA_LIST_H_INCLUDED */
