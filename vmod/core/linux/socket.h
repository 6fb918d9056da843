/*-
 * SPDX-License-Identifier: BSD-2-Clause
 *
 * Sockets that no network is behind. A program may listen, as an ordinary
 * server does; connections come from the embedder. A pair of sockets is two
 * streams. Nothing else can be had.
 */

#ifndef TK_SOCKET_H_INCLUDED
#define TK_SOCKET_H_INCLUDED

#include "descriptors.h"

/*
 * One connection to a listening program. It and what it points at are the
 * embedder's, and stay valid until the call has ended; after the reset nothing
 * refers to it.
 */
struct tk_connection {
	/* What the client has sent, in host memory. */
	const uint8_t		*in;
	size_t			in_len;
	/* More could follow: after `in` a read waits, instead of the end. */
	bool			keep_open;
	uint16_t		port;	/* of the listener; 0: the first */
	/*
	 * The guest wrote: a copy, at most TK_PIECE bytes. len 0: it has ended
	 * its side, told once. TK_DONE completes the call at once, TK_FAIL
	 * ends it as tk_fail() said.
	 */
	enum tk_verdict		(*output)(void *priv, const uint8_t *data,
				    size_t len);
	void			*priv;
};

/* Does some socket listen? */
bool tk_files_listening(const struct tk_machine *);

/*
 * Queues a connection: the next accept() takes it. Not before the fork's call
 * would see it, that is between tk_reset() and tk_call(), or in a host call.
 * 0, ECONNREFUSED when nobody listens there, EAGAIN when TK_MAX_INCOMING wait.
 */
int tk_files_connect(struct tk_machine *, struct tk_connection *);

/* Bytes that a read would give now. */
int64_t tk_socket_readable(const struct tk_machine *, const struct tk_file *);

#endif /* TK_SOCKET_H_INCLUDED */
