/*-
 * SPDX-License-Identifier: BSD-2-Clause
 *
 * Misdeeds by URL. Each returns only when the host let it; main answers 200
 * "survived" then.
 */

#ifndef HOSTILE_H_INCLUDED
#define HOSTILE_H_INCLUDED

#include "kvm_api.h"

typedef void misdeed_fn(const char *arg);

struct misdeed {
	const char	*url;
	misdeed_fn	*run;
};

/*
 * memory.c, cpu.c, host_calls.c, linux_calls.c, net_calls.c; each ends with a
 * NULL url.
 */
extern const struct misdeed memory_misdeeds[], cpu_misdeeds[],
    host_call_misdeeds[], linux_misdeeds[], net_misdeeds[];

long linux_call(long number, long a, long b, long c, long d, long e, long f);

#endif /* HOSTILE_H_INCLUDED */
