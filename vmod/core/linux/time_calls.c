/*-
 * SPDX-License-Identifier: BSD-2-Clause
 *
 * Time, where the vDSO cannot answer, and sleeping.
 */

#include <errno.h>
#include <sys/time.h>
#include <time.h>

#include "linux.h"

#define NS	1000000000ULL

static bool
clock_allowed(uint64_t id)
{

	switch ((int)id) {
	case CLOCK_REALTIME:
	case CLOCK_MONOTONIC:
	case CLOCK_MONOTONIC_RAW:
	case CLOCK_REALTIME_COARSE:
	case CLOCK_MONOTONIC_COARSE:
	case CLOCK_BOOTTIME:
	case CLOCK_TAI:
	case CLOCK_PROCESS_CPUTIME_ID:
	case CLOCK_THREAD_CPUTIME_ID:
		return (true);
	default:
		return (false);
	}
}

int64_t
tk_sys_clock_gettime(struct tk_machine *m, const uint64_t a[6])
{
	struct timespec ts;
	clockid_t id = (clockid_t)a[0];

	if (!clock_allowed(a[0]))
		return (-EINVAL);
	/* The host process' CPU time is not the guest's business. */
	if (id == CLOCK_PROCESS_CPUTIME_ID)
		id = CLOCK_THREAD_CPUTIME_ID;
	if (clock_gettime(id, &ts))
		return (-EINVAL);
	return (tk_write(m, a[1], &ts, sizeof ts) ? 0 : -EFAULT);
}

int64_t
tk_sys_clock_getres(struct tk_machine *m, const uint64_t a[6])
{
	struct timespec ts = { 0, 1 };

	if (!clock_allowed(a[0]))
		return (-EINVAL);
	if (a[1] == 0)
		return (0);
	return (tk_write(m, a[1], &ts, sizeof ts) ? 0 : -EFAULT);
}

int64_t
tk_sys_gettimeofday(struct tk_machine *m, const uint64_t a[6])
{
	struct timeval tv;

	if (gettimeofday(&tv, NULL))
		return (-EINVAL);
	if (a[0] != 0 && !tk_write(m, a[0], &tv, sizeof tv))
		return (-EFAULT);
	return (0);
}

int64_t
tk_sys_time(struct tk_machine *m, const uint64_t a[6])
{
	time_t t = time(NULL);

	if (a[0] != 0 && !tk_write(m, a[0], &t, sizeof t))
		return (-EFAULT);
	return ((int64_t)t);
}

int64_t
tk_read_timespec(const struct tk_machine *m, tk_gva gva, uint64_t *ns)
{
	struct timespec ts;

	if (!tk_read(m, &ts, gva, sizeof ts))
		return (-EFAULT);
	if (ts.tv_sec < 0 || ts.tv_nsec < 0 || ts.tv_nsec >= (long)NS)
		return (-EINVAL);
	*ns = (uint64_t)ts.tv_sec > UINT64_MAX / NS / 2 ? UINT64_MAX / 2 :
	    (uint64_t)ts.tv_sec * NS + (uint64_t)ts.tv_nsec;
	return (0);
}

int64_t
tk_sys_nanosleep(struct tk_machine *m, const uint64_t a[6])
{
	uint64_t ns = 0;
	int64_t e = tk_read_timespec(m, a[0], &ns);

	return (e != 0 ? e : tk_block(m, ns));
}

int64_t
tk_sys_clock_nanosleep(struct tk_machine *m, const uint64_t a[6])
{
	struct timespec ts;
	uint64_t ns = 0, now;
	int64_t e;

	if (!clock_allowed(a[0]))
		return (-EINVAL);
	e = tk_read_timespec(m, a[2], &ns);
	if (e != 0)
		return (e);
	if (a[1] & TIMER_ABSTIME) {
		if (clock_gettime((clockid_t)a[0], &ts))
			return (-EINVAL);
		now = (uint64_t)ts.tv_sec * NS + (uint64_t)ts.tv_nsec;
		ns = ns > now ? ns - now : 0;
	}
	return (tk_block(m, ns));
}
