/*-
 * SPDX-License-Identifier: BSD-2-Clause
 *
 * A chain of programs: each one's answer is the POST body of the next, until
 * the last one, or one whose status says that it ends here.
 *
 * At any moment at most two forks are taken, the one that has answered and the
 * one that is given its answer; tkc_pass_on() sees to it that nobody waits for
 * a fork while holding another. Nor does a task that keeps forks, or whose own
 * fetch has one.
 */

#include <string.h>

#include "vmod_tinykvm.h"

static const char *
or_empty(const char *s)
{

	return (s != NULL ? s : "");
}

/* Fields about a body that is no longer the request's. */
static int
about_body(const struct tkc_span *h)
{
	static const char *const names[] = { "Content-Length:",
	    "Content-Type:", "Content-Encoding:", "Transfer-Encoding:" };
	size_t i, n;

	for (i = 0; i < sizeof names / sizeof names[0]; i++) {
		n = strlen(names[i]);
		if (h->len >= n && strncasecmp(h->ptr, names[i], n) == 0)
			return (1);
	}
	return (0);
}

/*
 * Fills in *q for one step. type: of the last answer, "Content-Type: ...", or
 * NULL at the first step. 0, or a reason.
 */
static int
prepare(VRT_CTX, struct tkc_request *q, const struct tk_step *s,
    unsigned is_fetch, const char *type,
    struct tkc_span header[TK_MAX_HEADERS + 1], struct tkc_error *err)
{
	struct http *hp = ctx->http_bereq != NULL ? ctx->http_bereq :
	    ctx->http_req;
	int i, n = 0, to = 0;

	memset(q, 0, sizeof *q);
	q->method = "GET";
	q->content_type = "";
	if (hp != NULL) {
		n = tk_headers(hp, header, &q->content_type, err);
		if (n < 0)
			return (err->reason);
	}
	if (type != NULL) {
		for (i = 0; i < n; i++)
			if (!about_body(&header[i]))
				header[to++] = header[i];
		n = to;
		q->method = "POST";
		q->content_type = type + strlen("Content-Type: ");
		if (*q->content_type != '\0') {
			header[n].ptr = type;
			header[n++].len = strlen(type);
		}
	} else if (is_fetch)
		q->method = http_GetMethod(hp);
	else
		q->content_type = "";
	q->url = or_empty(s->url);
	q->arg = or_empty(s->arg);
	q->headers = header;
	q->num_headers = (unsigned)n;
	q->is_backend = ctx->bo != NULL;
	return (0);
}

/* A fork for the step, with the request's body in it. 0, or a reason. */
static int
first(VRT_CTX, bool wait, const struct tk_step *s, struct tk_chain *c,
    const struct tkc_request *q, struct tkc_error *err)
{
	tk_reserve_f *reserve = wait ? tkc_reserve : tkc_reserve_idle;

	if (c->is_fetch)
		return (tk_request_body(ctx, s->program, &c->inv, q, reserve,
		    err));
	return (c->inv == NULL ? reserve(s->program, &c->inv, err) : 0);
}

/* One step. prev: the fork with the answer before, NULL at the first. */
static int
step(VRT_CTX, struct tk_memo *m, struct tk_chain *c, unsigned i,
    const struct tk_step *s, struct tkc_invocation **prev, const char *type,
    struct tkc_error *err)
{
	struct tkc_span header[TK_MAX_HEADERS + 1];
	struct tkc_request *q = &c->q[i & 1];
	bool wait;
	int e;

	if (s->program == NULL) {
		err->reason = TKC_NOTFOUND;
		bprintf(err->text, "there is no program \"%.128s\": define it "
		    "with library() or configure()", s->name);
		return (err->reason);
	}
	e = prepare(ctx, q, s, c->is_fetch, type, header, err);
	if (e != 0)
		return (e);
	q->task = &c->task;
	if (*prev != NULL)
		q->body_expected = c->r.body_len;
	else if (c->is_fetch)
		q->body_expected = tk_request_body_expected(ctx);
	c->inv = tk_memo_take(m, s->program);
	wait = (m == NULL || m->n_kept == 0) &&
	    (c->is_fetch || !tk_fetch_holds(ctx));
	tk_enter(&c->task);
	if (*prev == NULL)
		e = first(ctx, wait, s, c, q, err);
	else
		e = tkc_pass_on(prev, s->program, &c->inv, q, wait, err);
	if (e == 0)
		e = tkc_invoke(c->inv, q, &c->r, err);
	tk_enter(NULL);
	/* They are not read any more, and are on this stack. */
	q->headers = NULL;
	q->num_headers = 0;
	if (e == 0 && c->r.from_error_handler)
		tk_log_error(ctx, err);
	return (e);
}

