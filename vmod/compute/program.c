/*-
 * SPDX-License-Identifier: BSD-2-Clause
 *
 * The life of a program: boot, failure, unloading.
 */

#include <errno.h>
#include <fcntl.h>
#include <stdarg.h>
#include <stdio.h>
#include <sys/mman.h>
#include <sys/stat.h>
#include <time.h>
#include <unistd.h>

#include "debugging.h"
#include "object.h"

#define MIB		(1024.0 * 1024.0)
#define MAX_PROGRAM	(1ULL << 30)	/* bytes of an executable */

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
	free(in->debugging.file);
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
		tkc_fork_free(&inv);
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

/* The file, mapped read-only. */
static int
map_file(const struct tkc_program *p, const void **image, size_t *len,
    struct tkc_error *err)
{
	const char *path = p->settings.filename;
	struct stat st;
	void *map;
	int fd;

	if (path == NULL)
		return (tkc_fail(err, TKC_SETTINGS, "%s: no \"filename\" is "
		    "set", p->name));
	/* A pipe or device must not make Varnish wait. */
	fd = open(path, O_RDONLY | O_CLOEXEC | O_NONBLOCK | O_NOCTTY);
	if (fd < 0)
		return (tkc_fail(err, TKC_SETTINGS, "%s: cannot open %s: %s",
		    p->name, path, strerror(errno)));
	if (fstat(fd, &st) != 0 || !S_ISREG(st.st_mode) || st.st_size == 0) {
		(void)close(fd);
		return (tkc_fail(err, TKC_SETTINGS, "%s: %s is %s", p->name,
		    path, S_ISDIR(st.st_mode) ? "a directory" :
		    S_ISREG(st.st_mode) ? "empty" : "not a file"));
	}
	if ((uint64_t)st.st_size > MAX_PROGRAM) {
		(void)close(fd);
		return (tkc_fail(err, TKC_SETTINGS, "%s: %s is larger than "
		    "1 GiB", p->name, path));
	}
	/*
	 * Read, not mapped: a file that shrinks while it is parsed must not
	 * become a SIGBUS.
	 */
	map = mmap(NULL, (size_t)st.st_size, PROT_READ | PROT_WRITE,
	    MAP_PRIVATE | MAP_ANONYMOUS, -1, 0);
	*len = 0;
	while (map != MAP_FAILED && *len < (size_t)st.st_size) {
		ssize_t n = read(fd, (char *)map + *len,
		    (size_t)st.st_size - *len);

		if (n <= 0)
			break;
		*len += (size_t)n;
	}
	(void)close(fd);
	if (map == MAP_FAILED)
		return (tkc_fail(err, TKC_ENVIRONMENT, "%s: no memory to read "
		    "%s", p->name, path));
	*image = map;
	if (*len == (size_t)st.st_size)
		return (0);
	(void)munmap(map, (size_t)st.st_size);
	return (tkc_fail(err, TKC_SETTINGS, "%s: cannot read all of %s",
	    p->name, path));
}

int
tkc_program_check(const struct tkc_program *p, struct tkc_error *err)
{
	struct tk_error core;
	const void *image;
	size_t len;
	int e;

	e = map_file(p, &image, &len, err);
	if (e != 0)
		return (e);
	e = tk_check_program(image, len, p->settings.allowed_paths.n > 0,
	    &core);
	(void)munmap((void *)(uintptr_t)image, len);
	if (e != 0)
		return (tkc_fail(err, TKC_SETTINGS, "%s: %s: %s", p->name,
		    p->settings.filename, core.text));
	return (0);
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

static bool
has_request_handler(const struct tkc_instance *in)
{

	return (in->paused != 0 || in->serves ||
	    in->handler[TKC_ON_GET] != 0 || in->handler[TKC_ON_POST] != 0 ||
	    in->handler[TKC_ON_METHOD] != 0);
}

static int
boot_master(struct tkc_program *p, struct tkc_instance *in, const void *image,
    size_t len, struct tkc_error *err)
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
	o.elf = image;
	o.elf_len = len;
	o.argv = (const char *const *)argv;
	o.envp = (const char *const *)envp;
	o.memory = (uint64_t)(in->memory * MIB);
	o.request_memory = (uint64_t)(in->request_memory * MIB);
	o.input_size = o.request_memory;
	o.executable_heap = p->settings.executable_heap;
	o.may_serve = true;
	o.private_text = in->debugging.breakpoints || in->debugging.failures;
	tkc_paths_look(&p->settings.allowed_paths);
	o.paths = p->settings.allowed_paths.path;
	o.n_paths = p->settings.allowed_paths.n;
	o.cwd = p->settings.cwd;
	o.seconds = p->settings.max_boot_time;
	o.ops = p->settings.verbose_syscalls ? &tkc_traced_ops :
	    &tkc_guest_ops;
	o.priv = in;
	e = tk_boot(&in->master, &o, &core);
	tkc_strings_free(&argv);
	tkc_strings_free(&envp);
	if (e != 0)
		return (boot_error(p, &core, err));
	in->serves = tk_serves(in->master);
	if (!has_request_handler(in))
		return (tkc_fail(err, TKC_BOOT, "%s: waits for requests but "
		    "registered no handler for GET, POST or any method",
		    p->name));
	return (0);
}

static int
boot(struct tkc_program *p, struct tkc_instance *in, struct tkc_error *err)
{
	struct tkc_invocation *inv;
	const void *image;
	size_t len;
	unsigned i, n = (unsigned)p->settings.concurrency;
	int e;

	e = map_file(p, &image, &len, err);
	if (e != 0)
		return (e);
	e = boot_master(p, in, image, len, err);
	(void)munmap((void *)(uintptr_t)image, len);
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
		/* Booted again it is as it was asked for. */
		p->debug |= debug != 0;
		tkc_debug_allow(in, p->debug);
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
