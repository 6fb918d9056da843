/*-
 * SPDX-License-Identifier: BSD-2-Clause
 */

#include <errno.h>

#include "guest_kernel.h"
#include "guest_layout.h"
#include "object.h"

extern const uint8_t tk_stubs[], tk_stubs_end[], tk_stub_syscall[],
    tk_stub_sysret[], tk_stub_iret[];
extern const uint8_t tk_ustubs[], tk_ustubs_end[], tk_ustub_entry[],
    tk_ustub_resume[],
    tk_ustub_entry_end[], tk_ustub_return[], tk_ustub_empty[],
    tk_ustub_syscall[], tk_ustub_sysret[], tk_ustub_signal_return[],
    tk_ustub_probe[], tk_ustub_probe_landing[], tk_ustub_probe_keys[],
    tk_ustub_entry_keys[], tk_ustub_resume_keys[];
extern const uint8_t tk_vdso[], tk_vdso_end[];

/* Interrupt gate: Intel SDM vol. 3A, figure 6-8. */
struct gate {
	uint16_t	offset_low;
	uint16_t	selector;
	uint8_t		ist;
	uint8_t		type;
	uint16_t	offset_middle;
	uint32_t	offset_high;
	uint32_t	reserved;
} __attribute__((packed));
_Static_assert(sizeof(struct gate) == 16, "IDT entry");

/* 64-bit TSS: Intel SDM vol. 3A, figure 8-11. */
struct tss {
	uint32_t	reserved0;
	uint64_t	rsp[3];
	uint64_t	reserved1;
	uint64_t	ist[7];
	uint64_t	reserved2;
	uint16_t	reserved3;
	uint16_t	io_map;
	uint8_t		ports[65];
} __attribute__((packed));
_Static_assert(offsetof(struct tss, ports) == 104, "TSS");
_Static_assert(sizeof(struct tss) == TK_TSS_LIMIT + 1, "TSS limit");
_Static_assert(sizeof(struct tss) <= TK_TSS_STEP, "TSS step");
_Static_assert(TK_MAX_CPUS * TK_TSS_STEP <= TK_PAGE, "TSS page");
_Static_assert(TK_MAX_CPUS * TK_GS_STEP <= TK_K_RESUME - TK_K_VCPU, "%gs");

#define GATE_INTERRUPT	0x8e		/* present, DPL 0 */
#define GATE_INT3	0xee		/* DPL 3: a program may say int3 */
#define VECTOR_BP	3

static tk_gva
in_stubs(const uint8_t *symbol)
{

	return (TK_KERNEL + TK_K_STUBS + (tk_gva)(symbol - tk_stubs));
}

static tk_gva
in_ustubs(const uint8_t *symbol)
{

	return (TK_KERNEL + TK_K_USER_STUBS + (tk_gva)(symbol - tk_ustubs));
}

tk_gva
tk_entry_address(void)
{

	return (in_ustubs(tk_ustub_entry));
}

tk_gva
tk_resume_address(void)
{

	return (in_ustubs(tk_ustub_resume));
}

tk_gva
tk_entry_end(void)
{

	return (in_ustubs(tk_ustub_entry_end));
}

tk_gva
tk_return_address(void)
{

	return (in_ustubs(tk_ustub_return));
}

tk_gva
tk_empty_address(void)
{

	return (in_ustubs(tk_ustub_empty));
}

tk_gva
tk_signal_return_address(void)
{

	return (in_ustubs(tk_ustub_signal_return));
}

tk_gva
tk_iret_address(void)
{

	return (in_stubs(tk_stub_iret));
}

tk_gva
tk_probe_address(void)
{

	return (in_ustubs(tk_ustub_probe));
}

tk_gva
tk_probe_landing(void)
{

	return (in_ustubs(tk_ustub_probe_landing));
}

tk_gva
tk_probe_keys_address(void)
{

	return (in_ustubs(tk_ustub_probe_keys));
}

tk_gva
tk_syscall_target(const struct tk_host *h)
{

	return (h->facts.syscall_lands_in_ring3 ? in_ustubs(tk_ustub_syscall) :
	    in_stubs(tk_stub_syscall));
}

tk_gva
tk_sysret_address(const struct tk_host *h)
{

	return (h->facts.syscall_lands_in_ring3 ? in_ustubs(tk_ustub_sysret) :
	    in_stubs(tk_stub_sysret));
}

/*
 * No 32-bit user code segment: a program cannot leave 64-bit mode where these
 * descriptors are the ones that count.
 */
static void
write_gdt(uint64_t *gdt)
{
	uint64_t base = TK_KERNEL + TK_K_TSS;

	gdt[TK_SEL_KCODE / 8] = 0x00af9b000000ffffULL;
	gdt[TK_SEL_KDATA / 8] = 0x00cf93000000ffffULL;
	gdt[TK_SEL_UDATA / 8] = 0x00cff3000000ffffULL;
	gdt[TK_SEL_UCODE / 8] = 0x00affb000000ffffULL;
	/* A busy 64-bit TSS: nobody loads it, so nobody has to mark it. */
	gdt[TK_SEL_TSS / 8] = 0x00008b0000000000ULL | TK_TSS_LIMIT |
	    (base & 0xffffff) << 16 | (base >> 24 & 0xff) << 56;
	gdt[TK_SEL_TSS / 8 + 1] = base >> 32;
}

static void
write_idt(struct gate *idt)
{
	tk_gva stub;
	unsigned i;

	for (i = 0; i < 32; i++) {
		stub = TK_KERNEL + TK_K_STUBS + i * 16;
		idt[i].offset_low = (uint16_t)stub;
		idt[i].offset_middle = (uint16_t)(stub >> 16);
		idt[i].offset_high = (uint32_t)(stub >> 32);
		idt[i].selector = TK_SEL_KCODE;
		idt[i].ist = 1;
		idt[i].type = i == VECTOR_BP ? GATE_INT3 : GATE_INTERRUPT;
	}
}

