/*-
 * SPDX-License-Identifier: BSD-2-Clause
 *
 * The guest of fuzz_calls.c: the body of a request is a list of calls, which it
 * makes one after the other, whatever they do to it. /state says whether all is
 * as when it was frozen.
 */

#include <errno.h>
#include <fcntl.h>
#include <signal.h>
#include <sys/mman.h>
#include <sys/syscall.h>
#include <unistd.h>

#include "call.h"
#include "kvm_api.h"

#define AREA	65536

static uint8_t area[AREA] __attribute__((aligned(4096)));
static const uint8_t constant[4096] = "what cannot be written";
static void *frozen_break;

static uint64_t
argument(const struct call *c, unsigned i, uint64_t last,
    const uint8_t *data, size_t len)
{
	uint64_t v = c->value[i];

	switch (c->how[i] % HOWS) {
	case HOW_SMALL:
		return (v % 64);
	case HOW_AREA:
		return ((uint64_t)area + v % AREA);
	case HOW_AREA_END:
		return ((uint64_t)area + AREA - v % 32);
	case HOW_BODY:
		return ((uint64_t)data + (len ? v % len : 0));
	case HOW_CONSTANT:
		return ((uint64_t)constant + v % 4096);
	case HOW_STACK:
		return ((uint64_t)__builtin_frame_address(0) - v % 8192);
	case HOW_LAST:
		return (last);
	case HOW_FUNCTION:
		return ((uint64_t)argument);
	default:
		return (v);
	}
}

static uint64_t
linux_call(uint64_t n, const uint64_t a[6])
{
	register uint64_t r10 __asm__("r10") = a[3];
	register uint64_t r8 __asm__("r8") = a[4];
	register uint64_t r9 __asm__("r9") = a[5];
	uint64_t r;

	__asm__ volatile ("syscall" : "=a" (r) : "0" (n), "D" (a[0]),
	    "S" (a[1]), "d" (a[2]), "r" (r10), "r" (r8), "r" (r9) :
	    "rcx", "r11", "memory");
	return (r);
}

static uint64_t
host_call(uint64_t n, const uint64_t a[6])
{

	return ((uint64_t)kvm_call((long)n, (long)a[0], (long)a[1],
	    (long)a[2], (long)a[3], (long)a[4], (long)a[5]));
}

static void
make_calls(const uint8_t *data, size_t len)
{
	struct call c;
	uint64_t a[6], last = 0;
	size_t at;
	unsigned i;

	for (at = 0; at + sizeof c <= len; at += sizeof c) {
		memcpy(&c, data + at, sizeof c);
		for (i = 0; i < 6; i++)
			a[i] = argument(&c, i, last, data, len);
		switch (c.kind % KINDS) {
		case KIND_LINUX:
			last = linux_call(c.number % 512, a);
			break;
		case KIND_HOST:
			last = host_call(host_numbers[c.number %
			    N_HOST_NUMBERS], a);
			break;
		case KIND_ODD_HOST:
			last = host_call(0x10000 + c.number, a);
			break;
		case KIND_STORE:
			/* Where it may not: then it ends here. */
			*(volatile uint64_t *)a[0] = a[1];
			break;
		default:
			memcpy(area + c.number % (AREA - sizeof c.value),
			    c.value, sizeof c.value);
		}
	}
}

static const char *
changed(void)
{
	struct sigaction sa;
	size_t i;
	int n;

	for (i = 0; i < AREA; i++)
		if (area[i] != (uint8_t)(i * 7))
			return ("memory");
	for (n = 3; n < 64; n++)
		if (fcntl(n, F_GETFD) != -1 || errno != EBADF)
			return ("descriptors");
	for (n = 1; n < 32; n++)
		if (n != SIGKILL && n != SIGSTOP &&
		    (sigaction(n, NULL, &sa) != 0 ||
		    sa.sa_handler != SIG_DFL))
			return ("signal handlers");
	if ((void *)syscall(SYS_brk, 0) != frozen_break)
		return ("the break");
	if (memcmp(constant, "what cannot be written", 23) != 0)
		return ("constants");
	return (NULL);
}

static void
on_get(const char *url, const char *arg)
{
	const char *what = changed();

	(void)url;
	(void)arg;
	if (what != NULL)
		respond_text(500, what);
	/* It may be written, too; and new memory and files are where they were. */
	area[0]++;
	respondf(200, "as frozen: %p, %d, %ld", mmap(NULL, 12345, PROT_READ,
	    MAP_PRIVATE | MAP_ANONYMOUS, -1, 0), dup(1), syscall(SYS_umask, 0));
}

static void
on_post(const char *url, const char *arg, const char *type,
    const uint8_t *data, size_t len)
{

	(void)url;
	(void)arg;
	(void)type;
	make_calls(data, len);
	respond(200, "text/plain", (const char *)area, 64);
}

int
main(void)
{
	size_t i;

	for (i = 0; i < AREA; i++)
		area[i] = (uint8_t)(i * 7);
	frozen_break = (void *)syscall(SYS_brk, 0);
	set_backend_get(on_get);
	set_backend_post(on_post);
	wait_for_requests();
}
