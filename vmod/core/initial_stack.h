/*-
 * SPDX-License-Identifier: BSD-2-Clause
 *
 * What a Linux program finds on its stack: arguments, environment, auxiliary
 * vector.
 */

#ifndef TK_INITIAL_STACK_H_INCLUDED
#define TK_INITIAL_STACK_H_INCLUDED

#include "elf_loader.h"
#include "machine.h"

/*
 * Writes it below TK_STACK_TOP, which is mapped. base: where the interpreter
 * was loaded, or 0. Returns the stack pointer, 0 when the strings are more than
 * the stack holds.
 */
tk_gva tk_initial_stack(struct tk_machine *, const struct tk_elf *,
    tk_gva base, const char *const *argv, const char *const *envp);

#endif /* TK_INITIAL_STACK_H_INCLUDED */
