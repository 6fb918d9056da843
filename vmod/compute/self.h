/*-
 * SPDX-License-Identifier: BSD-2-Clause
 *
 * Requests of programs to Varnish itself, and the header fields of requests.
 */

#ifndef TKC_SELF_H_INCLUDED
#define TKC_SELF_H_INCLUDED

#include "fetch.h"

/* A program that asks Varnish for another that asks Varnish, ... so often. */
#define TKC_MAX_DEPTH	5

/* A copy of the list with our own field of this depth; NULL: no memory. */
struct curl_slist *tkc_depth_fields(const struct curl_slist *,
    unsigned depth);

/* The value of the first field of that name, or NULL. */
const char *tkc_field_value(const struct curl_slist *, const char *name);
void tkc_drop_fields(struct curl_slist **, const char *name);

/* The origin with "host" or "host:port" in place of its own. */
bool tkc_origin_with_host(struct tkc_origin *, const struct tkc_origin *,
    const char *host);

void tkc_address_text(const struct sockaddr *, char *, size_t);

#endif /* TKC_SELF_H_INCLUDED */
