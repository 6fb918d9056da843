/*-
 * SPDX-License-Identifier: BSD-2-Clause
 *
 * Fetches: X-Url is the URL. The answer is what came: error, status, type and
 * length, then the content.
 */

#include "apitest.h"
#include "kvm_fetch.h"

static char at_init[256] = "none";

void
fetch_init(int argc, char **argv)
{
	struct kvm_fetched f;

	if (argc < 2)
		return;
	f = fetch(argv[1]);
	(void)snprintf(at_init, sizeof at_init, "%ld %d %.*s", f.error,
	    f.status, (int)(f.content_len < 100 ? f.content_len : 100),
	    f.content);
}

static void
tell(const struct kvm_fetched *f)
{
	char *body = malloc(f->content_len + 256);
	int n;

	n = snprintf(body, 256, "%ld %d %s %zu\n", f->error, f->status,
	    f->type, f->content_len);
	memcpy(body + n, f->content, f->content_len);
	respond(200, "text/plain", body, (size_t)n + f->content_len);
}

/* X-Method, X-Body, X-Type, X-Send and X-Send2: fields. */
static void
plain(const struct kvm_request *r)
{
	const char *fields[3] = { kvm_header(r, "X-Send"),
	    kvm_header(r, "X-Send2"), NULL };
	const char *body = kvm_header(r, "X-Body");
	struct kvm_fetched f;

	f = fetch_with(kvm_header(r, "X-Method"), value(r, "X-Url"), fields,
	    kvm_header(r, "X-Type"), body, body != NULL ? strlen(body) : 0);
	if (f.content[f.content_len] != '\0')
		respond_text(500, "no NUL");
	tell(&f);
}

/* As programs of others do: no fields, no options, which follows redirects. */
static void
old_style(const struct kvm_request *r)
{
	const char *url = value(r, "X-Url");
	struct curl_op op = { 0 };
	long e = sys_fetch(url, strlen(url), &op, NULL, NULL);

	if (e != 0)
		respondf(200, "%ld\n", e);
	sys_backend_response((int16_t)op.status, op.ctype, op.ctlen,
	    op.content, op.content_length, NULL);
}

/* X-Send, X-Send2, X-Send3 and X-Body, with redirects. */
static void
follow(const struct kvm_request *r)
{
	const char *url = value(r, "X-Url"), *body = kvm_header(r, "X-Body");
	struct curl_options o = { 0 };
	struct curl_fields fields = { 0 };
	struct curl_op op = { 0 };
	static char text[4096];
	long e;

	o.follow_location = 1;
	fields.ptr[0] = value(r, "X-Send");
	fields.ptr[1] = value(r, "X-Send2");
	fields.ptr[2] = value(r, "X-Send3");
	for (e = 0; e < 3; e++)
		fields.len[e] = (uint16_t)strlen(fields.ptr[e]);
	if (body != NULL) {
		op.post_buffer = body;
		op.post_buflen = (uint32_t)strlen(body);
	}
	e = sys_fetch(url, strlen(url), &op, &fields, &o);
	(void)snprintf(text, sizeof text, "%ld %u %u\n%.*s", e, op.status,
	    op.content_length, (int)op.content_length, (char *)op.content);
	respond_text(200, text);
}

static void
request(const struct kvm_request *r)
{
	const char *url = value(r, "X-Url");
	struct curl_op op = { 0 };
	long e = sys_request(url, strlen(url), &op, NULL, NULL);

	if (e != 0)
		respondf(200, "%ld\n", e);
	sys_backend_response((int16_t)op.status, op.ctype, op.ctlen,
	    op.content, op.content_length, NULL);
}

static void
headers(const struct kvm_request *r)
{
	struct kvm_fetched f = fetch(value(r, "X-Url"));

	respond(200, "text/plain", f.headers, strlen(f.headers));
}

/* X-Room: into a buffer of the program's. */
static void
buffer(const struct kvm_request *r)
{
	static char content[65536], head[64];
	const char *url = value(r, "X-Url");
	struct curl_op op = { 0 };
	long e;

	memset(content, '#', sizeof content);
	op.content = content;
	op.content_length = (uint32_t)number(r, "X-Room", 100);
	op.headers = head;
	op.headers_length = sizeof head;
	e = sys_fetch(url, strlen(url), &op, NULL, NULL);
	respondf(200, "%ld %u %d %.*s%c %u %.15s\n", e, op.content_length,
	    op.content == content, e == 0 ? (int)op.content_length : 0,
	    content, e == 0 ? content[op.content_length] : ' ',
	    op.headers_length, head);
}

/* X-Count times, all kept: the memory has an end. */
static void
hoard(const struct kvm_request *r)
{
	long i, n = number(r, "X-Count", 2);
	struct kvm_fetched f = { 0 };

	for (i = 0; i < n; i++) {
		f = fetch(value(r, "X-Url"));
		if (f.error != 0)
			break;
	}
	respondf(200, "%ld %ld\n", i, f.error);
}

/* As much as X-Size, POSTed. */
static void
post_much(const struct kvm_request *r)
{
	size_t n = (size_t)number(r, "X-Size", 1000);
	char *body = malloc(n);
	struct kvm_fetched f;

	memset(body, 'p', n);
	f = fetch_post(value(r, "X-Url"), "text/x-much", body, n);
	tell(&f);
}

/* dummy_fetch, which is HEAD; tcp_fast_open; an interface. */
static void
options(const struct kvm_request *r)
{
	struct curl_options o = { 0 };
	const char *url = value(r, "X-Url");
	struct curl_op op = { 0 };
	long e;

	o.dummy_fetch = (int8_t)number(r, "X-Dummy", 0);
	o.tcp_fast_open = 1;
	o.follow_location = (int8_t)number(r, "X-Follow", 0);
	o.dont_verify_host = (int8_t)number(r, "X-Dont-Verify", 0);
	if (kvm_header(r, "X-Interface") != NULL)
		o.interface = value(r, "X-Interface");
	e = sys_fetch(url, strlen(url), &op, NULL, &o);
	respondf(200, "%ld %u %u\n", e, op.status, op.content_length);
}

/* X-What: content, text, headers or post, which are not the program's. */
static void
wild(const struct kvm_request *r)
{
	const char *url = value(r, "X-Url"), *what = value(r, "X-What");
	char *const nowhere = (char *)0x123456789000;
	struct curl_op op = { 0 };

	if (strcmp(what, "content") == 0)
		op.content = nowhere;
	else if (strcmp(what, "text") == 0)
		op.content = (void *)(uintptr_t)wild;
	else if (strcmp(what, "headers") == 0)
		op.headers = nowhere;
	else {
		op.post_buffer = nowhere;
		op.post_buflen = 10;
	}
	op.content_length = op.headers_length = UINT32_MAX;
	respondf(200, "%ld\n", sys_fetch(url, strlen(url), &op, NULL, NULL));
}

static void
init(const struct kvm_request *r)
{

	(void)r;
	respondf(200, "%s\n", at_init);
}

const struct behaviour fetch_calls[] = {
	{ "/fetch", plain }, { "/fetch/old", old_style },
	{ "/fetch/self", request }, { "/fetch/follow", follow }, { "/fetch/headers", headers },
	{ "/fetch/buffer", buffer }, { "/fetch/hoard", hoard },
	{ "/fetch/post-much", post_much }, { "/fetch/options", options },
	{ "/fetch/init", init }, { "/fetch/wild", wild },
	{ NULL, NULL }
};
