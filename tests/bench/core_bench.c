/*-
 * SPDX-License-Identifier: BSD-2-Clause
 *
 * Figures of the core, as JSON on standard output. What is compared with each
 * other is measured in turns, so that a noisy machine disturbs all alike;
 * every figure is a median.
 *
 *	core_bench [rounds, 5 or more [calls]]	$TK_TEST_GUEST is the guest
 *
 * "calls": calls and resets alone.
 */

#include <sys/wait.h>

#include <time.h>
#include <unistd.h>

#include "vm.h"

#define CASES	5
#define MAX_FORKS	100
#define BATCHES	5

static const unsigned pages[CASES] = { 0, 1, 8, 64, 512 };

static double
now_us(void)
{
	struct timespec ts;

	clock_gettime(CLOCK_MONOTONIC, &ts);
	return ((double)ts.tv_sec * 1e6 + (double)ts.tv_nsec / 1e3);
}

static int
by_value(const void *a, const void *b)
{
	double x = *(const double *)a, y = *(const double *)b;

	return ((x > y) - (x < y));
}

static double
median(double *v, unsigned n)
{

	qsort(v, n, sizeof *v, by_value);
	return (v[n / 2]);
}

struct timing {
	double			*call_reset, *reset;
};

static void
timing_init(struct timing *t, unsigned rounds)
{

	t->call_reset = calloc(rounds, sizeof *t->call_reset);
	t->reset = calloc(rounds, sizeof *t->reset);
	CHECK(t->call_reset != NULL && t->reset != NULL);
}

/* One call that writes n pages, and its reset. */
static void
measure(struct guest *g, struct tk_machine *m, unsigned n, struct timing *t,
    unsigned i)
{
	double t0, t1, t2;
	struct tk_error err;
	int e;

	t0 = now_us();
	e = guest_op(g, m, &err, 5, n == 0 ? OP_NOP : OP_WRITE, 0, n, 1);
	t1 = now_us();
	CHECK_MSG(e == 0, "%s", err.text);
	(void)tk_reset(m);
	t2 = now_us();
	t->call_reset[i] = t2 - t0;
	t->reset[i] = t2 - t1;
}

static void
warm_fork(struct guest *g, struct tk_machine **m, unsigned n)
{
	struct tk_error err;
	unsigned i;

	CHECK_MSG(tk_fork(g->master, m, g, &err) == 0, "%s", err.text);
	for (i = 0; i < 50; i++) {
		CHECK(guest_op(g, *m, &err, 5, n == 0 ? OP_NOP : OP_WRITE, 0,
		    n, 1) == 0);
		(void)tk_reset(*m);
	}
}

static void
print_object(const char *name, const double *v)
{
	unsigned i;

	printf("  \"%s\": {", name);
	for (i = 0; i < CASES; i++)
		printf("%s\"%u\": %.3f", i > 0 ? ", " : "", pages[i], v[i]);
	printf("},\n");
}

static void
shuffle(unsigned *order, uint64_t *seed)
{
	unsigned i, j;

	for (i = 0; i <= CASES; i++) {
		j = (unsigned)(test_random(seed) % (i + 1));
		order[i] = order[j];
		order[j] = i;
	}
}

/* The floor, and calls that write 0 to 512 pages, in turns. */
static void
calls(unsigned rounds)
{
	struct tk_machine *m[CASES], *empty;
	double *floor, call_reset[CASES], reset[CASES];
	struct timing t[CASES];
	struct boot b = { 0 };
	struct tk_error err;
	unsigned i, k, exits, turn, order[CASES + 1];
	uint64_t seed = 7;
	struct guest g;
	double t0;

	guest_boot(&g, &b);
	floor = calloc(rounds, sizeof *floor);
	CHECK(floor != NULL);
	warm_fork(&g, &empty, 0);
	for (k = 0; k < CASES; k++) {
		warm_fork(&g, &m[k], pages[k]);
		timing_init(&t[k], rounds);
	}
	for (i = 0; i < rounds; i++) {
		/* Shuffled: none always finds what 512 pages left behind. */
		shuffle(order, &seed);
		for (k = 0; k <= CASES; k++) {
			turn = order[k];
			if (turn < CASES) {
				measure(&g, m[turn], pages[turn], &t[turn], i);
				continue;
			}
			t0 = now_us();
			CHECK(tk_empty_call(empty, &err) == 0);
			floor[i] = now_us() - t0;
		}
	}
	CHECK(guest_op(&g, m[0], &err, 5, OP_NOP, 0, 0, 0) == 0);
	exits = tk_exits(m[0]);
	for (k = 0; k < CASES; k++) {
		call_reset[k] = median(t[k].call_reset, rounds);
		reset[k] = median(t[k].reset, rounds);
		tk_fork_free(&m[k]);
	}
	tk_fork_free(&empty);
	printf("  \"floor_us\": %.3f,\n", median(floor, rounds));
	print_object("call_reset_us", call_reset);
	print_object("reset_us", reset);
	printf("  \"exits_per_request\": %u,\n", exits);
	guest_free(&g);
}

