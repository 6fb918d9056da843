/*-
 * SPDX-License-Identifier: BSD-2-Clause
 *
 * Time without an exit: one page that all virtual machines of the process see
 * read-only and from which the vDSO computes the clocks.
 */

#ifndef TK_CLOCK_PAGE_H_INCLUDED
#define TK_CLOCK_PAGE_H_INCLUDED

#include <stdint.h>

/*
 * seq is odd while the host writes. Time at time-stamp counter t:
 *	monotonic = monotonic_ns + ((t - tsc) * ns_per_tick_32 >> 32)
 *	realtime = monotonic + realtime_offset_ns
 */
struct tk_clock_page {
	uint32_t	seq;
	uint32_t	usable;		/* 0: ask by system call */
	uint64_t	tsc;
	uint64_t	ns_per_tick_32;
	uint64_t	monotonic_ns;
	uint64_t	realtime_offset_ns;
};

/* The layout above is shared with guest code that was compiled separately. */
_Static_assert(sizeof(struct tk_clock_page) == 40, "vDSO ABI");

/*
 * Makes the page, not usable yet. Returns its address in the host, NULL with
 * errno.
 */
const void *tk_clock_page_new(void);

/* The self-test found out whether guests read the host's counter. */
void tk_clock_page_usable(int);

/* Follows the host's clocks; called about once a second by the watchdog. */
void tk_clock_page_update(void);

#endif /* TK_CLOCK_PAGE_H_INCLUDED */
