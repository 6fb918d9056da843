/*-
 * SPDX-License-Identifier: BSD-2-Clause
 *
 * Where the run loop meets a debugger. All but tk_debug_failed() and
 * tk_debug_stepping() are only called while one is attached.
 */

#ifndef TK_DEBUG_H_INCLUDED
#define TK_DEBUG_H_INCLUDED

#include "machine.h"

#define TK_MAX_BREAKPOINTS	1024

struct tk_breakpoint {
	tk_gva			at;
	uint8_t			byte;		/* what belongs there */
};

struct tk_debug {
	unsigned		magic;
#define TK_DEBUG_MAGIC		0x5d0e91b3
	const struct tk_debugger *ops;
	void			*priv;
	bool			running;	/* the call has begun */
	uint64_t		left;		/* ns of its time */
	bool			stopped;
	/* At a stop: nobody has the vCPU; else what the current one has. */
	bool			asleep;
	struct kvm_regs		regs;
	uint32_t		step;		/* the thread that steps, or 0 */
	bool			fresh;		/* ... from this exit on */
	bool			interrupt;	/* wanted, at the next chance */
	bool			passed, killed;
	struct tk_breakpoint	point[TK_MAX_BREAKPOINTS];
	unsigned		n;
};

/* Before the first entry of a call. */
enum tk_verdict tk_debug_start(struct tk_machine *);

/* Behind the handling of an exit: a step over a call is complete. */
enum tk_verdict tk_debug_after(struct tk_machine *, enum tk_exit,
    enum tk_verdict);

/* The watchdog kicked. True: *v says how it goes on. */
bool tk_debug_kicked(struct tk_machine *, enum tk_verdict *v);

/*
 * An exception in the program's code, at these registers. True: *v says how it
 * goes on. False: it takes its way, from registers that may have changed.
 */
bool tk_debug_exception(struct tk_machine *, unsigned vector,
    struct kvm_regs *, enum tk_verdict *v);

/* The scheduler chose *t, NULL when all wait. */
enum tk_verdict tk_debug_choose(struct tk_machine *, struct tk_thread **t);

/* The call ends with m->error. */
void tk_debug_failed(struct tk_machine *, enum tk_exit, unsigned vector);

void tk_debug_end(struct tk_machine *, enum tk_debug_end);

/* The breakpoint there, or NULL. */
struct tk_breakpoint *tk_debug_point(const struct tk_debug *, tk_gva);

static inline bool
tk_debug_stepping(const struct tk_machine *m)
{

	return (m->debug != NULL && m->debug->step != 0);
}

#endif /* TK_DEBUG_H_INCLUDED */
