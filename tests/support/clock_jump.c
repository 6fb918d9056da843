/*-
 * SPDX-License-Identifier: BSD-2-Clause
 *
 * Loaded first into a process, gives it a wall clock that is off by the seconds
 * (int64_t) in the file that CLOCK_JUMP names; whoever writes there makes it
 * jump. What waits until a time of that clock waits by the true one.
 */

#include <dlfcn.h>
#include <fcntl.h>
#include <pthread.h>
#include <stdint.h>
#include <stdlib.h>
#include <sys/mman.h>
#include <sys/time.h>
#include <time.h>

/* Times of CLOCK_MONOTONIC are shorter by far. */
#define WALL	1000000000

static volatile int64_t *
off(void)
{
	static volatile int64_t none, *mapped;
	const char *name;
	void *p;
	int fd;

	if (mapped != NULL)
		return (mapped);
	name = getenv("CLOCK_JUMP");
	fd = name != NULL ? open(name, O_RDONLY | O_CLOEXEC) : -1;
	if (fd < 0)
		return (&none);
	p = mmap(NULL, 4096, PROT_READ, MAP_SHARED, fd, 0);
	if (p == MAP_FAILED)
		abort();
	return (mapped = p);
}

static void *
next(const char *name)
{

	return (dlsym(RTLD_NEXT, name));
}

int
clock_gettime(clockid_t id, struct timespec *ts)
{
	static int (*real)(clockid_t, struct timespec *);
	int e;

	if (real == NULL)
		real = next("clock_gettime");
	e = real(id, ts);
	if (e == 0 && (id == CLOCK_REALTIME || id == CLOCK_REALTIME_COARSE))
		ts->tv_sec += *off();
	return (e);
}

int
gettimeofday(struct timeval *tv, void *zone)
{
	struct timespec ts;

	(void)zone;
	(void)clock_gettime(CLOCK_REALTIME, &ts);
	tv->tv_sec = ts.tv_sec;
	tv->tv_usec = ts.tv_nsec / 1000;
	return (0);
}

time_t
time(time_t *t)
{
	struct timespec ts;

	(void)clock_gettime(CLOCK_REALTIME, &ts);
	if (t != NULL)
		*t = ts.tv_sec;
	return (ts.tv_sec);
}

int
pthread_cond_timedwait(pthread_cond_t *c, pthread_mutex_t *lock,
    const struct timespec *until)
{
	static int (*real)(pthread_cond_t *, pthread_mutex_t *,
	    const struct timespec *);
	struct timespec ts = *until;

	if (real == NULL)
		real = next("pthread_cond_timedwait");
	if (ts.tv_sec > WALL)
		ts.tv_sec -= *off();
	return (real(c, lock, &ts));
}
