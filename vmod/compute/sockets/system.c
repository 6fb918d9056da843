/*-
 * SPDX-License-Identifier: BSD-2-Clause
 *
 * The thread of one system: clients in and out, batches of events.
 */

#include <errno.h>
#include <stdlib.h>
#include <string.h>
#include <sys/epoll.h>
#include <sys/eventfd.h>
#include <sys/socket.h>
#include <unistd.h>

#include "../clock.h"
#include "../guest_abi.h"
#include "object.h"
#include "system.h"
#include "websocket.h"

#define STACK		(512 * 1024)
#define N_READY		64		/* of one epoll_wait() */
#define SWEEP_MS	1000
#define HANDSHAKE	10.0		/* seconds, at most */
/* A machine whose handler fails is not tried again sooner. */
#define RETRY		0.1		/* seconds */
/* Of an event: a URL at most. */
#define MAX_TEXT	4096

/* RFC 6455, 7.4.1 */
#define NORMAL		1000
#define GOING_AWAY	1001
#define INTERNAL_ERROR	1011

/*--------------------------------------------------------------------
 * Lists of clients
 */

static void
make_ready(struct tkc_system *sy, struct tkc_client *c)
{

	if (c->ready)
		return;
	c->ready = true;
	TAILQ_INSERT_TAIL(&sy->ready, c, ready_list);
}

static void
not_ready(struct tkc_system *sy, struct tkc_client *c)
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

static void
close_client(struct tkc_system *sy, struct tkc_client *c, unsigned code)
{

	if (c->close_by != 0)
		return;
	let_go(sy, c);
	tkc_client_close(c, code);
	TAILQ_REMOVE(&sy->clients, c, list);
	TAILQ_INSERT_TAIL(&sy->closing, c, list);
	make_ready(sy, c);
}

