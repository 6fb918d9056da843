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
/* Those that a booting program may make, too: inv is then NULL. */
typedef enum tk_verdict tkc_api_any_fn(struct tk_machine *,
    struct tkc_instance *, struct tkc_invocation *inv);

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
 * May the program not change this field, or the one of this name? Where a message
 * ends is Varnish's to say: who could change Content-Length would send a body as
 * the next request, past all that VCL decides. The tables are those of the
 * client's or backend's connection, except in an answer of program(). Loops are
 * told by a field that stays as it is. another: it is to be a further one of its
 * name. It is counted and logged for `call`.
 */
bool tkc_api_field_is_refused(const struct tkc_invocation *, int where,
    const char *field, size_t len, bool another, const char *call);

/* api_storage.c, of requests; see storage.h */
tkc_api_fn tkc_api_storage_call, tkc_api_storage_task,
    tkc_api_stop_storage_task;
/* api_shared.c, of any machine */
enum tk_verdict tkc_api_shared_memory(struct tk_machine *);
/* guest_api.c: register_func(), into this table. */
enum tk_verdict tkc_api_register(struct tk_machine *,
    tk_gva handler[TKC_HANDLERS]);

/* api_parallel.c */
tkc_api_fn tkc_api_multiprocess, tkc_api_multiprocess_array,
    tkc_api_multiprocess_clone, tkc_api_multiprocess_wait;

/* api_regex.c */
tkc_api_any_fn tkc_api_regex_compile, tkc_api_regex_free, tkc_api_regex_match,
    tkc_api_regex_subst;
tkc_api_fn tkc_api_regex_copyto;

/* api_fetch.c: the call's number tells which of the three it is */
enum tk_verdict tkc_api_fetch(struct tk_machine *, uint32_t number,
    struct tkc_instance *, struct tkc_invocation *inv);

/*
 * A text of the guest that ends with a NUL, of at most `most` bytes without it.
 * malloc()ed; NULL after tk_fail() with the words for `what`.
 */
char *tkc_api_string(struct tk_machine *, tk_gva, size_t most,
    const char *what, size_t *len);
/* len bytes, and a NUL behind them. */
char *tkc_api_bytes(struct tk_machine *, tk_gva, uint64_t len, size_t most,
    const char *what);

/*
 * A header field: a token, a colon, no control characters (RFC 9110, 5.1 and
 * 5.5). with_value false: the token alone.
 */
bool tkc_field_ok(const char *, size_t, bool with_value);

#endif /* TKC_API_H_INCLUDED */
