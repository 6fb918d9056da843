/*-
 * SPDX-License-Identifier: BSD-2-Clause
 *
 * poll(2) and select(2). The signal masks of ppoll() and pselect6() are not
 * put in place for the time of the call: signals come from the program itself,
 * and those that it blocks stay pending.
 */

#include <errno.h>
#include <poll.h>
#include <sys/select.h>
#include <sys/time.h>

#include "../object.h"
#include "epoll.h"
#include "linux.h"

/* A list in the list: both as long as it likes. */
static bool
is_late(const struct tk_machine *m, const struct tk_file *f)
{

	return (f->type == &tk_type_epoll && tk_seconds_left(m) <= 0);
}

/*
 * How many descriptors are ready; their revents are written. Or -errno: EINTR
 * when the call's time is over.
 */
static int64_t
look(struct tk_machine *m, tk_gva list, uint64_t n)
{
	const struct tk_file *f;
	struct pollfd p;
	int64_t count = 0;
	uint64_t i;

	for (i = 0; i < n; i++, list += sizeof p) {
		if (!tk_read(m, &p, list, sizeof p))
			return (-EFAULT);
		p.revents = 0;
		if (p.fd >= 0) {
			f = tk_file_at(m, (uint64_t)p.fd);
			if (f != NULL && is_late(m, f))
				return (-EINTR);
			p.revents = (short)(f == NULL ? POLLNVAL :
			    tk_file_poll(m, f) & ((uint32_t)p.events |
			    POLLERR | POLLHUP));
		}
		count += p.revents != 0;
		if (!tk_write(m, list + offsetof(struct pollfd, revents),
		    &p.revents, sizeof p.revents))
			return (-EFAULT);
	}
	return (count);
}

static int64_t
poll_for(struct tk_machine *m, const uint64_t a[6], uint64_t ns)
{
	uint64_t n = (uint32_t)a[1];
	int64_t r;

	if (n > TK_MAX_FDS)
		return (-EINVAL);
	r = look(m, a[0], n);
	if (r != 0 || ns == 0)
		return (r);
	r = tk_block(m, ns);
	return (r != 0 ? r : look(m, a[0], n));
}

int64_t
tk_sys_poll(struct tk_machine *m, const uint64_t a[6])
{

	return (poll_for(m, a, (int)a[2] < 0 ? UINT64_MAX :
	    (uint64_t)(int)a[2] * 1000000));
}

int64_t
tk_sys_ppoll(struct tk_machine *m, const uint64_t a[6])
{
	uint64_t ns = UINT64_MAX;
	int64_t e = 0;

	if (a[2] != 0)
		e = tk_read_timespec(m, a[2], &ns);
	return (e != 0 ? e : poll_for(m, a, ns));
}

/*--------------------------------------------------------------------*/

#define WORDS	(TK_MAX_FDS / 64)

enum { IN, OUT, EXCEPT, SETS };

/* linux/fs/select.c: what each set asks for. */
static const uint32_t asked[SETS] = {
	POLLIN | POLLRDNORM | POLLHUP | POLLERR,
	POLLOUT | POLLWRNORM | POLLERR,
	POLLPRI
};

/* The same for select(). The sets are only written when something is ready. */
static int64_t
look_sets(struct tk_machine *m, unsigned n, const tk_gva *set, bool write)
{
	uint64_t in[SETS][WORDS], out[SETS][WORDS];
	const struct tk_file *f;
	size_t len = (n + 63) / 64 * 8;
	int64_t count = 0;
	unsigned fd, k;

	memset(in, 0, sizeof in);
	memset(out, 0, sizeof out);
	for (k = 0; k < SETS; k++)
		if (set[k] != 0 && !tk_read(m, in[k], set[k], len))
			return (-EFAULT);
	for (fd = 0; fd < n; fd++)
		for (k = 0; k < SETS; k++) {
			if (!(in[k][fd / 64] >> fd % 64 & 1))
				continue;
			f = tk_file_at(m, fd);
			if (f == NULL)
				return (-EBADF);
			if (is_late(m, f))
				return (-EINTR);
			if (!(tk_file_poll(m, f) & asked[k]))
				continue;
			out[k][fd / 64] |= 1ULL << fd % 64;
			count++;
		}
	if (count == 0 && !write)
		return (0);
	for (k = 0; k < SETS; k++)
		if (set[k] != 0 && !tk_write(m, set[k], out[k], len))
			return (-EFAULT);
	return (count);
}

static int64_t
select_for(struct tk_machine *m, const uint64_t a[6], uint64_t ns)
{
	unsigned n = (unsigned)a[0];
	int64_t r;

	if ((int)a[0] < 0)
		return (-EINVAL);
	if (n > TK_MAX_FDS)
		n = TK_MAX_FDS;
	r = look_sets(m, n, &a[1], ns == 0);
	if (r != 0 || ns == 0)
		return (r);
	r = tk_block(m, ns);
	return (r != 0 ? r : look_sets(m, n, &a[1], true));
}

int64_t
tk_sys_select(struct tk_machine *m, const uint64_t a[6])
{
	struct timeval tv;
	uint64_t ns = UINT64_MAX;

	if (a[4] != 0) {
		if (!tk_read(m, &tv, a[4], sizeof tv))
			return (-EFAULT);
		if (tv.tv_sec < 0 || tv.tv_usec < 0)
			return (-EINVAL);
		ns = (uint64_t)tv.tv_sec > INT64_MAX / 2000000000 ? INT64_MAX :
		    (uint64_t)tv.tv_sec * 1000000000 +
		    (uint64_t)(tv.tv_usec % 1000000) * 1000 +
		    (uint64_t)(tv.tv_usec / 1000000 % 1000000) * 1000000000;
	}
	return (select_for(m, a, ns));
}

int64_t
tk_sys_pselect6(struct tk_machine *m, const uint64_t a[6])
{
	uint64_t ns = UINT64_MAX;
	int64_t e = 0;

	if (a[4] != 0)
		e = tk_read_timespec(m, a[4], &ns);
	return (e != 0 ? e : select_for(m, a, ns));
}
