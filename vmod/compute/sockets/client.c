/*-
 * SPDX-License-Identifier: BSD-2-Clause
 */

#include <arpa/inet.h>
#include <errno.h>
#include <netinet/in.h>
#include <netinet/tcp.h>
#include <stdio.h>
#include <sys/epoll.h>
#include <sys/socket.h>
#include <unistd.h>

#include "../clock.h"
#include "object.h"
#include "system.h"
#include "websocket.h"

/* So long may the last bytes of a client that is closed take. */
#define LINGER		5.0
/* Of one read of a WebSocket client's bytes. */
#define CHUNK		16384
/* So many reads of one client in its turn: others wait. */
#define MOST_READS	16

static void
name_peer(struct tkc_client *c)
{
	union {
		struct sockaddr		any;
		struct sockaddr_in	v4;
		struct sockaddr_in6	v6;
	} a;
	socklen_t len = sizeof a;
	char text[INET6_ADDRSTRLEN] = "";

	memset(&a, 0, sizeof a);
	(void)getpeername(c->socket, &a.any, &len);
	if (a.any.sa_family == AF_INET && inet_ntop(AF_INET, &a.v4.sin_addr,
	    text, sizeof text) != NULL)
		(void)snprintf(c->remote, sizeof c->remote, "%s:%u", text,
		    ntohs(a.v4.sin_port));
	else if (a.any.sa_family == AF_INET6 && inet_ntop(AF_INET6,
	    &a.v6.sin6_addr, text, sizeof text) != NULL)
		(void)snprintf(c->remote, sizeof c->remote, "[%s]:%u", text,
		    ntohs(a.v6.sin6_port));
	else
		(void)snprintf(c->remote, sizeof c->remote, "unix");
}

/* Tells epoll what to wait for. */
static void
watch(struct tkc_client *c, bool in, bool out)
{
	struct epoll_event ev = { .events = (in ? EPOLLIN | EPOLLRDHUP : 0) |
	    (out ? EPOLLOUT : 0), .data.ptr = c };

	if (epoll_ctl(c->system->epoll, EPOLL_CTL_MOD, c->socket, &ev) != 0)
		c->dead = true;
	c->wants_out = out;
}

struct tkc_client *
tkc_client_new(struct tkc_system *sy, int s)
{
	struct epoll_event ev = { .events = EPOLLIN | EPOLLRDHUP };
	size_t most = sy->sockets->max_message;
	struct tkc_client *c;
	int on = 1;

	TK_ALLOC_OBJ(c, TKC_CLIENT_MAGIC);
	if (c == NULL) {
		(void)close(s);
		return (NULL);
	}
	c->socket = s;
	c->system = sy;
	c->fd = -1;
	c->room = TKC_CLIENT_OUT;
	c->came_at = c->active_at = tkc_now();
	/* Answers are whole: there is nothing to wait for. */
	(void)setsockopt(s, IPPROTO_TCP, TCP_NODELAY, &on, sizeof on);
	name_peer(c);
	if (most > 0)
		c->ws = tkc_websocket_new(c, most);
	ev.data.ptr = c;
	if ((most > 0 && c->ws == NULL) ||
	    epoll_ctl(sy->epoll, EPOLL_CTL_ADD, s, &ev) != 0)
		tkc_client_free(&c);
	return (c);
}

void
tkc_client_free(struct tkc_client **pc)
{
	struct tkc_client *c;

	TK_TAKE_OBJ(c, pc, TKC_CLIENT_MAGIC);
	c->system->held -= c->holds;
	/* That takes it out of the epoll set, too. */
	(void)close(c->socket);
	if (c->ws != NULL)
		tkc_websocket_free(&c->ws);
	free(c->out);
	TK_FREE_OBJ(c);
}

/* What it holds of the host's memory has changed. */
static void
count_held(struct tkc_client *c)
{
	size_t now = c->out_size;

	if (c->ws != NULL)
		now += tkc_websocket_holds(c->ws);
	c->system->held += now - c->holds;
	c->holds = now;
}

/* The system ends those who hold most, but only after its turn. */
static bool
all_hold_too_much(const struct tkc_client *c)
{

	return (c->system->held > 2 * c->system->sockets->max_held);
}

void
tkc_client_empty(struct tkc_client *c)
{

	TK_CHECK_OBJ(c, TKC_CLIENT_MAGIC);
	c->dead = true;
	if (c->ws != NULL)
		tkc_websocket_empty(c->ws);
	free(c->out);
	c->out = NULL;
	c->out_at = c->out_len = c->out_size = 0;
	c->was_full = false;
	count_held(c);
}

/*--------------------------------------------------------------------
 * Out
 */

static void
count_room(struct tkc_client *c)
{
	size_t left = c->out_len - c->out_at;

	c->room = left < TKC_CLIENT_OUT ? TKC_CLIENT_OUT - left : 0;
}

static bool
keep(struct tkc_client *c, const uint8_t *data, size_t len)
{
	size_t left = c->out_len - c->out_at, n = c->out_size;
	uint8_t *more;

	/* The program cannot; but who pings and never reads the answers can. */
	if (left + len > 2 * TKC_CLIENT_OUT)
		return (false);
	if (c->out_at > 0)
		memmove(c->out, c->out + c->out_at, left);
	c->out_at = 0;
	c->out_len = left;
	while (n < left + len)
		n = n > 0 ? 2 * n : 4096;
	if (n > c->out_size) {
		if (all_hold_too_much(c))
			return (false);
		more = realloc(c->out, n);
		if (more == NULL)
			return (false);
		c->out = more;
		c->out_size = n;
		count_held(c);
	}
	memcpy(c->out + left, data, len);
	c->out_len += len;
	count_room(c);
	return (true);
}

