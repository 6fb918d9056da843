/*-
 * SPDX-License-Identifier: BSD-2-Clause
 *
 * Scenarios of file_guest.c: pipes, counters, polling, sockets.
 */

#define _GNU_SOURCE
#include <arpa/inet.h>
#include <errno.h>
#include <fcntl.h>
#include <netinet/in.h>
#include <netinet/tcp.h>
#include <poll.h>
#include <stdint.h>
#include <string.h>
#include <sys/epoll.h>
#include <sys/eventfd.h>
#include <sys/ioctl.h>
#include <sys/select.h>
#include <sys/socket.h>
#include <sys/timerfd.h>
#include <sys/uio.h>
#include <unistd.h>

#include "file_notes.h"

void
pipes(void)
{
	struct pollfd p[2];
	static char big[70000];
	char buf[16];
	int fd[2], n;

	T(pipe2(fd, 77));
	T(pipe2(fd, O_NONBLOCK | O_CLOEXEC));
	T(fcntl(fd[0], F_GETFL) & (O_ACCMODE | O_NONBLOCK));
	T(fcntl(fd[1], F_GETFL) & (O_ACCMODE | O_NONBLOCK));
	T(fcntl(fd[1], F_GETFD));
	p[0].fd = fd[0];
	p[0].events = POLLIN;
	p[1].fd = fd[1];
	p[1].events = POLLOUT;
	T(poll(p, 2, 0));
	T(p[0].revents);
	T(p[1].revents);
	T(read(fd[0], buf, 16));
	T(read(fd[1], buf, 16));
	T(write(fd[0], buf, 16));
	T(write(fd[1], "hello", 5));
	T(write(fd[1], " pipe", 5));
	T(ioctl(fd[0], FIONREAD, &n));
	T(n);
	T(poll(p, 2, 0));
	T(p[0].revents);
	T(read(fd[0], buf, 7));
	TEXT(buf, 7);
	T(read(fd[0], buf, 16));
	TEXT(buf, 3);
	T(read(fd[0], buf, 0));
	T(lseek(fd[0], 0, SEEK_CUR));
	T(pread(fd[0], buf, 1, 0));
	T(write(fd[1], big, sizeof big));
	T(write(fd[1], big, 1));
	T(poll(p, 2, 0));
	T(p[1].revents);
	T(read(fd[0], big, 4096));
	T(write(fd[1], big, 4096));
	T(write(fd[1], big, 4096));
	T(read(fd[0], big, sizeof big));
	T(write(fd[1], (void *)8, 3));
	T(write(fd[1], "end", 3));
	T(read(fd[0], (void *)8, 3));
	T(close(fd[1]));
	T(poll(p, 1, 0));
	T(p[0].revents);
	T(read(fd[0], buf, 16));
	T(read(fd[0], buf, 16));
	T(poll(p, 1, 0));
	T(p[0].revents);
	T(close(fd[0]));
	T(pipe(fd));
	T(close(fd[0]));
	p[0].fd = fd[1];
	p[0].events = POLLOUT;
	T(poll(p, 1, 0));
	T(p[0].revents);
	T(write(fd[1], "x", 1));
	T(close(fd[1]));
	T(fcntl(fd[1], F_GETPIPE_SZ));
	T(pipe((int *)8));
}

