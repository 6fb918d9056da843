/*-
 * SPDX-License-Identifier: BSD-2-Clause
 *
 * The test guest's mappings, at addresses that the test chooses, looked at as
 * the CPU sees them: the host's own view may be another.
 */

#define _GNU_SOURCE
#include <errno.h>
#include <stdint.h>
#include <string.h>
#include <sys/mman.h>
#include <sys/syscall.h>
#include <unistd.h>

#include "guest_ops.h"

#define PAGE	4096UL
#define PRIVATE	(MAP_PRIVATE | MAP_ANONYMOUS | MAP_NORESERVE)

/* Constants and code that share their pages with nothing else. */
#define N_CONSTANTS	4
#define CONSTANT	0x43
#define ANSWER		42
static const unsigned char constant_pages[N_CONSTANTS * PAGE]
    __attribute__((aligned(4096))) = {
    [0 ... N_CONSTANTS * PAGE - 1] = CONSTANT
};
static const unsigned char *volatile constants = constant_pages;

__asm__(
    ".pushsection .text\n"
    ".balign 4096\n"
    "code_page:\n"
    "	mov $42, %eax\n"
    "	ret\n"
    ".balign 4096, 0xcc\n"
    ".popsection\n");
extern long code_page(void);

static uint64_t
by_chance(uint64_t *seed)
{

	*seed ^= *seed << 13;
	*seed ^= *seed >> 7;
	*seed ^= *seed << 17;
	return (*seed);
}

static long
or_errno(void *p)
{

	return (p == MAP_FAILED ? -errno : (long)p);
}

static long
map_at(unsigned long at, unsigned long len, int prot)
{

	return (or_errno(mmap((void *)at, len, prot, PRIVATE |
	    (at != 0 ? MAP_FIXED : 0), -1, 0)));
}

/* How many of the bytes are not zero. */
static long
not_zero(const volatile unsigned char *p, unsigned long len)
{
	long n = 0;

	while (len-- > 0)
		n += p[len] != 0;
	return (n);
}

/* Takes all addresses that there are, in few mappings. */
static long
fill_addresses(void)
{
	size_t len;
	long n = 0;

	for (len = 1UL << 46; len >= PAGE && n < 5000;) {
		if (map_at(0, len, PROT_NONE) > 0)
			n++;
		else
			len >>= 1;
	}
	return (n);
}

/* Takes them all, but for so many bytes. */
static long
fill_all_but(unsigned long len)
{
	long at = map_at(0, len, PROT_READ | PROT_WRITE), n;

	n = fill_addresses();
	if (at > 0)
		munmap((void *)at, len);
	return (n);
}

/* Pages that need a table each: how many there can be. */
static long
spread(unsigned long at, unsigned long most)
{
	unsigned long n;
	long r;

	for (n = 0; n < most; n++) {
		r = map_at(at + n * (2UL << 20), PAGE,
		    PROT_READ | PROT_WRITE);
		if (r < 0)
			return (r == -ENOMEM ? (long)n : r);
		*(volatile unsigned char *)r = 1;
	}
	return ((long)n);
}

/*--------------------------------------------------------------------
 * Mappings by chance, at addresses that differ in each level of the tables,
 * against a table of what must be there. 0, or what was wrong.
 */

#define SLOTS	24

static unsigned char *
slot_at(unsigned i)
{
	static const unsigned long top[] = { 64, 66, 200 };

	return ((unsigned char *)(top[i / 8] << 39 |
	    (unsigned long)(i >> 2 & 1) << 30 |
	    (unsigned long)(i >> 1 & 1) << 21 | (i & 1UL) << 12));
}

static long
change_slot(unsigned i, unsigned char *value, uint64_t chance)
{
	volatile unsigned char *p = slot_at(i);

	switch (chance % 4) {
	case 0:
		if (*value != 0)
			munmap((void *)p, PAGE);
		*value = 0;
		return (0);
	case 1:
		if (*value != 0) {
			mprotect((void *)p, PAGE, PROT_NONE);
			mprotect((void *)p, PAGE, PROT_READ | PROT_WRITE);
		}
		return (0);
	default:
		*value = 0;
		if (map_at((unsigned long)p, PAGE, PROT_READ | PROT_WRITE) < 0)
			return (0);
		if (*p != 0)
			return (1000 + i);
		*value = (unsigned char)(chance >> 8 | 1);
		*p = *value;
		return (0);
	}
}

