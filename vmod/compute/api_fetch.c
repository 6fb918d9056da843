/*-
 * SPDX-License-Identifier: BSD-2-Clause
 *
 * sys_fetch(), sys_request() and our sys_fetch_method(): HTTP for guests. A
 * guest's structures are copied, then checked; its own pointers are used while
 * the fetch runs, through the accessors, for the body that it sends and the
 * content that it gets.
 */

#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <strings.h>

#include "api.h"
#include "fetch.h"
#include "guest_abi.h"
#include "object.h"

#define MAX_URL		8192
#define MAX_METHOD	32
#define MIN_HEADERS	64	/* of room, or the guest does not want any */
#define PAGE		4096
#define MIB		(1024.0 * 1024.0)

/* One call. */
struct call {
	struct tk_machine	*m;
	struct tkc_instance	*in;
	struct tkc_invocation	*inv;		/* NULL: it boots */
	const char		*name;
	tk_gva			url, op_at, fields, options, method;
	uint64_t		url_len;
	struct guest_curl_op	op;
	struct tkc_fetch	f;
	char			*url_text, *method_text;
	/* The content: the guest's buffer, or memory that we give it. */
	bool			ours;
	uint64_t		room, used;
	bool			bad_memory;
};

/*--------------------------------------------------------------------
 * While the fetch runs
 */

static size_t
on_send(void *priv, char *buf, size_t room, uint64_t offset)
{
	struct call *c = priv;

	if (tk_read(c->m, buf, c->op.post + offset, room))
		return (room);
	c->bad_memory = true;
	return (0);
}

/*
 * What one request may have of us. It counts as its own memory, of which the
 * program needs a little to go on with: a 16th.
 */
static uint64_t
most(const struct call *c)
{
	const struct tkc_instance *in = c->in;
	uint64_t limit;

	if (c->inv == NULL)
		return ((uint64_t)(in->memory * MIB));
	limit = (uint64_t)(in->request_memory * MIB / 16 * 15);
	return (c->inv->fetched < limit ? limit - c->inv->fetched : 0);
}

static bool
too_large(struct call *c, uint64_t limit)
{

	(void)snprintf(c->f.why, sizeof c->f.why, "the answer is larger than "
	    "%llu bytes (%s)", (unsigned long long)limit, !c->ours ?
	    "the program's buffer" : c->inv != NULL ?
	    "15/16 of max_request_memory, less what was fetched before" :
	    "max_memory");
	return (false);
}

/* Memory for the content, one NUL more than it is long. */
static bool
make_room(struct call *c, uint64_t length)
{
	uint64_t limit = most(c);

	if (length > limit || limit == 0)
		return (too_large(c, limit));
	c->room = length > 0 ? length : limit;
	c->op.content = tk_alloc(c->m, c->room + 1);
	if (c->op.content == 0) {
		(void)snprintf(c->f.why, sizeof c->f.why, "the program has no "
		    "memory left for the answer: raise max_memory");
		c->room = 0;
		return (false);
	}
	return (true);
}

static bool
on_receive(void *priv, const char *data, size_t len, uint64_t length)
{
	struct call *c = priv;

	if (c->ours && c->op.content == 0 && !make_room(c, length))
		return (false);
	if (len > c->room - c->used)
		return (too_large(c, c->room));
	if (!tk_write(c->m, c->op.content + c->used, data, len)) {
		(void)snprintf(c->f.why, sizeof c->f.why, "no memory for the "
		    "answer");
		c->bad_memory = !c->ours;
		return (false);
	}
	c->used += len;
	return (true);
}

static bool
on_over(void *priv)
{
	const struct call *c = priv;

	return (tk_seconds_left(c->m) <= 0);
}

/*--------------------------------------------------------------------
 * The guest's structures
 */

static bool
misuse(const struct call *c, tk_gva at, const char *what)
{

	(void)tk_fail(c->m, at, "%s: %s at 0x%llx is not the program's memory",
	    c->name, what, (unsigned long long)at);
	return (false);
}

