/*-
 * SPDX-License-Identifier: BSD-2-Clause
 *
 * The guest's address space as Linux would keep it: which ranges are mapped,
 * with which permissions, and which physical pages back them. This record and
 * the page tables are the host's; nothing is ever read back from the guest.
 *
 * Functions that serve a Linux call return a Linux error number, negated.
 */

#ifndef TK_ADDRESS_SPACE_H_INCLUDED
#define TK_ADDRESS_SPACE_H_INCLUDED

#include "page_pool.h"
#include "page_table.h"
#include "vma_list.h"

/*
 * A page fault costs as much as mapping some hundred pages; a range that is
 * larger than this is rarely used to its end.
 */
#define TK_LAZY_MIN	(1024 * 1024)

struct tk_space {
	struct tk_page_table	pt;
	struct tk_page_pool	pages;
	struct tk_vma_list	vmas;
	bool			allow_wx;
	tk_gva			brk_start, brk;
	/* Page tables are filled beforehand here: tk_space_reserve(). */
	tk_gva			heap_end, arena, arena_end;
	bool			stale;	/* a flush failed */
};

/* The first of writable memory are the exception stacks' pages. */
void tk_space_init(struct tk_space *, struct tk_memory *);
void tk_space_fini(struct tk_space *);

/*
 * Before the freeze: pages for the heap to grow into, for the mappings that
 * calls will make, and for half as much of what is mapped but was not touched,
 * are in the page tables already. Such memory costs a call
 * neither changes of page tables nor, in steady state, page faults. The price is
 * that it can be touched unmapped; it reads as zeros. 0 or ENOMEM.
 */
int tk_space_reserve(struct tk_space *, uint64_t heap, uint64_t arena);

/* Bytes that can still be mapped and touched. */
uint64_t tk_space_free(const struct tk_space *);

/*
 * Takes over what `from` says; buffers stay each one's own, and so do the
 * memory, journal and working set. 0 or ENOMEM.
 */
int tk_space_copy(struct tk_space *, const struct tk_space *from);

/*
 * Maps anonymous memory. Ranges of TK_LAZY_MIN bytes and more get physical
 * pages when they are touched. hint 0: anywhere; fixed: exactly there, replacing
 * what was mapped. Page-aligned. Returns the address, or -errno.
 */
int64_t tk_space_map(struct tk_space *, tk_gva hint, uint64_t len,
    unsigned prot, enum tk_vma_kind, bool fixed, bool replace);

/* Maps given physical pages, for segments that are shared read-only. */
int tk_space_map_at(struct tk_space *, tk_gva, uint64_t len, unsigned prot,
    enum tk_vma_kind, tk_gpa);

/*
 * ENOMEM also where entries of 2 MiB would have to change, and then nothing has:
 * Linux has it for what cannot be split.
 */
int tk_space_unmap(struct tk_space *, tk_gva, uint64_t len);
int tk_space_protect(struct tk_space *, tk_gva, uint64_t len, unsigned prot);
/* Grows, shrinks or moves; the new address or -errno. */
int64_t tk_space_remap(struct tk_space *, tk_gva, uint64_t old_len,
    uint64_t new_len, bool may_move);
/*
 * Back to zero, as Linux's MADV_DONTNEED does to private memory. ENOMEM when some
 * of it is not mapped; what is mapped is zero all the same.
 */
int tk_space_zero(struct tk_space *, tk_gva, uint64_t len);
/*
 * Contents for a mapping that was just made, whatever its permission. 0 or
 * ENOMEM.
 */
int tk_space_fill(struct tk_space *, tk_gva, const void *, size_t len);
/* Linux's brk: the new break, or the old one when it cannot be. */
tk_gva tk_space_brk(struct tk_space *, tk_gva);

/* The range that contains gva, or NULL. */
const struct tk_vma *tk_space_find(const struct tk_space *, tk_gva);

/*
 * The host's address of gva when the guest itself may access it so, else NULL.
 * *left: bytes from there to the end of the page, or of a huge page. What is
 * not backed yet reads as zeros; for writing it is backed, and the page joins
 * the working set, while that is not full.
 */
const void *tk_space_read_at(const struct tk_space *, tk_gva, uint64_t *left);
void *tk_space_write_at(struct tk_space *, tk_gva, uint64_t *left);
/*
 * tk_space_read_at() would succeed. *left goes further than there: over memory
 * that is not backed, to where a page table or the mapping ends.
 */
bool tk_space_readable(const struct tk_space *, tk_gva, uint64_t *left);
/* tk_space_write_at() would succeed, short of a lack of memory. */
bool tk_space_writable(const struct tk_space *, tk_gva, uint64_t *left);
bool tk_space_executable(const struct tk_space *, tk_gva);

/*
 * The guest faulted at gva, wanting this access (one of TK_PROT_*): true when
 * the range allows it, and now the page tables do.
 */
bool tk_space_fault(struct tk_space *, tk_gva, unsigned prot);

#endif /* TK_ADDRESS_SPACE_H_INCLUDED */
