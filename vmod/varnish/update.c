/*-
 * SPDX-License-Identifier: BSD-2-Clause
 *
 * live_update(): a backend that takes a program as its request body, and says
 * whether it serves now. One director for all programs; what live_update() was
 * called with waits in the task for the fetch.
 */

#include <stdlib.h>
#include <string.h>

#include "vmod_tinykvm.h"

#include "vcc_tinykvm_if.h"

struct order {
	unsigned		magic;
#define ORDER_MAGIC		0x7d15c3e9
	const char		*program, *key;
	size_t			max_size;
};

/* The answer's text on its way out. */
struct reply {
	unsigned		magic;
#define REPLY_MAGIC		0x2c0b94f7
	const char		*text;
	size_t			left;
};

/*--------------------------------------------------------------------
 * The program that comes in
 */

struct inlet {
	unsigned		magic;
#define INLET_MAGIC		0x5a8e1d06
	char			*data;
	size_t			len, room, max;
	int			reason;		/* enum tkc_reason */
};

static int v_matchproto_(objiterate_f)
take(void *priv, unsigned flush, const void *ptr, ssize_t len)
{
	struct inlet *in;
	size_t want;
	char *more;

	(void)flush;
	CAST_OBJ_NOTNULL(in, priv, INLET_MAGIC);
	if (len <= 0)
		return (0);
	want = in->len + (size_t)len;
	if (want > in->max) {
		in->reason = TKC_TOOBIG;
		return (-1);
	}
	if (want > in->room) {
		in->room = want < 65536 ? 131072 : want * 2;
		more = realloc(in->data, in->room);
		if (more == NULL) {
			in->reason = TKC_ENVIRONMENT;
			return (-1);
		}
		in->data = more;
	}
	memcpy(in->data + in->len, ptr, (size_t)len);
	in->len = want;
	return (0);
}

static int
read_program(VRT_CTX, struct inlet *in, struct tkc_error *err)
{

	if (tk_request_body_iterate(ctx, take, in) < 0 && in->reason == 0)
		in->reason = TKC_QUEUE;
	err->reason = in->reason;
	switch (in->reason) {
	case 0:
		break;
	case TKC_TOOBIG:
		bprintf(err->text, "the program is larger than %zu bytes",
		    in->max);
		break;
	case TKC_ENVIRONMENT:
		bprintf(err->text, "%s", "no memory for the program");
		break;
	default:
		bprintf(err->text, "%s", "the client did not send all of the "
		    "program");
	}
	return (in->reason);
}

/*--------------------------------------------------------------------
 * The answer that goes out
 */

/* Its parts, and an error's text. */
#define ANSWER_ROOM	2048

/* Before anything is done that nobody could be told of. */
static int
has_room(VRT_CTX)
{
	unsigned room = WS_ReserveAll(ctx->bo->ws);

	WS_Release(ctx->bo->ws, 0);
	if (room >= ANSWER_ROOM)
		return (1);
	VSLb(ctx->vsl, SLT_VCL_Error, "tinykvm.live_update(): the workspace is "
	    "too small: raise workspace_backend");
	return (0);
}

static enum vfp_status v_matchproto_(vfp_pull_f)
reply_pull(struct vfp_ctx *vc, struct vfp_entry *vfe, void *p, ssize_t *lp)
{
	struct reply *r;
	size_t n = (size_t)*lp;

	(void)vc;
	CAST_OBJ_NOTNULL(r, vfe->priv1, REPLY_MAGIC);
	if (n > r->left)
		n = r->left;
	memcpy(p, r->text, n);
	r->text += n;
	r->left -= n;
	*lp = (ssize_t)n;
	return (r->left == 0 ? VFP_END : VFP_OK);
}

static const struct vfp reply_vfp = {
	.name = "tinykvm_update",
	.pull = reply_pull,
};

static int
answer(VRT_CTX, int status, const char *text)
{
	struct busyobj *bo = ctx->bo;
	struct http *hp = bo->beresp;
	struct http_conn *htc;
	struct vfp_entry *vfe;
	struct reply *r;

	htc = WS_Alloc(bo->ws, sizeof *htc);
	r = WS_Alloc(bo->ws, sizeof *r);
	text = WS_Printf(bo->ws, "%s\n", text);
	if (htc == NULL || r == NULL || text == NULL)
		return (-1);
	INIT_OBJ(htc, HTTP_CONN_MAGIC);
	INIT_OBJ(r, REPLY_MAGIC);
	r->text = text;
	r->left = strlen(text);
	htc->doclose = SC_NULL;
	htc->body_status = BS_LENGTH;
	htc->content_length = (ssize_t)r->left;
	http_PutResponse(hp, "HTTP/1.1", (uint16_t)status, NULL);
	http_PrintfHeader(hp, "Content-Type: text/plain; charset=utf-8");
	http_PrintfHeader(hp, "Cache-Control: no-store");
	http_PrintfHeader(hp, "Content-Length: %zu", r->left);
	if (status == 405)
		http_PrintfHeader(hp, "Allow: POST");
	if (status == 429 || status == 503)
		http_PrintfHeader(hp, "Retry-After: 1");
	vfe = VFP_Push(bo->vfc, &reply_vfp);
	if (vfe == NULL)
		return (-1);
	vfe->priv1 = r;
	bo->htc = htc;
	return (0);
}

static int
status_of(int reason)
{

	switch (reason) {
	case TKC_OK:
		return (200);
	case TKC_SETTINGS:		/* it is no program */
	case TKC_QUEUE:			/* it did not come whole */
		return (400);
	case TKC_DENIED:
		return (403);
	case TKC_NOTFOUND:
		return (404);
	case TKC_TOOBIG:
		return (413);
	case TKC_BUSY:
		return (429);
	case TKC_ENVIRONMENT:
	case TKC_STOPPED:
		return (503);
	default:			/* it does not boot, or restore */
		return (422);
	}
}

