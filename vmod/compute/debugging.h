/*-
 * SPDX-License-Identifier: BSD-2-Clause
 *
 * When a program is debugged, and by whom: DEBUGGING.md.
 */

#ifndef TKC_DEBUGGING_H_INCLUDED
#define TKC_DEBUGGING_H_INCLUDED

#include "program.h"

/* What the settings allow this instance. */
void tkc_debug_allow(struct tkc_instance *, bool debug);

/* Host call `breakpoint`. */
enum tk_verdict tkc_debug_breakpoint(struct tk_machine *,
    struct tkc_instance *);
/* The boot or request is about to end with an error. */
void tkc_debug_failing(struct tk_machine *, struct tkc_instance *,
    const struct tk_error *);
/* Around a request that stops at its first instruction. */
void tkc_debug_request(struct tk_machine *, struct tkc_instance *);

#endif /* TKC_DEBUGGING_H_INCLUDED */
