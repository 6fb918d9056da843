/*-
 * SPDX-License-Identifier: BSD-2-Clause
 *
 * The programs of one VCL: definition, lookup, start, temperature.
 */

#include <stdatomic.h>
#include <stdlib.h>
#include <string.h>
#include <sys/types.h>

#include "fetch.h"
#include "object.h"
#include "program.h"
#include "regex.h"
#include "source.h"

#define MAX_NAME	127

/* From the end of a load to its VCL's becoming warm: microseconds, usually. */
#define LOAD_SECONDS	1.0

struct tkc_registry *
tkc_registry_new(const struct tkc_host_interface *iface, void *host)
{
	struct tkc_registry *r;

	TK_ALLOC_OBJ(r, TKC_REGISTRY_MAGIC);
	if (r == NULL)
		return (NULL);
	r->groups = json_object();
	if (r->groups == NULL) {
		TK_FREE_OBJ(r);
		return (NULL);
	}
	if (iface != NULL)
		r->iface = *iface;
	r->host = host;
	r->warm = true;
	(void)pthread_mutex_init(&r->lock, NULL);
	tkc_cond_init(&r->idle);
	return (r);
}

/* Whoever waits whether it becomes warm waits no longer. */
static void
end_watch(struct tkc_registry *r)
{
	bool watched;

	(void)pthread_mutex_lock(&r->lock);
	watched = r->watched;
	r->watched = r->loaded = false;
	(void)pthread_cond_broadcast(&r->idle);
	(void)pthread_mutex_unlock(&r->lock);
	if (watched)
		(void)pthread_join(r->watch, NULL);
}

void
tkc_registry_free(struct tkc_registry **pr)
{
	struct tkc_registry *r;
	struct tkc_program *p;
	struct tkc_self *self;

	TK_TAKE_OBJ(r, pr, TKC_REGISTRY_MAGIC);
	end_watch(r);
	tkc_registry_cold(r);
	while ((p = r->programs) != NULL) {
		r->programs = p->next;
		tkc_program_free(&p);
	}
	json_decref(r->groups);
	self = r->self;
	if (self != NULL)
		tkc_self_free(&self);
	(void)pthread_cond_destroy(&r->idle);
	(void)pthread_mutex_destroy(&r->lock);
	TK_FREE_OBJ(r);
}

int
tkc_self_requests(struct tkc_registry *r, const char *unix_socket,
    const char *http_prefix, unsigned most, struct tkc_error *err)
{
	struct tkc_self *s, *none = NULL;
	const char *wrong;

	TK_CHECK_OBJ(r, TKC_REGISTRY_MAGIC);
	s = tkc_self_new(unix_socket, http_prefix, most, &wrong);
	if (s == NULL)
		return (tkc_fail(err, TKC_SETTINGS, "%s", wrong));
	/* Programs that boot already may be using it. */
	if (!atomic_compare_exchange_strong(&r->self, &none, s)) {
		tkc_self_free(&s);
		return (tkc_fail(err, TKC_SETTINGS, "it was called before in "
		    "this VCL"));
	}
	return (0);
}

/*--------------------------------------------------------------------
 * Definitions
 *
 * The JSON that is kept, of groups and of programs, is nobody else's: others
 * take copies, under the registry's lock, so that no count of references is
 * changed by two threads at once.
 */

/* Registry lock held. */
static struct tkc_program *
lookup(const struct tkc_registry *r, const char *name)
{
	struct tkc_program *p;

	for (p = r->programs; p != NULL; p = p->next)
		if (strcmp(p->name, name) == 0)
			return (p);
	return (NULL);
}

struct tkc_program *
tkc_find(struct tkc_registry *r, const char *name, struct tkc_error *err)
{
	struct tkc_program *p;

	TK_CHECK_OBJ(r, TKC_REGISTRY_MAGIC);
	(void)pthread_mutex_lock(&r->lock);
	p = lookup(r, name);
	(void)pthread_mutex_unlock(&r->lock);
	if (p == NULL)
		(void)tkc_fail(err, TKC_NOTFOUND, "there is no program "
		    "\"%.128s\": define it with library() or configure()",
		    name);
	return (p);
}

