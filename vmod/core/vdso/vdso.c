/*-
 * SPDX-License-Identifier: BSD-2-Clause
 *
 * The guest's vDSO: Linux's symbols (man 7 vdso), our clock page. The page
 * lies directly below the image.
 */

#include <stddef.h>
#include <stdint.h>
#include <sys/time.h>
#include <time.h>

#include "../clock_page.h"

extern const volatile struct tk_clock_page clock_page
    __attribute__((visibility("hidden")));

#define NS	1000000000ULL

static long
syscall2(long nr, long a, long b)
{
	long ret;

	__asm__ volatile ("syscall" : "=a" (ret) : "0" (nr), "D" (a), "S" (b)
	    : "rcx", "r11", "memory");
	return (ret);
}

/* The monotonic clock and the offset of the real-time clock; 0: not usable. */
static int
now(uint64_t *mono, uint64_t *offset)
{
	uint64_t tsc, rate, base, delta;
	uint32_t seq, lo, hi;

	do {
		seq = clock_page.seq;
		if (!clock_page.usable)
			return (0);
		__asm__ volatile ("lfence; rdtsc" : "=a" (lo), "=d" (hi)
		    :: "memory");
		tsc = clock_page.tsc;
		rate = clock_page.ns_per_tick_32;
		base = clock_page.monotonic_ns;
		*offset = clock_page.realtime_offset_ns;
		__asm__ volatile ("" ::: "memory");
	} while ((seq & 1) != 0 || seq != clock_page.seq);
	delta = ((uint64_t)hi << 32 | lo) - tsc;
	/* Another CPU's counter may be a few ticks behind the host's. */
	if ((int64_t)delta < 0)
		delta = 0;
	*mono = base + (uint64_t)(((unsigned __int128)delta * rate) >> 32);
	return (1);
}

int
__vdso_clock_gettime(clockid_t id, struct timespec *ts)
{
	uint64_t t, offset;

	switch (id) {
	case CLOCK_REALTIME:
	case CLOCK_REALTIME_COARSE:
	case CLOCK_MONOTONIC:
	case CLOCK_MONOTONIC_RAW:
	case CLOCK_MONOTONIC_COARSE:
	case CLOCK_BOOTTIME:
		break;
	default:
		return ((int)syscall2(228, id, (long)ts));
	}
	if (!now(&t, &offset))
		return ((int)syscall2(228, id, (long)ts));
	if (id == CLOCK_REALTIME || id == CLOCK_REALTIME_COARSE)
		t += offset;
	ts->tv_sec = (time_t)(t / NS);
	ts->tv_nsec = (long)(t % NS);
	return (0);
}

int
__vdso_gettimeofday(struct timeval *tv, struct timezone *tz)
{
	uint64_t t, offset;

	if (!now(&t, &offset))
		return ((int)syscall2(96, (long)tv, (long)tz));
	t += offset;
	if (tv != NULL) {
		tv->tv_sec = (time_t)(t / NS);
		tv->tv_usec = (suseconds_t)(t % NS / 1000);
	}
	if (tz != NULL) {
		tz->tz_minuteswest = 0;
		tz->tz_dsttime = 0;
	}
	return (0);
}

time_t
__vdso_time(time_t *out)
{
	uint64_t t, offset;
	time_t s;

	if (!now(&t, &offset))
		return ((time_t)syscall2(201, (long)out, 0));
	s = (time_t)((t + offset) / NS);
	if (out != NULL)
		*out = s;
	return (s);
}

int
__vdso_clock_getres(clockid_t id, struct timespec *ts)
{

	if (id < 0 || id > CLOCK_BOOTTIME)
		return ((int)syscall2(229, id, (long)ts));
	if (ts != NULL) {
		ts->tv_sec = 0;
		ts->tv_nsec = 1;
	}
	return (0);
}

int
__vdso_getcpu(unsigned *cpu, unsigned *node, void *unused)
{

	(void)unused;
	if (cpu != NULL)
		*cpu = 0;
	if (node != NULL)
		*node = 0;
	return (0);
}
