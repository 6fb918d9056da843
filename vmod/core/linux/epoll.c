/*-
 * SPDX-License-Identifier: BSD-2-Clause
 *
 * epoll(7): the list of what is watched is the file's data. Nobody is told
 * when something becomes ready; the list is looked through when the guest
 * asks. Edges are told by the numbers that types count.
 */

#include <errno.h>
#include <fcntl.h>
#include <poll.h>
#include <sys/epoll.h>

#include "../object.h"
#include "epoll.h"
#include "linux.h"

struct item {
	uint64_t	data;
	uint64_t	seen;		/* edges that were told */
	uint32_t	events;
	int		fd;		/* as given to epoll_ctl() */
	uint16_t	file;
	uint8_t		armed;		/* looked at for the first time */
	uint8_t		off;		/* EPOLLONESHOT has fired */
};

/*
 * Of one epoll; more are ENOSPC, as for a user with too many: epoll_ctl(2). An
 * item is a number and a file, and stays while the file has any number: those
 * whose number went on to other files may be three times as many as there are
 * descriptors. All are looked through in a call.
 */
#define MAX_ITEMS	(4 * TK_MAX_FDS)

#define ASKED	(EPOLLIN | EPOLLPRI | EPOLLOUT | EPOLLRDNORM | EPOLLRDBAND | \
    EPOLLWRNORM | EPOLLWRBAND | EPOLLMSG | EPOLLERR | EPOLLHUP | EPOLLRDHUP)

static struct item *
items(const struct tk_file *f, unsigned *n)
{

	*n = (unsigned)(f->data.len / sizeof(struct item));
	return ((struct item *)(void *)f->data.data);
}

uint32_t
tk_file_poll(const struct tk_machine *m, const struct tk_file *f)
{

	return (f->type->poll != NULL ? f->type->poll(m, f) :
	    POLLIN | POLLRDNORM | POLLOUT | POLLWRNORM);
}

static uint64_t
edges(const struct tk_machine *m, const struct tk_file *f, uint32_t events)
{

	return (f->type->edges == NULL ? 0 : f->type->edges(m, f, events));
}

/* What to tell about an item now; 0: nothing. */
static uint32_t
ready(const struct tk_machine *m, const struct item *it, uint64_t *count)
{
	const struct tk_file *f = tk_file_nth(&m->files, it->file);

	if (it->off)
		return (0);
	*count = edges(m, f, it->events);
	if ((it->events & EPOLLET) && !it->armed && *count == it->seen)
		return (0);
	return (tk_file_poll(m, f) & ((it->events & ASKED) | EPOLLERR |
	    EPOLLHUP));
}

static uint32_t
epoll_poll(const struct tk_machine *m, const struct tk_file *f)
{
	struct item *it;
	uint64_t count;
	unsigned i, n;

	it = items(f, &n);
	for (i = 0; i < n; i++)
		if (ready(m, &it[i], &count) != 0)
			return (POLLIN | POLLRDNORM);
	return (0);
}

const struct tk_file_type tk_type_epoll = {
	.name = "anon_inode:[eventpoll]",
	.mode = 0600,
	.poll = epoll_poll,
};

static void
remove_item(struct tk_machine *m, struct tk_file *f, unsigned i)
{
	struct item *it;
	unsigned n;

	it = items(f, &n);
	tk_file_touch(&m->files, f);
	memmove(&it[i], &it[i + 1], (n - i - 1) * sizeof *it);
	f->data.len -= sizeof *it;
}

/* In one pass: each item of a list may be of this file. */
static void
forget(struct tk_machine *m, struct tk_file *f, unsigned file)
{
	struct item *it;
	unsigned i, n, kept = 0;

	it = items(f, &n);
	for (i = 0; i < n; i++)
		if (it[i].file != file)
			it[kept++] = it[i];
	if (kept == n)
		return;
	tk_file_touch(&m->files, f);
	f->data.len = kept * sizeof *it;
}

void
tk_epoll_forget(struct tk_machine *m, unsigned file)
{
	struct tk_file *f;
	unsigned i;

	for (i = 0; i < m->files.n_files; i++) {
		f = tk_file_nth(&m->files, i);
		if (f->type == &tk_type_epoll)
			forget(m, f, file);
	}
}

/*--------------------------------------------------------------------
 * The calls
 */

int64_t
tk_sys_epoll_create1(struct tk_machine *m, const uint64_t a[6])
{
	struct tk_file *f;

	if (a[0] & ~(uint64_t)EPOLL_CLOEXEC)
		return (-EINVAL);
	f = tk_file_new(m, &tk_type_epoll, O_RDWR);
	if (f == NULL)
		return (-ENFILE);
	return (tk_fd_new(m, f, 0, (a[0] & EPOLL_CLOEXEC) != 0));
}

int64_t
tk_sys_epoll_create(struct tk_machine *m, const uint64_t a[6])
{
	const uint64_t none[6] = { 0 };

	return ((int)a[0] <= 0 ? -EINVAL : tk_sys_epoll_create1(m, none));
}

