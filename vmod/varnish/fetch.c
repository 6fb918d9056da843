/*-
 * SPDX-License-Identifier: BSD-2-Clause
 *
 * One fetch: what program() was called with waits in the task; the programs
 * are called when Varnish asks for the headers, and the body goes from guest
 * memory into Varnish's storage as fast as Varnish takes it.
 */

#include <math.h>
#include <string.h>

#include "vmod_tinykvm.h"

/* Smaller bodies are copied to the workspace, and the fork is free at once. */
#define SMALL_BODY	16384
/* At most so much at once: the client waits meanwhile. */
#define MAX_PULL	(1024 * 1024)

/* On the task's workspace; the http_conn's priv. */
struct fetch {
	unsigned		magic;
#define FETCH_MAGIC		0x3ed4a81b
	struct tk_chain		chain;
	struct vmod_priv	*holder;	/* NULL: has not been one */
	const char		*copy;		/* the body, when it is here */
	uint64_t		len, at;
	/* The guest's own words about caching; see refine(). */
	int			cache_set;
	double			ttl, grace, keep;
};

struct arguments {
	unsigned		magic;
#define ARGUMENTS_MAGIC		0x59b7c60e
	const char		*name, *url, *arg;
};

void
tk_fetch_arguments(VRT_CTX, VCL_BACKEND be, const char *name, const char *url,
    const char *arg)
{
	struct vmod_priv *task;
	struct arguments *a;

	/* The backend itself is the key: several may be asked for. */
	task = VRT_priv_task(ctx, be);
	a = WS_Alloc(ctx->ws, sizeof *a);
	if (task == NULL || a == NULL) {
		VRT_fail(ctx, "tinykvm.program(): the workspace is too small: "
		    "raise workspace_backend");
		return;
	}
	INIT_OBJ(a, ARGUMENTS_MAGIC);
	a->name = name;
	a->url = url;
	a->arg = arg;
	task->priv = a;
}

/*--------------------------------------------------------------------
 * Between the headers and the body VCL runs, and may call programs
 */

/* Of whichever of our backends is being fetched from. */
static const char holder;

int
tk_fetch_holds(VRT_CTX)
{
	const struct vmod_priv *p;
	const struct fetch *f;

	if (ctx->bo == NULL)
		return (0);
	p = VRT_priv_task_get(ctx, &holder);
	if (p == NULL || p->priv == NULL)
		return (0);
	CAST_OBJ_NOTNULL(f, p->priv, FETCH_MAGIC);
	return (f->chain.inv != NULL);
}

/* 0, or there is no room to remember it. */
static int
hold(VRT_CTX, struct fetch *f)
{

	f->holder = VRT_priv_task(ctx, &holder);
	if (f->holder == NULL)
		return (-1);
	f->holder->priv = f;
	return (0);
}

/* The fetch is over, however it went. */
static void
end(struct busyobj *bo, struct fetch *f)
{

	tk_chain_end(&f->chain);
	if (f->holder != NULL)
		f->holder->priv = NULL;
	bo->htc = NULL;
}

/*--------------------------------------------------------------------
 * The body: from guest memory into Varnish's storage
 */

/*
 * The guest speaks in milliseconds and of keep, Cache-Control in seconds:
 * where VCL left what Cache-Control said, the exact figures replace it.
 */
static void
refine(const struct fetch *f, struct objcore *oc)
{

	if (!f->cache_set || oc == NULL)
		return;
	if (oc->ttl == (float)ceil(f->ttl))
		oc->ttl = (float)f->ttl;
	if (oc->grace == (float)ceil(f->grace))
		oc->grace = (float)f->grace;
	if (f->keep > 0 && oc->keep == (float)cache_param->default_keep)
		oc->keep = (float)f->keep;
}

static enum vfp_status v_matchproto_(vfp_init_f)
body_init(VRT_CTX, struct vfp_ctx *vc, struct vfp_entry *vfe)
{
	struct fetch *f;

	(void)ctx;
	CAST_OBJ_NOTNULL(f, vfe->priv1, FETCH_MAGIC);
	refine(f, vc->oc);
	return (VFP_OK);
}

/* More of the body, but not more than one turn of a program that streams. */
static int
pull(struct fetch *f, char *to, ssize_t room, ssize_t *got,
    struct tkc_error *err)
{
	struct tkc_span s;
	int e;

	*got = 0;
	do {
		e = tk_chain_body(&f->chain, (size_t)(room - *got), &s, err);
		if (e != 0)
			return (e);
		if (s.len > 0)
			memcpy(to + *got, s.ptr, s.len);
		*got += (ssize_t)s.len;
	} while (*got < room && tkc_body_at_hand(f->chain.inv) > 0);
	return (0);
}