static const char *
type_line(VRT_CTX, const struct tkc_response *r, struct tkc_error *err)
{
	const char *p;

	p = WS_Printf(ctx->ws, "Content-Type: %s", r->content_type);
	if (p == NULL) {
		err->reason = TKC_ENVIRONMENT;
		bprintf(err->text, "%s", "a chain of programs: the workspace "
		    "is too small, raise workspace_backend or "
		    "workspace_client");
	}
	return (p);
}

/* Elsewhere the structure is there, but nothing is in it, not even a memory. */
static struct http *
response_table(VRT_CTX, unsigned is_fetch)
{

	if (is_fetch || ctx->method == VCL_MET_BACKEND_RESPONSE ||
	    ctx->method == VCL_MET_BACKEND_ERROR)
		return (ctx->http_beresp);
	if (ctx->method == VCL_MET_DELIVER || ctx->method == VCL_MET_SYNTH)
		return (ctx->http_resp);
	return (NULL);
}

int
tk_chain_run(VRT_CTX, const struct vmod_tinykvm *vt, struct tk_chain *c,
    unsigned method, const struct tk_step *last, struct tkc_error *err)
{
	struct tkc_invocation *prev = NULL;
	struct tk_step all[TK_MAX_CHAIN + 1];
	struct tk_memo *m = tk_memo_get(ctx, vt);
	const char *type = NULL;
	unsigned i, n;
	int e = 0;

	CHECK_OBJ_NOTNULL(c, TK_CHAIN_MAGIC);
	err->reason = TKC_OK;
	err->text[0] = '\0';
	n = tk_memo_chain(ctx, m, method, all);
	all[n] = *last;
	INIT_OBJ(&c->task, TK_TASK_MAGIC);
	c->task.vsl = ctx->vsl;
	c->task.http[TKC_HTTP_REQUEST] = ctx->http_bereq != NULL ?
	    ctx->http_bereq : ctx->http_req;
	c->task.http[TKC_HTTP_RESPONSE] = response_table(ctx, c->is_fetch);
	for (i = 0; i <= n; i++) {
		e = step(ctx, m, c, i, &all[i], &prev, type, err);
		if (prev != NULL)
			tkc_release(&prev, NULL);
		if (e != 0 || i == n ||
		    (VCL_INT)c->r.status >= all[i].treshold)
			break;
		type = type_line(ctx, &c->r, err);
		if (type == NULL) {
			e = err->reason;
			break;
		}
		/* Only the last answer's fields are the response's. */
		tk_task_undo(&c->task, TKC_HTTP_RESPONSE);
		tk_task_step(&c->task);
		prev = c->inv;
		c->inv = NULL;
	}
	if (e != 0) {
		tk_chain_end(c);
		tk_chain_undo(c);
	}
	return (e);
}

int
tk_chain_body(struct tk_chain *c, size_t max, struct tkc_span *s,
    struct tkc_error *err)
{
	int e;

	CHECK_OBJ_NOTNULL(c, TK_CHAIN_MAGIC);
	tk_enter(&c->task);
	e = tkc_body_next(c->inv, max, s, err);
	tk_enter(NULL);
	return (e);
}

void
tk_chain_undo(struct tk_chain *c)
{

	CHECK_OBJ_NOTNULL(c, TK_CHAIN_MAGIC);
	tk_task_undo(&c->task, TKC_HTTP_REQUEST);
	tk_task_undo(&c->task, TKC_HTTP_RESPONSE);
}

void
tk_chain_end(struct tk_chain *c)
{

	CHECK_OBJ_NOTNULL(c, TK_CHAIN_MAGIC);
	if (c->inv != NULL)
		tkc_release(&c->inv, NULL);
}
