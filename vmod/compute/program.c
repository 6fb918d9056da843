/*-
 * SPDX-License-Identifier: BSD-2-Clause
 *
 * The life of a program: boot, failure, unloading.
 */

#include <stdarg.h>
#include <stdio.h>

#include "debugging.h"
#include "fetch.h"
#include "guest_regex.h"
#include "object.h"
#include "sockets/sockets.h"
#include "storage.h"

/* What an instance does by itself may go on for so long. */
#define GRACE		(1 * TKC_NS)

void
tkc_log(const struct tkc_program *p, int kind, const char *text, size_t len)
{
	const struct tkc_registry *r = p->registry;

	if (r->iface.log != NULL)
		r->iface.log(r->host, p->name, kind, text, len);
}

void
tkc_logf(const struct tkc_program *p, int kind, const char *fmt, ...)
{
	char buf[TKC_LOG_LINE];
	va_list ap;
	int n;

	va_start(ap, fmt);
	n = vsnprintf(buf, sizeof buf, fmt, ap);
	va_end(ap);
	if (n >= (int)sizeof buf)
		n = (int)sizeof buf - 1;
	if (n > 0)
		tkc_log(p, kind, buf, (size_t)n);
}

int
tkc_from_core(struct tkc_error *err, const char *program,
    const struct tk_error *core)
{
	enum tkc_reason reason;
	char empty[1] = "", *p;

	switch (core->kind) {
	case TK_TIMEOUT:
		reason = TKC_TIMEOUT;
		break;
	case TK_OUT_OF_MEMORY:
		reason = TKC_MEMORY;
		break;
	case TK_HOST:
		reason = TKC_ENVIRONMENT;
		break;
	case TK_BAD_PROGRAM:
		reason = TKC_SETTINGS;
		break;
	default:
		reason = TKC_EXCEPTION;
	}
	(void)tkc_fail(err, reason, "%s: %s", program, core->text);
	/* What a guest put into it, a pattern for one, stays in its line. */
	for (p = err != NULL ? err->text : empty; *p != '\0'; p++)
		if ((unsigned char)*p < ' ' || *p == 0x7f)
			*p = ' ';
	return (reason);
}

struct tkc_program *
tkc_program_new(struct tkc_registry *r, const char *name)
{
	struct tkc_program *p;

	TK_ALLOC_OBJ(p, TKC_PROGRAM_MAGIC);
	if (p == NULL)
		return (NULL);
	p->registry = r;
	p->name = strdup(name);
	p->unknown = json_object();
	p->refused = json_object();
	if (p->name == NULL || p->unknown == NULL || p->refused == NULL) {
		free(p->name);
		json_decref(p->unknown);
		json_decref(p->refused);
		TK_FREE_OBJ(p);
		return (NULL);
	}
	(void)pthread_mutex_init(&p->lock, NULL);
	tkc_cond_init(&p->changed);
	tkc_cond_init(&p->returned);
	return (p);
}

void
tkc_program_free(struct tkc_program **pp)
{
	struct tkc_program *p;
	const struct tkc_registry *r;

	TK_TAKE_OBJ(p, pp, TKC_PROGRAM_MAGIC);
	tk_assert(p->live == NULL && p->state != TKC_BOOTING);
	tk_assert(p->abandoned == NULL);
	free(p->image);
	r = p->registry;
	if (p->slot != NULL && r->iface.counters != NULL)
		r->iface.counters(r->host, p->name, &p->slot, NULL);
	tkc_settings_fini(&p->settings);
	json_decref(p->definition);
	json_decref(p->unknown);
	json_decref(p->refused);
	(void)pthread_cond_destroy(&p->changed);
	(void)pthread_cond_destroy(&p->returned);
	(void)pthread_mutex_destroy(&p->lock);
	free(p->name);
	TK_FREE_OBJ(p);
}

void
tkc_program_publish(struct tkc_program *p)
{
	const struct tkc_registry *r = p->registry;

	p->total.forks = p->live != NULL ? p->live->forks : 0;
	p->total.forks_busy = p->live != NULL ? p->live->busy : 0;
	p->total.master_bytes = p->live != NULL ?
	    tk_master_bytes(p->live->master) : 0;
	p->total.storage_queue = p->total.storage_timers = 0;
	if (p->live != NULL && p->live->storage != NULL) {
		p->total.master_bytes +=
		    tk_master_bytes(p->live->storage->master);
		p->total.storage_queue = p->live->storage->n_waiting;
		p->total.storage_timers = p->live->storage->n_timers;
	}
	if (r->iface.counters != NULL)
		r->iface.counters(r->host, p->name, &p->slot, &p->total);
}

