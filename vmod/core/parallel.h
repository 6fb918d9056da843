/*-
 * SPDX-License-Identifier: BSD-2-Clause
 *
 * More vCPUs for a call, each on a thread of the host. While they run, whoever
 * looks at the machine's records holds a lock.
 */

#ifndef TK_PARALLEL_H_INCLUDED
#define TK_PARALLEL_H_INCLUDED

#include "machine.h"

/* Ends those that still run, at the end of a call. */
void tk_parallel_stop(struct tk_machine *);
void tk_parallel_free(struct tk_machine *);

/* Around the handling of an exit. */
void tk_parallel_lock(struct tk_machine *);
void tk_parallel_unlock(struct tk_machine *);

#endif /* TK_PARALLEL_H_INCLUDED */
