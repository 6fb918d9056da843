/*-
 * SPDX-License-Identifier: BSD-2-Clause
 *
 * Waiting.
 */

#include <errno.h>
#include <time.h>

#include "linux.h"

#define NS	1000000000ULL

int64_t
tk_block(struct tk_machine *m, uint64_t ns)
{
	uint64_t now, until, due, deadline = m->watch.deadline;
	struct timespec ts;
	bool again;

	now = tk_now();
	until = ns > UINT64_MAX - now ? UINT64_MAX : now + ns;
	due = tk_files_next_due(m);
	again = due < until && due < deadline;
	if (again)
		until = due;
	if (until > deadline)
		until = deadline;
	ts.tv_sec = (time_t)(until / NS);
	ts.tv_nsec = (long)(until % NS);
	while (clock_nanosleep(CLOCK_MONOTONIC, TIMER_ABSTIME, &ts, NULL) ==
	    EINTR)
		continue;
	if (again)
		return (TK_CALL_BLOCKED);
	if (until < deadline)
		return (0);
	(void)tk_end(m, TK_TIMEOUT, m->vcpu->regs->rcx,
	    "slept longer than the request may take");
	return (TK_CALL_ENDED);
}

void
tk_woken(struct tk_machine *m)
{

	(void)m;
}
