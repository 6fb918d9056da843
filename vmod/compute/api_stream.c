/*-
 * SPDX-License-Identifier: BSD-2-Clause
 *
 * Answers that the program makes bit by bit, and what handlers return.
 *
 * The program names a callback and the length of the whole; each time that
 * the host has used up what it was given, it calls for more on the same fork:
 *
 *	begin_streaming_response()   status, type, length     tkc_invoke()
 *	callback(max, 0, total)      {data, len}              tkc_body_next()
 *	callback(max, len, total)    {data, len}              tkc_body_next()
 *	...
 *
 * Nothing is reset between, and the stack of whoever began the stream stays
 * as it is, so that the callback's argument may lie there. A call has the time
 * limit of a request for itself, and all of them together max_stream_time: one
 * that makes a byte at a time would hold its fork, and who waits for the answer,
 * for ever. The guest does not run while its data is copied out, however long
 * the client takes.
 */

#include <string.h>

#include "api.h"
#include "fetch.h"
#include "guest_abi.h"
#include "object.h"

/*
 * What one call is asked for. A call costs some microseconds to enter; a
 * larger buffer would not stay in the CPU's cache.
 */
#define MAX_PULL	(1024 * 1024)

#define RED_ZONE	128		/* below RSP: SysV ABI, 3.2.2 */
#define CALL_STACK	(1024 * 1024)	/* of the core; beyond is elsewhere */

enum tk_verdict
tkc_api_begin_streaming(struct tk_machine *m, struct tkc_invocation *inv)
{
	struct tkc_stream *s = &inv->stream;
	double most = inv->instance->program->settings.max_stream;
	uint64_t total = tk_arg(m, 3), used;
	tk_gva callback = tk_arg(m, 4), top = tk_stack_top(m);

	if (tkc_api_status_and_type(m, inv) != TK_DONE)
		return (TK_FAIL);
	/* Varnish may take it all before the client has read a byte. */
	if ((double)total > most * 1024 * 1024)
		return (tk_fail(m, 0, "begin_streaming_response: a length of "
		    "%llu bytes: more than max_stream (%g MiB)",
		    (unsigned long long)total, most));
	if (!tk_executable(m, callback))
		return (tk_fail(m, callback, "begin_streaming_response: "
		    "0x%llx is no function", (unsigned long long)callback));
	/* On another stack of the program's own nothing is in the way. */
	used = top - tk_stack_pointer(m) + RED_ZONE;
	if (used <= CALL_STACK) {
		if (used > TK_MAX_STACK_USED)
			return (tk_fail(m, 0, "begin_streaming_response: more "
			    "than %u KiB of stack in use",
			    TK_MAX_STACK_USED / 1024));
		if (used > s->stack_used)
			s->stack_used = used;
	}
	/* The fields are not there any more when the callback fetches. */
	s->depth = tkc_fetch_depth(inv->request->headers,
	    inv->request->num_headers);
	s->callback = callback;
	s->arg = tk_arg(m, 5);
	s->left = 0;
	inv->response->headers = NULL;
	inv->response->num_headers = 0;
	inv->response->streamed = 1;
	inv->response->body_len = inv->out_len = total;
	inv->answered = true;
	return (TK_DONE);
}

/* The callback returned content. */
static enum tk_verdict
content(struct tk_machine *m, struct tkc_invocation *inv)
{
	tk_gva data = tk_arg(m, 0);
	uint64_t len = tk_arg(m, 1), left = inv->out_len - inv->out_at;
	uint64_t max = left < MAX_PULL ? left : MAX_PULL;

	if (len == 0)
		return (tk_fail(m, 0, "the stream ended after %llu of %llu "
		    "bytes", (unsigned long long)inv->out_at,
		    (unsigned long long)inv->out_len));
	if (len > max)
		return (tk_fail(m, data, "streamed %llu bytes, where at most "
		    "%llu were asked for", (unsigned long long)len,
		    (unsigned long long)max));
	if (!tk_readable(m, data, len))
		return (tk_fail(m, data, "streamed %llu bytes at 0x%llx, which "
		    "are not the program's memory", (unsigned long long)len,
		    (unsigned long long)data));
	inv->body = data;
	inv->stream.left = len;
	return (TK_DONE);
}

/* Arguments 0 and 1 are what the handler returned in RAX and RDX. */
enum tk_verdict
tkc_api_return(struct tk_machine *m, struct tkc_invocation *inv)
{

	switch (inv->turn) {
	case TKC_TURN_PULL:
		return (content(m, inv));
	case TKC_TURN_PIECE:
		if ((int64_t)tk_arg(m, 0) < 0)
			return (tk_fail(m, 0, "the stream handler refused the "
			    "request's body: it returned %lld",
			    (long long)tk_arg(m, 0)));
		return (TK_DONE);
	default:
		return (tk_fail(m, 0, "the handler returned without a "
		    "response"));
	}
}

static int
too_long(const struct tkc_invocation *inv, struct tkc_error *err)
{

	return (tkc_fail(err, TKC_TIMEOUT, "%s: the stream took longer than "
	    "max_stream_time (%g s): %llu of %llu bytes",
	    inv->instance->program->name, inv->instance->stream_time,
	    (unsigned long long)inv->out_at,
	    (unsigned long long)inv->out_len));
}

/* One call of the callback. 0, or a reason. */
static int
pull(struct tkc_invocation *inv, double rest, struct tkc_error *err)
{
	const struct tkc_stream *s = &inv->stream;
	uint64_t left = inv->out_len - inv->out_at;
	struct tk_error core;
	struct tk_call c;
	int e;

	if (rest <= 0)
		return (too_long(inv, err));
	memset(&c, 0, sizeof c);
	c.function = s->callback;
	c.args[0] = s->arg;
	c.args[1] = left < MAX_PULL ? left : MAX_PULL;
	c.args[2] = inv->out_at;
	c.args[3] = inv->out_len;
	c.stack_used = s->stack_used;
	c.seconds = rest < inv->seconds ? rest : inv->seconds;
	inv->turn = TKC_TURN_PULL;
	e = tk_call(inv->vm, &c, &core);
	inv->turn = TKC_TURN_REQUEST;
	if (e == 0)
		return (0);
	return (core.kind == TK_TIMEOUT && rest < inv->seconds ?
	    too_long(inv, err) :
	    tkc_from_core(err, inv->instance->program->name, &core));
}

int
tkc_stream_pull(struct tkc_invocation *inv, struct tkc_error *err)
{
	struct tkc_stream *s = &inv->stream;
	uint64_t start = tkc_now();
	int e;

	tk_assert(inv->answered && s->callback != 0 && s->left == 0);
	e = pull(inv, inv->instance->stream_time -
	    (double)s->took_ns / (double)TKC_NS, err);
	s->took_ns += tkc_now() - start;
	tkc_settle(inv, start);
	if (e != 0)
		tkc_failed(inv, err);
	return (e);
}
