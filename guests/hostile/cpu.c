/*-
 * SPDX-License-Identifier: BSD-2-Clause
 *
 * The CPU: what user code may not do, and state that it could leave behind.
 */

#define _GNU_SOURCE
#include <sys/mman.h>

#include "hostile.h"

#define MISDEED(name, code)						\
	static void							\
	name(const char *arg)						\
	{								\
									\
		(void)arg;						\
		__asm__ volatile (code ::: "rax", "rcx", "rdx", "memory"); \
	}

MISDEED(ud2, "ud2")
MISDEED(int3, "int3")
MISDEED(int80, "int $0x80")
MISDEED(hlt, "hlt")
MISDEED(cli, "cli")
MISDEED(sti, "sti")
MISDEED(rdmsr, "mov $0xc0000080, %%ecx\n rdmsr")
MISDEED(wrmsr, "mov $0xc0000082, %%ecx\n wrmsr")
MISDEED(mov_cr3, "mov %%cr3, %%rax")
MISDEED(mov_dr7, "mov %%rax, %%dr7")
MISDEED(lgdt, "sub $16, %%rsp\n lgdt (%%rsp)\n add $16, %%rsp")
MISDEED(ltr, "mov $0x40, %%eax\n ltr %%ax")
MISDEED(swapgs, "swapgs")
MISDEED(sysret, "xor %%ecx, %%ecx\n sysretq")
MISDEED(invlpg, "invlpg (%%rsp)")
MISDEED(wbinvd, "wbinvd")
MISDEED(out_port, "mov $0x99, %%edx\n out %%eax, %%dx")
MISDEED(out_exception_port, "mov $14, %%eax\n out %%eax, $0x8e")
MISDEED(out_syscall_port, "mov $1000, %%eax\n out %%eax, $1")
MISDEED(out_byte, "out %%al, $0")
MISDEED(out_word, "out %%ax, $2")
MISDEED(in_port, "in $0, %%eax")
MISDEED(in_byte, "in $0, %%al")
MISDEED(div0, "xor %%ecx, %%ecx\n div %%ecx")
MISDEED(vmcall, "vmcall")
MISDEED(vmmcall, "vmmcall")
MISDEED(set_tf, "pushfq\n orq $0x100, (%%rsp)\n popfq\n nop\n nop")
MISDEED(bad_selector, "mov $0x1003, %%eax\n mov %%eax, %%ds")
/* Protection keys: no access at all, or no write, to what has key 0. */
#define KEYS(rights)	"xor %%ecx, %%ecx\n xor %%edx, %%edx\n"		\
			"mov $" rights ", %%eax\n wrpkru"
MISDEED(deny_memory, KEYS("0x55555557"))
MISDEED(deny_writes, KEYS("0x55555556"))

static void
rep_outs(const char *arg)
{
	unsigned long n = 100;

	__asm__ volatile ("rep outsl" : "+S" (arg), "+c" (n) : "d" (0));
}

static void
rep_ins(const char *arg)
{
	static char buf[400];
	char *p = buf;
	unsigned long n = 100;

	(void)arg;
	__asm__ volatile ("rep insl" : "+D" (p), "+c" (n) : "d" (0)
	    : "memory");
}


static void
spin(const char *arg)
{

	(void)arg;
	for (;;)
		__asm__ volatile ("pause");
}

static void
jump_kernel(const char *arg)
{

	(void)arg;
	((void (*)(void))0xffffffff80003000)();
}

/* Into the entry stub, with whatever is in the registers. */
static void
jump_stub(const char *arg)
{

	(void)arg;
	((void (*)(void))0xffffffff80005000)();
}

static void
iret(const char *arg)
{

	(void)arg;
	__asm__ volatile ("pushq $0x18\n pushq %%rsp\n pushfq\n pushq $0x10\n"
	    "lea 1f(%%rip), %%rax\n pushq %%rax\n iretq\n1:" ::: "rax",
	    "memory");
}

/* 32-bit code, if the machine has a segment for it. */
static void
far_jump_compat(const char *arg)
{
	static const unsigned char code[] = { 0x31, 0xc0, 0xe7, 0x00, 0xeb,
	    0xfe };
	static struct { unsigned offset; unsigned short selector; }
	    __attribute__((packed)) to;
	char *p;

	(void)arg;
	p = mmap((void *)0x10000000, 4096, PROT_READ | PROT_WRITE,
	    MAP_PRIVATE | MAP_ANONYMOUS | MAP_FIXED, -1, 0);
	if (p == MAP_FAILED)
		return;
	memcpy(p, code, sizeof code);
	to.offset = 0x10000000;
	to.selector = 0x23;
	__asm__ volatile ("ljmpl *%0" :: "m" (to) : "memory");
}