const char *
tkc_program_name(const struct tkc_program *p)
{

	TK_CHECK_OBJ(p, TKC_PROGRAM_MAGIC);
	return (p->name);
}

static bool
is_program(const json_t *j)
{

	return (json_object_get(j, "group") != NULL ||
	    json_object_get(j, "filename") != NULL ||
	    json_object_get(j, "uri") != NULL);
}

static void
tell_inert(void *arg, const char *key)
{

	tkc_logf(arg, TKC_LOG_INFO, "the setting \"%s\" has no effect in this "
	    "version", key);
}

/* It becomes part of JSON, of the log, and of counters' names. */
static bool
is_name(const char *name)
{
	json_t *text;
	size_t i;

	if (name[0] == '\0' || strlen(name) > MAX_NAME)
		return (false);
	for (i = 0; name[i] != '\0'; i++)
		if ((unsigned char)name[i] < ' ' || name[i] == 0x7f)
			return (false);
	/* Only UTF-8 can be a string of JSON. */
	text = json_string(name);
	json_decref(text);
	return (text != NULL);
}

/*
 * Makes a program of a definition, not yet in the registry: its group is
 * looked up in `groups`, and its file is looked at.
 */
static int
new_program(struct tkc_registry *r, const json_t *groups, const char *name,
    const json_t *definition, struct tkc_program **pp, struct tkc_error *err)
{
	const json_t *group;
	struct tkc_program *p;
	int e;

	if (!is_name(name))
		return (tkc_fail(err, TKC_SETTINGS, "a program's name is of 1 "
		    "to %d bytes of UTF-8 without control characters: this "
		    "one has %zu", MAX_NAME, strlen(name)));
	p = tkc_program_new(r, name);
	if (p == NULL)
		return (tkc_fail(err, TKC_ENVIRONMENT, "Out of memory"));
	p->definition = json_deep_copy(definition);
	if (p->definition == NULL) {
		tkc_program_free(&p);
		return (tkc_fail(err, TKC_ENVIRONMENT, "Out of memory"));
	}
	group = json_object_get(definition, "group");
	if (json_is_string(group))
		group = json_object_get(groups, json_string_value(group));
	else
		group = json_object_get(groups, "test");
	e = tkc_settings_read(&p->settings, name, group, definition, err);
	if (e == 0)
		e = tkc_source_check(p, err);
	if (e != 0) {
		tkc_program_free(&p);
		return (e);
	}
	*pp = p;
	return (0);
}

/* Program's lock held. */
static void
swap_definition(struct tkc_program *p, struct tkc_program *with)
{
	struct tkc_settings s = p->settings;
	json_t *d;

	p->settings = with->settings;
	with->settings = s;
	(void)pthread_mutex_lock(&p->registry->lock);
	d = p->definition;
	p->definition = with->definition;
	with->definition = d;
	(void)pthread_mutex_unlock(&p->registry->lock);
}

/*
 * A program's settings are read by its boot without a lock, so one that boots
 * now is waited for.
 */
static void
adopt(struct tkc_registry *r, struct tkc_program *fresh)
{
	bool start = fresh->settings.start;
	struct tkc_program *p;

	tkc_settings_inert(fresh->definition, tell_inert, fresh);
	(void)pthread_mutex_lock(&r->lock);
	p = lookup(r, fresh->name);
	if (p == NULL) {
		fresh->next = r->programs;
		r->programs = fresh;
	}
	(void)pthread_mutex_unlock(&r->lock);
	if (p != NULL) {
		(void)pthread_mutex_lock(&p->lock);
		tkc_program_wait(p);
		swap_definition(p, fresh);
		free(p->image);
		p->image = NULL;
		tkc_program_unload(p);
		if (p->state == TKC_FAILED)
			p->state = TKC_DOWN;
		(void)pthread_mutex_unlock(&p->lock);
		tkc_program_free(&fresh);
		fresh = p;
	}
	(void)pthread_mutex_lock(&fresh->lock);
	tkc_program_publish(fresh);
	(void)pthread_mutex_unlock(&fresh->lock);
	if (start)
		(void)tkc_start(fresh, 1, 0, NULL);
}

