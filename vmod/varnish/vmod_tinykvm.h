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

/* Logs an error of a task. */
void tk_log_error(VRT_CTX, const struct tkc_error *);
/* As tkc_find(), counts and logs. name may be NULL. */
struct tkc_program *tk_find(VRT_CTX, struct vmod_tinykvm *, const char *name,
    struct tkc_error *);

/* host_varnish.c */
extern const struct tkc_host_interface tk_host_interface;

/* Who a guest is called for: the log's and the header calls' context. */
struct tk_task {
	unsigned		magic;
#define TK_TASK_MAGIC		0x40d7be13
	struct vsl_log		*vsl;
	struct http		*http[2];	/* request, response */
};
/* Header fields of hp as the guest sees them; their number. */
#define TK_MAX_HEADERS	256
int tk_headers(const struct http *hp, struct tkc_span *, const char **ctype,
    struct tkc_error *);
/* tkc_invoke() with the task's log in place. */
int tk_invoke(struct tkc_invocation *, struct tkc_request *, struct tk_task *,
    struct tkc_response *, struct tkc_error *);

/* body.c: the body of the request that is fetched, into the fork. */
int tk_request_body(VRT_CTX, struct tkc_invocation *, struct tkc_error *);

/* backend.c */
VCL_BACKEND tk_backend_get(VRT_CTX, struct vmod_tinykvm *, const char *name);
void tk_backends_delete(struct vmod_tinykvm *);
/* What program() was called with, for the fetch. */
void tk_backend_arguments(VRT_CTX, VCL_BACKEND, const char *url,
    const char *arg);

/* update.c */
void tk_updater_delete(struct vmod_tinykvm *);

#endif /* VMOD_TINYKVM_H_INCLUDED */
