/*-
 * SPDX-License-Identifier: BSD-2-Clause
 */

#ifndef TK_ERROR_H_INCLUDED
#define TK_ERROR_H_INCLUDED

#include "tinykvm.h"

/* Fills *err (may be NULL) and returns kind, so that it can be returned. */
int tk_error(struct tk_error *err, enum tk_failure kind, tk_gva address,
    const char *fmt, ...) __attribute__((format(printf, 4, 5)));

#endif /* TK_ERROR_H_INCLUDED */
