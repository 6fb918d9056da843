/*-
 * SPDX-License-Identifier: BSD-2-Clause
 *
 * The servers of a program, settings "server" and "websocket_server": clients
 * that do not come through Varnish's HTTP.
 *
 *	sockets		one of the two servers of an instance
 *	system		one of its threads, with an epoll set, a virtual machine
 *			of its own, and the clients that it accepted
 *
 * A system calls the program's handler number 12 once; the handler waits for
 * events in a loop (wait_for_socket_events_paused), and each batch of events is
 * one entry into the machine. All clients of a system share its memory; when
 * the last one has gone the machine is reset, if the program is ephemeral.
 * Whatever fails in the machine ends the connections of that system alone.
 */

#ifndef TKC_SOCKETS_H_INCLUDED
#define TKC_SOCKETS_H_INCLUDED

#include "../program.h"

/*
 * The instance serves from now on: opens its sockets and starts their threads.
 * 0, or a reason; then tkc_sockets_free() is still to be called.
 */
int tkc_sockets_start(struct tkc_instance *, struct tkc_error *);
/* They end soon. Locks may be held; any number of times. */
void tkc_sockets_stop(struct tkc_instance *);
/* Waits for that: at most a second, then the guest is ended. */
void tkc_sockets_free(struct tkc_instance *);

/* The host calls of a machine that serves clients. */
enum tk_verdict tkc_api_wait_for_events(struct tk_machine *,
    struct tkc_invocation *);
enum tk_verdict tkc_api_sockets_write(struct tk_machine *,
    struct tkc_invocation *);

#endif /* TKC_SOCKETS_H_INCLUDED */
