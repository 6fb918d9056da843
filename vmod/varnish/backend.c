/*-
 * SPDX-License-Identifier: BSD-2-Clause
 *
 * program(): a backend whose answers a fork computes. One director per
 * program; what program() was called with waits in the task for the fetch.
 */

#include <math.h>
#include <stdlib.h>
#include <string.h>

#include "vmod_tinykvm.h"

/* Smaller bodies are copied to the workspace, and the fork is free at once. */
#define SMALL_BODY	16384

/* One fetch, on the task's workspace; the http_conn's priv. */
struct fetch {
	unsigned		magic;
#define FETCH_MAGIC		0x3ed4a81b
	struct tkc_invocation	*inv;		/* NULL: given back */
	const char		*copy;		/* the body, when inv is NULL */
	uint64_t		len, at;
	/* The guest's own words about caching; see refine(). */
	int			cache_set;
	double			ttl, grace, keep;
};

struct arguments {
	unsigned		magic;
#define ARGUMENTS_MAGIC		0x59b7c60e
	const char		*url, *arg;
};

void
tk_backend_arguments(VRT_CTX, VCL_BACKEND be, const char *url,
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
	a->url = url;
	a->arg = arg;
	task->priv = a;
}

/*--------------------------------------------------------------------
 * The body: from guest memory into Varnish's storage
 */

static void
give_back(struct fetch *f)
{

	if (f->inv != NULL)
		tkc_release(&f->inv, NULL);
}

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

static enum vfp_status v_matchproto_(vfp_pull_f)
body_pull(struct vfp_ctx *vc, struct vfp_entry *vfe, void *p, ssize_t *lp)
{
	struct tkc_span s;
	struct fetch *f;
	ssize_t room = *lp, n;
	char *to = p;

	CAST_OBJ_NOTNULL(f, vfe->priv1, FETCH_MAGIC);
	(void)vc;
	while (room > 0 && f->at < f->len) {
		if (f->inv != NULL)
			s = tkc_body_span(f->inv, f->at);
		else {
			s.ptr = f->copy + f->at;
			s.len = f->len - f->at;
		}
		AN(s.ptr);
		n = s.len < (size_t)room ? (ssize_t)s.len : room;
		memcpy(to, s.ptr, (size_t)n);
		to += n;
		f->at += (uint64_t)n;
		room -= n;
	}
	*lp -= room;
	if (f->at < f->len)
		return (VFP_OK);
	give_back(f);
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
	htc->doclose = SC_NULL;
	htc->body_status = BS_NONE;
	htc->priv = f;
	bo->htc = htc;
	return (f);
}

