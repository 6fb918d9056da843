/*-
 * SPDX-License-Identifier: BSD-2-Clause
 *
 * The request is written as HTTP/1.1 (RFC 9112); the answer is parsed by the
 * http_parser library.
 */

#include <http_parser.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <strings.h>

#include "api.h"
#include "fetch.h"
#include "object.h"
#include "server.h"

/* Room for the request's head in front of its body. */
#define HEAD_ROOM	(256 * 1024)
/* Buffers of idle forks are not larger. */
#define KEEP_ROOM	(1024 * 1024)
#define MAX_HEAD	(64 * 1024)

struct tkc_wire {
	/* The request: head, written against HEAD_ROOM from below, and body. */
	char			*in;
	size_t			in_room, body_len;
	/* The answer's body. */
	char			*out;
	size_t			out_room, out_len;
	/* Its header fields "Name: value", each with a NUL. */
	char			*head;
	size_t			head_len;
	size_t			start[TKC_MAX_HEADERS + 1];
	unsigned		n_fields;
	bool			in_head, in_value;
	bool			complete;
	const char		*wrong;		/* what the answer is not */
	http_parser		parser;
	struct tkc_invocation	*inv;
};

static bool
reserve(char **buf, size_t *room, size_t want)
{
	size_t n = *room ? *room : 4096;
	char *more;

	if (want <= *room)
		return (true);
	while (n < want)
		n *= 2;
	more = realloc(*buf, n);
	if (more == NULL)
		return (false);
	*buf = more;
	*room = n;
	return (true);
}

static struct tkc_wire *
wire_of(struct tkc_invocation *inv)
{

	if (inv->wire == NULL) {
		inv->wire = calloc(1, sizeof *inv->wire);
		if (inv->wire != NULL)
			inv->wire->inv = inv;
	}
	return (inv->wire);
}

void
tkc_server_fini(struct tkc_invocation *inv)
{

	if (inv->wire == NULL)
		return;
	free(inv->wire->in);
	free(inv->wire->out);
	free(inv->wire->head);
	free(inv->wire);
	inv->wire = NULL;
}

void
tkc_server_forget(struct tkc_invocation *inv)
{
	struct tkc_wire *w = inv->wire;

	if (w->in_room > HEAD_ROOM + KEEP_ROOM || w->out_room > KEEP_ROOM)
		tkc_server_fini(inv);
	else
		w->body_len = w->out_len = 0;
}

static int
no_memory(struct tkc_error *err)
{

	return (tkc_fail(err, TKC_ENVIRONMENT, "Out of memory"));
}

int
tkc_server_body(struct tkc_invocation *inv, const void *data, size_t len,
    struct tkc_error *err)
{
	struct tkc_wire *w = wire_of(inv);

	if (w == NULL || !reserve(&w->in, &w->in_room,
	    HEAD_ROOM + w->body_len + len))
		return (no_memory(err));
	memcpy(w->in + HEAD_ROOM + w->body_len, data, len);
	w->body_len += len;
	return (0);
}

/*--------------------------------------------------------------------
 * The request
 */

static bool
one_word(const char *s)
{

	if (*s == '\0')
		return (false);
	for (; *s != '\0'; s++)
		if ((unsigned char)*s <= ' ' || *s == 0x7f)
			return (false);
	return (true);
}

struct text {
	char	*at;
	size_t	used;
	bool	full;
};

static void
put(struct text *t, const char *s, size_t len)
{

	if (len > HEAD_ROOM - t->used) {
		t->full = true;
		return;
	}
	memcpy(t->at + t->used, s, len);
	t->used += len;
}

static void
puts_to(struct text *t, const char *s)
{

	put(t, s, strlen(s));
}

