/*-
 * SPDX-License-Identifier: BSD-2-Clause
 *
 * Regular expressions: X-Pattern, X-Subject, X-Replacement.
 */

#include "apitest.h"
#include "kvm_regex.h"

static kvm_regex from_init;

void
regex_init(void)
{
	char out[32];

	from_init = regex("^/init/([a-z]+)$");
	/* They can be used at once, too. */
	if (regex_sub(regex("b"), "abcb", "-", out, sizeof out) != out ||
	    strcmp(out, "a-cb") != 0)
		exit(1);
	if (regex_sub_all(regex("b"), "abcb", "-", out, sizeof out) != out ||
	    strcmp(out, "a-c-") != 0 ||
	    regex_sub_all(regex("b"), "abcb", "-", out, 4) != NULL)
		exit(1);
}

static void
match(const struct kvm_request *r)
{
	const char *s = value(r, "X-Subject");

	respondf(200, "%d\n", sys_regex_match(regex(value(r, "X-Pattern")), s,
	    strlen(s)));
}

static void
substitute(const struct kvm_request *r, unsigned flags)
{
	static char out[4096];
	int n;

	n = sys_regex_subst(regex(value(r, "X-Pattern")),
	    value(r, "X-Subject"), value(r, "X-Replacement"), out,
	    (size_t)number(r, "X-Room", sizeof out), flags);
	if (n < 0)
		respondf(200, "%d", n);
	if ((size_t)n != strlen(out) + 1)
		respondf(500, "%d bytes of %zu", n, strlen(out) + 1);
	respond_text(200, out);
}

static void
sub(const struct kvm_request *r)
{

	substitute(r, 0);
}

static void
sub_all(const struct kvm_request *r)
{

	substitute(r, 1);
}

static void
init(const struct kvm_request *r)
{
	const char *s = value(r, "X-Subject");

	respondf(200, "%d %d\n", sys_regex_match(from_init, s, strlen(s)),
	    regex("^/init/([a-z]+)$") == from_init);
}

/* The same pattern, the same handle; and in the next request the same again. */
static void
handles(const struct kvm_request *r)
{
	kvm_regex a = regex("one"), b = regex("two");

	(void)r;
	respondf(200, "%d %d %d\n", a, b, regex("one") == a);
}

static void
free_init(const struct kvm_request *r)
{

	(void)r;
	sys_regex_free(from_init);
	respondf(200, "%d\n", sys_regex_match(from_init, "x", 1));
}

static void
free_and_again(const struct kvm_request *r)
{
	kvm_regex a = regex("one"), b;

	(void)r;
	sys_regex_free(a);
	b = regex("another");
	sys_regex_free(from_init);
	respondf(200, "%d %d %d\n", a == b, regex_matches(b, "another"),
	    regex("^/init/([a-z]+)$") == from_init);
}

/* X-Count patterns, each another. */
static void
many(const struct kvm_request *r)
{
	long i, n = number(r, "X-Count", 64);
	char pattern[32];
	kvm_regex last = -1;

	for (i = 0; i < n; i++) {
		(void)snprintf(pattern, sizeof pattern, "^many%ld$", i);
		last = regex(pattern);
	}
	respondf(200, "%d %d\n", last, regex_matches(last, pattern + 1));
}

/* Would burn the host for ages. X-Size: how long a subject. */
static void
catastrophe(const struct kvm_request *r)
{
	size_t n = (size_t)number(r, "X-Size", 30);
	char *s = malloc(n + 2);

	memset(s, 'a', n);
	s[n] = '!';
	s[n + 1] = '\0';
	respondf(200, "%d\n", sys_regex_match(regex(value(r, "X-Pattern")), s,
	    n + 1));
}

/* The result would not fit into anything. */
static void
explode(const struct kvm_request *r)
{
	size_t n = 1 << 20;
	char *s = malloc(n + 1), *out = malloc(n);

	(void)r;
	memset(s, 'a', n);
	s[n] = '\0';
	respondf(200, "%d\n", sys_regex_subst(regex("a"), s,
	    "0123456789\\0\\0\\0\\0", out, n, 1));
}

static void
nested(const struct kvm_request *r)
{
	long i, n = number(r, "X-Count", 240);
	char pattern[2048] = "";

	for (i = 0; i < n; i++)
		strcat(pattern, "(");
	strcat(pattern, "a");
	for (i = 0; i < n; i++)
		strcat(pattern, "|b)");
	respondf(200, "%d\n", sys_regex_match(regex(pattern), "a", 1));
}

/* X-From, X-To: the tables. */
static void
copyto(const struct kvm_request *r)
{

	respondf(200, "%d\n", sys_regex_copyto(regex(value(r, "X-Pattern")),
	    (enum kvm_http_where)number(r, "X-From", 0),
	    (enum kvm_http_where)number(r, "X-To", 1)));
}

const struct behaviour regex_calls[] = {
	{ "/regex/match", match }, { "/regex/sub", sub },
	{ "/regex/suball", sub_all }, { "/regex/init", init },
	{ "/regex/handles", handles }, { "/regex/free-init", free_init },
	{ "/regex/free", free_and_again }, { "/regex/many", many },
	{ "/regex/catastrophe", catastrophe }, { "/regex/explode", explode },
	{ "/regex/nested", nested }, { "/regex/copyto", copyto },
	{ NULL, NULL }
};
