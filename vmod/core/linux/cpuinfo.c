/*-
 * SPDX-License-Identifier: BSD-2-Clause
 *
 * /proc/cpuinfo of the machine's one CPU, from what its CPUID says. The names
 * are those of the kernel: arch/x86/include/asm/cpufeatures.h.
 */

#include "../kvm_host.h"
#include "../object.h"
#include "linux.h"
#include "synthetic.h"

enum reg { EAX, EBX, ECX, EDX };

static const struct flag {
	const char	*name;
	uint32_t	leaf;
	uint8_t		reg, bit;
} flags[] = {
	{ "fpu", 1, EDX, 0 }, { "tsc", 1, EDX, 4 }, { "msr", 1, EDX, 5 },
	{ "pae", 1, EDX, 6 }, { "cx8", 1, EDX, 8 }, { "sep", 1, EDX, 11 },
	{ "pge", 1, EDX, 13 }, { "cmov", 1, EDX, 15 }, { "pat", 1, EDX, 16 },
	{ "clflush", 1, EDX, 19 }, { "mmx", 1, EDX, 23 },
	{ "fxsr", 1, EDX, 24 }, { "sse", 1, EDX, 25 }, { "sse2", 1, EDX, 26 },
	{ "syscall", 0x80000001, EDX, 11 }, { "nx", 0x80000001, EDX, 20 },
	{ "rdtscp", 0x80000001, EDX, 27 }, { "lm", 0x80000001, EDX, 29 },
	{ "pni", 1, ECX, 0 }, { "pclmulqdq", 1, ECX, 1 },
	{ "ssse3", 1, ECX, 9 }, { "fma", 1, ECX, 12 }, { "cx16", 1, ECX, 13 },
	{ "sse4_1", 1, ECX, 19 }, { "sse4_2", 1, ECX, 20 },
	{ "movbe", 1, ECX, 22 }, { "popcnt", 1, ECX, 23 },
	{ "aes", 1, ECX, 25 }, { "xsave", 1, ECX, 26 }, { "avx", 1, ECX, 28 },
	{ "f16c", 1, ECX, 29 }, { "rdrand", 1, ECX, 30 },
	{ "hypervisor", 1, ECX, 31 }, { "lahf_lm", 0x80000001, ECX, 0 },
	{ "abm", 0x80000001, ECX, 5 }, { "sse4a", 0x80000001, ECX, 6 },
	{ "fsgsbase", 7, EBX, 0 }, { "bmi1", 7, EBX, 3 },
	{ "avx2", 7, EBX, 5 }, { "bmi2", 7, EBX, 8 }, { "erms", 7, EBX, 9 },
	{ "avx512f", 7, EBX, 16 }, { "avx512dq", 7, EBX, 17 },
	{ "rdseed", 7, EBX, 18 }, { "adx", 7, EBX, 19 },
	{ "avx512ifma", 7, EBX, 21 }, { "clflushopt", 7, EBX, 23 },
	{ "clwb", 7, EBX, 24 }, { "avx512cd", 7, EBX, 28 },
	{ "sha_ni", 7, EBX, 29 }, { "avx512bw", 7, EBX, 30 },
	{ "avx512vl", 7, EBX, 31 }, { "avx512vbmi", 7, ECX, 1 },
	{ "avx512_vbmi2", 7, ECX, 6 }, { "gfni", 7, ECX, 8 },
	{ "vaes", 7, ECX, 9 }, { "vpclmulqdq", 7, ECX, 10 },
	{ "avx512_vnni", 7, ECX, 11 }, { "avx512_bitalg", 7, ECX, 12 },
	{ "avx512_vpopcntdq", 7, ECX, 14 }, { "fsrm", 7, EDX, 4 },
};

/* One register of a leaf; 0 where the machine has no such leaf. */
static uint32_t
cpuid(const struct tk_host *h, uint32_t leaf, unsigned reg)
{
	const struct kvm_cpuid_entry2 *e;
	unsigned i;

	for (i = 0; i < h->cpuid.head.nent && i < TK_CPUID_ROOM; i++) {
		e = &h->cpuid.entry[i];
		if (e->function == leaf && e->index == 0)
			return (reg == EAX ? e->eax : reg == EBX ? e->ebx :
			    reg == ECX ? e->ecx : e->edx);
	}
	return (0);
}

bool
tk_make_cpuinfo(struct tk_machine *m, struct tk_bytes *b)
{
	struct tk_files *fs = &m->files;
	const struct tk_host *h = m->host;
	uint32_t vendor[4] = { 0 }, brand[13] = { 0 }, v, family, model;
	unsigned i;
	bool ok;

	vendor[0] = cpuid(h, 0, EBX);
	vendor[1] = cpuid(h, 0, EDX);
	vendor[2] = cpuid(h, 0, ECX);
	for (i = 0; i < 12; i++)
		brand[i] = cpuid(h, 0x80000002 + i / 4, i % 4);
	/* Intel SDM vol. 2A, CPUID, figure 3-6. */
	v = cpuid(h, 1, EAX);
	family = v >> 8 & 15;
	model = v >> 4 & 15;
	if (family == 6 || family == 15)
		model |= v >> 12 & 0xf0;
	if (family == 15)
		family += v >> 20 & 0xff;
	ok = tk_bytes_printf(fs, b, "processor\t: 0\nvendor_id\t: %s\n"
	    "cpu family\t: %u\nmodel\t\t: %u\nmodel name\t: %s\n"
	    "stepping\t: %u\nphysical id\t: 0\nsiblings\t: 1\ncore id\t\t: 0\n"
	    "cpu cores\t: 1\napicid\t\t: 0\nfpu\t\t: yes\n"
	    "cpuid level\t: %u\nflags\t\t:", (const char *)vendor, family,
	    model, (const char *)brand, v & 15, cpuid(h, 0, EAX));
	for (i = 0; ok && i < sizeof flags / sizeof flags[0]; i++)
		if (cpuid(h, flags[i].leaf, flags[i].reg) >> flags[i].bit & 1)
			ok = tk_bytes_printf(fs, b, " %s", flags[i].name);
	return (ok && tk_bytes_printf(fs, b, "\nclflush size\t: 64\n"
	    "cache_alignment\t: 64\n\n"));
}
