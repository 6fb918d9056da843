/*-
 * SPDX-License-Identifier: BSD-2-Clause
 *
 * The storage machine: its boot, its queue, and calls into it.
 */

#include <stdlib.h>
#include <string.h>

#include "fetch.h"
#include "guest_regex.h"
#include "object.h"
#include "state.h"
#include "storage.h"

#define MIB		(1024.0 * 1024.0)

/* One who waits for storage; on his own stack. */
struct tkc_waiter {
	pthread_cond_t		cond;
	bool			granted;
	struct tkc_waiter	*next;
};

/*--------------------------------------------------------------------
 * The queue
 */

static void
leave(struct tkc_storage *st, const struct tkc_waiter *w)
{
	struct tkc_waiter **p;

	for (p = &st->first; *p != w; p = &(*p)->next)
		continue;
	*p = w->next;
	if (w->next == NULL)
		st->last = p;
}

/* Behind all others. Lock held. */
static bool
wait_in_line(struct tkc_storage *st, double seconds)
{
	struct tkc_waiter w = { .granted = false, .next = NULL };
	uint64_t until = tkc_after(seconds);
	bool in_time = true;

	tkc_cond_init(&w.cond);
	*st->last = &w;
	st->last = &w.next;
	st->n_waiting++;
	while (!w.granted && !st->closed && in_time)
		in_time = tkc_wait_until(&w.cond, &st->lock, until);
	if (!w.granted)
		leave(st, &w);
	st->n_waiting--;
	(void)pthread_cond_destroy(&w.cond);
	return (w.granted);
}

bool
tkc_storage_take(struct tkc_storage *st, double seconds, uint64_t *waited)
{
	uint64_t start;
	bool got = false;

	TK_CHECK_OBJ(st, TKC_STORAGE_MAGIC);
	*waited = 0;
	(void)pthread_mutex_lock(&st->lock);
	if (st->closed)
		goto out;
	if (!st->busy) {
		st->busy = got = true;
		goto out;
	}
	start = tkc_now();
	got = wait_in_line(st, seconds);
	*waited = tkc_now() - start;
out:
	(void)pthread_mutex_unlock(&st->lock);
	return (got);
}

void
tkc_storage_give(struct tkc_storage *st)
{
	struct tkc_waiter *w;

	(void)pthread_mutex_lock(&st->lock);
	tk_assert(st->busy);
	w = st->closed ? NULL : st->first;
	if (w != NULL) {
		/* It stays busy: the next in line has it at once. */
		leave(st, w);
		w->granted = true;
		(void)pthread_cond_signal(&w->cond);
	} else {
		st->busy = false;
		if (st->closed)
			(void)pthread_cond_broadcast(&st->work);
	}
	(void)pthread_mutex_unlock(&st->lock);
}

void
tkc_storage_close(struct tkc_storage *st)
{
	struct tkc_waiter *w;

	(void)pthread_mutex_lock(&st->lock);
	st->closed = true;
	for (w = st->first; w != NULL; w = w->next)
		(void)pthread_cond_signal(&w->cond);
	tkc_tasks_stop(st);
	(void)pthread_mutex_unlock(&st->lock);
}

void
tkc_storage_retire(struct tkc_storage *st)
{

	if (st->has_thread && !st->counted && !st->at_rest) {
		st->counted = true;
		st->instance->program->loud_storages++;
	}
	tkc_storage_close(st);
}

void
tkc_storage_mourn(struct tkc_storage *st)
{
	struct tkc_instance *in = st->instance;
	struct tkc_program *p = in->program;

	if (!st->dead)
		return;
	(void)pthread_mutex_lock(&p->lock);
	if (p->live == in && !p->updating) {
		tkc_logf(p, TKC_LOG_ERROR, "its storage cannot go on: the "
		    "program boots anew, and its storage from its state file");
		tkc_program_abandon(p);
	}
	(void)pthread_mutex_unlock(&p->lock);
}

/*--------------------------------------------------------------------
 * Calls
 */

bool
tkc_storage_allows(const struct tkc_storage *st, tk_gva function)
{
	unsigned i;

	for (i = 0; i < st->n_allowed; i++)
		if (st->allowed[i] == function)
			return (true);
	return (st->n_allowed == 0);
}

static void
end_line(struct tkc_storage *st)
{

	if (st->line_len > 0)
		tkc_log(st->instance->program, TKC_LOG_GUEST, st->line,
		    st->line_len);
	st->line_len = 0;
}

