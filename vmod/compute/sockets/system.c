/*-
 * SPDX-License-Identifier: BSD-2-Clause
 *
 * The thread of one system: its machine, and clients that come and go.
 */

#include <errno.h>
#include <stdlib.h>
#include <string.h>
#include <sys/epoll.h>
#include <sys/eventfd.h>
#include <sys/socket.h>
#include <unistd.h>

#include "../clock.h"
#include "../fetch.h"
#include "object.h"
#include "system.h"

#define STACK		(512 * 1024)
#define N_READY		64		/* of one epoll_wait() */
#define SWEEP_MS	1000
#define HANDSHAKE	10.0		/* seconds, at most */
/* A machine whose handler fails is not tried again sooner. */
#define RETRY		0.1		/* seconds */

/*--------------------------------------------------------------------
 * Lists of clients
 */

void
tkc_system_ready(struct tkc_system *sy, struct tkc_client *c)
{

	if (c->ready)
		return;
	c->ready = true;
	TAILQ_INSERT_TAIL(&sy->ready, c, ready_list);
}

void
tkc_system_unready(struct tkc_system *sy, struct tkc_client *c)
{

	if (c->ready)
		TAILQ_REMOVE(&sy->ready, c, ready_list);
	c->ready = false;
}

/* Nothing in the machine is the client's any more. */
static void
let_go(struct tkc_system *sy, struct tkc_client *c)
{

	if (c->fd < 0)
		return;
	tk_disconnect(sy->inv->vm, c->fd, &c->connection);
	if (sy->by_fd[c->fd] == c)
		sy->by_fd[c->fd] = NULL;
	c->fd = -1;
}

void
tkc_system_close(struct tkc_system *sy, struct tkc_client *c, unsigned code)
{

	if (c->close_by != 0)
		return;
	let_go(sy, c);
	tkc_client_close(c, code);
	TAILQ_REMOVE(&sy->clients, c, list);
	TAILQ_INSERT_TAIL(&sy->closing, c, list);
	tkc_system_ready(sy, c);
}

static void
free_closed(struct tkc_system *sy, bool all)
{
	struct tkc_client *c, *next;

	for (c = TAILQ_FIRST(&sy->closing); c != NULL; c = next) {
		next = TAILQ_NEXT(c, list);
		if (!all && !tkc_client_done(c))
			continue;
		tkc_system_unready(sy, c);
		TAILQ_REMOVE(&sy->closing, c, list);
		sy->n_clients--;
		tkc_client_free(&c);
	}
}

/* Who has been silent for too long goes. */
static void
sweep(struct tkc_system *sy)
{
	double idle = sy->sockets->endpoint.idle_timeout, most;
	struct tkc_client *c, *next;
	uint64_t now = tkc_now(), since;

	for (c = TAILQ_FIRST(&sy->clients); c != NULL; c = next) {
		next = TAILQ_NEXT(c, list);
		/* Byte by byte is no handshake. */
		since = c->told ? c->active_at : c->came_at;
		most = c->told ? idle : HANDSHAKE;
		if (most == 0 || now < since +
		    (uint64_t)(most * (double)TKC_NS))
			continue;
		/* The program hears of the end of what it knows. */
		c->gone = true;
		tkc_system_ready(sy, c);
	}
}

static struct tkc_client *
who_holds_most(const struct tkc_clients *list, struct tkc_client *most)
{
	struct tkc_client *c;

	TAILQ_FOREACH(c, list, list)
		if (most == NULL || c->holds > most->holds)
			most = c;
	return (most);
}

/*
 * What clients have sent in part, or do not read, has an end for all of them
 * together: those who hold most go.
 */
static void
limit_held(struct tkc_system *sy)
{
	const struct tkc_sockets *so = sy->sockets;
	struct tkc_client *c;
	unsigned n = 0;

	for (; sy->held > so->max_held; n++) {
		c = who_holds_most(&sy->closing,
		    who_holds_most(&sy->clients, NULL));
		tk_assert(c != NULL && c->holds > 0);
		/* At once: the program may take its time to hear of it. */
		tkc_client_empty(c);
		tkc_system_ready(sy, c);
	}
	if (n > 0)
		tkc_logf(so->instance->program, TKC_LOG_ERROR, "%s: closed for "
		    "%u clients, which had most of it: what clients sent in "
		    "part, or did not read, was more than %zu MiB together: "
		    "max_request_memory, at least 4", so->key, n, so->max_held >> 20);
}

