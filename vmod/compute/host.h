/*-
 * SPDX-License-Identifier: BSD-2-Clause
 *
 * The host-interface table: everything that the compute layer asks of its
 * surroundings. The VMOD fills it from Varnish, kvmctl from Python, tests
 * from recorders.
 */

#ifndef TKC_HOST_H_INCLUDED
#define TKC_HOST_H_INCLUDED

#include <stddef.h>
#include <stdint.h>
#include <sys/types.h>

/* cffi: begin */

enum tkc_log_kind {
	TKC_LOG_INFO,		/* life of a program: booted, invalidated */
	TKC_LOG_ERROR,		/* what somebody has to mend */
	TKC_LOG_GUEST,		/* the guest's own words: sys_log, stdout */
	TKC_LOG_TRACE		/* its calls, one by one: verbose_syscalls */
};

/* Which header table: as in the guest ABI (0x10020..). */
enum tkc_http_where {
	TKC_HTTP_REQUEST = 0,
	TKC_HTTP_RESPONSE = 1
};

struct tkc_counters;

/*
 * `host` is the pointer given to tkc_registry_new(), `task` the one in struct
 * tkc_request; NULL in a warm-up request. Any callback may be NULL: logging is then silent, the HTTP
 * calls answer "not found". The callbacks run on the thread that invokes,
 * except log, which may come from any thread. Texts are not NUL-terminated
 * where a length is given, and are only valid during the callback.
 */
struct tkc_host_interface {
	void	(*log)(void *host, const char *program, int kind,
		    const char *text, size_t len);

	/* "Name: value", its shape already checked. Index >= 0, or -1 full. */
	int	(*http_append)(void *task, int where, const char *field,
		    size_t len);
	/* "Name: value" replaces or appends; "Name" unsets. Index, or 0. */
	int	(*http_set)(void *task, int where, const char *field,
		    size_t len);
	/* *field: the whole first match, valid until the next callback. */
	size_t	(*http_find)(void *task, int where, const char *name,
		    size_t len, const char **field);
	/*
	 * *field: the index-th field from 0, valid until the next callback.
	 * 0 when there are not so many.
	 */
	size_t	(*http_field)(void *task, int where, unsigned index,
		    const char **field);
	/*
	 * The request has failed: both tables as they were when it began. Its
	 * error handler may be next.
	 */
	void	(*http_undo)(void *task);

	/*
	 * New totals of a program, after each release and change of state.
	 * Called with the program's lock held: copy and return. *slot is the
	 * host's own, NULL at first; with totals NULL the program is going
	 * away and the slot is to be freed.
	 */
	void	(*counters)(void *host, const char *program, void **slot,
		    const struct tkc_counters *totals);
};

/* cffi: end */

#endif /* TKC_HOST_H_INCLUDED */
