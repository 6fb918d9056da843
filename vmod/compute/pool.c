/*-
 * SPDX-License-Identifier: BSD-2-Clause
 *
 * The pool of a program's forks: reserve, release, and the queue between.
 */

#include <stdlib.h>

#include "fetch.h"
#include "guest_regex.h"
#include "object.h"
#include "program.h"
#include "server.h"

/* A program whose boot failed, or a fork, is not tried again sooner. */
#define RETRY_NS	TKC_NS

#define SCRATCH_ROOM	16384

struct tkc_invocation *
tkc_invocation_new(struct tkc_instance *in)
{
	struct tkc_invocation *inv;

	TK_ALLOC_OBJ(inv, TKC_INVOCATION_MAGIC);
	if (inv == NULL)
		return (NULL);
	inv->scratch = malloc(SCRATCH_ROOM);
	if (inv->scratch == NULL) {
		TK_FREE_OBJ(inv);
		return (NULL);
	}
	inv->scratch_room = SCRATCH_ROOM;
	inv->instance = in;
	inv->seconds = in->request_time;
	inv->response = &inv->answer;
	return (inv);
}

void
tkc_invocation_free(struct tkc_invocation **pinv)
{
	struct tkc_invocation *inv;

	TK_TAKE_OBJ(inv, pinv, TKC_INVOCATION_MAGIC);
	if (inv->vm != NULL)
		tk_fork_free(&inv->vm);
	tkc_server_fini(inv);
	if (inv->regexes != NULL)
		tkc_regexes_free(&inv->regexes);
	if (inv->fetcher != NULL)
		tkc_fetcher_free(&inv->fetcher);
	free(inv->scratch);
	free(inv->header_text);
	TK_FREE_OBJ(inv);
}

int
tkc_fork_new(struct tkc_instance *in, struct tkc_invocation **pinv,
    struct tkc_error *err)
{
	struct tkc_invocation *inv;
	struct tk_error core;

	*pinv = NULL;
	inv = tkc_invocation_new(in);
	if (inv == NULL)
		return (tkc_fail(err, TKC_ENVIRONMENT, "Out of memory"));
	if (tk_fork(in->master, &inv->vm, inv, &core)) {
		tkc_invocation_free(&inv);
		return (tkc_from_core(err, in->program->name, &core));
	}
	*pinv = inv;
	return (0);
}

/*--------------------------------------------------------------------*/

/*
 * Takes the lock's holder through a boot. Lock held before and after. One that
 * may have to be fetched first boots on a thread of its own: it is waited for
 * no longer than max_queue_time.
 */
static void
boot_here(struct tkc_program *p)
{

	if (p->settings.uri != NULL) {
		(void)pthread_mutex_unlock(&p->lock);
		(void)tkc_start(p, 1, 0, NULL);
		(void)pthread_mutex_lock(&p->lock);
		return;
	}
	p->state = TKC_BOOTING;
	(void)pthread_mutex_unlock(&p->lock);
	tkc_program_boot(p);
	(void)pthread_mutex_lock(&p->lock);
}

/*
 * Who comes while a fork is idle takes it, though others wait: they are still
 * being woken, and the fork would do nothing. But whoever has been overtaken
 * for so long gets the next one.
 */
#define STARVING_NS	(50 * 1000000ULL)

/* One who waits for a program: for a boot, or for a fork. */
struct wait {
	uint64_t		until;		/* ns; 0: not known yet */
	uint64_t		since;		/* ns, of the queue; so, too */
	bool			starving;	/* in the program's count */
};

/*
 * Waits once. Lock held before and after. 0: look again; *in_time says whether
 * there is time left. The queue is as long as max_queue: who comes then hears so
 * at once, instead of keeping a thread of Varnish that others need.
 */
static int
wait_once(struct tkc_program *p, pthread_cond_t *cond, struct wait *w,
    bool *in_time, struct tkc_error *err)
{

	if (w->since == 0 && (double)p->total.queue_length >=
	    p->settings.max_queue) {
		p->total.queue_refused++;
		tkc_program_publish(p);
		return (tkc_fail(err, TKC_QUEUE, "%s: so many wait for it "
		    "already as max_queue allows (%g)", p->name,
		    p->settings.max_queue));
	}
	if (w->since == 0)
		w->since = tkc_now();
	p->total.queue_length++;
	tkc_program_publish(p);
	*in_time = tkc_wait_until(cond, &p->lock, w->until);
	p->total.queue_length--;
	return (0);
}