/* Those of `all` that are no programs join the groups. False: no memory. */
static bool
add_groups(json_t *groups, json_t *all)
{
	const char *name;
	json_t *v;

	json_object_foreach(all, name, v)
		if (!is_program(v) && json_object_set_new(groups, name,
		    json_deep_copy(v)) != 0)
			return (false);
	return (true);
}

static int
define_all(struct tkc_registry *r, json_t *all, const char *origin,
    struct tkc_error *err)
{
	struct tkc_program *made = NULL, *p;
	json_t *groups, *v;
	const char *name;
	int e = 0;

	/* Groups first: they may stand behind their programs. */
	json_object_foreach(all, name, v) {
		if (!json_is_object(v))
			e = tkc_fail(err, TKC_SETTINGS, "%s: \"%.64s\" is "
			    "neither a program nor a group: { ... } is "
			    "expected", origin, name);
		else if (!is_program(v))
			e = tkc_settings_check(name, v, err);
		if (e != 0)
			return (e);
	}
	(void)pthread_mutex_lock(&r->lock);
	groups = json_deep_copy(r->groups);
	(void)pthread_mutex_unlock(&r->lock);
	if (groups == NULL || !add_groups(groups, all)) {
		json_decref(groups);
		return (tkc_fail(err, TKC_ENVIRONMENT, "Out of memory"));
	}
	json_object_foreach(all, name, v) {
		if (!is_program(v))
			continue;
		e = new_program(r, groups, name, v, &p, err);
		if (e != 0)
			break;
		p->next = made;
		made = p;
	}
	if (e == 0) {
		(void)pthread_mutex_lock(&r->lock);
		if (!add_groups(r->groups, all))
			e = tkc_fail(err, TKC_ENVIRONMENT, "Out of memory");
		(void)pthread_mutex_unlock(&r->lock);
	}
	while ((p = made) != NULL) {
		made = p->next;
		p->next = NULL;
		if (e == 0)
			adopt(r, p);
		else
			tkc_program_free(&p);
	}
	json_decref(groups);
	return (e);
}

int
tkc_library(struct tkc_registry *r, const char *json, size_t len,
    const char *origin, struct tkc_error *err)
{
	json_t *all;
	int e;

	TK_CHECK_OBJ(r, TKC_REGISTRY_MAGIC);
	all = tkc_json_parse(json, len, origin, err);
	if (all == NULL)
		return (err->reason);
	e = define_all(r, all, origin, err);
	json_decref(all);
	return (e);
}

int
tkc_configure(struct tkc_registry *r, const char *name, const char *json,
    struct tkc_error *err)
{
	struct tkc_program *p;
	json_t *own, *groups, *base = NULL;
	int e;

	TK_CHECK_OBJ(r, TKC_REGISTRY_MAGIC);
	own = tkc_json_parse(json, strlen(json), name, err);
	if (own == NULL)
		return (err->reason);
	(void)pthread_mutex_lock(&r->lock);
	p = lookup(r, name);
	if (p != NULL)
		base = json_deep_copy(p->definition);
	groups = json_deep_copy(r->groups);
	(void)pthread_mutex_unlock(&r->lock);
	/* Overriding: what is not named stays. */
	if (groups == NULL || (p != NULL && (base == NULL ||
	    json_object_update_missing(own, base) != 0)))
		e = tkc_fail(err, TKC_ENVIRONMENT, "Out of memory");
	else
		e = new_program(r, groups, name, own, &p, err);
	if (e == 0)
		adopt(r, p);
	json_decref(groups);
	json_decref(base);
	json_decref(own);
	return (e);
}