/* More than a guest of good will has; a hostile one may make up names. */
#define MAX_NAMES	64

/* Counts a name; true at its first time. Lock held. */
static bool
count_name(json_t *names, const char *name)
{
	json_int_t n;

	if (json_object_get(names, name) == NULL &&
	    json_object_size(names) >= MAX_NAMES)
		name = "(others)";
	n = json_integer_value(json_object_get(names, name));
	(void)json_object_set_new(names, name, json_integer(n + 1));
	return (n == 0);
}

void
tkc_program_unknown(struct tkc_program *p, const char *call)
{
	bool first;

	(void)pthread_mutex_lock(&p->lock);
	first = count_name(p->unknown, call);
	p->total.unknown_calls++;
	(void)pthread_mutex_unlock(&p->lock);
	if (first)
		tkc_logf(p, TKC_LOG_INFO, "calls %s, which is not "
		    "implemented: ENOSYS", call);
}

void
tkc_program_refused(struct tkc_program *p, const char *what)
{
	bool first;

	(void)pthread_mutex_lock(&p->lock);
	first = count_name(p->refused, what);
	(void)pthread_mutex_unlock(&p->lock);
	if (first)
		tkc_logf(p, TKC_LOG_INFO, "refused: %s", what);
}

void
tkc_program_changed(struct tkc_program *p)
{

	(void)pthread_cond_broadcast(&p->changed);
	(void)pthread_cond_broadcast(&p->returned);
}

/*--------------------------------------------------------------------
 * Instances
 */

bool
tkc_instance_stopped(const struct tkc_instance *in)
{

	return (tkc_now() >= in->end_at ||
	    (in->booting && !in->program->registry->warm));
}

/* No request is in it any more. */
static void
set_end(struct tkc_instance *in)
{

	if (in->end_at == UINT64_MAX)
		in->end_at = tkc_now() + GRACE;
}

static void
instance_free(struct tkc_instance *in)
{

	TK_CHECK_OBJ(in, TKC_INSTANCE_MAGIC);
	tk_assert(in->forks == 0 && in->idle == NULL);
	set_end(in);
	tkc_sockets_free(in);
	if (in->master != NULL)
		tk_master_free(&in->master);
	/* Its tasks may be fetching. */
	if (in->storage != NULL)
		tkc_storage_free(&in->storage);
	if (in->regexes != NULL)
		tkc_regexes_free(&in->regexes);
	if (in->fetcher != NULL)
		tkc_fetcher_free(&in->fetcher);
	if (in->allowed_fetch != NULL)
		tkc_allow_free(&in->allowed_fetch);
	free(in->debugging.file);
	TK_FREE_OBJ(in);
}

void
tkc_instance_free(struct tkc_instance **pin)
{
	struct tkc_invocation *inv;
	struct tkc_instance *in;

	TK_TAKE_OBJ(in, pin, TKC_INSTANCE_MAGIC);
	while ((inv = in->idle) != NULL) {
		in->idle = inv->next;
		in->forks--;
		tkc_invocation_free(&inv);
	}
	instance_free(in);
}

void
tkc_instance_settle(struct tkc_instance *in)
{
	struct tkc_program *p = in->program;
	struct tkc_invocation *inv;
	bool last;

	/* Each counts until it is gone: others may do the same at this time. */
	while (in->retired && (inv = in->idle) != NULL) {
		in->idle = inv->next;
		(void)pthread_mutex_unlock(&p->lock);
		tkc_invocation_free(&inv);
		(void)pthread_mutex_lock(&p->lock);
		in->forks--;
	}
	/* After the last one nobody else knows the instance. */
	last = in->retired && in->forks == 0;
	(void)pthread_mutex_unlock(&p->lock);
	if (last)
		instance_free(in);
}

/* The live one is retired, and the caller's. Lock held. */
static struct tkc_instance *
take_live(struct tkc_program *p)
{
	struct tkc_instance *in = p->live;

	if (in == NULL)
		return (NULL);
	p->live = NULL;
	p->state = TKC_DOWN;
	in->retired = true;
	if (in->storage != NULL)
		tkc_storage_retire(in->storage);
	tkc_sockets_stop(in);
	p->total.working_set_bytes = 0;
	tkc_program_publish(p);
	tkc_program_changed(p);
	return (in);
}