/*
 * Until the program is up. Lock held before and after. 0, or why not.
 */
static int
wait_until_up(struct tkc_program *p, struct wait *w, struct tkc_error *err)
{
	bool in_time;
	int e;

	for (;;) {
		if (!p->registry->warm)
			return (tkc_fail(err, TKC_STOPPED, "%s: its VCL is "
			    "cold", p->name));
		switch (p->state) {
		case TKC_UP:
			return (0);
		case TKC_FAILED:
			if (tkc_now() - p->failed_at < RETRY_NS) {
				*err = p->last_error;
				return (err->reason);
			}
			boot_here(p);
			break;
		case TKC_DOWN:
			boot_here(p);
			break;
		case TKC_BOOTING:
			e = wait_once(p, &p->changed, w, &in_time, err);
			if (e != 0)
				return (e);
			if (!in_time && p->state == TKC_BOOTING)
				return (tkc_fail(err, TKC_QUEUE, "%s: still "
				    "booting after max_queue_time (%g s)",
				    p->name, p->settings.max_queue_time));
			break;
		}
	}
}

/*
 * In place of a fork that could once not be made: out of descriptors, or of
 * memory, for a moment. Lock held before and after.
 */
static void
try_again(struct tkc_program *p, struct tkc_instance *in)
{
	struct tkc_invocation *inv;
	struct tkc_error err;
	int e;

	/* Counted while it is made, so that nobody frees the instance. */
	in->forks++;
	in->busy++;
	in->again_at = tkc_now() + RETRY_NS;
	(void)pthread_mutex_unlock(&p->lock);
	e = tkc_fork_new(in, &inv, &err);
	(void)pthread_mutex_lock(&p->lock);
	in->busy--;
	if (e == 0) {
		inv->next = in->idle;
		in->idle = inv;
		in->again_at = 0;
		/* It may not be for whoever made it. */
		(void)pthread_cond_signal(&p->returned);
	} else
		in->forks--;
	if (in->retired) {
		tkc_instance_settle(in);
		(void)pthread_mutex_lock(&p->lock);
	} else if (in->forks == 0 && !p->updating)
		/* The others went meanwhile. */
		tkc_program_unload(p);
}

/*
 * Who asks for a fork: only the first waits for one, and the last not even for
 * the program to be up.
 */
enum asks { ANYBODY, WHO_KEEPS_FORKS, SLOW_BODY, WHO_HOLDS_ONE };

/* Is there one for it? The program is up. */
static bool
has_fork(const struct tkc_program *p, enum asks who, const struct wait *w)
{
	const struct tkc_invocation *idle = p->live->idle;

	if (idle == NULL)
		return (false);
	switch (who) {
	case WHO_KEEPS_FORKS:
		return (true);
	case SLOW_BODY:
		/* The last one is not for clients who may take their time. */
		return (idle->next != NULL);
	default:
		return (p->starving == 0 || w->since != 0);
	}
}

static int
no_fork(struct tkc_program *p, enum asks who, struct tkc_error *err)
{

	if (who == WHO_HOLDS_ONE)
		return (tkc_fail(err, TKC_QUEUE, "%s: no fork is idle",
		    p->name));
	if (who == WHO_KEEPS_FORKS)
		return (tkc_fail(err, TKC_QUEUE, "%s: no fork is free, and who "
		    "keeps forks of other programs does not wait: raise "
		    "concurrency (%g)", p->name, p->settings.concurrency));
	p->total.queue_refused++;
	return (tkc_fail(err, TKC_QUEUE, "%s: so much of request bodies waits "
	    "for the rest of them already as max_memory allows (%g MiB), and "
	    "of its forks the last idle one is for others", p->name,
	    p->settings.max_memory));
}

/* Lock held, given up meanwhile. *w was begun. 0: there is one for it. */
static int
wait_for_fork(struct tkc_program *p, enum asks who, struct wait *w,
    struct tkc_error *err)
{
	struct tkc_instance *in;
	bool in_time;
	int e;

	for (;;) {
		e = wait_until_up(p, w, err);
		if (e != 0)
			return (e);
		in = p->live;
		tk_assert(in != NULL);
		if (has_fork(p, who, w))
			return (0);
		if (in->forks < in->wanted && tkc_now() >= in->again_at) {
			try_again(p, in);
			continue;
		}
		if (who != ANYBODY)
			return (no_fork(p, who, err));
		e = wait_once(p, &p->returned, w, &in_time, err);
		if (e != 0)
			return (e);
		if (!in_time && !(p->state == TKC_UP && p->live->idle != NULL)) {
			p->total.reservation_timeouts++;
			return (tkc_fail(err, TKC_QUEUE, "%s: no fork became "
			    "free within max_queue_time (%g s): raise "
			    "concurrency (%g)", p->name,
			    p->settings.max_queue_time,
			    p->settings.concurrency));
		}
		if (!w->starving && tkc_now() - w->since > STARVING_NS) {
			w->starving = true;
			p->starving++;
		}
	}
}

