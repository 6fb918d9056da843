/*-
 * SPDX-License-Identifier: BSD-2-Clause
 *
 * The WebSocket protocol (RFC 6455), server side: the handshake, and messages
 * instead of bytes. Frames are libwslay's work. Private to this directory.
 */

#ifndef TKC_WEBSOCKET_H_INCLUDED
#define TKC_WEBSOCKET_H_INCLUDED

#include "client.h"

/* max_message: bytes of one. NULL: out of memory. */
struct tkc_websocket *tkc_websocket_new(struct tkc_client *,
    size_t max_message);
void tkc_websocket_free(struct tkc_websocket **);

/* Bytes from the client. False: close the connection; it was told why. */
bool tkc_websocket_feed(struct tkc_websocket *, const uint8_t *, size_t);
/* The handshake is over. */
bool tkc_websocket_is_open(const struct tkc_websocket *);
/* The URL that it asked for. */
const char *tkc_websocket_url(const struct tkc_websocket *);
/* There are whole messages. */
bool tkc_websocket_has_message(const struct tkc_websocket *);
/* The oldest one, valid until the next call or tkc_websocket_forget(). */
const void *tkc_websocket_next(struct tkc_websocket *, size_t *len,
    bool *text);
void tkc_websocket_forget(struct tkc_websocket *);
/* All that came, in part or whole, is forgotten. */
void tkc_websocket_empty(struct tkc_websocket *);
/* Bytes of memory, of messages that have come in part or whole. */
size_t tkc_websocket_holds(const struct tkc_websocket *);
/* text: -1: as the client's last message. False: out of memory. */
bool tkc_websocket_send(struct tkc_websocket *, const void *, size_t,
    int text);
/* Says good-bye, once. */
void tkc_websocket_close(struct tkc_websocket *, unsigned code);

#endif /* TKC_WEBSOCKET_H_INCLUDED */
