/*-
 * SPDX-License-Identifier: BSD-2-Clause
 *
 * One call as fuzz_calls.c writes it and caller.c makes it.
 */

#ifndef TESTS_CALL_H_INCLUDED
#define TESTS_CALL_H_INCLUDED

#include <stdint.h>

enum call_kind {
	KIND_LINUX, KIND_HOST, KIND_FILL, KIND_ODD_HOST, KIND_STORE, KINDS
};

/* What an argument is made of `value`. */
enum call_how {
	HOW_AS_IT_IS, HOW_SMALL, HOW_AREA, HOW_AREA_END, HOW_BODY,
	HOW_CONSTANT, HOW_STACK, HOW_LAST, HOW_FUNCTION, HOWS
};

struct call {
	uint8_t		kind;
	uint8_t		how[6];
	uint8_t		pad;
	uint16_t	number;
	uint16_t	pad2[3];
	uint64_t	value[6];
};

static const uint32_t host_numbers[] = {
	0xffff, 0x10000, 0x10001, 0x10002, 0x10005, 0x10010, 0x10011, 0x10012,
	0x10013, 0x10020, 0x10021, 0x10022, 0x10023, 0x10030, 0x10031, 0x10032,
	0x10033, 0x10035, 0x10500, 0x10700, 0x10703, 0x10706, 0x10707, 0x10708,
	0x10709, 0x1070a, 0x10710, 0x10711, 0x10712, 0x10713, 0x10a00, 0x20000,
	0x20001, 0x30400, 0x7f000, 0x7fdeb, 0x7f7f7,
	0x3ffff,	/* the core's own */
};
#define N_HOST_NUMBERS	(sizeof host_numbers / sizeof host_numbers[0])

#endif /* TESTS_CALL_H_INCLUDED */
