/*-
 * SPDX-License-Identifier: BSD-2-Clause
 *
 * The files of proc(5) about the process and its memory.
 */

#include <stdio.h>
#include <sys/random.h>
#include <time.h>

#include "../guest_layout.h"
#include "../object.h"
#include "linux.h"
#include "path.h"

#define KIB(bytes)	((unsigned long long)(bytes) >> 10)
#define PAGES(bytes)	((unsigned long long)(bytes) >> TK_PAGE_SHIFT)

struct sizes {
	uint64_t	mapped, text, data, stack, total, unused;
};

static void
measure(const struct tk_machine *m, struct sizes *s)
{
	const struct tk_vma *v;
	uint64_t len;
	unsigned i;

	memset(s, 0, sizeof *s);
	for (i = 0; i < m->space.vmas.n; i++) {
		v = &m->space.vmas.vma[i];
		len = v->end - v->start;
		s->mapped += len;
		if (v->kind == TK_VMA_STACK)
			s->stack += len;
		else if (v->prot & TK_PROT_X)
			s->text += len;
		else if (v->prot & TK_PROT_W)
			s->data += len;
	}
	s->total = m->mem.end - m->mem.rw_gpa;
	s->unused = tk_space_free(&m->space);
}

static const char *
range_name(const struct tk_vma *v)
{

	switch (v->kind) {
	case TK_VMA_PROGRAM:
		return (TK_PROGRAM_PATH);
	case TK_VMA_HEAP:
		return ("[heap]");
	case TK_VMA_STACK:
		return ("[stack]");
	case TK_VMA_FIXED:
		return (v->start == TK_VDSO_ADDR ? "[vdso]" : "");
	default:
		return ("");
	}
}

bool
tk_make_maps(struct tk_machine *m, struct tk_bytes *b)
{
	const struct tk_vma *v;
	char line[80];
	unsigned i;
	int n;

	for (i = 0; i < m->space.vmas.n; i++) {
		v = &m->space.vmas.vma[i];
		n = snprintf(line, sizeof line, "%08llx-%08llx %c%c%cp "
		    "00000000 00:00 %d ", (unsigned long long)v->start,
		    (unsigned long long)v->end, v->prot & TK_PROT_R ? 'r' : '-',
		    v->prot & TK_PROT_W ? 'w' : '-',
		    v->prot & TK_PROT_X ? 'x' : '-', v->kind == TK_VMA_PROGRAM ||
		    v->kind == TK_VMA_FILE);
		/* The kernel pads to column 73 when a name follows. */
		if (!tk_bytes_printf(&m->files, b, "%-*s%s\n",
		    *range_name(v) != '\0' ? 73 : n, line, range_name(v)))
			return (false);
	}
	return (true);
}

bool
tk_make_status(struct tk_machine *m, struct tk_bytes *b)
{
	struct sizes s;

	measure(m, &s);
	return (tk_bytes_printf(&m->files, b,
	    "Name:\tprogram\nUmask:\t%04o\nState:\tR (running)\n"
	    "Tgid:\t1\nNgid:\t0\nPid:\t1\nPPid:\t0\nTracerPid:\t0\n"
	    "Uid:\t0\t0\t0\t0\nGid:\t0\t0\t0\t0\nFDSize:\t%u\nGroups:\t\n"
	    "VmPeak:\t%8llu kB\nVmSize:\t%8llu kB\nVmLck:\t       0 kB\n"
	    "VmHWM:\t%8llu kB\nVmRSS:\t%8llu kB\nVmData:\t%8llu kB\n"
	    "VmStk:\t%8llu kB\nVmExe:\t%8llu kB\nVmSwap:\t       0 kB\n"
	    "Threads:\t%u\nNoNewPrivs:\t1\nSeccomp:\t0\n"
	    "Cpus_allowed:\t1\nCpus_allowed_list:\t0\n"
	    "Mems_allowed:\t1\nMems_allowed_list:\t0\n",
	    (unsigned)m->files.umask, TK_MAX_FDS, KIB(s.mapped), KIB(s.mapped),
	    KIB(s.total - s.unused), KIB(s.total - s.unused), KIB(s.data),
	    KIB(s.stack), KIB(s.text), m->threads.alive));
}