void
counters(void)
{
	struct itimerspec its;
	struct pollfd p;
	uint64_t v;
	int fd;

	fd = (int)T(eventfd(3, EFD_NONBLOCK));
	T(read(fd, &v, 7));
	T(read(fd, &v, 8));
	T(v);
	T(read(fd, &v, 8));
	v = 5;
	T(write(fd, &v, 8));
	T(write(fd, &v, 4));
	T(write(fd, &v, 8));
	T(read(fd, &v, 8));
	T(v);
	v = UINT64_MAX;
	T(write(fd, &v, 8));
	v = UINT64_MAX - 1;
	T(write(fd, &v, 8));
	v = 1;
	T(write(fd, &v, 8));
	p.fd = fd;
	p.events = POLLIN | POLLOUT;
	T(poll(&p, 1, 0));
	T(p.revents);
	T(read(fd, &v, 8));
	T(poll(&p, 1, 0));
	T(p.revents);
	T(lseek(fd, 0, SEEK_CUR));
	T(close(fd));
	fd = (int)T(eventfd(2, EFD_NONBLOCK | EFD_SEMAPHORE));
	T(read(fd, &v, 8));
	T(v);
	T(read(fd, &v, 8));
	T(read(fd, &v, 8));
	T(close(fd));
	T(eventfd(0, 77));

	fd = (int)T(timerfd_create(CLOCK_MONOTONIC, TFD_NONBLOCK));
	T(read(fd, &v, 8));
	memset(&its, 0, sizeof its);
	its.it_value.tv_nsec = 1000000;
	T(timerfd_settime(fd, 0, &its, NULL));
	p.fd = fd;
	p.events = POLLIN;
	T(poll(&p, 1, 5000));
	T(p.revents);
	T(read(fd, &v, 8));
	T(v);
	T(read(fd, &v, 8));
	T(timerfd_gettime(fd, &its));
	T(its.it_value.tv_sec + its.it_value.tv_nsec);
	its.it_value.tv_sec = 100;
	its.it_interval.tv_sec = 7;
	T(timerfd_settime(fd, 0, &its, NULL));
	T(timerfd_gettime(fd, &its));
	T(its.it_value.tv_sec);
	T(its.it_interval.tv_sec);
	T(poll(&p, 1, 1));
	its.it_value.tv_sec = 1;	/* long ago, by the clock */
	its.it_interval.tv_sec = 0;
	T(timerfd_settime(fd, TFD_TIMER_ABSTIME, &its, NULL));
	T(poll(&p, 1, 1000));
	T(read(fd, &v, 8));
	T(v);
	its.it_value.tv_nsec = 1000000000;
	T(timerfd_settime(fd, 0, &its, NULL));
	T(timerfd_settime(1, 0, &its, NULL));
	T(timerfd_create(77, 0));
	T(close(fd));
}

static void
note_events(int line, const struct epoll_event *ev, int n)
{
	int i;

	(void)note(line, n);
	for (i = 0; i < n; i++) {
		(void)note(line, ev[i].events);
		(void)note(line, (long)ev[i].data.u64);
	}
}

#define WAIT(ep)	do {						\
		int n_ = epoll_wait((ep), ev, 8, 0);			\
		note_events(__LINE__, ev, n_);				\
	} while (0)

