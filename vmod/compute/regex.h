/*-
 * SPDX-License-Identifier: BSD-2-Clause
 *
 * Regular expressions over program names: PCRE2, the syntax of VCL.
 */

#ifndef TKC_REGEX_H_INCLUDED
#define TKC_REGEX_H_INCLUDED

#include "compute.h"

struct tkc_regex;

/* "" matches everything. NULL with TKC_SETTINGS for a bad pattern. */
struct tkc_regex *tkc_regex_new(const char *pattern, struct tkc_error *);
bool tkc_regex_match(const struct tkc_regex *, const char *);
void tkc_regex_free(struct tkc_regex **);

#endif /* TKC_REGEX_H_INCLUDED */
