/*-
 * SPDX-License-Identifier: BSD-2-Clause
 *
 * Guest-API calls that have files of their own. Each reads its arguments from
 * the machine and copies what it uses before it checks it.
 */

#ifndef TKC_API_H_INCLUDED
#define TKC_API_H_INCLUDED

#include "program.h"

typedef enum tk_verdict tkc_api_fn(struct tk_machine *,
    struct tkc_invocation *);

/* api_response.c */
tkc_api_fn tkc_api_response;
/* The status and type of arguments 0 to 2, into the response. */
tkc_api_fn tkc_api_status_and_type;
/* api_stream.c */
tkc_api_fn tkc_api_begin_streaming, tkc_api_return;
/* api_http.c */
tkc_api_fn tkc_api_http_append, tkc_api_http_set, tkc_api_http_find,
    tkc_api_http_method;

/*
 * A header field: a token, a colon, no control characters (RFC 9110, 5.1 and
 * 5.5). with_value false: the token alone.
 */
bool tkc_field_ok(const char *, size_t, bool with_value);

#endif /* TKC_API_H_INCLUDED */
