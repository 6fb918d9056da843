/*-
 * SPDX-License-Identifier: BSD-2-Clause
 *
 * The request's body on its way into a fork. What is there goes straight into
 * guest memory, piece by piece. What the client has not sent yet is awaited
 * without a fork: forks are few, and clients may be slow on purpose.
 */

#include <stdlib.h>
#include <string.h>

#include "vmod_tinykvm.h"

#define MAX_IGNORED	(16 * 1024 * 1024)
/* The first of what a body without a fork is given; then it doubles. */
#define FIRST_ROOM	16384

struct intake {
	unsigned		magic;
#define INTAKE_MAGIC		0x0f61a2d7
	struct tkc_program	*program;
	struct tkc_invocation	**inv;		/* NULL there: no fork yet */
	const struct tkc_request *q;
	tk_reserve_f		*reserve;
	struct tkc_error	*err;
	int			reason;		/* no fork could be had */
	int			full;
	char			*data;
	size_t			len, room;
};

static int
has_fork(struct intake *in)
{

	if (*in->inv == NULL)
		in->reason = in->reserve(in->program, in->inv, in->err);
	return (in->reason == 0);
}

static void
give_back(struct intake *in)
{

	free(in->data);
	in->data = NULL;
	tkc_waiting_give(in->program, in->room);
	in->len = in->room = 0;
}

/* Would there be room for all of it, as far as is known, if no other waited? */
static int
could_wait(const struct intake *in, size_t len)
{
	uint64_t all = in->len + len;

	if (all < in->q->body_expected)
		all = in->q->body_expected;
	return (all <= tkc_body_limit(in->program) &&
	    all <= tkc_waiting_limit(in->program));
}

/* How much there was, at best `most`; where others have it, less; or 0. */
static size_t
take_memory(const struct intake *in, size_t most, size_t least)
{

	for (; most > least; most /= 2)
		if (tkc_waiting_take(in->program, most))
			return (most);
	return (tkc_waiting_take(in->program, least) ? least : 0);
}

/* Room for len bytes more outside of a fork? */
static int
has_room(struct intake *in, size_t len)
{
	size_t want = in->len + len, room = in->room, n;
	char *more;

	if (want <= room)
		return (1);
	if (want > tkc_body_limit(in->program))
		return (0);
	room = room == 0 ? FIRST_ROOM : room * 2;
	if (in->q->body_expected > 0 && room > in->q->body_expected)
		room = in->q->body_expected;
	if (room < want)
		room = want;
	n = take_memory(in, room - in->room, (could_wait(in, len) ? want :
	    room) - in->room);
	if (n == 0)
		return (0);
	room = in->room + n;
	more = realloc(in->data, room);
	if (more == NULL) {
		tkc_waiting_give(in->program, n);
		return (0);
	}
	in->data = more;
	in->room = room;
	return (1);
}

/* What waited for a fork, into one. */
static int
move_in(struct intake *in)
{

	if (!has_fork(in))
		return (-1);
	if (in->len > 0)
		in->full = !tkc_body_append(*in->inv, in->q, in->data, in->len);
	/* Others may wait so now, however long the rest takes. */
	give_back(in);
	return (in->full);
}

static int v_matchproto_(objiterate_f)
take(void *priv, unsigned flush, const void *ptr, ssize_t len)
{
	struct intake *in;
	int e;

	(void)flush;
	CAST_OBJ_NOTNULL(in, priv, INTAKE_MAGIC);
	if (len <= 0)
		return (0);
	if (*in->inv == NULL && has_room(in, (size_t)len)) {
		memcpy(in->data + in->len, ptr, (size_t)len);
		in->len += (size_t)len;
		return (0);
	}
	/*
	 * Others have what there is for it. If it took a fork, a few that are
	 * slow would have them all.
	 */
	if (*in->inv == NULL && could_wait(in, (size_t)len))
		in->reserve = tkc_reserve_spare;
	e = move_in(in);
	if (e == 0)
		e = in->full = !tkc_body_append(*in->inv, in->q, ptr,
		    (size_t)len);
	return (e);
}

