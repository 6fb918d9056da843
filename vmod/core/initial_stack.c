/*-
 * SPDX-License-Identifier: BSD-2-Clause
 *
 * System V ABI for AMD64, 3.4.1 "Initial stack and register state".
 */

#include <elf.h>
#include <string.h>
#include <sys/random.h>

#include "guest_layout.h"
#include "initial_stack.h"
#include "object.h"

#ifndef AT_MINSIGSTKSZ
#define AT_MINSIGSTKSZ	51
#endif

#define MAX_STRINGS	4096
#define MAX_BYTES	(TK_STACK_SIZE / 4)

struct builder {
	struct tk_machine	*m;
	tk_gva			sp;
	bool			failed;
};

static tk_gva
push(struct builder *b, const void *data, size_t len)
{

	if (b->failed || TK_STACK_TOP - b->sp + len > MAX_BYTES) {
		b->failed = true;
		return (0);
	}
	b->sp -= len;
	if (!tk_write(b->m, b->sp, data, len))
		b->failed = true;
	return (b->sp);
}

static unsigned
push_strings(struct builder *b, const char *const *list, uint64_t *at,
    unsigned room)
{
	unsigned n;

	for (n = 0; list[n] != NULL; n++) {
		if (n == room) {
			b->failed = true;
			break;
		}
		at[n] = push(b, list[n], strlen(list[n]) + 1);
	}
	return (n);
}

static void
push_words(struct builder *b, const uint64_t *words, unsigned n)
{

	(void)push(b, words, n * sizeof *words);
}

tk_gva
tk_initial_stack(struct tk_machine *m, const struct tk_elf *elf, tk_gva base,
    const char *const *argv, const char *const *envp)
{
	struct builder b = { m, TK_STACK_TOP, false };
	uint64_t *string, random[2], aux[2 * 20];
	unsigned argc, envc, n = 0;
	tk_gva platform, execfn, at_random;
	uint64_t zero = 0, words;

	string = calloc(MAX_STRINGS, sizeof *string);
	if (string == NULL)
		return (0);
	if (getrandom(random, sizeof random, 0) != (ssize_t)sizeof random)
		b.failed = true;
	(void)push(&b, &zero, sizeof zero);
	execfn = push(&b, argv[0], strlen(argv[0]) + 1);
	platform = push(&b, "x86_64", sizeof "x86_64");
	argc = push_strings(&b, argv, string, MAX_STRINGS / 2);
	envc = push_strings(&b, envp, string + argc, MAX_STRINGS / 2);
	b.sp &= ~15ULL;
	at_random = push(&b, random, sizeof random);

#define AUX(type, value) do { aux[n++] = (type); aux[n++] = (value); } while (0)
	AUX(AT_SYSINFO_EHDR, TK_VDSO_ADDR + TK_PAGE);
	AUX(AT_HWCAP, 0);
	AUX(AT_PAGESZ, TK_PAGE);
	AUX(AT_CLKTCK, 100);
	AUX(AT_PHDR, elf->phdr);
	AUX(AT_PHENT, sizeof(Elf64_Phdr));
	AUX(AT_PHNUM, elf->phnum);
	AUX(AT_BASE, base);
	AUX(AT_FLAGS, 0);
	AUX(AT_ENTRY, elf->entry);
	AUX(AT_UID, 0);
	AUX(AT_EUID, 0);
	AUX(AT_GID, 0);
	AUX(AT_EGID, 0);
	AUX(AT_SECURE, 0);
	AUX(AT_RANDOM, at_random);
	AUX(AT_EXECFN, execfn);
	AUX(AT_PLATFORM, platform);
	AUX(AT_MINSIGSTKSZ, 4096);
	AUX(AT_NULL, 0);
#undef AUX
	tk_assert(n == sizeof aux / sizeof aux[0]);

	/* argc, argv, NULL, envp, NULL, aux: RSP at argc is 16-aligned. */
	words = 1 + argc + 1 + envc + 1 + n;
	if (words & 1)
		(void)push(&b, &zero, sizeof zero);
	push_words(&b, aux, n);
	push_words(&b, &zero, 1);
	push_words(&b, string + argc, envc);
	push_words(&b, &zero, 1);
	push_words(&b, string, argc);
	words = argc;
	push_words(&b, &words, 1);
	free(string);
	return (b.failed ? 0 : b.sp);
}
