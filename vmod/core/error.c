/*-
 * SPDX-License-Identifier: BSD-2-Clause
 */

#include <stdarg.h>
#include <stdio.h>

#include "error.h"
#include "object.h"

void
tk_error_fill(struct tk_error *err, enum tk_failure kind, tk_gva address,
    const char *fmt, ...)
{
	va_list ap;

	if (err == NULL)
		return;
	err->kind = kind;
	err->address = address;
	va_start(ap, fmt);
	(void)vsnprintf(err->text, sizeof err->text, fmt, ap);
	va_end(ap);
}

void
tk_assert_fail(const char *function, const char *file, int line,
    const char *condition)
{

	(void)fprintf(stderr, "tinykvm: assertion in %s(), %s:%d: %s\n",
	    function, file, line, condition);
	abort();
}
