/*-
 * SPDX-License-Identifier: BSD-2-Clause
 *
 * A chat: what one client says is told to all of its machine, by the settings
 * "server" (lines over TCP) and "websocket_server" (messages). A word with a
 * slash in front is for the program itself; some are misdeeds, for the tests.
 */

#include <errno.h>
#include <stdint.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/socket.h>
#include <unistd.h>

#include "kvm_api.h"

#define MAX_CLIENTS	1024
#define MAX_EVENTS	16

static int client[MAX_CLIENTS];		/* their descriptors */
static int n_clients;
static long said;			/* since the machine was reset */
static int number;
/* Of /flood: what is yet to be written, and to whom. */
static long flood_left;
static int flood_fd;

static void
forget(int fd)
{
	int i;

	for (i = 0; i < n_clients; i++)
		if (client[i] == fd) {
			client[i] = client[--n_clients];
			return;
		}
}

static void
tell_all(const void *data, size_t len)
{
	struct kvm_socket_event e[MAX_CLIENTS];
	int i;

	memset(e, 0, n_clients * sizeof e[0]);
	for (i = 0; i < n_clients; i++) {
		e[i].fd = client[i];
		e[i].data = data;
		e[i].data_len = len;
	}
	sys_sockets_write(e, (size_t)n_clients);
}

static void
tell(int fd, const char *text)
{

	(void)!write(fd, text, strlen(text));
}

static void
flood(void)
{
	static char block[65536];
	ssize_t n;

	while (flood_left > 0) {
		n = write(flood_fd, block, flood_left < 65536 ?
		    (size_t)flood_left : sizeof block);
		/* Goes on when it may. */
		if (n <= 0)
			return;
		flood_left -= n;
	}
}

static int
deep(int n)
{
	volatile char page[4096];

	page[0] = (char)n;
	return (deep(n + 1) + page[0]);
}

/* What is wrong on purpose. */
static void
misdeed(const char *what)
{
	struct kvm_socket_event e;

	memset(&e, 0, sizeof e);
	if (strcmp(what, "crash") == 0)
		*(volatile char *)16 = 1;
	else if (strcmp(what, "spin") == 0) {
		sys_log("spins", 5);
		for (;;)
			__asm__ volatile ("");
	} else if (strcmp(what, "deep") == 0)
		deep(0);
	else if (strcmp(what, "exit") == 0)
		exit(3);
	else if (strcmp(what, "respond") == 0)
		respond_text(200, "there is no request");
	else if (strcmp(what, "wait") == 0)
		wait_for_socket_events_paused((void *)16, 4);
	else if (strcmp(what, "wait-0") == 0)
		wait_for_socket_events_paused(&e, 0);
	else if (strcmp(what, "write") == 0)
		sys_sockets_write((void *)16, 4);
	else if (strcmp(what, "write-many") == 0)
		sys_sockets_write(&e, 1 << 20);
	else if (strcmp(what, "write-data") == 0) {
		e.fd = client[0];
		e.data = (const uint8_t *)16;
		e.data_len = 100;
		sys_sockets_write(&e, 1);
	}
}

static void
command(int fd, const char *word)
{
	char text[64];

	if (strcmp(word, "bye") == 0) {
		tell(fd, "bye\n");
		close(fd);
		forget(fd);
	} else if (strcmp(word, "end") == 0) {
		tell(fd, "no more\n");
		shutdown(fd, SHUT_WR);
	} else if (strcmp(word, "said") == 0) {
		snprintf(text, sizeof text, "%ld\n", said);
		tell(fd, text);
	} else if (strcmp(word, "number") == 0) {
		snprintf(text, sizeof text, "%d\n", number);
		tell(fd, text);
	} else if (strcmp(word, "who") == 0) {
		snprintf(text, sizeof text, "%d\n", n_clients);
		tell(fd, text);
	} else if (strcmp(word, "bad-fd") == 0) {
		struct kvm_socket_event e = { .fd = 999 };

		sys_sockets_write(&e, 1);
		snprintf(text, sizeof text, "%d\n", e.fd);
		tell(fd, text);
	} else if (strcmp(word, "floor") == 0) {
		/* The host's own number for measuring: nobody else's. */
		snprintf(text, sizeof text, "%ld\n",
		    kvm_call(0x3ffff, 0, 0, 0, 0, 0, 0));
		tell(fd, text);
	} else if (strncmp(word, "flood ", 6) == 0) {
		flood_fd = fd;
		flood_left = atol(word + 6);
		flood();
	} else
		misdeed(word);
}

static void
heard(const struct kvm_socket_event *e)
{
	char word[64];
	size_t n = e->data_len;

	if (n == 0 || e->data[0] != '/') {
		said++;
		tell_all(e->data, n);
		return;
	}
	while (n > 1 && (e->data[n - 1] == '\n' || e->data[n - 1] == '\r'))
		n--;
	snprintf(word, sizeof word, "%.*s", (int)(n - 1), e->data + 1);
	command(e->fd, word);
}

static void
serve(int which)
{
	struct kvm_socket_event e[MAX_EVENTS];
	int i, n;

	number = which;
	for (;;) {
		n = wait_for_socket_events_paused(e, MAX_EVENTS);
		for (i = 0; i < n; i++)
			switch (e[i].event) {
			case SOCKET_CONNECT:
				client[n_clients++] = e[i].fd;
				if (*e[i].arg != '\0')
					tell(e[i].fd, e[i].arg);
				break;
			case SOCKET_READ:
				heard(&e[i]);
				break;
			case SOCKET_WRITABLE:
				if (e[i].fd == flood_fd)
					flood();
				break;
			case SOCKET_DISCONNECT:
				forget(e[i].fd);
				break;
			}
	}
}

int
main(void)
{

	set_socket_prepare_for_pause(serve);
	wait_for_requests();
}
