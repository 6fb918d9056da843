/*-
 * SPDX-License-Identifier: BSD-2-Clause
 *
 * Connections that the embedder makes to a program that listens.
 */

#include <errno.h>
#include <fcntl.h>
#include <netinet/in.h>
#include <poll.h>
#include <sys/epoll.h>
#include <sys/socket.h>
#include <sys/syscall.h>
#include <unistd.h>

#include "file_vm.h"
#include "linux/socket.h"

static struct file_vm vm;

/* The client's side. */
struct client {
	struct tk_connection	c;
	char			got[8192];
	size_t			len, pieces, ends;
	size_t			done_at;	/* bytes that are enough */
	bool			fail;
};

static enum tk_verdict
on_output(void *priv, const uint8_t *data, size_t len)
{
	struct client *cl = priv;

	if (len == 0) {
		cl->ends++;
		return (TK_RESUME);
	}
	CHECK(len <= TK_PIECE);
	if (cl->len + len < sizeof cl->got)
		memcpy(cl->got + cl->len, data, len);
	cl->len += len;
	cl->pieces++;
	if (cl->fail)
		return (TK_FAIL);
	return (cl->done_at != 0 && cl->len >= cl->done_at ? TK_DONE :
	    TK_RESUME);
}

static void
client_init(struct client *cl, const char *request)
{

	memset(cl, 0, sizeof *cl);
	cl->c.in = (const uint8_t *)request;
	cl->c.in_len = strlen(request);
	cl->c.output = on_output;
	cl->c.priv = cl;
}

#define S	((uint64_t)FILE_BOOT_LISTEN)
#define A	((uint64_t)FILE_BOOT_NEXT)	/* what accept() gives */
#define REQUEST	"GET / HTTP/1.1\r\nHost: it\r\n\r\n"

static short
ready(uint64_t fd, short events)
{
	struct pollfd p = { (int)fd, events, 0 };

	CHECK(tk_write(vm.m, file_vm_buffer(&vm), &p, sizeof p));
	CHECK(SYS(&vm, poll, file_vm_buffer(&vm), 1, 0) >= 0);
	CHECK(tk_read(vm.m, &p, file_vm_buffer(&vm), sizeof p));
	return (p.revents);
}

static void
one_request(void)
{
	struct sockaddr_in in;
	struct client cl;
	char text[64];
	tk_gva b;
	unsigned i;

	file_vm_init(&vm, true);
	b = file_vm_buffer(&vm);
	CHECK(tk_files_listening(vm.m));
	for (i = 0; i < 3; i++) {
		client_init(&cl, REQUEST);
		CHECK(ready(S, POLLIN) == 0);
		CHECK(SYS(&vm, accept4, S, 0, 0) == -EAGAIN);
		CHECK(tk_files_connect(vm.m, &cl.c) == 0);
		CHECK(ready(S, POLLIN) == POLLIN);
		/* A reset takes it away, untold. */
		(void)tk_reset(vm.m);
		CHECK(ready(S, POLLIN) == 0);

		CHECK(tk_files_connect(vm.m, &cl.c) == 0);
		CHECK(tk_write(vm.m, b + 32, &(socklen_t){ sizeof in }, 4));
		CHECK(SYS(&vm, accept4, S, b, b + 32) == (int64_t)A);
		CHECK(tk_read(vm.m, &in, b, sizeof in));
		CHECK(in.sin_family == AF_INET &&
		    ntohl(in.sin_addr.s_addr) == INADDR_LOOPBACK);
		CHECK(tk_write(vm.m, b + 32, &(socklen_t){ sizeof in }, 4));
		CHECK(SYS(&vm, getsockname, A, b, b + 32) == 0);
		CHECK(tk_read(vm.m, &in, b, sizeof in));
		CHECK(ntohs(in.sin_port) == 8080);
		CHECK(ready(S, POLLIN) == 0);
		CHECK(SYS(&vm, accept4, S, 0, 0) == -EAGAIN);
		CHECK(ready(A, POLLIN | POLLOUT) == (POLLIN | POLLOUT));
		CHECK(SYS(&vm, read, A, b, 5) == 5);
		CHECK(file_vm_call(&vm, SYS_recvfrom, A, b, 4, MSG_PEEK, 0) ==
		    4);
		CHECK(tk_read(vm.m, text, b, 4) &&
		    memcmp(text, " HTT", 4) == 0);
		CHECK(SYS(&vm, read, A, b, 1000) ==
		    (int64_t)strlen(REQUEST) - 5);
		/* The client has sent all and said so. */
		CHECK(SYS(&vm, read, A, b, 1000) == 0);
		CHECK(ready(A, POLLIN | POLLRDHUP) == (POLLIN | POLLRDHUP));
		CHECK(SYS(&vm, write, A, file_vm_text(&vm, 0, "HTTP/1.1 200 "),
		    13) == 13);
		CHECK(SYS(&vm, write, A, b, 0) == 0);
		CHECK(file_vm_call(&vm, SYS_sendto, A, file_vm_text(&vm, 0,
		    "OK\r\n"), 4, MSG_NOSIGNAL, 0) == 4);
		CHECK(cl.len == 17 && cl.pieces == 2 && cl.ends == 0);
		CHECK(memcmp(cl.got, "HTTP/1.1 200 OK\r\n", 17) == 0);
		CHECK(SYS(&vm, shutdown, A, SHUT_WR, 0) == 0);
		CHECK(SYS(&vm, write, A, b, 1) == -EPIPE);
		CHECK(SYS(&vm, close, A, 0, 0) == 0);
		CHECK(cl.ends == 1);
		(void)tk_reset(vm.m);
		CHECK(cl.ends == 1);
	}
	file_vm_fini(&vm);
}

