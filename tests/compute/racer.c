/*-
 * SPDX-License-Identifier: BSD-2-Clause
 *
 * The guest of test_races.c: what it gives to the host another vCPU changes all
 * the time, between what is good and what is not.
 */

#include "kvm_api.h"

#define N	4

static char text[N][32];
static char type[32];
static struct ResponseHeader headers[64];
static struct BackendResponseExtra extra;

static void
change(void *arg)
{
	volatile char *t = &text[0][0], *ty = type;
	volatile size_t *len = &headers[1].field_len;
	volatile uint16_t *count = &extra.num_headers;
	unsigned i;

	(void)arg;
	for (i = 0;; i++) {
		t[4] = i & 1 ? '\n' : 'x';
		t[32 + 1] = i & 1 ? ':' : ' ';
		ty[3] = i & 2 ? '\r' : 't';
		*len = i & 4 ? 10 : 1UL << 40;
		*count = i & 8 ? 2 : 65;
		*(const char *volatile *)&headers[0].field = i & 16 ?
		    text[2] : (const char *)8;
	}
}

static void
on_get(const char *url, const char *arg)
{
	int i, n = url[1] - '0';

	(void)arg;
	if (multiprocess(2, change, NULL) != 0)
		respond_text(500, "no vCPU");
	for (i = 0; i < 20 && n == 0; i++)
		(void)sys_http_append(1, text[i % 2], 10);
	for (i = 0; i < 20 && n == 1; i++)
		(void)sys_http_set(0, text[i % 2], 10);
	for (i = 0; i < 20 && n == 2; i++)
		sys_log(text[0], 10);
	sys_backend_response(200, type, 10, "body", 4, n == 3 ? &extra :
	    NULL);
}

int
main(void)
{
	int i;

	for (i = 0; i < N; i++)
		memcpy(text[i], "N: xxxxxxx", 11);
	memcpy(type, "text/plain", 11);
	for (i = 0; i < 64; i++) {
		headers[i].field = text[2];
		headers[i].field_len = 10;
	}
	extra.headers = headers;
	extra.num_headers = 2;
	set_backend_get(on_get);
	wait_for_requests();
}
