/*-
 * SPDX-License-Identifier: BSD-2-Clause
 *
 * The process: who it is, what it may use, randomness.
 */

#include <asm/prctl.h>
#include <errno.h>
#include <linux/membarrier.h>
#include <linux/prctl.h>
#include <stdio.h>
#include <sys/random.h>
#include <sys/resource.h>
#include <sys/sysinfo.h>
#include <sys/times.h>
#include <sys/utsname.h>
#include <time.h>

#include "../guest_layout.h"
#include "../object.h"
#include "linux.h"

/* The process and its thread have the number 1. */
int64_t
tk_sys_one(struct tk_machine *m, const uint64_t a[6])
{

	(void)m;
	(void)a;
	return (1);
}

int64_t
tk_sys_zero(struct tk_machine *m, const uint64_t a[6])
{

	(void)m;
	(void)a;
	return (0);
}

int64_t
tk_sys_absent(struct tk_machine *m, const uint64_t a[6])
{

	(void)m;
	(void)a;
	return (-ENOSYS);
}

int64_t
tk_sys_not_allowed(struct tk_machine *m, const uint64_t a[6])
{

	(void)m;
	(void)a;
	return (-EACCES);
}

int64_t
tk_sys_unsupported(struct tk_machine *m, const uint64_t a[6])
{

	(void)m;
	(void)a;
	return (-EOPNOTSUPP);
}

/* The libc does it another way then. */
int64_t
tk_sys_invalid(struct tk_machine *m, const uint64_t a[6])
{

	(void)m;
	(void)a;
	return (-EINVAL);
}

int64_t
tk_sys_arch_prctl(struct tk_machine *m, const uint64_t a[6])
{
	tk_gva fs, gs;

	if (a[0] != ARCH_SET_FS && a[0] != ARCH_SET_GS &&
	    a[0] != ARCH_GET_FS && a[0] != ARCH_GET_GS)
		return (-EINVAL);
	if (tk_vcpu_get_bases(m->vcpu, &fs, &gs))
		return (-EPERM);
	if (a[0] == ARCH_GET_FS || a[0] == ARCH_GET_GS)
		return (tk_write(m, a[1], a[0] == ARCH_GET_FS ? &fs : &gs,
		    sizeof fs) ? 0 : -EFAULT);
	if (a[1] >= TK_USER_END)
		return (-EPERM);
	if (a[0] == ARCH_SET_FS)
		fs = a[1];
	else
		gs = a[1];
	return (-tk_vcpu_set_bases(m->vcpu, fs, gs));
}

int64_t
tk_sys_uname(struct tk_machine *m, const uint64_t a[6])
{
	struct utsname un;

	memset(&un, 0, sizeof un);
	(void)snprintf(un.sysname, sizeof un.sysname, "Linux");
	(void)snprintf(un.nodename, sizeof un.nodename, "tinykvm");
	(void)snprintf(un.release, sizeof un.release, "6.1.0-tinykvm");
	(void)snprintf(un.version, sizeof un.version, "#1 TinyKVM");
	(void)snprintf(un.machine, sizeof un.machine, "x86_64");
	return (tk_write(m, a[0], &un, sizeof un) ? 0 : -EFAULT);
}

int64_t
tk_sys_sysinfo(struct tk_machine *m, const uint64_t a[6])
{
	const struct tk_memory *mem = &m->mem;
	struct sysinfo si;

	memset(&si, 0, sizeof si);
	si.uptime = 1;
	si.totalram = mem->end - mem->rw_gpa;
	si.freeram = tk_space_free(&m->space);
	si.procs = 1;
	si.mem_unit = 1;
	return (tk_write(m, a[0], &si, sizeof si) ? 0 : -EFAULT);
}

static void
limits(uint64_t which, struct rlimit *r)
{

	r->rlim_cur = r->rlim_max = RLIM_INFINITY;
	switch (which) {
	case RLIMIT_STACK:
		r->rlim_cur = TK_STACK_SIZE;
		break;
	case RLIMIT_NOFILE:
		r->rlim_cur = r->rlim_max = TK_MAX_FDS;
		break;
	case RLIMIT_CORE:
	case RLIMIT_NPROC:
		r->rlim_cur = r->rlim_max = 0;
		break;
	default:
		break;
	}
}

int64_t
tk_sys_getrlimit(struct tk_machine *m, const uint64_t a[6])
{
	struct rlimit r;

	if (a[0] >= RLIM_NLIMITS)
		return (-EINVAL);
	limits(a[0], &r);
	return (tk_write(m, a[1], &r, sizeof r) ? 0 : -EFAULT);
}