void
epolls(void)
{
	struct epoll_event e, ev[8];
	struct pollfd pf;
	uint64_t v = 1;
	char buf[16];
	int ep, p[2], x, file, d;

	ep = (int)T(epoll_create1(EPOLL_CLOEXEC));
	T(epoll_create1(77));
	T(epoll_create(0));
	T(pipe(p));
	memset(&e, 0, sizeof e);
	e.events = EPOLLIN;
	e.data.u64 = 11;
	T(epoll_ctl(ep, EPOLL_CTL_ADD, p[0], &e));
	T(epoll_ctl(ep, EPOLL_CTL_ADD, p[0], &e));
	e.events = EPOLLOUT | EPOLLET;
	e.data.u64 = 22;
	T(epoll_ctl(ep, EPOLL_CTL_ADD, p[1], &e));
	T(epoll_ctl(ep, EPOLL_CTL_ADD, ep, &e));
	T(epoll_ctl(ep, EPOLL_CTL_ADD, 77, &e));
	T(epoll_ctl(77, EPOLL_CTL_ADD, p[1], &e));
	T(epoll_ctl(p[0], EPOLL_CTL_ADD, p[1], &e));
	T(epoll_ctl(ep, 77, p[1], &e));
	file = (int)T(open("hello", O_RDONLY));
	T(epoll_ctl(ep, EPOLL_CTL_ADD, file, &e));
	T(epoll_ctl(ep, EPOLL_CTL_DEL, file, &e));
	T(close(file));
	/* Edge: told once. */
	WAIT(ep);
	WAIT(ep);
	/* Level: told as long as there is something. */
	T(write(p[1], "ab", 2));
	WAIT(ep);
	WAIT(ep);
	T(read(p[0], buf, 16));
	WAIT(ep);

	/* The reader by edges: each write is one. */
	e.events = EPOLLIN | EPOLLET;
	e.data.u64 = 33;
	T(epoll_ctl(ep, EPOLL_CTL_MOD, p[0], &e));
	WAIT(ep);
	T(write(p[1], "ab", 2));
	WAIT(ep);
	WAIT(ep);
	T(read(p[0], buf, 1));
	WAIT(ep);
	T(write(p[1], "c", 1));
	WAIT(ep);
	T(read(p[0], buf, 16));
	WAIT(ep);
	T(write(p[1], "d", 1));
	T(read(p[0], buf, 16));
	WAIT(ep);
	/* Once: off until it is set again. */
	e.events = EPOLLIN | EPOLLONESHOT;
	e.data.u64 = 44;
	T(epoll_ctl(ep, EPOLL_CTL_MOD, p[0], &e));
	T(write(p[1], "e", 1));
	WAIT(ep);
	WAIT(ep);
	T(write(p[1], "f", 1));
	WAIT(ep);
	T(epoll_ctl(ep, EPOLL_CTL_MOD, p[0], &e));
	WAIT(ep);
	T(epoll_ctl(ep, EPOLL_CTL_DEL, p[0], &e));
	T(epoll_ctl(ep, EPOLL_CTL_DEL, p[0], &e));
	T(epoll_ctl(ep, EPOLL_CTL_MOD, p[0], &e));
	WAIT(ep);
	/* An event counter, by edges. */
	x = (int)T(eventfd(0, EFD_NONBLOCK));
	e.events = EPOLLIN | EPOLLET;
	e.data.u64 = 55;
	T(epoll_ctl(ep, EPOLL_CTL_ADD, x, &e));
	WAIT(ep);
	T(write(x, &v, 8));
	T(write(x, &v, 8));
	WAIT(ep);
	WAIT(ep);
	T(write(x, &v, 8));
	WAIT(ep);
	/* A descriptor less is no file less. */
	d = (int)T(dup(x));
	T(close(x));
	T(write(d, &v, 8));
	WAIT(ep);
	T(close(d));
	WAIT(ep);
	/* An epoll is itself pollable. */
	e.events = EPOLLIN;
	e.data.u64 = 66;
	T(epoll_ctl(ep, EPOLL_CTL_ADD, p[0], &e));
	pf.fd = ep;
	pf.events = POLLIN;
	T(poll(&pf, 1, 0));
	T(close(p[1]));
	WAIT(ep);
	T(read(p[0], buf, 16));
	WAIT(ep);
	T(close(p[0]));
	WAIT(ep);
	T(poll(&pf, 1, 0));
	T(epoll_wait(ep, ev, 0, 0));
	T(epoll_wait(ep, ev, 1, 2));
	T(read(ep, buf, 1));
	T(close(ep));
	T(epoll_wait(ep, ev, 1, 0));
}