static bool
no_memory(const struct call *c)
{

	(void)tk_fail(c->m, 0, "%s: the host has no memory", c->name);
	return (false);
}

static bool
add_field(struct call *c, const char *field)
{
	struct curl_slist *more = curl_slist_append(c->f.fields, field);

	if (more == NULL)
		return (no_memory(c));
	c->f.fields = more;
	return (true);
}

static bool
one_field(struct call *c, tk_gva at, size_t len)
{
	char *field, *colon;
	bool ok = true;

	field = tkc_api_bytes(c->m, at, len, 65535, "sys_fetch: a header field");
	if (field == NULL)
		return (false);
	if (!tkc_field_ok(field, len, true)) {
		(void)tk_fail(c->m, at, "%s: a header field is not of the form "
		    "\"Name: value\"", c->name);
		ok = false;
	} else if (!tkc_fetch_field_is_ours(field, len)) {
		colon = strchr(field, ':');
		tk_assert(colon != NULL);
		/* To libcurl "Name:" is none at all, "Name;" an empty one. */
		if (colon[1 + strspn(colon + 1, " \t")] != '\0')
			ok = add_field(c, field);
		else if (strncasecmp(field, "Host:", 5) != 0) {
			*colon = ';';
			colon[1] = '\0';
			ok = add_field(c, field);
		}
	}
	free(field);
	return (ok);
}

static bool
read_fields(struct call *c)
{
	struct guest_curl_fields g;
	unsigned i;

	/* Large bodies go out without asking first. */
	if (!add_field(c, "Expect:"))
		return (false);
	if (c->fields == 0)
		return (true);
	if (!tk_read(c->m, &g, c->fields, sizeof g))
		return (misuse(c, c->fields, "the structure of fields"));
	for (i = 0; i < GUEST_CURL_FIELDS; i++)
		if (g.ptr[i] != 0 && g.len[i] != 0 &&
		    !one_field(c, g.ptr[i], g.len[i]))
			return (false);
	return (true);
}

/* The type of what is posted; false after misuse. */
static bool
read_type(struct call *c)
{
	char field[TKC_FETCH_TYPE + 16];
	size_t n = c->op.ctype_len;

	if (!c->f.has_post || n == 0 || n >= sizeof c->op.ctype)
		return (true);
	n = strnlen(c->op.ctype, n);
	(void)snprintf(field, sizeof field, "Content-Type: %.*s", (int)n,
	    c->op.ctype);
	if (tkc_field_ok(field, strlen(field), true))
		return (n == 0 || add_field(c, field));
	(void)tk_fail(c->m, c->op_at, "%s: a content type with control "
	    "characters", c->name);
	return (false);
}

static bool
read_options(struct call *c)
{
	struct guest_curl_options o;

	c->f.verify_host = true;
	/* As ever: who gives no options follows redirects. */
	c->f.follow = c->options == 0;
	if (c->options == 0)
		return (true);
	if (!tk_read(c->m, &o, c->options, sizeof o))
		return (misuse(c, c->options, "the structure of options"));
	c->f.follow = o.follow_location != 0;
	c->f.no_body = o.dummy_fetch != 0;
	c->f.fast_open = o.tcp_fast_open != 0;
	c->f.verify_host = o.dont_verify_host == 0;
	if (o.interface != 0) {
		c->f.refused = true;
		(void)snprintf(c->f.why, sizeof c->f.why, "a program cannot "
		    "choose the network interface");
	}
	return (true);
}

