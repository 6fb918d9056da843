/*-
 * SPDX-License-Identifier: BSD-2-Clause
 *
 * Memory that changes while the host looks at it: what comes out is what was
 * judged, whole and good, or the request fails.
 */

#include <time.h>

#include "compute.h"
#include "harness.h"

static unsigned long told, failed, good;

static void
check_field(const char *field, size_t len)
{
	size_t i;

	CHECK(len == 10 && memchr(field, ':', len) != NULL);
	for (i = 0; i < len; i++)
		CHECK(field[i] >= ' ' && field[i] != 127);
	told++;
}

static int
on_field(void *task, int where, const char *field, size_t len)
{

	(void)task;
	(void)where;
	check_field(field, len);
	return (1);
}

static const struct tkc_host_interface interface = {
	.http_append = on_field,
	.http_set = on_field,
};

static void
ask(struct tkc_program *p, const char *url)
{
	struct tkc_request q = { .method = "GET", .url = url, .arg = "",
	    .content_type = "", .is_backend = 1, .task = &q };
	struct tkc_invocation *inv;
	struct tkc_response r;
	struct tkc_error err;
	const char *c;
	unsigned i;

	CHECK_MSG(tkc_reserve(p, &inv, &err) == 0, "%s", err.text);
	if (tkc_invoke(inv, &q, &r, &err) != 0) {
		CHECK(err.reason == TKC_EXCEPTION && err.text[0] != '\0');
		failed++;
	} else {
		good++;
		CHECK(r.status == 200 && r.content_type_len == 10);
		CHECK(strlen(r.content_type) == 10);
		for (c = r.content_type; *c != '\0'; c++)
			CHECK(*c >= ' ');
		CHECK(r.num_headers <= 2);
		for (i = 0; i < r.num_headers; i++)
			check_field(r.headers[i].ptr, r.headers[i].len);
	}
	tkc_release(&inv, NULL);
}

static void
race(double seconds)
{
	static const char *const urls[] = { "/0", "/1", "/2", "/3" };
	struct tkc_registry *r = tkc_registry_new(&interface, NULL);
	const char *tests = getenv("TK_TESTS");
	struct tkc_program *p;
	struct tkc_error err;
	struct timespec a, b;
	char json[256];
	unsigned i = 0;

	CHECK(r != NULL && tests != NULL);
	snprintf(json, sizeof json, "{ \"filename\": \"%s/racer\", "
	    "\"max_memory\": 32, \"max_request_memory\": 4, \"smp\": 2, "
	    "\"concurrency\": 1 }", tests);
	CHECK_MSG(tkc_configure(r, "racer", json, &err) == 0, "%s", err.text);
	p = tkc_find(r, "racer", &err);
	clock_gettime(CLOCK_MONOTONIC, &a);
	do {
		ask(p, urls[i++ % 4]);
		clock_gettime(CLOCK_MONOTONIC, &b);
	} while ((double)(b.tv_sec - a.tv_sec) +
	    (double)(b.tv_nsec - a.tv_nsec) / 1e9 < seconds);
	printf("%lu fields, %lu failures, %lu answers\n", told, failed, good);
	/* Both sides of the race were met. */
	CHECK(told > 100 && failed > 10 && good > 10);
	tkc_registry_free(&r);
}

static void
for_five_seconds(void)
{

	race(5);
}

static void
for_a_minute_long(void)
{

	race(60);
}

TESTS(
	T_KVM(for_five_seconds),
	T_LONG(for_a_minute_long)
)
