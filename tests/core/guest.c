/*-
 * SPDX-License-Identifier: BSD-2-Clause
 *
 * The program that the core's tests run: each operation by its number. Host
 * calls are the test's own: 1 tells an address, 2 waits, 3 ends a call.
 */

#define _GNU_SOURCE
#include <fcntl.h>
#include <setjmp.h>
#include <signal.h>
#include <stdint.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/mman.h>
#include <sys/syscall.h>
#include <time.h>
#include <unistd.h>

#include "guest_ops.h"

static long
host(long number, long a, long b)
{
	long r;

	__asm__ volatile ("out %%eax, $0" : "=a" (r) : "a" (number), "D" (a),
	    "S" (b) : "memory");
	return (r);
}

#define PAGES	2048
static unsigned char area[PAGES * 4096] __attribute__((aligned(4096)));
static unsigned char initialised[64 * 4096] __attribute__((aligned(4096))) =
    { 1, 2, 3 };
static __thread uint64_t tls = 0x1122334455667788;
static uint64_t dump[512] __attribute__((aligned(64)));
static void *volatile hole;
static volatile int caught;
static sigjmp_buf jump;

/*
 * All that a call could inherit: general registers, flags, selectors, bases,
 * and the whole vector state. 16 words, then the XSAVE image at 64.
 */
__asm__(
    ".globl dump_state\n"
    "dump_state:\n"
    "	mov %rax, dump+0(%rip)\n"
    "	mov %rbx, dump+8(%rip)\n"
    "	mov %rcx, dump+16(%rip)\n"
    "	mov %rdx, dump+24(%rip)\n"
    "	mov %rsi, dump+32(%rip)\n"
    "	mov %rdi, dump+40(%rip)\n"
    "	mov %rbp, dump+48(%rip)\n"
    "	mov %rsp, dump+56(%rip)\n"
    "	mov %r8, dump+64(%rip)\n"
    "	mov %r9, dump+72(%rip)\n"
    "	mov %r10, dump+80(%rip)\n"
    "	mov %r11, dump+88(%rip)\n"
    "	mov %r12, dump+96(%rip)\n"
    "	mov %r13, dump+104(%rip)\n"
    "	mov %r14, dump+112(%rip)\n"
    "	mov %r15, dump+120(%rip)\n"
    "	pushfq\n"
    "	pop %rax\n"
    "	mov %rax, dump+128(%rip)\n"
    "	mov %ds, %eax\n	mov %eax, dump+136(%rip)\n"
    "	mov %es, %eax\n	mov %eax, dump+140(%rip)\n"
    "	mov %fs, %eax\n	mov %eax, dump+144(%rip)\n"
    "	mov %gs, %eax\n	mov %eax, dump+148(%rip)\n"
    "	mov %cs, %eax\n	mov %eax, dump+152(%rip)\n"
    "	mov %ss, %eax\n	mov %eax, dump+156(%rip)\n"
    "	rdfsbase %rax\n	mov %rax, dump+160(%rip)\n"
    "	rdgsbase %rax\n	mov %rax, dump+168(%rip)\n"
    "	mov $-1, %eax\n	mov $-1, %edx\n"
    "	xsave64 dump+512(%rip)\n"
    "	mov $3, %eax\n	xor %edi, %edi\n	out %eax, $0\n"
    "	ud2\n");
extern void dump_state(void);

static void
on_signal(int sig, siginfo_t *info, void *context)
{

	(void)info;
	(void)context;
	caught = sig;
}

static void
on_fault(int sig, siginfo_t *info, void *context)
{

	(void)context;
	caught = sig;
	hole = info->si_addr;
	siglongjmp(jump, 1);
}

static void
dirty_registers(uint64_t seed)
{
	uint32_t mxcsr = 0x9f80;
	uint16_t fcw = 0x27f;

	__asm__ volatile (
	    "movq %0, %%xmm0\n	movq %0, %%xmm7\n	movq %0, %%xmm15\n"
	    "movq %0, %%mm3\n	fld1\n	ldmxcsr %1\n	fldcw %2\n"
	    :: "r" (seed), "m" (mxcsr), "m" (fcw) : "memory");
	if (__builtin_cpu_supports("avx2"))
		__asm__ volatile ("vpcmpeqd %%ymm7, %%ymm7, %%ymm7" ::: "memory");
	if (__builtin_cpu_supports("avx512f"))
		__asm__ volatile ("vpternlogd $0xff, %%zmm17, %%zmm17, %%zmm17\n"
		    "kxnorw %%k3, %%k3, %%k3" ::: "memory");
}

