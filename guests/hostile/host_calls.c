/*-
 * SPDX-License-Identifier: BSD-2-Clause
 *
 * The guest API with wrong pointers, lengths, order and moment.
 */

#include "hostile.h"

#define WILD	((const char *)0x123456789000)
#define KERNEL	((const char *)0xffffffff80000000)

#define ANSWER(name, status, type, type_len, body, body_len, extra)	\
	static void							\
	name(const char *arg)						\
	{								\
									\
		(void)arg;						\
		(void)kvm_call(KVM_BACKEND_RESPONSE, (status), (long)(type), \
		    (long)(type_len), (long)(body), (long)(body_len),	\
		    (long)(extra));					\
	}

ANSWER(wild_body, 200, "a", 1, WILD, 10, NULL)
ANSWER(kernel_body, 200, "a", 1, KERNEL + 0x1000, 10, NULL)
ANSWER(stub_body, 200, "a", 1, KERNEL + 0x5000, 10, NULL)
ANSWER(fpu_body, 200, "a", 1, KERNEL + 0x6000, 10, NULL)
ANSWER(huge_body, 200, "a", 1, "x", 1L << 62, NULL)
ANSWER(wrapping_body, 200, "a", 1, "x", -1L, NULL)
ANSWER(long_body, 200, "a", 1, "x", 1L << 40, NULL)
ANSWER(noncanonical_body, 200, "a", 1, 1L << 63, 1, NULL)
ANSWER(top_body, 200, "a", 1, 0x7ffffffff000L, 4096, NULL)
ANSWER(wild_type, 200, WILD, 10, "x", 1, NULL)
ANSWER(huge_type, 200, "a", 4096, "x", 1, NULL)
ANSWER(negative_type, 200, "a", -1L, "x", 1, NULL)
ANSWER(newline_type, 200, "a\r\nX: y", 7, "x", 1, NULL)
ANSWER(status_0, 0, "a", 1, "x", 1, NULL)
ANSWER(status_99, 99, "a", 1, "x", 1, NULL)
ANSWER(status_600, 600, "a", 1, "x", 1, NULL)
ANSWER(status_negative, -1, "a", 1, "x", 1, NULL)
ANSWER(status_wrapping, 200 + 65536, "a", 1, "x", 1, NULL)
ANSWER(wild_extra, 200, "a", 1, "x", 1, WILD)
ANSWER(empty_body, 204, "", 0, NULL, 0, NULL)

static void
extra_with(const struct ResponseHeader *headers, uint16_t n)
{
	struct BackendResponseExtra x;

	memset(&x, 0, sizeof x);
	x.headers = headers;
	x.num_headers = n;
	sys_backend_response(200, "a", 1, "x", 1, &x);
}

static void
too_many_headers(const char *arg)
{
	static struct ResponseHeader h[65];
	int i;

	(void)arg;
	for (i = 0; i < 65; i++) {
		h[i].field = "X: y";
		h[i].field_len = 4;
	}
	extra_with(h, 65);
}

static void
wild_headers(const char *arg)
{

	(void)arg;
	extra_with((const void *)WILD, 3);
}

static void
wild_header(const char *arg)
{
	static const struct ResponseHeader h = { WILD, 10 };

	(void)arg;
	extra_with(&h, 1);
}

static void
huge_header(const char *arg)
{
	static const struct ResponseHeader h = { "X: y", 1UL << 60 };

	(void)arg;
	extra_with(&h, 1);
}

static void
injected_header(const char *arg)
{
	static const struct ResponseHeader h = { "X: y\r\nZ: w", 10 };

	(void)arg;
	extra_with(&h, 1);
}

static void
nameless_header(const char *arg)
{
	static const struct ResponseHeader h = { ": y", 3 };

	(void)arg;
	extra_with(&h, 1);
}

/* The second answer is never reached. */
static void
respond_twice(const char *arg)
{

	(void)arg;
	(void)kvm_call(KVM_BACKEND_RESPONSE, 200, (long)"text/plain", 10,
	    (long)"first\n", 6, 0);
	(void)kvm_call(KVM_BACKEND_RESPONSE, 200, (long)"text/plain", 10,
	    (long)"second\n", 7, 0);
}