/* Writes the head right before the body; its start, or NULL. */
static char *
write_head(struct tkc_wire *w, const struct tkc_request *q)
{
	struct text t = { w->in, 0, false };
	bool host = false;
	char line[64];
	unsigned i;

	puts_to(&t, q->method);
	puts_to(&t, " ");
	puts_to(&t, q->url);
	puts_to(&t, " HTTP/1.1\r\n");
	for (i = 0; i < q->num_headers; i++) {
		if (tkc_fetch_field_is_ours(q->headers[i].ptr,
		    q->headers[i].len) || !tkc_field_ok(q->headers[i].ptr,
		    q->headers[i].len, true))
			continue;
		if (q->headers[i].len > 5 &&
		    strncasecmp(q->headers[i].ptr, "Host:", 5) == 0)
			host = true;
		put(&t, q->headers[i].ptr, q->headers[i].len);
		puts_to(&t, "\r\n");
	}
	if (!host)
		puts_to(&t, "Host: localhost\r\n");
	if (w->body_len > 0 || strcmp(q->method, "POST") == 0 ||
	    strcmp(q->method, "PUT") == 0) {
		(void)snprintf(line, sizeof line, "Content-Length: %zu\r\n",
		    w->body_len);
		puts_to(&t, line);
	}
	puts_to(&t, "Connection: close\r\n\r\n");
	if (t.full)
		return (NULL);
	memmove(w->in + HEAD_ROOM - t.used, w->in, t.used);
	return (w->in + HEAD_ROOM - t.used);
}

/*--------------------------------------------------------------------
 * The answer
 */

static struct tkc_wire *
wire_at(http_parser *p)
{

	return (p->data);
}

static int
wrong(struct tkc_wire *w, const char *why)
{

	w->wrong = why;
	return (-1);
}

static int
on_begin(http_parser *p)
{
	struct tkc_wire *w = wire_at(p);

	w->head_len = w->out_len = 0;
	w->n_fields = 0;
	w->in_head = w->in_value = true;
	return (0);
}

static int
add_text(struct tkc_wire *w, const char *s, size_t len)
{

	if (w->head_len + len > MAX_HEAD - 4)
		return (wrong(w, "header fields of more than 64 KiB"));
	memcpy(w->head + w->head_len, s, len);
	w->head_len += len;
	return (0);
}

static void
end_field(struct tkc_wire *w)
{

	if (w->n_fields > 0)
		w->head[w->head_len++] = '\0';
	w->start[w->n_fields] = w->head_len;
}

static int
on_field(http_parser *p, const char *s, size_t len)
{
	struct tkc_wire *w = wire_at(p);

	/* Trailers are not merged into the head: RFC 9110, 6.5.1. */
	if (!w->in_head)
		return (0);
	if (w->in_value) {
		end_field(w);
		if (w->n_fields == TKC_MAX_HEADERS)
			return (wrong(w, "more than 64 header fields"));
		w->n_fields++;
		w->in_value = false;
	}
	return (add_text(w, s, len));
}

static int
on_value(http_parser *p, const char *s, size_t len)
{
	struct tkc_wire *w = wire_at(p);

	if (!w->in_head)
		return (0);
	if (!w->in_value && add_text(w, ": ", 2))
		return (-1);
	w->in_value = true;
	return (add_text(w, s, len));
}

static int
on_head(http_parser *p)
{
	struct tkc_wire *w = wire_at(p);

	end_field(w);
	w->in_head = false;
	/* 1: there is no body, whatever the fields say. */
	return (strcmp(w->inv->request->method, "HEAD") == 0);
}

static int
on_body(http_parser *p, const char *s, size_t len)
{
	struct tkc_wire *w = wire_at(p);
	uint64_t most = (uint64_t)(w->inv->instance->request_memory * 1048576);

	if (w->out_len + len > most)
		return (wrong(w, "a body of more than max_request_memory"));
	if (!reserve(&w->out, &w->out_room, w->out_len + len))
		return (wrong(w, "more than this host has memory for"));
	memcpy(w->out + w->out_len, s, len);
	w->out_len += len;
	return (0);
}

static int
on_complete(http_parser *p)
{

	/* 100 Continue and the like are followed by the answer. */
	if (p->status_code < 200)
		return (0);
	wire_at(p)->complete = true;
	/* Not 0: the parser stops here, whatever follows. */
	return (1);
}

static const http_parser_settings callbacks = {
	.on_message_begin = on_begin,
	.on_header_field = on_field,
	.on_header_value = on_value,
	.on_headers_complete = on_head,
	.on_body = on_body,
	.on_message_complete = on_complete,
};