/*
 * AMX, for CPUs that have it: a tile of 16 rows of 64 bytes is filled, or
 * looked at as it was left, its shape loaded by xrstor, which clears no tile.
 * Its bytes that are not zero, and the rows that the CPU was set up for.
 * Intel SDM vol. 2, LDTILECFG; vol. 1, 13.5.13. Where the shape lies is what
 * CPUID leaf 0xD, 17 tells all of today's CPUs, but not always guests.
 */
#define SHAPE_AT	2752

static long
tiles(int fill)
{
	static unsigned char state[4096] __attribute__((aligned(64))),
	    tile[1024], was[64];
	unsigned mask = 1 << 17;
	unsigned char shape[64] = { [0] = 1, [16] = 64, [48] = 16 };
	long n = 0, stride = 64;
	size_t i;

	if (fill) {
		memset(tile, 0x5a, sizeof tile);
		__asm__ volatile ("ldtilecfg %0\n"
		    "tileloadd (%1, %2), %%tmm0\n"
		    :: "m" (shape), "r" (tile), "r" (stride) : "memory");
		memset(tile, 0, sizeof tile);
	}
	__asm__ volatile ("sttilecfg %0" : "=m" (was));
	if (!fill) {
		memcpy(state + SHAPE_AT, shape, sizeof shape);
		memcpy(state + 512, &mask, sizeof mask);
		__asm__ volatile ("xrstor64 %0" :: "m" (state), "a" (mask),
		    "d" (0) : "memory");
	}
	__asm__ volatile ("tilestored %%tmm0, (%0, %1)" :: "r" (tile),
	    "r" (stride) : "memory");
	for (i = 0; i < sizeof tile; i++)
		n += tile[i] != 0;
	return (n + was[48]);
}

/*
 * Protection keys, for CPUs and kernels that let programs have them: the
 * rights as they were found, or, for keys other than 0, what is left of the
 * program: nothing but to end its call, which touches no memory.
 */
static long
keys(unsigned rights)
{
	unsigned was;

	if (rights == 0) {
		__asm__ volatile ("rdpkru" : "=a" (was) : "c" (0) : "rdx");
		return ((long)was);
	}
	/* The end of a call; the other end is that of another vCPU's. */
	__asm__ volatile ("wrpkru\n"
	    "mov $3, %%eax\n xor %%esi, %%esi\n mov $77, %%edi\n"
	    "out %%eax, $0\n"
	    "mov $0xffff, %%eax\n out %%eax, $0\n ud2"
	    :: "a" (rights), "c" (0), "d" (0) : "memory");
	__builtin_unreachable();
}

static void
read_zeros(char *to, size_t len)
{
	int fd = open("/dev/zero", O_RDONLY);

	while (fd >= 0)
		if (read(fd, to, len) > 0)
			to += len;
}

static long
selectors(void)
{
	unsigned ds, es;

	__asm__ volatile ("mov %%ds, %0\n mov %%es, %1\n"
	    : "=r" (ds), "=r" (es));
	return ((long)ds << 16 | es);
}

static void __attribute__((noreturn))
flood(volatile char *p)
{

	for (;; p += 4096)
		*p = 1;
}

static long
recurse(long n)
{
	volatile char frame[512];

	frame[n & 511] = (char)n;
	return (recurse(n + 1) + frame[n & 511]);
}

static void
set_handler(int sig, void (*fn)(int, siginfo_t *, void *))
{
	struct sigaction sa;

	memset(&sa, 0, sizeof sa);
	sa.sa_sigaction = fn;
	sa.sa_flags = SA_SIGINFO | SA_NODEFER;
	sigaction(sig, &sa, NULL);
}

static long
mmap_some(uint64_t a, uint64_t b)
{
	size_t len = (a % 64 + 1) * 4096;
	char *p;

	p = mmap(NULL, len, b & 1 ? PROT_READ | PROT_WRITE : PROT_NONE,
	    MAP_PRIVATE | MAP_ANONYMOUS, -1, 0);
	if (p == MAP_FAILED)
		return (-1);
	if (b & 1)
		memset(p, (int)b, len);
	if (b & 2)
		munmap(p + len / 2 / 4096 * 4096, len / 2);
	if (b & 4)
		mprotect(p, 4096, b & 8 ? PROT_READ : PROT_NONE);
	if (b & 16)
		p = mremap(p, len, len * 2, MREMAP_MAYMOVE);
	return (p != MAP_FAILED);
}

