/*-
 * SPDX-License-Identifier: BSD-2-Clause
 */

#include <stdatomic.h>
#include <stdlib.h>
#include <sys/mman.h>
#include <time.h>
#include <x86intrin.h>

#include "clock_page.h"
#include "guest_layout.h"

#define NS		1000000000ULL
/* A guest clock further off than this is set, a nearer one is steered. */
#define STEP_NS		100000000LL
/* The steering's share of the rate: what NTP may use, 500 ppm. */
#define STEER_PPM	500

static struct tk_clock_page *page;

static uint64_t
nanoseconds(clockid_t id)
{
	struct timespec ts;

	(void)clock_gettime(id, &ts);
	return ((uint64_t)ts.tv_sec * NS + (uint64_t)ts.tv_nsec);
}

/* A counter value and the clocks at the same moment, as near as three tries. */
static void
sample(uint64_t *tsc, uint64_t *mono, uint64_t *real)
{
	uint64_t t0, t1, best = 0, m, r;
	int i;

	for (i = 0; i < 3; i++) {
		t0 = __rdtsc();
		m = nanoseconds(CLOCK_MONOTONIC);
		t1 = __rdtsc();
		r = nanoseconds(CLOCK_REALTIME) -
		    (nanoseconds(CLOCK_MONOTONIC) - m);
		if (i == 0 || t1 - t0 < best) {
			best = t1 - t0;
			*tsc = t0 + (t1 - t0) / 2;
			*mono = m;
			*real = r;
		}
	}
}

static void
publish(uint64_t tsc, uint64_t rate, uint64_t mono, uint64_t offset)
{

	page->seq++;
	atomic_thread_fence(memory_order_release);
	page->tsc = tsc;
	page->ns_per_tick_32 = rate;
	page->monotonic_ns = mono;
	page->realtime_offset_ns = offset;
	atomic_thread_fence(memory_order_release);
	page->seq++;
}

static uint64_t last_tsc, last_mono;

static uint64_t
measured_rate(uint64_t tsc, uint64_t mono)
{

	return ((uint64_t)(((unsigned __int128)(mono - last_mono) << 32) /
	    (tsc - last_tsc)));
}

const void *
tk_clock_page_new(void)
{
	struct timespec ts = { 0, 20000000 };
	uint64_t tsc, mono, real;
	void *p;

	if (page != NULL)
		return (page);
	p = mmap(NULL, TK_PAGE, PROT_READ | PROT_WRITE,
	    MAP_SHARED | MAP_ANONYMOUS, -1, 0);
	if (p == MAP_FAILED)
		return (NULL);
	page = p;
	sample(&last_tsc, &last_mono, &real);
	(void)nanosleep(&ts, NULL);
	sample(&tsc, &mono, &real);
	publish(tsc, measured_rate(tsc, mono), mono, real - mono);
	return (page);
}

void
tk_clock_page_usable(int yes)
{

	page->usable = yes != 0;
}

void
tk_clock_page_update(void)
{
	uint64_t tsc, mono, real, guest, rate;
	int64_t ahead, steer, most;

	if (page == NULL)
		return;
	sample(&tsc, &mono, &real);
	if (mono - last_mono < NS / 2)
		return;
	rate = measured_rate(tsc, mono);
	guest = page->monotonic_ns + (uint64_t)(((unsigned __int128)
	    (tsc - page->tsc) * page->ns_per_tick_32) >> 32);
	ahead = (int64_t)(guest - mono);
	if (ahead > STEP_NS || ahead < -STEP_NS)
		guest = mono;
	else {
		/*
		 * The guest's clock goes on from where it is, so that it
		 * never runs backwards, and meets the host's a second later.
		 */
		most = (int64_t)(rate / 1000000 * STEER_PPM);
		steer = -(int64_t)((__int128)ahead * (int64_t)rate /
		    (int64_t)NS);
		if (steer > most)
			steer = most;
		if (steer < -most)
			steer = -most;
		rate += (uint64_t)steer;
	}
	publish(tsc, rate, guest, real - mono);
	last_tsc = tsc;
	last_mono = mono;
}
