/*-
 * SPDX-License-Identifier: BSD-2-Clause
 *
 * Facts: System V ABI, "Object files" and "Program loading"; elf(5).
 */

#include <errno.h>

#include "elf_loader.h"
#include "error.h"
#include "guest_layout.h"
#include "object.h"

#define PAGE_DOWN(x)	((x) & ~(uint64_t)(TK_PAGE - 1))
#define PAGE_UP(x)	PAGE_DOWN((x) + TK_PAGE - 1)

static int
bad(struct tk_error *err, const char *why)
{

	return (tk_error(err, TK_BAD_PROGRAM, 0, "%s", why));
}

static const char *
machine_name(unsigned m)
{

	switch (m) {
	case EM_386: return ("32-bit x86");
	case EM_ARM: return ("32-bit Arm");
	case EM_AARCH64: return ("64-bit Arm");
	case EM_RISCV: return ("RISC-V");
	case EM_PPC64: return ("64-bit POWER");
	case EM_S390: return ("S/390");
	default: return ("another architecture");
	}
}

static int
check_header(const Elf64_Ehdr *eh, size_t size, struct tk_error *err)
{

	if (size < EI_NIDENT || memcmp(eh->e_ident, ELFMAG, SELFMAG) != 0)
		return (bad(err, "not an ELF executable"));
	if (eh->e_ident[EI_CLASS] == ELFCLASS32)
		return (bad(err, "a 32-bit executable: compile for x86-64"));
	if (size < sizeof *eh)
		return (bad(err, "the file ends within the ELF header"));
	if (eh->e_ident[EI_CLASS] != ELFCLASS64 ||
	    eh->e_ident[EI_DATA] != ELFDATA2LSB ||
	    eh->e_ident[EI_VERSION] != EV_CURRENT)
		return (bad(err, "not a 64-bit little-endian ELF file"));
	if (eh->e_machine != EM_X86_64)
		return (tk_error(err, TK_BAD_PROGRAM, 0, "compiled for %s "
		    "(ELF machine %u): compile for x86-64",
		    machine_name(eh->e_machine), eh->e_machine));
	if (eh->e_type == ET_REL)
		return (bad(err, "an object file (.o): link it"));
	if (eh->e_type != ET_EXEC && eh->e_type != ET_DYN)
		return (tk_error(err, TK_BAD_PROGRAM, 0,
		    "ELF type %u is not an executable", eh->e_type));
	if (eh->e_phentsize != sizeof(Elf64_Phdr) || eh->e_phnum == 0)
		return (bad(err, "no program headers"));
	if (eh->e_phoff > size ||
	    eh->e_phnum > (size - eh->e_phoff) / sizeof(Elf64_Phdr))
		return (bad(err, "the program headers lie outside the file"));
	return (0);
}

static int
read_interpreter(struct tk_elf *e, const Elf64_Phdr *ph, struct tk_error *err)
{

	if (ph->p_offset > e->size || ph->p_filesz > e->size - ph->p_offset ||
	    ph->p_filesz < 2 || ph->p_filesz > sizeof e->interpreter ||
	    e->image[ph->p_offset] != '/' ||
	    e->image[ph->p_offset + ph->p_filesz - 1] != '\0')
		return (bad(err, "the name of its interpreter is damaged"));
	memcpy(e->interpreter, e->image + ph->p_offset, ph->p_filesz);
	return (0);
}

