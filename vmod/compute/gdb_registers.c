/*-
 * SPDX-License-Identifier: BSD-2-Clause
 *
 * The names, types and groups are those that GDB asks of an x86-64 target:
 * its manual, "i386 Features".
 */

#include <signal.h>
#include <string.h>

#include "gdb.h"
#include "object.h"

#define R(name, bits, type) \
	"<reg name=\"" name "\" bitsize=\"" bits "\" type=\"" type "\"/>"
#define R64(name)	R(name, "64", "int64")
#define R32(name)	R(name, "32", "int32")
#define ST(n)		R("st" n, "80", "i387_ext")
#define FLOAT(name) \
	"<reg name=\"" name "\" bitsize=\"32\" type=\"int\" group=\"float\"/>"
#define XMM(n)		R("xmm" n, "128", "vec128")
#define FIELD(name, type) \
	"<field name=\"" name "\" type=\"" type "\"/>"
#define FLAG(name, bit) \
	"<field name=\"" name "\" start=\"" bit "\" end=\"" bit "\"/>"

const char tkc_gdb_target[] =
    "<?xml version=\"1.0\"?><!DOCTYPE target SYSTEM \"gdb-target.dtd\">"
    "<target><architecture>i386:x86-64</architecture>"
    "<osabi>GNU/Linux</osabi>"
    "<feature name=\"org.gnu.gdb.i386.core\">"
    "<flags id=\"i386_eflags\" size=\"4\">"
    FLAG("CF", "0") FLAG("PF", "2") FLAG("AF", "4") FLAG("ZF", "6")
    FLAG("SF", "7") FLAG("TF", "8") FLAG("IF", "9") FLAG("DF", "10")
    FLAG("OF", "11") FLAG("AC", "18") FLAG("ID", "21") "</flags>"
    R64("rax") R64("rbx") R64("rcx") R64("rdx") R64("rsi") R64("rdi")
    R("rbp", "64", "data_ptr") R("rsp", "64", "data_ptr")
    R64("r8") R64("r9") R64("r10") R64("r11") R64("r12") R64("r13")
    R64("r14") R64("r15") R("rip", "64", "code_ptr")
    R("eflags", "32", "i386_eflags")
    R32("cs") R32("ss") R32("ds") R32("es") R32("fs") R32("gs")
    ST("0") ST("1") ST("2") ST("3") ST("4") ST("5") ST("6") ST("7")
    FLOAT("fctrl") FLOAT("fstat") FLOAT("ftag") FLOAT("fiseg")
    FLOAT("fioff") FLOAT("foseg") FLOAT("fooff") FLOAT("fop")
    "</feature><feature name=\"org.gnu.gdb.i386.sse\">"
    "<vector id=\"v4f\" type=\"ieee_single\" count=\"4\"/>"
    "<vector id=\"v2d\" type=\"ieee_double\" count=\"2\"/>"
    "<vector id=\"v16i8\" type=\"int8\" count=\"16\"/>"
    "<vector id=\"v8i16\" type=\"int16\" count=\"8\"/>"
    "<vector id=\"v4i32\" type=\"int32\" count=\"4\"/>"
    "<vector id=\"v2i64\" type=\"int64\" count=\"2\"/>"
    "<union id=\"vec128\">" FIELD("v4_float", "v4f")
    FIELD("v2_double", "v2d") FIELD("v16_int8", "v16i8")
    FIELD("v8_int16", "v8i16") FIELD("v4_int32", "v4i32")
    FIELD("v2_int64", "v2i64") FIELD("uint128", "uint128") "</union>"
    XMM("0") XMM("1") XMM("2") XMM("3") XMM("4") XMM("5") XMM("6") XMM("7")
    XMM("8") XMM("9") XMM("10") XMM("11") XMM("12") XMM("13") XMM("14")
    XMM("15")
    "<reg name=\"mxcsr\" bitsize=\"32\" type=\"int\" group=\"vector\"/>"
    "</feature><feature name=\"org.gnu.gdb.i386.linux\">"
    "<reg name=\"orig_rax\" bitsize=\"64\" type=\"int64\" group=\"system\"/>"
    "</feature><feature name=\"org.gnu.gdb.i386.segments\">"
    R("fs_base", "64", "int") R("gs_base", "64", "int")
    "</feature></target>";