static enum tk_verdict
on_output(void *priv, const uint8_t *data, size_t len)
{
	struct tkc_wire *w = priv;
	enum http_errno e;

	(void)http_parser_execute(&w->parser, &callbacks, (const char *)data,
	    len);
	if (w->complete)
		return (TK_DONE);
	e = HTTP_PARSER_ERRNO(&w->parser);
	if (w->wrong != NULL)
		return (tk_fail(w->inv->vm, 0, "answered with %s", w->wrong));
	if (len == 0)
		return (tk_fail(w->inv->vm, 0, "closed the connection before "
		    "its answer was complete"));
	if (e != HPE_OK)
		return (tk_fail(w->inv->vm, 0, "answered with what is no "
		    "HTTP/1: %s", http_errno_description(e)));
	return (TK_RESUME);
}

/* What the parser found, as the guest API would have said it. */
static int
take_answer(struct tkc_invocation *inv, struct tkc_error *err)
{
	struct tkc_response *r = inv->response;
	struct tkc_wire *w = inv->wire;
	struct tkc_span h;
	unsigned i;
	size_t n;

	if (w->parser.status_code > 599)
		return (tkc_fail(err, TKC_EXCEPTION, "%s: answered with "
		    "status %u: 200 to 599", inv->instance->program->name,
		    w->parser.status_code));
	r->status = w->parser.status_code;
	inv->content_type[0] = '\0';
	for (i = 0; i < w->n_fields; i++) {
		h.ptr = w->head + w->start[i];
		h.len = strlen(h.ptr);
		if (tkc_fetch_field_is_ours(h.ptr, h.len) ||
		    !tkc_field_ok(h.ptr, h.len, true))
			continue;
		if (h.len > 14 && strncasecmp(h.ptr, "Content-Type: ",
		    14) == 0) {
			n = h.len - 14;
			if (n >= TKC_MAX_CTYPE)
				continue;
			memcpy(inv->content_type, (const char *)h.ptr + 14,
			    n + 1);
			continue;
		}
		inv->header[r->num_headers++] = h;
	}
	r->headers = inv->header;
	r->content_type = inv->content_type;
	r->content_type_len = strlen(inv->content_type);
	r->body_len = inv->out_len = w->out_len;
	inv->answered = inv->on_wire = true;
	return (0);
}

struct tkc_span
tkc_server_span(const struct tkc_invocation *inv, uint64_t offset)
{
	struct tkc_span s;

	s.ptr = inv->wire->out + offset;
	s.len = inv->wire->out_len - offset;
	return (s);
}

int
tkc_server_call(struct tkc_invocation *inv, const struct tkc_request *q,
    struct tkc_error *err)
{
	const struct tkc_instance *in = inv->instance;
	struct tkc_wire *w = wire_of(inv);
	struct tk_connection c;
	struct tk_error core;
	char *head;
	int e;

	if (w == NULL || !reserve(&w->in, &w->in_room, HEAD_ROOM + 1) ||
	    (w->head == NULL && (w->head = malloc(MAX_HEAD)) == NULL))
		return (no_memory(err));
	if (!one_word(q->method) || !one_word(q->url))
		return (tkc_fail(err, TKC_TOOBIG, "%s: a method or URL with "
		    "blanks or control characters", in->program->name));
	head = write_head(w, q);
	if (head == NULL)
		return (tkc_fail(err, TKC_TOOBIG, "%s: request headers of "
		    "more than %d bytes", in->program->name, HEAD_ROOM));
	http_parser_init(&w->parser, HTTP_RESPONSE);
	w->parser.data = w;
	w->complete = false;
	w->wrong = NULL;
	memset(&c, 0, sizeof c);
	c.in = (const uint8_t *)head;
	c.in_len = (size_t)(w->in + HEAD_ROOM + w->body_len - head);
	c.keep_open = true;
	c.output = on_output;
	c.priv = w;
	e = tk_serve(inv->vm, &c, in->request_time, &core);
	if (e != 0)
		return (tkc_from_core(err, in->program->name, &core));
	if (!w->complete)
		return (tkc_fail(err, TKC_EXCEPTION, "%s: no answer",
		    in->program->name));
	return (take_answer(inv, err));
}
