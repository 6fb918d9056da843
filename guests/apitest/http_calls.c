/*-
 * SPDX-License-Identifier: BSD-2-Clause
 *
 * Header tables: X-Where is the table, X-Field the field or name.
 */

#include "apitest.h"

static enum kvm_http_where
where(const struct kvm_request *r)
{

	return ((enum kvm_http_where)number(r, "X-Where", 0));
}

static void
append(const struct kvm_request *r)
{
	const char *f = value(r, "X-Field");

	respondf(200, "%ld\n", sys_http_append(where(r), f, strlen(f)));
}

static void
set(const struct kvm_request *r)
{
	const char *f = value(r, "X-Field");
	long at = sys_http_set(where(r), f, strlen(f));
	char now[256];
	size_t n = 0;

	if (strchr(f, ':') != NULL)
		n = sys_http_find(where(r), f, strcspn(f, ":"), now,
		    sizeof now - 1);
	respondf(200, "%s %.*s\n", at > 0 ? "set" : "not", (int)n, now);
}

/* X-Room: the room for the field. */
static void
find(const struct kvm_request *r)
{
	const char *f = value(r, "X-Field");
	static char room[65536];
	size_t n, len;

	memset(room, '#', sizeof room);
	len = sys_http_find(where(r), f, strlen(f), NULL, 0);
	n = sys_http_find(where(r), f, strlen(f), room,
	    (size_t)number(r, "X-Room", sizeof room));
	respondf(200, "%zu %zu %.*s%c\n", len, n, (int)n, room, room[n]);
}

static void
method(const struct kvm_request *r)
{
	char room[32] = "";
	size_t n;

	n = sys_http_method(room, (size_t)number(r, "X-Room", sizeof room));
	respondf(200, "%zu %zu %.*s\n", sys_http_method(NULL, 0), n, (int)n,
	    room);
}

/* Until the table is full; the one after that changes nothing. */
static void
fill(const struct kvm_request *r)
{
	long n = 0;

	while (n < 10000 && sys_http_append(where(r), "X-Fill: y", 9) > 0)
		n++;
	respondf(200, "%s %ld\n", n > 0 && n < 10000 ? "full" : "never",
	    sys_http_append(where(r), "X-Fill: z", 9));
}

/* Two fields as long as X-Size says. */
static void
huge(const struct kvm_request *r)
{
	size_t n = (size_t)number(r, "X-Size", 65535);
	char *f = malloc(n + 1);
	long at;

	memset(f, 'h', n);
	memcpy(f, "X-Huge: ", 8);
	at = sys_http_append(where(r), f, n);
	respondf(200, "%s %ld\n", at > 0 ? "one" : "none",
	    sys_http_append(where(r), f, n));
}

/* Bytes beyond ASCII are a field's own business (RFC 9110, 5.5). */
static void
bytes(const struct kvm_request *r)
{
	static const char f[] = "X-Bytes: \xe4\xf6\xfc\xff\x80";
	char room[64] = "";
	size_t n;

	(void)sys_http_append(where(r), f, sizeof f - 1);
	n = sys_http_find(where(r), "x-bytes", 7, room, sizeof room);
	respondf(200, "%d\n", n == sizeof f - 1 && memcmp(room, f, n) == 0);
}

/* Does as X-Do says to the table, then fails as X-Fail says. */
static void
fail(const struct kvm_request *r)
{
	const char *f = value(r, "X-Field"), *how = value(r, "X-Fail");

	if (strcmp(value(r, "X-Do"), "append") == 0)
		(void)sys_http_append(where(r), f, strlen(f));
	else
		(void)sys_http_set(where(r), f, strlen(f));
	if (strcmp(how, "fault") == 0)
		*(volatile char *)8 = 1;
	if (strcmp(how, "refused") == 0)
		(void)sys_http_append(where(r), "no field", 8);
	while (strcmp(how, "loop") == 0)
		__asm__ volatile ("" ::: "memory");
	respondf(200, "done\n");
}

const struct behaviour http_calls[] = {
	{ "/http/append", append }, { "/http/set", set },
	{ "/http/find", find }, { "/http/method", method },
	{ "/http/fill", fill }, { "/http/huge", huge },
	{ "/http/bytes", bytes }, { "/http/fail", fail },
	{ NULL, NULL }
};