struct tkc_client *
tkc_system_client(struct tkc_system *sy, int fd)
{
	struct tkc_client *c;

	if (fd < 0 || fd >= TKC_GUEST_FDS)
		return (NULL);
	c = sy->by_fd[fd];
	return (c != NULL && tk_connected(sy->inv->vm, fd, &c->connection) ?
	    c : NULL);
}

/*--------------------------------------------------------------------
 * The machine
 */

void
tkc_system_count(struct tkc_system *sy)
{
	struct tkc_program *p = sy->sockets->instance->program;
	unsigned now = sy->n_clients;

	(void)pthread_mutex_lock(&p->lock);
	if (sy->inv != NULL) {
		tkc_counters_add(&p->total, &sy->inv->count);
		memset(&sy->inv->count, 0, sizeof sy->inv->count);
	}
	p->total.socket_clients += sy->came;
	p->total.socket_events += sy->told;
	p->total.sockets_open += now;
	p->total.sockets_open -= sy->n_counted;
	tkc_program_publish(p);
	(void)pthread_mutex_unlock(&p->lock);
	sy->n_counted = now;
	sy->came = sy->told = 0;
}

static void
set_machine(struct tkc_system *sy, struct tkc_invocation *inv)
{
	struct tkc_invocation *old;

	(void)pthread_mutex_lock(&sy->lock);
	old = sy->inv;
	sy->inv = inv;
	(void)pthread_mutex_unlock(&sy->lock);
	sy->exits = 0;
	if (old != NULL)
		tkc_invocation_free(&old);
	if (inv == NULL)
		return;
	inv->system = sy;
	inv->request = &sy->request;
}

static void
close_clients(struct tkc_system *sy, unsigned code)
{
	struct tkc_client *c;

	while ((c = TAILQ_FIRST(&sy->clients)) != NULL)
		tkc_system_close(sy, c, code);
}

/* As the master again; all clients are closed. */
static void
start_over(struct tkc_system *sy, unsigned code)
{

	close_clients(sy, code);
	sy->prepared = sy->used = false;
	sy->n_leaving = 0;
	sy->inv->failure.reason = 0;
	tkc_invocation_reset(sy->inv, NULL);
	sy->exits = 0;
	tkc_system_count(sy);
	if (tk_broken(sy->inv->vm))
		set_machine(sy, NULL);
}

void
tkc_system_fail(struct tkc_system *sy, const struct tk_error *core)
{
	const struct tkc_sockets *so = sy->sockets;
	const struct tkc_program *p = so->instance->program;
	struct tkc_error err;

	(void)tkc_from_core(&err, p->name, core);
	tkc_failed(sy->inv, &err);
	tkc_logf(p, TKC_LOG_ERROR, "%s at %s: its connections (%u) are closed: "
	    "%s", so->key, tkc_listener_name(so->listener), sy->n_clients,
	    core->text);
	sy->retry_at = tkc_after(RETRY);
	start_over(sy, TKC_WS_INTERNAL_ERROR);
}

/* Runs the machine until it waits for events again, or has failed. */
static bool
run(struct tkc_system *sy, const struct tk_call *first, uint64_t n)
{
	struct tkc_invocation *inv = sy->inv;
	uint64_t start = tkc_now();
	struct tk_error core;
	int e;

	sy->waits = false;
	inv->fetched = 0;
	e = first != NULL ? tk_call(inv->vm, first, &core) :
	    tk_continue(inv->vm, n, inv->seconds, &core);
	tkc_settle(inv, start);
	if (inv->fetcher != NULL)
		tkc_fetcher_rest(inv->fetcher);
	inv->count.invocations++;
	inv->count.exits += tk_exits(inv->vm) - sy->exits;
	sy->exits = tk_exits(inv->vm);
	if (e == 0) {
		/* Nothing else completes a call of such a machine. */
		tk_assert(sy->waits);
		return (true);
	}
	tkc_system_fail(sy, &core);
	return (false);
}

bool
tkc_system_run(struct tkc_system *sy, unsigned n)
{

	return (run(sy, NULL, n));
}

