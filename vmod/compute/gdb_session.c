/*-
 * SPDX-License-Identifier: BSD-2-Clause
 *
 * One connection on loopback. Whoever reaches the port controls the program
 * that is debugged: it is closed as soon as a debugger has come.
 */

#include <arpa/inet.h>
#include <errno.h>
#include <netinet/in.h>
#include <netinet/tcp.h>
#include <poll.h>
#include <stdio.h>
#include <string.h>
#include <sys/socket.h>
#include <unistd.h>

#include "gdb.h"
#include "object.h"
#include "program.h"

/* A peer that says nothing of use keeps nobody else out for longer. */
#define HELLO_NS	(5 * TKC_NS)
#define SEND_NS		(10 * TKC_NS)
/* Bytes that may come without one packet among them. */
#define MAX_GARBAGE	(8 * TKC_GDB_PACKET)
#define FOREVER		UINT64_MAX
/* Between two looks at whether the program is to end, ms. */
#define LOOK_MS		100

static void
shut(int *fd)
{

	if (*fd >= 0)
		(void)close(*fd);
	*fd = -1;
}

int
tkc_gdb_listen(struct tkc_gdb *g, uint16_t port)
{
	struct sockaddr_in sa;
	socklen_t len = sizeof sa;
	int one = 1, e;

	TK_CHECK_OBJ(g, TKC_GDB_MAGIC);
	memset(&sa, 0, sizeof sa);
	sa.sin_family = AF_INET;
	sa.sin_port = htons(port);
	sa.sin_addr.s_addr = htonl(INADDR_LOOPBACK);
	g->listener = socket(AF_INET, SOCK_STREAM | SOCK_CLOEXEC |
	    SOCK_NONBLOCK, 0);
	if (g->listener < 0)
		return (errno);
	/* The last session's connection may linger in TIME_WAIT. */
	(void)setsockopt(g->listener, SOL_SOCKET, SO_REUSEADDR, &one,
	    sizeof one);
	if (bind(g->listener, (struct sockaddr *)&sa, sizeof sa) == 0 &&
	    listen(g->listener, 1) == 0 &&
	    getsockname(g->listener, (struct sockaddr *)&sa, &len) == 0) {
		g->port = ntohs(sa.sin_port);
		return (0);
	}
	e = errno;
	shut(&g->listener);
	return (e);
}

/*--------------------------------------------------------------------
 * Bytes
 */

/* True when fd is ready before `until`, and before the program is to end. */
static bool
ready(const struct tkc_gdb *g, int fd, short events, uint64_t until)
{
	struct pollfd p = { fd, events, 0 };
	uint64_t now;
	int ms, n;

	for (;;) {
		now = tkc_now();
		if (now >= until || (g->stopped != NULL &&
		    g->stopped(g->stopped_priv)))
			return (false);
		ms = LOOK_MS;
		if ((until - now) / 1000000 < LOOK_MS)
			ms = (int)((until - now) / 1000000) + 1;
		n = poll(&p, 1, ms);
		if (n > 0)
			return (true);
		/* The watchdog's kicks come here, too. */
		if (n < 0 && errno != EINTR)
			return (false);
	}
}

static bool
send_all(struct tkc_gdb *g, const char *data, size_t len)
{
	uint64_t until = tkc_now() + SEND_NS;
	ssize_t n;

	while (len > 0 && g->fd >= 0) {
		n = send(g->fd, data, len, MSG_NOSIGNAL | MSG_DONTWAIT);
		if (n > 0) {
			data += n;
			len -= (size_t)n;
		} else if (n == 0 || (errno != EAGAIN && errno != EINTR) ||
		    !ready(g, g->fd, POLLOUT, until))
			shut(&g->fd);
	}
	return (g->fd >= 0);
}

static bool
send_reply(struct tkc_gdb *g)
{
	char end[4];
	uint8_t sum = 0;
	size_t i;

	for (i = 0; i < g->reply.len; i++)
		sum = (uint8_t)(sum + (uint8_t)g->reply.data[i]);
	(void)snprintf(end, sizeof end, "#%02x", sum);
	return (send_all(g, "$", 1) &&
	    send_all(g, g->reply.data, g->reply.len) && send_all(g, end, 3));
}

/* More bytes, if there are any before `until`. False: there is no peer. */
static bool
fill(struct tkc_gdb *g, uint64_t until)
{
	ssize_t n;

	if (g->fd < 0)
		return (false);
	g->raw_at = g->raw_len = 0;
	for (;;) {
		n = recv(g->fd, g->raw, sizeof g->raw, MSG_DONTWAIT);
		if (n > 0) {
			g->raw_len = (size_t)n;
			return (true);
		}
		if (n < 0 && errno == EINTR)
			continue;
		if (n < 0 && errno == EAGAIN && until == 0)
			return (true);
		if (n == 0 || errno != EAGAIN ||
		    !ready(g, g->fd, POLLIN, until)) {
			shut(&g->fd);
			return (false);
		}
	}
}

