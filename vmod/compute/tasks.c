/*-
 * SPDX-License-Identifier: BSD-2-Clause
 *
 * What storage does by itself: tasks, once, and timers. One thread per storage
 * waits for the next one that is due and calls it as a request would.
 */

#include <stdlib.h>
#include <string.h>

#include "object.h"
#include "state.h"
#include "storage.h"

#define MS		1000000ULL
#define STACK		(256 * 1024)	/* of the thread */
/* Ten years, ms. */
#define MAX_TIME	315360000000ULL

struct tkc_task {
	uint64_t		id;		/* 0: a task, no timer */
	tk_gva			function;
	void			*data;
	size_t			len;
	uint64_t		due;		/* ns */
	uint64_t		period;		/* ns; 0: once */
	struct tkc_task		*next;
};

static void
task_free(struct tkc_storage *st, struct tkc_task *t)
{

	if (t->id == 0) {
		st->n_tasks--;
		st->task_bytes -= t->len;
	} else
		st->n_timers--;
	free(t->data);
	free(t);
}

/*--------------------------------------------------------------------
 * The list. Lock held.
 */

static struct tkc_task **
earliest(struct tkc_storage *st)
{
	struct tkc_task **p, **best = NULL;

	for (p = &st->tasks; *p != NULL; p = &(*p)->next)
		if (best == NULL || (*p)->due < (*best)->due)
			best = p;
	return (best);
}

/* Last: of those due at the same time the first goes first. */
static void
append(struct tkc_storage *st, struct tkc_task *t)
{
	struct tkc_task **p;

	for (p = &st->tasks; *p != NULL; p = &(*p)->next)
		continue;
	t->next = NULL;
	*p = t;
}

int64_t
tkc_tasks_add(struct tkc_storage *st, tk_gva function, void *data, size_t len,
    uint64_t start, uint64_t period)
{
	bool timer = start != 0 || period != 0, room;
	struct tkc_task *t = NULL;
	int64_t id = -1;

	if (start <= MAX_TIME && period <= MAX_TIME)
		t = calloc(1, sizeof *t);
	if (t == NULL) {
		free(data);
		return (-1);
	}
	t->function = function;
	t->data = data;
	t->len = len;
	t->due = tkc_now() + start * MS;
	t->period = period * MS;
	(void)pthread_mutex_lock(&st->lock);
	room = timer ? st->n_timers < TKC_MAX_TIMERS :
	    st->n_tasks < TKC_MAX_TASKS &&
	    st->task_bytes + len <= TKC_MAX_TASK_BYTES;
	if (room && !st->stop) {
		if (timer) {
			t->id = st->next_id++;
			st->n_timers++;
		} else {
			st->n_tasks++;
			st->task_bytes += len;
		}
		id = (int64_t)t->id;
		append(st, t);
		(void)pthread_cond_broadcast(&st->work);
	} else {
		free(t->data);
		free(t);
	}
	(void)pthread_mutex_unlock(&st->lock);
	return (id);
}

int
tkc_tasks_remove(struct tkc_storage *st, uint64_t id)
{
	struct tkc_task **p, *t;
	int found = 0;

	(void)pthread_mutex_lock(&st->lock);
	for (p = &st->tasks; id != 0 && (t = *p) != NULL; p = &t->next) {
		if (t->id != id)
			continue;
		*p = t->next;
		task_free(st, t);
		found = 1;
		break;
	}
	/* It runs now, perhaps asks itself: not again, then. */
	if (!found && id != 0 && st->running == id) {
		st->running = 0;
		found = 1;
	}
	(void)pthread_mutex_unlock(&st->lock);
	return (found);
}

void
tkc_tasks_stop(struct tkc_storage *st)
{
	struct tkc_task *t;

	st->stop = true;
	while ((t = st->tasks) != NULL) {
		st->tasks = t->next;
		task_free(st, t);
	}
	(void)pthread_cond_broadcast(&st->work);
}

/*--------------------------------------------------------------------
 * The thread
 */

