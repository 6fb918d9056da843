/*-
 * SPDX-License-Identifier: BSD-2-Clause
 *
 * The test guest from the host's side.
 */

#ifndef TESTS_VM_H_INCLUDED
#define TESTS_VM_H_INCLUDED

#include "guest_ops.h"
#include "harness.h"
#include "machine.h"

struct guest {
	struct tk_master	*master;
	tk_gva			at[ADDRESSES];
	int64_t			result;		/* of the last operation */
	char			output[256];
	char			refused[512];	/* the last refusal */
	unsigned		refusals;
	_Atomic bool		stopped;	/* what runs is to end */
};

struct boot {
	const char		*file;		/* NULL: $TK_TEST_GUEST */
	uint64_t		memory, request_memory;	/* MiB; 0: 64, 16 */
	/* MiB in use at the freeze, "h" before: of the heap; "j": threads were. */
	const char		*in_use;
	bool			threads;	/* some live at the freeze */
	uint64_t		shared;		/* MiB that all forks share */
	const struct tk_master	*shared_of;
	const struct tk_path	*paths;
	unsigned		n_paths;
	const char		*cwd;
	bool			private_text;
	bool			spinner;	/* a thread that only computes */
};

/* Boots, or fails the test. */
void guest_boot(struct guest *, const struct boot *);
void guest_free(struct guest *);
/* Reads a whole file; the caller frees. */
void *read_file(const char *name, size_t *len);

/* One operation in a fork of it. What tk_call() returns. */
int guest_op(struct guest *, struct tk_machine *, struct tk_error *,
    double seconds, uint64_t op, uint64_t a, uint64_t b, uint64_t c);

extern const struct tk_guest_ops guest_ops;

#endif /* TESTS_VM_H_INCLUDED */
