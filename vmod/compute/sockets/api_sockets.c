/*-
 * SPDX-License-Identifier: BSD-2-Clause
 *
 * The guest API of a machine that serves clients.
 */

#include <errno.h>
#include <stdlib.h>
#include <string.h>

#include "../api.h"
#include "../guest_abi.h"
#include "system.h"

#define MAX_WRITES	4096

enum tk_verdict
tkc_api_wait_for_events(struct tk_machine *m, struct tkc_invocation *inv)
{
	struct tkc_system *sy = inv->system;
	struct guest_socket_event none;

	sy->events = tk_arg(m, 0);
	sy->n_events = (uint32_t)tk_arg(m, 1);
	if (sy->n_events == 0)
		return (tk_fail(m, 0, "wait_for_socket_events_paused: no room "
		    "for an event"));
	memset(&none, 0, sizeof none);
	if (sy->n_events > TKC_BATCH)
		sy->n_events = TKC_BATCH;
	if (!tk_readable(m, sy->events, sy->n_events * sizeof none) ||
	    !tk_write(m, sy->events, &none, sizeof none))
		return (tk_fail(m, sy->events, "wait_for_socket_events_paused: "
		    "the array of %llu events at 0x%llx is not the program's "
		    "memory", (unsigned long long)sy->n_events,
		    (unsigned long long)sy->events));
	sy->waits = true;
	return (TK_DONE);
}

/* "text" or "binary"; anything else: as the client's messages are. */
static int
kind_of(struct tk_machine *m, tk_gva arg)
{
	char kind[7] = "";

	if (arg == 0 || !tk_read(m, kind, arg, 5))
		return (-1);
	if (memcmp(kind, "text", 5) == 0)
		return (1);
	if (tk_read(m, kind, arg, 7) && memcmp(kind, "binary", 7) == 0)
		return (0);
	return (-1);
}

/* All of a message, or as many bytes as there is room for. Bytes or -errno. */
static int
send_to(struct tk_machine *m, struct tkc_client *c,
    const struct guest_socket_event *e, const char *what)
{
	uint64_t len = e->data_len;
	char *copy;

	if (c->half_closed || c->dead)
		return (-EPIPE);
	if (c->ws == NULL && len > c->room)
		len = c->room;
	if (len > TKC_CLIENT_OUT)
		return (-EMSGSIZE);
	if (len > c->room || c->room == 0) {
		c->was_full = true;
		return (-EAGAIN);
	}
	copy = tkc_api_bytes(m, e->data, len, TKC_CLIENT_OUT, what);
	if (copy == NULL)
		return (-EFAULT);
	if (!tkc_client_send(c, copy, len, kind_of(m, e->arg)))
		len = 0;
	free(copy);
	if (len < e->data_len)
		c->was_full = true;
	return (c->dead ? -EPIPE : (int)len);
}

enum tk_verdict
tkc_api_sockets_write(struct tk_machine *m, struct tkc_invocation *inv)
{
	static const char what[] = "sys_sockets_write";
	tk_gva at = tk_arg(m, 0);
	uint64_t i, n = tk_arg(m, 1);
	struct guest_socket_event e;
	struct tkc_client *c;
	int r;

	if (n > MAX_WRITES)
		return (tk_fail(m, 0, "%s: %llu writes at once: at most %d",
		    what, (unsigned long long)n, MAX_WRITES));
	for (i = 0; i < n; i++, at += sizeof e) {
		if (!tk_read(m, &e, at, sizeof e))
			return (tk_fail(m, at, "%s: the element at 0x%llx is "
			    "not the program's memory", what,
			    (unsigned long long)at));
		c = tkc_system_client(inv->system, e.fd);
		r = c != NULL ? send_to(m, c, &e, what) : -EBADF;
		if (r == -EFAULT)
			return (TK_FAIL);
		if (r > 0)
			inv->count.output_bytes += (uint64_t)r;
		e.fd = r;
		if (!tk_write(m, at, &e.fd, sizeof e.fd))
			return (tk_fail(m, at, "%s: the element at 0x%llx "
			    "cannot be written", what,
			    (unsigned long long)at));
	}
	tk_set_result(m, n);
	return (TK_RESUME);
}