static void
no_response(const char *arg)
{

	(void)arg;
	__asm__ volatile ("mov $0xffff, %%eax\n out %%eax, $0" ::: "rax");
}

static void
unknown_call(const char *arg)
{

	(void)arg;
	respondf(200, "%ld\n", kvm_call(0x12345, 1, 2, 3, 4, 5, 6));
}

static void
every_call(const char *arg)
{
	long n;

	(void)arg;
	for (n = 0x30000; n < 0x30400; n++)
		(void)kvm_call(n, -1, -1, -1, -1, -1, -1);
	respond_text(200, "survived\n");
}

static void
register_late(const char *arg)
{

	(void)arg;
	register_func(KVM_ON_GET, (void *)register_late);
}

static void
wait_late(const char *arg)
{

	(void)arg;
	wait_for_requests();
}

static void
wild_log(const char *arg)
{

	(void)arg;
	sys_log(WILD, 100);
}

static void
huge_log(const char *arg)
{

	(void)arg;
	sys_log("x", 1UL << 62);
}

static void
wild_meminfo(const char *arg)
{

	(void)arg;
	get_meminfo((uint64_t *)(uintptr_t)KERNEL);
}

static void
readonly_meminfo(const char *arg)
{

	(void)arg;
	get_meminfo((uint64_t *)(uintptr_t)wild_meminfo);
}

static void
wild_http(const char *arg)
{

	(void)arg;
	(void)sys_http_append(KVM_HTTP_RESPONSE_HEADERS, WILD, 10);
}

static void
injected_http(const char *arg)
{

	(void)arg;
	(void)sys_http_set(KVM_HTTP_REQUEST_HEADERS, "X: a\nY: b", 9);
}

static void
where_http(const char *arg)
{

	(void)arg;
	(void)sys_http_append((enum kvm_http_where)77, "X: y", 4);
}

static void
find_into_text(const char *arg)
{

	(void)arg;
	(void)sys_http_find(KVM_HTTP_REQUEST_HEADERS, "Host", 4,
	    (char *)(uintptr_t)find_into_text, 1 << 20);
}

static void
many_headers(const char *arg)
{
	int i;

	(void)arg;
	for (i = 0; i < 5000; i++)
		(void)sys_http_append(KVM_HTTP_REQUEST_HEADERS,
		    "X-Many: yes yes yes yes yes yes yes yes", 39);
	respond_text(200, "survived\n");
}

const struct misdeed host_call_misdeeds[] = {
	{ "/wild-body", wild_body }, { "/kernel-body", kernel_body },
	{ "/stub-body", stub_body }, { "/fpu-body", fpu_body },
	{ "/huge-body", huge_body }, { "/wrapping-body", wrapping_body },
	{ "/long-body", long_body }, { "/top-body", top_body },
	{ "/noncanonical-body", noncanonical_body },
	{ "/wild-type", wild_type }, { "/huge-type", huge_type },
	{ "/negative-type", negative_type }, { "/newline-type", newline_type },
	{ "/status-0", status_0 }, { "/status-99", status_99 },
	{ "/status-600", status_600 }, { "/status-negative", status_negative },
	{ "/status-wrapping", status_wrapping }, { "/wild-extra", wild_extra },
	{ "/empty-body", empty_body }, { "/too-many-headers", too_many_headers },
	{ "/wild-headers", wild_headers }, { "/wild-header", wild_header },
	{ "/huge-header", huge_header }, { "/injected-header", injected_header },
	{ "/nameless-header", nameless_header },
	{ "/respond-twice", respond_twice }, { "/no-response", no_response },
	{ "/unknown-call", unknown_call }, { "/every-call", every_call },
	{ "/register-late", register_late }, { "/wait-late", wait_late },
	{ "/wild-log", wild_log }, { "/huge-log", huge_log },
	{ "/wild-meminfo", wild_meminfo },
	{ "/readonly-meminfo", readonly_meminfo }, { "/wild-http", wild_http },
	{ "/injected-http", injected_http }, { "/where-http", where_http },
	{ "/find-into-text", find_into_text },
	{ "/many-headers", many_headers },
	{ NULL, NULL }
};
