/*-
 * SPDX-License-Identifier: BSD-2-Clause
 *
 * The counters that are sums over all programs of all VCLs. They go on when
 * VCLs come and go, as long as one uses the VMOD.
 *
 * A program's lock is held when its totals arrive, but not that of others, so
 * each sum is added to atomically; a request that succeeds touches one.
 */

#include "vmod_tinykvm.h"

#include "VSC_tinykvm_sum.h"

static pthread_mutex_t sums_lock = PTHREAD_MUTEX_INITIALIZER;
static unsigned users;
static struct vsc_seg *seg;
static struct VSC_tinykvm_sum *sums;

void
tk_sums_get(void)
{

	AZ(pthread_mutex_lock(&sums_lock));
	if (users++ == 0)
		sums = VSC_tinykvm_sum_New(NULL, &seg, "");
	AZ(pthread_mutex_unlock(&sums_lock));
}

void
tk_sums_put(void)
{

	AZ(pthread_mutex_lock(&sums_lock));
	assert(users > 0);
	if (--users == 0 && sums != NULL) {
		sums = NULL;
		VSC_tinykvm_sum_Destroy(&seg);
	}
	AZ(pthread_mutex_unlock(&sums_lock));
}

static void
add(uint64_t *sum, uint64_t n)
{

	if (n != 0)
		(void)__atomic_fetch_add(sum, n, __ATOMIC_RELAXED);
}

void
tk_sums_not_found(void)
{

	if (sums != NULL)
		add(&sums->program_notfound, 1);
}

/* Adds what has come since *before, which becomes now. */
static void
since(uint64_t *sum, uint64_t *before, uint64_t now)
{

	add(sum, now - *before);
	*before = now;
}

void
tk_sums_add(struct tk_summed *s, const struct tkc_counters *now)
{

	if (sums == NULL)
		return;
	/* Microseconds of the totals, so that no remainders are lost. */
	since(&sums->cpu_time, &s->request_us, now->request_ns / 1000);
	since(&sums->program_exception, &s->exceptions, now->exceptions);
	since(&sums->program_timeout, &s->timeouts, now->timeouts);
	since(&sums->program_status_4xx, &s->status_4xx, now->status_4xx);
	since(&sums->program_status_5xx, &s->status_5xx, now->status_5xx);
}
