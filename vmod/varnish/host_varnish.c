/*-
 * SPDX-License-Identifier: BSD-2-Clause
 *
 * The host-interface table: log, headers and counters of Varnish.
 */

#include <stdlib.h>
#include <string.h>

#include "vmod_tinykvm.h"

#include "VSC_tinykvm.h"

#define US(ns)	((ns) / 1000)

/* The task on whose behalf this thread is in a guest. */
static _Thread_local struct tk_task *current;

#define MAX_LINE	1100

/* A guest's text is one line of the log, and nobody else's. */
static size_t
one_line(char to[MAX_LINE], const char *text, size_t len)
{
	size_t i;

	if (len > MAX_LINE)
		len = MAX_LINE;
	for (i = 0; i < len; i++)
		to[i] = (char)(((unsigned char)text[i] < ' ' &&
		    text[i] != '\t') || text[i] == 0x7f ? ' ' : text[i]);
	return (len);
}

static void
on_log(void *host, const char *program, int kind, const char *text, size_t len)
{
	enum VSL_tag_e tag = kind == TKC_LOG_ERROR ? SLT_VCL_Error :
	    SLT_VCL_Log;
	char line[MAX_LINE];
	size_t n = strlen(program);

	(void)host;
	/* Errors name their program. */
	if (kind == TKC_LOG_ERROR && len > n + 2 &&
	    memcmp(text, program, n) == 0 && memcmp(text + n, ": ", 2) == 0) {
		text += n + 2;
		len -= n + 2;
	}
	len = one_line(line, text, len);
	if (current != NULL && current->vsl != NULL)
		VSLb(current->vsl, tag, "tinykvm: %s: %.*s", program, (int)len,
		    line);
	else
		VSL(tag, 0, "tinykvm: %s: %.*s", program, (int)len, line);
}

/*--------------------------------------------------------------------
 * Headers
 */

static struct http *
table(void *priv, int where)
{
	struct tk_task *t;

	/* A warm-up request: there are no tables. */
	if (priv == NULL)
		return (NULL);
	CAST_OBJ_NOTNULL(t, priv, TK_TASK_MAGIC);
	return (t->http[where]);
}

/* The index of the first field of that name, 0 when there is none. */
static unsigned
find(const struct http *hp, const char *name, size_t len)
{
	const char *f;
	unsigned i;

	for (i = HTTP_HDR_FIRST; i < hp->nhd; i++) {
		f = hp->hd[i].b;
		if (f != NULL && (size_t)Tlen(hp->hd[i]) > len &&
		    f[len] == ':' && strncasecmp(f, name, len) == 0)
			return (i);
	}
	return (0);
}

/*
 * What guests leave of a table and its workspace: Varnish and we have fields to
 * add, too.
 */
#define KEEP_FIELDS	8
#define KEEP_WORKSPACE	4096

/* A NUL-terminated copy on the table's workspace. */
static const char *
copy_field(const struct http *hp, const char *field, size_t len)
{
	char *p;

	if (WS_ReserveAll(hp->ws) < len + KEEP_WORKSPACE) {
		WS_Release(hp->ws, 0);
		return (NULL);
	}
	p = WS_Reservation(hp->ws);
	memcpy(p, field, len);
	p[len] = '\0';
	WS_Release(hp->ws, (unsigned)len + 1);
	return (p);
}

struct tk_fields {
	uint16_t		nhd;
	unsigned char		*hdf;
	txt			hd[];
};

/* Before the first change of a program. False: no room, it is not made. */
static bool
remember(struct tk_task *t, int where)
{
	const struct http *hp = t->http[where];
	struct tk_fields *f;
	size_t len = sizeof *f + hp->nhd * (sizeof *f->hd + sizeof *f->hdf);

	if (t->at_step[where] != NULL)
		return (true);
	if (WS_ReserveAll(hp->ws) < len + KEEP_WORKSPACE) {
		WS_Release(hp->ws, 0);
		return (false);
	}
	f = WS_Reservation(hp->ws);
	WS_Release(hp->ws, (unsigned)len);
	f->nhd = hp->nhd;
	f->hdf = (unsigned char *)(f->hd + hp->nhd);
	memcpy(f->hd, hp->hd, hp->nhd * sizeof *f->hd);
	memcpy(f->hdf, hp->hdf, hp->nhd * sizeof *f->hdf);
	t->at_step[where] = f;
	return (true);
}

static void
put_back(const struct tk_task *t, int where, const struct tk_fields *f)
{
	struct http *hp = t->http[where];

	memcpy(hp->hd, f->hd, f->nhd * sizeof *f->hd);
	memcpy(hp->hdf, f->hdf, f->nhd * sizeof *f->hdf);
	hp->nhd = f->nhd;
	if (t->vsl != NULL)
		VSLb(t->vsl, SLT_VCL_Log, "tinykvm: the header fields of the "
		    "%s are again what they were before",
		    where == TKC_HTTP_REQUEST ? "request" : "response");
}