/* The embedder has its answer: the call ends at the write. */
static void
answer_ends_the_call(void)
{
	struct tk_error err;
	struct client cl;
	unsigned i;

	file_vm_init(&vm, true);
	for (i = 0; i < 3; i++) {
		client_init(&cl, REQUEST);
		cl.done_at = 8;
		CHECK(tk_files_connect(vm.m, &cl.c) == 0);
		CHECK(SYS(&vm, accept4, S, 0, 0) == (int64_t)A);
		CHECK(SYS(&vm, write, A, file_vm_text(&vm, 0, "1234"), 4) ==
		    4);
		CHECK(file_vm_try(&vm, &err, SYS_write, A, file_vm_text(&vm, 0,
		    "5678"), 4, 0, 0) == 0);
		/* The guest did not come to tell its result. */
		CHECK(vm.g.result == INT64_MIN && cl.len == 8);
		(void)tk_reset(vm.m);
		CHECK(!tk_broken(vm.m));

		client_init(&cl, REQUEST);
		cl.fail = true;
		CHECK(tk_files_connect(vm.m, &cl.c) == 0);
		CHECK(SYS(&vm, accept4, S, 0, 0) == (int64_t)A);
		CHECK(file_vm_try(&vm, &err, SYS_write, A, file_vm_text(&vm, 0,
		    "12345678"), 8, 0, 0) == TK_HOST);
		CHECK_STR(err.text, "connection failed");
		(void)tk_reset(vm.m);
	}
	CHECK(SYS(&vm, read, FILE_BOOT_PIPE, file_vm_buffer(&vm), 64) == 6);
	file_vm_fini(&vm);
}

static void
kept_open(void)
{
	struct client cl;
	tk_gva b;

	file_vm_init(&vm, true);
	b = file_vm_buffer(&vm);
	client_init(&cl, "ab");
	cl.c.keep_open = true;
	CHECK(tk_files_connect(vm.m, &cl.c) == 0);
	CHECK(file_vm_call(&vm, SYS_accept4, S, 0, 0, SOCK_NONBLOCK, 0) ==
	    (int64_t)A);
	CHECK(SYS(&vm, read, A, b, 100) == 2);
	CHECK(SYS(&vm, read, A, b, 100) == -EAGAIN);
	CHECK(ready(A, POLLIN | POLLOUT | POLLRDHUP) == POLLOUT);
	/* The last descriptor, not the first, is the end. */
	CHECK(SYS(&vm, dup, A, 0, 0) == (int64_t)A + 1);
	CHECK(SYS(&vm, close, A, 0, 0) == 0 && cl.ends == 0);
	CHECK(SYS(&vm, dup2, 1, A + 1, 0) == (int64_t)A + 1 && cl.ends == 1);
	file_vm_fini(&vm);
}