int
tkc_main_arguments(struct tkc_registry *r, const char *name,
    const char *const *arguments, unsigned n, struct tkc_error *err)
{
	struct tkc_program *p;
	tkc_strings args;

	p = tkc_find(r, name, err);
	if (p == NULL)
		return (TKC_NOTFOUND);
	args = tkc_strings_copy(arguments, n);
	if (args == NULL)
		return (tkc_fail(err, TKC_ENVIRONMENT, "Out of memory"));
	(void)pthread_mutex_lock(&p->lock);
	tkc_program_wait(p);
	tkc_strings_free(&p->settings.main_arguments);
	p->settings.main_arguments = args;
	(void)pthread_mutex_unlock(&p->lock);
	return (0);
}

/*--------------------------------------------------------------------
 * Start and stop
 */

static void *
boot_thread(void *arg)
{
	struct tkc_program *p = arg;
	struct tkc_registry *r = p->registry;

	tkc_program_boot(p);
	(void)pthread_mutex_lock(&r->lock);
	r->boot_threads--;
	(void)pthread_cond_broadcast(&r->idle);
	(void)pthread_mutex_unlock(&r->lock);
	return (NULL);
}

/* Boots on a thread of its own; on this one when there can be none. */
static void
boot_apart(struct tkc_program *p)
{
	struct tkc_registry *r = p->registry;
	pthread_attr_t attr;
	pthread_t thread;
	int e;

	(void)pthread_mutex_lock(&r->lock);
	r->boot_threads++;
	(void)pthread_mutex_unlock(&r->lock);
	(void)pthread_attr_init(&attr);
	(void)pthread_attr_setdetachstate(&attr, PTHREAD_CREATE_DETACHED);
	e = pthread_create(&thread, &attr, boot_thread, p);
	(void)pthread_attr_destroy(&attr);
	if (e != 0)
		(void)boot_thread(p);
}

/* Is it, or will it be when it is up, one that was started for debugging? */
static bool
for_debugging(const struct tkc_program *p)
{

	return (p->live != NULL ? p->live->debug : p->debug);
}

int
tkc_start(struct tkc_program *p, int async, int debug, struct tkc_error *err)
{
	int e = 0;

	TK_CHECK_OBJ(p, TKC_PROGRAM_MAGIC);
	(void)pthread_mutex_lock(&p->lock);
	p->wanted = true;
	if (p->state == TKC_DOWN || p->state == TKC_FAILED) {
		/* Booted again it is as it was asked for. */
		p->debug |= debug != 0;
		p->state = TKC_BOOTING;
		(void)pthread_mutex_unlock(&p->lock);
		if (async)
			boot_apart(p);
		else
			tkc_program_boot(p);
		(void)pthread_mutex_lock(&p->lock);
	} else if (debug && !for_debugging(p))
		tkc_logf(p, TKC_LOG_ERROR, "start() with debug: it runs "
		    "already, and not for debugging: leave out what starts it "
		    "before (the setting \"start\", another start())");
	if (!async) {
		while (p->state == TKC_BOOTING)
			(void)pthread_cond_wait(&p->changed, &p->lock);
		if (p->state != TKC_UP) {
			e = p->last_error.reason;
			if (err != NULL)
				*err = p->last_error;
		}
	}
	(void)pthread_mutex_unlock(&p->lock);
	return (e);
}

/* The list only grows until the registry is freed. */
static struct tkc_program *
first_program(struct tkc_registry *r)
{
	struct tkc_program *p;

	(void)pthread_mutex_lock(&r->lock);
	p = r->programs;
	(void)pthread_mutex_unlock(&r->lock);
	return (p);
}