/* The same pages written over masters of which 16 MiB and 1 GiB are in use. */
static void
master_sizes(unsigned rounds)
{
	struct boot small = { .memory = 64, .in_use = "16" };
	struct boot big = { .memory = 1100, .in_use = "1024" };
	struct tk_machine *m[2];
	struct timing t[2];
	struct guest g[2];
	unsigned i;

	guest_boot(&g[0], &small);
	guest_boot(&g[1], &big);
	for (i = 0; i < 2; i++) {
		warm_fork(&g[i], &m[i], 8);
		timing_init(&t[i], rounds);
	}
	for (i = 0; i < rounds; i++) {
		measure(&g[0], m[0], 8, &t[0], i);
		measure(&g[1], m[1], 8, &t[1], i);
	}
	printf("  \"reset_us_master_16m\": %.3f,\n",
	    median(t[0].reset, rounds));
	printf("  \"reset_us_master_1g\": %.3f,\n",
	    median(t[1].reset, rounds));
	for (i = 0; i < 2; i++) {
		tk_fork_free(&m[i]);
		guest_free(&g[i]);
	}
}

/* Forks made and called for the first time; made for good, not recycled. */
static void
forks(unsigned n)
{
	struct tk_machine *m[MAX_FORKS];
	double fork_us[MAX_FORKS], first_us[MAX_FORKS], t0, t1;
	struct boot b = { 0 };
	struct tk_error err;
	struct guest g;
	unsigned i;

	guest_boot(&g, &b);
	for (i = 0; i < n; i++) {
		t0 = now_us();
		CHECK(tk_fork(g.master, &m[i], &g, &err) == 0);
		t1 = now_us();
		CHECK(guest_op(&g, m[i], &err, 5, OP_NOP, 0, 0, 0) == 0);
		first_us[i] = now_us() - t1;
		fork_us[i] = t1 - t0;
	}
	for (i = 0; i < n; i++)
		tk_fork_free(&m[i]);
	guest_free(&g);
	printf("  \"fork_us\": %.1f,\n", median(fork_us, n));
	printf("  \"first_call_us\": %.1f,\n", median(first_us, n));
}

/* The sum over a file's lines of the number that the format finds. */
static double
sum_of(const char *file, const char *format)
{
	double sum = 0, one;
	char line[256];
	FILE *f;

	f = fopen(file, "r");
	CHECK_MSG(f != NULL, "%s", file);
	while (fgets(line, sizeof line, f) != NULL)
		if (sscanf(line, format, &one) == 1)
			sum += one;
	fclose(f);
	return (sum);
}

/*
 * KiB that this machine could still give out. Pages that were given back lie in
 * lists for each CPU for some seconds, and there they do not count as free.
 */
static double
available_kib(void)
{

	return (sum_of("/proc/meminfo", "MemAvailable: %lf") +
	    4 * sum_of("/proc/zoneinfo", " count: %lf"));
}

/*
 * What a fork of a program with 64 MiB of initialised data takes after a call
 * that wrote 8 pages: of the whole machine, as KVM's share is not in our RSS.
 * Others use the machine, too: hence the batches.
 */
static void
fork_memory(unsigned n)
{
	struct boot b = { .memory = 96, .in_use = "64" };
	struct tk_machine *m[MAX_FORKS];
	double kib[BATCHES], before;
	struct tk_error err;
	unsigned i, k, size = n / BATCHES;
	struct guest g;

	guest_boot(&g, &b);
	for (k = 0; k < BATCHES; k++) {
		before = available_kib();
		for (i = k * size; i < (k + 1) * size; i++) {
			CHECK(tk_fork(g.master, &m[i], &g, &err) == 0);
			CHECK(guest_op(&g, m[i], &err, 5, OP_WRITE, 0, 8,
			    1) == 0);
			(void)tk_reset(m[i]);
		}
		kib[k] = (before - available_kib()) / size;
	}
	printf("  \"fork_memory_kib\": %.0f,\n", median(kib, BATCHES));
	for (i = 0; i < BATCHES * size; i++)
		tk_fork_free(&m[i]);
	guest_free(&g);
}

/* In a process of its own: no machine is recycled from an earlier figure. */
static void
apart(void (*figure)(unsigned), unsigned n)
{
	int status;
	pid_t pid;

	(void)fflush(stdout);
	pid = fork();
	CHECK(pid >= 0);
	if (pid == 0) {
		figure(n);
		(void)fflush(stdout);
		_exit(0);
	}
	CHECK(waitpid(pid, &status, 0) == pid && status == 0);
}

int
main(int argc, char **argv)
{
	unsigned rounds = argc > 1 ? (unsigned)atoi(argv[1]) : 4000;
	unsigned n = rounds < MAX_FORKS ? rounds : MAX_FORKS;
	bool all = argc < 3 || strcmp(argv[2], "calls") != 0;

	CHECK(n >= BATCHES);
	printf("{\n");
	if (all) {
		apart(fork_memory, n);
		apart(forks, n);
	}
	calls(rounds);
	if (all)
		master_sizes(rounds);
	printf("  \"rounds\": %u\n}\n", rounds);
	return (0);
}
