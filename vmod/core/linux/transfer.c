/*-
 * SPDX-License-Identifier: BSD-2-Clause
 *
 * What a guest writes is copied before anybody looks at it, and what it reads
 * is taken from a file only when there is room for it.
 */

#include <errno.h>
#include <fcntl.h>

#include "../object.h"
#include "linux.h"
#include "transfer.h"

#define MAX_IOV		1024		/* UIO_MAXIOV */
#define MAX_TRANSFER	0x7ffff000ULL	/* read(2), write(2) */

struct tk_vector
tk_vector_of(tk_gva base, uint64_t len)
{
	struct tk_vector v = { 0, 0, base, len };

	if (v.len > MAX_TRANSFER)
		v.len = MAX_TRANSFER;
	return (v);
}

/* Goes to the next buffer that is not empty. False at the end. */
static bool
next(const struct tk_machine *m, struct tk_vector *v, bool *fault)
{
	struct { uint64_t base, len; } e;

	while (v->len == 0) {
		if (v->n == 0)
			return (false);
		if (!tk_read(m, &e, v->list, sizeof e)) {
			*fault = true;
			return (false);
		}
		v->list += sizeof e;
		v->n--;
		v->base = e.base;
		v->len = e.len > MAX_TRANSFER ? MAX_TRANSFER : e.len;
	}
	return (true);
}

int64_t
tk_vector_read(const struct tk_machine *m, struct tk_vector *v, tk_gva list,
    uint64_t n)
{
	struct { uint64_t base, len; } e;
	uint64_t i, total = 0;

	memset(v, 0, sizeof *v);
	if (n > MAX_IOV)
		return (-EINVAL);
	/* What they say now may differ later: then it is still checked. */
	for (i = 0; i < n; i++) {
		if (!tk_read(m, &e, list + i * sizeof e, sizeof e))
			return (-EFAULT);
		if (e.len > INT64_MAX || total + e.len > INT64_MAX)
			return (-EINVAL);
		total += e.len;
	}
	v->list = list;
	v->n = n;
	return (0);
}

/* How many bytes, at most max, the guest has room for. */
static int64_t
room(const struct tk_machine *m, struct tk_vector v, uint64_t max)
{
	uint64_t done = 0, left;
	bool fault = false;

	while (done < max && next(m, &v, &fault)) {
		if (!tk_space_writable(&m->space, v.base, &left)) {
			fault = true;
			break;
		}
		if (left > v.len)
			left = v.len;
		v.base += left;
		v.len -= left;
		done += left;
	}
	if (done == 0 && fault)
		return (-EFAULT);
	return ((int64_t)(done < max ? done : max));
}

static int64_t
scatter(struct tk_machine *m, struct tk_vector *v, const uint8_t *from,
    uint64_t len)
{
	uint64_t done = 0, n;
	bool fault = false;

	while (done < len && next(m, v, &fault)) {
		n = len - done < v->len ? len - done : v->len;
		if (!tk_write(m, v->base, from + done, n))
			break;
		v->base += n;
		v->len -= n;
		done += n;
	}
	return (done == 0 && len > 0 ? -EFAULT : (int64_t)done);
}

/* Up to max bytes of what the guest has; -EFAULT when the first is bad. */
static int64_t
gather(const struct tk_machine *m, struct tk_vector *v, uint8_t *to,
    uint64_t max)
{
	uint64_t done = 0, n;
	bool fault = false;
	size_t have;
	const void *p;

	while (done < max && next(m, v, &fault)) {
		n = max - done < v->len ? max - done : v->len;
		p = tk_view(m, v->base, n, &have);
		if (p == NULL) {
			fault = true;
			break;
		}
		memcpy(to + done, p, have);
		v->base += have;
		v->len -= have;
		done += have;
	}
	return (done == 0 && fault ? -EFAULT : (int64_t)done);
}

static bool
in_time(const struct tk_machine *m)
{

	return (tk_now() < m->watch.deadline);
}

/* Nothing was moved since the file is not ready. */
static int64_t
not_ready(struct tk_machine *m, const struct tk_file *f,
    const struct tk_transfer *t)
{
	uint64_t ns = f->type == &tk_type_socket ? f->socket.wait_ns : 0;
	int64_t r;

	if (t->no_wait || (f->flags & O_NONBLOCK))
		return (-EAGAIN);
	r = tk_block(m, ns != 0 ? ns : UINT64_MAX);
	return (r != 0 ? r : -EAGAIN);
}

static bool
is_verdict(int64_t r)
{

	return (r == TK_CALL_DONE || r == TK_CALL_ENDED);
}