void
selects(void)
{
	struct timeval tv = { 0, 1000 };
	struct timespec ts = { 0, 1000000 };
	struct pollfd p[3];
	fd_set r, w;
	int fd[2];

	T(pipe(fd));
	FD_ZERO(&r);
	FD_ZERO(&w);
	FD_SET(fd[0], &r);
	T(select(fd[1] + 1, &r, &w, NULL, &tv));
	T(FD_ISSET(fd[0], &r) != 0);
	FD_SET(fd[0], &r);
	FD_SET(fd[1], &w);
	T(select(fd[1] + 1, &r, &w, NULL, NULL));
	T(FD_ISSET(fd[0], &r) != 0);
	T(FD_ISSET(fd[1], &w) != 0);
	T(write(fd[1], "x", 1));
	FD_SET(fd[0], &r);
	T(pselect(fd[1] + 1, &r, &w, NULL, &ts, NULL));
	/* Within the smallest table of descriptors that Linux has. */
	FD_SET(40, &r);
	T(select(41, &r, NULL, NULL, &tv));
	T(select(-1, NULL, NULL, NULL, &tv));
	FD_ZERO(&r);
	tv.tv_usec = 0;
	T(select(0, NULL, NULL, NULL, &tv));
	tv.tv_usec = -1;
	T(select(0, NULL, NULL, NULL, &tv));
	p[0].fd = fd[0];
	p[0].events = POLLIN;
	p[1].fd = -1;
	p[1].events = POLLIN;
	p[1].revents = 5;
	p[2].fd = 77;
	p[2].events = POLLIN;
	T(poll(p, 3, 0));
	T(p[0].revents);
	T(p[1].revents);
	T(p[2].revents);
	T(ppoll(p, 2, &ts, NULL));
	T(poll(p, 100000, 0));
	T(poll((struct pollfd *)8, 1, 0));
	T(poll(NULL, 0, 1));
	ts.tv_nsec = -1;
	T(ppoll(p, 1, &ts, NULL));
	T(close(fd[0]));
	T(close(fd[1]));
}

void
pairs(void)
{
	struct iovec v[2] = { { "one", 3 }, { "two", 3 } };
	struct msghdr h;
	struct epoll_event e, ev[8];
	struct pollfd p;
	struct sockaddr sa;
	socklen_t len = sizeof sa;
	char buf[32];
	int s[2], n, ep;

	T(socketpair(AF_INET, SOCK_STREAM, 0, s));
	T(socketpair(AF_UNIX, SOCK_STREAM | SOCK_NONBLOCK, 0, s));
	T(fcntl(s[0], F_GETFL) & (O_ACCMODE | O_NONBLOCK));
	p.fd = s[0];
	p.events = POLLIN | POLLOUT | POLLRDHUP;
	T(poll(&p, 1, 0));
	T(p.revents);
	T(read(s[0], buf, 1));
	T(write(s[1], "hello", 5));
	T(ioctl(s[0], FIONREAD, &n));
	T(n);
	T(recv(s[0], buf, 3, MSG_PEEK));
	T(recv(s[0], buf, sizeof buf, 0));
	TEXT(buf, 5);
	T(recv(s[0], buf, sizeof buf, MSG_DONTWAIT));
	T(send(s[0], "back", 4, MSG_NOSIGNAL));
	T(poll(&p, 1, 0));
	T(p.revents);
	T(recvfrom(s[1], buf, sizeof buf, 0, &sa, &len));
	memset(&h, 0, sizeof h);
	h.msg_iov = v;
	h.msg_iovlen = 2;
	T(sendmsg(s[1], &h, MSG_NOSIGNAL));
	v[0].iov_base = buf;
	v[0].iov_len = 4;
	v[1].iov_base = buf + 4;
	v[1].iov_len = 20;
	T(recvmsg(s[0], &h, 0));
	TEXT(buf, 6);
	n = 0;
	len = sizeof n;
	T(getsockopt(s[0], SOL_SOCKET, SO_TYPE, &n, &len));
	T(n);
	T(getsockopt(s[0], SOL_SOCKET, SO_ERROR, &n, &len));
	T(n);
	T(getsockopt(s[0], SOL_SOCKET, SO_DOMAIN, &n, &len));
	T(n);
	len = sizeof sa;
	T(getsockname(s[0], &sa, &len));
	T(sa.sa_family);
	T(getpeername(s[0], &sa, &len));
	T(listen(s[0], 1));
	T(accept(s[0], NULL, NULL));
	T(lseek(s[0], 0, SEEK_CUR));
	ep = (int)T(epoll_create1(0));
	e.events = EPOLLIN | EPOLLOUT | EPOLLET | EPOLLRDHUP;
	e.data.u64 = 9;
	T(epoll_ctl(ep, EPOLL_CTL_ADD, s[0], &e));
	WAIT(ep);
	WAIT(ep);
	T(write(s[1], "z", 1));
	WAIT(ep);
	WAIT(ep);
	T(shutdown(s[1], SHUT_WR));
	WAIT(ep);
	T(shutdown(s[1], 7));
	T(send(s[1], "x", 1, MSG_NOSIGNAL));
	T(poll(&p, 1, 0));
	T(p.revents);
	T(read(s[0], buf, 8));
	T(read(s[0], buf, 8));
	T(send(s[0], "still", 5, MSG_NOSIGNAL));
	T(read(s[1], buf, 8));
	T(close(s[1]));
	T(poll(&p, 1, 0));
	T(p.revents);
	WAIT(ep);
	T(send(s[0], "x", 1, MSG_NOSIGNAL));
	T(read(s[0], buf, 1));
	T(close(s[0]));
	T(close(ep));
	T(send(1, "x", 1, 0));
	T(socket(AF_INET, SOCK_STREAM, 99));
}

