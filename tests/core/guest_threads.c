/*-
 * SPDX-License-Identifier: BSD-2-Clause
 *
 * The test guest's threads: some that live since before the freeze, others
 * that an operation starts.
 */

#define _GNU_SOURCE
#include <errno.h>
#include <pthread.h>
#include <sched.h>
#include <semaphore.h>
#include <signal.h>
#include <stdint.h>
#include <string.h>
#include <sys/mman.h>
#include <sys/socket.h>
#include <sys/syscall.h>
#include <time.h>
#include <ucontext.h>
#include <unistd.h>

#include "guest_ops.h"

#define MANY	20

/*--------------------------------------------------------------------
 * Before the freeze
 */

static pthread_mutex_t lock = PTHREAD_MUTEX_INITIALIZER;
static pthread_cond_t asked = PTHREAD_COND_INITIALIZER;
static pthread_cond_t answered = PTHREAD_COND_INITIALIZER;
static long question, answer;
static __thread long asked_so_far;
static volatile long ticks;

/* Answers each question with how many it heard, and the question. */
static void *
oracle(void *arg)
{

	(void)arg;
	pthread_mutex_lock(&lock);
	for (;;) {
		while (question == 0)
			pthread_cond_wait(&asked, &lock);
		answer = question * 1000 + ++asked_so_far;
		question = 0;
		pthread_cond_signal(&answered);
	}
	return (NULL);
}

static void *
ticker(void *arg)
{
	struct timespec ts = { 0, 1000000 };

	(void)arg;
	for (;;) {
		nanosleep(&ts, NULL);
		ticks++;
	}
	return (NULL);
}

void
start_threads(void)
{
	pthread_t t;

	pthread_create(&t, NULL, oracle, NULL);
	pthread_create(&t, NULL, ticker, NULL);
	while (ticks < 2)
		sched_yield();
}

static volatile long turns;

/* Runs for ever and never calls anybody. */
static void *
spinner(void *arg)
{

	(void)arg;
	for (;;)
		turns++;
	return (NULL);
}

void
start_spinner(void)
{
	pthread_t t;

	pthread_create(&t, NULL, spinner, NULL);
	while (turns == 0)
		sched_yield();
}

/* Until the spinner had its turn, without a system call. */
static long
turn(void)
{
	long before = turns;

	while (turns == before)
		__asm__ volatile ("pause" ::: "memory");
	return (1);
}

static long
ask(long n)
{
	long r;

	pthread_mutex_lock(&lock);
	question = n;
	answer = 0;
	pthread_cond_signal(&asked);
	while (answer == 0)
		pthread_cond_wait(&answered, &lock);
	r = answer;
	pthread_mutex_unlock(&lock);
	return (r);
}

/*--------------------------------------------------------------------
 * In an operation
 */

static void *
square(void *arg)
{
	long n = (long)arg;

	return ((void *)(n * n));
}

static long
create_and_join(unsigned long n)
{
	pthread_t t[MANY];
	unsigned long i;
	long sum = 0;
	void *r;

	for (i = 0; i < n && i < MANY; i++)
		if (pthread_create(&t[i], NULL, square, (void *)i) != 0)
			return (-1);
	for (i = 0; i < n && i < MANY; i++) {
		if (pthread_join(t[i], &r) != 0)
			return (-2);
		sum += (long)r;
	}
	return (sum);
}

static volatile int stop;

static void *
spin(void *arg)
{
	volatile long *n = arg;

	while (!stop)
		++*n;
	return (NULL);
}

/* Two spin; this one waits for both to get on, without giving way. */
static long
preempt(void)
{
	static volatile long count[2];
	pthread_t t[2];
	int i;

	for (i = 0; i < 2; i++)
		pthread_create(&t[i], NULL, spin, (void *)&count[i]);
	while (count[0] == 0 || count[1] == 0)
		__asm__ volatile ("pause" ::: "memory");
	stop = 1;
	for (i = 0; i < 2; i++)
		pthread_join(t[i], NULL);
	return (count[0] > 0 && count[1] > 0);
}

static volatile pid_t handled_by;
static sem_t handled;

static void
on_usr1(int sig, siginfo_t *info, void *context)
{

	(void)sig;
	(void)context;
	if (info->si_pid == getpid())
		handled_by = (pid_t)syscall(SYS_gettid);
	sem_post(&handled);
}

static volatile pid_t target;
static volatile int interrupted;

static void *
wait_for_signal(void *arg)
{
	struct timespec ts = { 100, 0 };

	target = (pid_t)syscall(SYS_gettid);
	if (arg != NULL) {
		while (!stop)
			__asm__ volatile ("pause" ::: "memory");
		return (NULL);
	}
	interrupted = nanosleep(&ts, NULL) == -1 && errno == EINTR;
	return (NULL);
}

