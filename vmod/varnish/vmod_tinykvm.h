/*-
 * SPDX-License-Identifier: BSD-2-Clause
 *
 * Private to the VMOD: what a VCL has of it.
 */

#ifndef VMOD_TINYKVM_H_INCLUDED
#define VMOD_TINYKVM_H_INCLUDED

#include <stdio.h>

#include "cache/cache_varnishd.h"
#include "cache/cache_filter.h"
#include "vcl.h"
#include "vsb.h"

#include "compat.h"
#include "compute.h"

struct vsc_seg;
struct VSC_tinykvm;

/* One backend per program that program() was asked for. */
struct tk_backend {
	unsigned		magic;
#define TK_BACKEND_MAGIC	0x61c0f3a8
	struct vmod_tinykvm	*vmod;
	struct tkc_program	*program;	/* NULL: there is none */
	char			*name;
	VCL_BACKEND		director;
	struct tk_backend	*next;
};

struct vmod_tinykvm {
	unsigned		magic;
#define VMOD_TINYKVM_MAGIC	0x2b70d94e
	struct tkc_registry	*registry;
	char			*vcl_name;
	pthread_mutex_t		lock;		/* backends, updater, unknown */
	struct tk_backend	*backends;
	VCL_BACKEND		updater;	/* of live_update() */
	struct vsc_seg		*unknown_seg;
	struct VSC_tinykvm	*unknown;	/* program_notfound */
};

/* The VCL's own, from PRIV_VCL. */
struct vmod_tinykvm *vmod_of(const struct vmod_priv *);

/* A line in the task's log as VCL_Error; vcl_init has none: in Varnish's own. */
void tk_log(VRT_CTX, const char *fmt, ...) v_printflike_(2, 3);
/* Logs an error of a task. */
void tk_log_error(VRT_CTX, const struct tkc_error *);
/* As tkc_find(), counts and logs. name may be NULL. */
struct tkc_program *tk_find(VRT_CTX, struct vmod_tinykvm *, const char *name,
    struct tkc_error *);

/*
 * As WS_Alloc(); but when there is no room, the workspace is not spoilt for
 * what else the task has to do: Varnish fails one that has overflowed.
 */
void *tk_ws_alloc(struct ws *, uint64_t len);

/* host_varnish.c */
extern const struct tkc_host_interface tk_host_interface;

/* The fields of a table as they were; on its workspace. */
struct tk_fields;

/*
 * Who a guest is called for: the log's and the header calls' context. What a
 * call changes in the tables can be undone until the call has succeeded: what
 * the program under way has, and what all of a chain have.
 */
struct tk_task {
	unsigned		magic;
#define TK_TASK_MAGIC		0x40d7be13
	struct vsl_log		*vsl;
	struct http		*http[2];	/* request, response */
	/* NULL: not changed since. */
	const struct tk_fields	*at_call[2], *at_step[2];
};
/* Another program begins: what was changed is that of those before. */
void tk_task_step(struct tk_task *);
/* The table as it was before the first program. */
void tk_task_undo(struct tk_task *, enum tkc_http_where);
/* From here on this thread calls guests for the task; NULL: for nobody. */
void tk_enter(struct tk_task *);
/* Header fields of hp as the guest sees them; their number, or -1. */
#define TK_MAX_HEADERS	256
int tk_headers(const struct http *hp, struct tkc_span *, const char **ctype,
    struct tkc_error *);

/* sums.c: counters over all programs of all VCLs. */
void tk_sums_get(void);
void tk_sums_put(void);
void tk_sums_not_found(void);
/* What of a program's totals is in the sums already. */
struct tk_summed {
	uint64_t		request_us, exceptions, timeouts;
	uint64_t		status_4xx, status_5xx;
};
/* Adds what is not. */
void tk_sums_add(struct tk_summed *, const struct tkc_counters *now);

/*--------------------------------------------------------------------
 * memo.c: what a task remembers, from VCL function to VCL function
 */

/* One program to call. */
struct tk_step {
	const char		*name;
	struct tkc_program	*program;	/* NULL: there is none */
	const char		*url, *arg;
	VCL_INT			treshold;	/* from here on the chain ends */
};

