/*-
 * SPDX-License-Identifier: BSD-2-Clause
 *
 * The life of the VMOD in a VCL, and the functions that define and start.
 */

#include <limits.h>
#include <pthread.h>
#include <stdarg.h>
#include <stdlib.h>
#include <string.h>

#include "vmod_tinykvm.h"

#include "VSC_tinykvm.h"
#include "vcc_tinykvm_if.h"

struct vmod_tinykvm *
vmod_of(const struct vmod_priv *priv)
{
	struct vmod_tinykvm *vt;

	AN(priv);
	CAST_OBJ_NOTNULL(vt, priv->priv, VMOD_TINYKVM_MAGIC);
	return (vt);
}

/*--------------------------------------------------------------------
 * Events
 */

static void
vmod_fini(VRT_CTX, void *p)
{
	struct vmod_tinykvm *vt;

	(void)ctx;
	CAST_OBJ_NOTNULL(vt, p, VMOD_TINYKVM_MAGIC);
	tkc_registry_free(&vt->registry);
	tk_sums_put();
	if (vt->unknown_seg != NULL)
		VSC_tinykvm_Destroy(&vt->unknown_seg);
	AZ(pthread_mutex_destroy(&vt->lock));
	free(vt->vcl_name);
	FREE_OBJ(vt);
}

static const struct vmod_priv_methods vmod_methods[1] = {{
	.magic =	VMOD_PRIV_METHODS_MAGIC,
	.type =		"vmod_tinykvm",
	.fini =		vmod_fini,
}};

static void
load_fini(VRT_CTX, void *p)
{
	struct vmod_tinykvm *vt;

	(void)ctx;
	CAST_OBJ_NOTNULL(vt, p, VMOD_TINYKVM_MAGIC);
	tkc_registry_loaded(vt->registry);
}

/* Of the task that vcl_init runs in. */
static const struct vmod_priv_methods load_methods[1] = {{
	.magic =	VMOD_PRIV_METHODS_MAGIC,
	.type =		"tinykvm_load",
	.fini =		load_fini,
}};

static int
on_load(VRT_CTX, struct vmod_priv *priv)
{
	struct vmod_tinykvm *vt;
	struct vmod_priv *load;

	load = VRT_priv_task(ctx, load_methods);
	if (load == NULL) {
		VRT_fail(ctx, "tinykvm: the workspace is too small: raise "
		    "workspace_client");
		return (-1);
	}

	ALLOC_OBJ(vt, VMOD_TINYKVM_MAGIC);
	if (vt == NULL)
		return (-1);
	vt->vcl_name = strdup(VCL_Name(ctx->vcl));
	vt->registry = tkc_registry_new(&tk_host_interface, vt);
	if (vt->vcl_name == NULL || vt->registry == NULL) {
		free(vt->vcl_name);
		FREE_OBJ(vt);
		return (-1);
	}
	AZ(pthread_mutex_init(&vt->lock, NULL));
	tk_sums_get();
	priv->priv = vt;
	priv->methods = vmod_methods;
	load->priv = vt;
	load->methods = load_methods;
	return (0);
}

int v_matchproto_(vmod_event_f)
vmod_event_function(VRT_CTX, struct vmod_priv *priv, enum vcl_event_e e)
{

	CHECK_OBJ_NOTNULL(ctx, VRT_CTX_MAGIC);
	switch (e) {
	case VCL_EVENT_LOAD:
		return (on_load(ctx, priv));
	case VCL_EVENT_WARM:
		tkc_registry_warm(vmod_of(priv)->registry);
		return (0);
	case VCL_EVENT_COLD:
		tkc_registry_cold(vmod_of(priv)->registry);
		return (0);
	case VCL_EVENT_DISCARD:
		tk_backends_delete(vmod_of(priv));
		tk_updater_delete(vmod_of(priv));
		return (0);
	default:
		WRONG("there is no such event");
	}
	NEEDLESS(return (0));
}

/*--------------------------------------------------------------------
 * Errors
 */

void
tk_log(VRT_CTX, const char *fmt, ...)
{
	va_list ap;

	va_start(ap, fmt);
	if (ctx->vsl != NULL)
		VSLbv(ctx->vsl, SLT_VCL_Error, fmt, ap);
	else
		VSLv(SLT_VCL_Error, 0, fmt, ap);
	va_end(ap);
}

void
tk_log_error(VRT_CTX, const struct tkc_error *err)
{

	tk_log(ctx, "tinykvm: %s", err->text);
}

void *
tk_ws_alloc(struct ws *ws, uint64_t len)
{
	unsigned room = WS_ReserveAll(ws);

	WS_Release(ws, 0);
	/* Its grain is that of pointers. */
	return (len + sizeof(void *) > room ? NULL :
	    WS_Alloc(ws, (unsigned)len));
}