/* A signal to another thread: that sleeps, or that spins. */
static long
signal_other(unsigned long spins)
{
	struct sigaction sa;
	pthread_t t;

	memset(&sa, 0, sizeof sa);
	sa.sa_sigaction = on_usr1;
	sa.sa_flags = SA_SIGINFO | SA_RESTART;
	sigaction(SIGUSR1, &sa, NULL);
	sem_init(&handled, 0, 0);
	pthread_create(&t, NULL, wait_for_signal, (void *)spins);
	while (target == 0)
		sched_yield();
	if (syscall(SYS_tgkill, getpid(), target, SIGUSR1) != 0)
		return (-1);
	sem_wait(&handled);
	stop = 1;
	pthread_join(t, NULL);
	return (handled_by == target && (spins || interrupted));
}

static long
timed_wait(unsigned long ms)
{
	struct timespec ts, before, after;
	sem_t s;

	sem_init(&s, 0, 0);
	clock_gettime(CLOCK_MONOTONIC, &before);
	clock_gettime(CLOCK_REALTIME, &ts);
	ts.tv_nsec += (long)ms * 1000000;
	ts.tv_sec += ts.tv_nsec / 1000000000;
	ts.tv_nsec %= 1000000000;
	if (sem_timedwait(&s, &ts) != -1 || errno != ETIMEDOUT)
		return (-1);
	clock_gettime(CLOCK_MONOTONIC, &after);
	return ((after.tv_sec - before.tv_sec) * 1000 +
	    (after.tv_nsec - before.tv_nsec) / 1000000);
}

/* Each thread's vector registers are its own through many switches. */
static void *
vectors(void *arg)
{
	uint64_t mine = (uint64_t)arg * 0x0101010101010101ULL, r;
	int i;

	for (i = 0; i < 50; i++) {
		__asm__ volatile ("movq %0, %%xmm7\n movq %0, %%xmm13" ::
		    "r" (mine) : "xmm7", "xmm13");
		syscall(SYS_sched_yield);
		__asm__ volatile ("movq %%xmm7, %0" : "=r" (r));
		if (r != mine)
			return ((void *)1);
	}
	return (NULL);
}

static long
vector_state(void)
{
	pthread_t t[4];
	void *r;
	long bad = 0;
	int i;

	for (i = 0; i < 4; i++)
		pthread_create(&t[i], NULL, vectors, (void *)(long)(i + 1));
	for (i = 0; i < 4; i++) {
		pthread_join(t[i], &r);
		bad += r != NULL;
	}
	return (bad);
}

static volatile long shared;

static void *
add(void *arg)
{
	long i, n = (long)arg, v;

	for (i = 0; i < n; i++) {
		pthread_mutex_lock(&lock);
		v = shared;
		if (i % 16 == 0)
			sched_yield();
		shared = v + 1;
		pthread_mutex_unlock(&lock);
	}
	return (NULL);
}

static long
mutexes(long n)
{
	pthread_t t[4];
	int i;

	for (i = 0; i < 4; i++)
		pthread_create(&t[i], NULL, add, (void *)n);
	for (i = 0; i < 4; i++)
		pthread_join(t[i], NULL);
	return (shared);
}

/* A large range costs nothing until it is touched, and is zero then. */
static long
lazy(unsigned long mib, unsigned long step)
{
	size_t size = mib << 20, i;
	unsigned char *p;
	long sum = 0;

	p = mmap(NULL, size, PROT_READ | PROT_WRITE,
	    MAP_PRIVATE | MAP_ANONYMOUS | MAP_NORESERVE, -1, 0);
	if (p == MAP_FAILED)
		return (-1);
	for (i = 0; i < size; i += step) {
		sum += p[i];
		p[i] = 1;
	}
	for (i = 0; i < size; i += step)
		sum += p[i];
	if (munmap(p, size) != 0)
		return (-2);
	return (sum);
}

static long
sigwait_for(void)
{
	sigset_t s;
	int sig = 0;

	sigemptyset(&s);
	sigaddset(&s, SIGUSR2);
	sigprocmask(SIG_BLOCK, &s, NULL);
	kill(getpid(), SIGUSR2);
	sigwait(&s, &sig);
	return (sig == SIGUSR2);
}

static uint64_t
by_chance(uint64_t *seed)
{

	*seed ^= *seed << 13;
	*seed ^= *seed >> 7;
	*seed ^= *seed << 17;
	return (*seed);
}

/*
 * So many system calls with numbers and arguments by chance, mostly of the
 * kind that means something: descriptors, sizes, flags, addresses.
 */
