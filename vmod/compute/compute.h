/*-
 * SPDX-License-Identifier: BSD-2-Clause
 *
 * libtkcompute: programs, their forks, and the requests they serve.
 *
 * This is the whole view that an embedder (the VMOD, kvmctl, a test) has of
 * the compute layer.  It meets its surroundings through the table in host.h
 * and knows no Varnish types.
 *
 *	registry	the programs of one VCL, or of one kvmctl process
 *	program		a named guest executable with its settings
 *	invocation	one idle fork taken from a program's pool to serve one
 *			request, until it is released
 *
 * Everything here may be called from any thread, except that one invocation
 * is used by one thread at a time.
 *
 * The part between the two cffi marks is read verbatim by kvmctl; keep it to
 * plain C declarations.
 */

#ifndef TKC_COMPUTE_H_INCLUDED
#define TKC_COMPUTE_H_INCLUDED

#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>
#include <sys/types.h>

#include "host.h"

/* cffi: begin */

/* Why something could not be done. 0 is success everywhere. */
enum tkc_reason {
	TKC_OK = 0,
	TKC_SETTINGS,		/* the JSON or the program file is wrong */
	TKC_NOTFOUND,		/* no program of that name */
	TKC_BOOT,		/* the program did not become ready */
	TKC_QUEUE,		/* no fork was free within max_queue_time */
	TKC_EXCEPTION,		/* guest fault, or misuse of the guest API */
	TKC_TIMEOUT,		/* more than max_request_time */
	TKC_MEMORY,		/* more than max_request_memory written */
	TKC_TOOBIG,		/* request does not fit the program's limits */
	TKC_ENVIRONMENT,	/* /dev/kvm, memory, descriptors of this host */
	TKC_STOPPED,		/* the registry is cold or being freed */
	TKC_DENIED,		/* no key, or not this one */
	TKC_BUSY		/* too often, or somebody else is at it */
};

/* A sentence for people: what, where, how to mend it. NUL-terminated. */
struct tkc_error {
	int			reason;		/* enum tkc_reason */
	char			text[1020];
};

struct tkc_span {
	const void		*ptr;
	size_t			len;
};

/*
 * One request. Strings are NUL-terminated, not NULL, and owned by the caller.
 * The structure, method and task stay valid until the response's body has been
 * read (a streamed one is still made then) or tkc_release(); the rest is only
 * read until tkc_invoke() returns. method, url, arg and content_type are at
 * most 65535 bytes each.
 */
struct tkc_request {
	const char		*method;
	const char		*url;
	const char		*arg;
	const char		*content_type;
	const struct tkc_span	*headers;	/* each "Name: value" */
	unsigned		num_headers;	/* <= 256 */
	uint64_t		body_expected;	/* bytes to come; 0: unknown */
	int			is_backend;	/* set_cacheable() is allowed */
	int			is_warmup;
	void			*task;		/* given to the HTTP callbacks */
};

/*
 * One answer. Pointers stay valid until tkc_release(): they point into the
 * invocation or straight into the fork's memory. The body is read by
 * tkc_body_next().
 */
struct tkc_response {
	unsigned		status;		/* 200..599 */
	const char		*content_type;	/* NUL-terminated */
	size_t			content_type_len;
	uint64_t		body_len;	/* bytes */
	int			streamed;	/* the body is yet to be made */
	const struct tkc_span	*headers;	/* each "Name: value" */
	unsigned		num_headers;	/* <= 64 */
	int			cache_set;	/* the guest set its caching: */
	int			cached;
	double			ttl;		/* seconds */
	double			grace;
	double			keep;
	int			from_error_handler;
	/* what it took */
	unsigned		exits;		/* KVM exits, 1 = no host call */
	double			seconds;	/* from entry to answer */
};

/* What one release cost, for measuring tools. */
struct tkc_release_cost {
	unsigned		pages_written;	/* pages copied back by reset */
	double			reset_seconds;
};

/*
 * Running totals of one program; monotonic unless named a gauge. This struct
 * is what stats() prints and what the VSC counters show.
 */
