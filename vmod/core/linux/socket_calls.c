/*-
 * SPDX-License-Identifier: BSD-2-Clause
 *
 * The calls of socket(7). There is no network: what would reach for one is
 * refused, and the embedder is told.
 */

#include <arpa/inet.h>
#include <errno.h>
#include <fcntl.h>
#include <netinet/in.h>
#include <stdio.h>
#include <sys/socket.h>

#include "../object.h"
#include "linux.h"
#include "socket.h"
#include "transfer.h"

#define FIRST_PORT	32768		/* ip_local_port_range */
#define PEER_PORT	40000

struct tk_file *
tk_socket_at(struct tk_machine *m, uint64_t fd, int64_t *e)
{
	struct tk_file *f = tk_file_at(m, fd);

	*e = f == NULL ? -EBADF : f->type != &tk_type_socket ? -ENOTSOCK : 0;
	return (f);
}

static struct tk_file *
new_socket(struct tk_machine *m, uint64_t type, int family, int state)
{
	struct tk_file *f;

	f = tk_file_new(m, &tk_type_socket, O_RDWR |
	    (type & SOCK_NONBLOCK ? O_NONBLOCK : 0));
	if (f == NULL)
		return (NULL);
	f->socket.family = (uint16_t)family;
	f->socket.state = (uint8_t)state;
	return (f);
}

int64_t
tk_sys_socket(struct tk_machine *m, const uint64_t a[6])
{
	int family = (int)a[0], protocol = (int)a[2];
	uint64_t type = a[1] & ~(uint64_t)(SOCK_NONBLOCK | SOCK_CLOEXEC);
	struct tk_file *f;

	if (family != AF_INET && family != AF_INET6) {
		tk_refused(m, "socket of address family %d: only TCP sockets "
		    "to listen on", family);
		return (family == AF_UNIX || family == AF_NETLINK ? -EACCES :
		    -EAFNOSUPPORT);
	}
	if (type != SOCK_STREAM) {
		tk_refused(m, "socket of type %llu: only TCP sockets to listen "
		    "on", (unsigned long long)type);
		return (-EACCES);
	}
	if (protocol != 0 && protocol != IPPROTO_TCP)
		return (-EPROTONOSUPPORT);
	f = new_socket(m, a[1], family, TK_SOCKET_NEW);
	if (f == NULL)
		return (-ENFILE);
	return (tk_fd_new(m, f, 0, (a[1] & SOCK_CLOEXEC) != 0));
}

int64_t
tk_sys_socketpair(struct tk_machine *m, const uint64_t a[6])
{
	uint64_t type = a[1] & ~(uint64_t)(SOCK_NONBLOCK | SOCK_CLOEXEC);
	struct tk_file *x, *y;
	uint16_t there, back;

	if ((int)a[0] != AF_UNIX)
		return ((int)a[0] == AF_INET ? -EOPNOTSUPP : -EAFNOSUPPORT);
	if (type != SOCK_STREAM)
		return (-EPROTONOSUPPORT);
	there = tk_stream_new(&m->files);
	back = tk_stream_new(&m->files);
	x = new_socket(m, a[1], AF_UNIX, TK_SOCKET_PAIR);
	y = new_socket(m, a[1], AF_UNIX, TK_SOCKET_PAIR);
	if (there != 0 && back != 0 && x != NULL && y != NULL) {
		x->socket.tx = y->socket.rx = there;
		y->socket.tx = x->socket.rx = back;
		return (tk_install_two(m, x, y, (a[1] & SOCK_CLOEXEC) != 0,
		    a[3]));
	}
	if (x != NULL)
		tk_file_undo(m, x);
	if (y != NULL)
		tk_file_undo(m, y);
	if (there != 0) {
		tk_stream_leave(m, there, true);
		tk_stream_leave(m, there, false);
	}
	if (back != 0) {
		tk_stream_leave(m, back, true);
		tk_stream_leave(m, back, false);
	}
	return (-ENFILE);
}

/*--------------------------------------------------------------------
 * Addresses
 */

union address {
	struct sockaddr		any;
	struct sockaddr_in	v4;
	struct sockaddr_in6	v6;
};

