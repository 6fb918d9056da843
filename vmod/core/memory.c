/*-
 * SPDX-License-Identifier: BSD-2-Clause
 */

#include <errno.h>
#include <fcntl.h>
#include <sys/mman.h>
#include <sys/stat.h>
#include <unistd.h>

#include "guest_layout.h"
#include "memory.h"
#include "object.h"

#ifndef MADV_COLLAPSE
#define MADV_COLLAPSE	25		/* Linux 6.1 */
#endif

static uint64_t
round_huge(uint64_t n)
{

	return ((n + TK_HUGE - 1) & ~(uint64_t)(TK_HUGE - 1));
}

/*
 * Guest and host addresses are congruent modulo 2 MiB, or KVM could not use
 * huge pages.
 */
static void *
map_aligned(uint64_t len, int prot, int flags, int fd, off_t offset)
{
	uint8_t *p, *q;
	void *r;

	p = mmap(NULL, len + TK_HUGE, PROT_NONE,
	    MAP_PRIVATE | MAP_ANONYMOUS | MAP_NORESERVE, -1, 0);
	if (p == MAP_FAILED)
		return (NULL);
	q = (uint8_t *)round_huge((uint64_t)p);
	r = mmap(q, len, prot, flags | MAP_FIXED, fd, offset);
	if (r == MAP_FAILED) {
		(void)munmap(p, len + TK_HUGE);
		return (NULL);
	}
	if (q > p)
		(void)munmap(p, (size_t)(q - p));
	if (q < p + TK_HUGE)
		(void)munmap(q + len, (size_t)(p + TK_HUGE - q));
	return (q);
}

int
tk_memory_new(struct tk_memory *mem, uint64_t read_only, uint64_t writable)
{
	uint64_t tables;
	int e;

	memset(mem, 0, sizeof *mem);
	writable = round_huge(writable);
	read_only = round_huge(read_only);
	/*
	 * A 4 KiB table maps 2 MiB. Twice that, and 4 MiB for mappings that
	 * lie far apart, is more than any program was seen to need; running
	 * out is ENOMEM for the guest. The same again for tables that earlier
	 * calls left.
	 */
	tables = round_huge((read_only + writable) / 128 + 4 * TK_HUGE);
	mem->pt_gpa = TK_RO_GPA + read_only;
	mem->rw_gpa = mem->pt_gpa + tables;
	mem->end = mem->rw_gpa + writable;
	mem->fd = memfd_create("tinykvm-master", MFD_CLOEXEC |
	    MFD_ALLOW_SEALING);
	if (mem->fd < 0)
		return (errno);
	if (ftruncate(mem->fd, (off_t)mem->end) == 0) {
		mem->low = map_aligned(mem->end, PROT_READ | PROT_WRITE,
		    MAP_SHARED | MAP_NORESERVE, mem->fd, 0);
		if (mem->low != NULL) {
			mem->high = mem->low + mem->pt_gpa;
			mem->magic = TK_MEMORY_MAGIC;
			return (0);
		}
	}
	e = errno;
	(void)close(mem->fd);
	mem->fd = -1;
	return (e);
}

int
tk_memory_share(struct tk_memory *mem, uint64_t size)
{

	tk_assert(!mem->is_private && mem->shared == NULL);
	size = round_huge(size);
	mem->shared = map_aligned(size, PROT_READ | PROT_WRITE,
	    MAP_SHARED | MAP_ANONYMOUS | MAP_NORESERVE, -1, 0);
	if (mem->shared == NULL)
		return (errno);
	mem->shared_size = size;
	return (0);
}

void
tk_memory_share_with(struct tk_memory *mem, const struct tk_memory *from)
{

	tk_assert(!mem->is_private && mem->shared == NULL);
	mem->shared = from->shared;
	mem->shared_size = from->shared_size;
	mem->shared_of_other = true;
}