/* To code of its own in the text, below 4 GiB in a static program. */
static void
far_jump_text(const char *arg)
{
	static struct { unsigned offset; unsigned short selector; }
	    __attribute__((packed)) to;
	extern const char compat_code[];

	(void)arg;
	to.offset = (unsigned)(unsigned long)compat_code;
	to.selector = 0x23;
	__asm__ volatile (
	    "ljmpl *%0\n"
	    "compat_code:\n"
	    "	.byte 0xb8, 0x10, 0x00, 0x01, 0x00\n"	/* mov $0x10010, %eax */
	    "	.byte 0xe7, 0x00\n"			/* out %eax, $0 */
	    "	.byte 0xeb, 0xfe\n"			/* jmp . */
	    :: "m" (to) : "memory");
}

static void
load_segments(const char *arg)
{

	(void)arg;
	__asm__ volatile ("mov $0x2b, %%eax\n mov %%eax, %%ds\n"
	    "xor %%eax, %%eax\n mov %%eax, %%es\n mov %%eax, %%gs"
	    ::: "rax", "memory");
}

static void
change_bases(const char *arg)
{

	(void)arg;
	__asm__ volatile ("wrgsbase %0" :: "r" (0x1234567UL));
	respond_text(200, "ok\n");
}

/*
 * Direction, alignment check, ID. What becomes of the answer depends on how the
 * C library copies on this CPU.
 */
static void
set_flags(const char *arg)
{

	(void)arg;
	__asm__ volatile ("pushfq\n orq $0x240400, (%%rsp)\n popfq\n"
	    ::: "memory", "cc");
	respond_text(200, "ok\n");
}

static void
zero_stack_syscall(const char *arg)
{

	(void)arg;
	__asm__ volatile ("xor %%esp, %%esp\n mov $39, %%eax\n syscall\n ud2"
	    ::: "memory");
}

static void
kernel_stack_syscall(const char *arg)
{

	(void)arg;
	__asm__ volatile ("mov $0xffffffff80005800, %%rsp\n mov $39, %%eax\n"
	    "syscall\n push %%rax\n ud2" ::: "memory");
}

static void
kernel_stack_fault(const char *arg)
{

	(void)arg;
	__asm__ volatile ("mov $0xffffffff80020800, %%rsp\n ud2" ::: "memory");
}

static void
dirty_fpu(const char *arg)
{
	unsigned mxcsr = 0x9f80;
	unsigned short cw = 0x27f;

	(void)arg;
	__asm__ volatile ("movq %0, %%xmm0\n movq %0, %%xmm9\n"
	    "movq %0, %%xmm15\n movq %0, %%mm1\n ldmxcsr %1\n fldcw %2\n"
	    :: "r" (0x5ec2e75ec2e75ec2UL), "m" (mxcsr), "m" (cw) : "memory");
	respond(200, "text/plain", "ok\n", 3);
}

static void
read_fpu(const char *arg)
{
	static unsigned char image[512] __attribute__((aligned(16)));
	unsigned long sum = 0;
	int i;

	(void)arg;
	__asm__ volatile ("fxsave %0" : "=m" (image));
	/* x87 registers and XMM: 32..416. MXCSR: 24. Control word: 0. */
	for (i = 32; i < 416; i++)
		sum = sum * 31 + image[i];
	respondf(200, "%02x%02x %02x%02x %lx\n", image[1], image[0], image[25],
	    image[24], sum);
}

const struct misdeed cpu_misdeeds[] = {
	{ "/ud2", ud2 }, { "/int3", int3 }, { "/int80", int80 },
	{ "/hlt", hlt }, { "/cli", cli }, { "/sti", sti },
	{ "/rdmsr", rdmsr }, { "/wrmsr", wrmsr }, { "/mov-cr3", mov_cr3 },
	{ "/mov-dr7", mov_dr7 }, { "/lgdt", lgdt }, { "/ltr", ltr },
	{ "/swapgs", swapgs }, { "/sysret", sysret }, { "/invlpg", invlpg },
	{ "/wbinvd", wbinvd }, { "/out-port", out_port },
	{ "/out-exception-port", out_exception_port },
	{ "/out-syscall-port", out_syscall_port }, { "/out-byte", out_byte },
	{ "/out-word", out_word }, { "/in-port", in_port },
	{ "/in-byte", in_byte }, { "/vmcall", vmcall },
	{ "/vmmcall", vmmcall }, { "/set-tf", set_tf },
	{ "/bad-selector", bad_selector }, { "/rep-outs", rep_outs },
	{ "/rep-ins", rep_ins }, { "/div0", div0 }, { "/spin", spin },
	{ "/jump-kernel", jump_kernel }, { "/jump-stub", jump_stub },
	{ "/iret", iret }, { "/far-jump-compat", far_jump_compat },
	{ "/far-jump-text", far_jump_text },
	{ "/load-segments", load_segments }, { "/change-bases", change_bases },
	{ "/set-flags", set_flags },
	{ "/deny-memory", deny_memory }, { "/deny-writes", deny_writes },
	{ "/zero-stack-syscall", zero_stack_syscall },
	{ "/kernel-stack-syscall", kernel_stack_syscall },
	{ "/kernel-stack-fault", kernel_stack_fault },
	{ "/dirty-fpu", dirty_fpu }, { "/read-fpu", read_fpu },
	{ NULL, NULL }
};
