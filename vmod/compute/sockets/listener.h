/*-
 * SPDX-License-Identifier: BSD-2-Clause
 *
 * Listening sockets of the process. While a program is replaced, by a live
 * update or by another VCL, old and new want the same address: they share one
 * socket, and only the newest accepts from it, so that no client is turned away
 * in between.
 */

#ifndef TKC_LISTENER_H_INCLUDED
#define TKC_LISTENER_H_INCLUDED

#include <stdbool.h>

#include "endpoint.h"

/* One use of a socket. */
struct tkc_listener;

/*
 * The socket of that endpoint, opened unless somebody has it already; this use
 * of it is the one that accepts from now on. changed(priv) is called from any
 * thread when that may have changed; it must not call back. 0 or
 * TKC_ENVIRONMENT; what: the program, in errors.
 */
int tkc_listener_get(struct tkc_listener **, const char *what,
    const struct tkc_endpoint *, void (*changed)(void *priv), void *priv,
    struct tkc_error *);
void tkc_listener_put(struct tkc_listener **);

/* Non-blocking; valid until tkc_listener_put(). */
int tkc_listener_fd(const struct tkc_listener *);
/* Is it the one that accepts? */
bool tkc_listener_accepts(const struct tkc_listener *);
/* Where it listens, for people: "127.0.0.1:8081". */
const char *tkc_listener_name(const struct tkc_listener *);

#endif /* TKC_LISTENER_H_INCLUDED */