static long
storm(uint64_t seed, unsigned long n)
{
	static char scratch[65536] __attribute__((aligned(4096)));
	static const char *const names[] = { "/", "/proc/self/maps", "x",
	    "/dev/null", "/dev/urandom", "/proc/self/fd/1", "..", "" };
	uint64_t arg[6], r;
	unsigned long i, k;

	seed |= 1;
	for (i = 0; i < n; i++) {
		for (k = 0; k < 6; k++) {
			r = by_chance(&seed);
			switch (r >> 60) {
			case 0: case 1: case 2: case 3:
				arg[k] = r % 12;
				break;
			case 4: case 5: case 6: case 7:
				arg[k] = (uint64_t)scratch + r % 65536;
				break;
			case 8:
				arg[k] = (uint64_t)names[r % 8];
				break;
			case 9:
				arg[k] = 1UL << (r % 64);
				break;
			case 10:
				arg[k] = r % 65536;
				break;
			case 11:
				arg[k] = (uint64_t)-(r % 200);
				break;
			case 12:
				arg[k] = (uint64_t)mmap & ~4095UL;
				break;
			default:
				arg[k] = r;
			}
		}
		*(uint64_t *)(void *)(scratch + by_chance(&seed) % 65528 / 8 * 8) =
		    arg[by_chance(&seed) % 6];
		k = by_chance(&seed) % 470;
		/* Those that end the program at once would end the storm. */
		if (k == SYS_exit_group || k == SYS_exit || k == SYS_kill ||
		    k == SYS_rt_sigreturn)
			continue;
		__asm__ volatile ("mov %4, %%r10\n mov %5, %%r8\n"
		    "mov %6, %%r9\n syscall" : "=a" (r) : "a" (k),
		    "D" (arg[0]), "m" (arg[3]), "m" (arg[3]), "m" (arg[4]),
		    "m" (arg[5]), "S" (arg[1]), "d" (arg[2])
		    : "rcx", "r8", "r9", "r10", "r11", "memory");
	}
	return (0);
}

static int listening;

static void *
accepts(void *arg)
{

	(void)arg;
	(void)accept(listening, NULL, NULL);
	return (NULL);
}

/* Nobody connects: all wait, for ever. */
static long
wait_in_accept(unsigned long n)
{
	pthread_t t;

	listening = socket(AF_INET, SOCK_STREAM, 0);
	if (listen(listening, 5) != 0)
		return (-1);
	while (n-- > 1)
		if (pthread_create(&t, NULL, accepts, NULL) != 0)
			return (-2);
	(void)accepts(NULL);
	return (0);
}

/* The same address again and again, touched and given back. */
static long
map_again(unsigned long n, unsigned long len)
{
	volatile char *p;
	unsigned long i;

	for (i = 0; i < n; i++) {
		p = mmap(NULL, len, PROT_READ | PROT_WRITE, MAP_PRIVATE |
		    MAP_ANONYMOUS | MAP_NORESERVE, -1, 0);
		if (p == MAP_FAILED || *p != 0)
			return (-1);
		*p = 1;
		munmap((void *)p, len);
	}
	return ((long)i);
}

static volatile long traps_caught;

static void
on_trap(int sig, siginfo_t *info, void *context)
{
	ucontext_t *u = context;

	(void)sig;
	(void)info;
	u->uc_mcontext.gregs[REG_EFL] &= ~0x100L;
	traps_caught++;
}

/* Exceptions after an instruction: int3, or one instruction with TF set. */
static long
traps(long n, int step)
{
	struct sigaction sa;
	long i;

	memset(&sa, 0, sizeof sa);
	sa.sa_sigaction = on_trap;
	sa.sa_flags = SA_SIGINFO;
	sigaction(SIGTRAP, &sa, NULL);
	for (i = 0; i < n; i++)
		if (!step)
			__asm__ volatile ("int3");
		else
			__asm__ volatile ("lea -128(%%rsp), %%rsp\n"
			    "pushfq\n	orl $0x100, (%%rsp)\n	popfq\n"
			    "nop\n	lea 128(%%rsp), %%rsp"
			    : : : "memory", "cc");
	return (traps_caught);
}

long
operate_threads(unsigned long op, unsigned long a, unsigned long b)
{

	switch (op) {
	case OP_THREADS:
		return (create_and_join(a));
	case OP_PING:
		return (ask((long)a));
	case OP_PREEMPT:
		return (preempt());
	case OP_TGKILL:
		return (signal_other(a));
	case OP_TIMED_WAIT:
		return (timed_wait(a));
	case OP_VECTORS:
		return (vector_state());
	case OP_MUTEXES:
		return (mutexes((long)a));
	case OP_LAZY:
		return (lazy(a, b));
	case OP_STORM:
		return (storm(a, b));
	case OP_ACCEPTS:
		return (wait_in_accept(a));
	case OP_TURN:
		return (turn());
	case OP_MAPS:
		return (map_again(a, b));
	case OP_SIGWAIT:
		return (sigwait_for());
	case OP_TRAPS:
		return (traps((long)a, (int)b));
	default:
		return (-1);
	}
}
