/*-
 * SPDX-License-Identifier: BSD-2-Clause
 *
 * Counters and timers that are descriptors: eventfd(2), timerfd_create(2).
 */

#include <errno.h>
#include <fcntl.h>
#include <poll.h>
#include <sys/eventfd.h>
#include <sys/timerfd.h>
#include <time.h>

#include "../object.h"
#include "linux.h"

#define NS	1000000000ULL

static int64_t
counter_read(struct tk_machine *m, struct tk_file *f, void *to, size_t len,
    const struct tk_io *io)
{
	uint64_t n = f->counter.semaphore ? 1 : f->counter.value;

	(void)len;
	(void)io;
	if (f->counter.value == 0)
		return (-EAGAIN);
	tk_file_touch(&m->files, f);
	f->counter.value -= n;
	f->counter.outs++;
	memcpy(to, &n, sizeof n);
	tk_woken(m);
	return (sizeof n);
}

static int64_t
counter_write(struct tk_machine *m, struct tk_file *f, const void *from,
    size_t len, const struct tk_io *io)
{
	uint64_t n;

	(void)len;
	(void)io;
	memcpy(&n, from, sizeof n);
	if (n == UINT64_MAX)
		return (-EINVAL);
	if (n > UINT64_MAX - 1 - f->counter.value)
		return (-EAGAIN);
	tk_file_touch(&m->files, f);
	f->counter.value += n;
	f->counter.ins++;
	tk_woken(m);
	return (sizeof n);
}

static uint32_t
counter_poll(const struct tk_machine *m, const struct tk_file *f)
{

	(void)m;
	return ((f->counter.value > 0 ? POLLIN | POLLRDNORM : 0) |
	    (f->counter.value < UINT64_MAX - 1 ? POLLOUT | POLLWRNORM : 0));
}

static uint64_t
counter_edges(const struct tk_machine *m, const struct tk_file *f,
    uint32_t mask)
{

	(void)m;
	return ((mask & POLLIN ? f->counter.ins : 0) +
	    (mask & POLLOUT ? f->counter.outs : 0));
}

const struct tk_file_type tk_type_eventfd = {
	.name = "anon_inode:[eventfd]",
	.mode = 0600,
	.record = 8,
	.read = counter_read,
	.write = counter_write,
	.poll = counter_poll,
	.edges = counter_edges,
};

int64_t
tk_sys_eventfd2(struct tk_machine *m, const uint64_t a[6])
{
	struct tk_file *f;

	if (a[1] & ~(uint64_t)(EFD_CLOEXEC | EFD_NONBLOCK | EFD_SEMAPHORE))
		return (-EINVAL);
	f = tk_file_new(m, &tk_type_eventfd, O_RDWR |
	    (a[1] & EFD_NONBLOCK ? O_NONBLOCK : 0));
	if (f == NULL)
		return (-ENFILE);
	f->counter.value = (uint32_t)a[0];
	f->counter.semaphore = (a[1] & EFD_SEMAPHORE) != 0;
	return (tk_fd_new(m, f, 0, (a[1] & EFD_CLOEXEC) != 0));
}

int64_t
tk_sys_eventfd(struct tk_machine *m, const uint64_t a[6])
{
	const uint64_t two[6] = { a[0] };

	return (tk_sys_eventfd2(m, two));
}

/*--------------------------------------------------------------------
 * Timers: they keep CLOCK_MONOTONIC, whichever clock they were set by.
 */

static uint64_t
expirations(const struct tk_timer *t, uint64_t now)
{

	if (t->due == 0 || now < t->due)
		return (0);
	return (t->interval == 0 ? 1 : 1 + (now - t->due) / t->interval);
}

/* The first expiration after now, 0 when there is none. */
static uint64_t
next_due(const struct tk_timer *t, uint64_t now)
{

	if (t->due == 0 || now < t->due)
		return (t->due);
	return (t->interval == 0 ? 0 : t->due + expirations(t, now) *
	    t->interval);
}

static int64_t
timerfd_read(struct tk_machine *m, struct tk_file *f, void *to, size_t len,
    const struct tk_io *io)
{
	struct tk_timer *t = &f->timer;
	uint64_t now = tk_now(), n = expirations(t, now);

	(void)len;
	(void)io;
	if (n == 0)
		return (-EAGAIN);
	tk_file_touch(&m->files, f);
	t->due = next_due(t, now);
	t->total += n;
	memcpy(to, &n, sizeof n);
	return (sizeof n);
}

static uint32_t
timerfd_poll(const struct tk_machine *m, const struct tk_file *f)
{

	(void)m;
	return (expirations(&f->timer, tk_now()) > 0 ? POLLIN | POLLRDNORM : 0);
}

static uint64_t
timerfd_edges(const struct tk_machine *m, const struct tk_file *f,
    uint32_t mask)
{

	(void)m;
	(void)mask;
	return (f->timer.total + expirations(&f->timer, tk_now()));
}

