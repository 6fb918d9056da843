/*-
 * SPDX-License-Identifier: BSD-2-Clause
 *
 * Regular expressions and fetches with wrong pointers and lengths, and too much
 * of them. Nothing may be fetched: what is checked is checked before.
 */

#include "hostile.h"

#define WILD	((char *)0x123456789000)
#define KERNEL	((char *)0xffffffff80005000)
#define HUGE	(1L << 62)
#define URL	"http://192.0.2.1/"

#define CALL(name, ...)							\
	static void							\
	name(const char *arg)						\
	{								\
									\
		(void)arg;						\
		(void)kvm_call(__VA_ARGS__);				\
	}

static char text[4096] = "text";
static const char rodata[256] = "read-only";

CALL(regex_wild, KVM_REGEX_COMPILE, (long)WILD, 10, 0, 0, 0, 0)
CALL(regex_kernel, KVM_REGEX_COMPILE, (long)KERNEL, 10, 0, 0, 0, 0)
CALL(regex_huge, KVM_REGEX_COMPILE, (long)text, HUGE, 0, 0, 0, 0)
CALL(regex_long, KVM_REGEX_COMPILE, (long)text, 16385, 0, 0, 0, 0)
CALL(regex_empty, KVM_REGEX_COMPILE, (long)WILD, 0, 0, 0, 0, 0)
CALL(regex_open, KVM_REGEX_COMPILE, (long)"(((", 3, 0, 0, 0, 0)
CALL(regex_free_none, KVM_REGEX_FREE, 0, 0, 0, 0, 0, 0)
CALL(regex_free_far, KVM_REGEX_FREE, 1L << 40, 0, 0, 0, 0, 0)
CALL(regex_free_minus, KVM_REGEX_FREE, -1, 0, 0, 0, 0, 0)
CALL(regex_match_none, KVM_REGEX_MATCH, 63, (long)text, 4, 0, 0, 0)
CALL(regex_copy_none, KVM_REGEX_COPYTO, 63, 0, 1, 0, 0, 0)

static int
any(void)
{

	return (sys_regex_compile(".", 1));
}

CALL(match_wild, KVM_REGEX_MATCH, any(), (long)WILD, 4, 0, 0, 0)
CALL(match_huge, KVM_REGEX_MATCH, any(), (long)text, HUGE, 0, 0, 0)
CALL(match_minus, KVM_REGEX_MATCH, any(), (long)text, -1, 0, 0, 0)
CALL(subst_wild, KVM_REGEX_SUBST, any(), (long)WILD, (long)"x", (long)text,
    100, 1)
CALL(subst_by_wild, KVM_REGEX_SUBST, any(), (long)"x", (long)WILD, (long)text,
    100, 1)
CALL(subst_to_wild, KVM_REGEX_SUBST, any(), (long)"x", (long)"y", (long)WILD,
    100, 1)
CALL(subst_to_text, KVM_REGEX_SUBST, any(), (long)"x", (long)"y",
    (long)subst_to_wild, 100, 1)
CALL(subst_to_rodata, KVM_REGEX_SUBST, any(), (long)"x", (long)"y",
    (long)rodata, 100, 1)

/* A text without an end: zeros are not to be found up to the limit. */
static void
subst_endless(const char *arg)
{
	static char a[(16 << 10) + 1];

	(void)arg;
	memset(a, 'a', sizeof a);
	(void)kvm_call(KVM_REGEX_SUBST, any(), (long)"x", (long)WILD - 1,
	    (long)a, sizeof a, 1);
}

static void
regex_65(const char *arg)
{
	char pattern[16];
	int i;

	(void)arg;
	for (i = 0; i < 65; i++)
		(void)sys_regex_compile(pattern, (size_t)snprintf(pattern,
		    sizeof pattern, "x%d", i));
}

/* Over and over: the host keeps nothing of it. */
static void
regex_churn(const char *arg)
{
	char pattern[32];
	int i, h;

	(void)arg;
	for (i = 0; i < 300; i++) {
		h = sys_regex_compile(pattern, (size_t)snprintf(pattern,
		    sizeof pattern, "(x%d){1,200}", i));
		sys_regex_free(h);
	}
	respond_text(200, "survived\n");
}

/* Ends with the request's time, whatever the pattern. */
static void
regex_burn(const char *arg)
{
	static char a[1 << 20];
	int h = sys_regex_compile("a{0,90}a{0,90}(b|c)", 19);

	(void)arg;
	memset(a, 'a', sizeof a);
	for (;;)
		(void)sys_regex_match(h, a, sizeof a);
}

static void
regex_backtrack(const char *arg)
{
	int n;

	(void)arg;
	memset(text, 'a', sizeof text);
	text[sizeof text - 1] = '!';
	n = sys_regex_match(sys_regex_compile("^(a|aa|aaa)+$", 13), text,
	    sizeof text);
	n = n < 0 ? sys_regex_match(sys_regex_compile("^(((a*)*)*)*b", 13),
	    text, sizeof text) : 0;
	respond_text(200, n < 0 ? "survived\n" : "matched\n");
}

/*--------------------------------------------------------------------*/

static struct curl_op op;
static struct curl_fields fields;
static struct curl_options options;

