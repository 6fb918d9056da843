/*-
 * SPDX-License-Identifier: BSD-2-Clause
 *
 * /plant puts the secret (X-Secret, which is never in its memory as it is read
 * here) wherever a request can; /search looks for it in all memory that it can
 * read, in what new memory has, and in what it finds open.
 */

#include <fcntl.h>
#include <stdlib.h>
#include <sys/mman.h>
#include <sys/stat.h>
#include <sys/syscall.h>
#include <unistd.h>

#include "kvm_api.h"

#define SECRET	16
#define PAGES	64

static uint8_t bss[PAGES * 4096];
static uint8_t data[PAGES * 4096] = { 1 };
static __thread uint8_t local[4096];
/* The secret in disguise, kept by the master: what is looked for. */
static uint8_t disguised[SECRET];

static void
fill(volatile uint8_t *to, size_t len, const uint8_t *secret)
{
	size_t i;

	for (i = 0; i < len; i++)
		to[i] = secret[i % SECRET] ^ 0x5a;
}

static void
on_the_stack(int depth, const uint8_t *secret)
{
	volatile uint8_t frame[4096];

	fill(frame, sizeof frame, secret);
	if (depth > 0)
		on_the_stack(depth - 1, secret);
	__asm__ volatile ("" : : "r" (frame) : "memory");
}

static void
plant(const uint8_t *secret)
{
	uint8_t *p;
	int fd[2], m;
	char name[64];

	fill(bss, sizeof bss, secret);
	fill(data + 1, sizeof data - 1, secret);
	fill(local, sizeof local, secret);
	on_the_stack(30, secret);
	p = malloc(300000);
	fill(p, 300000, secret);
	p = mmap(NULL, 1 << 18, PROT_READ | PROT_WRITE, MAP_PRIVATE |
	    MAP_ANONYMOUS, -1, 0);
	fill(p, 1 << 18, secret);
	(void)mprotect(p, 1 << 17, PROT_READ);
	p = (uint8_t *)syscall(SYS_brk, 0);
	(void)syscall(SYS_brk, p + 65536);
	fill(p, 65536, secret);
	if (pipe(fd) == 0)
		(void)!write(fd[1], bss, 4096);
	m = memfd_create("secret", 0);
	(void)!write(m, bss, 65536);
	memcpy(name, bss, SECRET);
	name[SECRET] = '\0';
	(void)open(name, O_RDWR | O_CREAT, 0600);
	(void)chdir("/");
	(void)syscall(SYS_prctl, 15 /* PR_SET_NAME */, name);
	sys_http_set(1, "X-Planted: yes", 14);
	__asm__ volatile ("vmovdqu (%0), %%ymm3; vmovdqu (%0), %%ymm15;"
	    "movq (%0), %%mm1" : : "r" (bss) : "xmm3", "xmm15", "memory");
}

/* As plant() writes it (0x5a), or as the request brought it (0x77). */
static int
is_secret(const uint8_t *p, uint8_t key)
{
	int i;

	for (i = 0; i < SECRET; i++)
		if ((p[i] ^ key) != (disguised[i] ^ 0xc3))
			return (0);
	return (1);
}

static size_t scanned;

static const uint8_t *
look(const uint8_t *p, size_t len)
{
	const uint8_t first = disguised[0] ^ 0xc3;
	size_t i;

	scanned += len;
	for (i = 0; i + SECRET <= len; i++)
		if ((p[i] == (first ^ 0x5a) && is_secret(p + i, 0x5a)) ||
		    (p[i] == (first ^ 0x77) && is_secret(p + i, 0x77)))
			return (p + i);
	return (NULL);
}

static void
search(void)
{
	static char maps[65536];
	unsigned long a, b;
	const uint8_t *found = NULL;
	uint8_t *p, mm[32];
	char *line, *next, rights;
	ssize_t n, have = 0;
	int fd;

	__asm__ volatile ("vmovdqu %%ymm3, (%0)" : : "r" (mm) : "memory");
	found = look(mm, sizeof mm);
	fd = open("/proc/self/maps", O_RDONLY);
	while (fd >= 0 && (n = read(fd, maps + have, sizeof maps - 1 -
	    (size_t)have)) > 0)
		have += n;
	maps[have] = '\0';
	for (line = maps; *line != '\0' && found == NULL; line = next) {
		next = strchr(line, '\n');
		next = next != NULL ? next + 1 : line + strlen(line);
		a = strtoul(line, &line, 16);
		b = strtoul(line + 1, &line, 16);
		rights = line[1];
		if (rights == 'r')
			found = look((const uint8_t *)a, b - a);
	}
	p = mmap(NULL, 1 << 20, PROT_READ | PROT_WRITE, MAP_PRIVATE |
	    MAP_ANONYMOUS, -1, 0);
	if (found == NULL)
		found = look(p, 1 << 20);
	p = (uint8_t *)syscall(SYS_brk, 0);
	(void)syscall(SYS_brk, p + 65536);
	if (found == NULL)
		found = look(p, 65536);
	for (fd = 3; fd < 64; fd++)
		if (fcntl(fd, F_GETFD) != -1 && fd != 3)
			respondf(500, "descriptor %d is open", fd);
	if (found != NULL)
		respondf(500, "found at %p", (const void *)found);
	respondf(200, "%zu", scanned);
}

static void
on_any(const struct kvm_request *r)
{
	static char field[128];
	uint8_t secret[SECRET];
	size_t n;
	int i;

	if (strcmp(r->url, "/search") == 0)
		search();
	if (strcmp(r->url, "/check") == 0) {
		/* That the search finds what is there. */
		for (i = 0; i < SECRET; i++)
			secret[i] = disguised[i] ^ 0xc3;
		fill(bss + 5000, SECRET, secret);
		search();
	}
	n = sys_http_find(0, "X-Secret", 8, field, sizeof field);
	for (i = 0; i < SECRET; i++)
		secret[i] = (uint8_t)field[10 + i] ^ 0x77;
	memset(field, 0, n);
	plant(secret);
	if (strncmp(r->url, "/crash", 6) == 0)
		__builtin_trap();
	respondf(200, "planted");
}

int
main(int argc, char **argv)
{
	int i;

	for (i = 0; i < SECRET && argc > 1; i++)
		disguised[i] = (uint8_t)argv[1][i] ^ 0x77 ^ 0xc3;
	if (argc > 1)
		memset(argv[1], 0, strlen(argv[1]));
	set_on_method(on_any);
	wait_for_requests();
}
