/*-
 * SPDX-License-Identifier: BSD-2-Clause
 *
 * Executables that a test makes itself.
 */

#ifndef TESTS_IMAGE_H_INCLUDED
#define TESTS_IMAGE_H_INCLUDED

#include <elf.h>

#include "vm.h"

#define TEXT_AT		0x400000
#define TEXT_SIZE	0x1000

/* A small static executable, whose parts tests then spoil or fill. */
struct image {
	Elf64_Ehdr	eh;
	Elf64_Phdr	ph[4];
	uint8_t		text[TEXT_SIZE];
};

static inline void
image_init(struct image *im)
{

	memset(im, 0, sizeof *im);
	memcpy(im->eh.e_ident, ELFMAG, SELFMAG);
	im->eh.e_ident[EI_CLASS] = ELFCLASS64;
	im->eh.e_ident[EI_DATA] = ELFDATA2LSB;
	im->eh.e_ident[EI_VERSION] = EV_CURRENT;
	im->eh.e_type = ET_EXEC;
	im->eh.e_machine = EM_X86_64;
	im->eh.e_version = EV_CURRENT;
	im->eh.e_entry = TEXT_AT;
	im->eh.e_phoff = offsetof(struct image, ph);
	im->eh.e_ehsize = sizeof im->eh;
	im->eh.e_phentsize = sizeof im->ph[0];
	im->eh.e_phnum = 2;
	im->ph[0].p_type = PT_LOAD;
	im->ph[0].p_flags = PF_R | PF_X;
	im->ph[0].p_offset = offsetof(struct image, text);
	im->ph[0].p_vaddr = TEXT_AT;
	im->ph[0].p_filesz = im->ph[0].p_memsz = TEXT_SIZE;
	im->ph[1].p_type = PT_LOAD;
	im->ph[1].p_flags = PF_R | PF_W;
	im->ph[1].p_offset = offsetof(struct image, text);
	im->ph[1].p_vaddr = TEXT_AT + 0x10000;
	im->ph[1].p_filesz = 16;
	im->ph[1].p_memsz = 0x3000;
	/* ud2 */
	im->text[0] = 0x0f;
	im->text[1] = 0x0b;
}

/* Code that waits for requests: host call 2, and nothing behind it. */
static inline void
image_waits(struct image *im, size_t at)
{
	static const uint8_t code[] = {
		0xb8, 2, 0, 0, 0,	/* mov $2, %eax */
		0xe7, 0,		/* out %eax, $0 */
		0x0f, 0x0b		/* ud2 */
	};

	CHECK(at + sizeof code <= sizeof im->text);
	memcpy(im->text + at, code, sizeof code);
	im->eh.e_entry = TEXT_AT + at;
}

/* What tk_boot() returns. */
static inline int
image_boot(struct guest *g, const void *elf, size_t size, double seconds,
    struct tk_error *err)
{
	static const char *const none[] = { NULL };
	static const char *const argv[] = { "image", NULL };
	struct tk_boot_options o;

	memset(g, 0, sizeof *g);
	memset(&o, 0, sizeof o);
	o.elf = elf;
	o.elf_len = size;
	o.argv = argv;
	o.envp = none;
	o.memory = 32 << 20;
	o.request_memory = 4 << 20;
	o.input_size = 4096;
	o.shared_memory = 4 << 20;
	o.seconds = seconds;
	o.ops = &guest_ops;
	o.priv = g;
	return (tk_boot(&g->master, &o, err));
}

#endif /* TESTS_IMAGE_H_INCLUDED */
