/*-
 * SPDX-License-Identifier: BSD-2-Clause
 */

#include <stdlib.h>
#include <string.h>

#include "debugging.h"
#include "gdb.h"
#include "object.h"

struct session {
	unsigned		magic;
#define SESSION_MAGIC		0x61be92f0
	struct tkc_instance	*instance;
	const char		*why;
	bool			connected;
	struct tkc_gdb		gdb;
};

void
tkc_debug_allow(struct tkc_instance *in, bool debug)
{
	const struct tkc_settings *s = &in->program->settings;

	in->debug = debug;
	if (debug && !s->allow_debug)
		tkc_logf(in->program, TKC_LOG_INFO, "started for debugging, "
		    "but breakpoints do nothing: \"allow_debug\" is not set");
	if (!s->allow_debug || s->filename == NULL)
		return;
	/* Of the debugger's command line; the settings may be replaced. */
	in->debugging.file = strdup(s->filename);
	if (in->debugging.file == NULL)
		return;
	in->debugging.breakpoints = debug;
	in->debugging.requests = debug && s->debug_requests;
	in->debugging.failures = s->remote_debug_on_exception;
	in->debugging.port = (uint16_t)s->debug_port;
	in->debugging.wait = s->debug_wait;
}

/*
 * The debugger's side of a stop. At the first one it is waited for; this is
 * where a request that nobody debugs loses its time.
 */
static enum tk_debug_go
on_stopped(struct tk_machine *m, struct tk_debug_stop *stop, void *priv)
{
	struct session *s = priv;
	struct tkc_instance *in = s->instance;
	const struct tkc_program *p = in->program;
	enum tk_debug_go go;
	int e;

	(void)m;
	TK_CHECK_OBJ(s, SESSION_MAGIC);
	if (!s->connected) {
		e = tkc_gdb_listen(&s->gdb, in->debugging.port);
		if (e != 0) {
			tkc_logf(p, TKC_LOG_ERROR, "%s, but no debugger can "
			    "come: 127.0.0.1:%u: %s", s->why,
			    in->debugging.port, strerror(e));
			return (TK_DEBUG_DETACH);
		}
		tkc_logf(p, TKC_LOG_INFO, "%s; waits %g s for a debugger: gdb "
		    "-ex \"target remote :%u\" %s", s->why,
		    in->debugging.wait, s->gdb.port, in->debugging.file);
		if (!tkc_gdb_accept(&s->gdb, in->debugging.wait)) {
			tkc_logf(p, TKC_LOG_INFO, "no debugger came: goes on");
			return (TK_DEBUG_DETACH);
		}
		tkc_logf(p, TKC_LOG_INFO, "a debugger is attached");
		s->connected = true;
	}
	go = tkc_gdb_serve(&s->gdb, stop);
	/* Who steps, as the debugger said. */
	stop->thread = s->gdb.stop.thread;
	return (go);
}

static enum tk_debug_poll
on_poll(struct tk_machine *m, void *priv)
{
	struct session *s = priv;

	(void)m;
	TK_CHECK_OBJ(s, SESSION_MAGIC);
	return (tkc_gdb_poll(&s->gdb));
}

static void
on_ended(struct tk_machine *m, enum tk_debug_end how, void *priv)
{
	struct session *s = priv;

	(void)m;
	TK_CHECK_OBJ(s, SESSION_MAGIC);
	tkc_gdb_close(&s->gdb, how);
	if (s->connected)
		tkc_logf(s->instance->program, TKC_LOG_INFO, "the debugger is "
		    "gone");
	s->instance->debugging.taken = false;
	TK_FREE_OBJ(s);
}

static const struct tk_debugger debugger = {
	.stopped = on_stopped,
	.poll = on_poll,
	.ended = on_ended,
};

static bool
on_session_stopped(void *priv)
{

	return (tkc_instance_stopped(priv));
}

/*
 * One at a time for a program: others go on, or a breakpoint would stop a site
 * one request after the other.
 */
static bool
attach(struct tk_machine *m, struct tkc_instance *in, const char *why)
{
	struct session *s;

	if (atomic_exchange(&in->debugging.taken, true)) {
		tkc_logf(in->program, TKC_LOG_INFO, "%s, but another one is "
		    "being debugged: goes on", why);
		return (false);
	}
	TK_ALLOC_OBJ(s, SESSION_MAGIC);
	if (s != NULL) {
		s->instance = in;
		s->why = why;
		s->gdb.magic = TKC_GDB_MAGIC;
		s->gdb.vm = m;
		s->gdb.stopped = on_session_stopped;
		s->gdb.stopped_priv = in;
		s->gdb.fd = s->gdb.listener = -1;
		if (tk_debug_attach(m, &debugger, s) == 0)
			return (true);
		TK_FREE_OBJ(s);
	}
	in->debugging.taken = false;
	tkc_logf(in->program, TKC_LOG_ERROR, "%s, but there is no memory for "
	    "a debugger", why);
	return (false);
}

enum tk_verdict
tkc_debug_breakpoint(struct tk_machine *m, struct tkc_instance *in)
{

	if (!tk_debug_attached(m) && (!in->debugging.breakpoints ||
	    !attach(m, in, "called breakpoint")))
		return (TK_RESUME);
	return (tk_debug_stop(m));
}

void
tkc_debug_failing(struct tk_machine *m, struct tkc_instance *in,
    const struct tk_error *err)
{

	if (!in->debugging.failures)
		return;
	tkc_log(in->program, TKC_LOG_INFO, err->text, strlen(err->text));
	(void)attach(m, in, "about to fail");
}

void
tkc_debug_request(struct tk_machine *m, struct tkc_instance *in)
{

	(void)attach(m, in, "a request begins");
}
