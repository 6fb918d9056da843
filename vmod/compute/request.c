/*-
 * SPDX-License-Identifier: BSD-2-Clause
 *
 * A request on its way into the fork: the structure, its strings and headers
 * are put together in one piece, written to the top of the stack in one go,
 * and the handler is called.
 *
 * A program that takes the request's body in pieces is called for each of
 * them, every time with the strings written anew, and once more at the end.
 */

#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/random.h>

#include "fetch.h"
#include "guest_abi.h"
#include "object.h"
#include "program.h"

#define MAX_TEXT	65535		/* lengths are 16 bits */
#define MAX_STRUCTURES	(256 * 1024)	/* of the core's stack */
#define MAX_REQUEST_HEADERS 256
#define ERROR_SECONDS	1.0

#define ROUND8(x)	(((x) + 7) & ~(size_t)7)

/* Puts strings into inv->scratch, which will lie at `base` in the guest. */
struct builder {
	char		*at;
	tk_gva		base;
	size_t		used;
};

static tk_gva
put(struct builder *b, const char *text, size_t len)
{
	tk_gva gva = b->base + b->used;

	memcpy(b->at + b->used, text, len);
	b->at[b->used + len] = '\0';
	b->used += len + 1;
	return (gva);
}

static bool
scratch(struct tkc_invocation *inv, size_t need)
{
	char *more;

	if (need <= inv->scratch_room)
		return (true);
	more = realloc(inv->scratch, need);
	if (more == NULL)
		return (false);
	inv->scratch = more;
	inv->scratch_room = need;
	return (true);
}

static void
fresh_random(struct tkc_invocation *inv, uint64_t out[2])
{

	if (inv->random_left < 16) {
		if (getrandom(inv->random, sizeof inv->random, 0) !=
		    (ssize_t)sizeof inv->random) {
			out[0] = out[1] = 0;
			return;
		}
		inv->random_left = sizeof inv->random;
	}
	inv->random_left -= 16;
	memcpy(out, inv->random + inv->random_left, 16);
	memset(inv->random + inv->random_left, 0, 16);
}

/* Sizes of what a request's strings need, checked. */
static int
measure(const struct tkc_request *q, size_t len[4], size_t *total,
    const char *program, struct tkc_error *err)
{
	const char *const text[4] = { q->method, q->url, q->arg,
	    q->content_type };
	unsigned i;

	*total = 0;
	if (q->num_headers > MAX_REQUEST_HEADERS)
		return (tkc_fail(err, TKC_TOOBIG, "%s: more than %d request "
		    "headers", program, MAX_REQUEST_HEADERS));
	for (i = 0; i < 4; i++) {
		len[i] = strlen(text[i]);
		if (len[i] > MAX_TEXT)
			return (tkc_fail(err, TKC_TOOBIG, "%s: method, url, "
			    "arg or content type of %zu bytes", program,
			    len[i]));
		*total += len[i] + 1;
	}
	for (i = 0; i < q->num_headers; i++)
		*total += q->headers[i].len + 1;
	*total = ROUND8(*total) + q->num_headers * sizeof(struct guest_header) +
	    sizeof(struct guest_request);
	if (*total > MAX_STRUCTURES)
		return (tkc_fail(err, TKC_TOOBIG, "%s: request headers of "
		    "%zu bytes", program, *total));
	return (0);
}

static uint32_t
colon(const struct tkc_span *h)
{
	const char *c = memchr(h->ptr, ':', h->len);

	return (c != NULL ? (uint32_t)(c - (const char *)h->ptr) :
	    (uint32_t)h->len);
}

/*
 * Writes everything; *at is where the structure lies, *used what the stack
 * holds. The structure comes first, then headers, then strings.
 */
static int
write_request(struct tkc_invocation *inv, const struct tkc_request *q,
    struct guest_request *g, tk_gva *at, uint64_t *used,
    struct tkc_error *err)
{
	const char *name = inv->instance->program->name;
	struct guest_header *h;
	struct builder b;
	size_t len[4], total;
	uint64_t input_size;
	unsigned i;
	int e;

