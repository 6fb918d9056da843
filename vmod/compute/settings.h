/*-
 * SPDX-License-Identifier: BSD-2-Clause
 *
 * The settings of a program: JSON in, a plain structure out. Unknown keys and
 * wrong types are errors that name the key.
 */

#ifndef TKC_SETTINGS_H_INCLUDED
#define TKC_SETTINGS_H_INCLUDED

#include <jansson.h>

#include "compute.h"
#include "paths.h"
#include "sockets/endpoint.h"
#include "warmup.h"

struct tkc_settings {
	char			*group, *filename, *uri, *sha256, *key, *cwd;
	char			*state_directory;	/* NULL: the program's */
	bool			start;
	double			max_boot_time;		/* seconds */
	double			max_request_time;
	double			max_storage_time;
	double			max_queue_time, max_queue;
	double			max_memory;		/* MiB */
	double			max_request_memory;
	double			max_stream;
	double			max_stream_time;	/* seconds */
	double			req_mem_limit_after_reset;
	double			shared_memory;
	double			concurrency;
	double			smp;
	bool			storage;
	bool			ephemeral, ephemeral_keep_working_memory;
	bool			control_ephemeral, executable_heap;
	bool			to_stdout, verbose_syscalls;
	bool			allow_debug, remote_debug_on_exception;
	bool			debug_requests;
	double			debug_port, debug_wait;
	tkc_strings		main_arguments, environment, allowed_fetch;
	struct tkc_paths	allowed_paths;
	struct tkc_warmup	warmup;
	struct tkc_endpoint	server, websocket_server;
};

/*
 * Reads settings: the defaults, then group (may be NULL), then own. what names
 * the program in errors. 0 or TKC_SETTINGS.
 */
int tkc_settings_read(struct tkc_settings *, const char *what,
    const json_t *group, const json_t *own, struct tkc_error *);
void tkc_settings_fini(struct tkc_settings *);

/*
 * Calls each(arg, key) for every setting given that has no effect in this
 * version.
 */
void tkc_settings_inert(const json_t *, void (*each)(void *, const char *),
    void *);

/* Every key of the object is a setting of the right type. 0 or TKC_SETTINGS. */
int tkc_settings_check(const char *what, const json_t *, struct tkc_error *);

/* JSON with comments (//, and C's), one object. NULL with an error. */
json_t *tkc_json_parse(const char *text, size_t len, const char *origin,
    struct tkc_error *);

tkc_strings tkc_strings_copy(const char *const *, unsigned n);
void tkc_strings_free(tkc_strings *);
/* Of a list of strings; NULL is an empty one. NULL: out of memory. */
tkc_strings tkc_strings_from_json(const json_t *);

/*
 * Fills *err (may be NULL) and is the reason, so that it can be returned. A
 * macro: so whoever reads the caller, an analyser too, knows that it is not 0.
 */
#define tkc_fail(err, reason, ...)					\
	(tkc_error_fill((err), (reason), __VA_ARGS__), (int)(reason))
void tkc_error_fill(struct tkc_error *, enum tkc_reason, const char *fmt, ...)
    __attribute__((format(printf, 3, 4)));

#endif /* TKC_SETTINGS_H_INCLUDED */