static enum vfp_status v_matchproto_(vfp_pull_f)
body_pull(struct vfp_ctx *vc, struct vfp_entry *vfe, void *p, ssize_t *lp)
{
	struct tkc_error err;
	struct fetch *f;
	ssize_t room = *lp;

	CAST_OBJ_NOTNULL(f, vfe->priv1, FETCH_MAGIC);
	*lp = 0;
	if (room > MAX_PULL)
		room = MAX_PULL;
	if ((uint64_t)room > f->len - f->at)
		room = (ssize_t)(f->len - f->at);
	if (f->copy != NULL) {
		memcpy(p, f->copy + f->at, (size_t)room);
		*lp = room;
	} else if (room > 0 && pull(f, p, room, lp, &err)) {
		tk_chain_end(&f->chain);
		*lp = 0;
		return (VFP_Error(vc, "tinykvm: %s", err.text));
	}
	f->at += (uint64_t)*lp;
	if (f->at < f->len)
		return (VFP_OK);
	tk_chain_end(&f->chain);
	return (VFP_END);
}

static const struct vfp body_vfp = {
	.name = "tinykvm",
	.init = body_init,
	.pull = body_pull,
};

/*--------------------------------------------------------------------
 * The answer
 */

static struct fetch *
make_conn(VRT_CTX)
{
	struct busyobj *bo = ctx->bo;
	struct http_conn *htc;
	struct fetch *f;

	htc = WS_Alloc(bo->ws, sizeof *htc);
	f = WS_Alloc(bo->ws, sizeof *f);
	if (htc == NULL || f == NULL)
		return (NULL);
	INIT_OBJ(htc, HTTP_CONN_MAGIC);
	INIT_OBJ(f, FETCH_MAGIC);
	INIT_OBJ(&f->chain, TK_CHAIN_MAGIC);
	f->chain.is_fetch = 1;
	htc->doclose = SC_NULL;
	htc->body_status = BS_NONE;
	htc->priv = f;
	bo->htc = htc;
	return (f);
}

static int
set_body(VRT_CTX, struct fetch *f, uint64_t len)
{
	struct http *hp = ctx->bo->beresp;
	struct vfp_entry *vfe;

	/* These have none, whatever the program says: RFC 9110, 6.4.1. */
	if (http_IsStatus(hp, 204) || http_IsStatus(hp, 304)) {
		tk_chain_end(&f->chain);
		return (0);
	}
	http_PrintfHeader(hp, "Content-Length: %ju", (uintmax_t)len);
	if (len == 0 || strcmp(http_GetMethod(ctx->bo->bereq), "HEAD") == 0) {
		tk_chain_end(&f->chain);
		return (0);
	}
	f->len = len;
	ctx->bo->htc->body_status = BS_LENGTH;
	ctx->bo->htc->content_length = (ssize_t)len;
	vfe = VFP_Push(ctx->bo->vfc, &body_vfp);
	if (vfe == NULL)
		return (-1);
	vfe->priv1 = f;
	return (0);
}

static int
error_status(int reason)
{

	switch (reason) {
	case TKC_EXCEPTION:
	case TKC_MEMORY:
		return (500);
	case TKC_TIMEOUT:
		return (504);
	case TKC_TOOBIG:
		return (413);
	default:
		return (503);
	}
}

/* A short text without internals; these are in the log. */
static const char *
error_body(int status)
{

	switch (status) {
	case 413: return ("The request is too large.\n");
	case 504: return ("The program took too long.\n");
	case 503: return ("The program is not available.\n");
	default: return ("The program failed.\n");
	}
}

static int
answer_error(VRT_CTX, struct fetch *f, const struct tkc_error *err)
{
	struct http *hp = ctx->bo->beresp;
	int status = error_status(err->reason);

	tk_log_error(ctx, err);
	tk_chain_end(&f->chain);
	tk_chain_undo(&f->chain);
	/* What the program has put there already is not for an error. */
	hp->nhd = HTTP_HDR_FIRST;
	f->cache_set = 0;
	http_PutResponse(hp, "HTTP/1.1", (uint16_t)status, NULL);
	http_PrintfHeader(hp, "Content-Type: text/plain; charset=utf-8");
	http_PrintfHeader(hp, "Cache-Control: no-store");
	if (status == 503)
		http_PrintfHeader(hp, "Retry-After: 1");
	f->copy = error_body(status);
	return (set_body(ctx, f, strlen(f->copy)));
}

/* What the guest said about caching, in the words of HTTP. */
static void
set_caching(struct http *hp, struct fetch *f, const struct tkc_response *r)
{

	if (!r->cache_set)
		return;
	http_Unset(hp, H_Cache_Control);
	if (!r->cached) {
		http_PrintfHeader(hp, "Cache-Control: no-store");
		return;
	}
	f->cache_set = 1;
	f->ttl = r->ttl;
	f->grace = r->grace;
	f->keep = r->keep;
	http_PrintfHeader(hp, "Cache-Control: max-age=%.0f, "
	    "stale-while-revalidate=%.0f", ceil(r->ttl), ceil(r->grace));
}

