/*-
 * SPDX-License-Identifier: BSD-2-Clause
 *
 * Programs, their instances and forks. Private to the compute layer.
 *
 *	program		lives as long as its registry; has settings
 *	instance	one boot of the program: the master and its handlers.
 *			Invalidated ones live on until their last fork is back.
 *	invocation	a fork, for as long as the fork lives; idle or serving
 *
 * One lock per program guards its state, its instance's list of idle forks,
 * and its counters. It is never held across a call into a guest, a boot, or
 * the making of a fork.
 */

#ifndef TKC_PROGRAM_H_INCLUDED
#define TKC_PROGRAM_H_INCLUDED

#include <pthread.h>
#include <stdatomic.h>

#include "compute.h"
#include "settings.h"
#include "tinykvm.h"

#define TKC_MAX_CTYPE	4096		/* the guest ABI: below */
#define TKC_MAX_HEADERS	64		/* of a response */
#define TKC_LOG_LINE	1024

/* Handler indexes of the guest ABI, register_func. */
enum tkc_handler {
	TKC_ON_GET = 1,
	TKC_ON_POST = 2,
	TKC_ON_METHOD = 3,
	TKC_ON_STREAM_POST = 4,
	TKC_ON_ERROR = 5,
	TKC_ON_SERIALISE = 6,
	TKC_ON_RESTORE = 7,
	TKC_ON_PREPARE_PAUSE = 12,
	TKC_HANDLERS = 16
};

enum tkc_state {
	TKC_DOWN,
	TKC_BOOTING,
	TKC_UP,
	TKC_FAILED		/* last_error says why; tried again later */
};

struct tkc_instance {
	unsigned		magic;
#define TKC_INSTANCE_MAGIC	0x14f3b0a9
	struct tkc_program	*program;
	struct tk_master	*master;
	tk_gva			handler[TKC_HANDLERS];
	bool			waits;		/* said that it is ready */
	bool			serves;		/* listens on a socket instead */
	tk_gva			paused;		/* requests go on behind */
						/* its wait, written to here */
	bool			debug;
	struct {
		bool		breakpoints, requests, failures;
		uint16_t	port;		/* 0: any */
		double		wait;		/* seconds */
		char		*file;		/* the executable */
		_Atomic bool	taken;		/* one of its VMs is debugged */
	}			debugging;
	bool			retired;
	unsigned		forks;		/* in existence */
	unsigned		busy;		/* of these, serving */
	struct tkc_invocation	*idle;		/* most recently used first */
	/* As they were when it booted. */
	double			request_time, memory, request_memory;
	unsigned		smp;
	/* A line of the program's output during boot, until it is full. */
	char			line[TKC_LOG_LINE];
	size_t			line_len;
};

struct tkc_program {
	unsigned		magic;
#define TKC_PROGRAM_MAGIC	0x5be107c4
	struct tkc_registry	*registry;
	char			*name;
	pthread_mutex_t		lock;
	pthread_cond_t		changed;	/* state, or a fork came back */
	json_t			*definition;	/* as given */
	struct tkc_settings	settings;
	enum tkc_state		state;
	bool			wanted;		/* was up: warm starts it */
	bool			debug;		/* was started so once */
	struct tkc_instance	*live;
	struct tkc_error	last_error;
	uint64_t		failed_at;	/* ns */
	struct tkc_counters	total;
	json_t			*unknown;	/* call name -> count */
	json_t			*refused;	/* what policy denied -> count */
	void			*slot;		/* the host's, for counters */
	struct tkc_program	*next;
};

struct tkc_registry {
	unsigned		magic;
#define TKC_REGISTRY_MAGIC	0x73d5e8b2
	struct tkc_host_interface iface;
	void			*host;
	pthread_mutex_t		lock;		/* list, groups, warm, booting */
	pthread_cond_t		idle;		/* no more boot threads */
	_Atomic bool		warm;
	unsigned		boot_threads;
	json_t			*groups;	/* name -> settings object */
	struct tkc_program	*programs;
};

struct tkc_invocation {
	unsigned		magic;
#define TKC_INVOCATION_MAGIC	0x2ac95f16
	struct tkc_instance	*instance;
	struct tk_machine	*vm;
	struct tkc_invocation	*next;

	/* The request. */
	const struct tkc_request *request;	/* during tkc_invoke() */
	uint64_t		body_len;
	bool			invoked;
	unsigned		exits;
	struct tkc_counters	count;		/* added to total at release */

	/* The response. */
	struct tkc_response	*response;	/* during tkc_invoke() */
	tk_gva			body;
	uint64_t		out_len;
	bool			answered;
	char			content_type[TKC_MAX_CTYPE];
	struct tkc_span		header[TKC_MAX_HEADERS];
	char			*header_text;	/* their copies */
	size_t			header_room;

	struct tkc_wire		*wire;		/* of one that serves */

	/* Fresh for every request, filled in bulk. */
	uint8_t			random[1024];
	size_t			random_left;

	/* Where the request's structures are put together. */
	char			*scratch;
	size_t			scratch_room;

	char			line[TKC_LOG_LINE];
	size_t			line_len;
	unsigned		working_set;	/* pages, as last counted */
};

/* To the host's log; text is no format. */
void tkc_log(const struct tkc_program *, int kind, const char *text,
    size_t len);
void tkc_logf(const struct tkc_program *, int kind, const char *fmt, ...)
    __attribute__((format(printf, 3, 4)));

/* program.c */
struct tkc_program *tkc_program_new(struct tkc_registry *, const char *name);
void tkc_program_free(struct tkc_program **);
/* Gives the instance up: freed when its last fork is back. Lock held. */
void tkc_program_unload(struct tkc_program *);
/*
 * Boots the program on this thread. State is TKC_BOOTING, set by the caller;
 * afterwards TKC_UP or TKC_FAILED.
 */
void tkc_program_boot(struct tkc_program *, int debug);
/* Frees a retired instance that has no more forks. Lock held, is given up. */
void tkc_instance_settle(struct tkc_instance *);
/* Tells the host the totals. Lock held. */
void tkc_program_publish(struct tkc_program *);
/* The program's file is there and an executable for this machine. */
int tkc_program_check(const struct tkc_program *, struct tkc_error *);
void tkc_program_unknown(struct tkc_program *, const char *call);
/* Policy denied the program something: logged once, counted. */
void tkc_program_refused(struct tkc_program *, const char *what);

/* pool.c */
int tkc_fork_new(struct tkc_instance *, struct tkc_invocation **,
    struct tkc_error *);
void tkc_fork_free(struct tkc_invocation **);

/* guest_api.c */
extern const struct tk_guest_ops tkc_guest_ops, tkc_traced_ops;
/* In a fork `priv` is its invocation, in a booting machine the instance. */

/* request.c: writes the request into the fork, and calls its handler. */
int tkc_request_call(struct tkc_invocation *, const struct tkc_request *,
    struct tkc_error *);
/* Calls the error handler, if there is one. True: it answered. */
bool tkc_request_error(struct tkc_invocation *, const struct tkc_request *,
    const char *what);

/* Core error to ours. */
int tkc_from_core(struct tkc_error *, const char *program,
    const struct tk_error *);

#define TKC_NS	1000000000ULL
uint64_t tkc_now(void);		/* CLOCK_MONOTONIC, ns */

#endif /* TKC_PROGRAM_H_INCLUDED */