static int
add_segment(struct tk_elf *e, const Elf64_Phdr *ph, struct tk_error *err)
{
	struct tk_segment *s;

	if (ph->p_memsz == 0)
		return (0);
	if (e->n_segments == TK_MAX_SEGMENTS)
		return (bad(err, "more than 32 loadable segments"));
	if (ph->p_filesz > ph->p_memsz)
		return (bad(err, "a segment is larger in the file than in "
		    "memory"));
	if (ph->p_offset > e->size || ph->p_filesz > e->size - ph->p_offset)
		return (bad(err, "a segment lies outside the file: truncated?"));
	if (ph->p_vaddr > TK_USER_END || ph->p_memsz > TK_USER_END ||
	    ph->p_vaddr + ph->p_memsz > TK_MMAP_TOP - TK_PIE_BASE)
		return (bad(err, "a segment's address is not a program's"));
	if ((ph->p_flags & (PF_W | PF_X)) == (PF_W | PF_X))
		return (bad(err, "a segment is writable and executable: link "
		    "without -N or -z execstack"));
	if (e->n_segments > 0) {
		s = &e->segment[e->n_segments - 1];
		if (PAGE_UP(s->vaddr + s->memsz) > PAGE_DOWN(ph->p_vaddr))
			return (bad(err, "segments overlap or share a page: "
			    "link with -z separate-code"));
	}
	s = &e->segment[e->n_segments++];
	s->vaddr = ph->p_vaddr;
	s->memsz = ph->p_memsz;
	s->filesz = ph->p_filesz;
	s->offset = ph->p_offset;
	s->prot = (ph->p_flags & PF_R ? TK_PROT_R : 0) |
	    (ph->p_flags & PF_W ? TK_PROT_W : 0) |
	    (ph->p_flags & PF_X ? TK_PROT_X : 0);
	return (0);
}

/*
 * Where the shared, read-only segments lie in physical memory. Large ones are
 * placed so that virtual and physical addresses agree modulo 2 MiB, which lets
 * huge pages map them.
 */
static tk_gpa
place(tk_gpa next, tk_gva vaddr, uint64_t len)
{

	if (len >= 2 * TK_HUGE)
		next += (vaddr - next) & (TK_HUGE - 1);
	return (next);
}

static tk_gva
segment_start(const struct tk_elf *e, const struct tk_segment *s)
{

	return (PAGE_DOWN(e->bias + s->vaddr));
}

static uint64_t
segment_len(const struct tk_elf *e, const struct tk_segment *s)
{

	return (PAGE_UP(e->bias + s->vaddr + s->memsz) - segment_start(e, s));
}

static bool
in_executable_segment(const struct tk_elf *e)
{
	const struct tk_segment *s;
	unsigned i;

	for (i = 0; i < e->n_segments; i++) {
		s = &e->segment[i];
		if ((s->prot & TK_PROT_X) && e->entry - e->bias >= s->vaddr &&
		    e->entry - e->bias - s->vaddr < s->filesz)
			return (true);
	}
	return (false);
}

int
tk_elf_parse(struct tk_elf *e, const void *image, size_t size,
    struct tk_error *err)
{
	const struct tk_segment *s;
	const Elf64_Ehdr *eh = &e->header;
	Elf64_Phdr ph;
	tk_gpa next = TK_RO_GPA;
	unsigned i;

	memset(e, 0, sizeof *e);
	e->image = image;
	e->size = size;
	memcpy(&e->header, image, size < sizeof e->header ? size :
	    sizeof e->header);
	if (check_header(eh, size, err))
		return (TK_BAD_PROGRAM);
	if (eh->e_type == ET_DYN)
		e->bias = TK_PIE_BASE;
	e->entry = e->bias + eh->e_entry;
	e->phnum = eh->e_phnum;
	for (i = 0; i < eh->e_phnum; i++) {
		/* The table need not be aligned in the file. */
		memcpy(&ph, e->image + eh->e_phoff + i * sizeof ph, sizeof ph);
		if (ph.p_type == PT_INTERP && read_interpreter(e, &ph, err))
			return (TK_BAD_PROGRAM);
		if (ph.p_type == PT_LOAD && add_segment(e, &ph, err))
			return (TK_BAD_PROGRAM);
		if (ph.p_type == PT_PHDR)
			e->phdr = e->bias + ph.p_vaddr;
	}
	if (e->n_segments == 0)
		return (bad(err, "nothing to load"));
	if (eh->e_type == ET_DYN && eh->e_entry == 0)
		return (bad(err, "a shared library, not an executable"));
	if (e->bias + e->segment[0].vaddr < TK_USER_MIN)
		return (bad(err, "a segment's address is below 64 KiB"));
	if (!in_executable_segment(e))
		return (bad(err, "the entry point is not in an executable "
		    "segment"));
	for (i = 0; i < e->n_segments; i++) {
		s = &e->segment[i];
		if (segment_start(e, s) < TK_STUB_ALIAS + TK_STUB_ALIAS_SIZE &&
		    segment_start(e, s) + segment_len(e, s) > TK_STUB_ALIAS)
			return (bad(err, "a segment lies at 2 GiB, which is "
			    "reserved: link it elsewhere"));
		/* Static programs of old linkers have no PT_PHDR. */
		if (e->phdr == 0 && eh->e_phoff >= s->offset &&
		    eh->e_phoff - s->offset < s->filesz)
			e->phdr = e->bias + s->vaddr + eh->e_phoff - s->offset;
		if (!(s->prot & TK_PROT_W)) {
			next = place(next, segment_start(e, s),
			    segment_len(e, s)) + segment_len(e, s);
			if (next - TK_RO_GPA > (1ULL << 40))
				return (bad(err, "segments of a terabyte"));
		}
		e->end = segment_start(e, s) + segment_len(e, s);
	}
	e->read_only = next - TK_RO_GPA;
	return (0);
}