int
tkc_storage_run(struct tkc_storage *st, struct tkc_storage_call *c,
    double seconds, struct tkc_error *err)
{
	const char *name = st->instance->program->name;
	struct tk_error core;
	int e;

	tk_assert(st->busy && st->call == NULL);
	if (st->dead)
		return (tkc_fail(err, TKC_EXCEPTION, "%s: storage: it cannot "
		    "go on, and boots anew", name));
	if (!tk_executable(st->vm, c->call.function))
		return (tkc_fail(err, TKC_EXCEPTION, "%s: storage: 0x%llx is "
		    "no function there", name,
		    (unsigned long long)c->call.function));
	c->call.seconds = seconds;
	st->call = c;
	e = tk_call(st->vm, &c->call, &core);
	st->call = NULL;
	end_line(st);
	if (st->own.fetcher != NULL)
		tkc_fetcher_rest(st->own.fetcher);
	if (!tk_keep(st->vm) || tk_broken(st->vm))
		st->dead = true;
	if (e != 0)
		e = tkc_fail(err, e == TK_TIMEOUT ? TKC_TIMEOUT :
		    TKC_EXCEPTION, "%s: storage: %s", name, core.text);
	/*
	 * Until a live update is done the file is the old storage's: what is
	 * being restored, or warmed up, may still come to nothing.
	 */
	if ((st->has_thread || !st->instance->program->updating) &&
	    tkc_state_changed(st->state)) {
		if (e == 0)
			tkc_state_save(st->state, false);
		else if (!tkc_state_undo(st->state))
			st->dead = true;
	}
	return (e);
}

/*--------------------------------------------------------------------
 * Life
 */

/* Until no earlier storage of the program may still save its state. */
static int
wait_for_silence(struct tkc_program *p, struct tkc_error *err)
{
	uint64_t until = tkc_after(p->settings.max_storage_time +
	    TKC_REST_SECONDS + 1);
	bool in_time = true;

	(void)pthread_mutex_lock(&p->lock);
	while (p->loud_storages > 0 && in_time && p->registry->warm)
		in_time = tkc_wait_until(&p->changed, &p->lock, until);
	(void)pthread_mutex_unlock(&p->lock);
	if (!p->registry->warm)
		return (tkc_fail(err, TKC_STOPPED, "%s: its VCL is cold",
		    p->name));
	if (in_time)
		return (0);
	return (tkc_fail(err, TKC_BOOT, "%s: its storage of before has not "
	    "come to rest within max_storage_time (%g s)", p->name,
	    p->settings.max_storage_time));
}

static int
boot(struct tkc_storage *st, const void *image, size_t len,
    struct tkc_error *err)
{
	struct tkc_instance *in = st->instance;
	struct tkc_program *p = in->program;
	struct tk_boot_options o;
	struct tk_error core;
	int e;

	e = tkc_state_open(&st->state, p,
	    (uint64_t)(in->request_memory * MIB), err);
	if (e != 0)
		return (e);
	memset(&o, 0, sizeof o);
	o.priv = st;
	/* Of calls and of tasks. */
	o.input_size = (uint64_t)(in->request_memory * MIB);
	if (o.input_size < TKC_MAX_TASK)
		o.input_size = TKC_MAX_TASK;
	/* It may write all that it has. */
	o.request_memory = (uint64_t)((in->memory + 64) * MIB) + o.input_size;
	o.shared_memory = (uint64_t)(p->settings.shared_memory * MIB);
	e = tkc_boot_master(in, "storage", image, len, &o, &st->state->copy,
	    &st->master, err);
	end_line(st);
	if (st->own.fetcher != NULL)
		tkc_fetcher_rest(st->own.fetcher);
	if (e != 0)
		return (e);
	if (tk_fork(st->master, &st->vm, st, &core))
		return (tkc_from_core(err, p->name, &core));
	/* In a live update the file is still the old one's. */
	if (!p->updating && tkc_state_changed(st->state))
		tkc_state_save(st->state, false);
	return (0);
}

int
tkc_storage_boot(struct tkc_instance *in, const void *image, size_t len,
    struct tkc_error *err)
{
	struct tkc_storage *st;
	int e;

	e = wait_for_silence(in->program, err);
	if (e != 0)
		return (e);
	TK_ALLOC_OBJ(st, TKC_STORAGE_MAGIC);
	if (st == NULL)
		return (tkc_fail(err, TKC_ENVIRONMENT, "Out of memory"));
	in->storage = st;
	st->instance = in;
	st->own.magic = TKC_INSTANCE_MAGIC;
	st->own.program = in->program;
	st->own.allowed_fetch = in->allowed_fetch;
	st->own.memory = in->memory;
	st->own.request_memory = in->request_memory;
	st->seconds = in->program->settings.max_storage_time;
	st->last = &st->first;
	st->next_id = 1;
	(void)pthread_mutex_init(&st->lock, NULL);
	tkc_cond_init(&st->work);
	return (boot(st, image, len, err));
}

void
tkc_storage_free(struct tkc_storage **pst)
{
	struct tkc_storage *st;

	TK_TAKE_OBJ(st, pst, TKC_STORAGE_MAGIC);
	tkc_storage_close(st);
	tkc_tasks_join(st);
	tk_assert(!st->busy && st->first == NULL && st->tasks == NULL);
	if (st->vm != NULL)
		tk_fork_free(&st->vm);
	if (st->master != NULL)
		tk_master_free(&st->master);
	if (st->state != NULL)
		tkc_state_close(&st->state);
	if (st->own.regexes != NULL)
		tkc_regexes_free(&st->own.regexes);
	if (st->own.fetcher != NULL)
		tkc_fetcher_free(&st->own.fetcher);
	free(st->allowed);
	(void)pthread_cond_destroy(&st->work);
	(void)pthread_mutex_destroy(&st->lock);
	TK_FREE_OBJ(st);
}