static void
set_offset(struct tk_machine *m, struct tk_file *f, struct tk_transfer *t)
{

	if (t->at || !f->type->seekable || S_ISCHR(f->type->mode) ||
	    f->offset == t->io.offset)
		return;
	tk_file_touch(&m->files, f);
	f->offset = t->io.offset;
}

int64_t
tk_transfer_in(struct tk_machine *m, struct tk_file *f, struct tk_transfer *t)
{
	uint8_t *buf = tk_scratch(m);
	int64_t n, r, done = 0;

	if ((f->flags & O_ACCMODE) == O_WRONLY || (f->flags & O_PATH))
		return (-EBADF);
	if (f->type == &tk_type_directory)
		return (-EISDIR);
	if (f->type->read == NULL)
		return (-EINVAL);
	if (t->at && !f->type->seekable)
		return (-ESPIPE);
	if (buf == NULL)
		return (-ENOMEM);
	if (!t->at)
		t->io.offset = f->offset;
	for (;;) {
		n = room(m, t->vector, TK_PIECE);
		if (n < 0 || (n == 0 && done > 0))
			break;
		if ((size_t)n < f->type->record)
			return (-EINVAL);
		r = f->type->read(m, f, buf, (size_t)n, &t->io);
		if (r < 0) {
			n = r;
			break;
		}
		if (r > 0 && (r = scatter(m, &t->vector, buf,
		    (uint64_t)r)) < 0) {
			n = r;
			break;
		}
		done += r;
		t->io.offset += (uint64_t)r;
		if (r < n || n == 0 || t->io.peek || !in_time(m)) {
			n = 0;
			break;
		}
	}
	if (is_verdict(n))
		return (n);
	set_offset(m, f, t);
	if (done > 0)
		return (done);
	return (n == -EAGAIN ? not_ready(m, f, t) : n);
}

int64_t
tk_transfer_out(struct tk_machine *m, struct tk_file *f, struct tk_transfer *t)
{
	uint8_t *buf = tk_scratch(m);
	int64_t n, r, done = 0;
	struct stat st;

	if ((f->flags & O_ACCMODE) == O_RDONLY || (f->flags & O_PATH))
		return (-EBADF);
	if (f->type->write == NULL)
		return (-EINVAL);
	if (t->at && !f->type->seekable)
		return (-ESPIPE);
	if (buf == NULL)
		return (-ENOMEM);
	if (!t->at)
		t->io.offset = f->offset;
	for (;;) {
		n = gather(m, &t->vector, buf, TK_PIECE);
		if (n < 0 || (n == 0 && done > 0))
			break;
		if ((size_t)n < f->type->record)
			return (-EINVAL);
		r = f->type->write(m, f, buf, (size_t)n, &t->io);
		if (r < 0) {
			n = r;
			break;
		}
		done += r;
		t->io.offset += (uint64_t)r;
		if (r < n || n < TK_PIECE || !in_time(m)) {
			n = 0;
			break;
		}
	}
	if (is_verdict(n))
		return (n);
	if (done > 0 && (f->flags & O_APPEND) && f->type->seekable &&
	    tk_file_stat(m, f, &st) == 0)
		t->io.offset = (uint64_t)st.st_size;
	set_offset(m, f, t);
	if (done > 0)
		return (done);
	return (n == -EAGAIN ? not_ready(m, f, t) : n);
}

/*--------------------------------------------------------------------
 * The calls
 */

/* Where to begin. offset: NULL for the file's own. 0 or -errno. */
static int64_t
start(struct tk_machine *m, uint64_t fd, const uint64_t *offset,
    struct tk_transfer *t, struct tk_file **pf)
{

	memset(t, 0, sizeof *t);
	*pf = tk_file_at(m, fd);
	if (*pf == NULL)
		return (-EBADF);
	if (offset == NULL)
		return (0);
	if (*offset > INT64_MAX)
		return (-EINVAL);
	t->at = true;
	t->io.offset = *offset;
	return (0);
}

typedef int64_t transfer_fn(struct tk_machine *, struct tk_file *,
    struct tk_transfer *);

static int64_t
single(struct tk_machine *m, const uint64_t *a, const uint64_t *offset,
    transfer_fn *transfer)
{
	struct tk_transfer t;
	struct tk_file *f;
	int64_t e;

	e = start(m, a[0], offset, &t, &f);
	if (e != 0)
		return (e);
	t.vector = tk_vector_of(a[1], a[2]);
	return (transfer(m, f, &t));
}

int64_t
tk_sys_read(struct tk_machine *m, const uint64_t a[6])
{

	return (single(m, a, NULL, tk_transfer_in));
}