#define TK_MAX_CHAIN	16
#define TK_MAX_KEPT	8

struct tk_memo {
	unsigned		magic;
#define TK_MEMO_MAGIC		0x5a83e0d1
	/* The chain, and the sub (and its try) in which it was queued. */
	struct tk_step		step[TK_MAX_CHAIN];
	unsigned		n_steps, method, try;
	/* Forks whose state goes on to the task's next call. */
	struct tkc_invocation	*kept[TK_MAX_KEPT];
	unsigned		n_kept;
};

/* The task's, or NULL when it has none yet. */
struct tk_memo *tk_memo_get(VRT_CTX, const struct vmod_tinykvm *);
/* Made if need be; NULL after VRT_fail(): the workspace is too small. */
struct tk_memo *tk_memo(VRT_CTX, const struct vmod_tinykvm *,
    const char *function);
/* Takes the program's kept fork out; NULL: there is none. m may be NULL. */
struct tkc_invocation *tk_memo_take(struct tk_memo *,
    const struct tkc_program *);
/* Keeps the fork for the task's next call, or releases it. */
void tk_memo_keep(VRT_CTX, const struct vmod_tinykvm *,
    struct tkc_invocation **);
/*
 * Empties the queue into step[], and returns how many there were: none when
 * they were queued in another sub.
 */
unsigned tk_memo_chain(VRT_CTX, struct tk_memo *, unsigned method,
    struct tk_step[TK_MAX_CHAIN]);

/*--------------------------------------------------------------------
 * chain.c: a chain of programs, and the last one's answer
 */

struct tk_chain {
	unsigned		magic;
#define TK_CHAIN_MAGIC		0x1be94d36
	/* A backend is asked: with the request's method and body. */
	unsigned		is_fetch;
	struct tkc_invocation	*inv;		/* NULL: given back */
	struct tkc_response	r;
	struct tkc_request	q[2];		/* in turns, by step */
	struct tk_task		task;
};

/*
 * Calls the programs that were queued in the sub `method`, and the last one.
 * *c is initialised, and must not move until tk_chain_end(). 0, or the reason
 * of *err.
 */
int tk_chain_run(VRT_CTX, const struct vmod_tinykvm *, struct tk_chain *,
    unsigned method, const struct tk_step *last, struct tkc_error *);
/* More of the body, at most max bytes; *s empty at the end. 0, or a reason. */
int tk_chain_body(struct tk_chain *, size_t max, struct tkc_span *s,
    struct tkc_error *);
/* The call has failed, after all: what it changed in VCL's tables is undone. */
void tk_chain_undo(struct tk_chain *);
void tk_chain_end(struct tk_chain *);

/*
 * body.c: the body of the request that is fetched, into the fork *inv; if it is
 * NULL, one is reserved when it is needed. 0, or a reason.
 */
typedef int tk_reserve_f(struct tkc_program *, struct tkc_invocation **,
    struct tkc_error *);
uint64_t tk_request_body_expected(VRT_CTX);
int tk_request_body(VRT_CTX, struct tkc_program *, struct tkc_invocation **inv,
    const struct tkc_request *, tk_reserve_f *, struct tkc_error *);
/* All of it to func, in pieces, if there is one. < 0: it did not come whole. */
ssize_t tk_request_body_iterate(VRT_CTX, objiterate_f *func, void *priv);

/* fetch.c */
vdi_gethdrs_f tk_fetch_headers;
vdi_finish_f tk_fetch_finish;
/* Does the task's own fetch still have its fork, as the body is in there? */
int tk_fetch_holds(VRT_CTX);
/* What program() was called with, for the fetch. */
void tk_fetch_arguments(VRT_CTX, VCL_BACKEND, const char *name,
    const char *url, const char *arg);

/* backend.c */
VCL_BACKEND tk_backend_get(VRT_CTX, struct vmod_tinykvm *, const char *name);
void tk_backends_delete(struct vmod_tinykvm *);

/* update.c */
void tk_updater_delete(struct vmod_tinykvm *);

#endif /* VMOD_TINYKVM_H_INCLUDED */
