/*-
 * SPDX-License-Identifier: BSD-2-Clause
 *
 * Streams, bodies in pieces, state, caching, errors: each URL is one deed.
 */

#include "streamtest.h"

#define LETTERS	26
#define BUFFER	(1 << 20)

static char letters[BUFFER + LETTERS];
static char made[BUFFER];
static unsigned served, counter, warmups;

KVM_NORETURN void
stream(int status, size_t total, content_fn *callback, void *arg)
{

	begin_streaming_response((int16_t)status, "text/plain", 10, total,
	    callback, arg);
}

bool
is(const char *url, const char *name, long n[4])
{
	size_t len = strlen(name);
	char *end;
	int i;

	if (strncmp(url, name, len) != 0 || (url[len] != '\0' &&
	    url[len] != '/' && url[len] != '?'))
		return (false);
	url += len;
	for (i = 0; i < 4; i++) {
		n[i] = 0;
		if (*url != '/')
			continue;
		n[i] = strtol(url + 1, &end, 10);
		url = end;
	}
	return (true);
}

static struct streaming_content
piece(const void *data, size_t len)
{
	struct streaming_content c = { data, len };

	return (c);
}

struct streaming_content
alphabet(void *arg, size_t max, size_t written, size_t total)
{
	const long *most = arg;

	(void)total;
	if (most != NULL && *most > 0 && max > (size_t)*most)
		max = (size_t)*most;
	if (max > BUFFER)
		max = BUFFER;
	return (piece(letters + written % LETTERS, max));
}

/* A byte at a time, each within the time limit of a call. arg: milliseconds. */
static struct streaming_content
drip(void *arg, size_t max, size_t written, size_t total)
{

	(void)max;
	usleep((useconds_t)*(const long *)arg * 1000);
	return (alphabet(NULL, 1, written, total));
}

/* Made anew for each call, as a program would. */
static struct streaming_content
fresh(void *arg, size_t max, size_t written, size_t total)
{

	(void)arg;
	(void)total;
	if (max > BUFFER)
		max = BUFFER;
	memset(made, 'a' + (int)(written % LETTERS), max);
	return (piece(made, max));
}

/* What Varnish itself answers to this path. */
static struct streaming_content
relayed(void *arg, size_t max, size_t written, size_t total)
{
	const char *path = arg;
	struct curl_op op;

	(void)written;
	(void)total;
	memset(&op, 0, sizeof op);
	/* A stream that broke is a 503 of Varnish when it broke before its
	 * status was sent: not a piece either. */
	if (sys_request(path, strlen(path), &op, NULL, NULL) != 0 ||
	    op.status != 200)
		return (piece(NULL, 0));
	return (piece(op.content, op.content_length < max ?
	    op.content_length : max));
}

/* A body that was posted, back again. */
struct body {
	const uint8_t	*data;
	size_t		len;
};

static struct streaming_content
posted(void *arg, size_t max, size_t written, size_t total)
{
	const struct body *b = arg;

	(void)total;
	if (max > 1000)
		max = 1000;
	return (piece(b->data + written, max));
}

/*--------------------------------------------------------------------*/

static void
with_headers(unsigned n, size_t size)
{
	static struct ResponseHeader h[65];
	struct BackendResponseExtra x;
	char *text;
	unsigned i;

	for (i = 0; i < n && i < 65; i++) {
		text = malloc(size + 32);
		h[i].field_len = (size_t)snprintf(text, 32, "X-Number-%u: ",
		    i);
		memset(text + h[i].field_len, 'x', size);
		h[i].field_len += size;
		h[i].field = text;
	}
	memset(&x, 0, sizeof x);
	x.headers = h;
	x.num_headers = (uint16_t)n;
	sys_backend_response(200, "text/plain", 10, "headers\n", 8, &x);
}

/* Its validator is "v1". */
static void
with_etag(void)
{
	static const struct ResponseHeader h[1] = {{ "ETag: \"v1\"", 10 }};
	struct BackendResponseExtra x;
	char field[64];

	memset(&x, 0, sizeof x);
	x.headers = h;
	x.num_headers = 1;
	if (sys_http_find(KVM_HTTP_REQUEST_HEADERS, "If-None-Match", 13, field,
	    sizeof field) == 19 && memcmp(field + 15, "\"v1\"", 4) == 0)
		sys_backend_response(304, "", 0, "", 0, &x);
	sys_backend_response(200, "text/plain", 10, "version 1\n", 10, &x);
}