static VCL_BOOL
done(VRT_CTX, int e, const struct tkc_error *err)
{

	if (e == 0)
		return (1);
	/* In vcl_init this fails the load, with these words. */
	VRT_fail(ctx, "tinykvm: %s", err->text);
	return (0);
}

static int
needs_init(VRT_CTX, const char *function)
{

	CHECK_OBJ_NOTNULL(ctx, VRT_CTX_MAGIC);
	if (ctx->method == VCL_MET_INIT)
		return (0);
	VRT_fail(ctx, "tinykvm.%s() is for vcl_init", function);
	return (-1);
}

static void
count_unknown(struct vmod_tinykvm *vt)
{

	tk_sums_not_found();
	AZ(pthread_mutex_lock(&vt->lock));
	if (vt->unknown == NULL)
		vt->unknown = VSC_tinykvm_New(NULL, &vt->unknown_seg,
		    "%s.unknown", vt->vcl_name);
	if (vt->unknown != NULL)
		vt->unknown->program_notfound++;
	AZ(pthread_mutex_unlock(&vt->lock));
}

struct tkc_program *
tk_find(VRT_CTX, struct vmod_tinykvm *vt, const char *name,
    struct tkc_error *err)
{
	struct tkc_program *p;

	p = tkc_find(vt->registry, name != NULL ? name : "", err);
	if (p == NULL) {
		count_unknown(vt);
		tk_log_error(ctx, err);
	}
	return (p);
}

/*--------------------------------------------------------------------
 * Definitions
 */

VCL_BOOL
vmod_library(VRT_CTX, struct vmod_priv *priv, VCL_STRING uri)
{
	struct tkc_error err;

	if (needs_init(ctx, "library"))
		return (0);
	if (uri == NULL || *uri == '\0') {
		VRT_fail(ctx, "tinykvm.library(): no file is named");
		return (0);
	}
	return (done(ctx, tkc_library_uri(vmod_of(priv)->registry, uri, &err),
	    &err));
}

VCL_BOOL
vmod_init_self_requests(VRT_CTX, struct vmod_priv *priv,
    VCL_STRING unix_socket, VCL_STRING http_prefix,
    VCL_INT max_concurrent_requests)
{
	struct tkc_error err;

	if (needs_init(ctx, "init_self_requests"))
		return (0);
	if (max_concurrent_requests < 1 || max_concurrent_requests > 100000) {
		VRT_fail(ctx, "tinykvm.init_self_requests(): "
		    "max_concurrent_requests is 1 to 100000");
		return (0);
	}
	if (tkc_self_requests(vmod_of(priv)->registry,
	    unix_socket != NULL ? unix_socket : "",
	    http_prefix != NULL ? http_prefix : "",
	    (unsigned)max_concurrent_requests, &err) == 0)
		return (1);
	VRT_fail(ctx, "tinykvm.init_self_requests(): %s", err.text);
	return (0);
}

VCL_BOOL
vmod_configure(VRT_CTX, struct vmod_priv *priv, VCL_STRING program,
    VCL_STRING json)
{
	struct tkc_error err;

	CHECK_OBJ_NOTNULL(ctx, VRT_CTX_MAGIC);
	if (program == NULL || *program == '\0' || json == NULL) {
		VRT_fail(ctx, "tinykvm.configure(): a program's name and its "
		    "settings are needed");
		return (0);
	}
	return (done(ctx, tkc_configure(vmod_of(priv)->registry, program, json,
	    &err), &err));
}

VCL_BOOL
vmod_main_arguments(VRT_CTX, struct vmod_priv *priv, VCL_STRING program,
    VCL_STRANDS arguments)
{
	struct tkc_error err;
	const char *list[64];
	unsigned n = 0;
	int i;

	CHECK_OBJ_NOTNULL(ctx, VRT_CTX_MAGIC);
	AN(arguments);
	for (i = 0; i < arguments->n; i++) {
		if (arguments->p[i] == NULL)
			continue;
		if (n == sizeof list / sizeof list[0]) {
			VRT_fail(ctx, "tinykvm.main_arguments(): more than 64");
			return (0);
		}
		list[n++] = arguments->p[i];
	}
	return (done(ctx, tkc_main_arguments(vmod_of(priv)->registry,
	    program != NULL ? program : "", list, n, &err), &err));
}

