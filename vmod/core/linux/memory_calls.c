/*-
 * SPDX-License-Identifier: BSD-2-Clause
 *
 * Memory: brk, mmap and their family. The record is in address_space.c.
 */

#include <errno.h>
#include <sys/mman.h>

#include "../guest_layout.h"
#include "linux.h"

#define PROT_ALL	(TK_PROT_R | TK_PROT_W | TK_PROT_X)

int64_t
tk_sys_brk(struct tk_machine *m, const uint64_t a[6])
{

	return ((int64_t)tk_space_brk(&m->space, a[0]));
}

int64_t
tk_sys_mmap(struct tk_machine *m, const uint64_t a[6])
{
	uint64_t flags = a[3];
	bool fixed = (flags & (MAP_FIXED | MAP_FIXED_NOREPLACE)) != 0;
	unsigned prot = (unsigned)a[2] & PROT_ALL;

	if (!(flags & MAP_ANONYMOUS))
		return (-EBADF);
	/* What can never be backed is refused, as Linux's heuristic does. */
	if ((prot & TK_PROT_W) && !(flags & MAP_NORESERVE) &&
	    a[1] > tk_pool_free(&m->space.pages))
		return (-ENOMEM);
	/* A writable page can always be read on this CPU. */
	if (prot & TK_PROT_W)
		prot |= TK_PROT_R;
	return (tk_space_map(&m->space, a[0], a[1], prot, TK_VMA_MMAP, fixed,
	    (flags & MAP_FIXED_NOREPLACE) == 0));
}

int64_t
tk_sys_munmap(struct tk_machine *m, const uint64_t a[6])
{

	return (-tk_space_unmap(&m->space, a[0], a[1]));
}

int64_t
tk_sys_mremap(struct tk_machine *m, const uint64_t a[6])
{

	if (a[3] & ~(uint64_t)MREMAP_MAYMOVE)
		return (-EINVAL);
	return (tk_space_remap(&m->space, a[0], a[1], a[2],
	    (a[3] & MREMAP_MAYMOVE) != 0));
}

int64_t
tk_sys_mprotect(struct tk_machine *m, const uint64_t a[6])
{
	unsigned prot = (unsigned)a[2] & PROT_ALL;

	if (prot & TK_PROT_W)
		prot |= TK_PROT_R;
	return (-tk_space_protect(&m->space, a[0], a[1], prot));
}

int64_t
tk_sys_madvise(struct tk_machine *m, const uint64_t a[6])
{

	switch (a[2]) {
	case MADV_DONTNEED:
		return (-tk_space_zero(&m->space, a[0], a[1]));
	case MADV_NORMAL:
	case MADV_RANDOM:
	case MADV_SEQUENTIAL:
	case MADV_WILLNEED:
	case MADV_FREE:		/* lazily, or never */
	case MADV_HUGEPAGE:
	case MADV_NOHUGEPAGE:
	case MADV_DONTDUMP:
	case MADV_DODUMP:
		return (0);
	default:
		return (-EINVAL);
	}
}
