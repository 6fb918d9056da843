/*-
 * SPDX-License-Identifier: BSD-2-Clause
 *
 * One client of a system: its socket, what it sent, and what it has yet to be
 * sent. Private to this directory; used by the system's thread alone.
 */

#ifndef TKC_CLIENT_H_INCLUDED
#define TKC_CLIENT_H_INCLUDED

#include <sys/queue.h>

#include "../program.h"

#define TKC_CLIENT_OUT	(256 * 1024)	/* bytes that wait to be sent */
#define TKC_CLIENT_READ	65536		/* bytes of one event */

struct tkc_system;
struct tkc_websocket;

/* Events of the guest API, in the order in which a client's are told. */
enum tkc_event {
	TKC_EVENT_CONNECT,
	TKC_EVENT_READ,
	TKC_EVENT_WRITABLE,
	TKC_EVENT_DISCONNECT
};

struct tkc_client {
	unsigned		magic;
#define TKC_CLIENT_MAGIC	0x7a90c2d5
	TAILQ_ENTRY(tkc_client)	list, ready_list;
	bool			ready;		/* in ready_list */
	struct tkc_system	*system;
	int			socket;
	int			fd;		/* the guest's; -1: none */
	struct tk_connection	connection;
	struct tkc_websocket	*ws;		/* NULL: plain TCP */
	char			remote[64];
	uint64_t		came_at, active_at;	/* ns */
	uint64_t		close_by;	/* ns; 0: it stays */
	bool			told;		/* of TKC_EVENT_CONNECT */
	bool			may_read;	/* its socket is readable */
	bool			writable;	/* that is to be told */
	bool			was_full;	/* a write was cut short */
	bool			gone;		/* no more of it is told */
	bool			eof;		/* it sends no more */
	bool			half_closed;	/* the guest sends no more */
	bool			shut;		/* and the client knows */
	bool			dead;		/* to be closed at once */
	bool			wants_out;	/* EPOLLOUT is asked for */
	/* What the socket did not take yet. */
	uint8_t			*out;
	size_t			out_at, out_len, out_size;
	size_t			room;		/* for more */
	size_t			holds;		/* bytes, in system->held */
};

/*
 * Takes over an accepted, non-blocking socket, which is closed if that fails:
 * NULL, out of memory or descriptors.
 */
struct tkc_client *tkc_client_new(struct tkc_system *, int socket);
/* Closes it. Nothing in a machine refers to it any more. */
void tkc_client_free(struct tkc_client **);

/* To the client as the guest wrote it. text: -1: as the client did. */
bool tkc_client_send(struct tkc_client *, const void *, size_t, int text);
/* To the socket as it is. False: the client is dead. */
bool tkc_client_put(struct tkc_client *, const void *, size_t);
/* The socket takes more. */
void tkc_client_flush(struct tkc_client *);

/* Something that the client sent. */
struct tkc_received {
	const void		*data;		/* until the next call */
	size_t			len;
	const char		*kind;	/* "", "text", "binary" */
};

/*
 * Bytes, at most TKC_CLIENT_READ, or one WebSocket message. False: there is
 * nothing to be told now.
 */
bool tkc_client_receive(struct tkc_client *, struct tkc_received *);
/* Nothing is kept of what it sent, or has yet to be sent; and it is dead. */
void tkc_client_empty(struct tkc_client *);
/* Reads and forgets, of one that is closed. */
void tkc_client_drain(struct tkc_client *);

/*
 * No more events: sends what is left, at most for some seconds, and closes.
 * code: of RFC 6455, 7.4.1, for a WebSocket client.
 */
void tkc_client_close(struct tkc_client *, unsigned code);
/* Nothing is left to do for it. */
bool tkc_client_done(const struct tkc_client *);

#endif /* TKC_CLIENT_H_INCLUDED */
