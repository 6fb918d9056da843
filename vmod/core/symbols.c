/*-
 * SPDX-License-Identifier: BSD-2-Clause
 */

#include <stdio.h>

#include "object.h"
#include "symbols.h"

/* An address further behind its function's end belongs to none. */
#define SLACK	64

struct symbol {
	tk_gva			start;
	uint64_t		size;
	uint32_t		name;
};

struct tk_symbols {
	struct symbol		*symbol;	/* sorted by start */
	size_t			n;
	char			*names;
	size_t			names_size;
};

static bool
section(const struct tk_elf *e, uint64_t index, Elf64_Shdr *sh)
{
	const Elf64_Ehdr *eh = &e->header;
	uint64_t at;

	if (index >= eh->e_shnum || eh->e_shentsize != sizeof *sh)
		return (false);
	if (eh->e_shoff > e->size)
		return (false);
	at = eh->e_shoff + index * sizeof *sh;
	if (at + sizeof *sh > e->size)
		return (false);
	memcpy(sh, e->image + at, sizeof *sh);
	return (sh->sh_offset <= e->size && sh->sh_size <= e->size -
	    sh->sh_offset);
}

static int
by_start(const void *a, const void *b)
{
	const struct symbol *x = a, *y = b;

	return (x->start < y->start ? -1 : x->start > y->start);
}

static struct tk_symbols *
read_table(const struct tk_elf *e, const Elf64_Shdr *tab,
    const Elf64_Shdr *str)
{
	struct tk_symbols *s;
	Elf64_Sym sym;
	size_t i, n = tab->sh_size / sizeof sym;

	s = calloc(1, sizeof *s);
	if (s == NULL)
		return (NULL);
	s->symbol = calloc(n, sizeof *s->symbol);
	s->names_size = str->sh_size + 1;
	s->names = calloc(1, s->names_size);
	if (s->symbol == NULL || s->names == NULL) {
		tk_symbols_free(s);
		return (NULL);
	}
	memcpy(s->names, e->image + str->sh_offset, str->sh_size);
	for (i = 0; i < n; i++) {
		memcpy(&sym, e->image + tab->sh_offset + i * sizeof sym,
		    sizeof sym);
		if (ELF64_ST_TYPE(sym.st_info) != STT_FUNC ||
		    sym.st_shndx == SHN_UNDEF || sym.st_name >= str->sh_size)
			continue;
		s->symbol[s->n].start = e->bias + sym.st_value;
		s->symbol[s->n].size = sym.st_size;
		s->symbol[s->n].name = sym.st_name;
		s->n++;
	}
	qsort(s->symbol, s->n, sizeof *s->symbol, by_start);
	return (s);
}

struct tk_symbols *
tk_symbols_read(const struct tk_elf *e)
{
	const Elf64_Ehdr *eh = &e->header;
	Elf64_Shdr sh, str;
	unsigned i;

	for (i = 0; i < eh->e_shnum; i++)
		if (section(e, i, &sh) && sh.sh_type == SHT_SYMTAB &&
		    sh.sh_size >= sizeof(Elf64_Sym) &&
		    section(e, sh.sh_link, &str) &&
		    str.sh_type == SHT_STRTAB)
			return (read_table(e, &sh, &str));
	return (NULL);
}

void
tk_symbols_free(struct tk_symbols *s)
{

	if (s == NULL)
		return;
	free(s->symbol);
	free(s->names);
	free(s);
}

const char *
tk_symbols_name(const struct tk_symbols *s, tk_gva a, char *buf, size_t size)
{
	const struct symbol *f;
	size_t lo = 0, hi, mid;

	if (s != NULL) {
		hi = s->n;
		while (lo < hi) {
			mid = (lo + hi) / 2;
			if (s->symbol[mid].start <= a)
				lo = mid + 1;
			else
				hi = mid;
		}
		if (lo > 0) {
			f = &s->symbol[lo - 1];
			if (a - f->start <= f->size + (f->size ? 0 : SLACK)) {
				(void)snprintf(buf, size,
				    "%.120s+0x%llx (0x%llx)",
				    s->names + f->name,
				    (unsigned long long)(a - f->start),
				    (unsigned long long)a);
				return (buf);
			}
		}
	}
	(void)snprintf(buf, size, "0x%llx", (unsigned long long)a);
	return (buf);
}
