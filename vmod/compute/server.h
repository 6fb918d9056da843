/*-
 * SPDX-License-Identifier: BSD-2-Clause
 *
 * Programs that know nothing of the guest API and listen on a socket: a request
 * is one HTTP/1.1 connection, spoken inside the virtual machine.
 */

#ifndef TKC_SERVER_H_INCLUDED
#define TKC_SERVER_H_INCLUDED

#include "program.h"

/* A request's body, on its way to the connection. 0, or a reason. */
int tkc_server_body(struct tkc_invocation *, const void *, size_t,
    struct tkc_error *);

/* Runs the request and reads the answer. 0, or a reason. */
int tkc_server_call(struct tkc_invocation *, const struct tkc_request *,
    struct tkc_error *);

/* A piece of the answer's body; offset is below its length. */
struct tkc_span tkc_server_span(const struct tkc_invocation *, uint64_t offset);

/* After the response was used: large buffers are given back. */
void tkc_server_forget(struct tkc_invocation *);
void tkc_server_fini(struct tkc_invocation *);

#endif /* TKC_SERVER_H_INCLUDED */