/* Long writes come in pieces, vectors as one. */
static void
pieces(void)
{
	struct { uint64_t base, len; } v[3];
	struct client cl;
	tk_gva b;

	file_vm_init(&vm, true);
	b = vm.g.at[FILE_AT_AREA];
	client_init(&cl, "");
	CHECK(tk_files_connect(vm.m, &cl.c) == 0);
	CHECK(SYS(&vm, accept4, S, 0, 0) == (int64_t)A);
	CHECK(SYS(&vm, read, A, b, 100) == 0);
	CHECK(SYS(&vm, write, A, b, FILE_AREA) == FILE_AREA && cl.pieces == 1);
	v[0].base = file_vm_text(&vm, 1, "one");
	v[0].len = 3;
	v[1].base = 8;
	v[1].len = 0;
	v[2].base = file_vm_text(&vm, 2, "two");
	v[2].len = 3;
	CHECK(tk_write(vm.m, b, v, sizeof v));
	CHECK(SYS(&vm, writev, A, b, 3) == 6 && cl.pieces == 2);
	v[1].len = 5;
	CHECK(tk_write(vm.m, b, v, sizeof v));
	CHECK(SYS(&vm, writev, A, b, 3) == 3);
	/* Files go out without passing through the guest. */
	CHECK(SYS(&vm, open, file_vm_text(&vm, 0, "pages"), O_RDONLY, 0) ==
	    (int64_t)A + 1);
	cl.len = 0;
	CHECK(file_vm_call(&vm, SYS_sendfile, A, A + 1, 0, 100000, 0) == 9000);
	CHECK(cl.len == 9000);
	CHECK(file_vm_call(&vm, SYS_sendfile, A, A + 1, 0, 100000, 0) == 0);
	file_vm_fini(&vm);
}

static void
several(void)
{
	struct client cl[TK_MAX_INCOMING + 1];
	struct sockaddr_in in;
	struct epoll_event ev;
	tk_gva b;
	unsigned i;

	file_vm_init(&vm, true);
	b = file_vm_buffer(&vm);
	for (i = 0; i <= TK_MAX_INCOMING; i++) {
		client_init(&cl[i], "x");
		CHECK(tk_files_connect(vm.m, &cl[i].c) ==
		    (i < TK_MAX_INCOMING ? 0 : EAGAIN));
	}
	/* By edges: the pipe, and the listener once. */
	CHECK(file_vm_call(&vm, SYS_epoll_wait, FILE_BOOT_EPOLL, b, 8, 0, 0) ==
	    2);
	CHECK(tk_read(vm.m, &ev, b + sizeof ev, sizeof ev));
	CHECK(ev.data.u64 == 8 && ev.events == EPOLLIN);
	CHECK(file_vm_call(&vm, SYS_epoll_wait, FILE_BOOT_EPOLL, b, 8, 0, 0) ==
	    0);
	for (i = 0; i < TK_MAX_INCOMING; i++) {
		CHECK(SYS(&vm, accept4, S, 0, 0) == (int64_t)(A + i));
		CHECK(SYS(&vm, write, A + i, b, i + 1) == (int64_t)(i + 1));
		CHECK(cl[i].len == i + 1);
	}
	CHECK(SYS(&vm, accept4, S, 0, 0) == -EAGAIN);
	CHECK(tk_files_connect(vm.m, &cl[0].c) == 0);
	CHECK(file_vm_call(&vm, SYS_epoll_wait, FILE_BOOT_EPOLL, b, 8, 0, 0) ==
	    1);
	(void)tk_reset(vm.m);
	/* Another port has a queue of its own. */
	cl[0].c.port = 81;
	CHECK(tk_files_connect(vm.m, &cl[0].c) == ECONNREFUSED);
	CHECK(SYS(&vm, socket, AF_INET, SOCK_STREAM | SOCK_NONBLOCK, 0) ==
	    (int64_t)A);
	memset(&in, 0, sizeof in);
	in.sin_family = AF_INET;
	in.sin_port = htons(81);
	CHECK(tk_write(vm.m, b, &in, sizeof in));
	CHECK(SYS(&vm, bind, A, b, sizeof in) == 0);
	CHECK(SYS(&vm, listen, A, 5, 0) == 0);
	CHECK(tk_files_connect(vm.m, &cl[0].c) == 0);
	CHECK(SYS(&vm, accept4, S, 0, 0) == -EAGAIN);
	CHECK(SYS(&vm, accept4, A, 0, 0) == (int64_t)A + 1);
	/* Who closes the listener loses what waits there. */
	CHECK(tk_files_connect(vm.m, &cl[1].c) == 0);
	CHECK(SYS(&vm, close, S, 0, 0) == 0);
	cl[1].c.port = 8080;
	CHECK(tk_files_connect(vm.m, &cl[1].c) == ECONNREFUSED);
	CHECK(vm.m->files.n_incoming == 0);
	/* An accept() without a descriptor to give loses nothing. */
	(void)tk_reset(vm.m);
	CHECK(tk_files_connect(vm.m, &cl[2].c) == 0);
	for (i = (unsigned)A; i < TK_MAX_FDS; i++)
		CHECK(SYS(&vm, dup, 1, 0, 0) == i);
	CHECK(SYS(&vm, accept4, S, 0, 0) == -EMFILE);
	CHECK(SYS(&vm, close, 99, 0, 0) == 0);
	CHECK(SYS(&vm, accept4, S, 0, 0) == 99);
	file_vm_fini(&vm);
}

