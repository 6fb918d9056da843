/*-
 * SPDX-License-Identifier: BSD-2-Clause
 *
 * Objects with a magic number, and assertions for our own bugs, in the manner
 * of Varnish. A failing assertion names its place on stderr and aborts.
 */

#ifndef TK_OBJECT_H_INCLUDED
#define TK_OBJECT_H_INCLUDED

#include <stdlib.h>
#include <string.h>

void tk_assert_fail(const char *function, const char *file, int line,
    const char *condition) __attribute__((noreturn));

#define tk_assert(e)							\
	do {								\
		if (__builtin_expect(!(e), 0))				\
			tk_assert_fail(__func__, __FILE__, __LINE__, #e); \
	} while (0)

#define TK_ALLOC_OBJ(to, type_magic)					\
	do {								\
		(to) = calloc(1, sizeof *(to));				\
		if ((to) != NULL)					\
			(to)->magic = (type_magic);			\
	} while (0)

#define TK_CHECK_OBJ(ptr, type_magic)					\
	do {								\
		tk_assert((ptr) != NULL);				\
		tk_assert((ptr)->magic == (type_magic));		\
	} while (0)

/* Takes the pointer away from its owner's variable. */
#define TK_TAKE_OBJ(to, pfrom, type_magic)				\
	do {								\
		tk_assert((pfrom) != NULL);				\
		(to) = *(pfrom);					\
		*(pfrom) = NULL;					\
		TK_CHECK_OBJ((to), (type_magic));			\
	} while (0)

#define TK_FREE_OBJ(ptr)						\
	do {								\
		(ptr)->magic = 0;					\
		free(ptr);						\
		(ptr) = NULL;						\
	} while (0)

#endif /* TK_OBJECT_H_INCLUDED */
