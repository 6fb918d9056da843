/*-
 * SPDX-License-Identifier: BSD-2-Clause
 */

#include <errno.h>
#include <pthread.h>
#include <sched.h>
#include <signal.h>
#include <sys/syscall.h>
#include <time.h>
#include <unistd.h>

#include "clock_page.h"
#include "object.h"
#include "watchdog.h"

#define TICK_NS		5000000		/* 5 ms */
#define CLOCK_TICKS	200		/* clock page: once a second */

_Thread_local struct kvm_run *volatile tk_running;
static _Thread_local pid_t my_tid;

static pthread_mutex_t watch_lock = PTHREAD_MUTEX_INITIALIZER;
static struct tk_watch *watches;

uint64_t
tk_now(void)
{
	struct timespec ts;

	(void)clock_gettime(CLOCK_MONOTONIC, &ts);
	return ((uint64_t)ts.tv_sec * 1000000000ULL + (uint64_t)ts.tv_nsec);
}

/* Of another copy of this library in the process, after an upgrade. */
static void (*other_handler)(int);

static void
on_kick(int sig)
{
	struct kvm_run *run = tk_running;

	if (run != NULL)
		run->immediate_exit = 1;
	else if (other_handler != NULL)
		other_handler(sig);
}

static void
look_at(struct tk_watch *w, uint64_t now)
{
	uint64_t slice = w->slice_end;
	int running = TK_WATCH_RUNNING;

	TK_CHECK_OBJ(w, TK_WATCH_MAGIC);
	/* Running and kept so, while the thread's number is used. */
	if (!atomic_compare_exchange_strong(&w->state, &running,
	    TK_WATCH_KICKING))
		return;
	if (!w->over && w->overused != NULL && w->overused(w))
		w->over = true;
	/* At each tick: a debugger, for one, sets the deadline anew. */
	if (w->stopped != NULL && w->stopped(w))
		w->deadline = 0;
	if (w->over || now >= w->deadline || (slice != 0 && now >= slice))
		(void)syscall(SYS_tgkill, getpid(), w->thread, TK_KICK_SIGNAL);
	w->state = TK_WATCH_RUNNING;
}

static void *
watchdog(void *arg)
{
	struct timespec tick = { 0, TICK_NS };
	struct tk_watch *w;
	unsigned ticks = 0;
	uint64_t now;

	(void)arg;
	for (;;) {
		(void)nanosleep(&tick, NULL);
		now = tk_now();
		(void)pthread_mutex_lock(&watch_lock);
		for (w = watches; w != NULL; w = w->next)
			if (w->state == TK_WATCH_RUNNING)
				look_at(w, now);
		(void)pthread_mutex_unlock(&watch_lock);
		if (++ticks % CLOCK_TICKS == 0)
			tk_clock_page_update();
	}
	return (NULL);
}

int
tk_watchdog_start(void)
{
	static bool started;
	struct sigaction sa, before;
	pthread_attr_t attr;
	pthread_t thread;
	sigset_t all, old;
	int e;

	if (started)
		return (0);
	memset(&sa, 0, sizeof sa);
	sa.sa_handler = on_kick;
	sa.sa_flags = SA_RESTART;
	if (sigaction(TK_KICK_SIGNAL, &sa, &before))
		return (errno);
	if (before.sa_handler != SIG_DFL && before.sa_handler != SIG_IGN)
		other_handler = before.sa_handler;
	/* The thread itself takes no signals that are meant for others. */
	(void)sigfillset(&all);
	(void)pthread_sigmask(SIG_SETMASK, &all, &old);
	(void)pthread_attr_init(&attr);
	(void)pthread_attr_setdetachstate(&attr, PTHREAD_CREATE_DETACHED);
	e = pthread_create(&thread, &attr, watchdog, NULL);
	(void)pthread_attr_destroy(&attr);
	(void)pthread_sigmask(SIG_SETMASK, &old, NULL);
	started = e == 0;
	return (e);
}

void
tk_watch_add(struct tk_watch *w)
{

	w->magic = TK_WATCH_MAGIC;
	(void)pthread_mutex_lock(&watch_lock);
	w->next = watches;
	w->prev = &watches;
	if (w->next != NULL)
		w->next->prev = &w->next;
	watches = w;
	(void)pthread_mutex_unlock(&watch_lock);
}

void
tk_watch_remove(struct tk_watch *w)
{

	TK_CHECK_OBJ(w, TK_WATCH_MAGIC);
	(void)pthread_mutex_lock(&watch_lock);
	*w->prev = w->next;
	if (w->next != NULL)
		w->next->prev = w->prev;
	(void)pthread_mutex_unlock(&watch_lock);
	w->magic = 0;
}

void
tk_watch_begin(struct tk_watch *w, uint64_t deadline)
{

	if (my_tid == 0)
		my_tid = (pid_t)syscall(SYS_gettid);
	w->thread = my_tid;
	w->over = false;
	atomic_store_explicit(&w->slice_end, 0, memory_order_relaxed);
	atomic_store_explicit(&w->deadline, deadline, memory_order_relaxed);
	atomic_store_explicit(&w->state, TK_WATCH_RUNNING,
	    memory_order_release);
}

void
tk_watch_end(struct tk_watch *w)
{
	int running = TK_WATCH_RUNNING;

	while (!atomic_compare_exchange_weak(&w->state, &running,
	    TK_WATCH_IDLE)) {
		running = TK_WATCH_RUNNING;
		(void)sched_yield();
	}
}