/* Lock held. */
static void
free_abandoned(struct tkc_program *p)
{
	struct tkc_instance *in;

	while ((in = p->abandoned) != NULL) {
		p->abandoned = in->next_abandoned;
		tkc_instance_settle(in);
		(void)pthread_mutex_lock(&p->lock);
	}
}

void
tkc_program_unload(struct tkc_program *p)
{
	struct tkc_instance *in = take_live(p);

	if (in != NULL) {
		tkc_instance_settle(in);
		(void)pthread_mutex_lock(&p->lock);
	}
	free_abandoned(p);
}

void
tkc_program_abandon(struct tkc_program *p)
{
	struct tkc_instance *in = take_live(p);

	/* The last request that it serves frees it, or we remember it. */
	if (in == NULL || in->busy > 0)
		return;
	in->next_abandoned = p->abandoned;
	p->abandoned = in;
}

void
tkc_program_end(struct tkc_program *p)
{
	struct tkc_instance *in;

	/* A live update has its own way, and sees that it is cold. */
	if (p->state != TKC_BOOTING && !p->updating)
		tkc_program_abandon(p);
	for (in = p->abandoned; in != NULL; in = in->next_abandoned)
		set_end(in);
	/* Who waits to boot looks again. */
	tkc_program_changed(p);
}

void
tkc_program_replace(struct tkc_program *p, struct tkc_instance *in)
{
	struct tkc_instance *old = take_live(p);

	p->live = in;
	p->state = TKC_UP;
	p->wanted = true;
	tkc_program_publish(p);
	tkc_program_changed(p);
	if (old != NULL) {
		tkc_instance_settle(old);
		(void)pthread_mutex_lock(&p->lock);
	}
}

void
tkc_program_wait(struct tkc_program *p)
{

	while (p->state == TKC_BOOTING || p->updating)
		(void)pthread_cond_wait(&p->changed, &p->lock);
}

/* With its tasks running, and its sockets open. */
static int
new_instance(struct tkc_program *p, struct tkc_instance **pin,
    struct tkc_error *err)
{
	int e;

	/* State TKC_BOOTING keeps everybody else off settings and image. */
	e = tkc_instance_new(pin, p, p->image, p->image_len, p->debug, err);
	if (e != 0)
		return (e);
	if ((*pin)->storage != NULL)
		e = tkc_tasks_start((*pin)->storage, err);
	if (e == 0)
		e = tkc_sockets_start(*pin, err);
	if (e != 0)
		tkc_instance_free(pin);
	return (e);
}

/* Was it invalidated meanwhile? Then its file is the program. Lock held. */
static bool
is_stale(struct tkc_program *p)
{
	bool stale = p->stale && p->registry->warm;

	if (p->stale) {
		free(p->image);
		p->image = NULL;
	}
	p->stale = false;
	return (stale);
}

void
tkc_program_boot(struct tkc_program *p)
{
	struct tkc_instance *in;
	struct tkc_error err;
	uint64_t start;
	int e;

	(void)pthread_mutex_lock(&p->lock);
	free_abandoned(p);
	(void)pthread_mutex_unlock(&p->lock);
	for (;;) {
		start = tkc_now();
		e = new_instance(p, &in, &err);
		(void)pthread_mutex_lock(&p->lock);
		p->total.boots++;
		p->total.boot_ns = tkc_now() - start;
		if (!is_stale(p))
			break;
		(void)pthread_mutex_unlock(&p->lock);
		tkc_logf(p, TKC_LOG_INFO, "invalidated while it booted: boots "
		    "again");
		if (e == 0)
			tkc_instance_free(&in);
	}
	if (e == 0) {
		tkc_logf(p, TKC_LOG_INFO, "ready after %.1f ms: %u forks, "
		    "%llu KiB", (double)(tkc_now() - start) / 1e6, in->forks,
		    (unsigned long long)(tk_master_bytes(in->master) >> 10));
		p->live = in;
		p->state = TKC_UP;
		p->wanted = true;
	} else {
		tkc_log(p, TKC_LOG_ERROR, err.text, strlen(err.text));
		p->total.boot_failures++;
		p->last_error = err;
		p->failed_at = tkc_now();
		/* Stopped: nothing is wrong with it. */
		p->state = err.reason == TKC_STOPPED ? TKC_DOWN : TKC_FAILED;
	}
	tkc_program_publish(p);
	tkc_program_changed(p);
	(void)pthread_mutex_unlock(&p->lock);
}