void
servers(void)
{
	struct sockaddr_in in, got;
	struct sockaddr_in6 in6;
	socklen_t len;
	struct pollfd p;
	int s, t, on = 1, value;

	s = (int)T(socket(AF_INET, SOCK_STREAM | SOCK_NONBLOCK, 0));
	T(listen(77, 1));
	T(listen(1, 1));
	T(accept(s, NULL, NULL));
	T(setsockopt(s, SOL_SOCKET, SO_REUSEADDR, &on, sizeof on));
	T(setsockopt(s, IPPROTO_TCP, TCP_NODELAY, &on, sizeof on));
	T(setsockopt(s, SOL_SOCKET, 9999, &on, sizeof on));
	T(setsockopt(s, SOL_SOCKET, SO_KEEPALIVE, &on, 1));
	len = sizeof value;
	T(getsockopt(s, SOL_SOCKET, SO_REUSEADDR, &value, &len));
	T(value);
	T(getsockopt(s, SOL_SOCKET, SO_ACCEPTCONN, &value, &len));
	T(value);
	memset(&in, 0, sizeof in);
	in.sin_family = AF_INET;
	in.sin_port = htons(0);
	in.sin_addr.s_addr = htonl(INADDR_LOOPBACK);
	T(bind(s, (void *)&in, 4));
	T(bind(s, (void *)&in, sizeof in));
	T(bind(s, (void *)&in, sizeof in));
	T(listen(s, 16));
	T(listen(s, 8));
	len = sizeof got;
	T(getsockname(s, (void *)&got, &len));
	T(len);
	T(got.sin_family);
	T(got.sin_addr.s_addr);
	T(got.sin_port != 0);
	T(getpeername(s, (void *)&got, &len));
	T(getsockopt(s, SOL_SOCKET, SO_ACCEPTCONN, &value, &len));
	T(value);
	len = sizeof got;
	T(getsockname(s, (void *)&got, &len));
	p.fd = s;
	p.events = POLLIN | POLLOUT;
	T(poll(&p, 1, 0));
	T(accept4(s, NULL, NULL, 0));
	T(accept4(s, NULL, NULL, 77));
	t = (int)T(socket(AF_INET, SOCK_STREAM, IPPROTO_TCP));
	T(bind(t, (void *)&got, sizeof got));
	T(read(t, &value, 1));
	T(send(t, "x", 1, MSG_NOSIGNAL));
	p.fd = t;
	T(poll(&p, 1, 0));
	T(p.revents);
	T(shutdown(t, SHUT_WR));
	got.sin_port = htons(1);
	T(connect(t, (void *)&got, sizeof got));
	T(close(t));
	T(close(s));
	s = (int)T(socket(AF_INET6, SOCK_STREAM, 0));
	T(setsockopt(s, IPPROTO_IPV6, IPV6_V6ONLY, &on, sizeof on));
	memset(&in6, 0, sizeof in6);
	in6.sin6_family = AF_INET6;
	in6.sin6_addr = in6addr_loopback;
	T(bind(s, (void *)&in6, sizeof in6));
	T(listen(s, 1));
	T(close(s));
	T(socket(77, SOCK_STREAM, 0));
}