static int
update(VRT_CTX, struct vmod_tinykvm *vt, const struct order *o,
    struct tkc_error *err)
{
	struct tkc_program *p;
	struct inlet in;
	int e;

	p = tk_find(ctx, vt, o->program, err);
	if (p == NULL)
		return (TKC_NOTFOUND);
	e = tkc_may_update(p, o->key, err);
	if (e != 0) {
		tk_log_error(ctx, err);
		return (e);
	}
	INIT_OBJ(&in, INLET_MAGIC);
	in.max = o->max_size;
	e = read_program(ctx, &in, err);
	if (e == 0)
		e = tkc_live_update(p, in.data, in.len, err);
	if (e != 0)
		tk_log_error(ctx, err);
	free(in.data);
	return (e);
}

static int v_matchproto_(vdi_gethdrs_f)
up_gethdrs(VRT_CTX, VCL_BACKEND dir)
{
	const struct vmod_priv *task;
	struct vmod_tinykvm *vt;
	struct tkc_error err;
	const struct order *o;
	int e;

	CHECK_OBJ_NOTNULL(ctx, VRT_CTX_MAGIC);
	CHECK_OBJ_NOTNULL(ctx->bo, BUSYOBJ_MAGIC);
	CAST_OBJ_NOTNULL(vt, dir->priv, VMOD_TINYKVM_MAGIC);
	task = VRT_priv_task_get(ctx, dir);
	if (task == NULL || task->priv == NULL)
		return (-1);
	CAST_OBJ_NOTNULL(o, task->priv, ORDER_MAGIC);
	if (!has_room(ctx))
		return (-1);
	if (strcmp(http_GetMethod(ctx->bo->bereq), "POST") != 0)
		return (answer(ctx, 405, "A live update is a POST with the "
		    "program as its body."));
	err.text[0] = '\0';
	e = update(ctx, vt, o, &err);
	if (e == TKC_DENIED)
		/* Whether there is a key is in the log. */
		bprintf(err.text, "%s", "This live update is not allowed.");
	return (answer(ctx, status_of(e), e == 0 ? "The new program serves." :
	    err.text));
}

static void v_matchproto_(vdi_finish_f)
up_finish(VRT_CTX, VCL_BACKEND dir)
{

	(void)dir;
	CHECK_OBJ_NOTNULL(ctx->bo, BUSYOBJ_MAGIC);
	ctx->bo->htc = NULL;
}

static VCL_BOOL v_matchproto_(vdi_healthy_f)
up_healthy(VRT_CTX, VCL_BACKEND dir, VCL_TIME *changed)
{

	(void)ctx;
	(void)dir;
	if (changed != NULL)
		*changed = 0;
	return (1);
}

static const struct vdi_methods up_methods[1] = {{
	.magic =	VDI_METHODS_MAGIC,
	.type =		"tinykvm_update",
	.gethdrs =	up_gethdrs,
	.finish =	up_finish,
	.healthy =	up_healthy,
}};

/*--------------------------------------------------------------------*/

static VCL_BACKEND
updater(VRT_CTX, struct vmod_tinykvm *vt)
{

	AZ(pthread_mutex_lock(&vt->lock));
	if (vt->updater == NULL)
		vt->updater = VRT_AddDirector(ctx, up_methods, vt,
		    "tinykvm_live_update");
	AZ(pthread_mutex_unlock(&vt->lock));
	return (vt->updater);
}

void
tk_updater_delete(struct vmod_tinykvm *vt)
{

	if (vt->updater != NULL)
		VRT_DelDirector(&vt->updater);
}

VCL_BACKEND
vmod_live_update(VRT_CTX, struct vmod_priv *priv, VCL_STRING program,
    VCL_STRING key, VCL_BYTES max_size)
{
	struct vmod_priv *task;
	struct order *o;
	VCL_BACKEND be;

	CHECK_OBJ_NOTNULL(ctx, VRT_CTX_MAGIC);
	if (ctx->bo == NULL || ctx->method == VCL_MET_PIPE) {
		VRT_fail(ctx, "tinykvm.live_update() is for "
		    "vcl_backend_fetch: set bereq.backend = "
		    "tinykvm.live_update(...)");
		return (NULL);
	}
	be = updater(ctx, vmod_of(priv));
	task = be != NULL ? VRT_priv_task(ctx, be) : NULL;
	o = WS_Alloc(ctx->ws, sizeof *o);
	if (task == NULL || o == NULL) {
		VRT_fail(ctx, "tinykvm.live_update(): the workspace is too "
		    "small: raise workspace_backend");
		return (NULL);
	}
	INIT_OBJ(o, ORDER_MAGIC);
	o->program = program != NULL ? program : "";
	o->key = key != NULL ? key : "";
	o->max_size = max_size > 0 ? (size_t)max_size : 0;
	task->priv = o;
	return (be);
}

VCL_BOOL
vmod_live_update_file(VRT_CTX, struct vmod_priv *priv, VCL_STRING program,
    VCL_STRING filename)
{
	struct tkc_program *p;
	struct tkc_error err;

	CHECK_OBJ_NOTNULL(ctx, VRT_CTX_MAGIC);
	if (filename == NULL || *filename == '\0') {
		VRT_fail(ctx, "tinykvm.live_update_file(): no file is named");
		return (0);
	}
	p = tk_find(ctx, vmod_of(priv), program, &err);
	if (p == NULL)
		return (0);
	if (tkc_live_update_file(p, filename, &err)) {
		tk_log_error(ctx, &err);
		return (0);
	}
	return (1);
}