/* Pieces that are backed at once, until there is no more; gives them back. */
static long
exhaust(void)
{
	static void *piece[4096];
	long i, n;

	for (n = 0; n < 4096; n++) {
		piece[n] = mmap(NULL, 512 << 10, PROT_READ | PROT_WRITE,
		    MAP_PRIVATE | MAP_ANONYMOUS, -1, 0);
		if (piece[n] == MAP_FAILED)
			break;
	}
	for (i = 0; i < n; i++)
		munmap(piece[i], 512 << 10);
	return (n);
}

/* One operation; its result is told to the host. */
static void
operate(uint64_t op, uint64_t a, uint64_t b, uint64_t c)
{
	struct timespec ts;
	long r = 0;
	uint64_t i;
	void *p;

	switch (op) {
	case OP_NOP:
		break;
	case OP_WRITE:		/* b words from page a on, value c */
		for (i = 0; i < b; i++)
			*(volatile uint64_t *)(area + (a + i) % PAGES * 4096 +
			    (c + i) % 512 * 8) = c;
		r = (long)b;
		break;
	case OP_READ:
		for (i = 0; i < PAGES * 4096; i += 8)
			r |= *(long *)(void *)(area + i);
		break;
	case OP_INITIALISED:
		memset(initialised + a % 64 * 4096, (int)c, 4096);
		break;
	case OP_TLS:
		r = (long)tls;
		tls = c;
		break;
	case OP_HEAP:
		p = malloc(a % 3000000 + 1);
		if (p != NULL)
			memset(p, (int)c, a % 3000000 + 1);
		if (b & 1)
			free(p);
		r = p != NULL;
		break;
	case OP_BRK:
		p = sbrk((intptr_t)(a % 64) * 4096);
		if (p != (void *)-1 && a % 64)
			memset(p, (int)c, a % 64 * 4096);
		break;
	case OP_MMAP:
		r = mmap_some(a, b);
		break;
	case OP_PROTECT:	/* page a of the area: c & 1 none, else read */
		r = mprotect(area + a % PAGES * 4096, 4096 * (b % 4 + 1),
		    c & 1 ? PROT_NONE : PROT_READ);
		break;
	case OP_UNMAP:
		r = munmap(area + a % PAGES * 4096, 4096 * (b % 4 + 1));
		break;
	case OP_REMAP_FIXED:
		p = mmap(area + a % PAGES * 4096, 4096 * (b % 4 + 1),
		    PROT_READ | PROT_WRITE,
		    MAP_PRIVATE | MAP_ANONYMOUS | MAP_FIXED, -1, 0);
		r = p == MAP_FAILED ? -1 : *(unsigned char *)p;
		memset(p, (int)c, 4096);
		break;
	case OP_REGISTERS:
		dirty_registers(c);
		break;
	case OP_BASES:
		__asm__ volatile ("wrgsbase %0" :: "r" (c & 0xffffff));
		break;
	case OP_FLAGS:
		__asm__ volatile ("pushfq\n orq %0, (%%rsp)\n popfq" ::
		    "r" (0x240400UL) : "memory", "cc");
		break;
	case OP_SIGNAL:
		set_handler(SIGUSR1, on_signal);
		raise(SIGUSR1);
		r = caught;
		break;
	case OP_CATCH:		/* a fault into the program's own handler */
		set_handler(SIGSEGV, on_fault);
		if (sigsetjmp(jump, 1) == 0)
			*(volatile char *)a = 1;
		r = caught == SIGSEGV && hole == (void *)a;
		break;
	case OP_BLOCK: {
		sigset_t s;

		sigfillset(&s);
		sigprocmask(SIG_BLOCK, &s, NULL);
		break;
	}
	case OP_STORE:
		*(volatile unsigned char *)a = (unsigned char)c;
		break;
	case OP_LOAD:
		r = *(volatile unsigned char *)a;
		break;
	case OP_JUMP:
		((void (*)(void))a)();
		break;
	case OP_UD2:
		__asm__ volatile ("ud2");
		break;
	case OP_DIVIDE:
		r = (long)(a / c);
		break;
	case OP_SPIN:
		for (;;)
			__asm__ volatile ("" ::: "memory");
	case OP_RECURSE:
		r = recurse(0);
		break;
	case OP_ABORT:
		abort();
	case OP_EXIT:
		exit((int)a);
	case OP_SYSCALL:
		r = syscall((long)a, b, c, 0, 0, 0, 0);
		break;
	case OP_CLOCK:
		clock_gettime(a ? CLOCK_REALTIME : CLOCK_MONOTONIC, &ts);
		r = ts.tv_sec * 1000000000L + ts.tv_nsec;
		break;
	case OP_HOG:
		for (i = 0;; i += 4096) {
			p = mmap(NULL, 1 << 20, PROT_READ | PROT_WRITE,
			    MAP_PRIVATE | MAP_ANONYMOUS, -1, 0);
			if (p == MAP_FAILED)
				break;
			memset(p, 1, 1 << 20);
		}
		r = -1;
		break;
	case OP_PRINT:
		r = write(1, "hello from the guest\n", 21);
		break;
	case OP_SLEEP:
		ts.tv_sec = (time_t)(a / 1000);
		ts.tv_nsec = (long)(a % 1000) * 1000000;
		nanosleep(&ts, NULL);
		break;
	case OP_OUT:
		__asm__ volatile ("out %%eax, %%dx" :: "a" (1), "d" ((short)a));
		break;
	case OP_IN:
		__asm__ volatile ("in %%dx, %%eax" : "=a" (r) : "d" ((short)a));
		break;
	case OP_OUTS: {
		uint64_t n = 4;

		__asm__ volatile ("rep outsl" : "+S" (a), "+c" (n) : "d" (0));
		break;
	}
	case OP_EXHAUST:	/* all memory, and back; then a fault of its own */
		(void)exhaust();
		set_handler(SIGSEGV, on_fault);
		if (sigsetjmp(jump, 1) == 0)
			*(volatile char *)a = 1;
		r = caught == SIGSEGV && hole == (void *)a;
		break;
	case OP_SPOIL:		/* operation a on another vCPU */
		r = host(4, (long)a, (long)b);
		break;
	case OP_TILES:
		r = tiles(a != 0);
		break;
	case OP_SELECTORS:	/* those of data are a; told again and again */
		__asm__ volatile ("mov %0, %%ds\n mov %0, %%es\n"
		    :: "r" ((unsigned)a));
		for (;;)
			(void)host(3, selectors(), 0);
	case OP_FLOOD:		/* all pages from a on */
		flood((volatile char *)a);
	case OP_DEVICE:		/* b zeros to a and behind it, for ever */
		read_zeros((char *)a, b);
		break;
	case OP_KEYS:
		r = keys((unsigned)a);
		break;
	case OP_HOST:		/* the host call a */
		r = host((long)a, (long)b, 0);
		break;
	case OP_EVENTS: {	/* sums up what it is told, until that is 0 */
		double sum = (double)a;
		long told;

		while ((told = host(3, (long)sum, 0)) != 0)
			sum += (double)told;
		r = (long)(sum * 2);
		break;
	}
	default:
		r = op >= OP_MAP_AT ? operate_memory(op, a, b, c) :
		    operate_threads(op, a, b);
	}
	host(3, r, 0);
}