CALL(fetch_wild_url, KVM_FETCH, (long)WILD, 10, (long)&op, 0, 0, 0)
CALL(fetch_huge_url, KVM_FETCH, (long)URL, HUGE, (long)&op, 0, 0, 0)
CALL(fetch_long_url, KVM_FETCH, (long)text, 8193, (long)&op, 0, 0, 0)
CALL(fetch_nul_url, KVM_FETCH, (long)"http://a\0b/", 11, (long)&op, 0, 0, 0)
CALL(fetch_wild_op, KVM_FETCH, (long)URL, 17, (long)WILD, 0, 0, 0)
CALL(fetch_null_op, KVM_FETCH, (long)URL, 17, 0, 0, 0, 0)
CALL(fetch_rodata_op, KVM_FETCH, (long)URL, 17, (long)rodata, 0, 0, 0)
CALL(fetch_wild_fields, KVM_FETCH, (long)URL, 17, (long)&op, (long)WILD, 0, 0)
CALL(fetch_wild_options, KVM_FETCH, (long)URL, 17, (long)&op, 0, (long)WILD,
    0)
CALL(fetch_wild_method, KVM_FETCH_METHOD, (long)WILD, (long)URL, 17,
    (long)&op, 0, 0)
CALL(fetch_bad_method, KVM_FETCH_METHOD, (long)"GET /", (long)URL, 17,
    (long)&op, 0, 0)
CALL(request_wild_url, KVM_REQUEST, (long)WILD, 10, (long)&op, 0, 0, 0)

static void
fetch(const char *arg)
{

	(void)arg;
	(void)sys_fetch(URL, strlen(URL), &op, &fields, &options);
}

static void
fetch_wild_field(const char *arg)
{

	fields.ptr[11] = WILD;
	fields.len[11] = 10;
	fetch(arg);
}

static void
fetch_injected_field(const char *arg)
{

	fields.ptr[0] = "X: a\r\nY: b";
	fields.len[0] = 10;
	fetch(arg);
}

static void
fetch_nul_field(const char *arg)
{

	fields.ptr[0] = "X: a\0Y: b";
	fields.len[0] = 9;
	fetch(arg);
}

static void
fetch_wild_post(const char *arg)
{

	op.post_buffer = WILD;
	op.post_buflen = 10;
	fetch(arg);
}

static void
fetch_huge_post(const char *arg)
{

	op.post_buffer = text;
	op.post_buflen = UINT32_MAX;
	fetch(arg);
}

static void
fetch_injected_type(const char *arg)
{

	op.post_buffer = text;
	op.post_buflen = 4;
	memcpy(op.ctype, "a\r\nX: b", 7);
	op.ctlen = 7;
	fetch(arg);
}

static void
fetch_denied(const char *arg)
{
	long e;

	(void)arg;
	options.follow_location = 1;
	e = sys_fetch("http://127.0.0.1:22/", 20, &op, NULL, &options);
	respondf(200, "%ld\n", e);
}

/* What no check stops: it is refused, and then nothing was touched. */
static void
fetch_wild_room(const char *arg)
{

	(void)arg;
	op.content = WILD;
	op.content_length = UINT32_MAX;
	op.headers = KERNEL;
	op.headers_length = UINT32_MAX;
	op.ctlen = UINT32_MAX;
	respondf(200, "%ld\n", sys_fetch(URL, strlen(URL), &op, NULL, NULL));
}

static void
fetch_churn(const char *arg)
{
	char url[40];
	int i;

	(void)arg;
	for (i = 0; i < 200; i++) {
		(void)snprintf(url, sizeof url, "http://host%d.test/", i);
		(void)sys_fetch(url, strlen(url), &op, NULL, NULL);
	}
	respond_text(200, "survived\n");
}

const struct misdeed net_misdeeds[] = {
	{ "/regex-wild", regex_wild }, { "/regex-kernel", regex_kernel },
	{ "/regex-huge", regex_huge }, { "/regex-long", regex_long },
	{ "/regex-empty", regex_empty }, { "/regex-open", regex_open },
	{ "/regex-free-none", regex_free_none },
	{ "/regex-free-far", regex_free_far },
	{ "/regex-free-minus", regex_free_minus },
	{ "/regex-match-none", regex_match_none },
	{ "/regex-copy-none", regex_copy_none },
	{ "/regex-match-wild", match_wild },
	{ "/regex-match-huge", match_huge },
	{ "/regex-match-minus", match_minus },
	{ "/regex-subst-wild", subst_wild },
	{ "/regex-subst-by-wild", subst_by_wild },
	{ "/regex-subst-to-wild", subst_to_wild },
	{ "/regex-subst-to-text", subst_to_text },
	{ "/regex-subst-to-rodata", subst_to_rodata },
	{ "/regex-subst-endless", subst_endless },
	{ "/regex-65", regex_65 }, { "/regex-churn", regex_churn },
	{ "/regex-burn", regex_burn },
	{ "/regex-backtrack", regex_backtrack },
	{ "/fetch-wild-url", fetch_wild_url },
	{ "/fetch-huge-url", fetch_huge_url },
	{ "/fetch-long-url", fetch_long_url },
	{ "/fetch-nul-url", fetch_nul_url },
	{ "/fetch-wild-op", fetch_wild_op },
	{ "/fetch-null-op", fetch_null_op },
	{ "/fetch-rodata-op", fetch_rodata_op },
	{ "/fetch-wild-fields", fetch_wild_fields },
	{ "/fetch-wild-options", fetch_wild_options },
	{ "/fetch-wild-method", fetch_wild_method },
	{ "/fetch-bad-method", fetch_bad_method },
	{ "/request-wild-url", request_wild_url },
	{ "/fetch-wild-field", fetch_wild_field },
	{ "/fetch-injected-field", fetch_injected_field },
	{ "/fetch-nul-field", fetch_nul_field },
	{ "/fetch-wild-post", fetch_wild_post },
	{ "/fetch-huge-post", fetch_huge_post },
	{ "/fetch-injected-type", fetch_injected_type },
	{ "/fetch-denied", fetch_denied },
	{ "/fetch-wild-room", fetch_wild_room },
	{ "/fetch-churn", fetch_churn },
	{ NULL, NULL }
};