/* Lock held, given up meanwhile. Will it be booted anew, or was it? */
static bool
invalidate(struct tkc_program *p)
{
	bool was_up;

	while (p->updating)
		(void)pthread_cond_wait(&p->changed, &p->lock);
	if (p->state == TKC_BOOTING) {
		/* From what may be old already: whoever boots it looks. */
		p->stale = true;
		return (true);
	}
	was_up = p->live != NULL;
	if (tkc_can_reload(p)) {
		if (tkc_reload(p, NULL) == 0)
			return (true);
		if (p->live != NULL || p->state == TKC_BOOTING)
			return (false);
	}
	/* First: it may be booted again before the unloading is done. */
	free(p->image);
	p->image = NULL;
	if (p->state == TKC_FAILED)
		p->state = TKC_DOWN;
	tkc_program_unload(p);
	return (was_up);
}

int
tkc_invalidate(struct tkc_registry *r, const char *pattern,
    struct tkc_error *err)
{
	struct tkc_program *p;
	struct tkc_regex *re;
	int n = 0;

	TK_CHECK_OBJ(r, TKC_REGISTRY_MAGIC);
	re = tkc_regex_new(pattern, err);
	if (re == NULL)
		return (-1);
	for (p = first_program(r); p != NULL; p = p->next) {
		if (!tkc_regex_match(re, p->name))
			continue;
		(void)pthread_mutex_lock(&p->lock);
		n += invalidate(p);
		(void)pthread_mutex_unlock(&p->lock);
	}
	tkc_regex_free(&re);
	return (n);
}

/* wait: for what boots, first. */
static void
end_all(struct tkc_registry *r, bool wait)
{
	struct tkc_program *p;

	for (p = first_program(r); p != NULL; p = p->next) {
		(void)pthread_mutex_lock(&p->lock);
		if (wait)
			tkc_program_wait(p);
		tkc_program_end(p);
		(void)pthread_mutex_unlock(&p->lock);
	}
}

void
tkc_registry_cold(struct tkc_registry *r)
{
	struct tkc_program *p;

	TK_CHECK_OBJ(r, TKC_REGISTRY_MAGIC);
	r->warm = false;
	/* All at the same time: their graces are one. */
	end_all(r, false);
	(void)pthread_mutex_lock(&r->lock);
	while (r->boot_threads > 0)
		(void)pthread_cond_wait(&r->idle, &r->lock);
	(void)pthread_mutex_unlock(&r->lock);
	/* Those that were up before they heard of it, too. */
	end_all(r, true);
	for (p = first_program(r); p != NULL; p = p->next) {
		(void)pthread_mutex_lock(&p->lock);
		tkc_program_wait(p);
		tkc_program_unload(p);
		tkc_program_changed(p);
		(void)pthread_mutex_unlock(&p->lock);
	}
}

void
tkc_registry_warm(struct tkc_registry *r)
{
	struct tkc_program *p;

	TK_CHECK_OBJ(r, TKC_REGISTRY_MAGIC);
	end_watch(r);
	if (r->warm)
		return;
	r->warm = true;
	for (p = first_program(r); p != NULL; p = p->next)
		if (p->wanted || p->settings.start)
			(void)tkc_start(p, 1, 0, NULL);
}

static void *
watch_thread(void *arg)
{
	struct tkc_registry *r = arg;
	uint64_t until = tkc_after(LOAD_SECONDS);
	bool cold, in_time = true;

	(void)pthread_mutex_lock(&r->lock);
	while (r->loaded && in_time)
		in_time = tkc_wait_until(&r->idle, &r->lock, until);
	cold = r->loaded;
	(void)pthread_mutex_unlock(&r->lock);
	if (cold)
		tkc_registry_cold(r);
	return (NULL);
}

void
tkc_registry_loaded(struct tkc_registry *r)
{

	TK_CHECK_OBJ(r, TKC_REGISTRY_MAGIC);
	(void)pthread_mutex_lock(&r->lock);
	r->loaded = true;
	/* Without a thread they go on, as they did in vcl_init. */
	r->watched = pthread_create(&r->watch, NULL, watch_thread, r) == 0;
	(void)pthread_mutex_unlock(&r->lock);
}
