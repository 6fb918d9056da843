/*-
 * SPDX-License-Identifier: BSD-2-Clause
 *
 * Memory: brk, mmap and their family. The record is in address_space.c.
 */

#include <errno.h>
#include <fcntl.h>
#include <sys/mman.h>

#include "../guest_layout.h"
#include "linux.h"

#define PROT_ALL	(TK_PROT_R | TK_PROT_W | TK_PROT_X)

int64_t
tk_sys_brk(struct tk_machine *m, const uint64_t a[6])
{

	return ((int64_t)tk_space_brk(&m->space, a[0]));
}

/*
 * A file's contents as they are now, in memory of the program's own: what is
 * written to the file later is not seen, and what is written here stays here.
 */
static int64_t
map_file(struct tk_machine *m, const uint64_t a[6], unsigned prot, bool fixed)
{
	struct tk_file *f = tk_file_at(m, a[4]);
	struct tk_io io = { a[5], false };
	uint8_t *buf = tk_scratch(m);
	uint64_t done = 0, n;
	int64_t at, r = 0;

	if (a[5] & (TK_PAGE - 1))
		return (-EINVAL);
	if (f == NULL || (f->flags & O_PATH))
		return (-EBADF);
	if (f->type != &tk_type_regular && f->type != &tk_type_memory)
		return (-ENODEV);
	if ((f->flags & O_ACCMODE) == O_WRONLY)
		return (-EACCES);
	if ((a[3] & MAP_TYPE) != MAP_PRIVATE && (prot & TK_PROT_W))
		return ((f->flags & O_ACCMODE) == O_RDWR ? -ENODEV : -EACCES);
	if (buf == NULL)
		return (-ENOMEM);
	/* What the program can write is no library: W^X holds for it, too. */
	at = tk_space_map(&m->space, a[0], a[1], prot,
	    f->type == &tk_type_regular && !f->writable ? TK_VMA_FILE :
	    TK_VMA_MMAP, fixed,
	    (a[3] & MAP_FIXED_NOREPLACE) == 0);
	if (at < 0)
		return (at);
	while (done < a[1]) {
		n = a[1] - done < TK_PIECE ? a[1] - done : TK_PIECE;
		r = f->type->read(m, f, buf, n, &io);
		if (r > 0)
			r = tk_space_fill(&m->space, (tk_gva)at + done, buf,
			    (size_t)r) ? -ENOMEM : r;
		if (r <= 0)
			break;
		done += (uint64_t)r;
		io.offset += (uint64_t)r;
	}
	if (r >= 0)
		return (at);
	(void)tk_space_unmap(&m->space, (tk_gva)at, a[1]);
	return (r);
}

int64_t
tk_sys_mmap(struct tk_machine *m, const uint64_t a[6])
{
	uint64_t flags = a[3];
	bool fixed = (flags & (MAP_FIXED | MAP_FIXED_NOREPLACE)) != 0;
	unsigned prot = (unsigned)a[2] & PROT_ALL;
	const struct tk_file *f;

	/* What can never be backed is refused, as Linux's heuristic does. */
	if ((prot & TK_PROT_W) && !(flags & MAP_NORESERVE) &&
	    a[1] > tk_space_free(&m->space))
		return (-ENOMEM);
	/* A writable page can always be read on this CPU. */
	if (prot & TK_PROT_W)
		prot |= TK_PROT_R;
	f = flags & MAP_ANONYMOUS ? NULL : tk_file_at(m, a[4]);
	if (!(flags & MAP_ANONYMOUS) && (f == NULL ||
	    f->type != &tk_type_zero))
		return (map_file(m, a, prot, fixed));
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

/* What is given up between two looks at the clock. */
#define GIVEN_UP_AT_ONCE	((uint64_t)256 << 20)

/*
 * Holes are an error, but end nothing. EINTR when the call's time is over: each
 * page that is there has to be looked at.
 */
static int64_t
give_up(struct tk_machine *m, tk_gva at, uint64_t len)
{
	uint64_t n;
	int64_t r = 0;
	int e;

	if (len > TK_USER_END || at > TK_USER_END - len)
		return (-EINVAL);
	do {
		n = len < GIVEN_UP_AT_ONCE ? len : GIVEN_UP_AT_ONCE;
		e = tk_space_zero(&m->space, at, n);
		if (e != 0 && e != ENOMEM)
			return (-e);
		if (e != 0)
			r = -e;
		at += n;
		len -= n;
	} while (len > 0 && tk_seconds_left(m) > 0);
	return (len > 0 ? -EINTR : r);
}

int64_t
tk_sys_madvise(struct tk_machine *m, const uint64_t a[6])
{

	switch (a[2]) {
	case MADV_DONTNEED:
		return (give_up(m, a[0], a[1]));
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