bool
tk_make_process_stat(struct tk_machine *m, struct tk_bytes *b)
{
	struct timespec ts;
	struct sizes s;

	measure(m, &s);
	(void)clock_gettime(CLOCK_THREAD_CPUTIME_ID, &ts);
	/* Garbage collectors read field 28: where the stack starts. */
	return (tk_bytes_printf(&m->files, b, "1 (program) R 0 1 1 0 -1 "
	    "4194560 0 0 0 0 %llu 0 0 0 20 0 1 0 0 %llu %llu "
	    "18446744073709551615 0 0 %llu 0 0 0 0 0 0 0 0 0 17 0 0 0 0 0 0 "
	    "0 0 0 0 0 0 0 0\n", (unsigned long long)ts.tv_sec * 100 +
	    (unsigned long long)ts.tv_nsec / 10000000,
	    (unsigned long long)s.mapped, PAGES(s.total - s.unused),
	    (unsigned long long)TK_STACK_TOP - 16));
}

bool
tk_make_statm(struct tk_machine *m, struct tk_bytes *b)
{
	struct sizes s;

	measure(m, &s);
	return (tk_bytes_printf(&m->files, b, "%llu %llu 0 %llu 0 %llu 0\n",
	    PAGES(s.mapped), PAGES(s.total - s.unused), PAGES(s.text),
	    PAGES(s.data + s.stack)));
}

bool
tk_make_cmdline(struct tk_machine *m, struct tk_bytes *b)
{
	const struct tk_policy *po = m->files.policy;

	return (tk_bytes_add(&m->files, b, po->cmdline, po->cmdline_len));
}

bool
tk_make_limits(struct tk_machine *m, struct tk_bytes *b)
{

	return (tk_bytes_printf(&m->files, b, "%-26s%-21s%-21s%-10s\n"
	    "%-26s%-21u%-21s%-10s\n%-26s%-21u%-21u%-10s\n",
	    "Limit", "Soft Limit", "Hard Limit", "Units",
	    "Max stack size", TK_STACK_SIZE, "unlimited", "bytes",
	    "Max open files", TK_MAX_FDS, TK_MAX_FDS, "files"));
}

bool
tk_make_meminfo(struct tk_machine *m, struct tk_bytes *b)
{
	struct sizes s;

	measure(m, &s);
	return (tk_bytes_printf(&m->files, b,
	    "MemTotal:       %8llu kB\nMemFree:        %8llu kB\n"
	    "MemAvailable:   %8llu kB\nBuffers:        %8u kB\n"
	    "Cached:         %8u kB\nSwapCached:     %8u kB\n"
	    "SwapTotal:      %8u kB\nSwapFree:       %8u kB\n"
	    "HugePages_Total:   %5u\nHugePages_Free:    %5u\n"
	    "Hugepagesize:   %8u kB\n", KIB(s.total), KIB(s.unused),
	    KIB(s.unused), 0, 0, 0, 0, 0, 0, 0, 2048));
}

bool
tk_make_stat(struct tk_machine *m, struct tk_bytes *b)
{

	return (tk_bytes_printf(&m->files, b, "cpu  0 0 0 0 0 0 0 0 0 0\n"
	    "cpu0 0 0 0 0 0 0 0 0 0 0\nctxt 0\nbtime %llu\nprocesses 1\n"
	    "procs_running 1\nprocs_blocked 0\n",
	    (unsigned long long)(time(NULL) - 1)));
}

bool
tk_make_uptime(struct tk_machine *m, struct tk_bytes *b)
{
	struct timespec ts;

	(void)clock_gettime(CLOCK_BOOTTIME, &ts);
	return (tk_bytes_printf(&m->files, b, "%llu.%02u 0.00\n",
	    (unsigned long long)ts.tv_sec, (unsigned)(ts.tv_nsec / 10000000)));
}

bool
tk_make_uuid(struct tk_machine *m, struct tk_bytes *b)
{
	uint8_t u[16];

	if (getrandom(u, sizeof u, 0) != (ssize_t)sizeof u)
		return (false);
	/* RFC 9562: version 4, the variant 10. */
	u[6] = (u[6] & 0x0f) | 0x40;
	u[8] = (u[8] & 0x3f) | 0x80;
	return (tk_bytes_printf(&m->files, b, "%02x%02x%02x%02x-%02x%02x-"
	    "%02x%02x-%02x%02x-%02x%02x%02x%02x%02x%02x\n", u[0], u[1], u[2],
	    u[3], u[4], u[5], u[6], u[7], u[8], u[9], u[10], u[11], u[12],
	    u[13], u[14], u[15]));
}