VCL_BOOL
vmod_start(VRT_CTX, struct vmod_priv *priv, VCL_STRING program,
    VCL_BOOL async, VCL_BOOL debug)
{
	struct tkc_program *p;
	struct tkc_error err;

	if (needs_init(ctx, "start"))
		return (0);
	p = tkc_find(vmod_of(priv)->registry, program != NULL ? program : "",
	    &err);
	if (p == NULL)
		return (done(ctx, TKC_NOTFOUND, &err));
	return (done(ctx, tkc_start(p, (int)async, (int)debug,
	    &err), &err));
}

VCL_INT
vmod_invalidate_programs(VRT_CTX, struct vmod_priv *priv, VCL_STRING regex)
{
	struct tkc_error err;
	int n;

	CHECK_OBJ_NOTNULL(ctx, VRT_CTX_MAGIC);
	n = tkc_invalidate(vmod_of(priv)->registry, regex != NULL ? regex : "",
	    &err);
	if (n < 0)
		VRT_fail(ctx, "tinykvm.invalidate_programs(): %s", err.text);
	return (n < 0 ? 0 : n);
}

VCL_STRING
vmod_stats(VRT_CTX, struct vmod_priv *priv, VCL_STRING pattern,
    VCL_INT indentation)
{
	struct tkc_error err;
	char *copy, *text;
	size_t n;

	CHECK_OBJ_NOTNULL(ctx, VRT_CTX_MAGIC);
	text = tkc_stats(vmod_of(priv)->registry, pattern != NULL ? pattern :
	    "", indentation < 0 ? -1 : indentation > INT_MAX ? INT_MAX :
	    (int)indentation, &err);
	if (text == NULL) {
		VRT_fail(ctx, "tinykvm.stats(): %s", err.text);
		return ("");
	}
	n = strlen(text) + 1;
	copy = tk_ws_alloc(ctx->ws, n);
	if (copy != NULL)
		memcpy(copy, text, n);
	tkc_stats_free(text);
	if (copy == NULL) {
		VRT_fail(ctx, "tinykvm.stats(): the workspace is too small: "
		    "raise workspace_client, or name fewer programs");
		return ("");
	}
	return (copy);
}

/*--------------------------------------------------------------------
 * Calls; to_string() and synth() are in synth.c
 */

VCL_BACKEND
vmod_program(VRT_CTX, struct vmod_priv *priv, VCL_STRING program,
    VCL_STRING arg, VCL_STRING config)
{
	VCL_BACKEND be;

	CHECK_OBJ_NOTNULL(ctx, VRT_CTX_MAGIC);
	if (ctx->bo == NULL || ctx->method == VCL_MET_PIPE) {
		VRT_fail(ctx, "tinykvm.program() is for vcl_backend_fetch: "
		    "set bereq.backend = tinykvm.program(...)");
		return (NULL);
	}
	if (program == NULL)
		program = "";
	be = tk_backend_get(ctx, vmod_of(priv), program);
	if (be != NULL)
		tk_fetch_arguments(ctx, be, program, arg, config);
	return (be);
}

VCL_BOOL
vmod_chain(VRT_CTX, struct vmod_priv *priv, VCL_STRING program, VCL_STRING arg,
    VCL_STRING config, VCL_INT error_treshold)
{
	struct vmod_tinykvm *vt = vmod_of(priv);
	const struct http *hp;
	struct tkc_error err;
	struct tk_memo *m;
	struct tk_step *s;
	unsigned try;

	CHECK_OBJ_NOTNULL(ctx, VRT_CTX_MAGIC);
	if (!(ctx->method & (VCL_MET_TASK_C | VCL_MET_TASK_B)) ||
	    ctx->method == VCL_MET_PIPE) {
		VRT_fail(ctx, "tinykvm.chain() is for vcl_backend_fetch, and "
		    "for the sub that calls to_string() or synth()");
		return (0);
	}
	m = tk_memo(ctx, vt, "chain");
	if (m == NULL)
		return (0);
	try = ctx->bo != NULL ? ctx->bo->retries : ctx->req->restarts;
	if (m->method != ctx->method || m->try != try)
		m->n_steps = 0;
	m->method = ctx->method;
	m->try = try;
	if (m->n_steps == TK_MAX_CHAIN) {
		VRT_fail(ctx, "tinykvm.chain(): more than %d programs",
		    TK_MAX_CHAIN);
		return (0);
	}
	s = &m->step[m->n_steps++];
	s->name = program != NULL ? program : "";
	hp = ctx->http_bereq != NULL ? ctx->http_bereq : ctx->http_req;
	s->url = arg != NULL && *arg != '\0' ? arg : hp->hd[HTTP_HDR_URL].b;
	s->arg = config;
	s->treshold = error_treshold;
	/* Left out it could be the one that matters: so it fails the chain. */
	s->program = tk_find(ctx, vt, s->name, &err);
	return (s->program != NULL);
}
