/*-
 * SPDX-License-Identifier: BSD-2-Clause
 *
 * One reserved fork and its request: the body in, the call, the body out.
 */

#include <string.h>

#include "debugging.h"
#include "object.h"
#include "server.h"

/* A program that takes pieces gets them of this size, but for the last. */
#define PIECE	(1024 * 1024)

uint64_t
tkc_body_limit(const struct tkc_program *p)
{

	TK_CHECK_OBJ(p, TKC_PROGRAM_MAGIC);
	return ((uint64_t)(p->settings.max_request_memory * 1024 * 1024));
}

uint64_t
tkc_waiting_limit(const struct tkc_program *p)
{

	TK_CHECK_OBJ(p, TKC_PROGRAM_MAGIC);
	return ((uint64_t)(p->settings.max_memory * 1024 * 1024));
}

bool
tkc_waiting_take(struct tkc_program *p, uint64_t bytes)
{
	uint64_t most = tkc_waiting_limit(p), now = p->waiting;

	do
		if (bytes > most || now > most - bytes)
			return (false);
	while (!atomic_compare_exchange_weak(&p->waiting, &now, now + bytes));
	return (true);
}

void
tkc_waiting_give(struct tkc_program *p, uint64_t bytes)
{

	TK_CHECK_OBJ(p, TKC_PROGRAM_MAGIC);
	tk_assert(atomic_fetch_sub(&p->waiting, bytes) >= bytes);
}

struct tkc_program *
tkc_program_of(const struct tkc_invocation *inv)
{

	TK_CHECK_OBJ(inv, TKC_INVOCATION_MAGIC);
	return (inv->instance->program);
}

void
tkc_settle(struct tkc_invocation *inv, uint64_t start)
{
	uint64_t took = tkc_now() - start;

	inv->count.request_ns += took - (inv->fetch_ns < took ?
	    inv->fetch_ns : took);
	inv->count.fetch_ns += inv->fetch_ns;
	inv->fetch_ns = 0;
	inv->exits = inv->exits_before + tk_exits(inv->vm);
	if (inv->line_len > 0)
		tkc_log(inv->instance->program, TKC_LOG_GUEST, inv->line,
		    inv->line_len);
	inv->line_len = 0;
}

void
tkc_failed(struct tkc_invocation *inv, const struct tkc_error *err)
{

	inv->failure = *err;
	switch (err->reason) {
	case TKC_TIMEOUT:
		inv->count.timeouts++;
		break;
	case TKC_MEMORY:
		inv->count.memory_exceeded++;
		break;
	case TKC_TOOBIG:
		break;
	default:
		inv->count.exceptions++;
	}
}

static bool
takes_pieces(const struct tkc_instance *in)
{

	return (!in->serves && in->paused == 0 &&
	    in->handler[TKC_ON_STREAM_POST] != 0);
}

bool
tkc_program_takes_pieces(struct tkc_program *p)
{
	bool yes;

	(void)pthread_mutex_lock(&p->lock);
	yes = p->live != NULL && takes_pieces(p->live);
	(void)pthread_mutex_unlock(&p->lock);
	return (yes);
}

static void
begin(struct tkc_invocation *inv, const struct tkc_request *q)
{

	TK_CHECK_OBJ(inv, TKC_INVOCATION_MAGIC);
	tk_assert(!inv->invoked);
	tk_assert(inv->request == NULL || inv->request == q);
	if (inv->request != NULL)
		return;
	inv->request = q;
	inv->in.pieces = takes_pieces(inv->instance);
	inv->count.invocations++;
}

/*--------------------------------------------------------------------
 * The request's body. The program that takes pieces finds the whole body in
 * one place at the end if it fits into the input area. If it does not, each
 * piece takes the place of the one before.
 */

static bool
tell_piece(struct tkc_invocation *inv)
{
	struct tkc_body_in *in = &inv->in;
	uint64_t start = tkc_now(), len = in->fill - in->piece;
	struct tkc_error err;
	int e;

	if (len == 0)
		return (true);
	e = tkc_request_piece(inv, inv->request, in->piece, len,
	    in->total - len, &err);
	tkc_settle(inv, start);
	if (e != 0)
		tkc_failed(inv, &err);
	if (in->window)
		in->fill = 0;
	in->piece = in->fill;
	return (e == 0 && !inv->answered);
}

static bool
append_pieces(struct tkc_invocation *inv, const uint8_t *data, uint64_t len)
{
	struct tkc_body_in *in = &inv->in;
	uint64_t room, n;
	tk_gva to = tk_input_area(inv->vm, &room);

	if (in->total + len > room || inv->request->body_expected > room)
		in->window = true;
	while (len > 0) {
		n = PIECE - (in->fill - in->piece);
		if (n > room - in->fill)
			n = room - in->fill;
		if (n > len)
			n = len;
		tk_assert(tk_write(inv->vm, to + in->fill, data, n));
		in->fill += n;
		in->total += n;
		data += n;
		len -= n;
		if ((in->fill - in->piece == PIECE || in->fill == room) &&
		    !tell_piece(inv))
			return (false);
		if (in->fill == room)
			in->piece = in->fill = 0;
	}
	return (true);
}

static void
too_big(struct tkc_invocation *inv)
{
	struct tkc_error err;

	(void)tkc_fail(&err, TKC_TOOBIG, "%s: a request body of more than "
	    "max_request_memory (%g MiB)", inv->instance->program->name,
	    inv->instance->request_memory);
	tkc_failed(inv, &err);
}