static int
reserve(struct tkc_program *p, enum asks who, struct tkc_invocation **pinv,
    struct tkc_error *err)
{
	struct tkc_instance *in;
	struct wait w = { 0, 0, false };
	int e = 0;

	/* The clock is read only when there is something to wait for. */
	if (p->state != TKC_UP || !p->registry->warm ||
	    !has_fork(p, who, &w)) {
		if (who == WHO_HOLDS_ONE)
			return (no_fork(p, who, err));
		w.until = tkc_after(p->settings.max_queue_time);
		e = wait_for_fork(p, who, &w, err);
		if (w.starving)
			p->starving--;
	}
	if (e != 0)
		return (e);
	in = p->live;
	*pinv = in->idle;
	in->idle = (*pinv)->next;
	in->busy++;
	p->total.reservations++;
	return (0);
}

static int
timed_reserve(struct tkc_program *p, enum asks who,
    struct tkc_invocation **pinv, struct tkc_error *err)
{
	uint64_t start = 0;
	bool slow;
	int e;

	TK_CHECK_OBJ(p, TKC_PROGRAM_MAGIC);
	*pinv = NULL;
	(void)pthread_mutex_lock(&p->lock);
	slow = p->live == NULL || p->live->idle == NULL;
	if (slow)
		start = tkc_now();
	e = reserve(p, who, pinv, err);
	if (slow)
		p->total.reservation_ns += tkc_now() - start;
	/* Now, not at the release: whoever looks sees what is stuck. */
	tkc_program_publish(p);
	(void)pthread_mutex_unlock(&p->lock);
	return (e);
}

int
tkc_reserve(struct tkc_program *p, struct tkc_invocation **pinv,
    struct tkc_error *err)
{

	return (timed_reserve(p, ANYBODY, pinv, err));
}

int
tkc_reserve_idle(struct tkc_program *p, struct tkc_invocation **pinv,
    struct tkc_error *err)
{

	return (timed_reserve(p, WHO_KEEPS_FORKS, pinv, err));
}

int
tkc_reserve_at_once(struct tkc_program *p, struct tkc_invocation **pinv,
    struct tkc_error *err)
{

	return (timed_reserve(p, WHO_HOLDS_ONE, pinv, err));
}

int
tkc_reserve_spare(struct tkc_program *p, struct tkc_invocation **pinv,
    struct tkc_error *err)
{

	return (timed_reserve(p, SLOW_BODY, pinv, err));
}

/*--------------------------------------------------------------------*/

void
tkc_counters_add(struct tkc_counters *to, const struct tkc_counters *c)
{

	to->invocations += c->invocations;
	to->resets += c->resets;
	to->exceptions += c->exceptions;
	to->timeouts += c->timeouts;
	to->memory_exceeded += c->memory_exceeded;
	to->error_handled += c->error_handled;
	to->request_ns += c->request_ns;
	to->reset_ns += c->reset_ns;
	to->exits += c->exits;
	to->pages_written += c->pages_written;
	to->input_bytes += c->input_bytes;
	to->output_bytes += c->output_bytes;
	to->status_2xx += c->status_2xx;
	to->status_3xx += c->status_3xx;
	to->status_4xx += c->status_4xx;
	to->status_5xx += c->status_5xx;
	to->fetches += c->fetches;
	to->fetches_failed += c->fetches_failed;
	to->self_requests += c->self_requests;
	to->self_requests_failed += c->self_requests_failed;
	to->fetch_ns += c->fetch_ns;
	to->storage_calls += c->storage_calls;
	to->storage_errors += c->storage_errors;
	to->storage_wait_ns += c->storage_wait_ns;
	to->storage_ns += c->storage_ns;
}

/* Another fork in place of one that cannot be reset. */
static struct tkc_invocation *
replace_fork(struct tkc_invocation *inv)
{
	struct tkc_instance *in = inv->instance;
	struct tkc_invocation *fresh;
	struct tkc_error err;

	tkc_invocation_free(&inv);
	if (tkc_fork_new(in, &fresh, &err)) {
		tkc_logf(in->program, TKC_LOG_ERROR, "one fork fewer: %s",
		    err.text);
		return (NULL);
	}
	return (fresh);
}

