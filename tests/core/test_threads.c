/*-
 * SPDX-License-Identifier: BSD-2-Clause
 *
 * Threads: each fork is one thread's at a time, never the same one for long;
 * time limits strike the call that they are of and no other.
 */

#include <pthread.h>

#include "vm.h"

#define THREADS	8
#define CALLS	400

static struct guest g;

struct worker {
	pthread_t		thread;
	unsigned		id;
	unsigned		timeouts;
};

static pthread_mutex_t pool_lock = PTHREAD_MUTEX_INITIALIZER;
static struct tk_machine *pool[THREADS];
static unsigned n_pool;

static struct tk_machine *
take(void)
{
	struct tk_machine *m;

	CHECK(pthread_mutex_lock(&pool_lock) == 0);
	CHECK(n_pool > 0);
	m = pool[--n_pool];
	CHECK(pthread_mutex_unlock(&pool_lock) == 0);
	return (m);
}

static void
give(struct tk_machine *m)
{

	CHECK(pthread_mutex_lock(&pool_lock) == 0);
	pool[n_pool++] = m;
	CHECK(pthread_mutex_unlock(&pool_lock) == 0);
}

/* Results go through the machine's priv: a struct guest of its own. */
static void *
work(void *arg)
{
	struct worker *w = arg;
	struct tk_machine *m;
	struct tk_error err;
	struct guest *mine;
	uint64_t seed = w->id * 7919 + 1;
	unsigned i;
	int e;

	for (i = 0; i < CALLS; i++) {
		m = take();
		mine = m->priv;
		e = guest_op(mine, m, &err, 10, OP_TLS, 0, 0,
		    (uint64_t)w->id << 32 | i);
		CHECK_MSG(e == 0, "%s", err.text);
		CHECK(mine->result == 0x1122334455667788);
		/* The same call's memory still says what this thread wrote. */
		e = guest_op(mine, m, &err, 10, OP_TLS, 0, 0, 0);
		CHECK(e == 0 && (uint64_t)mine->result ==
		    ((uint64_t)w->id << 32 | i));
		if (test_random(&seed) % 20 == 0) {
			e = guest_op(mine, m, &err, 0.002, OP_SPIN, 0, 0, 0);
			CHECK_MSG(e == TK_TIMEOUT, "%d: %s", e, err.text);
			w->timeouts++;
		}
		(void)tk_reset(m);
		CHECK(!tk_broken(m));
		give(m);
	}
	return (NULL);
}

static void
forks_change_threads(void)
{
	struct worker w[THREADS];
	struct guest mine[THREADS];
	struct boot b = { 0 };
	struct tk_error err;
	unsigned i, timeouts = 0;

	guest_boot(&g, &b);
	for (i = 0; i < THREADS; i++) {
		mine[i] = g;
		CHECK(tk_fork(g.master, &pool[i], &mine[i], &err) == 0);
	}
	n_pool = THREADS;
	for (i = 0; i < THREADS; i++) {
		w[i].id = i + 1;
		w[i].timeouts = 0;
		CHECK(pthread_create(&w[i].thread, NULL, work, &w[i]) == 0);
	}
	for (i = 0; i < THREADS; i++) {
		CHECK(pthread_join(w[i].thread, NULL) == 0);
		timeouts += w[i].timeouts;
	}
	CHECK(timeouts > 0 && n_pool == THREADS);
	for (i = 0; i < THREADS; i++)
		tk_fork_free(&pool[i]);
	guest_free(&g);
}

/* Forks are made and freed, and machines recycled, on all threads at once. */
static void *
make_and_free(void *arg)
{
	struct guest mine = g;
	struct tk_machine *m;
	struct tk_error err;
	unsigned i;

	(void)arg;
	for (i = 0; i < 40; i++) {
		CHECK_MSG(tk_fork(g.master, &m, &mine, &err) == 0, "%s",
		    err.text);
		CHECK(guest_op(&mine, m, &err, 10, OP_WRITE, i, 20, i) == 0);
		if (i & 1)
			CHECK(guest_op(&mine, m, &err, 10, OP_UD2, 0, 0, 0) ==
			    TK_FAULT);
		if (i & 2)
			(void)tk_reset(m);
		tk_fork_free(&m);
	}
	return (NULL);
}

static void
forks_come_and_go(void)
{
	pthread_t t[THREADS];
	struct boot b = { 0 };
	unsigned i;

	guest_boot(&g, &b);
	for (i = 0; i < THREADS; i++)
		CHECK(pthread_create(&t[i], NULL, make_and_free, NULL) == 0);
	for (i = 0; i < THREADS; i++)
		CHECK(pthread_join(t[i], NULL) == 0);
	guest_free(&g);
}

TESTS(
	T_KVM(forks_change_threads),
	T_KVM(forks_come_and_go)
)