static int64_t
read_address(struct tk_machine *m, union address *to, tk_gva gva, uint64_t len)
{
	int n = (int)len;

	memset(to, 0, sizeof *to);
	if (n < 0 || n > (int)sizeof(struct sockaddr_storage))
		return (-EINVAL);
	if (n > (int)sizeof *to)
		n = sizeof *to;
	return (tk_read(m, to, gva, (size_t)n) ? n : -EFAULT);
}

/* At most as many bytes as *length says; then it says how many there are. */
static int64_t
give_address(struct tk_machine *m, const struct tk_socket *s, bool peer,
    tk_gva to, tk_gva length)
{
	union address ad;
	socklen_t n, have;

	memset(&ad, 0, sizeof ad);
	ad.any.sa_family = s->family;
	switch (s->family) {
	case AF_INET:
		n = sizeof ad.v4;
		ad.v4.sin_port = htons(peer ? PEER_PORT : s->port);
		if (peer)
			ad.v4.sin_addr.s_addr = htonl(INADDR_LOOPBACK);
		else
			memcpy(&ad.v4.sin_addr, s->address, 4);
		break;
	case AF_INET6:
		n = sizeof ad.v6;
		ad.v6.sin6_port = htons(peer ? PEER_PORT : s->port);
		if (peer)
			ad.v6.sin6_addr = in6addr_loopback;
		else
			memcpy(&ad.v6.sin6_addr, s->address, 16);
		break;
	default:
		n = sizeof ad.any.sa_family;
	}
	if (!tk_read(m, &have, length, sizeof have))
		return (-EFAULT);
	if ((int)have < 0)
		return (-EINVAL);
	if (!tk_write(m, to, &ad, have < n ? have : n) ||
	    !tk_write(m, length, &n, sizeof n))
		return (-EFAULT);
	return (0);
}

static bool
in_use(const struct tk_machine *m, const struct tk_file *f, uint16_t port)
{
	const uint32_t reuse_port = 1u << SO_REUSEPORT;
	const uint32_t reuse = 1u << SO_REUSEADDR;
	const struct tk_file *o;
	unsigned i;

	for (i = 0; i < m->files.n_files; i++) {
		o = tk_file_nth(&m->files, i);
		if (o == f || o->type != &tk_type_socket ||
		    o->socket.port != port ||
		    o->socket.family != f->socket.family ||
		    (o->socket.state != TK_SOCKET_BOUND &&
		    o->socket.state != TK_SOCKET_LISTENING))
			continue;
		if (o->socket.options & f->socket.options & reuse_port)
			continue;
		if (o->socket.state == TK_SOCKET_BOUND &&
		    (o->socket.options & f->socket.options & reuse))
			continue;
		return (true);
	}
	return (false);
}

static int64_t
bind_to(struct tk_machine *m, struct tk_file *f, uint16_t port)
{

	if (port == 0) {
		m->files.changed = true;
		port = (uint16_t)(FIRST_PORT + m->files.last_port++ % 28000);
	}
	if (in_use(m, f, port))
		return (-EADDRINUSE);
	tk_file_touch(&m->files, f);
	f->socket.port = port;
	f->socket.state = TK_SOCKET_BOUND;
	return (0);
}

int64_t
tk_sys_bind(struct tk_machine *m, const uint64_t a[6])
{
	union address ad;
	struct tk_file *f;
	int64_t e, n;

	f = tk_socket_at(m, a[0], &e);
	if (e != 0)
		return (e);
	n = read_address(m, &ad, a[1], a[2]);
	if (n < 0)
		return (n);
	if (f->socket.state != TK_SOCKET_NEW ||
	    n < (f->socket.family == AF_INET ? 16 : 24))
		return (-EINVAL);
	if (ad.any.sa_family != f->socket.family)
		return (-EAFNOSUPPORT);
	e = bind_to(m, f, ntohs(f->socket.family == AF_INET ? ad.v4.sin_port :
	    ad.v6.sin6_port));
	if (e != 0)
		return (e);
	if (f->socket.family == AF_INET)
		memcpy(f->socket.address, &ad.v4.sin_addr, 4);
	else
		memcpy(f->socket.address, &ad.v6.sin6_addr, 16);
	return (0);
}