static int64_t
add(struct tk_machine *m, struct tk_file *f, struct tk_file *target, int fd,
    const struct epoll_event *ev)
{
	struct item it;

	if (f->data.len >= MAX_ITEMS * sizeof it)
		return (-ENOSPC);
	memset(&it, 0, sizeof it);
	it.data = ev->data.u64;
	it.events = ev->events;
	it.fd = fd;
	it.file = (uint16_t)tk_file_index(&m->files, target);
	it.armed = 1;
	if (!tk_bytes_add(&m->files, &f->data, &it, sizeof it))
		return (-ENOMEM);
	tk_file_touch(&m->files, f);
	tk_file_touch(&m->files, target);
	target->watched = true;
	tk_woken(m);
	return (0);
}

int64_t
tk_sys_epoll_ctl(struct tk_machine *m, const uint64_t a[6])
{
	struct tk_file *f = tk_file_at(m, a[0]), *target = tk_file_at(m, a[2]);
	struct epoll_event ev;
	struct item *it;
	unsigned i, n;

	memset(&ev, 0, sizeof ev);
	if (a[1] != EPOLL_CTL_DEL && !tk_read(m, &ev, a[3], sizeof ev))
		return (-EFAULT);
	if (f == NULL || target == NULL)
		return (-EBADF);
	if (target->type->poll == NULL)
		return (-EPERM);
	if (f->type != &tk_type_epoll || f == target)
		return (-EINVAL);
	/* One that watches another could come round to itself. */
	if (target->type == &tk_type_epoll)
		return (-ELOOP);
	it = items(f, &n);
	for (i = 0; i < n; i++)
		if (it[i].fd == (int)a[2] &&
		    it[i].file == tk_file_index(&m->files, target))
			break;
	switch ((int)a[1]) {
	case EPOLL_CTL_ADD:
		return (i < n ? -EEXIST : add(m, f, target, (int)a[2], &ev));
	case EPOLL_CTL_MOD:
		if (i == n)
			return (-ENOENT);
		tk_file_touch(&m->files, f);
		it[i].events = ev.events;
		it[i].data = ev.data.u64;
		it[i].armed = 1;
		it[i].off = 0;
		tk_woken(m);
		return (0);
	case EPOLL_CTL_DEL:
		if (i == n)
			return (-ENOENT);
		remove_item(m, f, i);
		return (0);
	default:
		return (-EINVAL);
	}
}

/* Tells what is ready; their number, or -EFAULT. */
static int64_t
collect(struct tk_machine *m, struct tk_file *f, tk_gva to, unsigned max)
{
	struct epoll_event ev;
	struct item *it;
	uint64_t count = 0;
	unsigned i, j, n, done = 0;

	it = items(f, &n);
	memset(&ev, 0, sizeof ev);
	for (j = 0; j < n && done < max; j++) {
		/* Not always from the first: none starves. */
		i = (unsigned)((f->offset + j) % n);
		ev.events = ready(m, &it[i], &count);
		if (ev.events == 0)
			continue;
		ev.data.u64 = it[i].data;
		if (!tk_write(m, to + done * sizeof ev, &ev, sizeof ev))
			return (done > 0 ? (int64_t)done : -EFAULT);
		done++;
		if (it[i].events & (EPOLLET | EPOLLONESHOT)) {
			tk_file_touch(&m->files, f);
			it[i].seen = count;
			it[i].armed = 0;
			it[i].off = (it[i].events & EPOLLONESHOT) != 0;
		}
	}
	if (done == max && n > done) {
		tk_file_touch(&m->files, f);
		f->offset = (f->offset + j) % n;
	}
	return (done);
}

static int64_t
wait(struct tk_machine *m, const uint64_t a[6], uint64_t timeout)
{
	struct tk_file *f = tk_file_at(m, a[0]);
	int max = (int)a[2];
	int64_t r;

	if (max <= 0 || max > (int)(INT32_MAX / sizeof(struct epoll_event)))
		return (-EINVAL);
	if (f == NULL)
		return (-EBADF);
	if (f->type != &tk_type_epoll)
		return (-EINVAL);
	r = collect(m, f, a[1], (unsigned)max);
	if (r != 0 || timeout == 0)
		return (r);
	r = tk_block(m, timeout);
	/* At the last moment something may have come. */
	return (r != 0 ? r : collect(m, f, a[1], (unsigned)max));
}

static uint64_t
milliseconds(uint64_t ms)
{

	return ((int)ms < 0 ? UINT64_MAX : (uint64_t)(int)ms * 1000000);
}

int64_t
tk_sys_epoll_wait(struct tk_machine *m, const uint64_t a[6])
{

	return (wait(m, a, milliseconds(a[3])));
}

/* The signal mask is not looked at: see poll.c. */
int64_t
tk_sys_epoll_pwait(struct tk_machine *m, const uint64_t a[6])
{

	return (wait(m, a, milliseconds(a[3])));
}

int64_t
tk_sys_epoll_pwait2(struct tk_machine *m, const uint64_t a[6])
{
	uint64_t ns = UINT64_MAX;
	int64_t e = 0;

	if (a[3] != 0)
		e = tk_read_timespec(m, a[3], &ns);
	return (e != 0 ? e : wait(m, a, ns));
}