static bool
read_method(struct call *c)
{
	size_t len;

	if (c->method == 0)
		return (true);
	c->method_text = tkc_api_string(c->m, c->method, MAX_METHOD,
	    "sys_fetch_method: the method", &len);
	if (c->method_text == NULL)
		return (false);
	if (!tkc_field_ok(c->method_text, len, false)) {
		(void)tk_fail(c->m, c->method, "%s: this is no method",
		    c->name);
		return (false);
	}
	if (strcmp(c->method_text, "HEAD") == 0)
		c->f.no_body = true;
	else
		c->f.method = c->method_text;
	return (true);
}

static bool
read_call(struct call *c)
{

	c->url_text = tkc_api_bytes(c->m, c->url, c->url_len, MAX_URL,
	    "sys_fetch: a URL");
	if (c->url_text == NULL)
		return (false);
	if (!tk_read(c->m, &c->op, c->op_at, sizeof c->op))
		return (misuse(c, c->op_at, "the structure of the fetch"));
	/* Its answer is written there at the end: not into read-only memory. */
	if (!tk_write(c->m, c->op_at, &c->op, sizeof c->op))
		return (misuse(c, c->op_at, "the structure of the fetch"));
	c->f.has_post = c->op.post != 0 && c->op.post_len != 0;
	c->f.post_len = c->op.post_len;
	if (c->f.has_post && !tk_readable(c->m, c->op.post, c->op.post_len))
		return (misuse(c, c->op.post, "the body"));
	c->ours = c->op.content == 0;
	c->room = c->ours ? 0 : c->op.content_len;
	c->f.want_headers = c->op.headers_len >= MIN_HEADERS ||
	    (c->op.headers == 0 && c->op.headers_len == 0);
	return (read_options(c) && read_method(c) && read_fields(c) &&
	    read_type(c));
}

/*--------------------------------------------------------------------
 * The answer
 */

/* The head's lines: into the guest's room, as much as fits, or into ours. */
static bool
write_headers(struct call *c)
{
	size_t n = c->f.headers_len + 1;

	if (!c->f.want_headers || c->f.headers == NULL) {
		c->op.headers_len = 0;
		return (true);
	}
	if (c->op.headers == 0)
		c->op.headers = tk_alloc(c->m, n);
	else if (n > c->op.headers_len) {
		n = c->op.headers_len;
		c->f.headers[n - 1] = '\0';
	}
	if (c->op.headers == 0) {
		c->op.headers_len = 0;
		return (true);
	}
	c->op.headers_len = (uint32_t)n - 1;
	if (tk_write(c->m, c->op.headers, c->f.headers, n))
		return (true);
	return (misuse(c, c->op.headers, "the room for headers"));
}

static bool
write_answer(struct call *c)
{

	if (c->ours && c->op.content != 0) {
		tk_trim(c->m, c->op.content, c->room + 1, c->used + 1);
		if (c->inv != NULL)
			c->inv->fetched += (c->used + PAGE) & ~(PAGE - 1ULL);
	}
	if (!write_headers(c))
		return (false);
	c->op.status = c->f.status;
	c->op.content_len = (uint32_t)c->used;
	memcpy(c->op.ctype, c->f.type, sizeof c->op.ctype);
	c->op.ctype_len = (uint32_t)strlen(c->f.type);
	if (tk_write(c->m, c->op_at, &c->op, sizeof c->op))
		return (true);
	return (misuse(c, c->op_at, "the structure of the fetch"));
}

static void
tell(const struct call *c)
{
	struct tkc_program *p = c->in->program;
	char what[600];

	(void)snprintf(what, sizeof what, "fetch: %s", c->f.why);
	if (c->f.refused)
		tkc_program_refused(p, what);
	else
		tkc_logf(p, TKC_LOG_INFO, "fetch %.200s: %s", c->url_text,
		    c->f.why);
}

