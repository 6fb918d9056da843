/*-
 * SPDX-License-Identifier: BSD-2-Clause
 *
 * Programs called from VCL: to_string() and synth().
 */

#include <string.h>

#include "vmod_tinykvm.h"

#include "vcc_tinykvm_if.h"

/*
 * Calls a program, after those that are queued, for this task: a GET with the
 * task's request headers. 0, or a reason, which is in the log.
 */
static int
call(VRT_CTX, struct vmod_tinykvm *vt, const char *name, const char *url,
    const char *arg, struct tk_chain *c)
{
	struct tk_step s, dropped[TK_MAX_CHAIN];
	struct tkc_error err;
	int e;

	INIT_OBJ(c, TK_CHAIN_MAGIC);
	memset(&s, 0, sizeof s);
	s.name = name != NULL ? name : "";
	s.url = url;
	s.arg = arg;
	s.program = tk_find(ctx, vt, s.name, &err);
	if (s.program == NULL) {
		(void)tk_memo_chain(ctx, tk_memo_get(ctx, vt), ctx->method,
		    dropped);
		return (err.reason);
	}
	e = tk_chain_run(ctx, vt, c, ctx->method, &s, &err);
	if (e != 0)
		tk_log_error(ctx, &err);
	return (e);
}

/* Afterwards: the fork is reset, or stays the task's with all its state. */
static void
finish(VRT_CTX, const struct vmod_tinykvm *vt, struct tk_chain *c,
    VCL_INT soft_reset)
{

	if (soft_reset != 0 && c->inv != NULL)
		tk_memo_keep(ctx, vt, &c->inv);
	else
		tk_chain_end(c);
}

/* The body on the workspace, NUL-terminated; NULL after a line in the log. */
static const char *
body_on_workspace(VRT_CTX, struct tk_chain *c, const char *program)
{
	struct tkc_error err;
	struct tkc_span s;
	uint64_t at, len = c->r.body_len;
	char *p = NULL;

	if (len < UINT_MAX)
		p = tk_ws_alloc(ctx->ws, len + 1);
	if (p == NULL) {
		tk_log(ctx, "tinykvm: %s: to_string() of %ju bytes: the "
		    "workspace is too small, raise workspace_client or "
		    "workspace_backend", program, (uintmax_t)len);
		return (NULL);
	}
	for (at = 0; at < len; at += s.len) {
		if (tk_chain_body(c, len - at, &s, &err)) {
			tk_log_error(ctx, &err);
			return (NULL);
		}
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
	struct vmod_tinykvm *vt = vmod_of(priv);
	struct tk_chain c;
	const char *p = NULL;

	CHECK_OBJ_NOTNULL(ctx, VRT_CTX_MAGIC);
	if (call(ctx, vt, program, url, arg, &c))
		return (on_error);
	if ((VCL_INT)c.r.status < error_treshold) {
		p = body_on_workspace(ctx, &c, program);
		if (p == NULL)
			tk_chain_undo(&c);
	}
	finish(ctx, vt, &c, soft_reset);
	return (p != NULL ? p : on_error);
}

/* The body into vsb. 0, or a reason, which is in the log. */
static int
collect(VRT_CTX, struct tk_chain *c, struct vsb *vsb)
{
	uint64_t most = tkc_body_limit(tkc_program_of(c->inv));
	struct tkc_error err;
	struct tkc_span s;
	int e;

	if (c->r.body_len > most) {
		err.reason = TKC_TOOBIG;
		bprintf(err.text, "%s: synth() of %ju bytes: more than "
		    "max_request_memory", tkc_program_name(tkc_program_of(
		    c->inv)), (uintmax_t)c->r.body_len);
		tk_log_error(ctx, &err);
		return (err.reason);
	}
	do {
		e = tk_chain_body(c, INT_MAX, &s, &err);
		if (e != 0) {
			tk_log_error(ctx, &err);
			return (e);
		}
		if (s.len > 0)
			(void)VSB_bcat(vsb, s.ptr, (ssize_t)s.len);
	} while (s.len > 0);
	return (0);
}

/* The body becomes the synthetic one; if it fails, that is as it was. */
static int
synthetic_body(VRT_CTX, struct tk_chain *c)
{
	struct vsb *vsb, *all;
	int e;

	CAST_OBJ_NOTNULL(vsb, ctx->specific, VSB_MAGIC);
	all = VSB_new_auto();
	AN(all);
	e = collect(ctx, c, all);
	if (VSB_finish(all) && e == 0) {
		tk_log(ctx, "tinykvm: synth(): out of memory");
		e = TKC_ENVIRONMENT;
	}
	if (e == 0) {
		VSB_clear(vsb);
		(void)VSB_bcat(vsb, VSB_data(all), VSB_len(all));
	}
	VSB_destroy(&all);
	return (e);
}

VCL_INT
vmod_synth(VRT_CTX, struct vmod_priv *priv, VCL_INT status,
    VCL_STRING program, VCL_STRING url, VCL_STRING arg, VCL_INT soft_reset)
{
	struct vmod_tinykvm *vt = vmod_of(priv);
	struct tk_chain c;
	struct http *hp;

	CHECK_OBJ_NOTNULL(ctx, VRT_CTX_MAGIC);
	if (ctx->method != VCL_MET_SYNTH &&
	    ctx->method != VCL_MET_BACKEND_ERROR) {
		VRT_fail(ctx, "tinykvm.synth() is for vcl_synth and "
		    "vcl_backend_error");
		return (0);
	}
	if (status != 0 && (status < 200 || status > 999)) {
		VRT_fail(ctx, "tinykvm.synth(): status %jd is none: 0 takes "
		    "the program's", (intmax_t)status);
		return (0);
	}
	if (call(ctx, vt, program, url, arg, &c))
		return (0);
	if (synthetic_body(ctx, &c)) {
		tk_chain_undo(&c);
		status = -1;
	} else if (status == 0)
		status = c.r.status;
	if (status > 0) {
		hp = ctx->method == VCL_MET_SYNTH ? ctx->http_resp :
		    ctx->http_beresp;
		CHECK_OBJ_NOTNULL(hp, HTTP_MAGIC);
		http_Unset(hp, H_Content_Type);
		if (c.r.content_type_len > 0)
			http_PrintfHeader(hp, "Content-Type: %s",
			    c.r.content_type);
		http_SetStatus(hp, (uint16_t)status, NULL);
	}
	finish(ctx, vt, &c, soft_reset);
	return (status > 0 ? status : 0);
}
