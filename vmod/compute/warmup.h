/*-
 * SPDX-License-Identifier: BSD-2-Clause
 *
 * The setting "warmup": requests that a program serves before it is frozen.
 */

#ifndef TKC_WARMUP_H_INCLUDED
#define TKC_WARMUP_H_INCLUDED

#include <jansson.h>
#include <stdbool.h>

struct tkc_error;

/* NULL-terminated; never NULL itself once settings are read. */
typedef char **tkc_strings;

struct tkc_warmup {
	unsigned		num_requests;	/* 0: none */
	char			*url, *method;
	tkc_strings		headers;	/* "Name: value" */
};

/* 0 or TKC_SETTINGS. */
int tkc_warmup_check(const char *what, const json_t *, struct tkc_error *);
/* From JSON that was checked. False: out of memory, nothing changed. */
bool tkc_warmup_read(struct tkc_warmup *, const json_t *);
void tkc_warmup_fini(struct tkc_warmup *);

#endif /* TKC_WARMUP_H_INCLUDED */
