/*-
 * SPDX-License-Identifier: BSD-2-Clause
 */

#ifndef TK_ERROR_H_INCLUDED
#define TK_ERROR_H_INCLUDED

#include "tinykvm.h"

/*
 * Fills *err (may be NULL) and is the kind, so that it can be returned. A
 * macro: so whoever reads the caller, an analyser too, knows that it is not 0.
 */
#define tk_error(err, kind, address, ...)				\
	(tk_error_fill((err), (kind), (address), __VA_ARGS__), (int)(kind))
void tk_error_fill(struct tk_error *err, enum tk_failure kind,
    tk_gva address, const char *fmt, ...)
    __attribute__((format(printf, 4, 5)));

#endif /* TK_ERROR_H_INCLUDED */
