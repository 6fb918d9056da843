/*-
 * SPDX-License-Identifier: BSD-2-Clause
 *
 * What the fuzzers share. A failing promise aborts, as libFuzzer wants it.
 */

#ifndef TESTS_FUZZ_H_INCLUDED
#define TESTS_FUZZ_H_INCLUDED

#include <stdint.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

int LLVMFuzzerTestOneInput(const uint8_t *, size_t);

#define PROMISE(e)							\
	do {								\
		if (!(e)) {						\
			fprintf(stderr, "%s:%d: broken: %s\n", __FILE__, \
			    __LINE__, #e);				\
			abort();					\
		}							\
	} while (0)

#endif /* TESTS_FUZZ_H_INCLUDED */
