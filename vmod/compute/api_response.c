/*-
 * SPDX-License-Identifier: BSD-2-Clause
 *
 * The answer of a request: one call that carries status, type, body, headers
 * and caching, and ends the guest's turn.
 */

#include <math.h>
#include <stdlib.h>
#include <string.h>

#include "api.h"
#include "guest_abi.h"
#include "object.h"

#define MAX_FIELD	65535

static bool
is_token(unsigned char c)
{

	return ((c >= '0' && c <= '9') || (c >= 'a' && c <= 'z') ||
	    (c >= 'A' && c <= 'Z') || (c != '\0' &&
	    strchr("!#$%&'*+-.^_`|~", c) != NULL));
}

bool
tkc_field_ok(const char *f, size_t len, bool with_value)
{
	size_t i = 0;

	while (i < len && is_token((unsigned char)f[i]))
		i++;
	if (i == 0)
		return (false);
	if (!with_value)
		return (i == len);
	if (i == len || f[i] != ':')
		return (false);
	for (; i < len; i++)
		if (((unsigned char)f[i] < ' ' && f[i] != '\t') ||
		    f[i] == 0x7f)
			return (false);
	return (true);
}

static bool
is_text(const char *s, size_t len)
{
	size_t i;

	for (i = 0; i < len; i++)
		if ((unsigned char)s[i] < ' ' || s[i] == 0x7f)
			return (false);
	return (true);
}

/* Room in the invocation for the copies of `total` bytes of headers. */
static bool
header_room(struct tkc_invocation *inv, size_t total)
{
	char *more;

	if (total <= inv->header_room)
		return (true);
	more = realloc(inv->header_text, total);
	if (more == NULL)
		return (false);
	inv->header_text = more;
	inv->header_room = total;
	return (true);
}

static enum tk_verdict
copy_headers(struct tk_machine *m, struct tkc_invocation *inv, tk_gva list,
    unsigned n)
{
	struct guest_buffer b[TKC_MAX_HEADERS];
	size_t total = 0;
	unsigned i;
	char *to;

	if (n > TKC_MAX_HEADERS)
		return (tk_fail(m, list, "response with %u extra headers: at "
		    "most %d", n, TKC_MAX_HEADERS));
	if (!tk_read(m, b, list, n * sizeof *b))
		return (tk_fail(m, list, "response: the list of headers at "
		    "0x%llx is not the program's memory",
		    (unsigned long long)list));
	for (i = 0; i < n; i++) {
		if (b[i].len > MAX_FIELD)
			return (tk_fail(m, b[i].data, "response header %u of "
			    "%llu bytes: at most %d", i,
			    (unsigned long long)b[i].len, MAX_FIELD));
		total += b[i].len + 1;
	}
	if (!header_room(inv, total))
		return (tk_fail(m, list, "no memory for %zu bytes of response "
		    "headers", total));
	to = inv->header_text;
	for (i = 0; i < n; i++) {
		if (!tk_read(m, to, b[i].data, b[i].len))
			return (tk_fail(m, b[i].data, "response header %u at "
			    "0x%llx is not the program's memory", i,
			    (unsigned long long)b[i].data));
		if (!tkc_field_ok(to, b[i].len, true))
			return (tk_fail(m, b[i].data, "response header %u is "
			    "not of the form \"Name: value\"", i));
		to[b[i].len] = '\0';
		inv->header[i].ptr = to;
		inv->header[i].len = b[i].len;
		to += b[i].len + 1;
	}
	inv->response->headers = inv->header;
	inv->response->num_headers = n;
	return (TK_DONE);
}

/* Seconds: a number, not negative, at most ten years. */
static double
seconds(float f)
{

	if (!(f > 0))
		return (0);
	return (f > 315360000.0f ? 315360000.0 : (double)f);
}

static enum tk_verdict
copy_extra(struct tk_machine *m, struct tkc_invocation *inv, tk_gva extra)
{
	struct tkc_response *r = inv->response;
	struct guest_extra x;

	if (!tk_read(m, &x, extra, sizeof x))
		return (tk_fail(m, extra, "response: the extra structure at "
		    "0x%llx is not the program's memory",
		    (unsigned long long)extra));
	/* All zero says nothing about caching. */
	if (x.cached || x.ttl != 0 || x.grace != 0 || x.keep != 0) {
		r->cache_set = 1;
		r->cached = x.cached != 0;
		r->ttl = seconds(x.ttl);
		r->grace = seconds(x.grace);
		r->keep = seconds(x.keep);
	}
	if (x.num_headers == 0)
		return (TK_DONE);
	return (copy_headers(m, inv, x.headers, x.num_headers));
}

enum tk_verdict
tkc_api_status_and_type(struct tk_machine *m, struct tkc_invocation *inv)
{
	struct tkc_response *r = inv->response;
	int status = (int16_t)tk_arg(m, 0);
	tk_gva ctype = tk_arg(m, 1);
	uint64_t ctype_len = tk_arg(m, 2);

	if (inv->turn == TKC_TURN_PULL)
		return (tk_fail(m, 0, "a response in the middle of a streamed "
		    "one"));
	if (status < 200 || status > 599)
		return (tk_fail(m, 0, "response with status %d: 200 to 599",
		    status));
	if (ctype_len >= TKC_MAX_CTYPE)
		return (tk_fail(m, ctype, "response with a content type of "
		    "%llu bytes: less than %d", (unsigned long long)ctype_len,
		    TKC_MAX_CTYPE));
	if (!tk_read(m, inv->content_type, ctype, ctype_len))
		return (tk_fail(m, ctype, "response: the content type at "
		    "0x%llx is not the program's memory",
		    (unsigned long long)ctype));
	if (!is_text(inv->content_type, ctype_len))
		return (tk_fail(m, ctype, "response: a content type with "
		    "control characters"));
	inv->content_type[ctype_len] = '\0';
	r->status = (unsigned)status;
	r->content_type = inv->content_type;
	r->content_type_len = ctype_len;
	return (TK_DONE);
}

enum tk_verdict
tkc_api_response(struct tk_machine *m, struct tkc_invocation *inv)
{
	struct tkc_response *r = inv->response;
	tk_gva body = tk_arg(m, 3), extra = tk_arg(m, 5);
	uint64_t len = tk_arg(m, 4);

	if (tkc_api_status_and_type(m, inv) != TK_DONE)
		return (TK_FAIL);
	if (!tk_readable(m, body, len))
		return (tk_fail(m, body, "response: %llu bytes of body at "
		    "0x%llx are not the program's memory",
		    (unsigned long long)len, (unsigned long long)body));
	r->headers = NULL;
	r->num_headers = 0;
	if (extra != 0 && copy_extra(m, inv, extra) != TK_DONE)
		return (TK_FAIL);
	r->body_len = inv->out_len = len;
	inv->body = body;
	inv->answered = true;
	return (TK_DONE);
}
