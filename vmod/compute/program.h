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

#include "clock.h"
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

struct tkc_sockets;
struct tkc_storage;
struct tkc_system;

struct tkc_instance {
	unsigned		magic;
#define TKC_INSTANCE_MAGIC	0x14f3b0a9
	struct tkc_program	*program;
	struct tk_master	*master;
	tk_gva			handler[TKC_HANDLERS];
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
	_Atomic bool		booting;	/* until it can serve */
	/*
	 * When its tasks and sockets, which are nobody's request, are ended: ns;
	 * a grace after nothing else is left of it.
	 */
	_Atomic uint64_t	end_at;
	bool			ephemeral;	/* reset after each request */
	bool			keeps_memory;	/* what it wrote stays mapped */
	unsigned		wanted;		/* forks */
	uint64_t		again_at;	/* ns; one is tried no sooner */
	unsigned		forks;		/* in existence */
	unsigned		busy;		/* of these, serving */
	struct tkc_invocation	*idle;		/* most recently used first */
	struct tkc_storage	*storage;	/* NULL: it has none */
	struct tkc_sockets	*sockets;	/* NULL: it has none */
	struct tkc_instance	*next_abandoned;
	/* As they were when it booted. */
	double			request_time, stream_time;
	double			memory, request_memory;
	double			kept_memory;	/* MiB after a reset; 0: any */
	/* Of a warm-up request, while it runs; and why they ended early. */
	struct tkc_invocation	*warming;
	bool			warmup_failed;
	uint64_t		boot_deadline;	/* ns */
	unsigned		smp;
	struct tkc_regexes	*regexes;	/* compiled while it booted */
	struct tkc_allow	*allowed_fetch;
	struct tkc_fetcher	*fetcher;	/* while it boots, if it does */
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
	pthread_cond_t		changed;	/* state, and what else is said */
	pthread_cond_t		returned;	/* a fork, or there is none */
						/* to wait for any more */
	/* As given; nobody else's. Registry's lock, too: others read it. */
	json_t			*definition;
	struct tkc_settings	settings;
	enum tkc_state		state;
	bool			wanted;		/* was up: warm starts it */
	bool			debug;		/* was started so once */
	bool			stale;		/* invalidated while it boots */
	struct tkc_instance	*live;
	/* Without forks that serve; freed by whoever boots or unloads next. */
	struct tkc_instance	*abandoned;
	unsigned		loud_storages;	/* retired, not at rest yet */
	/* A live update: under way, what it brought, how often it may be. */
	bool			updating;
	void			*image;		/* malloc()ed, or NULL */
	size_t			image_len;
	double			update_tokens;
	uint64_t		update_at;	/* ns, of the tokens */
	struct tkc_error	last_error;
	uint64_t		failed_at;	/* ns */
	unsigned		starving;	/* who wait for a fork long, */
						/* and were overtaken */
	_Atomic uint64_t	waiting;	/* bytes; see tkc_waiting_take() */
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
	pthread_cond_t		idle;		/* no more boot threads, and */
						/* what ends the watch */
	_Atomic bool		warm;
	bool			loaded;		/* and not warm since */
	bool			watched;	/* by this thread: */
	pthread_t		watch;
	unsigned		boot_threads;
	json_t			*groups;	/* name -> settings object */
	_Atomic(struct tkc_self *) self;	/* NULL: not known */
	struct tkc_program	*programs;
};

/* What the guest is asked to do: what it may answer with. */
enum tkc_turn {
	TKC_TURN_REQUEST,	/* a response */
	TKC_TURN_PIECE,		/* it got a piece of the body: a number */
	TKC_TURN_PULL		/* content, for the stream that it began */
};

/* The request's body on its way in; offsets into the input area. */
struct tkc_body_in {
	uint64_t		total;		/* bytes so far */
	uint64_t		fill;		/* the next byte goes here */
	uint64_t		piece;		/* what begins here is untold */
	bool			pieces;		/* the program takes pieces */
	bool			window;		/* the whole will not fit */
};

/* A response's body that the program makes bit by bit. */
struct tkc_stream {
	tk_gva			callback;	/* 0: it is there already */
	uint64_t		arg;
	uint64_t		stack_used;	/* kept for the callback */
	uint64_t		left;		/* bytes at inv->body */
	unsigned		depth;		/* tkc_fetch_depth() */
	uint64_t		took_ns;	/* its calls so far */
};

struct tkc_invocation {
	unsigned		magic;
#define TKC_INVOCATION_MAGIC	0x2ac95f16
	struct tkc_instance	*instance;
	struct tk_machine	*vm;
	struct tkc_invocation	*next;

	double			seconds;	/* limit of one call */
	enum tkc_turn		turn;

	/* The request. NULL until it begins, and after its end. */
	const struct tkc_request *request;
	bool			invoked;
	unsigned		exits;
	unsigned		exits_before;	/* a reset in its middle */
	struct tkc_error	failure;	/* reason 0: none */
	struct tkc_counters	count;		/* added to total at release */
	struct tkc_body_in	in;

	/* The response. */
	struct tkc_response	*response;	/* &answer */
	struct tkc_response	answer;
	tk_gva			body;		/* all, or the piece at hand */
	uint64_t		out_len, out_at;
	bool			answered;
	bool			on_wire;	/* the body is in wire */
	struct tkc_stream	stream;
	char			content_type[TKC_MAX_CTYPE];
	struct tkc_span		header[TKC_MAX_HEADERS];
	char			*header_text;	/* their copies */
	size_t			header_room;