int
tk_memory_freeze(struct tk_memory *mem)
{
	void *p;

	TK_CHECK_OBJ(mem, TK_MEMORY_MAGIC);
	tk_assert(!mem->is_private);
	/* Best effort: without huge pages the program is only a bit slower. */
	if (mem->pt_gpa >= TK_RO_GPA + 2 * TK_HUGE)
		(void)madvise(mem->low + TK_RO_GPA, mem->pt_gpa - TK_RO_GPA,
		    MADV_COLLAPSE);
	/*
	 * A seal against writing needs all writable shared mappings gone; a
	 * mapping that was made writable stays "maybe writable" to the
	 * kernel after mprotect(), so it is made anew.
	 */
	p = mmap(mem->low, mem->end, PROT_READ, MAP_SHARED | MAP_FIXED |
	    MAP_NORESERVE, mem->fd, 0);
	if (p == MAP_FAILED)
		return (errno);
	/* Kernels before 6.7 refuse the full seal while a shared mapping of a
	 * writable descriptor exists: then no *new* way to write remains. */
	if (fcntl(mem->fd, F_ADD_SEALS, F_SEAL_WRITE | F_SEAL_SHRINK |
	    F_SEAL_GROW) != 0 &&
	    fcntl(mem->fd, F_ADD_SEALS, F_SEAL_FUTURE_WRITE | F_SEAL_SHRINK |
	    F_SEAL_GROW) != 0)
		return (errno);
	return (0);
}

int
tk_memory_fork(struct tk_memory *mem, const struct tk_memory *master)
{

	TK_CHECK_OBJ(master, TK_MEMORY_MAGIC);
	*mem = *master;
	mem->is_private = true;
	mem->high = map_aligned(mem->end - mem->pt_gpa,
	    PROT_READ | PROT_WRITE, MAP_PRIVATE | MAP_NORESERVE, mem->fd,
	    (off_t)mem->pt_gpa);
	return (mem->high == NULL ? errno : 0);
}

void
tk_memory_free(struct tk_memory *mem)
{

	TK_CHECK_OBJ(mem, TK_MEMORY_MAGIC);
	if (mem->is_private)
		(void)munmap(mem->high, mem->end - mem->pt_gpa);
	else {
		(void)munmap(mem->low, mem->end);
		if (mem->shared != NULL && !mem->shared_of_other)
			(void)munmap(mem->shared, mem->shared_size);
		(void)close(mem->fd);
	}
	mem->magic = 0;
}

int
tk_memory_flush(const struct tk_memory *mem, tk_gpa gpa, uint64_t len)
{
	void *p = tk_memory_at(mem, gpa);

	/* All forks use this mapping, now: it goes, and is there at once. */
	if (gpa < mem->pt_gpa) {
		tk_assert(gpa + len <= mem->pt_gpa);
		return (madvise(p, len, MADV_DONTNEED) ? errno : 0);
	}
	tk_assert(gpa >= mem->rw_gpa && gpa + len <= mem->end);
	if (mprotect(p, len, PROT_NONE) != 0 ||
	    mprotect(p, len, PROT_READ | PROT_WRITE) != 0)
		return (errno);
	return (0);
}

int
tk_memory_drop(const struct tk_memory *mem, tk_gpa gpa, uint64_t len)
{

	tk_assert(gpa + len <= mem->end);
	if (mem->is_private)
		return (madvise(tk_memory_at(mem, gpa), len, MADV_DONTNEED) ?
		    errno : 0);
	return (fallocate(mem->fd, FALLOC_FL_PUNCH_HOLE | FALLOC_FL_KEEP_SIZE,
	    (off_t)gpa, (off_t)len) ? errno : 0);
}

uint64_t
tk_memory_resident(const struct tk_memory *mem)
{
	struct stat st;

	if (fstat(mem->fd, &st) != 0)
		return (0);
	return ((uint64_t)st.st_blocks * 512);
}
