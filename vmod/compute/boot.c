/*-
 * SPDX-License-Identifier: BSD-2-Clause
 *
 * One boot of a program: what main() is given, storage, the master, the forks.
 */

#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include "debugging.h"
#include "fetch.h"
#include "guest_regex.h"
#include "object.h"
#include "program.h"
#include "source.h"
#include "state.h"
#include "storage.h"

#define MIB		(1024.0 * 1024.0)

/* Has one of these the name of this one, before its "="? */
static bool
is_named(const char *const *all, unsigned n, const char *entry)
{
	size_t len = strcspn(entry, "=");
	unsigned i;

	for (i = 0; i < n; i++)
		if (strncmp(all[i], entry, len) == 0 &&
		    (all[i][len] == '=' || all[i][len] == '\0'))
			return (true);
	return (false);
}

/*
 * What main() finds in its environment: the guest ABI. A name stands once: what
 * is configured is instead of a default, and not instead of what KVM_* say.
 */
static tkc_strings
environment(const struct tkc_program *p, const char *type, int debug)
{
	const struct tkc_settings *s = &p->settings;
	static const char *const defaults[] = {
		"LC_TYPE=C", "LC_ALL=C", "USER=root"
	};
	char *extra[3] = { NULL };
	const char **all, *last[5];
	tkc_strings env = NULL;
	unsigned i, n = 0, own = 0;

	while (s->environment[own] != NULL)
		own++;
	all = calloc(own + 9, sizeof *all);
	if (all == NULL ||
	    asprintf(&extra[0], "KVM_NAME=%s", p->name) < 0 ||
	    asprintf(&extra[1], "KVM_GROUP=%s", s->group) < 0 ||
	    asprintf(&extra[2], "KVM_TYPE=%s", type) < 0)
		goto out;
	last[0] = extra[0];
	last[1] = extra[1];
	last[2] = extra[2];
	last[3] = "KVM_STATE=state";
	last[4] = debug ? "KVM_DEBUG=1" : "KVM_DEBUG=0";
	for (i = 0; i < 3; i++)
		if (!is_named((const char *const *)s->environment, own,
		    defaults[i]))
			all[n++] = defaults[i];
	for (i = 0; i < own; i++)
		if (!is_named(last, 5, s->environment[i]))
			all[n++] = s->environment[i];
	for (i = 0; i < 5; i++)
		all[n++] = last[i];
	env = tkc_strings_copy(all, n);
out:
	free(extra[0]);
	free(extra[1]);
	free(extra[2]);
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

static int
stopped(const struct tkc_program *p, struct tkc_error *err)
{

	return (tkc_fail(err, TKC_STOPPED, "%s: its VCL became cold while it "
	    "booted", p->name));
}

/* The words for a program that did not get as far as it should. */
static int
boot_error(const struct tkc_program *p, const char *type,
    const struct tk_error *core, struct tkc_error *err)
{
	const char *which = strcmp(type, "storage") == 0 ? "storage: " : "";

	if (!p->registry->warm)
		return (stopped(p, err));
	switch (core->kind) {
	case TK_HOST:
		return (tkc_fail(err, TKC_ENVIRONMENT, "%s: %s%s", p->name,
		    which, core->text));
	case TK_BAD_PROGRAM:
		return (tkc_fail(err, TKC_BOOT, "%s: %s%s: %s", p->name, which,
		    p->settings.uri != NULL ? p->settings.uri :
		    p->settings.filename, core->text));
	case TK_TIMEOUT:
		return (tkc_fail(err, TKC_BOOT, "%s: %sdid not wait for "
		    "requests within max_boot_time: %s", p->name, which,
		    core->text));
	default:
		return (tkc_fail(err, TKC_BOOT, "%s: %sended before it waited "
		    "for requests: %s", p->name, which, core->text));
	}
}

/* As nothing had run yet. */
static void
instance_init(struct tkc_instance *in)
{
	const struct tkc_settings *s = &in->program->settings;

	memset(in->handler, 0, sizeof in->handler);
	in->paused = 0;
	in->line_len = 0;
	if (in->regexes != NULL)
		tkc_regexes_free(&in->regexes);
	in->ephemeral = s->ephemeral;
}

/* What a boot is given that has to be freed after it. */
struct boot_lists {
	tkc_strings	argv, envp;
	struct tk_path	*paths;
	char		*state, *seen;
};

static void
lists_fini(struct boot_lists *l)
{

	tkc_strings_free(&l->argv);
	tkc_strings_free(&l->envp);
	free(l->paths);
	free(l->state);
	free(l->seen);
}

/* The allowed paths, behind the file "state" when there is storage. */
static bool
list_paths(struct tkc_program *p, struct tk_given_file *state,
    struct boot_lists *l, struct tk_boot_options *o)
{
	struct tkc_paths *allowed = &p->settings.allowed_paths;
	const char *cwd = p->settings.cwd;

	tkc_paths_look(allowed);
	l->paths = calloc(allowed->n + 1, sizeof *l->paths);
	if (l->paths == NULL)
		return (false);
	o->paths = l->paths;
	if (p->settings.storage) {
		l->state = tkc_state_path(p);
		if (l->state == NULL || asprintf(&l->seen, "%s/state",
		    strcmp(cwd, "/") == 0 ? "" : cwd) < 0)
			return (false);
		l->paths->virtual_path = l->seen;
		l->paths->real_path = l->state;
		l->paths->writable = state != NULL;
		l->paths->given = state;
		o->n_paths = 1;
	}
	if (allowed->n > 0)
		memcpy(l->paths + o->n_paths, allowed->path,
		    allowed->n * sizeof *l->paths);
	o->n_paths += allowed->n;
	return (true);
}

int
tkc_boot_master(struct tkc_instance *in, const char *type, const void *image,
    size_t len, struct tk_boot_options *o, struct tk_given_file *state,
    struct tk_master **pma, struct tkc_error *err)
{
	struct tkc_program *p = in->program;
	struct boot_lists l;
	struct tk_error core;
	int e;

	memset(&l, 0, sizeof l);
	l.argv = arguments(p);
	l.envp = environment(p, type, in->debug);
	if (l.argv == NULL || l.envp == NULL || !list_paths(p, state, &l, o)) {
		lists_fini(&l);
		return (tkc_fail(err, TKC_ENVIRONMENT, "Out of memory"));
	}
	o->elf = image;
	o->elf_len = len;
	o->argv = (const char *const *)l.argv;
	o->envp = (const char *const *)l.envp;
	o->memory = (uint64_t)(in->memory * MIB);
	o->executable_heap = p->settings.executable_heap;
	o->cwd = p->settings.cwd;
	o->seconds = p->settings.max_boot_time;
	o->ops = p->settings.verbose_syscalls ? &tkc_traced_ops :
	    &tkc_guest_ops;
	in->boot_deadline = tkc_after(o->seconds);
	e = tk_boot(pma, o, &core);
	if (e != 0 && o->warm != NULL && in->warmup_failed &&
	    !tkc_instance_stopped(in)) {
		/* What a failed request left is nothing to fork from. */
		tkc_logf(p, TKC_LOG_ERROR, "warm-up failed, booting again "
		    "without: %s", core.text);
		instance_init(in);
		o->warm = NULL;
		e = tk_boot(pma, o, &core);
	}
	lists_fini(&l);
	return (e != 0 ? boot_error(p, type, &core, err) : 0);
}

static int
boot_master(struct tkc_program *p, struct tkc_instance *in, const void *image,
    size_t len, struct tkc_error *err)
{
	struct tk_boot_options o;
	int e;

	memset(&o, 0, sizeof o);
	o.priv = in;
	o.request_memory = (uint64_t)(in->request_memory * MIB);
	o.input_size = o.request_memory;
	o.may_serve = true;
	o.private_text = in->debugging.breakpoints || in->debugging.failures;
	if (in->storage != NULL)
		o.shared_of = in->storage->master;
	else
		o.shared_memory = (uint64_t)(p->settings.shared_memory * MIB);
	if (p->settings.warmup.num_requests > 0)
		o.warm = tkc_warm;
	e = tkc_boot_master(in, "request", image, len, &o, NULL, &in->master,
	    err);
	if (e != 0)
		return (e);
	in->serves = tk_serves(in->master);
	if (in->serves && o.warm != NULL)
		tkc_logf(p, TKC_LOG_INFO, "not warmed up: it listens on a "
		    "socket");
	if (in->serves && !in->ephemeral)
		tkc_logf(p, TKC_LOG_ERROR, "is reset after each request all "
		    "the same: it listens on a socket");
	if (!tkc_has_request_handler(in) &&
	    in->handler[TKC_ON_PREPARE_PAUSE] == 0)
		return (tkc_fail(err, TKC_BOOT, "%s: waits for requests but "
		    "registered no handler for GET, POST or any method",
		    p->name));
	return (0);
}

static int
boot(struct tkc_program *p, struct tkc_instance *in, const void *image,
    size_t len, struct tkc_error *err)
{
	struct tkc_invocation *inv;
	unsigned i, n = in->wanted;
	int e = 0;

	in->allowed_fetch = tkc_allow_new(p->settings.allowed_fetch);
	if (in->allowed_fetch == NULL)
		return (tkc_fail(err, TKC_ENVIRONMENT, "Out of memory"));
	/* Storage first: its state is what requests may read. */
	if (p->settings.storage)
		e = tkc_storage_boot(in, image, len, err);
	if (e == 0 && tkc_instance_stopped(in))
		e = stopped(p, err);
	if (e == 0)
		e = boot_master(p, in, image, len, err);
	if (in->fetcher != NULL)
		tkc_fetcher_free(&in->fetcher);
	for (i = 0; i < n && e == 0; i++) {
		if (tkc_instance_stopped(in))
			return (stopped(p, err));
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

int
tkc_instance_new(struct tkc_instance **pin, struct tkc_program *p,
    const void *elf, size_t len, int debug, struct tkc_error *err)
{
	const struct tkc_settings *s = &p->settings;
	struct tkc_instance *in;
	struct tkc_blob file;
	int e = 0;

	*pin = NULL;
	TK_ALLOC_OBJ(in, TKC_INSTANCE_MAGIC);
	if (in == NULL)
		return (tkc_fail(err, TKC_ENVIRONMENT, "Out of memory"));
	in->program = p;
	in->booting = true;
	in->end_at = UINT64_MAX;
	instance_init(in);
	tkc_debug_allow(in, debug != 0);
	in->keeps_memory = s->ephemeral_keep_working_memory;
	in->kept_memory = s->req_mem_limit_after_reset;
	in->request_time = s->max_request_time;
	in->stream_time = s->max_stream_time;
	in->memory = s->max_memory;
	in->request_memory = s->max_request_memory;
	in->smp = (unsigned)s->smp;
	in->wanted = (unsigned)s->concurrency;
	if (elf != NULL)
		e = boot(p, in, elf, len, err);
	else {
		e = tkc_source_program(p, &file, err);
		if (e == 0) {
			e = boot(p, in, file.data, file.len, err);
			free(file.data);
		}
	}
	if (e != 0)
		tkc_instance_free(&in);
	else
		in->booting = false;
	*pin = in;
	return (e);
}