const struct tk_file_type tk_type_timerfd = {
	.name = "anon_inode:[timerfd]",
	.mode = 0600,
	.record = 8,
	.read = timerfd_read,
	.poll = timerfd_poll,
	.edges = timerfd_edges,
};

uint64_t
tk_files_next_due(const struct tk_machine *m)
{
	uint64_t now = 0, due, first = UINT64_MAX;
	const struct tk_file *f;
	unsigned i;

	for (i = 0; i < m->files.n_files; i++) {
		f = tk_file_nth(&m->files, i);
		if (f->type != &tk_type_timerfd)
			continue;
		if (now == 0)
			now = tk_now();
		due = next_due(&f->timer, now);
		if (due != 0 && due < first)
			first = due;
	}
	return (first);
}

void
tk_files_thaw(struct tk_machine *m, uint64_t ns)
{
	struct tk_file *f;
	unsigned i;

	for (i = 0; i < m->files.n_files; i++) {
		f = tk_file_nth(&m->files, i);
		if (f->type != &tk_type_timerfd || f->timer.due == 0)
			continue;
		tk_file_touch(&m->files, f);
		f->timer.due += ns;
	}
}

int64_t
tk_sys_timerfd_create(struct tk_machine *m, const uint64_t a[6])
{
	struct tk_file *f;

	if ((a[1] & ~(uint64_t)(TFD_CLOEXEC | TFD_NONBLOCK)) ||
	    (a[0] != CLOCK_REALTIME && a[0] != CLOCK_MONOTONIC &&
	    a[0] != CLOCK_BOOTTIME))
		return (-EINVAL);
	f = tk_file_new(m, &tk_type_timerfd, O_RDWR |
	    (a[1] & TFD_NONBLOCK ? O_NONBLOCK : 0));
	if (f == NULL)
		return (-ENFILE);
	f->timer.clock = (int)a[0];
	return (tk_fd_new(m, f, 0, (a[1] & TFD_CLOEXEC) != 0));
}

static struct timespec
to_timespec(uint64_t ns)
{
	struct timespec ts = { (time_t)(ns / NS), (long)(ns % NS) };

	return (ts);
}

static int64_t
to_ns(const struct timespec *ts, uint64_t *ns)
{

	if (ts->tv_sec < 0 || ts->tv_nsec < 0 || ts->tv_nsec >= (long)NS)
		return (-EINVAL);
	/* Three centuries are for ever. */
	*ns = (uint64_t)ts->tv_sec > INT64_MAX / NS ? INT64_MAX :
	    (uint64_t)ts->tv_sec * NS + (uint64_t)ts->tv_nsec;
	return (0);
}

static int64_t
give_timer(struct tk_machine *m, const struct tk_timer *t, tk_gva to)
{
	struct itimerspec its;
	uint64_t now = tk_now(), due = next_due(t, now);

	its.it_value = to_timespec(due == 0 ? 0 : due - now);
	its.it_interval = to_timespec(t->interval);
	return (tk_write(m, to, &its, sizeof its) ? 0 : -EFAULT);
}

static struct tk_file *
timer_at(struct tk_machine *m, uint64_t fd, int64_t *e)
{
	struct tk_file *f = tk_file_at(m, fd);

	*e = f == NULL ? -EBADF : f->type != &tk_type_timerfd ? -EINVAL : 0;
	return (f);
}

int64_t
tk_sys_timerfd_settime(struct tk_machine *m, const uint64_t a[6])
{
	struct itimerspec its;
	struct timespec ts;
	struct tk_file *f;
	uint64_t value, interval, base = 0;
	int64_t e;

	if (!tk_read(m, &its, a[2], sizeof its))
		return (-EFAULT);
	if (to_ns(&its.it_value, &value) || to_ns(&its.it_interval, &interval) ||
	    (a[1] & ~(uint64_t)(TFD_TIMER_ABSTIME | TFD_TIMER_CANCEL_ON_SET)))
		return (-EINVAL);
	f = timer_at(m, a[0], &e);
	if (e != 0)
		return (e);
	if (a[3] != 0 && (e = give_timer(m, &f->timer, a[3])) != 0)
		return (e);
	tk_file_touch(&m->files, f);
	f->timer.total = 0;
	f->timer.interval = interval;
	if (value == 0)
		f->timer.due = 0;
	else if (a[1] & TFD_TIMER_ABSTIME) {
		(void)clock_gettime((clockid_t)f->timer.clock, &ts);
		(void)to_ns(&ts, &base);
		f->timer.due = tk_now() + (value > base ? value - base : 0);
	} else
		f->timer.due = tk_now() + value;
	tk_woken(m);
	return (0);
}

int64_t
tk_sys_timerfd_gettime(struct tk_machine *m, const uint64_t a[6])
{
	struct tk_file *f;
	int64_t e;

	f = timer_at(m, a[0], &e);
	return (e != 0 ? e : give_timer(m, &f->timer, a[1]));
}