	e = measure(q, len, &total, name, err);
	if (e != 0)
		return (e);
	if (!scratch(inv, total))
		return (tkc_fail(err, TKC_ENVIRONMENT, "Out of memory"));
	*at = (tk_stack_top(inv->vm) - total) & ~(tk_gva)15;
	*used = tk_stack_top(inv->vm) - *at;
	b.at = inv->scratch;
	b.base = *at;
	b.used = sizeof *g + q->num_headers * sizeof *h;
	memset(g, 0, sizeof *g);
	g->method = put(&b, q->method, len[0]);
	g->url = put(&b, q->url, len[1]);
	g->arg = put(&b, q->arg, len[2]);
	g->content_type = put(&b, q->content_type, len[3]);
	g->method_len = (uint16_t)len[0];
	g->url_len = (uint16_t)len[1];
	g->arg_len = (uint16_t)len[2];
	g->content_type_len = (uint16_t)len[3];
	/* What went by in pieces and is no longer all there has no address. */
	g->content = inv->in.window ? 0 : tk_input_area(inv->vm, &input_size);
	g->content_len = inv->in.total;
	g->headers = *at + sizeof *g;
	g->num_headers = (uint16_t)q->num_headers;
	g->info_flags = q->is_warmup ? GUEST_REQUEST_WARMUP : 0;
	fresh_random(inv, g->prng);
	h = (struct guest_header *)(void *)(inv->scratch + sizeof *g);
	for (i = 0; i < q->num_headers; i++) {
		if (__builtin_expect(tkc_fetch_is_depth(q->headers[i].ptr,
		    q->headers[i].len), 0)) {
			g->num_headers--;
			continue;
		}
		h->field = put(&b, q->headers[i].ptr, q->headers[i].len);
		h->colon = colon(&q->headers[i]);
		h->len = (uint32_t)q->headers[i].len;
		h++;
	}
	/* Nothing of another request in the gap of a field left out. */
	memset(h, 0, (q->num_headers - g->num_headers) * sizeof *h);
	memcpy(inv->scratch, g, sizeof *g);
	tk_assert(b.used <= total);
	tk_assert(tk_write(inv->vm, *at, inv->scratch, b.used));
	return (0);
}

/* Which handler: the guest ABI's last line. */
static enum tkc_handler
choose(const struct tkc_instance *in, const struct tkc_invocation *inv)
{

	if (in->handler[TKC_ON_METHOD] != 0)
		return (TKC_ON_METHOD);
	if (inv->in.total > 0 && in->handler[TKC_ON_POST] != 0)
		return (TKC_ON_POST);
	if (in->handler[TKC_ON_GET] != 0)
		return (TKC_ON_GET);
	return (TKC_ON_POST);
}

int
tkc_request_call(struct tkc_invocation *inv, const struct tkc_request *q,
    struct tkc_error *err)
{
	const struct tkc_instance *in = inv->instance;
	struct guest_request g;
	struct tk_error core;
	struct tk_call c;
	tk_gva at = 0;
	int e;