/* Connections that the embedder gives between calls, without a listener. */
static void
given(void)
{
	struct client a, b;
	size_t room = 5;
	tk_gva t;

	file_vm_init(&vm, false);
	client_init(&a, "");
	client_init(&b, "");
	a.c.keep_open = b.c.keep_open = true;
	a.c.room = &room;
	CHECK(tk_connect(vm.m, &a.c) == 3 && tk_connect(vm.m, &b.c) == 4);
	CHECK(tk_connected(vm.m, 3, &a.c) && !tk_connected(vm.m, 3, &b.c));
	CHECK(!tk_connected(vm.m, 5, &a.c) && !tk_connected(vm.m, -1, &a.c));
	t = PATH(&vm, "abcdefgh");
	CHECK(SYS(&vm, write, 4, t, 8) == 8 && b.len == 8);
	CHECK(SYS(&vm, write, 3, t, 8) == 5 && a.len == 5);
	CHECK(ready(3, POLLIN | POLLOUT) == POLLOUT);
	room = 0;
	CHECK(SYS(&vm, write, 3, t, 8) == -EAGAIN && a.len == 5);
	CHECK(ready(3, POLLIN | POLLOUT) == 0);
	CHECK(SYS(&vm, read, 3, file_vm_buffer(&vm), 8) == -EAGAIN);
	/* The guest closes one; the other's client goes. */
	CHECK(SYS(&vm, close, 3, 0, 0) == 0 && a.ends == 1);
	CHECK(!tk_connected(vm.m, 3, &a.c));
	tk_disconnect(vm.m, 3, &a.c);
	CHECK(SYS(&vm, dup, 4, 0, 0) == 3);
	tk_disconnect(vm.m, 4, &b.c);
	CHECK(b.ends == 0);
	CHECK(SYS(&vm, write, 4, t, 8) == -EBADF);
	CHECK(SYS(&vm, write, 3, t, 8) == -EPIPE && b.len == 8);
	CHECK(SYS(&vm, read, 3, file_vm_buffer(&vm), 8) == -ECONNRESET);
	/* A reset forgets them, whatever was done. */
	CHECK(tk_connect(vm.m, &a.c) == 4);
	(void)tk_reset(vm.m);
	CHECK(!tk_connected(vm.m, 4, &a.c));
	CHECK(SYS(&vm, write, 4, t, 8) == -EBADF);
	CHECK(tk_connect(vm.m, &a.c) == 3);
	(void)tk_reset(vm.m);
	file_vm_fini(&vm);
}

static void
no_network(void)
{
	struct sockaddr_in in = { .sin_family = AF_INET,
	    .sin_port = htons(443) };
	tk_gva b;

	file_vm_init(&vm, false);
	b = file_vm_buffer(&vm);
	CHECK(!tk_files_listening(vm.m));
	in.sin_addr.s_addr = htonl(0x5db8d822);
	CHECK(SYS(&vm, socket, AF_INET, SOCK_STREAM, 0) == 3);
	CHECK(tk_write(vm.m, b, &in, sizeof in));
	CHECK(SYS(&vm, connect, 3, b, sizeof in) == -ECONNREFUSED);
	CHECK_STR(vm.g.refused, "93.184.216.34 port 443");
	CHECK(SYS(&vm, socket, AF_INET, SOCK_DGRAM, 0) == -EACCES);
	CHECK(SYS(&vm, socket, AF_INET, SOCK_RAW, 0) == -EACCES);
	CHECK(SYS(&vm, socket, AF_UNIX, SOCK_STREAM, 0) == -EACCES);
	CHECK(SYS(&vm, socket, AF_NETLINK, SOCK_RAW, 0) == -EACCES);
	CHECK(SYS(&vm, socket, AF_VSOCK, SOCK_STREAM, 0) == -EAFNOSUPPORT);
	CHECK(SYS(&vm, socket, AF_PACKET, SOCK_RAW, 0) == -EAFNOSUPPORT);
	CHECK_STR(vm.g.refused, "socket of address family");
	file_vm_fini(&vm);
}

TESTS(
	T_KVM(one_request),
	T_KVM(answer_ends_the_call),
	T_KVM(kept_open),
	T_KVM(pieces),
	T_KVM(several),
	T_KVM(given),
	T_KVM(no_network)
)