/* Copies file bytes to guest memory through its pages, whatever their rights. */
static void
copy_in(const struct tk_elf *e, const struct tk_segment *s,
    struct tk_space *sp)
{
	struct tk_memory *mem = sp->pt.mem;
	tk_gva a = e->bias + s->vaddr;
	const uint8_t *from = e->image + s->offset;
	uint64_t n, left, todo = s->filesz;
	tk_gpa gpa;

	while (todo > 0) {
		gpa = tk_pt_walk(&sp->pt, a, &left) & TK_PTE_ADDR;
		n = TK_PAGE - (a & (TK_PAGE - 1));
		if (n > todo)
			n = todo;
		memcpy((uint8_t *)tk_memory_at(mem, gpa) + (a & (TK_PAGE - 1)),
		    from, n);
		a += n;
		from += n;
		todo -= n;
	}
}

static int
no_room(tk_gva start, int64_t r, struct tk_error *err)
{

	return (tk_error(err, TK_BAD_PROGRAM, start, "the program's data does "
	    "not fit: %s; raise max_memory", strerror((int)-r)));
}

int
tk_elf_load(const struct tk_elf *e, struct tk_space *sp, bool private_text,
    struct tk_error *err)
{
	const struct tk_segment *s;
	tk_gpa next = TK_RO_GPA;
	tk_gva start;
	uint64_t len;
	unsigned i;
	int64_t r;

	for (i = 0; i < e->n_segments; i++) {
		s = &e->segment[i];
		start = segment_start(e, s);
		len = segment_len(e, s);
		if ((s->prot & TK_PROT_W) || private_text)
			r = tk_space_map(sp, start, len, s->prot,
			    TK_VMA_PROGRAM, true, false);
		else {
			next = place(next, start, len);
			r = tk_space_map_at(sp, start, len, s->prot,
			    TK_VMA_PROGRAM, next);
			r = r != 0 ? -r : (int64_t)start;
			next += len;
		}
		if (r < 0)
			return (no_room(start, r, err));
		copy_in(e, s, sp);
	}
	sp->brk_start = sp->brk = e->end;
	return (0);
}

int
tk_elf_load_interpreter(struct tk_elf *e, struct tk_space *sp,
    struct tk_error *err)
{
	const struct tk_segment *s;
	tk_gva base, start;
	unsigned i;
	int64_t r;

	if (e->bias == 0 || e->interpreter[0] != '\0')
		return (bad(err, "its interpreter is none"));
	base = tk_vmas_gap(&sp->vmas, TK_STUB_ALIAS + TK_STUB_ALIAS_SIZE,
	    TK_MMAP_TOP, e->end - e->bias);
	if (base == 0)
		return (no_room(0, -ENOMEM, err));
	e->entry += base - e->bias;
	e->end += base - e->bias;
	e->bias = base;
	for (i = 0; i < e->n_segments; i++) {
		s = &e->segment[i];
		start = segment_start(e, s);
		r = tk_space_map(sp, start, segment_len(e, s), s->prot,
		    TK_VMA_PROGRAM, true, false);
		if (r < 0)
			return (no_room(start, r, err));
		copy_in(e, s, sp);
	}
	return (0);
}