int64_t
tk_sys_prlimit64(struct tk_machine *m, const uint64_t a[6])
{
	struct rlimit r;

	if (a[1] >= RLIM_NLIMITS)
		return (-EINVAL);
	if (a[0] > 1)
		return (-ESRCH);
	if (a[2] != 0)
		return (-EPERM);
	limits(a[1], &r);
	if (a[3] != 0 && !tk_write(m, a[3], &r, sizeof r))
		return (-EFAULT);
	return (0);
}

/* Linux answers at most so much at once without being interruptible. */
#define MAX_RANDOM	65536

int64_t
tk_sys_getrandom(struct tk_machine *m, const uint64_t a[6])
{
	uint8_t buf[256];
	uint64_t done = 0, len = a[1] > MAX_RANDOM ? MAX_RANDOM : a[1], n;

	while (done < len) {
		n = len - done < sizeof buf ? len - done : sizeof buf;
		if (getrandom(buf, n, 0) != (ssize_t)n)
			return (-EAGAIN);
		if (!tk_write(m, a[0] + done, buf, n))
			return (-EFAULT);
		done += n;
	}
	return ((int64_t)done);
}

int64_t
tk_sys_sched_getaffinity(struct tk_machine *m, const uint64_t a[6])
{
	uint64_t one = 1;

	if (a[1] < sizeof one)
		return (-EINVAL);
	return (tk_write(m, a[2], &one, sizeof one) ?
	    (int64_t)sizeof one : -EFAULT);
}

int64_t
tk_sys_getcpu(struct tk_machine *m, const uint64_t a[6])
{
	uint32_t zero = 0;
	unsigned i;

	for (i = 0; i < 2; i++)
		if (a[i] != 0 && !tk_write(m, a[i], &zero, sizeof zero))
			return (-EFAULT);
	return (0);
}

int64_t
tk_sys_no_exec(struct tk_machine *m, const uint64_t a[6])
{

	(void)a;
	tk_refused(m, "execve: a program cannot become another");
	return (-EACCES);
}

static uint64_t
cpu_ns(void)
{
	struct timespec ts;

	(void)clock_gettime(CLOCK_THREAD_CPUTIME_ID, &ts);
	return ((uint64_t)ts.tv_sec * 1000000000 + (uint64_t)ts.tv_nsec);
}

int64_t
tk_sys_times(struct tk_machine *m, const uint64_t a[6])
{
	struct tms t;

	memset(&t, 0, sizeof t);
	t.tms_utime = (clock_t)(cpu_ns() / 10000000);
	if (a[0] != 0 && !tk_write(m, a[0], &t, sizeof t))
		return (-EFAULT);
	return ((int64_t)(tk_now() / 10000000));
}

int64_t
tk_sys_getrusage(struct tk_machine *m, const uint64_t a[6])
{
	struct rusage ru;
	uint64_t ns = cpu_ns();

	memset(&ru, 0, sizeof ru);
	ru.ru_utime.tv_sec = (time_t)(ns / 1000000000);
	ru.ru_utime.tv_usec = (suseconds_t)(ns % 1000000000 / 1000);
	ru.ru_maxrss = (long)((m->space.pages.next - m->mem.rw_gpa) >> 10);
	return (tk_write(m, a[1], &ru, sizeof ru) ? 0 : -EFAULT);
}

int64_t
tk_sys_prctl(struct tk_machine *m, const uint64_t a[6])
{

	switch (a[0]) {
	case PR_SET_NAME:
	case PR_SET_VMA:
	case PR_SET_TIMERSLACK:
	case PR_SET_PDEATHSIG:
	case PR_SET_NO_NEW_PRIVS:
		return (0);
	case PR_GET_NAME:
		return (tk_write(m, a[1], "guest\0\0\0\0\0\0\0\0\0\0", 16) ?
		    0 : -EFAULT);
	case PR_GET_DUMPABLE:
		return (1);
	default:
		return (-EINVAL);
	}
}

/* One vCPU: every thread sees memory in order whenever it runs. */
int64_t
tk_sys_membarrier(struct tk_machine *m, const uint64_t a[6])
{

	(void)m;
	if (a[1] != 0)
		return (-EINVAL);
	return (a[0] == MEMBARRIER_CMD_QUERY ?
	    MEMBARRIER_CMD_GLOBAL | MEMBARRIER_CMD_PRIVATE_EXPEDITED |
	    MEMBARRIER_CMD_REGISTER_PRIVATE_EXPEDITED : 0);
}

int64_t
tk_sys_sched_getparam(struct tk_machine *m, const uint64_t a[6])
{
	int zero = 0;

	return (tk_write(m, a[1], &zero, sizeof zero) ? 0 : -EFAULT);
}

/* The system call's own scale: 20 is nice 0. */
int64_t
tk_sys_get_priority(struct tk_machine *m, const uint64_t a[6])
{

	(void)m;
	(void)a;
	return (20);
}