	struct tkc_wire		*wire;		/* of one that serves */
	struct tkc_system	*system;	/* it serves: sockets/ */
	struct tkc_regexes	*regexes;	/* NULL until one is used */
	struct tkc_fetcher	*fetcher;	/* so, too */
	uint64_t		fetched;	/* bytes given to the guest */
	uint64_t		fetch_ns;	/* of the request */

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
void tkc_program_boot(struct tkc_program *);
/*
 * The instance serves no longer, and nobody waits: when nothing is left of it
 * but what it does by itself, that ends after a grace. Freed by whoever boots
 * or unloads next. Lock held.
 */
void tkc_program_end(struct tkc_program *);
/* As tkc_program_unload(), but on a thread that must not free anything. */
void tkc_program_abandon(struct tkc_program *);
/* The instance serves from now on. Lock held, given up meanwhile. */
void tkc_program_replace(struct tkc_program *, struct tkc_instance *);
/*
 * Wakes all who wait for something to become of it, those in the queue for a
 * fork as well. Lock held.
 */
void tkc_program_changed(struct tkc_program *);
/* Until it neither boots nor is being updated. Lock held. */
void tkc_program_wait(struct tkc_program *);
/*
 * Boots an instance that nobody knows yet, with its storage and forks; the
 * program's settings must not change meanwhile. Elf NULL: of the file. 0 or a
 * reason.
 */
int tkc_instance_new(struct tkc_instance **, struct tkc_program *,
    const void *elf, size_t len, int debug, struct tkc_error *);
void tkc_instance_free(struct tkc_instance **);
/*
 * One boot of the program, as type "request" or "storage". The caller fills in
 * priv, sizes and what is shared. state: of storage, its copy.
 */
int tkc_boot_master(struct tkc_instance *, const char *type, const void *elf,
    size_t len, struct tk_boot_options *, struct tk_given_file *state,
    struct tk_master **, struct tkc_error *);
/*
 * Has what it does by itself, or its boot, to end? From any thread, and without
 * a lock: machines ask all the time.
 */
bool tkc_instance_stopped(const struct tkc_instance *);
/* Frees a retired instance that has no more forks. Lock held, is given up. */
void tkc_instance_settle(struct tkc_instance *);
/* Tells the host the totals. Lock held. */
void tkc_program_publish(struct tkc_program *);
void tkc_program_unknown(struct tkc_program *, const char *call);
/* Policy denied the program something: logged once, counted. */
void tkc_program_refused(struct tkc_program *, const char *what);

/* pool.c */
int tkc_fork_new(struct tkc_instance *, struct tkc_invocation **,
    struct tkc_error *);
/* Without a machine; NULL: out of memory. */
struct tkc_invocation *tkc_invocation_new(struct tkc_instance *);
/* With its machine, if it has one. */
void tkc_invocation_free(struct tkc_invocation **);
/* Its machine as the master again. *cost may be NULL. */
void tkc_invocation_reset(struct tkc_invocation *, struct tkc_release_cost *);
void tkc_counters_add(struct tkc_counters *, const struct tkc_counters *);
/*
 * As tkc_reserve(), but waits for nothing, not even a boot: TKC_QUEUE unless a
 * fork is idle. Counts nothing then: who asks goes on to wait.
 */
int tkc_reserve_at_once(struct tkc_program *, struct tkc_invocation **,
    struct tkc_error *);

/* guest_api.c */
extern const struct tk_guest_ops tkc_guest_ops, tkc_traced_ops;
/* In a fork `priv` is its invocation, in a booting machine the instance. */

/* request.c: writes the request into the fork, and calls its handler. */
int tkc_request_call(struct tkc_invocation *, const struct tkc_request *,
    struct tkc_error *);
/* One piece of the body to the program's stream handler. 0, or a reason. */
int tkc_request_piece(struct tkc_invocation *, const struct tkc_request *,
    uint64_t at, uint64_t len, uint64_t offset, struct tkc_error *);
/* Calls the error handler, if there is one. True: it answered. */
bool tkc_request_error(struct tkc_invocation *, const struct tkc_request *,
    const char *what);

/* invocation.c */
/*
 * After the guest's turn that began at `start`: what it cost, and the last
 * line of its output.
 */
void tkc_settle(struct tkc_invocation *, uint64_t start);
/* The request failed with *err: counted, and nothing of it is kept. */
void tkc_failed(struct tkc_invocation *, const struct tkc_error *);

/* api_stream.c: has the program make more of its body. 0, or a reason. */
int tkc_stream_pull(struct tkc_invocation *, struct tkc_error *);

/* warmup.c: tk_boot_options.warm. */
int tkc_warm(struct tk_machine *, void *priv, struct tk_error *);
bool tkc_has_request_handler(const struct tkc_instance *);

/* live_update.c: by the program's file. Lock held. 0, or a reason. */
bool tkc_can_reload(const struct tkc_program *);
int tkc_reload(struct tkc_program *, struct tkc_error *);

/* Core error to ours. */
int tkc_from_core(struct tkc_error *, const char *program,
    const struct tk_error *);

#endif /* TKC_PROGRAM_H_INCLUDED */
