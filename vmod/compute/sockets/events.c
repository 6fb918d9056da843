/*-
 * SPDX-License-Identifier: BSD-2-Clause
 *
 * Batches of events: what clients did, as the program is told, and what the
 * program did to them.
 */

#include <stdio.h>
#include <string.h>

#include "../guest_abi.h"
#include "object.h"
#include "system.h"
#include "websocket.h"

/* Of an event: a URL at most. */
#define MAX_TEXT	4096

/* The batch that is put together. */
struct batch {
	struct guest_socket_event event[TKC_BATCH];
	unsigned		n, most;
	tk_gva			at;		/* in the input area */
	uint64_t		left;
};

static tk_gva
put(struct tkc_system *sy, struct batch *b, const void *data, size_t len)
{
	tk_gva at = b->at;
	/* The next one begins aligned, as malloc() would have it. */
	uint64_t took = (len + 1 + 15) & ~(uint64_t)15;

	tk_assert(took <= b->left);
	tk_assert(tk_write(sy->inv->vm, at, data, len));
	tk_assert(tk_write(sy->inv->vm, at + len, "", 1));
	b->at += took;
	b->left -= took;
	return (at);
}

static void
tell(struct tkc_system *sy, struct batch *b, const struct tkc_client *c,
    enum tkc_event what, const char *arg, const struct tkc_received *r)
{
	struct guest_socket_event *e = &b->event[b->n++];
	size_t len = strlen(arg);

	memset(e, 0, sizeof *e);
	e->fd = c->fd;
	e->event = what;
	e->remote = put(sy, b, c->remote, strlen(c->remote));
	e->arg = put(sy, b, arg, len < MAX_TEXT ? len : MAX_TEXT);
	if (r == NULL)
		return;
	e->data = put(sy, b, r->data, r->len);
	e->data_len = r->len;
	sy->inv->count.input_bytes += r->len;
}

/* For one more event, whatever it is. */
static bool
has_room(const struct tkc_system *sy, const struct batch *b)
{
	size_t most = sy->sockets->max_message;

	return (b->n < b->most && b->left >= 2 * MAX_TEXT +
	    (most > TKC_CLIENT_READ ? most : TKC_CLIENT_READ));
}

static enum tk_verdict
on_output(void *priv, const uint8_t *data, size_t len)
{
	struct tkc_client *c = priv;

	if (len == 0) {
		c->half_closed = true;
		tkc_system_ready(c->system, c);
	} else if (tkc_client_send(c, data, len, -1))
		c->system->inv->count.output_bytes += len;
	if (c->room == 0)
		c->was_full = true;
	return (TK_RESUME);
}

/* The program hears of the client: from now on it is its own to close. */
static void
greet(struct tkc_system *sy, struct batch *b, struct tkc_client *c)
{
	int fd;

	c->connection.keep_open = true;
	c->connection.output = on_output;
	c->connection.room = &c->room;
	c->connection.priv = c;
	fd = tk_connect(sy->inv->vm, &c->connection);
	if (fd < 0) {
		tkc_logf(sy->sockets->instance->program, TKC_LOG_ERROR,
		    "%s: a client is turned away: %s", sy->sockets->key,
		    strerror(-fd));
		tkc_system_close(sy, c, TKC_WS_INTERNAL_ERROR);
		return;
	}
	tk_assert(fd < TKC_GUEST_FDS);
	c->fd = fd;
	sy->by_fd[fd] = c;
	c->told = true;
	tell(sy, b, c, TKC_EVENT_CONNECT, c->ws != NULL ?
	    tkc_websocket_url(c->ws) : "", NULL);
}

/* Of one that the program does not know yet. */
static bool
first_event(struct tkc_system *sy, struct batch *b, struct tkc_client *c)
{
	struct tkc_received none;

	if (c->ws != NULL && !tkc_websocket_is_open(c->ws))
		(void)tkc_client_receive(c, &none);
	if (c->ws == NULL || tkc_websocket_is_open(c->ws))
		greet(sy, b, c);
	else if (c->gone || c->dead)
		tkc_system_close(sy, c, TKC_WS_GOING_AWAY);
	return (c->told);
}

/* False: there is none, now. */
static bool
next_event(struct tkc_system *sy, struct batch *b, struct tkc_client *c,
    bool *has_read)
{
	struct tkc_received r;

	if (!c->told)
		return (first_event(sy, b, c));
	if (!*has_read && tkc_client_receive(c, &r)) {
		/* Who reads may answer: the order that programs know. */
		*has_read = c->writable = true;
		tell(sy, b, c, TKC_EVENT_READ, r.kind, &r);
		return (true);
	}
	if (c->writable && c->room > 0) {
		c->writable = false;
		tell(sy, b, c, TKC_EVENT_WRITABLE, "", NULL);
		return (true);
	}
	if ((c->gone || c->dead) && !*has_read) {
		tell(sy, b, c, TKC_EVENT_DISCONNECT, "", NULL);
		sy->leaving[sy->n_leaving++] = c;
	}
	return (false);
}

/* What the program did to the client, and what the client did. */
static void
attend(struct tkc_system *sy, struct batch *b, struct tkc_client *c)
{
	bool has_read = false;

	tkc_system_unready(sy, c);
	if (c->half_closed && c->fd >= 0 &&
	    !tk_connected(sy->inv->vm, c->fd, &c->connection))
		tkc_system_close(sy, c, TKC_WS_NORMAL);
	tkc_client_flush(c);
	if (c->close_by != 0) {
		tkc_client_drain(c);
		tkc_system_unready(sy, c);
		return;
	}
	while (has_room(sy, b))
		if (!next_event(sy, b, c, &has_read)) {
			/* One read a batch, so that all have their turn. */
			if (has_read)
				tkc_system_ready(sy, c);
			return;
		}
	tkc_system_ready(sy, c);
}

/* A batch for all that are ready: one entry, if there is anything to tell. */
void
tkc_events_turn(struct tkc_system *sy)
{
	struct tkc_client *c, *last = TAILQ_LAST(&sy->ready, tkc_clients);
	struct tk_error gone;
	struct batch b;
	unsigned i;

	b.n = 0;
	b.most = sy->n_events < TKC_BATCH ? (unsigned)sy->n_events : TKC_BATCH;
	b.at = tk_input_area(sy->inv->vm, &b.left);
	/* Those that become ready meanwhile wait for the next batch. */
	while (has_room(sy, &b) && (c = TAILQ_FIRST(&sy->ready)) != NULL) {
		attend(sy, &b, c);
		if (c == last)
			break;
	}
	if (b.n == 0)
		return;
	sy->used = true;
	sy->told += b.n;
	if (!tk_write(sy->inv->vm, sy->events, b.event,
	    b.n * sizeof b.event[0])) {
		/* It was when it began to wait; another thread may unmap it. */
		gone.kind = TK_MISUSE;
		(void)snprintf(gone.text, sizeof gone.text, "the array of "
		    "events at 0x%llx is not its memory any more",
		    (unsigned long long)sy->events);
		tkc_system_fail(sy, &gone);
		return;
	}
	if (!tkc_system_run(sy, b.n))
		return;
	for (i = 0; i < sy->n_leaving; i++)
		tkc_system_close(sy, sy->leaving[i], TKC_WS_NORMAL);
	sy->n_leaving = 0;
	tkc_system_count(sy);
}