static int
set_body(VRT_CTX, struct fetch *f, uint64_t len)
{
	struct vfp_entry *vfe;

	http_PrintfHeader(ctx->bo->beresp, "Content-Length: %ju",
	    (uintmax_t)len);
	if (len == 0 || strcmp(http_GetMethod(ctx->bo->bereq), "HEAD") == 0) {
		give_back(f);
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
	give_back(f);
	/* What the program appended before it failed. */
	hp->nhd = HTTP_HDR_FIRST;
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

static int
answer(VRT_CTX, struct fetch *f, const struct tkc_response *r)
{
	struct http *hp = ctx->bo->beresp;
	uint64_t len = r->body_len;
	struct tkc_span s;
	unsigned i;
	char *p;

	http_PutResponse(hp, "HTTP/1.1", (uint16_t)r->status, NULL);
	if (r->content_type_len > 0)
		http_PrintfHeader(hp, "Content-Type: %s", r->content_type);
	for (i = 0; i < r->num_headers; i++)
		http_PrintfHeader(hp, "%s",
		    (const char *)r->headers[i].ptr);
	http_Unset(hp, H_Content_Length);
	http_Unset(hp, H_Transfer_Encoding);
	set_caching(hp, f, r);
	if (len > 0 && len <= SMALL_BODY) {
		p = WS_Alloc(ctx->bo->ws, (unsigned)len);
		if (p != NULL) {
			for (f->at = 0; f->at < len; f->at += s.len) {
				s = tkc_body_span(f->inv, f->at);
				AN(s.ptr);
				memcpy(p + f->at, s.ptr, s.len);
			}
			f->at = 0;
			f->copy = p;
			give_back(f);
			/*
			 * It is whole: waking the client for the headers and
			 * again for the body would only cost. VCL may differ.
			 */
			ctx->bo->do_stream = 0;
		}
	}
	return (set_body(ctx, f, len));
}

static int
run(VRT_CTX, const struct tk_backend *be, const struct arguments *a,
    struct fetch *f, struct tkc_response *r, struct tkc_error *err)
{
	struct tkc_span header[TK_MAX_HEADERS];
	struct busyobj *bo = ctx->bo;
	struct tkc_request q;
	struct tk_task task;
	int e, n;

	err->text[0] = '\0';
	memset(&q, 0, sizeof q);
	n = tk_headers(bo->bereq, header, &q.content_type, err);
	if (n < 0)
		return (err->reason);
	q.method = http_GetMethod(bo->bereq);
	q.url = a != NULL && a->url != NULL && *a->url != '\0' ? a->url :
	    bo->bereq->hd[HTTP_HDR_URL].b;
	q.arg = a != NULL && a->arg != NULL ? a->arg : "";
	q.headers = header;
	q.num_headers = (unsigned)n;
	q.is_backend = 1;
	INIT_OBJ(&task, TK_TASK_MAGIC);
	task.vsl = bo->vsl;
	task.http[TKC_HTTP_REQUEST] = bo->bereq;
	task.http[TKC_HTTP_RESPONSE] = bo->beresp;
	e = tkc_reserve(be->program, &f->inv, err);
	if (e == 0)
		e = tk_request_body(ctx, f->inv, err);
	if (e == 0)
		e = tk_invoke(f->inv, &q, &task, r, err);
	if (e == 0 && r->from_error_handler)
		tk_log_error(ctx, err);
	return (e);
}

static int v_matchproto_(vdi_gethdrs_f)
be_gethdrs(VRT_CTX, VCL_BACKEND dir)
{
	const struct tk_backend *be;
	const struct vmod_priv *task;
	const struct arguments *a = NULL;
	struct tkc_response r;
	struct tkc_error err;
	struct fetch *f;
	int e;

	CHECK_OBJ_NOTNULL(ctx, VRT_CTX_MAGIC);
	CHECK_OBJ_NOTNULL(ctx->bo, BUSYOBJ_MAGIC);
	CAST_OBJ_NOTNULL(be, dir->priv, TK_BACKEND_MAGIC);
	task = VRT_priv_task_get(ctx, dir);
	if (task != NULL && task->priv != NULL)
		CAST_OBJ_NOTNULL(a, task->priv, ARGUMENTS_MAGIC);
	f = make_conn(ctx);
	if (f == NULL) {
		VSLb(ctx->vsl, SLT_FetchError, "tinykvm: %s: the workspace is "
		    "too small: raise workspace_backend", be->name);
		return (-1);
	}
	if (be->program == NULL) {
		err.reason = TKC_NOTFOUND;
		bprintf(err.text, "there is no program \"%.128s\"", be->name);
		e = err.reason;
	} else
		e = run(ctx, be, a, f, &r, &err);
	e = e == 0 ? answer(ctx, f, &r) : answer_error(ctx, f, &err);
	if (e != 0) {
		give_back(f);
		ctx->bo->htc = NULL;
	}
	return (e);
}

static void v_matchproto_(vdi_finish_f)
be_finish(VRT_CTX, VCL_BACKEND dir)
{
	struct fetch *f;

	(void)dir;
	CHECK_OBJ_NOTNULL(ctx->bo, BUSYOBJ_MAGIC);
	if (ctx->bo->htc == NULL)
		return;
	CAST_OBJ_NOTNULL(f, ctx->bo->htc->priv, FETCH_MAGIC);
	/* Not all of the body was wanted: an aborted delivery, or HEAD. */
	give_back(f);
	ctx->bo->htc = NULL;
}

static VCL_BOOL v_matchproto_(vdi_healthy_f)
be_healthy(VRT_CTX, VCL_BACKEND dir, VCL_TIME *changed)
{

	(void)ctx;
	(void)dir;
	if (changed != NULL)
		*changed = 0;
	return (1);
}

static void v_matchproto_(vdi_list_f)
be_list(VRT_CTX, VCL_BACKEND dir, struct vsb *vsb, int pflag, int jflag)
{
	const struct tk_backend *be;
	struct tkc_counters c;

	(void)ctx;
	CAST_OBJ_NOTNULL(be, dir->priv, TK_BACKEND_MAGIC);
	memset(&c, 0, sizeof c);
	if (be->program != NULL)
		tkc_counters(be->program, &c);
	if (jflag)
		VSB_printf(vsb, "[%ju, %ju, \"healthy\"]",
		    (uintmax_t)c.forks_busy, (uintmax_t)c.forks);
	else if (pflag)
		VSB_printf(vsb, "\n\t%ju of %ju forks busy, %ju waiting\n",
		    (uintmax_t)c.forks_busy, (uintmax_t)c.forks,
		    (uintmax_t)c.queue_length);
	else
		VSB_printf(vsb, "%ju/%ju\thealthy", (uintmax_t)c.forks_busy,
		    (uintmax_t)c.forks);
}

static void v_matchproto_(vdi_panic_f)
be_panic(VCL_BACKEND dir, struct vsb *vsb)
{
	const struct tk_backend *be = dir->priv;

	VSB_printf(vsb, "program = \"%s\",\n", be->name);
}

static void v_matchproto_(vdi_destroy_f)
be_destroy(VCL_BACKEND dir)
{
	struct tk_backend *be;

	CAST_OBJ_NOTNULL(be, dir->priv, TK_BACKEND_MAGIC);
	free(be->name);
	FREE_OBJ(be);
}

static const struct vdi_methods be_methods[1] = {{
	.magic =	VDI_METHODS_MAGIC,
	.type =		"tinykvm",
	.gethdrs =	be_gethdrs,
	.finish =	be_finish,
	.healthy =	be_healthy,
	.list =		be_list,
	.panic =	be_panic,
	.destroy =	be_destroy,
}};

/*--------------------------------------------------------------------*/

static struct tk_backend *
lookup(struct vmod_tinykvm *vt, const char *name)
{
	struct tk_backend *be;

	AZ(pthread_mutex_lock(&vt->lock));
	for (be = vt->backends; be != NULL; be = be->next)
		if (strcmp(be->name, name) == 0)
			break;
	AZ(pthread_mutex_unlock(&vt->lock));
	return (be);
}

VCL_BACKEND
tk_backend_get(VRT_CTX, struct vmod_tinykvm *vt, const char *name)
{
	struct tk_backend *be, *other;
	struct tkc_program *p;
	struct tkc_error err;

	be = lookup(vt, name);
	if (be != NULL)
		return (be->director);
	p = tk_find(ctx, vt, name, &err);
	if (p == NULL)
		name = "";
	if (p == NULL && (be = lookup(vt, name)) != NULL)
		return (be->director);
	ALLOC_OBJ(be, TK_BACKEND_MAGIC);
	if (be != NULL)
		be->name = strdup(name);
	if (be == NULL || be->name == NULL) {
		free(be);
		VRT_fail(ctx, "tinykvm.program(): out of memory");
		return (NULL);
	}
	be->vmod = vt;
	be->program = p;
	be->director = VRT_AddDirector(ctx, be_methods, be, "tinykvm_%s",
	    *name != '\0' ? name : "unknown");
	if (be->director == NULL) {
		free(be->name);
		FREE_OBJ(be);
		VRT_fail(ctx, "tinykvm.program(): no backend could be made");
		return (NULL);
	}
	AZ(pthread_mutex_lock(&vt->lock));
	for (other = vt->backends; other != NULL; other = other->next)
		if (strcmp(other->name, name) == 0)
			break;
	if (other == NULL) {
		be->next = vt->backends;
		vt->backends = be;
	}
	AZ(pthread_mutex_unlock(&vt->lock));
	if (other != NULL) {
		/* Another thread was faster. */
		VRT_DelDirector(&be->director);
		be = other;
	}
	return (be->director);
}

void
tk_backends_delete(struct vmod_tinykvm *vt)
{
	struct tk_backend *be;

	/* The VCL has no tasks any more; each frees itself in destroy. */
	while ((be = vt->backends) != NULL) {
		VCL_BACKEND dir = be->director;

		vt->backends = be->next;
		VRT_DelDirector(&dir);
	}
}