struct tkc_counters {
	uint64_t	invocations;		/* requests entered */
	uint64_t	resets;
	uint64_t	exceptions;		/* guest faults and misuse */
	uint64_t	timeouts;
	uint64_t	memory_exceeded;
	uint64_t	error_handled;		/* answered by error handler */
	uint64_t	reservations;
	uint64_t	reservation_timeouts;
	uint64_t	queue_refused;		/* it was full */
	uint64_t	reservation_ns;		/* time in the queue */
	uint64_t	request_ns;		/* in the guest, not fetching */
	uint64_t	reset_ns;
	uint64_t	exits;			/* KVM exits */
	uint64_t	pages_written;		/* pages restored by resets */
	uint64_t	input_bytes;
	uint64_t	output_bytes;
	uint64_t	status_2xx;
	uint64_t	status_3xx;
	uint64_t	status_4xx;
	uint64_t	status_5xx;
	uint64_t	boots;
	uint64_t	boot_failures;
	uint64_t	boot_ns;		/* of the last boot, gauge */
	uint64_t	unknown_calls;		/* host calls answered ENOSYS */
	uint64_t	fetches;		/* by the program, of others */
	uint64_t	fetches_failed;		/* refused ones too */
	uint64_t	self_requests;		/* of Varnish itself */
	uint64_t	self_requests_failed;
	uint64_t	fetch_ns;		/* in both */
	uint64_t	storage_calls;		/* by requests */
	uint64_t	storage_errors;		/* of these */
	uint64_t	storage_wait_ns;	/* in its queue, with tasks */
	uint64_t	storage_ns;		/* in storage, with tasks */
	uint64_t	storage_tasks;		/* run, timers' too */
	uint64_t	storage_task_errors;
	uint64_t	state_saves;
	uint64_t	state_errors;		/* saves that failed */
	uint64_t	live_updates;
	uint64_t	live_update_failures;
	uint64_t	storage_queue;		/* gauge: waiting for it */
	uint64_t	storage_timers;		/* gauge */
	uint64_t	socket_clients;		/* accepted */
	uint64_t	socket_events;		/* told to the program */
	uint64_t	sockets_open;		/* gauge: clients now */
	uint64_t	forks;			/* gauge: made */
	uint64_t	forks_busy;		/* gauge: serving now */
	uint64_t	queue_length;		/* gauge: waiting requests */
	uint64_t	master_bytes;		/* gauge: memory of the master */
	uint64_t	working_set_bytes;	/* gauge: private to the forks */
};

struct tkc_registry;
struct tkc_program;
struct tkc_invocation;

/*
 * A new, warm, empty registry. The table is copied; `host` is passed to its
 * callbacks. Never fails but for memory (NULL). /dev/kvm is not touched yet.
 */
struct tkc_registry *tkc_registry_new(const struct tkc_host_interface *,
    void *host);

/* Gives everything back. No invocation may be outstanding. */
void tkc_registry_free(struct tkc_registry **);

/*
 * Adds or overrides programs and groups. `json` is one object of objects,
 * comments allowed; `origin` names it in errors (a file name, "configure").
 * Program files named in it are checked at once (readable, an executable for
 * this machine), those at http(s) URIs when they boot. All or nothing: on error
 * nothing changed.
 */
int tkc_library(struct tkc_registry *, const char *json, size_t len,
    const char *origin, struct tkc_error *);

/* The same of a file:// or http(s):// URI, or a path. */
int tkc_library_uri(struct tkc_registry *, const char *uri,
    struct tkc_error *);

/* As tkc_library() for one program: `json` is its settings object. */
int tkc_configure(struct tkc_registry *, const char *program,
    const char *json, struct tkc_error *);

/*
 * Where fetches of programs go whose URL begins with "/": to Varnish itself, at
 * the Unix socket, or with "" at the host and port of http_prefix, which also
 * is the Host that they ask for. At most `most` at the same time. Once.
 */
int tkc_self_requests(struct tkc_registry *, const char *unix_socket,
    const char *http_prefix, unsigned most, struct tkc_error *);

/* Replaces the extra arguments of main(); applies at the next boot. */
int tkc_main_arguments(struct tkc_registry *, const char *program,
    const char *const *arguments, unsigned n, struct tkc_error *);

/* NULL and TKC_NOTFOUND when there is none. Valid until the registry goes. */
struct tkc_program *tkc_find(struct tkc_registry *, const char *program,
    struct tkc_error *);
const char *tkc_program_name(const struct tkc_program *);

/*
 * Boots the program now, if it is not up already. async: returns at once,
 * requests wait until it is ready, and a failure is logged and told to them.
 */
int tkc_start(struct tkc_program *, int async, int debug, struct tkc_error *);

/*
 * Unloads the programs whose name matches the regex (PCRE2 syntax, unanchored;
 * "" is all); each boots anew from its file at the next use. Requests being
 * served end undisturbed. Those whose storage can be carried over (live-update
 * handlers) are replaced at once instead, as by tkc_live_update_file(), and stay
 * when that fails. Returns how many it were, or -1 for a bad regex.
 */
int tkc_invalidate(struct tkc_registry *, const char *regex,
    struct tkc_error *);

/*
 * Replaces a program by another executable: it boots while the old one serves,
 * takes over what the old one's storage has, and then serves. On any failure the
 * old one is kept, and *error says why. The new one is kept in memory, for this
 * registry: tkc_invalidate() goes back to the program's file.
 */
int tkc_live_update(struct tkc_program *, const void *elf, size_t len,
    struct tkc_error *);
/* The same, of a file. */
int tkc_live_update_file(struct tkc_program *, const char *filename,
    struct tkc_error *);
/*
 * May somebody with this key update the program from afar? 0, TKC_DENIED, or
 * TKC_BUSY when it was tried too often of late. Takes the same time whatever
 * the key is.
 */
int tkc_may_update(struct tkc_program *, const char *key, struct tkc_error *);

/*
 * VCL temperature. Cold: all VMs and memory given back; must not fail. Boots
 * end at once, what programs do by themselves (tasks, sockets) in a second, all
 * of them at the same time: whoever calls has others who wait for him.
 */
