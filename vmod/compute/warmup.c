/*-
 * SPDX-License-Identifier: BSD-2-Clause
 *
 * Warm-up: requests that a program serves before it is frozen, so that its
 * caches are filled and its lazy parts are made once, in the master, and not
 * in every request. Their answers go nowhere.
 */

#include <stdlib.h>
#include <string.h>

#include "error.h"
#include "object.h"
#include "program.h"

bool
tkc_has_request_handler(const struct tkc_instance *in)
{

	return (in->paused != 0 || in->serves ||
	    in->handler[TKC_ON_GET] != 0 || in->handler[TKC_ON_POST] != 0 ||
	    in->handler[TKC_ON_METHOD] != 0);
}

static int
one(struct tkc_invocation *inv, const struct tkc_request *q,
    struct tkc_error *err)
{
	uint64_t start = tkc_now();
	int e;

	inv->request = q;
	memset(inv->response, 0, sizeof *inv->response);
	memset(&inv->stream, 0, sizeof inv->stream);
	inv->answered = false;
	inv->instance->warming = inv;
	e = tkc_request_call(inv, q, err);
	inv->instance->warming = NULL;
	tkc_settle(inv, start);
	return (e);
}

static int
all(struct tkc_instance *in, struct tkc_invocation *inv,
    struct tkc_error *err)
{
	const struct tkc_warmup *w = &in->program->settings.warmup;
	struct tkc_span *header;
	struct tkc_request q;
	uint64_t start = tkc_now(), now;
	unsigned i, n = 0;
	int e = 0;

	while (w->headers[n] != NULL)
		n++;
	header = calloc(n + 1, sizeof *header);
	if (header == NULL)
		return (tkc_fail(err, TKC_ENVIRONMENT, "Out of memory"));
	for (i = 0; i < n; i++) {
		header[i].ptr = w->headers[i];
		header[i].len = strlen(w->headers[i]);
	}
	memset(&q, 0, sizeof q);
	q.method = w->method;
	q.url = w->url;
	q.arg = q.content_type = "";
	q.headers = header;
	q.num_headers = n;
	q.is_backend = q.is_warmup = 1;
	for (i = 0; i < w->num_requests; i++) {
		now = tkc_now();
		if (now >= in->boot_deadline) {
			tkc_logf(in->program, TKC_LOG_ERROR, "warm-up: %u of "
			    "%u requests until max_boot_time (%g s)", i,
			    w->num_requests,
			    in->program->settings.max_boot_time);
			break;
		}
		inv->seconds = (double)(in->boot_deadline - now) /
		    (double)TKC_NS;
		if (inv->seconds > in->request_time)
			inv->seconds = in->request_time;
		e = one(inv, &q, err);
		if (e != 0)
			break;
	}
	free(header);
	if (e == 0 && i == w->num_requests)
		tkc_logf(in->program, TKC_LOG_INFO, "warmed up by %u requests "
		    "in %.1f ms", i, (double)(tkc_now() - start) / 1e6);
	return (e);
}

int
tkc_warm(struct tk_machine *m, void *priv, struct tk_error *core)
{
	struct tkc_instance *in = priv;
	struct tkc_invocation *inv;
	struct tkc_error err;
	int e;

	TK_CHECK_OBJ(in, TKC_INSTANCE_MAGIC);
	/* Told as a failed boot. */
	if (!tkc_has_request_handler(in))
		return (0);
	inv = tkc_invocation_new(in);
	if (inv == NULL)
		return (tk_error(core, TK_HOST, 0, "Out of memory"));
	inv->vm = m;
	e = all(in, inv, &err);
	inv->vm = NULL;
	tkc_invocation_free(&inv);
	if (e == 0)
		return (0);
	in->warmup_failed = true;
	return (tk_error(core, TK_MISUSE, 0, "%s", err.text));
}