/* The next packet. False: the peer is gone, late, or talks nonsense. */
static bool
receive(struct tkc_gdb *g, uint64_t until)
{
	bool sent = true;

	while (sent) {
		if (g->raw_at == g->raw_len && !fill(g, until))
			return (false);
		if (++g->garbage > MAX_GARBAGE)
			break;
		switch (tkc_gdb_feed(&g->parser, g->raw[g->raw_at++])) {
		case TKC_GDB_COMMAND:
			g->garbage = 0;
			return (g->no_ack || send_all(g, "+", 1));
		case TKC_GDB_BAD:
			sent = g->no_ack || send_all(g, "-", 1);
			break;
		case TKC_GDB_AGAIN:
			sent = g->no_ack || g->reply.len == 0 || send_reply(g);
			/* It cannot make us repeat ourselves for ever. */
			g->garbage += TKC_GDB_PACKET;
			break;
		case TKC_GDB_INTERRUPT:
		case TKC_GDB_NONE:
			break;
		}
	}
	shut(&g->fd);
	return (false);
}

/*--------------------------------------------------------------------
 * Stops
 */

static void
new_peer(struct tkc_gdb *g, int fd)
{
	int one = 1;

	g->fd = fd;
	(void)setsockopt(fd, IPPROTO_TCP, TCP_NODELAY, &one, sizeof one);
	memset(&g->parser, 0, sizeof g->parser);
	g->raw_at = g->raw_len = g->garbage = 0;
	g->reply.len = 0;
	g->no_ack = g->swbreak = false;
}

bool
tkc_gdb_accept(struct tkc_gdb *g, double seconds)
{
	uint64_t now, until = tkc_now() + (uint64_t)(seconds * (double)TKC_NS);
	int fd;

	TK_CHECK_OBJ(g, TKC_GDB_MAGIC);
	while (g->fd < 0 && ready(g, g->listener, POLLIN, until)) {
		fd = accept4(g->listener, NULL, NULL, SOCK_CLOEXEC |
		    SOCK_NONBLOCK);
		if (fd < 0) {
			if (errno == EAGAIN || errno == EINTR ||
			    errno == ECONNABORTED)
				continue;
			break;
		}
		new_peer(g, fd);
		now = tkc_now();
		/* Its first packet is kept for tkc_gdb_serve(). */
		(void)receive(g, now + HELLO_NS < until ? now + HELLO_NS :
		    until);
	}
	shut(&g->listener);
	return (g->fd >= 0);
}

/* True when the guest is to go on. */
static bool
answer(struct tkc_gdb *g)
{
	bool going = tkc_gdb_command(g);

	/* What resumes the guest is answered by the next stop. */
	if ((!going || g->reply.len > 0) && !send_reply(g)) {
		g->go = TK_DEBUG_DETACH;
		return (true);
	}
	return (going);
}

enum tk_debug_go
tkc_gdb_serve(struct tkc_gdb *g, const struct tk_debug_stop *s)
{
	bool first = g->stop.thread == 0;

	TK_CHECK_OBJ(g, TKC_GDB_MAGIC);
	g->stop = *s;
	g->thread = s->thread;
	g->reply.len = 0;
	if (first) {
		if (answer(g))
			return (g->go);
	} else {
		tkc_gdb_say_stop(g);
		(void)send_reply(g);
	}
	while (receive(g, FOREVER))
		if (answer(g))
			return (g->go);
	return (TK_DEBUG_DETACH);
}

enum tk_debug_poll
tkc_gdb_poll(struct tkc_gdb *g)
{

	TK_CHECK_OBJ(g, TKC_GDB_MAGIC);
	if (g->raw_at == g->raw_len && !fill(g, 0))
		return (TK_DEBUG_GONE);
	/* While the guest runs there is nothing else to say. */
	while (g->raw_at < g->raw_len)
		if (tkc_gdb_feed(&g->parser, g->raw[g->raw_at++]) ==
		    TKC_GDB_INTERRUPT)
			return (TK_DEBUG_INTERRUPT);
	return (TK_DEBUG_NOTHING);
}

void
tkc_gdb_close(struct tkc_gdb *g, enum tk_debug_end how)
{

	TK_CHECK_OBJ(g, TKC_GDB_MAGIC);
	g->reply.len = 0;
	if (how == TK_DEBUG_DONE)
		tkc_gdb_say(&g->reply, "W00");
	else if (how == TK_DEBUG_ENDED)
		tkc_gdb_say(&g->reply, "X%02x",
		    (unsigned)tkc_gdb_signal(g->stop.signal));
	if (g->reply.len > 0 && !g->killed && g->fd >= 0)
		(void)send_reply(g);
	shut(&g->fd);
	shut(&g->listener);
}
