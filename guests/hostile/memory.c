/*-
 * SPDX-License-Identifier: BSD-2-Clause
 *
 * Memory: where a program may not go, and more than it may have.
 */

#define _GNU_SOURCE
#include <stdlib.h>
#include <sys/auxv.h>
#include <sys/mman.h>

#include "hostile.h"

#define KERNEL	0xffffffff80000000UL

static char secret_data[4096] = "x";
static __thread char secret_tls[64];

static void
null_write(const char *arg)
{

	(void)arg;
	*(volatile int *)8 = 1;
}

static void
wild_read(const char *arg)
{

	(void)arg;
	(void)*(volatile char *)0x123456789000;
}

static void
noncanonical(const char *arg)
{

	(void)arg;
	(void)*(volatile char *)0x8000000000000000;
}

static void
kernel_read(const char *arg)
{

	(void)arg;
	(void)*(volatile char *)(KERNEL + 0x1000);
}

static void
kernel_write(const char *arg)
{

	(void)arg;
	*(volatile char *)(KERNEL + 0x5000) = 0;
}

static void
exec_data(const char *arg)
{
	char *p = malloc(64);

	(void)arg;
	memset(p, 0xc3, 64);
	((void (*)(void))p)();
}

static void
write_text(const char *arg)
{

	(void)arg;
	*(volatile char *)null_write = 0;
}

static int __attribute__((noinline))
deeper(volatile char *above)
{
	volatile char frame[1024];

	frame[0] = above[0];
	return (deeper(frame) + frame[0]);
}

static void
stack_overflow(const char *arg)
{
	volatile char c = 0;

	(void)arg;
	(void)deeper(&c);
}

static void
memory_hog(const char *arg)
{
	char *p;

	(void)arg;
	for (;;) {
		p = mmap(NULL, 1 << 20, PROT_READ | PROT_WRITE,
		    MAP_PRIVATE | MAP_ANONYMOUS, -1, 0);
		if (p == MAP_FAILED)
			abort();
		memset(p, 1, 1 << 20);
	}
}

static void
heap_hog(const char *arg)
{
	char *p;

	(void)arg;
	for (;;) {
		p = malloc(100000);
		if (p == NULL)
			abort();
		memset(p, 1, 100000);
	}
}

static void
vdso_overwrite(const char *arg)
{

	(void)arg;
	*(volatile char *)getauxval(AT_SYSINFO_EHDR) = 0;
}

static void
clock_overwrite(const char *arg)
{

	(void)arg;
	*(volatile char *)(getauxval(AT_SYSINFO_EHDR) - 4096) = 0;
}

/* Puts the argument wherever a request can put something. */
static void
plant_secret(const char *arg)
{
	size_t n = strlen(arg) + 1;
	char stack[256], *heap;
	int i;

	strcpy(secret_data + 512, arg);
	strncpy(secret_tls, arg, sizeof secret_tls - 1);
	strncpy(stack, arg, sizeof stack - 1);
	for (i = 0; i < 100; i++) {
		heap = malloc(5000);
		memcpy(heap, arg, n);
	}
	heap = mmap(NULL, 1 << 20, PROT_READ | PROT_WRITE,
	    MAP_PRIVATE | MAP_ANONYMOUS, -1, 0);
	if (heap != MAP_FAILED)
		for (i = 0; i < 256; i++)
			memcpy(heap + i * 4096, arg, n);
	__asm__ volatile ("" :: "r" (stack) : "memory");
	respond_text(200, "planted\n");
}

static int
contains(const char *from, size_t len, const char *what, size_t n)
{
	const char *p = from, *end = from + len;

	/* Not the argument itself, which is at `what`. */
	while ((p = memmem(p, (size_t)(end - p), what, n)) != NULL) {
		if (p != what)
			return (1);
		p++;
	}
	return (0);
}

static void
find_secret(const char *arg)
{
	extern char __data_start[], _end[];
	size_t n = strlen(arg), i;
	const char *heap = malloc(600000), *map;
	char here;

	if (contains(__data_start, (size_t)(_end - __data_start), arg, n))
		respond_text(200, "found in data\n");
	if (heap != NULL && contains(heap, 600000, arg, n))
		respond_text(200, "found in the heap\n");
	if (contains(&here - 65536, 65536, arg, n))
		respond_text(200, "found in the stack\n");
	map = mmap(NULL, 8 << 20, PROT_READ | PROT_WRITE,
	    MAP_PRIVATE | MAP_ANONYMOUS, -1, 0);
	if (map != MAP_FAILED)
		for (i = 0; i < 8 << 20; i += 8)
			if (*(const long *)(const void *)(map + i) != 0)
				respond_text(200, "found in fresh memory\n");
	if (secret_tls[0] != 0)
		respond_text(200, "found in thread memory\n");
	respond_text(200, "clean\n");
}

const struct misdeed memory_misdeeds[] = {
	{ "/null-write", null_write },
	{ "/wild-read", wild_read },
	{ "/noncanonical", noncanonical },
	{ "/kernel-read", kernel_read },
	{ "/kernel-write", kernel_write },
	{ "/exec-data", exec_data },
	{ "/write-text", write_text },
	{ "/stack-overflow", stack_overflow },
	{ "/memory-hog", memory_hog },
	{ "/heap-hog", heap_hog },
	{ "/vdso-overwrite", vdso_overwrite },
	{ "/clock-overwrite", clock_overwrite },
	{ "/plant-secret", plant_secret },
	{ "/find-secret", find_secret },
	{ NULL, NULL }
};
