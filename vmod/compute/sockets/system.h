/*-
 * SPDX-License-Identifier: BSD-2-Clause
 *
 * One system: thread, machine, clients. Private to this directory.
 */

#ifndef TKC_SYSTEM_H_INCLUDED
#define TKC_SYSTEM_H_INCLUDED

#include "client.h"
#include "listener.h"
#include "sockets.h"

#define TKC_BATCH	64		/* events told at once */
#define TKC_GUEST_FDS	1024		/* as RLIMIT_NOFILE tells guests */
#define TKC_GIVEN	64

TAILQ_HEAD(tkc_clients, tkc_client);

struct tkc_system {
	unsigned		magic;
#define TKC_SYSTEM_MAGIC	0x2b6fe094
	struct tkc_sockets	*sockets;
	unsigned		number;		/* from 0 */
	pthread_t		thread;
	bool			has_thread;
	int			epoll;
	int			wake;		/* eventfd: look around */

	/*
	 * The machine; NULL: one has to be made. The thread's own, but for
	 * who ends its call: the lock is held where the pointer changes.
	 */
	pthread_mutex_t		lock;
	struct tkc_invocation	*inv;
	unsigned		exits;		/* of it, counted */
	/* Sockets that another system accepted for this one. Lock. */
	int			given[TKC_GIVEN];
	unsigned		n_given;
	struct tkc_request	request;	/* an empty one */
	_Atomic bool		prepared;	/* its handler waits */
	bool			used;		/* it was told something */
	uint64_t		retry_at;	/* ns; not prepared sooner */
	uint64_t		deaf_until;	/* ns; does not accept sooner */
	/* Where the handler waits: its array of events, so many. */
	bool			waits;
	tk_gva			events;
	uint64_t		n_events;

	bool			listening;	/* in the epoll set */
	struct tkc_clients	clients, ready, closing;
	_Atomic unsigned	n_clients;	/* both lists, and given */
	size_t			held;		/* bytes, by all of them */
	struct tkc_client	*by_fd[TKC_GUEST_FDS];
	/* Told of their end in this batch. */
	struct tkc_client	*leaving[TKC_BATCH];
	unsigned		n_leaving;
	/* Not yet counted for the program. */
	unsigned		came, told, n_counted;
	/* What was read last. */
	uint8_t			buffer[TKC_CLIENT_READ];
};

/* The two servers' common part. */
struct tkc_sockets {
	unsigned		magic;
#define TKC_SOCKETS_MAGIC	0x95c3e71a
	struct tkc_instance	*instance;
	const char		*key;		/* of the setting */
	struct tkc_endpoint	endpoint;	/* its own copy */
	size_t			max_message;	/* bytes; 0: plain TCP */
	size_t			max_held;	/* bytes, of a system */
	struct tkc_listener	*listener;
	_Atomic bool		stop;
	_Atomic unsigned	running;	/* threads */
	struct tkc_system	**system;	/* endpoint.systems of them */
	struct tkc_sockets	*next;
};

/* RFC 6455, 7.4.1; of TCP clients nobody is told. */
#define TKC_WS_NORMAL		1000
#define TKC_WS_GOING_AWAY	1001
#define TKC_WS_INTERNAL_ERROR	1011

/* system.c: without its thread yet. NULL: out of memory or descriptors. */
struct tkc_system *tkc_system_new(struct tkc_sockets *, unsigned number);
/* Its sockets listen. 0 or an errno. */
int tkc_system_start(struct tkc_system *);
/* It looks around: stop, or who accepts, may have changed. */
void tkc_system_wake(struct tkc_system *);
/* Its thread has ended, or ends. */
void tkc_system_free(struct tkc_system **);
/*
 * What follows is the thread's own.
 */

/* events.c: a batch for all that are ready, if there is anything to tell. */
void tkc_events_turn(struct tkc_system *);

/* system.c: there may be something to do for the client. */
void tkc_system_ready(struct tkc_system *, struct tkc_client *);
void tkc_system_unready(struct tkc_system *, struct tkc_client *);
/* Neither the machine nor the program knows it any more. */
void tkc_system_close(struct tkc_system *, struct tkc_client *, unsigned code);
/* So many events are told. False: it failed. */
bool tkc_system_run(struct tkc_system *, unsigned n);
/* What went wrong is told and counted, the machine reset, all clients closed. */
void tkc_system_fail(struct tkc_system *, const struct tk_error *);
void tkc_system_count(struct tkc_system *);
/* The client whose descriptor the guest names; NULL: none of those. */
struct tkc_client *tkc_system_client(struct tkc_system *, int fd);

#endif /* TKC_SYSTEM_H_INCLUDED */
