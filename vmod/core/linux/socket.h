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

/* Does some socket listen? */
bool tk_files_listening(const struct tk_machine *);

/*
 * Queues a connection: the next accept() takes it. Not before the fork's call
 * would see it, that is between tk_reset() and tk_call(), or in a host call.
 * 0, ECONNREFUSED when nobody listens there, EAGAIN when TK_MAX_INCOMING wait.
 */
int tk_files_connect(struct tk_machine *, struct tk_connection *);

/* The socket with this descriptor; *e: 0, -EBADF or -ENOTSOCK. */
struct tk_file *tk_socket_at(struct tk_machine *, uint64_t fd, int64_t *e);

/* Bytes that a read would give now. */
int64_t tk_socket_readable(const struct tk_machine *, const struct tk_file *);

#endif /* TK_SOCKET_H_INCLUDED */
