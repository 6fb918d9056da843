/*-
 * SPDX-License-Identifier: BSD-2-Clause
 *
 * Time, by CLOCK_MONOTONIC, in nanoseconds; and waiting by it.
 */

#ifndef TKC_CLOCK_H_INCLUDED
#define TKC_CLOCK_H_INCLUDED

#include <pthread.h>
#include <stdbool.h>
#include <stdint.h>

#define TKC_NS	1000000000ULL

uint64_t tkc_now(void);
/* So long from now. */
uint64_t tkc_after(double seconds);
/* Now, in seconds. */
double tkc_seconds(void);

/* For tkc_wait_until(), and what waits without an end. */
void tkc_cond_init(pthread_cond_t *);
/* False: it is that late. The lock is held before and after. */
bool tkc_wait_until(pthread_cond_t *, pthread_mutex_t *, uint64_t until);

#endif /* TKC_CLOCK_H_INCLUDED */