static void
count(const struct call *c, bool failed, uint64_t ns)
{
	struct tkc_program *p = c->in->program;
	struct tkc_counters *t;

	/* A booting program has no counters of its own. */
	if (c->inv == NULL)
		(void)pthread_mutex_lock(&p->lock);
	t = c->inv != NULL ? &c->inv->count : &p->total;
	if (c->f.to_self) {
		t->self_requests++;
		t->self_requests_failed += failed;
	} else {
		t->fetches++;
		t->fetches_failed += failed;
	}
	if (c->inv != NULL)
		c->inv->fetch_ns += ns;
	else {
		t->fetch_ns += ns;
		(void)pthread_mutex_unlock(&p->lock);
	}
}

static CURLcode
run(struct call *c)
{
	struct tkc_registry *r = c->in->program->registry;
	struct tkc_fetcher **px;
	CURLcode e;

	if (c->f.refused)
		return (CURLE_INTERFACE_FAILED);
	px = c->inv != NULL ? &c->inv->fetcher : &c->in->fetcher;
	if (*px == NULL)
		*px = tkc_fetcher_new();
	if (*px == NULL)
		return (CURLE_OUT_OF_MEMORY);
	c->f.url = c->url_text;
	c->f.seconds = tk_seconds_left(c->m);
	if (c->inv != NULL && c->inv->turn == TKC_TURN_PULL)
		c->f.depth = c->inv->stream.depth;
	else if (c->inv != NULL)
		c->f.depth = tkc_fetch_depth(c->inv->request->headers,
		    c->inv->request->num_headers);
	c->f.send = on_send;
	c->f.receive = on_receive;
	c->f.over = on_over;
	c->f.priv = c;
	e = tkc_fetch(*px, &c->f, c->in->allowed_fetch, r->self);
	if (e != CURLE_OK && c->ours && c->op.content != 0) {
		tk_trim(c->m, c->op.content, c->room + 1, 0);
		c->op.content = 0;
	}
	return (e);
}

/* One call, its arguments in place. */
static enum tk_verdict
fetch(struct call *c)
{
	uint64_t start = tkc_now();
	CURLcode e;

	if (!read_call(c))
		return (TK_FAIL);
	/* libcurl's URLs end at a NUL. */
	if (strlen(c->url_text) != c->url_len) {
		(void)tk_fail(c->m, c->url, "%s: a URL with a NUL", c->name);
		return (TK_FAIL);
	}
	if (c->url_text[0] == '/')
		c->f.to_self = true;
	e = run(c);
	count(c, e != CURLE_OK, tkc_now() - start);
	if (c->bad_memory) {
		(void)misuse(c, c->op.content, "the body or the room for "
		    "content");
		return (TK_FAIL);
	}
	if (e != CURLE_OK)
		tell(c);
	else if (!write_answer(c))
		return (TK_FAIL);
	tk_set_result(c->m, (uint64_t)-(int64_t)e);
	return (tk_resume_in_time(c->m));
}

enum tk_verdict
tkc_api_fetch(struct tk_machine *m, uint32_t number, struct tkc_instance *in,
    struct tkc_invocation *inv)
{
	enum tk_verdict v;
	unsigned first = 0;
	struct call *c;

	/* On the heap: the caller's stack may be a small one. */
	c = calloc(1, sizeof *c);
	if (c == NULL)
		return (tk_fail(m, 0, "sys_fetch: the host has no memory"));
	c->m = m;
	c->in = in;
	c->inv = inv;
	c->name = "sys_fetch";
	if (number == HC_REQUEST) {
		c->name = "sys_request";
		c->f.to_self = true;
	} else if (number == HC_FETCH_METHOD) {
		c->name = "sys_fetch_method";
		c->method = tk_arg(m, 0);
		first = 1;
	}
	c->url = tk_arg(m, first);
	c->url_len = tk_arg(m, first + 1);
	c->op_at = tk_arg(m, first + 2);
	c->fields = tk_arg(m, first + 3);
	c->options = tk_arg(m, first + 4);
	v = fetch(c);
	curl_slist_free_all(c->f.fields);
	free(c->f.headers);
	free(c->url_text);
	free(c->method_text);
	free(c);
	return (v);
}