/* Calls the function(data, len). True: go on. */
static bool
run(struct tkc_storage *st, const struct tkc_task *t)
{
	struct tkc_program *p = st->instance->program;
	struct tkc_storage_call c;
	struct tkc_error err;
	uint64_t size, waited, start = tkc_now();
	tk_gva input;
	int e;

	memset(&c, 0, sizeof c);
	c.kind = TKC_TASK;
	c.call.function = t->function;
	if (!tkc_storage_take(st, st->seconds, &waited))
		e = tkc_fail(&err, TKC_QUEUE, "%s: a task waited longer than "
		    "max_storage_time (%g s) for storage", p->name,
		    st->seconds);
	else {
		input = tk_input_area(st->vm, &size);
		tk_assert(t->len <= size);
		tk_assert(tk_write(st->vm, input, t->data, t->len));
		c.call.args[0] = input;
		c.call.args[1] = t->len;
		start = tkc_now();
		e = tkc_storage_run(st, &c, st->seconds, &err);
		tkc_storage_give(st);
	}
	/* Turned away because all ends: that is no error. */
	if (e == TKC_QUEUE && st->stop)
		return (true);
	if (e != 0)
		tkc_log(p, TKC_LOG_ERROR, err.text, strlen(err.text));
	(void)pthread_mutex_lock(&p->lock);
	p->total.storage_tasks++;
	p->total.storage_wait_ns += waited;
	p->total.storage_ns += tkc_now() - start;
	if (e != 0)
		p->total.storage_task_errors++;
	tkc_program_publish(p);
	(void)pthread_mutex_unlock(&p->lock);
	return (!st->dead);
}

static void
wait_until(struct tkc_storage *st, uint64_t due)
{

	(void)tkc_wait_until(&st->work, &st->lock, due);
}

/* The next one, now; NULL: there will be none. Lock held. */
static struct tkc_task *
next_task(struct tkc_storage *st)
{
	struct tkc_task **p, *t;

	while (!st->stop) {
		p = earliest(st);
		if (p == NULL)
			(void)pthread_cond_wait(&st->work, &st->lock);
		else if ((*p)->due > tkc_now())
			wait_until(st, (*p)->due);
		else {
			t = *p;
			*p = t->next;
			return (t);
		}
	}
	return (NULL);
}

/* After it ran: again later, or never. Lock held. */
static void
put_back(struct tkc_storage *st, struct tkc_task *t)
{
	uint64_t now = tkc_now();

	/* stop() may have been said while it ran. */
	if (t->period == 0 || st->running != t->id || st->stop)
		task_free(st, t);
	else {
		/* Who is late does not catch up. */
		t->due += t->period;
		if (t->due < now)
			t->due = now;
		append(st, t);
	}
	st->running = 0;
}

/*
 * The last thing of a storage that has been retired: nobody is in it any more,
 * and its state is final.
 */
static void
come_to_rest(struct tkc_storage *st)
{
	struct tkc_program *p = st->instance->program;

	(void)pthread_mutex_lock(&st->lock);
	while (st->busy)
		(void)pthread_cond_wait(&st->work, &st->lock);
	(void)pthread_mutex_unlock(&st->lock);
	if (tkc_state_changed(st->state))
		tkc_state_save(st->state, true);
	(void)pthread_mutex_lock(&p->lock);
	st->at_rest = true;
	if (st->counted) {
		p->loud_storages--;
		tkc_program_changed(p);
	}
	(void)pthread_mutex_unlock(&p->lock);
	(void)pthread_mutex_lock(&st->lock);
	st->thread_ended = true;
	(void)pthread_cond_broadcast(&st->work);
	(void)pthread_mutex_unlock(&st->lock);
}

static void *
task_thread(void *priv)
{
	struct tkc_storage *st = priv;
	struct tkc_task *t;
	bool go_on = true;

	TK_CHECK_OBJ(st, TKC_STORAGE_MAGIC);
	(void)pthread_mutex_lock(&st->lock);
	while (go_on && (t = next_task(st)) != NULL) {
		st->running = t->id;
		(void)pthread_mutex_unlock(&st->lock);
		go_on = run(st, t);
		(void)pthread_mutex_lock(&st->lock);
		put_back(st, t);
	}
	(void)pthread_mutex_unlock(&st->lock);
	if (!go_on)
		tkc_storage_mourn(st);
	come_to_rest(st);
	return (NULL);
}

int
tkc_tasks_start(struct tkc_storage *st, struct tkc_error *err)
{
	pthread_attr_t attr;
	int e;

	(void)pthread_attr_init(&attr);
	(void)pthread_attr_setstacksize(&attr, STACK);
	e = pthread_create(&st->thread, &attr, task_thread, st);
	(void)pthread_attr_destroy(&attr);
	st->has_thread = e == 0;
	if (e == 0)
		return (0);
	return (tkc_fail(err, TKC_ENVIRONMENT, "%s: no thread for its "
	    "storage: %s", st->instance->program->name, strerror(e)));
}

void
tkc_tasks_join(struct tkc_storage *st)
{

	if (!st->has_thread)
		return;
	(void)pthread_mutex_lock(&st->lock);
	while (!st->thread_ended)
		(void)pthread_cond_wait(&st->work, &st->lock);
	(void)pthread_mutex_unlock(&st->lock);
	(void)pthread_join(st->thread, NULL);
	st->has_thread = false;
}