/* The fork as the master again, or as far as its program wants it. */
void
tkc_invocation_reset(struct tkc_invocation *inv, struct tkc_release_cost *cost)
{
	const struct tkc_instance *in = inv->instance;
	uint64_t start = tkc_now(), took;
	double left;
	unsigned pages;

	pages = tk_reset(inv->vm);
	if (inv->regexes != NULL)
		tkc_regexes_forget(inv->regexes);
	left = (double)tk_working_set(inv->vm) / 256.0;
	if (!in->keeps_memory || (in->kept_memory > 0 &&
	    left > in->kept_memory))
		tk_shrink(inv->vm);
	took = tkc_now() - start;
	inv->count.resets++;
	inv->count.reset_ns += took;
	inv->count.pages_written += pages;
	if (cost != NULL) {
		cost->pages_written = pages;
		cost->reset_seconds = (double)took / (double)TKC_NS;
	}
}

/*
 * As the request left it, if there is something to go on from. False: it must
 * be reset.
 */
static bool
keep(const struct tkc_invocation *inv)
{

	return (inv->failure.reason == 0 && !inv->instance->serves &&
	    !tk_broken(inv->vm) && tk_keep(inv->vm));
}

/* Nothing of the request is left in the invocation. */
static void
forget(struct tkc_invocation *inv)
{

	inv->count.exits += inv->exits;
	inv->exits = inv->exits_before = 0;
	inv->request = NULL;
	inv->invoked = inv->answered = inv->on_wire = false;
	inv->failure.reason = 0;
	inv->out_len = inv->out_at = 0;
	memset(&inv->in, 0, sizeof inv->in);
	memset(&inv->stream, 0, sizeof inv->stream);
	memset(&inv->answer, 0, sizeof inv->answer);
	inv->fetched = 0;
	if (inv->wire != NULL)
		tkc_server_forget(inv);
	if (inv->fetcher != NULL)
		tkc_fetcher_rest(inv->fetcher);
}

/* To the pool; anew: reset in any case. */
static void
give_back(struct tkc_invocation **pinv, bool anew,
    struct tkc_release_cost *cost)
{
	struct tkc_invocation *inv;
	struct tkc_instance *in;
	struct tkc_program *p;
	struct tkc_counters count;
	unsigned pages, before;

	TK_TAKE_OBJ(inv, pinv, TKC_INVOCATION_MAGIC);
	before = inv->working_set;
	in = inv->instance;
	TK_CHECK_OBJ(in, TKC_INSTANCE_MAGIC);
	p = in->program;

	if (__builtin_expect(!in->ephemeral, 0) && !anew && keep(inv)) {
		if (cost != NULL)
			memset(cost, 0, sizeof *cost);
	} else
		tkc_invocation_reset(inv, cost);
	forget(inv);
	count = inv->count;
	memset(&inv->count, 0, sizeof inv->count);
	if (__builtin_expect(tk_broken(inv->vm), 0))
		inv = replace_fork(inv);

	pages = inv != NULL ? tk_working_set(inv->vm) : 0;

	(void)pthread_mutex_lock(&p->lock);
	tkc_counters_add(&p->total, &count);
	in->busy--;
	if (!in->retired)
		p->total.working_set_bytes += ((uint64_t)pages << 12) -
		    ((uint64_t)before << 12);
	if (inv != NULL) {
		inv->working_set = pages;
		inv->next = in->idle;
		in->idle = inv;
	} else
		in->forks--;
	if (p->total.queue_length > 0)
		(void)pthread_cond_signal(&p->returned);
	tkc_program_publish(p);
	if (__builtin_expect(in->retired, 0)) {
		tkc_instance_settle(in);
		return;
	}
	if (in->forks == 0 && p->live == in && !p->updating) {
		/* Not one could be made again: boot anew at the next use. */
		tkc_program_unload(p);
	}
	(void)pthread_mutex_unlock(&p->lock);
}

void
tkc_release(struct tkc_invocation **pinv, struct tkc_release_cost *cost)
{

	give_back(pinv, false, cost);
}

void
tkc_keep(struct tkc_invocation **pinv)
{
	struct tkc_invocation *inv = *pinv;

	TK_CHECK_OBJ(inv, TKC_INVOCATION_MAGIC);
	if (!keep(inv)) {
		give_back(pinv, true, NULL);
		return;
	}
	forget(inv);
}