void
tk_task_step(struct tk_task *t)
{
	unsigned i;

	CHECK_OBJ_NOTNULL(t, TK_TASK_MAGIC);
	for (i = 0; i < 2; i++) {
		if (t->at_call[i] == NULL)
			t->at_call[i] = t->at_step[i];
		t->at_step[i] = NULL;
	}
}

void
tk_task_undo(struct tk_task *t, enum tkc_http_where where)
{
	const struct tk_fields *f;

	CHECK_OBJ_NOTNULL(t, TK_TASK_MAGIC);
	f = t->at_call[where] != NULL ? t->at_call[where] : t->at_step[where];
	if (f != NULL)
		put_back(t, where, f);
	t->at_call[where] = t->at_step[where] = NULL;
}

static void
on_undo(void *priv)
{
	struct tk_task *t;
	int i;

	CAST_OBJ_NOTNULL(t, priv, TK_TASK_MAGIC);
	for (i = 0; i < 2; i++) {
		if (t->at_step[i] != NULL)
			put_back(t, i, t->at_step[i]);
		t->at_step[i] = NULL;
	}
}

static int
append(struct tk_task *t, int where, const char *field, size_t len)
{
	struct http *hp = t->http[where];
	const char *p;

	if (hp->nhd + KEEP_FIELDS >= hp->shd || !remember(t, where))
		return (-1);
	p = copy_field(hp, field, len);
	if (p == NULL)
		return (-1);
	http_SetHeader(hp, p);
	return ((int)hp->nhd - 1);
}

static int
on_append(void *priv, int where, const char *field, size_t len)
{

	return (table(priv, where) == NULL ? -1 :
	    append(priv, where, field, len));
}

/* A hdr_t is a length as a signed char, the name, a colon: no longer name fits. */
#define MAX_HDR		126

/* As http_Unset(), for any name. */
static void
take_away(struct http *hp, const char *name, size_t len)
{
	char hdr[MAX_HDR + 3];
	unsigned i;

	if (len <= MAX_HDR) {
		hdr[0] = (char)(len + 1);
		memcpy(hdr + 1, name, len);
		hdr[len + 1] = ':';
		hdr[len + 2] = '\0';
		http_Unset(hp, hdr);
		return;
	}
	while ((i = find(hp, name, len)) != 0) {
		hp->nhd--;
		memmove(hp->hd + i, hp->hd + i + 1,
		    (hp->nhd - i) * sizeof *hp->hd);
		memmove(hp->hdf + i, hp->hdf + i + 1,
		    (hp->nhd - i) * sizeof *hp->hdf);
	}
}

/*
 * Takes every field of the name away; the first one's index, or 0: there is
 * none, or it stays for want of workspace.
 */
static unsigned
unset(struct tk_task *t, int where, const char *name, size_t len)
{
	struct http *hp = t->http[where];
	unsigned first = find(hp, name, len);

	if (first == 0 || !remember(t, where))
		return (0);
	take_away(hp, name, len);
	return (first);
}

/* In the place of all of that name; its index, or 0: nothing has changed. */
static unsigned
replace(struct tk_task *t, int where, const char *field, size_t len,
    size_t name_len)
{
	struct http *hp = t->http[where];
	const char *p;
	int i;

	if (find(hp, field, name_len) == 0) {
		i = append(t, where, field, len);
		return (i > 0 ? (unsigned)i : 0);
	}
	if (!remember(t, where))
		return (0);
	p = copy_field(hp, field, len);
	if (p == NULL)
		return (0);
	take_away(hp, p, name_len);
	http_SetHeader(hp, p);
	return (hp->nhd - 1U);
}

static int
on_set(void *priv, int where, const char *field, size_t len)
{
	const char *colon;

	if (table(priv, where) == NULL)
		return (0);
	colon = memchr(field, ':', len);
	if (colon == NULL)
		return ((int)unset(priv, where, field, len));
	return ((int)replace(priv, where, field, len,
	    (size_t)(colon - field)));
}

static size_t
on_find(void *priv, int where, const char *name, size_t len,
    const char **field)
{
	const struct http *hp = table(priv, where);
	unsigned i;

	i = hp == NULL ? 0 : find(hp, name, len);
	if (i == 0)
		return (0);
	*field = hp->hd[i].b;
	return (Tlen(hp->hd[i]));
}