int64_t
tk_sys_listen(struct tk_machine *m, const uint64_t a[6])
{
	struct tk_file *f;
	int64_t e;

	f = tk_socket_at(m, a[0], &e);
	if (e == 0 && f->socket.state == TK_SOCKET_NEW)
		e = bind_to(m, f, 0);
	if (e != 0)
		return (e);
	if (f->socket.state == TK_SOCKET_LISTENING)
		return (0);
	if (f->socket.state != TK_SOCKET_BOUND)
		return (-EINVAL);
	tk_file_touch(&m->files, f);
	f->socket.state = TK_SOCKET_LISTENING;
	return (0);
}

int64_t
tk_sys_accept4(struct tk_machine *m, const uint64_t a[6])
{
	struct tk_file *f, *new;
	int64_t e, fd;

	if (a[3] & ~(uint64_t)(SOCK_NONBLOCK | SOCK_CLOEXEC))
		return (-EINVAL);
	f = tk_socket_at(m, a[0], &e);
	if (e != 0)
		return (e);
	if (f->socket.state != TK_SOCKET_LISTENING)
		return (-EINVAL);
	if (!tk_socket_has_next(m, f)) {
		if (f->flags & O_NONBLOCK)
			return (-EAGAIN);
		e = tk_block(m, f->socket.wait_ns != 0 ? f->socket.wait_ns :
		    UINT64_MAX);
		return (e != 0 ? e : -EAGAIN);
	}
	/* A descriptor first: a connection is not lost for want of one. */
	new = new_socket(m, a[3], f->socket.family, TK_SOCKET_NEW);
	if (new == NULL)
		return (-ENFILE);
	fd = tk_fd_new(m, new, 0, (a[3] & SOCK_CLOEXEC) != 0);
	if (fd < 0)
		return (fd);
	new->socket.state = TK_SOCKET_ACCEPTED;
	new->socket.connection = tk_socket_next(m, f);
	new->socket.port = f->socket.port;
	memcpy(new->socket.address, f->socket.address, 16);
	if (a[1] != 0)
		e = give_address(m, &new->socket, true, a[1], a[2]);
	if (e == 0)
		return (fd);
	e = tk_fd_close(m, (uint64_t)fd);
	return (e != 0 ? e : -EFAULT);
}

int
tk_connect(struct tk_machine *m, struct tk_connection *c)
{
	struct tk_file *f;
	int64_t fd;

	TK_CHECK_OBJ(m, TK_MACHINE_MAGIC);
	tk_assert(c->output != NULL);
	f = new_socket(m, SOCK_NONBLOCK, AF_INET, TK_SOCKET_NEW);
	if (f == NULL)
		return (-ENFILE);
	/* The reset looks at files only when the guest called. */
	m->changed = true;
	fd = tk_fd_new(m, f, 0, true);
	if (fd < 0)
		return ((int)fd);
	f->socket.state = TK_SOCKET_ACCEPTED;
	f->socket.connection = c;
	return ((int)fd);
}

int64_t
tk_sys_accept(struct tk_machine *m, const uint64_t a[6])
{
	const uint64_t four[6] = { a[0], a[1], a[2], 0 };

	return (tk_sys_accept4(m, four));
}

int64_t
tk_sys_connect(struct tk_machine *m, const uint64_t a[6])
{
	char text[INET6_ADDRSTRLEN] = "?";
	union address ad;
	struct tk_file *f;
	int64_t e, n;

	f = tk_socket_at(m, a[0], &e);
	if (e != 0)
		return (e);
	n = read_address(m, &ad, a[1], a[2]);
	if (n < 0)
		return (n);
	if (f->socket.state == TK_SOCKET_PAIR ||
	    f->socket.state == TK_SOCKET_ACCEPTED)
		return (-EISCONN);
	(void)inet_ntop(ad.any.sa_family, ad.any.sa_family == AF_INET6 ?
	    (void *)&ad.v6.sin6_addr : (void *)&ad.v4.sin_addr, text,
	    sizeof text);
	tk_refused(m, "connect to %s port %u: programs have no network", text,
	    ntohs(ad.v4.sin_port));	/* at the same place in both */
	return (-ECONNREFUSED);
}