uint64_t
tk_request_body_expected(VRT_CTX)
{
	struct busyobj *bo = ctx->bo;
	ssize_t n = -1;

	CHECK_OBJ_NOTNULL(bo, BUSYOBJ_MAGIC);
	if (bo->bereq_body != NULL)
		return (ObjGetLen(bo->wrk, bo->bereq_body));
	if (bo->req != NULL && bo->req->req_body_status == BS_LENGTH)
		n = http_GetContentLength(bo->bereq);
	return (n > 0 ? (uint64_t)n : 0);
}

/*
 * It is too large, and was not touched. Varnish reads what is left of a body
 * before it answers, so that the client hears it and the connection goes on;
 * not where it has not been sent yet, or is too much.
 */
static void
refuse(struct busyobj *bo, uint64_t len)
{

	if (bo->req != NULL && bo->bereq_body == NULL &&
	    (bo->req->want100cont || len > MAX_IGNORED))
		bo->req->doclose = SC_RX_BODY;
}

ssize_t
tk_request_body_iterate(VRT_CTX, objiterate_f *func, void *priv)
{
	struct busyobj *bo = ctx->bo;
	ssize_t n = 0;

	CHECK_OBJ_NOTNULL(bo, BUSYOBJ_MAGIC);
	if (bo->bereq_body != NULL)
		n = ObjIterate(bo->wrk, bo->bereq_body, priv, func, 0);
	else if (bo->req != NULL && bo->req->req_body_status != BS_NONE) {
		n = VRB_Iterate(bo->wrk, bo->vsl, bo->req, func, priv);
		/* It is gone: the fetch cannot be tried again. */
		if (bo->req->req_body_status != BS_CACHED)
			bo->no_retry = "req.body not cached";
	}
	return (n);
}

/* Nothing of it is to be awaited: it is in Varnish's memory, or there is none. */
static int
is_here(const struct busyobj *bo, uint64_t len)
{
	const struct req *req = bo->req;

	if (bo->bereq_body != NULL || req == NULL ||
	    req->req_body_status == BS_NONE || req->req_body_status == BS_CACHED)
		return (1);
	/* It came with the header: most that are small do. */
	return (req->req_body_status == BS_LENGTH && req->htc != NULL &&
	    req->htc->pipeline_b != NULL && (uint64_t)(req->htc->pipeline_e -
	    req->htc->pipeline_b) >= len);
}

static int
take_body(VRT_CTX, struct intake *in)
{
	ssize_t n;

	/* Programs that want pieces are to work while they come. */
	if (*in->inv != NULL || is_here(ctx->bo, in->q->body_expected) ||
	    in->q->body_expected > tkc_body_limit(in->program) ||
	    tkc_program_takes_pieces(in->program)) {
		if (!has_fork(in))
			return (in->reason);
		if (!tkc_body_append(*in->inv, in->q, NULL, 0)) {
			refuse(ctx->bo, in->q->body_expected);
			return (0);
		}
	}
	n = tk_request_body_iterate(ctx, take, in);
	if (n >= 0 && !in->full && in->reason == 0)
		(void)move_in(in);
	/* Why no more was wanted, tkc_invoke() tells. */
	if (in->reason != 0 || in->full || n >= 0)
		return (in->reason);
	in->err->reason = TKC_ENVIRONMENT;
	bprintf(in->err->text, "%s", "the client did not send all of its "
	    "request body");
	return (in->err->reason);
}

int
tk_request_body(VRT_CTX, struct tkc_program *program,
    struct tkc_invocation **inv, const struct tkc_request *q,
    tk_reserve_f *reserve, struct tkc_error *err)
{
	struct intake in;
	int e;

	CHECK_OBJ_NOTNULL(ctx->bo, BUSYOBJ_MAGIC);
	INIT_OBJ(&in, INTAKE_MAGIC);
	in.program = program;
	in.inv = inv;
	in.q = q;
	in.reserve = reserve;
	in.err = err;
	e = take_body(ctx, &in);
	give_back(&in);
	return (e);
}