static void
write_tss(struct tss *tss, unsigned cpu)
{

	tss->rsp[0] = TK_EXC_STACK_TOP + cpu * TK_EXC_STACK_STEP;
	tss->ist[0] = tss->rsp[0];
	tss->io_map = offsetof(struct tss, ports);
	memset(tss->ports, 0xff, sizeof tss->ports);
	/* A 4-byte `out` to ports 0 and 1 needs the bits 0..4 clear. */
	tss->ports[0] = 0xe0;
}

/*
 * x87 and SSE as Linux starts a program: SysV ABI, 3.4.1. Both are marked as
 * there, or else MXCSR stays what it was; the rest becomes zero. The layout is
 * Intel SDM vol. 1, 13.4.
 */
static void
write_fpu(uint8_t *image, const struct tk_host *h)
{
	uint16_t fcw = 0x37f;
	uint32_t mxcsr = 0x1f80, mask = 0xffff;
	uint64_t there = 3 | h->xsave_keys;

	memset(image, 0, TK_PAGE);
	memcpy(image, &fcw, sizeof fcw);
	memcpy(image + 24, &mxcsr, sizeof mxcsr);
	memcpy(image + 28, &mask, sizeof mask);
	memcpy(image + 512, &there, sizeof there);
}

/* A NOP of wrpkru's length: Intel SDM vol. 2, NOP. */
static const uint8_t nop[3] = { 0x0f, 0x1f, 0x00 };

void
tk_kernel_stubs(const struct tk_memory *mem, const struct tk_host *h)
{
	uint8_t *u = tk_memory_at(mem, TK_K_USER_STUBS);

	memcpy(tk_memory_at(mem, TK_K_STUBS), tk_stubs,
	    (size_t)(tk_stubs_end - tk_stubs));
	memcpy(u, tk_ustubs, (size_t)(tk_ustubs_end - tk_ustubs));
	if (!h->has_keys) {
		memcpy(u + (tk_ustub_entry_keys - tk_ustubs), nop, sizeof nop);
		memcpy(u + (tk_ustub_resume_keys - tk_ustubs), nop,
		    sizeof nop);
	}
}

static int
map_one(struct tk_space *sp, tk_gva gva, tk_gpa gpa, uint64_t flags)
{
	uint64_t *e = tk_pt_entry(&sp->pt, gva, true);

	if (e == NULL)
		return (ENOMEM);
	return (tk_pt_set(&sp->pt, e, gpa | flags | TK_PTE_P | TK_PTE_AD));
}

int
tk_kernel_install(struct tk_space *sp, const struct tk_host *h)
{
	static const struct {
		tk_gpa		page;
		uint64_t	flags;
	} pages[] = {
		{ TK_K_GDT, TK_PTE_NX },
		{ TK_K_IDT, TK_PTE_NX },
		{ TK_K_STUBS, 0 },
		{ TK_K_TSS, TK_PTE_NX },
		{ TK_K_USER_STUBS, TK_PTE_U },
		{ TK_K_VCPU, TK_PTE_U | TK_PTE_NX },
	};
	struct tk_memory *mem = sp->pt.mem;
	unsigned i;
	int e = 0;

	tk_assert(tk_stubs_end - tk_stubs <= TK_PAGE);
	tk_assert(tk_ustubs_end - tk_ustubs <= TK_PAGE);
	tk_assert(tk_vdso_end - tk_vdso <= TK_VDSO_PAGES * TK_PAGE);
	write_gdt(tk_memory_at(mem, TK_K_GDT));
	write_idt(tk_memory_at(mem, TK_K_IDT));
	for (i = 0; i < TK_MAX_CPUS; i++) {
		write_tss((struct tss *)(void *)((uint8_t *)tk_memory_at(mem,
		    TK_K_TSS) + i * TK_TSS_STEP), i);
		*(uint32_t *)tk_memory_at(mem, TK_K_VCPU + i * TK_GS_STEP) = i;
	}
	write_fpu(tk_memory_at(mem, TK_K_FPU), h);
	tk_kernel_stubs(mem, h);
	memcpy(tk_memory_at(mem, TK_K_VDSO), tk_vdso,
	    (size_t)(tk_vdso_end - tk_vdso));

	for (i = 0; i < sizeof pages / sizeof pages[0] && e == 0; i++)
		e = map_one(sp, TK_KERNEL + pages[i].page, pages[i].page,
		    pages[i].flags);
	for (i = 0; i < TK_FPU_PAGES && e == 0; i++)
		e = map_one(sp, TK_KERNEL + TK_K_FPU + i * TK_PAGE,
		    TK_K_FPU + i * TK_PAGE, TK_PTE_U | TK_PTE_NX);
	for (i = 0; i < TK_MAX_CPUS && e == 0; i++)
		e = map_one(sp, TK_EXC_STACK + i * TK_EXC_STACK_STEP,
		    mem->rw_gpa + i * TK_PAGE, TK_PTE_W | TK_PTE_NX);
	/* The program's view of time. */
	if (e == 0)
		e = tk_space_map_at(sp, TK_VDSO_ADDR, TK_PAGE, TK_PROT_R,
		    TK_VMA_FIXED, TK_CLOCK_GPA);
	if (e == 0)
		e = tk_space_map_at(sp, TK_VDSO_ADDR + TK_PAGE,
		    TK_VDSO_PAGES * TK_PAGE, TK_PROT_R | TK_PROT_X,
		    TK_VMA_FIXED, TK_K_VDSO);
	return (e);
}
