/*-
 * SPDX-License-Identifier: BSD-2-Clause
 *
 * Programs called from VCL: to_string() and synth().
 */

#include <string.h>

#include "vmod_tinykvm.h"

#include "vcc_tinykvm_if.h"

static const char *
or_empty(const char *s)
{

	return (s != NULL ? s : "");
}

/*
 * Runs a program for this task: a GET with the task's request headers. On
 * success the caller releases *inv.
 */
static int
run(VRT_CTX, struct vmod_tinykvm *vt, const char *name, const char *url,
    const char *arg, struct tkc_invocation **inv, struct tkc_response *r)
{
	struct tkc_span header[TK_MAX_HEADERS];
	struct tkc_request q;
	struct tkc_program *p;
	struct tkc_error err;
	struct tk_task task;
	struct http *hp;
	int e, n;

	*inv = NULL;
	p = tk_find(ctx, vt, name, &err);
	if (p == NULL)
		return (TKC_NOTFOUND);
	hp = ctx->http_bereq != NULL ? ctx->http_bereq : ctx->http_req;
	INIT_OBJ(&task, TK_TASK_MAGIC);
	task.vsl = ctx->vsl;
	task.http[TKC_HTTP_REQUEST] = hp;
	task.http[TKC_HTTP_RESPONSE] = ctx->http_beresp != NULL ?
	    ctx->http_beresp : ctx->http_resp;
	memset(&q, 0, sizeof q);
	q.method = "GET";
	q.url = or_empty(url);
	q.arg = or_empty(arg);
	q.content_type = "";
	if (hp != NULL) {
		const char *unused;

		n = tk_headers(hp, header, &unused, &err);
		if (n < 0) {
			tk_log_error(ctx, &err);
			return (TKC_TOOBIG);
		}
		q.headers = header;
		q.num_headers = (unsigned)n;
	}
	e = tkc_reserve(p, inv, &err);
	if (e == 0)
		e = tk_invoke(*inv, &q, &task, r, &err);
	if (err.text[0] != '\0' && (e != 0 || r->from_error_handler))
		tk_log_error(ctx, &err);
	if (e != 0 && *inv != NULL)
		tkc_release(inv, NULL);
	return (e);
}

/* The response's body on the workspace, NUL-terminated; NULL: no room. */
static const char *
body_on_workspace(VRT_CTX, const struct tkc_invocation *inv,
    const struct tkc_response *r)
{
	struct tkc_span s;
	uint64_t at;
	char *p;

	if (r->body_len >= UINT_MAX)
		return (NULL);
	p = WS_Alloc(ctx->ws, (unsigned)r->body_len + 1);
	if (p == NULL)
		return (NULL);
	for (at = 0; at < r->body_len; at += s.len) {
		s = tkc_body_span(inv, at);
		AN(s.ptr);
		memcpy(p + at, s.ptr, s.len);
	}
	p[at] = '\0';
	return (p);
}

VCL_STRING
vmod_to_string(VRT_CTX, struct vmod_priv *priv, VCL_STRING program,
    VCL_STRING url, VCL_STRING arg, VCL_STRING on_error,
    VCL_INT error_treshold, VCL_INT soft_reset)
{
	struct tkc_invocation *inv;
	struct tkc_response r;
	const char *p;

	CHECK_OBJ_NOTNULL(ctx, VRT_CTX_MAGIC);
	(void)soft_reset;
	if (run(ctx, vmod_of(priv), program, url, arg, &inv, &r))
		return (on_error);
	if (r.status >= error_treshold) {
		tkc_release(&inv, NULL);
		return (on_error);
	}
	p = body_on_workspace(ctx, inv, &r);
	if (p == NULL)
		VSLb(ctx->vsl, SLT_VCL_Error, "tinykvm: %s: to_string() of "
		    "%ju bytes: the workspace is too small, raise "
		    "workspace_client or workspace_backend", program,
		    (uintmax_t)r.body_len);
	tkc_release(&inv, NULL);
	return (p != NULL ? p : on_error);
}

VCL_INT
vmod_synth(VRT_CTX, struct vmod_priv *priv, VCL_INT status,
    VCL_STRING program, VCL_STRING url, VCL_STRING arg, VCL_INT soft_reset)
{
	struct tkc_invocation *inv;
	struct tkc_response r;
	struct tkc_span s;
	struct http *hp;
	struct vsb *vsb;
	uint64_t at;

	CHECK_OBJ_NOTNULL(ctx, VRT_CTX_MAGIC);
	(void)soft_reset;
	if (ctx->method != VCL_MET_SYNTH &&
	    ctx->method != VCL_MET_BACKEND_ERROR) {
		VRT_fail(ctx, "tinykvm.synth() is for vcl_synth and "
		    "vcl_backend_error");
		return (0);
	}
	if (status != 0 && (status < 200 || status > 999)) {
		VRT_fail(ctx, "tinykvm.synth(): status %jd is none",
		    (intmax_t)status);
		return (0);
	}
	if (run(ctx, vmod_of(priv), program, url, arg, &inv, &r))
		return (0);
	hp = ctx->method == VCL_MET_SYNTH ? ctx->http_resp : ctx->http_beresp;
	CHECK_OBJ_NOTNULL(hp, HTTP_MAGIC);
	CAST_OBJ_NOTNULL(vsb, ctx->specific, VSB_MAGIC);
	VSB_clear(vsb);
	for (at = 0; at < r.body_len; at += s.len) {
		s = tkc_body_span(inv, at);
		AN(s.ptr);
		(void)VSB_bcat(vsb, s.ptr, (ssize_t)s.len);
	}
	http_Unset(hp, H_Content_Type);
	http_PrintfHeader(hp, "Content-Type: %s", r.content_type);
	if (status == 0)
		status = r.status;
	http_SetStatus(hp, (uint16_t)status, NULL);
	tkc_release(&inv, NULL);
	return (status);
}
