/*-
 * SPDX-License-Identifier: BSD-2-Clause
 *
 * The test guest and one fork of it: all that most tests need.
 */

#ifndef TESTS_ONE_FORK_H_INCLUDED
#define TESTS_ONE_FORK_H_INCLUDED

#include "vm.h"

static struct guest g;
static struct tk_machine *m;

/* NULL: as usual. */
static inline void
set_up(const struct boot *b)
{
	static const struct boot usual;
	struct tk_error err;

	guest_boot(&g, b != NULL ? b : &usual);
	CHECK_MSG(tk_fork(g.master, &m, &g, &err) == 0, "%s", err.text);
}

static inline void
tear_down(void)
{

	tk_fork_free(&m);
	guest_free(&g);
}

/* An operation that must end well; its result. */
static inline int64_t
succeeds(double seconds, uint64_t op, uint64_t a, uint64_t b, uint64_t c)
{
	struct tk_error err;
	int e;

	e = guest_op(&g, m, &err, seconds, op, a, b, c);
	CHECK_MSG(e == 0, "operation %lu: %s", (unsigned long)op, err.text);
	return (g.result);
}

#endif /* TESTS_ONE_FORK_H_INCLUDED */