static size_t
on_field(void *priv, int where, unsigned index, const char **field)
{
	const struct http *hp = table(priv, where);
	unsigned i;

	if (hp == NULL)
		return (0);
	for (i = HTTP_HDR_FIRST; i < hp->nhd; i++) {
		if (hp->hd[i].b == NULL || index-- > 0)
			continue;
		*field = hp->hd[i].b;
		return (Tlen(hp->hd[i]));
	}
	return (0);
}

/*--------------------------------------------------------------------*/

/* A program's totals become its counters; its lock is held. */
static void
on_counters(void *host, const char *program, void **slot,
    const struct tkc_counters *t)
{
	struct vmod_tinykvm *vt;
	struct VSC_tinykvm *c;
	struct slot {
		struct vsc_seg		*seg;
		struct VSC_tinykvm	*vsc;
		struct tk_summed	summed;
	} *s = *slot;

	CAST_OBJ_NOTNULL(vt, host, VMOD_TINYKVM_MAGIC);
	if (t == NULL) {
		VSC_tinykvm_Destroy(&s->seg);
		free(s);
		*slot = NULL;
		return;
	}
	if (s == NULL) {
		s = calloc(1, sizeof *s);
		if (s == NULL)
			return;
		s->vsc = VSC_tinykvm_New(NULL, &s->seg, "%s.%s", vt->vcl_name,
		    program);
		*slot = s;
	}
	tk_sums_add(&s->summed, t);
	c = s->vsc;
	c->invocations = t->invocations;
	c->program_exception = t->exceptions;
	c->program_timeout = t->timeouts;
	c->program_memory = t->memory_exceeded;
	c->program_error_handled = t->error_handled;
	c->program_status_2xx = t->status_2xx;
	c->program_status_3xx = t->status_3xx;
	c->program_status_4xx = t->status_4xx;
	c->program_status_5xx = t->status_5xx;
	c->reservations = t->reservations;
	c->reservation_timeouts = t->reservation_timeouts;
	c->queue_refused = t->queue_refused;
	c->reservation_time = US(t->reservation_ns);
	c->cpu_time = US(t->request_ns);
	c->resets = t->resets;
	c->reset_time = US(t->reset_ns);
	c->exits = t->exits;
	c->pages_written = t->pages_written;
	c->input_bytes = t->input_bytes;
	c->output_bytes = t->output_bytes;
	c->boots = t->boots;
	c->boot_failures = t->boot_failures;
	c->unknown_calls = t->unknown_calls;
	c->fetches = t->fetches;
	c->fetches_failed = t->fetches_failed;
	c->self_requests = t->self_requests;
	c->self_requests_failed = t->self_requests_failed;
	c->fetch_time = US(t->fetch_ns);
	c->storage_calls = t->storage_calls;
	c->storage_errors = t->storage_errors;
	c->storage_wait_time = US(t->storage_wait_ns);
	c->storage_time = US(t->storage_ns);
	c->storage_tasks = t->storage_tasks;
	c->storage_task_errors = t->storage_task_errors;
	c->state_saves = t->state_saves;
	c->state_errors = t->state_errors;
	c->live_updates = t->live_updates;
	c->live_update_failures = t->live_update_failures;
	c->storage_queue = t->storage_queue;
	c->storage_timers = t->storage_timers;
	c->socket_clients = t->socket_clients;
	c->socket_events = t->socket_events;
	c->sockets_open = t->sockets_open;
	c->forks = t->forks;
	c->forks_busy = t->forks_busy;
	c->queue_length = t->queue_length;
	c->master_bytes = t->master_bytes;
	c->working_set_bytes = t->working_set_bytes;
}

const struct tkc_host_interface tk_host_interface = {
	.log = on_log,
	.http_append = on_append,
	.http_set = on_set,
	.http_find = on_find,
	.http_field = on_field,
	.http_undo = on_undo,
	.counters = on_counters,
};

/*--------------------------------------------------------------------*/

int
tk_headers(const struct http *hp, struct tkc_span *span, const char **ctype,
    struct tkc_error *err)
{
	unsigned i, n = 0;

	for (i = HTTP_HDR_FIRST; i < hp->nhd; i++) {
		if (hp->hd[i].b == NULL)
			continue;
		if (n == TK_MAX_HEADERS) {
			err->reason = TKC_TOOBIG;
			bprintf(err->text, "more than %d request headers",
			    TK_MAX_HEADERS);
			return (-1);
		}
		span[n].ptr = hp->hd[i].b;
		span[n].len = Tlen(hp->hd[i]);
		n++;
	}
	if (!http_GetHdr(hp, H_Content_Type, ctype))
		*ctype = "";
	return ((int)n);
}

void
tk_enter(struct tk_task *task)
{

	if (task != NULL)
		CHECK_OBJ_NOTNULL(task, TK_TASK_MAGIC);
	current = task;
}
