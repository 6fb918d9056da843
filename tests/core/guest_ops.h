/*-
 * SPDX-License-Identifier: BSD-2-Clause
 *
 * Operations of the test guest, shared by it and the tests.
 */

#ifndef TESTS_GUEST_OPS_H_INCLUDED
#define TESTS_GUEST_OPS_H_INCLUDED

enum guest_op {
	OP_NOP, OP_WRITE, OP_READ, OP_INITIALISED, OP_TLS, OP_HEAP, OP_BRK,
	OP_MMAP, OP_PROTECT, OP_UNMAP, OP_REMAP_FIXED, OP_REGISTERS, OP_BASES,
	OP_FLAGS, OP_SIGNAL, OP_CATCH, OP_BLOCK, OP_STORE, OP_LOAD, OP_JUMP,
	OP_UD2, OP_DIVIDE, OP_SPIN, OP_RECURSE, OP_ABORT, OP_EXIT, OP_SYSCALL,
	OP_CLOCK, OP_HOG, OP_PRINT, OP_SLEEP, OP_OUT, OP_IN, OP_OUTS,
	/* From here on: guest_threads.c */
	OP_THREADS, OP_PING, OP_PREEMPT, OP_TGKILL, OP_TIMED_WAIT, OP_VECTORS,
	OP_LAZY, OP_MUTEXES, OP_SIGWAIT, OP_STORM, OP_ACCEPTS, OP_TURN,
	OP_MAPS, OP_EXHAUST, OP_SPOIL, OP_EVENTS, OP_HOST, OP_TILES,
	OP_KEYS, OP_DEVICE, OP_SELECTORS, OP_FLOOD, OP_TRAPS,
	/* From here on: guest_memory.c */
	OP_MAP_AT, OP_UNMAP_AT, OP_PROTECT_AT, OP_REMAP, OP_NOT_ZERO,
	OP_RUN_AT, OP_CONSTANTS, OP_CODE, OP_FILL, OP_SPREAD, OP_MAPPINGS
};

enum guest_address {
	ADDRESS_OPERATE, ADDRESS_DUMP_STATE, ADDRESS_DUMP, ADDRESS_AREA,
	ADDRESS_ARGC, ADDRESS_ARGV1, ADDRESS_ENV, ADDRESSES
};

#define DUMP_BYTES	(512 * 8)

/* guest_threads.c: what main() starts before it waits, and its operations. */
void start_threads(void);
void start_spinner(void);
long operate_threads(unsigned long op, unsigned long a, unsigned long b);
/* guest_memory.c */
long operate_memory(unsigned long op, unsigned long a, unsigned long b,
    unsigned long c);

#endif /* TESTS_GUEST_OPS_H_INCLUDED */
