/*-
 * SPDX-License-Identifier: BSD-2-Clause
 *
 * Streams that go wrong, each in its own way.
 */

#include "streamtest.h"

#define WILD	((void *)0x123456789000)
#define KERNEL	((void *)0xffffffff80001000)

#define PIECE(name, data, len)						\
	static struct streaming_content					\
	name(void *arg, size_t max, size_t written, size_t total)	\
	{								\
		struct streaming_content c = { (data), (size_t)(len) };	\
									\
		(void)arg; (void)max; (void)written; (void)total;	\
		return (c);						\
	}

static char some[4096];

PIECE(nothing, some, 0)
PIECE(wild, WILD, max)
PIECE(kernel, KERNEL, max)
PIECE(null, NULL, max)
PIECE(too_much, some, max + 1)
PIECE(everything, some, -1L)
PIECE(beyond, (char *)0x7fffffffe000, max)
PIECE(not_mine, some, 1UL << 40)

/* Well for some time; then as arg says. */
struct turn {
	size_t		at;
	content_fn	*then;
};

static struct streaming_content
turning(void *arg, size_t max, size_t written, size_t total)
{
	const struct turn *t = arg;

	if (written >= t->at)
		return (t->then(NULL, max, written, total));
	/* Slowly: the client has begun to listen when it happens. */
	if (max > 500)
		max = 500;
	return (alphabet(NULL, max, written, total));
}

static struct streaming_content
spin(void *arg, size_t max, size_t written, size_t total)
{

	(void)arg; (void)max; (void)written; (void)total;
	for (;;)
		__asm__ volatile ("" ::: "memory");
}

static struct streaming_content
crash(void *arg, size_t max, size_t written, size_t total)
{

	*(volatile char *)8 = 1;
	return (alphabet(arg, max, written, total));
}

static struct streaming_content
leave(void *arg, size_t max, size_t written, size_t total)
{

	exit(3);
	return (alphabet(arg, max, written, total));
}

static struct streaming_content
answer(void *arg, size_t max, size_t written, size_t total)
{

	respond_text(200, "in the middle\n");
	return (alphabet(arg, max, written, total));
}

static struct streaming_content
again(void *arg, size_t max, size_t written, size_t total)
{

	stream(200, total, alphabet, arg);
	return (alphabet(arg, max, written, total));
}

static struct streaming_content
register_now(void *arg, size_t max, size_t written, size_t total)
{

	register_func(KVM_ON_GET, (void *)alphabet);
	return (alphabet(arg, max, written, total));
}

/* Writes more than a request may, bit by bit, over all the calls. */
static struct streaming_content
hog(void *arg, size_t max, size_t written, size_t total)
{
	size_t i;
	char *p = malloc(1 << 20);
	volatile unsigned n;

	for (i = 0; p != NULL && i < 1 << 20; i += 4096)
		p[i] = 1;
	/* Longer than a tick of the watchdog. */
	for (n = 0; n < 20000000; n++)
		continue;
	return (alphabet(arg, max > 1000 ? 1000 : max, written, total));
}

static struct streaming_content
wreck_stack(void *arg, size_t max, size_t written, size_t total)
{

	__asm__ volatile ("xor %%esp, %%esp; ret" ::: "memory");
	return (alphabet(arg, max, written, total));
}

static const struct {
	const char	*url;
	content_fn	*callback;
} deeds[] = {
	{ "/nothing", nothing }, { "/wild", wild }, { "/kernel", kernel },
	{ "/null", null }, { "/too-much", too_much },
	{ "/everything", everything }, { "/beyond", beyond },
	{ "/not-mine", not_mine }, { "/spin", spin }, { "/crash", crash },
	{ "/leave", leave }, { "/answer", answer }, { "/again", again },
	{ "/register", register_now }, { "/hog", hog },
	{ "/wreck-stack", wreck_stack },
};

#define TOTAL	200000

static void __attribute__((noinline))
deep(unsigned n)
{
	volatile char room[4096];

	room[0] = 1;
	if (n == 0)
		stream(200, TOTAL, alphabet, NULL);
	deep(n - 1);
	room[1] = 1;
}

void
misbehave(const char *url)
{
	struct turn t;
	size_t i;
	bool late = strncmp(url, "/late", 5) == 0;

	for (i = 0; i < sizeof deeds / sizeof deeds[0]; i++) {
		if (strcmp(url + (late ? 5 : 0), deeds[i].url) != 0)
			continue;
		if (!late)
			stream(200, TOTAL, deeds[i].callback, NULL);
		t.at = 100000;
		t.then = deeds[i].callback;
		stream(200, TOTAL, turning, &t);
	}
	if (strcmp(url, "/no-function") == 0)
		stream(200, TOTAL, (content_fn *)(uintptr_t)some, NULL);
	if (strcmp(url, "/wild-function") == 0)
		stream(200, TOTAL, (content_fn *)WILD, NULL);
	if (strcmp(url, "/status-0") == 0)
		stream(0, TOTAL, alphabet, NULL);
	if (strcmp(url, "/huge-total") == 0)
		stream(200, (size_t)-1, alphabet, NULL);
	if (strcmp(url, "/deep") == 0)
		deep(50);
	if (strcmp(url, "/too-deep") == 0)
		deep(200);
	if (strcmp(url, "/wild-type") == 0)
		begin_streaming_response(200, WILD, 10, TOTAL, alphabet, NULL);
}