/* How much the socket took. */
static size_t
send_some(struct tkc_client *c, const uint8_t *data, size_t len)
{
	ssize_t n;

	n = send(c->socket, data, len, MSG_NOSIGNAL | MSG_DONTWAIT);
	if (n < 0 && errno != EAGAIN && errno != EINTR)
		c->dead = true;
	if (n > 0)
		c->active_at = tkc_now();
	return (n > 0 ? (size_t)n : 0);
}

bool
tkc_client_put(struct tkc_client *c, const void *data, size_t len)
{
	const uint8_t *p = data;
	size_t n = 0;

	TK_CHECK_OBJ(c, TKC_CLIENT_MAGIC);
	if (c->dead)
		return (false);
	if (c->out_at == c->out_len)
		n = send_some(c, p, len);
	if (!c->dead && n < len && !keep(c, p + n, len - n))
		c->dead = true;
	if (!c->dead && n < len && !c->wants_out)
		watch(c, !c->eof, true);
	return (!c->dead);
}

bool
tkc_client_send(struct tkc_client *c, const void *data, size_t len, int text)
{
	bool good;

	good = c->ws == NULL ? tkc_client_put(c, data, len) :
	    tkc_websocket_send(c->ws, data, len, text);
	if (!good)
		c->dead = true;
	return (good);
}

/* The guest has ended its side, and all that it wrote is sent. */
static void
shut_when_sent(struct tkc_client *c)
{

	if ((c->half_closed || c->close_by != 0) && !c->shut &&
	    c->out_at == c->out_len) {
		c->shut = true;
		(void)shutdown(c->socket, SHUT_WR);
	}
}

void
tkc_client_flush(struct tkc_client *c)
{

	TK_CHECK_OBJ(c, TKC_CLIENT_MAGIC);
	if (c->out_at < c->out_len && !c->dead) {
		c->out_at += send_some(c, c->out + c->out_at,
		    c->out_len - c->out_at);
		count_room(c);
	}
	if (c->out_at == c->out_len) {
		c->out_at = c->out_len = 0;
		/* Who has read it all holds nothing that would end him. */
		if (c->out_size > 0) {
			free(c->out);
			c->out = NULL;
			c->out_size = 0;
			count_held(c);
		}
		if (c->wants_out)
			watch(c, !c->eof, false);
		if (c->was_full)
			c->writable = true;
		c->was_full = false;
	}
	shut_when_sent(c);
}

/*--------------------------------------------------------------------
 * In
 */

/* 0: nothing now; or it is gone, or dead. */
static size_t
read_socket(struct tkc_client *c, uint8_t *buf, size_t len)
{
	ssize_t n;

	if (!c->may_read || c->eof || c->dead)
		return (0);
	n = recv(c->socket, buf, len, MSG_DONTWAIT);
	if (n > 0) {
		c->active_at = tkc_now();
		return ((size_t)n);
	}
	c->may_read = false;
	if (n < 0 && (errno == EAGAIN || errno == EINTR))
		return (0);
	c->eof = c->gone = true;
	if (n < 0)
		c->dead = true;
	else
		/* Else epoll would tell of it for ever. */
		watch(c, false, c->wants_out);
	return (0);
}

/* Until there is a message, or nothing more to read. */
static bool
receive_message(struct tkc_client *c, struct tkc_received *r)
{
	unsigned reads = 0;
	size_t n;
	bool text;

	tkc_websocket_forget(c->ws);
	count_held(c);
	while (!tkc_websocket_has_message(c->ws)) {
		/* Epoll tells of what it leaves. */
		if (c->gone || reads++ == MOST_READS || all_hold_too_much(c))
			return (false);
		n = read_socket(c, c->system->buffer, CHUNK);
		if (n == 0)
			return (false);
		if (!tkc_websocket_feed(c->ws, c->system->buffer, n))
			c->gone = true;
		count_held(c);
		/* The program hears of the client first. */
		if (!c->told)
			return (false);
	}
	r->data = tkc_websocket_next(c->ws, &r->len, &text);
	r->kind = text ? "text" : "binary";
	return (true);
}

bool
tkc_client_receive(struct tkc_client *c, struct tkc_received *r)
{

	TK_CHECK_OBJ(c, TKC_CLIENT_MAGIC);
	if (c->ws != NULL)
		return (receive_message(c, r));
	if (c->gone)
		return (false);
	r->data = c->system->buffer;
	r->kind = "";
	r->len = read_socket(c, c->system->buffer, TKC_CLIENT_READ);
	return (r->len > 0);
}

void
tkc_client_drain(struct tkc_client *c)
{

	unsigned i;

	for (i = 0; i < MOST_READS; i++)
		if (read_socket(c, c->system->buffer, TKC_CLIENT_READ) == 0)
			return;
}

/*--------------------------------------------------------------------*/

void
tkc_client_close(struct tkc_client *c, unsigned code)
{

	TK_CHECK_OBJ(c, TKC_CLIENT_MAGIC);
	if (c->close_by != 0)
		return;
	if (c->ws != NULL && !c->dead)
		tkc_websocket_close(c->ws, code);
	c->close_by = tkc_after(LINGER);
	shut_when_sent(c);
}

bool
tkc_client_done(const struct tkc_client *c)
{

	if (c->dead)
		return (true);
	if (c->close_by == 0)
		return (false);
	/* All is sent, and the client has closed, or had time to. */
	return ((c->shut && c->eof) || tkc_now() >= c->close_by);
}
