/*-
 * SPDX-License-Identifier: BSD-2-Clause
 *
 * More vCPUs for one request. /sum adds on four of them; the others show what
 * goes wrong and how it is told.
 */

#include <stdatomic.h>
#include <stdlib.h>
#include <sys/mman.h>
#include <sys/syscall.h>
#include <unistd.h>

#include "kvm_api.h"

#define CPUS	4
#define ROUNDS	2000000ULL

struct part {
	uint64_t	from, to, sum;
	int		cpu, gs;
	char		pad[96];	/* a cache line of its own */
};

static struct part parts[CPUS];
static atomic_int arrived, go, failed;
static char stacks[CPUS][65536] __attribute__((aligned(16)));

static int
my_cpu(void)
{
	int n;

	__asm__ volatile ("movl %%gs:0, %0" : "=r" (n));
	return (n);
}

static void
add(int cpu, void *element, size_t size)
{
	struct part *p = element;
	uint64_t i, sum = 0;

	for (i = p->from; i < p->to; i++)
		sum += i * i;
	p->sum = sum;
	p->cpu = cpu;
	p->gs = my_cpu();
	if (size != sizeof *p)
		failed = 1;
}

static void
sum(void)
{
	uint64_t total = 0;
	int i, ok = 1;

	for (i = 0; i < CPUS; i++) {
		parts[i].from = ROUNDS / CPUS * (unsigned)i;
		parts[i].to = ROUNDS / CPUS * (unsigned)(i + 1);
	}
	if (multiprocess_array(CPUS, add, parts, sizeof parts[0]) != 0)
		respond_text(500, "no more vCPUs\n");
	add(0, &parts[0], sizeof parts[0]);
	if (multiprocess_wait() != 0 || failed)
		respond_text(500, "one failed\n");
	for (i = 0; i < CPUS; i++) {
		total += parts[i].sum;
		ok = ok && parts[i].cpu == i && parts[i].gs == i;
	}
	respondf(200, "%llu %s\n", (unsigned long long)total,
	    ok ? "right" : "wrong");
}

/* All are there at the same time, or this never ends. */
static void
meet(void *arg)
{

	atomic_fetch_add((atomic_int *)arg, 1);
	while (!go)
		__asm__ volatile ("pause");
}

static void
together(void)
{

	(void)multiprocess(CPUS, meet, (void *)&arrived);
	while (arrived < CPUS - 1)
		__asm__ volatile ("pause");
	/* They are busy: no others may be started. */
	if (multiprocess(2, meet, (void *)&arrived) != -1)
		respond_text(500, "twice\n");
	go = 1;
	respondf(200, "%d\n", multiprocess_wait());
}

static void
crash(void *arg)
{

	*(volatile int *)arg = 1;
}

static void
call_linux(void *arg)
{

	if (syscall(SYS_getpid) != -1 || sys_is_debug() != -38)
		*(int *)arg = 2;
	else
		*(int *)arg = 1;
}

static void
spin(void *arg)
{

	(void)arg;
	for (;;)
		__asm__ volatile ("");
}

/* Memory that nobody touched yet, from all of them at once. */
static void
fill(int cpu, void *element, size_t size)
{

	memset(element, cpu + 1, size);
}

static void
touch(void)
{
	size_t each = 4 << 20, i;
	unsigned char *p;
	int bad = 0;

	p = mmap(NULL, CPUS * each, PROT_READ | PROT_WRITE,
	    MAP_PRIVATE | MAP_ANONYMOUS | MAP_NORESERVE, -1, 0);
	if (p == MAP_FAILED ||
	    multiprocess_array(CPUS, fill, p, each) != 0)
		respond_text(500, "no more vCPUs\n");
	fill(0, p, each);
	bad = multiprocess_wait();
	for (i = 0; i < CPUS * each; i += 512)
		bad |= p[i] != i / each + 1;
	respondf(200, "%d\n", bad);
}

static void
on_get(const char *url, const char *arg)
{
	static int word;
	int n;

	(void)arg;
	if (strcmp(url, "/sum") == 0)
		sum();
	if (strcmp(url, "/together") == 0)
		together();
	if (strcmp(url, "/touch") == 0)
		touch();
	if (strcmp(url, "/clone") == 0) {
		n = multiprocess_clone(CPUS, stacks, sizeof stacks[0]);
		if (n != 0) {
			/* On a stack of our own: nothing of this one's. */
			atomic_fetch_add(&arrived, my_cpu());
			(void)kvm_call(KVM_RETURN, 0, 0, 0, 0, 0, 0);
		}
		n = multiprocess_wait();
		respondf(200, "%d %d\n", n, arrived);
	}
	if (strcmp(url, "/crash") == 0) {
		(void)multiprocess(CPUS, crash, NULL);
		respondf(200, "%d\n", multiprocess_wait());
	}
	if (strcmp(url, "/linux") == 0) {
		(void)multiprocess(2, call_linux, &word);
		n = multiprocess_wait();
		respondf(200, "%d %d\n", n, word);
	}
	if (strcmp(url, "/no-wait") == 0) {
		(void)multiprocess(CPUS, spin, NULL);
		respond_text(200, "answered\n");
	}
	if (strcmp(url, "/spin") == 0) {
		(void)multiprocess(CPUS, spin, NULL);
		respondf(200, "%d\n", multiprocess_wait());
	}
	if (strcmp(url, "/too-many") == 0)
		respondf(200, "%d %d %d\n", multiprocess(CPUS + 1, meet, NULL),
		    multiprocess(1, meet, NULL),
		    multiprocess((size_t)-1, meet, NULL));
	if (strcmp(url, "/no-function") == 0)
		(void)multiprocess(2, (void (*)(void *))(uintptr_t)&word, NULL);
	respond_text(404, "?\n");
}

int
main(void)
{

	set_backend_get(on_get);
	wait_for_requests();
}