int
tkc_body_append(struct tkc_invocation *inv, const struct tkc_request *q,
    const void *data, size_t len)
{
	struct tkc_error err;
	uint64_t room;
	tk_gva to;

	begin(inv, q);
	if (inv->failure.reason != 0 || inv->answered)
		return (0);
	inv->count.input_bytes += len;
	if (inv->in.pieces)
		return (append_pieces(inv, data, len));
	to = tk_input_area(inv->vm, &room);
	if (len > room - inv->in.fill || q->body_expected > room) {
		too_big(inv);
		return (0);
	}
	if (inv->instance->serves) {
		if (tkc_server_body(inv, data, len, &err)) {
			tkc_failed(inv, &err);
			return (0);
		}
	} else
		tk_assert(tk_write(inv->vm, to + inv->in.fill, data, len));
	inv->in.fill += len;
	inv->in.total += len;
	return (1);
}

/*--------------------------------------------------------------------*/

static void
count_response(struct tkc_invocation *inv, const struct tkc_response *r)
{

	if (!r->streamed)
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

/* The handler's turn. 0, or a reason: the same as inv->failure. */
static int
call(struct tkc_invocation *inv, struct tkc_error *err)
{
	int e;

	if (inv->in.pieces && inv->failure.reason == 0 && !inv->answered)
		(void)tell_piece(inv);
	if (inv->failure.reason != 0) {
		*err = inv->failure;
		return (err->reason);
	}
	if (inv->answered)
		return (0);
	if (__builtin_expect(inv->instance->debugging.requests, 0))
		tkc_debug_request(inv->vm, inv->instance);
	e = inv->instance->serves ? tkc_server_call(inv, inv->request, err) :
	    tkc_request_call(inv, inv->request, err);
	/* The call may not have been made. */
	if (__builtin_expect(inv->instance->debugging.requests, 0))
		tk_debug_detach(inv->vm);
	if (e != 0)
		tkc_failed(inv, err);
	return (e);
}

/* What the failed request has changed on the host's side. */
static void
undo(const struct tkc_invocation *inv)
{
	const struct tkc_host_interface *i =
	    &inv->instance->program->registry->iface;

	if (i->http_undo != NULL && inv->request->task != NULL)
		i->http_undo(inv->request->task);
}

int
tkc_invoke(struct tkc_invocation *inv, const struct tkc_request *q,
    struct tkc_response *r, struct tkc_error *err)
{
	uint64_t start, told;
	int e;

	begin(inv, q);
	inv->invoked = true;
	err->reason = TKC_OK;
	err->text[0] = '\0';
	/* A last piece counts its own time. */
	told = inv->count.request_ns;
	start = tkc_now();
	e = call(inv, err);
	if (e != 0) {
		memset(inv->response, 0, sizeof *inv->response);
		undo(inv);
		if (e != TKC_TOOBIG && tkc_request_error(inv, q, err->text)) {
			inv->count.error_handled++;
			inv->response->from_error_handler = 1;
			e = 0;
		} else
			undo(inv);
	}
	start += inv->count.request_ns - told;
	tkc_settle(inv, start);
	if (e == 0)
		count_response(inv, inv->response);
	*r = inv->answer;
	r->seconds = (double)(tkc_now() - start) / (double)TKC_NS;
	r->exits = inv->exits;
	return (e);
}

/*--------------------------------------------------------------------
 * The response's body
 */

uint64_t
tkc_body_at_hand(const struct tkc_invocation *inv)
{

	TK_CHECK_OBJ(inv, TKC_INVOCATION_MAGIC);
	if (!inv->answered)
		return (0);
	return (inv->stream.callback != 0 ? inv->stream.left :
	    inv->out_len - inv->out_at);
}

/* 0, or a reason. */
static int
view_body(struct tkc_invocation *inv, uint64_t n, struct tkc_span *s,
    struct tkc_error *err)
{
	int e;

	s->ptr = tk_view(inv->vm, inv->body, n, &s->len);
	if (s->ptr != NULL)
		return (0);
	/* Readable when the guest named it; other vCPUs' stacks went since. */
	s->len = 0;
	e = tkc_fail(err, TKC_EXCEPTION, "%s: its response body at 0x%llx is "
	    "not its memory any more: the stack of another vCPU ends with the "
	    "request; copy what is there", inv->instance->program->name,
	    (unsigned long long)inv->body);
	tkc_failed(inv, err);
	return (e);
}

int
tkc_body_next(struct tkc_invocation *inv, size_t max, struct tkc_span *s,
    struct tkc_error *err)
{
	uint64_t n;
	int e;

	TK_CHECK_OBJ(inv, TKC_INVOCATION_MAGIC);
	s->ptr = NULL;
	s->len = 0;
	if (!inv->answered || inv->out_at == inv->out_len || max == 0)
		return (0);
	if (inv->stream.callback != 0 && inv->stream.left == 0) {
		e = tkc_stream_pull(inv, err);
		if (e != 0)
			return (e);
	}
	n = tkc_body_at_hand(inv);
	if (n > max)
		n = max;
	if (inv->on_wire) {
		*s = tkc_server_span(inv, inv->out_at);
		if (s->len > n)
			s->len = n;
	} else {
		e = view_body(inv, n, s, err);
		if (e != 0)
			return (e);
		inv->body += s->len;
	}
	inv->out_at += s->len;
	if (inv->stream.callback != 0) {
		inv->stream.left -= s->len;
		inv->count.output_bytes += s->len;
	}
	return (0);
}
