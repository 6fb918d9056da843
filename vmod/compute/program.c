/*-
 * SPDX-License-Identifier: BSD-2-Clause
 *
 * The life of a program: boot, failure, unloading.
 */

#include <stdarg.h>
#include <stdio.h>
#include <time.h>

#include "fetch.h"
#include "guest_regex.h"
#include "object.h"
#include "program.h"
#include "source.h"

#define MIB		(1024.0 * 1024.0)

uint64_t
tkc_now(void)
{
	struct timespec ts;

	(void)clock_gettime(CLOCK_MONOTONIC, &ts);
	return ((uint64_t)ts.tv_sec * TKC_NS + (uint64_t)ts.tv_nsec);
}

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
	return (tkc_fail(err, reason, "%s: %s", program, core->text));
}

struct tkc_program *
tkc_program_new(struct tkc_registry *r, const char *name)
{
	pthread_condattr_t attr;
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
	(void)pthread_condattr_init(&attr);
	(void)pthread_condattr_setclock(&attr, CLOCK_MONOTONIC);
	(void)pthread_cond_init(&p->changed, &attr);
	(void)pthread_condattr_destroy(&attr);
	return (p);
}

void
tkc_program_free(struct tkc_program **pp)
{
	struct tkc_program *p;
	const struct tkc_registry *r;

	TK_TAKE_OBJ(p, pp, TKC_PROGRAM_MAGIC);
	tk_assert(p->live == NULL && p->state != TKC_BOOTING);
	r = p->registry;
	if (p->slot != NULL && r->iface.counters != NULL)
		r->iface.counters(r->host, p->name, &p->slot, NULL);
	tkc_settings_fini(&p->settings);
	json_decref(p->definition);
	json_decref(p->unknown);
	json_decref(p->refused);
	(void)pthread_cond_destroy(&p->changed);
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

/*--------------------------------------------------------------------
 * Instances
 */

static void
instance_free(struct tkc_instance *in)
{

	TK_CHECK_OBJ(in, TKC_INSTANCE_MAGIC);
	tk_assert(in->forks == 0 && in->idle == NULL);
	if (in->master != NULL)
		tk_master_free(&in->master);
	if (in->regexes != NULL)
		tkc_regexes_free(&in->regexes);
	if (in->fetcher != NULL)
		tkc_fetcher_free(&in->fetcher);
	if (in->allowed_fetch != NULL)
		tkc_allow_free(&in->allowed_fetch);
	TK_FREE_OBJ(in);
}

void
tkc_instance_settle(struct tkc_instance *in)
{
	struct tkc_program *p = in->program;
	struct tkc_invocation *inv;
	bool last;

	while (in->retired && (inv = in->idle) != NULL) {
		in->idle = inv->next;
		in->forks--;
		last = in->forks == 0;
		(void)pthread_mutex_unlock(&p->lock);
		tkc_invocation_free(&inv);
		/* After the last one nobody else knows the instance. */
		if (last) {
			instance_free(in);
			return;
		}
		(void)pthread_mutex_lock(&p->lock);
	}
	last = in->retired && in->forks == 0;
	(void)pthread_mutex_unlock(&p->lock);
	if (last)
		instance_free(in);
}

void
tkc_program_unload(struct tkc_program *p)
{
	struct tkc_instance *in = p->live;

	if (in == NULL)
		return;
	p->live = NULL;
	p->state = TKC_DOWN;
	in->retired = true;
	p->total.working_set_bytes = 0;
	tkc_program_publish(p);
	(void)pthread_cond_broadcast(&p->changed);
	tkc_instance_settle(in);
	(void)pthread_mutex_lock(&p->lock);
}

/* What main() finds in its environment: the guest ABI. */
static tkc_strings
environment(const struct tkc_program *p, int debug)
{
	const struct tkc_settings *s = &p->settings;
	char *extra[5] = { NULL };
	const char **all;
	tkc_strings env = NULL;
	unsigned i, n = 0, own = 0;

	while (s->environment[own] != NULL)
		own++;
	all = calloc(own + 8, sizeof *all);
	if (all == NULL ||
	    asprintf(&extra[0], "KVM_NAME=%s", p->name) < 0 ||
	    asprintf(&extra[1], "KVM_GROUP=%s", s->group) < 0)
		goto out;
	all[n++] = "LC_TYPE=C";
	all[n++] = "LC_ALL=C";
	all[n++] = "USER=root";
	for (i = 0; i < own; i++)
		all[n++] = s->environment[i];
	all[n++] = extra[0];
	all[n++] = extra[1];
	all[n++] = "KVM_TYPE=request";
	all[n++] = "KVM_STATE=state";
	all[n++] = debug ? "KVM_DEBUG=1" : "KVM_DEBUG=0";
	env = tkc_strings_copy(all, n);
out:
	free(extra[0]);
	free(extra[1]);
	free(all);
	return (env);
}

static tkc_strings
arguments(const struct tkc_program *p)
{
	const struct tkc_settings *s = &p->settings;
	const char **all;
	tkc_strings args;
	unsigned n = 0;

	while (s->main_arguments[n] != NULL)
		n++;
	all = calloc(n + 2, sizeof *all);
	if (all == NULL)
		return (NULL);
	all[0] = p->name;
	memcpy(all + 1, s->main_arguments, n * sizeof *all);
	args = tkc_strings_copy(all, n + 1);
	free(all);
	return (args);
}

/* The words for a program that did not get as far as it should. */
static int
boot_error(const struct tkc_program *p, const struct tk_error *core,
    struct tkc_error *err)
{

	switch (core->kind) {
	case TK_HOST:
		return (tkc_fail(err, TKC_ENVIRONMENT, "%s: %s", p->name,
		    core->text));
	case TK_BAD_PROGRAM:
		return (tkc_fail(err, TKC_BOOT, "%s: %s: %s", p->name,
		    p->settings.uri != NULL ? p->settings.uri :
		    p->settings.filename, core->text));
	case TK_TIMEOUT:
		return (tkc_fail(err, TKC_BOOT, "%s: did not wait for "
		    "requests within max_boot_time: %s", p->name,
		    core->text));
	default:
		return (tkc_fail(err, TKC_BOOT, "%s: ended before it waited "
		    "for requests: %s", p->name, core->text));
	}
}

/* As nothing had run yet. */
static void
instance_init(struct tkc_instance *in)
{
	const struct tkc_settings *s = &in->program->settings;

	memset(in->handler, 0, sizeof in->handler);
	in->waits = false;
	in->paused = 0;
	in->line_len = 0;
	if (in->regexes != NULL)
		tkc_regexes_free(&in->regexes);
	in->ephemeral = s->ephemeral;
}

static int
run_master(const struct tkc_program *p, struct tkc_instance *in,
    struct tk_boot_options *o, struct tk_error *core)
{
	int e;

	in->boot_deadline = tkc_now() +
	    (uint64_t)(p->settings.max_boot_time * (double)TKC_NS);
	e = tk_boot(&in->master, o, core);
	if (e == 0 || !in->warmup_failed)
		return (e);
	/* What a failed request left is nothing to fork from. */
	tkc_logf(p, TKC_LOG_ERROR, "warm-up failed, booting again without: "
	    "%s", core->text);
	instance_init(in);
	o->warm = NULL;
	return (tk_boot(&in->master, o, core));
}

static int
boot_master(struct tkc_program *p, struct tkc_instance *in,
    const struct tkc_blob *image, struct tkc_error *err)
{
	struct tk_boot_options o;
	struct tk_error core;
	tkc_strings argv, envp;
	int e;

	argv = arguments(p);
	envp = environment(p, in->debug);
	if (argv == NULL || envp == NULL) {
		tkc_strings_free(&argv);
		tkc_strings_free(&envp);
		return (tkc_fail(err, TKC_ENVIRONMENT, "Out of memory"));
	}
	memset(&o, 0, sizeof o);
	o.name = p->name;
	o.elf = image->data;
	o.elf_len = image->len;
	o.argv = (const char *const *)argv;
	o.envp = (const char *const *)envp;
	o.memory = (uint64_t)(in->memory * MIB);
	o.request_memory = (uint64_t)(in->request_memory * MIB);
	o.input_size = o.request_memory;
	o.executable_heap = p->settings.executable_heap;
	o.may_serve = true;
	tkc_paths_look(&p->settings.allowed_paths);
	o.paths = p->settings.allowed_paths.path;
	o.n_paths = p->settings.allowed_paths.n;
	o.cwd = p->settings.cwd;
	o.seconds = p->settings.max_boot_time;
	o.ops = p->settings.verbose_syscalls ? &tkc_traced_ops :
	    &tkc_guest_ops;
	o.priv = in;
	if (p->settings.warmup.num_requests > 0)
		o.warm = tkc_warm;
	e = run_master(p, in, &o, &core);
	tkc_strings_free(&argv);
	tkc_strings_free(&envp);
	if (e != 0)
		return (boot_error(p, &core, err));
	in->serves = tk_serves(in->master);
	if (in->serves && o.warm != NULL)
		tkc_logf(p, TKC_LOG_INFO, "not warmed up: it listens on a "
		    "socket");
	if (in->serves && !in->ephemeral)
		tkc_logf(p, TKC_LOG_ERROR, "is reset after each request all "
		    "the same: it listens on a socket");
	if (!tkc_has_request_handler(in))
		return (tkc_fail(err, TKC_BOOT, "%s: waits for requests but "
		    "registered no handler for GET, POST or any method",
		    p->name));
	return (0);
}

static int
boot(struct tkc_program *p, struct tkc_instance *in, struct tkc_error *err)
{
	struct tkc_invocation *inv;
	struct tkc_blob image;
	unsigned i, n = (unsigned)p->settings.concurrency;
	int e;

	e = tkc_source_program(p, &image, err);
	if (e != 0)
		return (e);
	in->allowed_fetch = tkc_allow_new(p->settings.allowed_fetch);
	e = in->allowed_fetch == NULL ?
	    tkc_fail(err, TKC_ENVIRONMENT, "Out of memory") :
	    boot_master(p, in, &image, err);
	free(image.data);
	if (in->fetcher != NULL)
		tkc_fetcher_free(&in->fetcher);
	for (i = 0; i < n && e == 0; i++) {
		e = tkc_fork_new(in, &inv, err);
		if (e == 0) {
			inv->next = in->idle;
			in->idle = inv;
			in->forks++;
		} else if (i > 0) {
			/* Fewer than wanted, but it can serve. */
			tkc_logf(p, TKC_LOG_ERROR, "only %u of %u forks: %s",
			    i, n, err->text);
			return (0);
		}
	}
	return (e);
}

void
tkc_program_boot(struct tkc_program *p, int debug)
{
	struct tkc_instance *in;
	struct tkc_error err;
	uint64_t start = tkc_now();
	int e;

	/* State TKC_BOOTING keeps everybody else off the settings. */
	TK_ALLOC_OBJ(in, TKC_INSTANCE_MAGIC);
	if (in == NULL)
		e = tkc_fail(&err, TKC_ENVIRONMENT, "Out of memory");
	else {
		in->program = p;
		instance_init(in);
		in->debug = debug != 0;
		in->keeps_memory = p->settings.ephemeral_keep_working_memory;
		in->kept_memory = p->settings.req_mem_limit_after_reset;
		in->request_time = p->settings.max_request_time;
		in->memory = p->settings.max_memory;
		in->request_memory = p->settings.max_request_memory;
		in->smp = (unsigned)p->settings.smp;
		e = boot(p, in, &err);
	}
	if (e == 0)
		tkc_logf(p, TKC_LOG_INFO, "ready after %.1f ms: %u forks, "
		    "%llu KiB", (double)(tkc_now() - start) / 1e6, in->forks,
		    (unsigned long long)(tk_master_bytes(in->master) >> 10));
	else
		tkc_log(p, TKC_LOG_ERROR, err.text, strlen(err.text));
	(void)pthread_mutex_lock(&p->lock);
	p->total.boots++;
	p->total.boot_ns = tkc_now() - start;
	if (e == 0) {
		p->live = in;
		p->state = TKC_UP;
		p->wanted = true;
		in = NULL;
	} else {
		p->total.boot_failures++;
		p->last_error = err;
		p->failed_at = tkc_now();
		p->state = TKC_FAILED;
	}
	tkc_program_publish(p);
	(void)pthread_cond_broadcast(&p->changed);
	if (in == NULL) {
		(void)pthread_mutex_unlock(&p->lock);
		return;
	}
	/* Nobody else ever saw it. */
	in->retired = true;
	tkc_instance_settle(in);
}