/* By number, as the description lists them. */
enum {
	RIP = TK_GENERAL, EFLAGS, CS, SS, DS, ES, FS, GS, ST0,
	FCTRL = ST0 + 8, FSTAT, FTAG, FISEG, FIOFF, FOSEG, FOOFF, FOP, XMM0,
	MXCSR = XMM0 + 16, ORIG_RAX, FS_BASE, GS_BASE
};

/* Where the FXSAVE area has them, and how many bytes. */
static const struct {
	uint16_t	at, size;
} fx[] = {
	[FCTRL - FCTRL] = { 0, 2 },
	[FSTAT - FCTRL] = { 2, 2 },
	[FISEG - FCTRL] = { 12, 2 },
	[FIOFF - FCTRL] = { 8, 4 },
	[FOSEG - FCTRL] = { 20, 2 },
	[FOOFF - FCTRL] = { 16, 4 },
	[FOP - FCTRL] = { 6, 2 },
};

/* One bit a register there, two here: valid or empty. */
static uint32_t
full_tags(uint8_t abridged)
{
	uint32_t tags = 0;
	unsigned i;

	for (i = 0; i < 8; i++)
		if (!(abridged & 1U << i))
			tags |= 3U << (2 * i);
	return (tags);
}

static uint8_t
abridged_tags(uint32_t tags)
{
	uint8_t abridged = 0;
	unsigned i;

	for (i = 0; i < 8; i++)
		if ((tags >> (2 * i) & 3) != 3)
			abridged |= (uint8_t)(1U << i);
	return (abridged);
}

/* The registers that are bytes of *r, as they are; NULL for others. */
static const void *
plain(const struct tk_debug_regs *r, unsigned n, size_t *size)
{

	*size = 8;
	if (n < TK_GENERAL)
		return (&r->general[n]);
	if (n == RIP)
		return (&r->rip);
	if (n == FS_BASE)
		return (&r->fs_base);
	if (n == GS_BASE)
		return (&r->gs_base);
	*size = 4;
	if (n == EFLAGS)
		return (&r->rflags);
	if (n == MXCSR)
		return (r->fxsave + 24);
	*size = 10;
	if (n >= ST0 && n < FCTRL)
		return (r->fxsave + 32 + 16 * (n - ST0));
	*size = 16;
	if (n >= XMM0 && n < MXCSR)
		return (r->fxsave + 160 + 16 * (n - XMM0));
	return (NULL);
}

size_t
tkc_gdb_register(const struct tk_debug_regs *r, unsigned n, uint8_t *to)
{
	const void *p;
	uint32_t tags;
	size_t size;

	p = plain(r, n, &size);
	if (p != NULL) {
		memcpy(to, p, size);
		return (size);
	}
	if (n > GS_BASE)
		return (0);
	if (n == ORIG_RAX) {
		/* Not in the middle of a system call. */
		memset(to, 0xff, 8);
		return (8);
	}
	memset(to, 0, 4);
	if (n >= CS && n <= GS)
		to[0] = n == CS ? 0x33 : 0x2b;
	else if (n == FTAG) {
		tags = full_tags(r->fxsave[4]);
		memcpy(to, &tags, sizeof tags);
	} else {
		tk_assert(n >= FCTRL && n <= FOP);
		memcpy(to, r->fxsave + fx[n - FCTRL].at, fx[n - FCTRL].size);
	}
	return (4);
}

void
tkc_gdb_set_register(struct tk_debug_regs *r, unsigned n, const uint8_t *from)
{
	uint32_t tags;
	size_t size;
	void *p;

	p = (void *)(uintptr_t)plain(r, n, &size);
	if (p != NULL)
		memcpy(p, from, size);
	else if (n == FTAG) {
		memcpy(&tags, from, sizeof tags);
		r->fxsave[4] = abridged_tags(tags);
	} else if (n >= FCTRL && n <= FOP)
		memcpy(r->fxsave + fx[n - FCTRL].at, from,
		    fx[n - FCTRL].size);
	/* Segments are what they are. */
}

int
tkc_gdb_signal(int sig)
{

	switch (sig) {
	case SIGBUS: return (10);
	case SIGSYS: return (12);
	default: return (sig);	/* those that are sent here agree */
	}
}
