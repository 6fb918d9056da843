/*-
 * SPDX-License-Identifier: BSD-2-Clause
 *
 * A virtual machine with a program in it, booting or forked; and the frozen
 * master. Private to the core.
 */

#ifndef TK_MACHINE_H_INCLUDED
#define TK_MACHINE_H_INCLUDED

#include "address_space.h"
#include "linux/descriptors.h"
#include "linux/policy.h"
#include "symbols.h"
#include "threads.h"
#include "vcpu.h"
#include "watchdog.h"

#define TK_NSIG		64

/* As the kernel's struct sigaction: rt_sigaction(2). */
struct tk_sigaction {
	tk_gva			handler;
	uint64_t		flags;
	tk_gva			restorer;
	uint64_t		mask;
};

/* What Linux would keep about the process. Plain data: copied at reset. */
struct tk_process {
	struct tk_sigaction	action[TK_NSIG];	/* [signal - 1] */
	uint64_t		pending;		/* any thread's */
};

struct tk_machine {
	unsigned		magic;
#define TK_MACHINE_MAGIC	0x3d90be57
	const struct tk_host	*host;
	const struct tk_guest_ops *ops;
	void			*priv;
	struct tk_master	*master;	/* NULL while booting */
	const struct tk_symbols	*symbols;
	struct tk_image		image;
	struct tk_memory	mem;
	struct tk_space		space;
	struct tk_process	process;
	struct tk_threads	threads;
	struct tk_files		files;
	struct tk_vcpu		*vcpu;
	/* Where the last exit left the CPU: ring 0 leaves by iretq. */
	bool			in_ring0;
	bool			in_empty_call;	/* tk_empty_call() */
	/* While booting: may all threads wait for a connection, and do they? */
	bool			may_serve, serves;
	struct tk_connection	*connection;	/* of the call under way */
	struct tk_parallel	*parallel;	/* more vCPUs; mostly NULL */
	struct tk_debug		*debug;		/* a debugger; mostly NULL */
	struct tk_watch		watch;
	struct tk_error		*error;		/* of the call under way */
	unsigned		exits;
	/* The last page fault that was resolved, and how often in a row. */
	tk_gva			fault_at;
	unsigned		fault_repeats;
	/* A Linux call was made: space or process may differ. */
	bool			changed;
	/* What a reset cannot put right: free it, make another. */
	bool			broken;

	/* A fork's way back. */
	struct tk_working_set	ws;
	struct tk_journal	journal;
	uint64_t		request_pages;	/* limit for all its calls */
	/* Members that are not theirs: of before, and what we brought. */
	uint64_t		pages_before;
	unsigned		pages_seen;	/* members, as a call left them */
	uint64_t		fault_thread;	/* who made the call, */
	uint64_t		fault_count;	/* with how many page faults */
	bool			scan;		/* read the log in any case */
};

struct tk_master {
	unsigned		magic;
#define TK_MASTER_MAGIC		0x08c6f1ea
	const struct tk_host	*host;
	const struct tk_guest_ops *ops;
	struct tk_memory	mem;
	struct tk_space		space;
	struct tk_process	process;
	struct tk_threads	threads;
	struct tk_files		files;
	struct tk_policy	*policy;
	struct tk_symbols	*symbols;
	struct tk_image		image;
	tk_gva			fs_base, gs_base;
	bool			serves;		/* waits for connections */
	struct kvm_regs		resume;		/* behind the last host call */
	tk_gva			input;
	uint64_t		input_size;
	uint64_t		request_memory;
	uint64_t		bytes;
	_Atomic unsigned	forks;
};

/*
 * Enters the guest until host_call() is done or something ends it. The
 * registers are set, or first() sets them. Returns 0 or what it filled into
 * *err.
 */
int tk_run(struct tk_machine *, double seconds, enum tk_verdict (*first)(
    struct tk_machine *), struct tk_error *err);

/*
 * At an exit for a host call: where the program goes on. Hardware KVM leaves
 * RIP at the `out` until the next entry.
 */
tk_gva tk_after_host_call(const struct tk_machine *);

/* What ends a call when tk_ws_full(). */
#define TK_WROTE_TOO_MUCH	"wrote more memory than a request may " \
				"(max_request_memory)"

/* The embedder's stopped(), for the watch of this machine's calls. */
bool tk_is_stopped(struct tk_watch *);

/* The guest faulted: into its own handler, or the end of the call. */
enum tk_verdict tk_exception(struct tk_machine *, unsigned vector);

/* The call ends with this error. */
enum tk_verdict tk_end(struct tk_machine *, enum tk_failure, tk_gva,
    const char *fmt, ...) __attribute__((format(printf, 4, 5)));

#endif /* TK_MACHINE_H_INCLUDED */