static void
on_get(const char *url, const char *arg)
{
	long n[4];

	served++;
	if (is(url, "/mark", n))
		respondf(n[0] != 0 ? (int)n[0] : 200, "%s %s", url, arg);
	if (is(url, "/alphabet", n))
		stream(200, (size_t)n[0], alphabet, &n[1]);
	if (is(url, "/drip", n))
		stream(200, (size_t)n[0], drip, &n[1]);
	if (is(url, "/fresh", n))
		stream(200, (size_t)n[0], fresh, NULL);
	if (is(url, "/relay", n))
		stream(200, (size_t)n[0], relayed, "/alphabet/30000/7000");
	if (is(url, "/relay-loop", n))
		stream(200, 50000, relayed, "/relay-loop");
	if (is(url, "/served", n))
		respondf(200, "%u\n", served - 1);
	if (is(url, "/warmups", n))
		respondf(200, "%u\n", warmups);
	if (is(url, "/count", n))
		respondf(200, "%u", ++counter);
	if (is(url, "/headers", n))
		with_headers((unsigned)n[0], (size_t)n[1]);
	if (is(url, "/append", n)) {
		n[1] = sys_http_append(KVM_HTTP_RESPONSE_HEADERS,
		    "X-Guest: yes", 12);
		if (n[0] != 0)
			*(volatile char *)8 = 1;
		respondf(200, "%ld\n", n[1]);
	}
	if (is(url, "/etag", n))
		with_etag();
	if (is(url, "/cacheable", n)) {
		(void)sys_set_cacheable(n[0] != 0, n[1], n[2], n[3]);
		respond_text(200, "cacheable\n");
	}
	if (is(url, "/large", n))
		respond(200, "text/plain", letters, (size_t)n[0]);
	if (is(url, "/esi", n)) {
		static const char page[] = "<html>1 <esi:include "
		    "src=\"/mark\"/> 2</html>";

		respond(200, "text/html", page, sizeof page - 1);
	}
	if (is(url, "/crash-on-warmup", n) && served == 1)
		*(volatile char *)8 = 1;
	if (is(url, "/fault", n))
		*(volatile char *)8 = 1;
	if (is(url, "/loop", n))
		for (;;)
			__asm__ volatile ("" ::: "memory");
	misbehave(url);
	respond_text(404, "no such deed\n");
}

static void
on_post(const char *url, const char *arg, const char *type,
    const uint8_t *data, size_t len)
{
	struct body b = { data, len };
	char *text;
	long n[4];
	int used;

	if (is(url, "/echo", n))
		respond(200, type, data, len);
	if (is(url, "/stream-echo", n))
		begin_streaming_response(200, type, strlen(type), len, posted,
		    &b);
	if (!is(url, "/mark", n))
		on_get(url, arg);
	text = malloc(len + 1000);
	memcpy(text, data, len);
	used = snprintf(text + len, 1000, " [%s] > %s %s", type, url, arg);
	respond(n[0] != 0 ? (int)n[0] : 200, "text/x-mark", text, len +
	    (size_t)used);
}

/*--------------------------------------------------------------------
 * Bodies in pieces
 */

static unsigned pieces;
static size_t bytes;
static uint32_t sum;
static bool in_order = true;

static long
on_piece(const char *url, const char *arg, const char *type,
    const uint8_t *data, size_t len, size_t offset)
{
	size_t i;

	(void)arg;
	(void)type;
	if (offset != bytes)
		in_order = false;
	for (i = 0; i < len; i++)
		sum = sum * 31 + data[i];
	pieces++;
	bytes += len;
	if (strcmp(url, "/early") == 0)
		respond_text(403, "enough\n");
	if (strcmp(url, "/early-stream") == 0)
		stream(200, 100, alphabet, NULL);
	if (strcmp(url, "/refuse") == 0)
		return (-7);
	if (strcmp(url, "/piece-fault") == 0)
		*(volatile char *)8 = 1;
	if (strcmp(url, "/piece-loop") == 0)
		for (;;)
			__asm__ volatile ("" ::: "memory");
	return ((long)len);
}

static void
on_end(const char *url, const char *arg, const char *type,
    const uint8_t *data, size_t len)
{
	uint32_t whole = 0;
	size_t i;

	(void)url;
	(void)arg;
	(void)type;
	for (i = 0; data != NULL && i < len; i++)
		whole = whole * 31 + data[i];
	respondf(200, "%u pieces, %zu of %zu bytes, %s, sum %u, the whole is "
	    "%s\n", pieces, bytes, len, in_order ? "in order" : "in disorder",
	    sum, data == NULL ? "gone" : whole == sum ? "the same" : "other");
}

/*--------------------------------------------------------------------*/

static void
on_error(const char *url, const char *arg, const char *what)
{

	(void)arg;
	respondf(500, "sorry for %s: %s (%u)\n", url, what, served);
}

static void
spin_on_error(const char *url, const char *arg, const char *what)
{

	(void)url;
	(void)arg;
	(void)what;
	for (;;)
		__asm__ volatile ("" ::: "memory");
}

static void
crash_on_error(const char *url, const char *arg, const char *what)
{

	(void)url;
	(void)arg;
	*(volatile char *)8 = what[0];
}

static void
on_method(const struct kvm_request *r)
{

	if (r->info_flags & KVM_INFO_WARMUP) {
		warmups++;
		if (kvm_header(r, "X-Warm") != NULL)
			warmups += 100;
	}
	if (r->content_len > 0)
		on_post(r->url, r->arg, r->content_type, r->content,
		    r->content_len);
	on_get(r->url, r->arg);
}

int
main(int argc, char **argv)
{
	size_t i;
	int a;

	for (i = 0; i < sizeof letters; i++)
		letters[i] = (char)('a' + i % LETTERS);
	set_backend_get(on_get);
	set_backend_post(on_post);
	for (a = 1; a < argc; a++) {
		if (strcmp(argv[a], "pieces") == 0) {
			set_backend_stream_post(on_piece);
			set_backend_post(on_end);
		} else if (strcmp(argv[a], "method") == 0)
			set_on_method(on_method);
		else if (strcmp(argv[a], "on-error") == 0)
			set_on_error(on_error);
		else if (strcmp(argv[a], "on-error-spin") == 0)
			set_on_error(spin_on_error);
		else if (strcmp(argv[a], "on-error-crash") == 0)
			set_on_error(crash_on_error);
		else if (strcmp(argv[a], "keep") == 0)
			printf("make_ephemeral: %d\n", sys_make_ephemeral(0));
	}
	(void)fflush(stdout);
	wait_for_requests();
}