	if (!tkc_has_request_handler(in))
		return (tkc_fail(err, TKC_EXCEPTION, "%s: serves sockets "
		    "only: it registered no handler for requests",
		    in->program->name));
	memset(&c, 0, sizeof c);
	e = write_request(inv, q, &g, &at, &c.stack_used, err);
	if (e != 0)
		return (e);
	inv->stream.stack_used = c.stack_used;
	c.seconds = inv->seconds;
	if (in->paused != 0) {
		/* Its own stack goes on; what the strings take is elsewhere. */
		if (!tk_write(inv->vm, in->paused, &g, sizeof g))
			return (tkc_fail(err, TKC_EXCEPTION, "%s: the request "
			    "structure of wait_for_requests_paused() at 0x%llx "
			    "is not memory that it may write any more: an "
			    "earlier request changed that",
			    in->program->name,
			    (unsigned long long)in->paused));
		e = tk_resume(inv->vm, 0, c.seconds, &core);
		goto done;
	}
	switch (choose(in, inv)) {
	case TKC_ON_METHOD:
		c.function = in->handler[TKC_ON_METHOD];
		c.args[0] = at;
		break;
	case TKC_ON_GET:
		c.function = in->handler[TKC_ON_GET];
		c.args[0] = g.url;
		c.args[1] = g.arg;
		break;
	default:
		c.function = in->handler[TKC_ON_POST];
		c.args[0] = g.url;
		c.args[1] = g.arg;
		c.args[2] = g.content_type;
		c.args[3] = g.content;
		c.args[4] = g.content_len;
	}
	e = tk_call(inv->vm, &c, &core);
done:
	if (e != 0)
		return (tkc_from_core(err, in->program->name, &core));
	return (0);
}

int
tkc_request_piece(struct tkc_invocation *inv, const struct tkc_request *q,
    uint64_t piece, uint64_t len, uint64_t offset, struct tkc_error *err)
{
	const struct tkc_instance *in = inv->instance;
	struct guest_request g;
	struct tk_error core;
	struct tk_call c;
	uint64_t size;
	tk_gva at = 0;
	int e;

	memset(&c, 0, sizeof c);
	e = write_request(inv, q, &g, &at, &c.stack_used, err);
	if (e != 0)
		return (e);
	inv->stream.stack_used = c.stack_used;
	c.seconds = inv->seconds;
	c.function = in->handler[TKC_ON_STREAM_POST];
	c.args[0] = g.url;
	c.args[1] = g.arg;
	c.args[2] = g.content_type;
	c.args[3] = tk_input_area(inv->vm, &size) + piece;
	c.args[4] = len;
	c.args[5] = offset;
	inv->turn = TKC_TURN_PIECE;
	e = tk_call(inv->vm, &c, &core);
	inv->turn = TKC_TURN_REQUEST;
	if (e != 0)
		return (tkc_from_core(err, in->program->name, &core));
	return (0);
}

bool
tkc_request_error(struct tkc_invocation *inv, const struct tkc_request *q,
    const char *what)
{
	const struct tkc_instance *in = inv->instance;
	struct tk_call c;
	struct builder b;
	size_t url, arg, text, total;
	tk_gva at;
	int e;

	if (in->handler[TKC_ON_ERROR] == 0 || tk_broken(inv->vm))
		return (false);
	url = strlen(q->url);
	arg = strlen(q->arg);
	text = strlen(what);
	total = url + arg + text + 3;
	if (total > MAX_STRUCTURES || !scratch(inv, total))
		return (false);
	/* The handler starts from the frozen state, not from the wreck. */
	inv->exits_before += tk_exits(inv->vm);
	(void)tk_reset(inv->vm);
	if (tk_broken(inv->vm))
		return (false);
	at = (tk_stack_top(inv->vm) - total) & ~(tk_gva)15;
	b.at = inv->scratch;
	b.base = at;
	b.used = 0;
	memset(&c, 0, sizeof c);
	c.function = in->handler[TKC_ON_ERROR];
	c.args[0] = put(&b, q->url, url);
	c.args[1] = put(&b, q->arg, arg);
	c.args[2] = put(&b, what, text);
	c.stack_used = tk_stack_top(inv->vm) - at;
	c.seconds = ERROR_SECONDS;
	tk_assert(tk_write(inv->vm, at, inv->scratch, b.used));
	inv->answered = inv->on_wire = false;
	memset(&inv->stream, 0, sizeof inv->stream);
	inv->stream.stack_used = c.stack_used;
	e = tk_call(inv->vm, &c, NULL);
	return (e == 0 && inv->answered);
}
