/*-
 * SPDX-License-Identifier: BSD-2-Clause
 */

#include <time.h>

#include "clock.h"

uint64_t
tkc_now(void)
{
	struct timespec ts;

	(void)clock_gettime(CLOCK_MONOTONIC, &ts);
	return ((uint64_t)ts.tv_sec * TKC_NS + (uint64_t)ts.tv_nsec);
}

uint64_t
tkc_after(double seconds)
{

	return (tkc_now() + (uint64_t)(seconds * (double)TKC_NS));
}

double
tkc_seconds(void)
{

	return ((double)tkc_now() / (double)TKC_NS);
}

void
tkc_cond_init(pthread_cond_t *c)
{
	pthread_condattr_t attr;

	(void)pthread_condattr_init(&attr);
	(void)pthread_condattr_setclock(&attr, CLOCK_MONOTONIC);
	(void)pthread_cond_init(c, &attr);
	(void)pthread_condattr_destroy(&attr);
}

bool
tkc_wait_until(pthread_cond_t *c, pthread_mutex_t *lock, uint64_t until)
{
	struct timespec ts;

	ts.tv_sec = (time_t)(until / TKC_NS);
	ts.tv_nsec = (long)(until % TKC_NS);
	return (pthread_cond_timedwait(c, lock, &ts) == 0);
}