static void
free_closed(struct tkc_system *sy, bool all)
{
	struct tkc_client *c, *next;

	for (c = TAILQ_FIRST(&sy->closing); c != NULL; c = next) {
		next = TAILQ_NEXT(c, list);
		if (!all && !tkc_client_done(c))
			continue;
		not_ready(sy, c);
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
	uint64_t now = tkc_now();

	for (c = TAILQ_FIRST(&sy->clients); c != NULL; c = next) {
		next = TAILQ_NEXT(c, list);
		most = c->told ? idle : HANDSHAKE;
		if (most == 0 || now < c->active_at +
		    (uint64_t)(most * (double)TKC_NS))
			continue;
		/* The program hears of the end of what it knows. */
		c->gone = true;
		make_ready(sy, c);
	}
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

static void
count(struct tkc_system *sy)
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
		close_client(sy, c, code);
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
	count(sy);
	if (tk_broken(sy->inv->vm))
		set_machine(sy, NULL);
}

/* Runs the machine until it waits for events again. */
static bool
run(struct tkc_system *sy, const struct tk_call *first, uint64_t n)
{
	const struct tkc_sockets *so = sy->sockets;
	const struct tkc_program *p = so->instance->program;
	struct tkc_invocation *inv = sy->inv;
	uint64_t start = tkc_now();
	struct tk_error core;
	struct tkc_error err;
	int e;

	sy->waits = false;
	inv->fetched = 0;
	e = first != NULL ? tk_call(inv->vm, first, &core) :
	    tk_continue(inv->vm, n, inv->seconds, &core);
	tkc_settle(inv, start);
	inv->count.invocations++;
	inv->count.exits += tk_exits(inv->vm) - sy->exits;
	sy->exits = tk_exits(inv->vm);
	if (e == 0) {
		/* Nothing else completes a call of such a machine. */
		tk_assert(sy->waits);
		return (true);
	}
	(void)tkc_from_core(&err, p->name, &core);
	tkc_failed(inv, &err);
	tkc_logf(p, TKC_LOG_ERROR, "%s at %s: its connections (%u) are closed: "
	    "%s", so->key, tkc_listener_name(so->listener), sy->n_clients,
	    core.text);
	sy->retry_at = tkc_after(RETRY);
	start_over(sy, INTERNAL_ERROR);
	return (false);
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
		count(sy);
}

/*--------------------------------------------------------------------
 * Events
 */

/* The batch that is put together. */
struct batch {
	struct guest_socket_event event[TKC_BATCH];
	unsigned		n, most;
	tk_gva			at;		/* in the input area */
	uint64_t		left;
};

static tk_gva
put(struct tkc_system *sy, struct batch *b, const void *data, size_t len)
{
	tk_gva at = b->at;
	/* The next one begins aligned, as malloc() would have it. */
	uint64_t took = (len + 1 + 15) & ~(uint64_t)15;

	tk_assert(took <= b->left);
	tk_assert(tk_write(sy->inv->vm, at, data, len));
	tk_assert(tk_write(sy->inv->vm, at + len, "", 1));
	b->at += took;
	b->left -= took;
	return (at);
}

static void
tell(struct tkc_system *sy, struct batch *b, const struct tkc_client *c,
    enum tkc_event what, const char *arg, const struct tkc_received *r)
{
	struct guest_socket_event *e = &b->event[b->n++];
	size_t len = strlen(arg);

	memset(e, 0, sizeof *e);
	e->fd = c->fd;
	e->event = what;
	e->remote = put(sy, b, c->remote, strlen(c->remote));
	e->arg = put(sy, b, arg, len < MAX_TEXT ? len : MAX_TEXT);
	if (r == NULL)
		return;
	e->data = put(sy, b, r->data, r->len);
	e->data_len = r->len;
	sy->inv->count.input_bytes += r->len;
}

/* For one more event, whatever it is. */
static bool
has_room(const struct tkc_system *sy, const struct batch *b)
{
	size_t most = sy->sockets->max_message;

	return (b->n < b->most && b->left >= 2 * MAX_TEXT +
	    (most > TKC_CLIENT_READ ? most : TKC_CLIENT_READ));
}

static enum tk_verdict
on_output(void *priv, const uint8_t *data, size_t len)
{
	struct tkc_client *c = priv;

	if (len == 0) {
		c->half_closed = true;
		make_ready(c->system, c);
	} else if (tkc_client_send(c, data, len, -1))
		c->system->inv->count.output_bytes += len;
	if (c->room == 0)
		c->was_full = true;
	return (TK_RESUME);
}

/* The program hears of the client: from now on it is its own to close. */
static void
greet(struct tkc_system *sy, struct batch *b, struct tkc_client *c)
{
	int fd;

	c->connection.keep_open = true;
	c->connection.output = on_output;
	c->connection.room = &c->room;
	c->connection.priv = c;
	fd = tk_connect(sy->inv->vm, &c->connection);
	if (fd < 0) {
		tkc_logf(sy->sockets->instance->program, TKC_LOG_ERROR,
		    "%s: a client is turned away: %s", sy->sockets->key,
		    strerror(-fd));
		close_client(sy, c, INTERNAL_ERROR);
		return;
	}
	tk_assert(fd < TKC_GUEST_FDS);
	c->fd = fd;
	sy->by_fd[fd] = c;
	c->told = true;
	tell(sy, b, c, TKC_EVENT_CONNECT, c->ws != NULL ?
	    tkc_websocket_url(c->ws) : "", NULL);
}

/* Of one that the program does not know yet. */
static bool
first_event(struct tkc_system *sy, struct batch *b, struct tkc_client *c)
{
	struct tkc_received none;

	if (c->ws != NULL && !tkc_websocket_is_open(c->ws))
		(void)tkc_client_receive(c, &none);
	if (c->ws == NULL || tkc_websocket_is_open(c->ws))
		greet(sy, b, c);
	else if (c->gone || c->dead)
		close_client(sy, c, GOING_AWAY);
	return (c->told);
}

/* False: there is none, now. */
static bool
next_event(struct tkc_system *sy, struct batch *b, struct tkc_client *c,
    bool *has_read)
{
	struct tkc_received r;

	if (!c->told)
		return (first_event(sy, b, c));
	if (!*has_read && tkc_client_receive(c, &r)) {
		/* Who reads may answer: the order that programs know. */
		*has_read = c->writable = true;
		tell(sy, b, c, TKC_EVENT_READ, r.kind, &r);
		return (true);
	}
	if (c->writable && c->room > 0) {
		c->writable = false;
		tell(sy, b, c, TKC_EVENT_WRITABLE, "", NULL);
		return (true);
	}
	if ((c->gone || c->dead) && !*has_read) {
		tell(sy, b, c, TKC_EVENT_DISCONNECT, "", NULL);
		sy->leaving[sy->n_leaving++] = c;
	}
	return (false);
}

/* What the program did to the client, and what the client did. */
static void
attend(struct tkc_system *sy, struct batch *b, struct tkc_client *c)
{
	bool has_read = false;

	not_ready(sy, c);
	if (c->half_closed && c->fd >= 0 &&
	    !tk_connected(sy->inv->vm, c->fd, &c->connection))
		close_client(sy, c, NORMAL);
	tkc_client_flush(c);
	if (c->close_by != 0) {
		tkc_client_drain(c);
		not_ready(sy, c);
		return;
	}
	while (has_room(sy, b))
		if (!next_event(sy, b, c, &has_read)) {
			/* One read a batch, so that all have their turn. */
			if (has_read)
				make_ready(sy, c);
			return;
		}
	make_ready(sy, c);
}

/* A batch for all that are ready: one entry, if there is anything to tell. */
static void
turn(struct tkc_system *sy)
{
	struct tkc_client *c, *last = TAILQ_LAST(&sy->ready, tkc_clients);
	struct batch b;
	unsigned i;
	bool good;

	b.n = 0;
	b.most = sy->n_events < TKC_BATCH ? (unsigned)sy->n_events : TKC_BATCH;
	b.at = tk_input_area(sy->inv->vm, &b.left);
	/* Those that become ready meanwhile wait for the next batch. */
	while (has_room(sy, &b) && (c = TAILQ_FIRST(&sy->ready)) != NULL) {
		attend(sy, &b, c);
		if (c == last)
			break;
	}
	if (b.n == 0)
		return;
	sy->used = true;
	sy->told += b.n;
	good = tk_write(sy->inv->vm, sy->events, b.event,
	    b.n * sizeof b.event[0]);
	if (!good)
		/* It was its memory when it began to wait: kept so by nobody. */
		tkc_logf(sy->sockets->instance->program, TKC_LOG_ERROR,
		    "%s: the array of events at 0x%llx is not the program's "
		    "memory any more", sy->sockets->key,
		    (unsigned long long)sy->events);
	if (!good) {
		sy->retry_at = tkc_after(RETRY);
		start_over(sy, INTERNAL_ERROR);
		return;
	}
	if (!run(sy, NULL, b.n))
		return;
	for (i = 0; i < sy->n_leaving; i++)
		close_client(sy, sy->leaving[i], NORMAL);
	sy->n_leaving = 0;
	count(sy);
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
	    tkc_listener_accepts(so->listener) &&
	    sy->n_clients < so->endpoint.max_connections;

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
	make_ready(sy, c);
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
		if (s < 0)
			return;
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
	make_ready(sy, c);
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
			turn(sy);
		now = tkc_now();
		if (now - swept >= SWEEP_MS * 1000000ULL) {
			sweep(sy);
			swept = now;
		}
		free_closed(sy, false);
		if (sy->n_clients != sy->n_counted)
			count(sy);
		/* Nothing of those who were here is left for the next. */
		if (sy->n_clients == 0 && sy->used &&
		    sy->sockets->instance->ephemeral)
			start_over(sy, NORMAL);
	}
}

/* What is left goes out, as far as the sockets take it at once. */
static void
say_goodbye(struct tkc_system *sy)
{

	adopt_given(sy);
	/* Some may have been given while there was no machine for them. */
	close_clients(sy, GOING_AWAY);
	if (sy->inv != NULL) {
		start_over(sy, GOING_AWAY);
		set_machine(sy, NULL);
	}
	free_closed(sy, true);
	count(sy);
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
tkc_system_interrupt(struct tkc_system *sy)
{

	(void)pthread_mutex_lock(&sy->lock);
	if (sy->inv != NULL)
		tk_set_seconds_left(sy->inv->vm, 0);
	(void)pthread_mutex_unlock(&sy->lock);
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
