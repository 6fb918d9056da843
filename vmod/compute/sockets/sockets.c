/*-
 * SPDX-License-Identifier: BSD-2-Clause
 */

#include <stdlib.h>
#include <string.h>
#include <unistd.h>

#include "../clock.h"
#include "object.h"
#include "system.h"

#define POLL_US		5000
/* Bytes of a message, at most, however much a request may write. */
#define MAX_MESSAGE	(1024 * 1024)
/* What clients of a machine may hold together: some large messages. */
#define MIN_HELD	(4 * 1024 * 1024)

static bool
copy_endpoint(struct tkc_endpoint *to, const struct tkc_endpoint *from)
{

	*to = *from;
	if (from->address != NULL)
		to->address = strdup(from->address);
	if (from->path != NULL)
		to->path = strdup(from->path);
	return ((from->address == NULL || to->address != NULL) &&
	    (from->path == NULL || to->path != NULL));
}

static void
wake_all(void *priv)
{
	struct tkc_sockets *so = priv;
	unsigned i;

	for (i = 0; so->system != NULL && i < so->endpoint.systems; i++)
		if (so->system[i] != NULL)
			tkc_system_wake(so->system[i]);
}

static int
start(struct tkc_instance *in, const struct tkc_endpoint *ep, const char *key,
    size_t max_message, struct tkc_error *err)
{
	struct tkc_sockets *so;
	unsigned i;
	int e;

	TK_ALLOC_OBJ(so, TKC_SOCKETS_MAGIC);
	if (so == NULL)
		return (tkc_fail(err, TKC_ENVIRONMENT, "Out of memory"));
	so->next = in->sockets;
	in->sockets = so;
	so->instance = in;
	so->key = key;
	so->max_message = max_message;
	so->max_held = (size_t)(in->request_memory * 1024 * 1024);
	if (so->max_held < MIN_HELD)
		so->max_held = MIN_HELD;
	so->system = calloc(ep->systems, sizeof *so->system);
	if (so->system == NULL || !copy_endpoint(&so->endpoint, ep))
		return (tkc_fail(err, TKC_ENVIRONMENT, "Out of memory"));
	for (i = 0; i < ep->systems; i++) {
		so->system[i] = tkc_system_new(so, i);
		if (so->system[i] == NULL)
			return (tkc_fail(err, TKC_ENVIRONMENT, "%s: no memory "
			    "or descriptors for \"%s\"", in->program->name,
			    key));
	}
	e = tkc_listener_get(&so->listener, in->program->name, &so->endpoint,
	    wake_all, so, err);
	if (e != 0)
		return (e);
	for (i = 0; i < ep->systems; i++) {
		e = tkc_system_start(so->system[i]);
		if (e != 0)
			return (tkc_fail(err, TKC_ENVIRONMENT, "%s: no thread "
			    "for \"%s\": %s", in->program->name, key,
			    strerror(e)));
	}
	tkc_logf(in->program, TKC_LOG_INFO, "%s: listens at %s", key,
	    tkc_listener_name(so->listener));
	return (0);
}

int
tkc_sockets_start(struct tkc_instance *in, struct tkc_error *err)
{
	const struct tkc_settings *s = &in->program->settings;
	uint64_t area;
	int e = 0;

	if (s->server.systems == 0 && s->websocket_server.systems == 0)
		return (0);
	if (in->handler[TKC_ON_PREPARE_PAUSE] == 0)
		return (tkc_fail(err, TKC_BOOT, "%s: \"%s\" is set, but the "
		    "program registered no handler for socket events "
		    "(set_socket_prepare_for_pause)", in->program->name,
		    s->server.systems != 0 ? "server" : "websocket_server"));
	area = (uint64_t)(in->request_memory * 1024 * 1024);
	if (s->server.systems != 0)
		e = start(in, &s->server, "server", 0, err);
	if (e == 0 && s->websocket_server.systems != 0)
		e = start(in, &s->websocket_server, "websocket_server",
		    area / 2 < MAX_MESSAGE ? area / 2 : MAX_MESSAGE, err);
	return (e);
}

void
tkc_sockets_stop(struct tkc_instance *in)
{
	struct tkc_sockets *so;

	for (so = in->sockets; so != NULL; so = so->next) {
		so->stop = true;
		wake_all(so);
	}
}

/*
 * Until its threads have ended: guests that take longer are ended by
 * tkc_instance_stopped().
 */
static void
wait_for_end(const struct tkc_sockets *so)
{

	while (so->running > 0)
		(void)usleep(POLL_US);
}

void
tkc_sockets_free(struct tkc_instance *in)
{
	struct tkc_sockets *so;
	unsigned i;

	tkc_sockets_stop(in);
	while ((so = in->sockets) != NULL) {
		TK_CHECK_OBJ(so, TKC_SOCKETS_MAGIC);
		in->sockets = so->next;
		wait_for_end(so);
		/* From now on nobody wakes them. */
		if (so->listener != NULL)
			tkc_listener_put(&so->listener);
		for (i = 0; so->system != NULL && i < so->endpoint.systems;
		    i++)
			if (so->system[i] != NULL)
				tkc_system_free(&so->system[i]);
		free(so->system);
		tkc_endpoint_fini(&so->endpoint);
		TK_FREE_OBJ(so);
	}
}
