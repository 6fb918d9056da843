/*-
 * SPDX-License-Identifier: BSD-2-Clause
 *
 * Function names of an executable, to say where something went wrong.
 */

#ifndef TK_SYMBOLS_H_INCLUDED
#define TK_SYMBOLS_H_INCLUDED

#include "elf_loader.h"

struct tk_symbols;

/* NULL when the file has none that can be used (stripped, damaged). */
struct tk_symbols *tk_symbols_read(const struct tk_elf *);
void tk_symbols_free(struct tk_symbols *);

/*
 * Writes "function+0x12 (0x401234)" or "0x401234"; symbols may be NULL.
 * Returns buf.
 */
const char *tk_symbols_name(const struct tk_symbols *, tk_gva, char *buf,
    size_t);

#endif /* TK_SYMBOLS_H_INCLUDED */
