/*-
 * SPDX-License-Identifier: BSD-2-Clause
 *
 * The settings "server" and "websocket_server": where a program's own clients
 * connect to.
 */

#ifndef TKC_ENDPOINT_H_INCLUDED
#define TKC_ENDPOINT_H_INCLUDED

#include <jansson.h>
#include <stdbool.h>

struct tkc_error;

/* Strings malloc()ed; one of address and path is NULL. */
struct tkc_endpoint {
	char			*address;	/* numeric */
	unsigned		port;
	char			*path;		/* of a Unix socket */
	unsigned		systems;	/* threads; 0: there is none */
	unsigned		max_connections;	/* of each thread */
	double			idle_timeout;	/* seconds; 0: none */
};

/* what: the program, key: the setting, in errors. 0 or TKC_SETTINGS. */
int tkc_endpoint_check(const char *what, const char *key, const json_t *,
    struct tkc_error *);
/* From JSON that was checked. False: out of memory, nothing changed. */
bool tkc_endpoint_read(struct tkc_endpoint *, const json_t *);
void tkc_endpoint_fini(struct tkc_endpoint *);

#endif /* TKC_ENDPOINT_H_INCLUDED */
