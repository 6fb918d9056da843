/*-
 * SPDX-License-Identifier: BSD-2-Clause
 *
 * Guest physical memory in the host: a memfd, mapped shared while the master
 * boots, read-only once it is frozen, and privately by each fork.
 */

#ifndef TK_MEMORY_H_INCLUDED
#define TK_MEMORY_H_INCLUDED

#include "tinykvm.h"

struct tk_memory {
	unsigned	magic;
#define TK_MEMORY_MAGIC	0x6b2f14d1
	int		fd;
	bool		is_private;	/* a fork's */
	/*
	 * [0, pt_gpa) and [pt_gpa, end). A fork's low part is the master's
	 * own mapping: nothing there is ever written after the freeze.
	 */
	uint8_t		*low;
	uint8_t		*high;		/* host address of pt_gpa */
	tk_gpa		pt_gpa, rw_gpa, end;
	/*
	 * [end, end + shared_size): a mapping that the master and its forks
	 * share and write. No copy-on-write, no reset. The master's own,
	 * unless it is another's.
	 */
	uint8_t		*shared;
	uint64_t	shared_size;
	bool		shared_of_other;
};

/* Bytes are rounded up to 2 MiB each. Returns 0 or an errno value. */
int tk_memory_new(struct tk_memory *, uint64_t read_only, uint64_t writable);

/* Adds memory that is shared for good; bytes, rounded up. 0 or an errno. */
int tk_memory_share(struct tk_memory *, uint64_t size);
/* As much as `from` has, the very same. */
void tk_memory_share_with(struct tk_memory *, const struct tk_memory *from);

/*
 * Ends writing: what is mapped becomes read-only and the memfd is sealed.
 * Large read-only parts are collapsed to huge pages where the host can.
 */
int tk_memory_freeze(struct tk_memory *);

/* A private, copy-on-write view of a frozen memory. */
int tk_memory_fork(struct tk_memory *, const struct tk_memory *master);
void tk_memory_free(struct tk_memory *);

/* The host's address of a guest page. gpa < mem->end + mem->shared_size. */
static inline void *
tk_memory_at(const struct tk_memory *mem, tk_gpa gpa)
{

	if (gpa < mem->pt_gpa)
		return (mem->low + gpa);
	if (__builtin_expect(gpa >= mem->end, 0))
		return (mem->shared + (gpa - mem->end));
	return (mem->high + (gpa - mem->pt_gpa));
}

/*
 * Makes a lowered permission or a changed mapping seen by the running CPU:
 * both shadow and nested paging drop what they know of a page when the
 * host's own mapping of it changes. For all but tables; when the rule is in
 * page_table.h. Returns 0 or errno: then the CPU may still use the old mapping
 * and the machine must go.
 */
int tk_memory_flush(const struct tk_memory *, tk_gpa, uint64_t len);

/* Drops a private range: it is the master's again. Returns 0 or errno. */
int tk_memory_drop(const struct tk_memory *, tk_gpa, uint64_t len);

/* Bytes that the memfd holds. */
uint64_t tk_memory_resident(const struct tk_memory *);

#endif /* TK_MEMORY_H_INCLUDED */