int
main(int argc, char **argv)
{

	if (argc > 3 && *argv[3] == 's')
		start_spinner();
	else if (argc > 3)
		start_threads();
	memset(area, 0x5a, sizeof area / 2);
	initialised[4096] = 7;
	/* Threads have come and gone: the libc has kept their stacks. */
	if (argc > 2 && *argv[2] == 'j')
		(void)operate_threads(OP_THREADS, 4, 0);
	/* So many MiB of the master's memory are in use, or of its heap. */
	else if (argc > 2 && *argv[2] != '0') {
		int heap = *argv[2] == 'h';
		size_t size = strtoull(argv[2] + heap, NULL, 10) << 20;
		void *p = heap ? sbrk((intptr_t)size) : mmap(NULL, size,
		    PROT_READ | PROT_WRITE, MAP_PRIVATE | MAP_ANONYMOUS, -1,
		    0);

		if (p == MAP_FAILED)
			return (98);
		memset(p, 0x5a, size);
	}
	host(1, ADDRESS_OPERATE, (long)operate);
	host(1, ADDRESS_DUMP_STATE, (long)dump_state);
	host(1, ADDRESS_DUMP, (long)dump);
	host(1, ADDRESS_AREA, (long)area);
	host(1, ADDRESS_ARGC, argc);
	host(1, ADDRESS_ARGV1, (long)(argc > 1 ? argv[1] : NULL));
	host(1, ADDRESS_ENV, (long)getenv("TEST"));
	host(2, 0, 0);
	return (99);
}
