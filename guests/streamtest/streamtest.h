/*-
 * SPDX-License-Identifier: BSD-2-Clause
 */

#ifndef STREAMTEST_H_INCLUDED
#define STREAMTEST_H_INCLUDED

#include <stdlib.h>
#include <unistd.h>

#include "kvm_api.h"

typedef struct streaming_content content_fn(void *, size_t, size_t, size_t);

/* Streams text of this length, made by the callback. */
KVM_NORETURN void stream(int status, size_t total, content_fn *, void *);

/* The next piece of the alphabet, over and over. */
content_fn alphabet;

/* In misdeeds.c: does the deed of this URL, or returns. */
void misbehave(const char *url);

/* "/name/1/2": the url is that name's; the numbers, as far as there are. */
bool is(const char *url, const char *name, long n[4]);

#endif /* STREAMTEST_H_INCLUDED */