void tkc_registry_cold(struct tkc_registry *);
/* Warm: programs that were up, or are set to start, boot again (async). */
void tkc_registry_warm(struct tkc_registry *);
/*
 * The VCL's load is over. One that is loaded cold hears no more, and what its
 * vcl_init started would run for ever: unless tkc_registry_warm() is called
 * within a second, it is made cold.
 */
void tkc_registry_loaded(struct tkc_registry *);

/*
 * JSON of the programs whose name matches the regex ("" is all). indent < 0:
 * compact, else spaces per level. The caller frees the result with
 * tkc_stats_free(). NULL on a bad regex or want of memory.
 */
char *tkc_stats(struct tkc_registry *, const char *regex, int indent,
    struct tkc_error *);
void tkc_stats_free(char *);
void tkc_counters(struct tkc_program *, struct tkc_counters *);

/*
 * Takes an idle fork of the program, booting it first when it is not up.
 * Waits for at most max_queue_time. On success the invocation must be released.
 */
int tkc_reserve(struct tkc_program *, struct tkc_invocation **,
    struct tkc_error *);

/*
 * The same for somebody who holds other forks, and would wait for ever when
 * those who hold what he wants wait for him: TKC_QUEUE instead of waiting for
 * a fork. Still waits for a boot.
 */
int tkc_reserve_idle(struct tkc_program *, struct tkc_invocation **,
    struct tkc_error *);
/* So, too, and not the last one: of a body that waits for its client. */
int tkc_reserve_spare(struct tkc_program *, struct tkc_invocation **,
    struct tkc_error *);

/*
 * Appends to the body of the request that tkc_invoke() will be called with,
 * straight into the fork's memory; any number of calls before tkc_invoke(). A
 * program that takes bodies in pieces is called meanwhile, and its body has no
 * limit. 0: no more is wanted: too large (see tkc_body_limit()), the program
 * failed, or it has answered already. tkc_invoke() tells which.
 */
int tkc_body_append(struct tkc_invocation *, const struct tkc_request *,
    const void *, size_t);
uint64_t tkc_body_limit(const struct tkc_program *);

/* Its bodies come in pieces, and have no limit; as it is now, if it is up. */
bool tkc_program_takes_pieces(struct tkc_program *);

/*
 * The host's memory for request bodies that are on their way, or the answers of
 * other programs, and have no fork yet: max_memory in all of a program. False:
 * so many bytes more are too many. What was taken is to be given back.
 */
uint64_t tkc_waiting_limit(const struct tkc_program *);
bool tkc_waiting_take(struct tkc_program *, uint64_t bytes);
void tkc_waiting_give(struct tkc_program *, uint64_t bytes);

/*
 * Runs the request. Once per reservation, or tkc_keep(). On an error the
 * program's error handler has been tried: when it answered, the result is 0,
 * response.from_error_handler is set and *error says what had happened.
 */
int tkc_invoke(struct tkc_invocation *, const struct tkc_request *,
    struct tkc_response *, struct tkc_error *);

/*
 * The next contiguous piece of the response body, at most max bytes, straight
 * in the fork's memory and valid until the next call; {NULL, 0} at the end. Of
 * a streamed body the program makes more when what it made is used up: that
 * takes time, and may fail. After an error only tkc_release() may follow.
 */
int tkc_body_next(struct tkc_invocation *, size_t max, struct tkc_span *,
    struct tkc_error *);
/* Bytes of the body that can be read without the program making more. */
uint64_t tkc_body_at_hand(const struct tkc_invocation *);

/*
 * Makes the rest of *from's response body the request body of a fork of the
 * program: of *to, or of one that is reserved and put there. *from is released
 * early: always before waiting for a fork, unless wait is 0; then no fork is
 * waited for (TKC_QUEUE). On an error both may still have to be released. q is
 * the request that tkc_invoke() will be called with.
 */
int tkc_pass_on(struct tkc_invocation **from, struct tkc_program *,
    struct tkc_invocation **to, const struct tkc_request *q, int wait,
    struct tkc_error *);

/* Resets the fork and gives it back. *cost may be NULL. */
void tkc_release(struct tkc_invocation **, struct tkc_release_cost *cost);

/*
 * Instead of a release: ends the request, and the fork stays reserved, its
 * memory as the request left it; another tkc_invoke() may follow. After a
 * failure, after an answer of another thread than the one that serves, and for a
 * program that listens on a socket, there is no state to go on from: then it is
 * reset and released, and *inv is NULL.
 */
void tkc_keep(struct tkc_invocation **);
/* Whose fork it is. */
struct tkc_program *tkc_program_of(const struct tkc_invocation *);

/* What this host's KVM offers, for doctor: a JSON object; free as above. */
char *tkc_host_report(struct tkc_error *);

/*
 * The Linux calls that guests may make, for documentation: a JSON list of
 * {"number", "name", "support": full, partial or refused, "note"}; free as
 * above.
 */
char *tkc_linux_calls(struct tkc_error *);

/* cffi: end */

#endif /* TKC_COMPUTE_H_INCLUDED */