static int64_t
name_of(struct tk_machine *m, const uint64_t a[6], bool peer)
{
	struct tk_file *f;
	int64_t e;

	f = tk_socket_at(m, a[0], &e);
	if (e != 0)
		return (e);
	if (peer && f->socket.state != TK_SOCKET_PAIR &&
	    f->socket.state != TK_SOCKET_ACCEPTED)
		return (-ENOTCONN);
	return (give_address(m, &f->socket, peer, a[1], a[2]));
}

int64_t
tk_sys_getsockname(struct tk_machine *m, const uint64_t a[6])
{

	return (name_of(m, a, false));
}

int64_t
tk_sys_getpeername(struct tk_machine *m, const uint64_t a[6])
{

	return (name_of(m, a, true));
}

int64_t
tk_sys_shutdown(struct tk_machine *m, const uint64_t a[6])
{
	struct tk_file *f;
	int64_t e;

	f = tk_socket_at(m, a[0], &e);
	return (e != 0 ? e : tk_socket_shutdown(m, f, a[1]));
}

/*--------------------------------------------------------------------
 * Bytes
 */

static int64_t
receive(struct tk_machine *m, uint64_t fd, struct tk_transfer *t,
    uint64_t flags)
{
	struct tk_file *f;
	int64_t e;

	f = tk_socket_at(m, fd, &e);
	if (e != 0)
		return (e);
	if (flags & (MSG_OOB | MSG_ERRQUEUE))
		return (flags & MSG_OOB ? -EINVAL : -EAGAIN);
	t->io.peek = (flags & MSG_PEEK) != 0;
	t->no_wait = (flags & MSG_DONTWAIT) != 0;
	return (tk_transfer_in(m, f, t));
}

static int64_t
transmit(struct tk_machine *m, uint64_t fd, struct tk_transfer *t,
    uint64_t flags)
{
	struct tk_file *f;
	int64_t e;

	f = tk_socket_at(m, fd, &e);
	if (e != 0)
		return (e);
	if (flags & MSG_OOB)
		return (-EOPNOTSUPP);
	t->no_wait = (flags & MSG_DONTWAIT) != 0;
	return (tk_transfer_out(m, f, t));
}

int64_t
tk_sys_recvfrom(struct tk_machine *m, const uint64_t a[6])
{
	const socklen_t none = 0;
	struct tk_transfer t;
	int64_t r;

	memset(&t, 0, sizeof t);
	t.vector = tk_vector_of(a[1], a[2]);
	r = receive(m, a[0], &t, a[3]);
	if (r >= 0 && a[4] != 0 && a[5] != 0 &&
	    !tk_write(m, a[5], &none, sizeof none))
		return (-EFAULT);
	return (r);
}

int64_t
tk_sys_sendto(struct tk_machine *m, const uint64_t a[6])
{
	struct tk_transfer t;

	memset(&t, 0, sizeof t);
	t.vector = tk_vector_of(a[1], a[2]);
	return (transmit(m, a[0], &t, a[3]));
}

int64_t
tk_sys_recvmsg(struct tk_machine *m, const uint64_t a[6])
{
	struct tk_transfer t;
	struct msghdr h;
	int64_t r;

	memset(&t, 0, sizeof t);
	if (!tk_read(m, &h, a[1], sizeof h))
		return (-EFAULT);
	r = tk_vector_read(m, &t.vector, (tk_gva)h.msg_iov, h.msg_iovlen);
	if (r == 0)
		r = receive(m, a[0], &t, a[2]);
	if (r < 0)
		return (r);
	h.msg_namelen = 0;
	h.msg_controllen = 0;
	h.msg_flags = 0;
	return (tk_write(m, a[1], &h, sizeof h) ? r : -EFAULT);
}

int64_t
tk_sys_sendmsg(struct tk_machine *m, const uint64_t a[6])
{
	struct tk_transfer t;
	struct msghdr h;
	int64_t r;

	memset(&t, 0, sizeof t);
	if (!tk_read(m, &h, a[1], sizeof h))
		return (-EFAULT);
	/* Descriptors and credentials would be lost on the way. */
	if (h.msg_control != NULL && h.msg_controllen != 0)
		return (-EINVAL);
	r = tk_vector_read(m, &t.vector, (tk_gva)h.msg_iov, h.msg_iovlen);
	return (r != 0 ? r : transmit(m, a[0], &t, a[2]));
}
