/*-
 * SPDX-License-Identifier: BSD-2-Clause
 *
 * The request's body on its way into a fork: piece by piece, straight into
 * guest memory.
 */

#include "vmod_tinykvm.h"

#define MAX_IGNORED	(16 * 1024 * 1024)

struct sink {
	unsigned		magic;
#define SINK_MAGIC		0x0f61a2d7
	struct tkc_invocation	*inv;
	const struct tkc_request *q;
	int			full;
};

static int v_matchproto_(objiterate_f)
append(void *priv, unsigned flush, const void *ptr, ssize_t len)
{
	struct sink *s;

	(void)flush;
	CAST_OBJ_NOTNULL(s, priv, SINK_MAGIC);
	if (len > 0)
		s->full = !tkc_body_append(s->inv, s->q, ptr, (size_t)len);
	return (s->full);
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

int
tk_request_body(VRT_CTX, struct tkc_invocation *inv,
    const struct tkc_request *q, struct tkc_error *err)
{
	struct sink s;
	ssize_t n;

	CHECK_OBJ_NOTNULL(ctx->bo, BUSYOBJ_MAGIC);
	INIT_OBJ(&s, SINK_MAGIC);
	s.inv = inv;
	s.q = q;
	if (!tkc_body_append(inv, q, NULL, 0)) {
		refuse(ctx->bo, q->body_expected);
		return (0);
	}
	n = tk_request_body_iterate(ctx, append, &s);
	/* Why no more was wanted, tkc_invoke() tells. */
	if (s.full || n >= 0)
		return (0);
	err->reason = TKC_ENVIRONMENT;
	bprintf(err->text, "%s", "the client did not send all of its request "
	    "body");
	return (err->reason);
}
