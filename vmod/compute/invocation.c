/*-
 * SPDX-License-Identifier: BSD-2-Clause
 *
 * One reserved fork and its request: the body in, the call, the body out.
 */

#include <string.h>

#include "debugging.h"
#include "object.h"
#include "server.h"

uint64_t
tkc_body_limit(const struct tkc_program *p)
{

	TK_CHECK_OBJ(p, TKC_PROGRAM_MAGIC);
	return ((uint64_t)(p->settings.max_request_memory * 1024 * 1024));
}

int
tkc_body_append(struct tkc_invocation *inv, const void *data, size_t len,
    struct tkc_error *err)
{
	uint64_t room;
	tk_gva to;

	TK_CHECK_OBJ(inv, TKC_INVOCATION_MAGIC);
	tk_assert(!inv->invoked);
	to = tk_input_area(inv->vm, &room);
	if (len > room - inv->body_len)
		return (tkc_fail(err, TKC_TOOBIG, "%s: a request body of more "
		    "than max_request_memory (%g MiB)",
		    inv->instance->program->name,
		    inv->instance->request_memory));
	if (inv->instance->serves) {
		int e = tkc_server_body(inv, data, len, err);

		if (e != 0)
			return (e);
	} else
		tk_assert(tk_write(inv->vm, to + inv->body_len, data, len));
	inv->body_len += len;
	return (0);
}

static void
count_failure(struct tkc_invocation *inv, int reason)
{

	switch (reason) {
	case TKC_TIMEOUT:
		inv->count.timeouts++;
		break;
	case TKC_MEMORY:
		inv->count.memory_exceeded++;
		break;
	default:
		inv->count.exceptions++;
	}
}

static void
count_response(struct tkc_invocation *inv, const struct tkc_response *r)
{

	inv->count.output_bytes += r->body_len;
	if (r->status < 300)
		inv->count.status_2xx++;
	else if (r->status < 400)
		inv->count.status_3xx++;
	else if (r->status < 500)
		inv->count.status_4xx++;
	else
		inv->count.status_5xx++;
}

int
tkc_invoke(struct tkc_invocation *inv, const struct tkc_request *q,
    struct tkc_response *r, struct tkc_error *err)
{
	uint64_t start;
	int e;

	TK_CHECK_OBJ(inv, TKC_INVOCATION_MAGIC);
	tk_assert(!inv->invoked);
	inv->invoked = true;
	inv->request = q;
	inv->response = r;
	inv->exits = 0;
	inv->line_len = 0;
	memset(r, 0, sizeof *r);
	err->reason = TKC_OK;
	err->text[0] = '\0';

	start = tkc_now();
	inv->count.invocations++;
	inv->count.input_bytes += inv->body_len;
	if (__builtin_expect(inv->instance->debugging.requests, 0))
		tkc_debug_request(inv->vm, inv->instance);
	e = inv->instance->serves ? tkc_server_call(inv, q, err) :
	    tkc_request_call(inv, q, err);
	/* The call may not have been made. */
	if (__builtin_expect(inv->instance->debugging.requests, 0))
		tk_debug_detach(inv->vm);
	if (e != 0) {
		count_failure(inv, e);
		memset(r, 0, sizeof *r);
		if (e != TKC_TOOBIG && tkc_request_error(inv, q, err->text)) {
			inv->count.error_handled++;
			r->from_error_handler = 1;
			e = 0;
		}
	}
	if (inv->line_len > 0)
		tkc_log(inv->instance->program, TKC_LOG_GUEST, inv->line,
		    inv->line_len);
	start = tkc_now() - start;
	inv->count.request_ns += start;
	inv->count.exits += inv->exits;
	r->seconds = (double)start / (double)TKC_NS;
	r->exits = inv->exits;
	if (e == 0)
		count_response(inv, r);
	inv->request = NULL;
	inv->response = NULL;
	return (e);
}

struct tkc_span
tkc_body_span(const struct tkc_invocation *inv, uint64_t offset)
{
	struct tkc_span s = { NULL, 0 };

	TK_CHECK_OBJ(inv, TKC_INVOCATION_MAGIC);
	if (!inv->answered || offset >= inv->out_len)
		return (s);
	if (inv->instance->serves)
		s = tkc_server_span(inv, offset);
	else
		s.ptr = tk_view(inv->vm, inv->body + offset,
		    inv->out_len - offset, &s.len);
	return (s);
}