int64_t
tk_sys_write(struct tk_machine *m, const uint64_t a[6])
{

	return (single(m, a, NULL, tk_transfer_out));
}

int64_t
tk_sys_pread64(struct tk_machine *m, const uint64_t a[6])
{

	return (single(m, a, &a[3], tk_transfer_in));
}

int64_t
tk_sys_pwrite64(struct tk_machine *m, const uint64_t a[6])
{

	return (single(m, a, &a[3], tk_transfer_out));
}

/* readv() and its kin. */
static int64_t
vectored(struct tk_machine *m, const uint64_t *a, const uint64_t *offset,
    transfer_fn *transfer)
{
	struct tk_transfer t;
	struct tk_file *f;
	int64_t e;

	e = start(m, a[0], offset, &t, &f);
	if (e == 0)
		e = tk_vector_read(m, &t.vector, a[1], a[2]);
	return (e != 0 ? e : transfer(m, f, &t));
}

int64_t
tk_sys_readv(struct tk_machine *m, const uint64_t a[6])
{

	return (vectored(m, a, NULL, tk_transfer_in));
}

int64_t
tk_sys_writev(struct tk_machine *m, const uint64_t a[6])
{

	return (vectored(m, a, NULL, tk_transfer_out));
}

/* On 64-bit machines the offset is in one register. */
int64_t
tk_sys_preadv(struct tk_machine *m, const uint64_t a[6])
{

	return (vectored(m, a, &a[3], tk_transfer_in));
}

int64_t
tk_sys_pwritev(struct tk_machine *m, const uint64_t a[6])
{

	return (vectored(m, a, &a[3], tk_transfer_out));
}

/* Flags ask for more than can be had; -1 is the file's own offset. */
int64_t
tk_sys_preadv2(struct tk_machine *m, const uint64_t a[6])
{

	if (a[5] != 0)
		return (-EOPNOTSUPP);
	return (vectored(m, a, a[3] == UINT64_MAX ? NULL : &a[3],
	    tk_transfer_in));
}

int64_t
tk_sys_pwritev2(struct tk_machine *m, const uint64_t a[6])
{

	if (a[5] != 0)
		return (-EOPNOTSUPP);
	return (vectored(m, a, a[3] == UINT64_MAX ? NULL : &a[3],
	    tk_transfer_out));
}

/* From a file to anything. */
int64_t
tk_sys_sendfile(struct tk_machine *m, const uint64_t a[6])
{
	struct tk_file *out = tk_file_at(m, a[0]), *in = tk_file_at(m, a[1]);
	struct tk_io from = { 0, false }, to = { 0, false };
	uint8_t *buf = tk_scratch(m);
	int64_t n = 0, r, done = 0;
	uint64_t left = a[3] > MAX_TRANSFER ? MAX_TRANSFER : a[3];

	if (in == NULL || out == NULL)
		return (-EBADF);
	if ((in->flags & O_ACCMODE) == O_WRONLY || (in->flags & O_PATH) ||
	    (out->flags & O_ACCMODE) == O_RDONLY || (out->flags & O_PATH))
		return (-EBADF);
	if (!in->type->seekable || in->type->read == NULL ||
	    out->type->write == NULL || out->type->seekable)
		return (-EINVAL);
	if (buf == NULL)
		return (-ENOMEM);
	from.offset = in->offset;
	if (a[2] != 0 && (!tk_read(m, &from.offset, a[2], sizeof from.offset)))
		return (-EFAULT);
	if (from.offset > INT64_MAX)
		return (-EINVAL);
	while (left > 0 && in_time(m)) {
		n = in->type->read(m, in, buf, left < TK_PIECE ? left :
		    TK_PIECE, &from);
		if (n <= 0)
			break;
		r = out->type->write(m, out, buf, (size_t)n, &to);
		if (r <= 0) {
			n = r;
			break;
		}
		done += r;
		left -= (uint64_t)r;
		from.offset += (uint64_t)r;
		if (r < n)
			break;
	}
	if (is_verdict(n))
		return (n);
	if (done == 0 && n == -EAGAIN) {
		if (out->flags & O_NONBLOCK)
			return (-EAGAIN);
		return (tk_block(m, UINT64_MAX));
	}
	if (done == 0 && n < 0)
		return (n);
	if (a[2] != 0)
		return (tk_write(m, a[2], &from.offset, sizeof from.offset) ?
		    done : -EFAULT);
	if (done > 0) {
		tk_file_touch(&m->files, in);
		in->offset = from.offset;
	}
	return (done);
}
