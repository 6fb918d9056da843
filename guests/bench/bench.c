/*-
 * SPDX-License-Identifier: BSD-2-Clause
 *
 * For measurements: /nop, /write?n=8 writes a word in each of n pages,
 * /compute?n=1000 loops. With -DNATIVE the loop alone, as a Linux program that
 * prints nanoseconds.
 */

#include <stdlib.h>
#include <time.h>

#include "kvm_api.h"

static unsigned char pages[1024 * 4096] __attribute__((aligned(4096)));

static uint64_t
compute(uint64_t rounds)
{
	uint64_t x = 0x9e3779b97f4a7c15, i;
	double f = 1.0;

	for (i = 0; i < rounds * 1000; i++) {
		x ^= x << 13;
		x ^= x >> 7;
		x ^= x << 17;
		f = f * 0.999999 + (double)(x & 0xff);
	}
	return (x ^ (uint64_t)f);
}

static uint64_t
now(void)
{
	struct timespec ts;

	clock_gettime(CLOCK_MONOTONIC, &ts);
	return ((uint64_t)ts.tv_sec * 1000000000 + (uint64_t)ts.tv_nsec);
}

static uint64_t
parameter(const char *url)
{
	const char *n = strstr(url, "n=");

	return (n != NULL ? strtoull(n + 2, NULL, 10) : 0);
}

#ifdef NATIVE
int
main(int argc, char **argv)
{
	uint64_t t = now(), r;

	r = compute(argc > 1 ? parameter(argv[1]) : 1000);
	printf("%llu %llx\n", (unsigned long long)(now() - t),
	    (unsigned long long)r);
	return (0);
}
#else
static void
on_get(const char *url, const char *arg)
{
	uint64_t i, n = parameter(url), t, r;

	(void)arg;
	if (strncmp(url, "/write", 6) == 0) {
		for (i = 0; i < n && i < 1024; i++)
			*(volatile uint64_t *)(void *)(pages + i * 4096) = i;
	} else if (strncmp(url, "/compute", 8) == 0) {
		t = now();
		r = compute(n);
		respondf(200, "%llu %llx\n", (unsigned long long)(now() - t),
		    (unsigned long long)r);
	}
	respond(200, "text/plain", "done\n", 5);
}

int
main(void)
{

	set_backend_get(on_get);
	wait_for_requests();
}
#endif
