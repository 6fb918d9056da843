/*-
 * SPDX-License-Identifier: BSD-2-Clause
 *
 * More vCPUs for a call, each on a thread of the host. While they run, whoever
 * looks at the machine's records holds a lock.
 *
 * Memory that one unmaps or protects against another: for the moment of the
 * flush (tk_memory_flush()) the host's mapping of it is gone, and KVM fails with
 * EFAULT a vCPU that touches it just then. Its part of the work has failed,
 * and the machine is spoiled. Only a program that works beside itself on memory
 * that it takes away can meet that, in its own request: while others run, what
 * lies between pages that go is not flushed with them (TK_FLUSH_RUNS).
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