/* Room for Content-Type, Content-Length and Cache-Control, too. */
static int
has_room(VRT_CTX, const struct tkc_response *r, struct tkc_error *err)
{
	const struct http *hp = ctx->bo->beresp;

	if (hp->nhd + r->num_headers + 3 <= hp->shd)
		return (1);
	err->reason = TKC_ENVIRONMENT;
	bprintf(err->text, "a response with %u header fields: the table is "
	    "full, raise http_max_hdr (%u)",
	    hp->nhd - HTTP_HDR_FIRST + r->num_headers, hp->shd);
	return (0);
}

/*
 * A small body is taken over whole, and the fork is free. Waking the client
 * for the headers and again for the body would only cost: VCL may differ. 0,
 * or why the program could not make all of it.
 */
static int
take_small_body(VRT_CTX, struct fetch *f, uint64_t len, struct tkc_error *err)
{
	struct tkc_span s;
	uint64_t at;
	char *p;
	int e;

	p = tk_ws_alloc(ctx->bo->ws, len);
	if (p == NULL)
		return (0);
	for (at = 0; at < len; at += s.len) {
		e = tk_chain_body(&f->chain, len - at, &s, err);
		if (e != 0)
			return (e);
		AN(s.ptr);
		memcpy(p + at, s.ptr, s.len);
	}
	f->copy = p;
	tk_chain_end(&f->chain);
	ctx->bo->do_stream = 0;
	return (0);
}

static int
answer(VRT_CTX, struct fetch *f, struct tkc_error *err)
{
	const struct tkc_response *r = &f->chain.r;
	struct http *hp = ctx->bo->beresp;
	uint64_t len = r->body_len;
	unsigned i;

	if (!has_room(ctx, r, err))
		return (answer_error(ctx, f, err));
	http_PutResponse(hp, "HTTP/1.1", (uint16_t)r->status, NULL);
	if (r->content_type_len > 0) {
		http_Unset(hp, H_Content_Type);
		http_PrintfHeader(hp, "Content-Type: %s", r->content_type);
	}
	for (i = 0; i < r->num_headers; i++)
		http_PrintfHeader(hp, "%s",
		    (const char *)r->headers[i].ptr);
	http_Unset(hp, H_Content_Length);
	http_Unset(hp, H_Transfer_Encoding);
	set_caching(hp, f, r);
	if (len > 0 && len <= SMALL_BODY && strcmp(http_GetMethod(
	    ctx->bo->bereq), "HEAD") != 0 && take_small_body(ctx, f, len, err))
		return (answer_error(ctx, f, err));
	return (set_body(ctx, f, len));
}

/*--------------------------------------------------------------------
 * What Varnish asks the director
 */

static int
too_small(VRT_CTX, const struct tk_backend *be)
{

	VSLb(ctx->vsl, SLT_FetchError, "tinykvm: %s: the workspace is too "
	    "small: raise workspace_backend", be->name);
	return (-1);
}

int v_matchproto_(vdi_gethdrs_f)
tk_fetch_headers(VRT_CTX, VCL_BACKEND dir)
{
	const struct tk_backend *be;
	const struct vmod_priv *task;
	const struct arguments *a = NULL;
	struct tkc_error err;
	struct tk_step last;
	struct fetch *f;
	int e;

	CHECK_OBJ_NOTNULL(ctx, VRT_CTX_MAGIC);
	CHECK_OBJ_NOTNULL(ctx->bo, BUSYOBJ_MAGIC);
	CAST_OBJ_NOTNULL(be, dir->priv, TK_BACKEND_MAGIC);
	task = VRT_priv_task_get(ctx, dir);
	if (task != NULL && task->priv != NULL)
		CAST_OBJ_NOTNULL(a, task->priv, ARGUMENTS_MAGIC);
	f = make_conn(ctx);
	if (f == NULL)
		return (too_small(ctx, be));
	memset(&last, 0, sizeof last);
	last.program = be->program;
	last.name = a != NULL ? a->name : be->name;
	last.url = a != NULL && a->url != NULL && *a->url != '\0' ? a->url :
	    ctx->bo->bereq->hd[HTTP_HDR_URL].b;
	last.arg = a != NULL ? a->arg : NULL;
	e = tk_chain_run(ctx, be->vmod, &f->chain, VCL_MET_BACKEND_FETCH, &last,
	    &err);
	e = e == 0 ? answer(ctx, f, &err) : answer_error(ctx, f, &err);
	if (e == 0 && ((f->chain.inv != NULL && hold(ctx, f)) ||
	    WS_Overflowed(ctx->bo->ws)))
		e = too_small(ctx, be);
	if (e != 0)
		end(ctx->bo, f);
	return (e);
}

void v_matchproto_(vdi_finish_f)
tk_fetch_finish(VRT_CTX, VCL_BACKEND dir)
{
	struct fetch *f;

	(void)dir;
	CHECK_OBJ_NOTNULL(ctx->bo, BUSYOBJ_MAGIC);
	if (ctx->bo->htc == NULL)
		return;
	CAST_OBJ_NOTNULL(f, ctx->bo->htc->priv, FETCH_MAGIC);
	/* Perhaps not all of the body was wanted: an aborted delivery, HEAD. */
	end(ctx->bo, f);
}
