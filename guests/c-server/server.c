/*-
 * SPDX-License-Identifier: BSD-2-Clause
 *
 * A small HTTP/1.1 server for Linux: epoll, non-blocking sockets, one thread.
 * It knows nothing of where it runs.
 */

#define _GNU_SOURCE
#include <arpa/inet.h>
#include <errno.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <strings.h>
#include <sys/epoll.h>
#include <sys/socket.h>
#include <unistd.h>

#define MAX_REQUEST	(1 << 20)

struct client {
	int	fd;
	size_t	have, sent, size;
	char	*out;
	char	in[MAX_REQUEST + 1];
};

static int ep;

static void
die(const char *what)
{

	perror(what);
	exit(1);
}

static void
done(struct client *c)
{

	close(c->fd);
	free(c->out);
	free(c);
}

static void
flush(struct client *c)
{
	struct epoll_event e = { .events = EPOLLOUT, .data.ptr = c };
	ssize_t n;

	while (c->sent < c->size) {
		n = write(c->fd, c->out + c->sent, c->size - c->sent);
		if (n < 0 && errno == EAGAIN) {
			epoll_ctl(ep, EPOLL_CTL_MOD, c->fd, &e);
			return;
		}
		if (n <= 0)
			break;
		c->sent += (size_t)n;
	}
	done(c);
}

static void
answer(struct client *c, const char *status, const char *extra,
    const char *body, size_t len)
{
	char *head;
	int n;

	n = asprintf(&head, "HTTP/1.1 %s\r\nContent-Type: text/plain\r\n%s"
	    "Content-Length: %zu\r\nConnection: close\r\n\r\n", status, extra,
	    len);
	if (n < 0)
		die("asprintf");
	c->out = realloc(head, (size_t)n + len);
	memcpy(c->out + n, body, len);
	c->size = (size_t)n + len;
	flush(c);
}

static size_t
content_length(const char *head)
{
	const char *p = strcasestr(head, "\r\nContent-Length:");

	return (p != NULL ? strtoul(p + 17, NULL, 10) : 0);
}

/* Lines of the head that begin with X-Test, as they came. */
static void
headers(struct client *c, const char *head)
{
	char body[4096] = "", extra[64];
	const char *p, *end;
	size_t used = 0, len;
	unsigned n = 0;

	for (p = strstr(head, "\r\n"); p != NULL; p = end) {
		p += 2;
		end = strstr(p, "\r\n");
		if (end == NULL || strncasecmp(p, "X-Test", 6) != 0)
			continue;
		len = (size_t)(end - p);
		n++;
		if (len > sizeof body - used - 1)
			continue;			/* counted only */
		memcpy(body + used, p, len);
		used += len;
		body[used++] = '\n';
	}
	snprintf(extra, sizeof extra, "X-Count: %u\r\n", n);
	answer(c, "202 Accepted", extra, body, used);
}

static void
handle(struct client *c, char *body, size_t len)
{
	char text[256], *name, *end;
	unsigned long sum = 5381;
	size_t i;

	if (strncmp(c->in, "GET /hello?name=", 16) == 0) {
		name = c->in + 16;
		end = strchr(name, ' ');
		snprintf(text, sizeof text, "Hello from C, %.*s!\n",
		    (int)(end - name), name);
		answer(c, "200 OK", "", text, strlen(text));
	} else if (strncmp(c->in, "POST /digest ", 13) == 0) {
		for (i = 0; i < len; i++)
			sum = sum * 33 + (unsigned char)body[i];
		snprintf(text, sizeof text, "%zu bytes, %lx\n", len, sum);
		answer(c, "200 OK", "", text, strlen(text));
	} else if (strncmp(c->in, "GET /headers ", 13) == 0)
		headers(c, c->in);
	else if (strncmp(c->in, "GET /long ", 10) == 0) {
		char *big = calloc(2000, 40);

		for (i = 0; i < 2000; i++)
			sprintf(big + strlen(big), "line %zu of a long "
			    "answer\n", i);
		answer(c, "200 OK", "", big, strlen(big));
		free(big);
	} else
		answer(c, "404 Not Found", "", "404 page not found\n", 19);
}

static void
readable(struct client *c)
{
	size_t len;
	ssize_t n;
	char *body;

	for (;;) {
		n = read(c->fd, c->in + c->have, MAX_REQUEST - c->have);
		if (n < 0 && errno == EAGAIN)
			return;
		if (n <= 0) {
			done(c);
			return;
		}
		c->have += (size_t)n;
		c->in[c->have] = '\0';
		body = strstr(c->in, "\r\n\r\n");
		if (body == NULL)
			continue;
		body += 4;
		len = content_length(c->in);
		if ((size_t)(c->in + c->have - body) < len)
			continue;
		handle(c, body, len);
		return;
	}
}

int
main(int argc, char **argv)
{
	struct sockaddr_in sin = { .sin_family = AF_INET };
	struct epoll_event e = { .events = EPOLLIN }, events[16];
	struct client *c;
	int listener, fd, i, n, one = 1;

	sin.sin_port = htons((uint16_t)atoi(argc > 1 ? argv[1] : "8080"));
	sin.sin_addr.s_addr = htonl(INADDR_LOOPBACK);
	listener = socket(AF_INET, SOCK_STREAM | SOCK_NONBLOCK, 0);
	setsockopt(listener, SOL_SOCKET, SO_REUSEADDR, &one, sizeof one);
	if (bind(listener, (void *)&sin, sizeof sin) || listen(listener, 64))
		die("listen");
	ep = epoll_create1(EPOLL_CLOEXEC);
	if (epoll_ctl(ep, EPOLL_CTL_ADD, listener, &e))
		die("epoll_ctl");
	for (;;) {
		n = epoll_wait(ep, events, 16, -1);
		for (i = 0; i < n; i++) {
			c = events[i].data.ptr;
			if (c != NULL && (events[i].events & EPOLLOUT)) {
				flush(c);
				continue;
			}
			if (c != NULL) {
				readable(c);
				continue;
			}
			fd = accept4(listener, NULL, NULL, SOCK_NONBLOCK);
			if (fd < 0)
				continue;
			c = calloc(1, sizeof *c);
			c->fd = fd;
			e.data.ptr = c;
			epoll_ctl(ep, EPOLL_CTL_ADD, fd, &e);
		}
	}
}
