/* SPDX-License-Identifier: BSD-2-Clause
 *
 * malloc without system calls. glibc's malloc asks the system for more memory
 * in a request, and anew in the next one: its heap is back at its frozen size.
 * Kept large before the freeze, it answers from pages that the fork has had
 * before. For programs that allocate much, with glibc.
 */

#ifndef KVM_HEAP_H
#define KVM_HEAP_H

#include <malloc.h>
#include <stdlib.h>

/* Before waiting: keeps so many bytes at hand; at most 32 MiB. */
static inline void
kvm_keep_heap(size_t bytes)
{
	void *volatile room;		/* gcc must not see through this */

	(void)mallopt(M_MMAP_THRESHOLD, 32 << 20);
	(void)mallopt(M_TRIM_THRESHOLD, 64 << 20);
	room = malloc(bytes - 64);
	free(room);
}

#endif /* KVM_HEAP_H */
