/* SPDX-License-Identifier: BSD-2-Clause */

#ifndef ANYCALL_H
#define ANYCALL_H

#include "kvm_api.h"

/* Numbers of calls and places by name. */
struct word {
	const char		*name;
	uint64_t		value;
};

extern const struct word calls[], places[];

/* Where calls may write: a text, numbers, a structure, and very much. */
extern char room[65536], big[4 << 20];
extern uint64_t words[64], op[32];
/* The last bytes before memory that is not there. */
extern uint64_t edge;

void words_init(void);

/* What a program may name as its functions. */
kvm_storage_fn stored;
kvm_task_fn task;
void on_vcpu(void *);
void count(void);
struct streaming_content piece(void *, size_t, size_t, size_t);
long on_piece(const char *, const char *, const char *, const uint8_t *,
    size_t, size_t);

/* Does what text says, and puts what came of it into answer. */
extern char answer[8192];
void run(const char *text);

#endif /* ANYCALL_H */