/* A machine whose handler waits for its first event. */
static void
prepare(struct tkc_system *sy)
{
	struct tkc_instance *in = sy->sockets->instance;
	struct tkc_invocation *inv;
	struct tkc_error err;
	struct tk_call call;

	if (sy->prepared || sy->sockets->stop || tkc_now() < sy->retry_at)
		return;
	if (sy->inv == NULL) {
		if (tkc_fork_new(in, &inv, &err) != 0) {
			tkc_log(in->program, TKC_LOG_ERROR, err.text,
			    strlen(err.text));
			sy->retry_at = tkc_after(RETRY);
			return;
		}
		set_machine(sy, inv);
	}
	memset(&call, 0, sizeof call);
	call.function = in->handler[TKC_ON_PREPARE_PAUSE];
	call.args[0] = sy->number;
	call.seconds = sy->inv->seconds;
	sy->prepared = run(sy, &call, 0);
	if (sy->prepared)
		tkc_system_count(sy);
}

/*--------------------------------------------------------------------
 * The thread
 */

static void
listen_for_clients(struct tkc_system *sy)
{
	struct tkc_sockets *so = sy->sockets;
	struct epoll_event ev = { .events = EPOLLIN | EPOLLEXCLUSIVE,
	    .data.ptr = so };
	bool want = sy->prepared && !so->stop &&
	    (sy->deaf_until == 0 || tkc_now() >= sy->deaf_until) &&
	    tkc_listener_accepts(so->listener) &&
	    sy->n_clients < so->endpoint.max_connections;

	if (want)
		sy->deaf_until = 0;
	if (want == sy->listening)
		return;
	(void)epoll_ctl(sy->epoll, want ? EPOLL_CTL_ADD : EPOLL_CTL_DEL,
	    tkc_listener_fd(so->listener), &ev);
	sy->listening = want;
}

static void
adopt(struct tkc_system *sy, int s)
{
	struct tkc_client *c = tkc_client_new(sy, s);

	if (c == NULL) {
		sy->n_clients--;
		return;
	}
	sy->came++;
	TAILQ_INSERT_TAIL(&sy->clients, c, list);
	tkc_system_ready(sy, c);
}

static void
adopt_given(struct tkc_system *sy)
{
	int s[TKC_GIVEN];
	unsigned i, n;

	(void)pthread_mutex_lock(&sy->lock);
	n = sy->n_given;
	memcpy(s, sy->given, n * sizeof s[0]);
	sy->n_given = 0;
	(void)pthread_mutex_unlock(&sy->lock);
	for (i = 0; i < n; i++)
		adopt(sy, s[i]);
}

/* Whoever accepts gives to whoever has the fewest: epoll has no turns. */
static void
accept_client(struct tkc_system *sy, int s)
{
	struct tkc_sockets *so = sy->sockets;
	struct tkc_system *to = sy, *other;
	bool given = false;
	unsigned i;

	for (i = 0; i < so->endpoint.systems; i++) {
		other = so->system[i];
		if (other->prepared && other->n_clients < to->n_clients)
			to = other;
	}
	to->n_clients++;
	if (to != sy) {
		(void)pthread_mutex_lock(&to->lock);
		given = to->n_given < TKC_GIVEN;
		if (given)
			to->given[to->n_given++] = s;
		(void)pthread_mutex_unlock(&to->lock);
		if (given) {
			tkc_system_wake(to);
			return;
		}
		to->n_clients--;
		sy->n_clients++;
	}
	adopt(sy, s);
}

static void
accept_clients(struct tkc_system *sy)
{
	struct tkc_sockets *so = sy->sockets;
	int s;

	while (sy->n_clients < so->endpoint.max_connections) {
		s = accept4(tkc_listener_fd(so->listener), NULL, NULL,
		    SOCK_CLOEXEC | SOCK_NONBLOCK);
		if (s < 0) {
			/* Epoll would tell of those who wait for ever. */
			if (errno == EMFILE || errno == ENFILE ||
			    errno == ENOMEM || errno == ENOBUFS)
				sy->deaf_until = tkc_after(RETRY);
			return;
		}
		accept_client(sy, s);
	}
}

static void
take(struct tkc_system *sy, const struct epoll_event *ev)
{
	struct tkc_client *c = ev->data.ptr;
	uint64_t n;

	if (ev->data.ptr == sy) {
		(void)!read(sy->wake, &n, sizeof n);
		adopt_given(sy);
		return;
	}
	if (ev->data.ptr == sy->sockets) {
		accept_clients(sy);
		return;
	}
	TK_CHECK_OBJ(c, TKC_CLIENT_MAGIC);
	if (ev->events & (EPOLLIN | EPOLLRDHUP | EPOLLHUP | EPOLLERR))
		c->may_read = true;
	tkc_system_ready(sy, c);
}