static long
far_mappings(uint64_t *seed)
{
	unsigned char value[SLOTS] = { 0 };
	unsigned i, k, steps;
	uint64_t chance;
	long r;

	for (steps = 0; steps < 40; steps++) {
		chance = by_chance(seed);
		i = (unsigned)(chance >> 20) % SLOTS;
		r = change_slot(i, &value[i], chance);
		if (r != 0)
			return (r);
		for (k = 0; k < SLOTS; k++)
			if (value[k] != 0 && *slot_at(k) != value[k])
				return (2000 + k);
	}
	return (0);
}

static long
new_memory(uint64_t *seed)
{
	unsigned long len = (by_chance(seed) % 32 + 1) * PAGE;
	long at = map_at(0, len, PROT_READ | PROT_WRITE);

	if (at < 0)
		return (0);
	if (not_zero((unsigned char *)at, len) != 0)
		return (4000);
	/* By the guest, and by the host. */
	memset((void *)at, 0x77, len);
	syscall(SYS_getrandom, at, 64, 0);
	/* A page of it that must not be written any more, or used at all. */
	if (len > PAGE && map_at((unsigned long)at + PAGE, PAGE,
	    by_chance(seed) & 1 ? PROT_NONE : PROT_READ) > 0 &&
	    syscall(SYS_getrandom, at + (long)PAGE, 64, 0) != -1)
		return (4001);
	return (0);
}

/* What all forks share is moved, removed and replaced. */
static long
shared_pages(uint64_t *seed, int fresh)
{
	const volatile unsigned char *c = constants;
	uint64_t chance = by_chance(seed);
	void *p;

	if (fresh && (not_zero(c, sizeof constant_pages) !=
	    sizeof constant_pages || c[PAGE] != CONSTANT))
		return (3000);
	if (fresh && code_page() != ANSWER)
		return (3001);
	if ((chance >> 20) % 8 == 0)
		(void)fill_all_but(16 * PAGE);
	if (chance & 1) {
		p = mremap((void *)c, PAGE, 2 * PAGE, MREMAP_MAYMOVE);
		if (fresh && (p != MAP_FAILED ? *(unsigned char *)p : *c) !=
		    CONSTANT)
			return (3002);
		if (p != MAP_FAILED && (chance & 2) &&
		    munmap(p, 2 * PAGE) == 0)
			(void)new_memory(seed);
		p = mremap((void *)code_page, PAGE, 2 * PAGE, MREMAP_MAYMOVE);
		if (fresh && p == MAP_FAILED && code_page() != ANSWER)
			return (3004);
	}
	c += (chance >> 8) % N_CONSTANTS * PAGE;
	if ((chance & 4) && map_at((unsigned long)c, PAGE, chance & 8 ?
	    PROT_READ : PROT_READ | PROT_WRITE) > 0 && not_zero(c, PAGE) != 0)
		return (3003);
	if (chance & 16)
		munmap((void *)code_page, PAGE);
	else if (chance & 32)
		mprotect((void *)code_page, PAGE, PROT_NONE);
	return (0);
}

static long
mappings(uint64_t seed, int fresh)
{
	long r;

	seed |= 1;
	r = shared_pages(&seed, fresh);
	if (r == 0)
		r = far_mappings(&seed);
	if (r == 0)
		r = new_memory(&seed);
	return (r);
}

long
operate_memory(unsigned long op, unsigned long a, unsigned long b,
    unsigned long c)
{

	switch (op) {
	case OP_MAP_AT:
		return (map_at(a, b, (int)c));
	case OP_UNMAP_AT:
		return (munmap((void *)a, b));
	case OP_PROTECT_AT:
		return (mprotect((void *)a, b, (int)c));
	case OP_REMAP:
		return (or_errno(mremap((void *)a, b, c, MREMAP_MAYMOVE)));
	case OP_NOT_ZERO:
		return (not_zero((unsigned char *)a, b));
	case OP_RUN_AT:
		return (((long (*)(void))a)());
	case OP_CONSTANTS:
		return ((long)constants);
	case OP_CODE:
		return ((long)code_page);
	case OP_FILL:
		return (fill_addresses());
	case OP_SPREAD:
		return (spread(a, b));
	case OP_MAPPINGS:
		return (mappings(a, (int)b));
	default:
		return (-1);
	}
}
