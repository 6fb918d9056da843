/*-
 * SPDX-License-Identifier: BSD-2-Clause
 *
 * Executables for x86-64: static, static-PIE, and dynamic ones with the
 * interpreter that they name. The file is hostile: every field is checked
 * before it is used.
 */

#ifndef TK_ELF_LOADER_H_INCLUDED
#define TK_ELF_LOADER_H_INCLUDED

#include <elf.h>

#include "address_space.h"

#define TK_MAX_SEGMENTS	32

struct tk_segment {
	tk_gva			vaddr;		/* before the bias */
	uint64_t		memsz, filesz, offset;
	unsigned		prot;
};

struct tk_elf {
	const uint8_t		*image;		/* of any alignment */
	size_t			size;
	Elf64_Ehdr		header;		/* its copy */
	tk_gva			bias;		/* 0 unless static-PIE */
	tk_gva			entry;		/* with the bias */
	tk_gva			phdr;		/* in the guest, with the bias */
	unsigned		phnum;
	struct tk_segment	segment[TK_MAX_SEGMENTS];
	unsigned		n_segments;
	uint64_t		read_only;	/* bytes of read-only memory */
	tk_gva			end;		/* of the highest segment */
	char			interpreter[128];	/* "": static */
};

/* Checks and parses. 0 or TK_BAD_PROGRAM. The image must stay. */
int tk_elf_parse(struct tk_elf *, const void *image, size_t size,
    struct tk_error *);

/*
 * Copies the segments into memory and maps them: what is read-only into the
 * memory that all forks share, unless private_text. 0 or TK_BAD_PROGRAM.
 */
int tk_elf_load(const struct tk_elf *, struct tk_space *, bool private_text,
    struct tk_error *);

/*
 * The same for an interpreter, wherever there is room, all of it in writable
 * memory. Its addresses are final afterwards.
 */
int tk_elf_load_interpreter(struct tk_elf *, struct tk_space *,
    struct tk_error *);

#endif /* TK_ELF_LOADER_H_INCLUDED */
