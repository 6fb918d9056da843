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

void
tk_sums_add(struct tkc_counters *before, const struct tkc_counters *now)
{

	if (sums == NULL)
		return;
	/* Microseconds of the totals, so that no remainders are lost. */
	add(&sums->cpu_time, now->request_ns / 1000 -
	    before->request_ns / 1000);
	add(&sums->program_exception, now->exceptions - before->exceptions);
	add(&sums->program_timeout, now->timeouts - before->timeouts);
	add(&sums->program_status_4xx, now->status_4xx - before->status_4xx);
	add(&sums->program_status_5xx, now->status_5xx - before->status_5xx);
	*before = *now;
}