/* How long there is nothing to do, if nothing happens: ms. */
static int
patience(const struct tkc_system *sy)
{
	uint64_t now;

	if (sy->prepared)
		return (TAILQ_EMPTY(&sy->ready) ? SWEEP_MS : 0);
	now = tkc_now();
	return (now < sy->retry_at ?
	    (int)((sy->retry_at - now) / 1000000) + 1 : 0);
}

static void
loop(struct tkc_system *sy)
{
	struct epoll_event ev[N_READY];
	uint64_t swept = tkc_now(), now;
	int i, n;

	while (!sy->sockets->stop) {
		prepare(sy);
		listen_for_clients(sy);
		n = epoll_wait(sy->epoll, ev, N_READY, patience(sy));
		for (i = 0; i < n; i++)
			take(sy, &ev[i]);
		if (sy->prepared)
			tkc_events_turn(sy);
		limit_held(sy);
		now = tkc_now();
		if (now - swept >= SWEEP_MS * 1000000ULL) {
			sweep(sy);
			swept = now;
		}
		free_closed(sy, false);
		if (sy->n_clients != sy->n_counted)
			tkc_system_count(sy);
		/* Nothing of those who were here is left for the next. */
		if (sy->n_clients == 0 && sy->used &&
		    sy->sockets->instance->ephemeral)
			start_over(sy, TKC_WS_NORMAL);
	}
}

/* What is left goes out, as far as the sockets take it at once. */
static void
say_goodbye(struct tkc_system *sy)
{

	adopt_given(sy);
	/* Some may have been given while there was no machine for them. */
	close_clients(sy, TKC_WS_GOING_AWAY);
	if (sy->inv != NULL) {
		start_over(sy, TKC_WS_GOING_AWAY);
		set_machine(sy, NULL);
	}
	free_closed(sy, true);
	tkc_system_count(sy);
}

static void *
system_thread(void *priv)
{
	struct tkc_system *sy = priv;

	TK_CHECK_OBJ(sy, TKC_SYSTEM_MAGIC);
	loop(sy);
	say_goodbye(sy);
	sy->sockets->running--;
	return (NULL);
}

struct tkc_system *
tkc_system_new(struct tkc_sockets *so, unsigned number)
{
	struct epoll_event ev = { .events = EPOLLIN };
	struct tkc_system *sy;

	TK_ALLOC_OBJ(sy, TKC_SYSTEM_MAGIC);
	if (sy == NULL)
		return (NULL);
	sy->sockets = so;
	sy->number = number;
	sy->request.method = sy->request.url = sy->request.arg =
	    sy->request.content_type = "";
	TAILQ_INIT(&sy->clients);
	TAILQ_INIT(&sy->ready);
	TAILQ_INIT(&sy->closing);
	(void)pthread_mutex_init(&sy->lock, NULL);
	sy->epoll = epoll_create1(EPOLL_CLOEXEC);
	sy->wake = eventfd(0, EFD_CLOEXEC | EFD_NONBLOCK);
	ev.data.ptr = sy;
	if (sy->epoll < 0 || sy->wake < 0 ||
	    epoll_ctl(sy->epoll, EPOLL_CTL_ADD, sy->wake, &ev) != 0)
		tkc_system_free(&sy);
	return (sy);
}

int
tkc_system_start(struct tkc_system *sy)
{
	pthread_attr_t attr;
	int e;

	sy->sockets->running++;
	(void)pthread_attr_init(&attr);
	(void)pthread_attr_setstacksize(&attr, STACK);
	e = pthread_create(&sy->thread, &attr, system_thread, sy);
	(void)pthread_attr_destroy(&attr);
	sy->has_thread = e == 0;
	if (e != 0)
		sy->sockets->running--;
	return (e);
}

void
tkc_system_wake(struct tkc_system *sy)
{
	uint64_t one = 1;

	(void)!write(sy->wake, &one, sizeof one);
}

void
tkc_system_free(struct tkc_system **psy)
{
	struct tkc_system *sy;

	TK_TAKE_OBJ(sy, psy, TKC_SYSTEM_MAGIC);
	if (sy->has_thread)
		(void)pthread_join(sy->thread, NULL);
	/* Given by another when it had ended. */
	for (; sy->n_given > 0; sy->n_clients--)
		(void)close(sy->given[--sy->n_given]);
	tk_assert(sy->inv == NULL && sy->n_clients == 0);
	if (sy->epoll >= 0)
		(void)close(sy->epoll);
	if (sy->wake >= 0)
		(void)close(sy->wake);
	(void)pthread_mutex_destroy(&sy->lock);
	TK_FREE_OBJ(sy);
}
