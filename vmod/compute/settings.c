/*-
 * SPDX-License-Identifier: BSD-2-Clause
 */

#include <limits.h>
#include <stdarg.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include "allow.h"

enum type { STRING, PATH, DIRECTORY, FLAG, NUMBER, COUNT, STRINGS, PATHS, WARMUP,
    ENDPOINT, ANY };

/* effective: it does something in this version; others are only checked. */
struct key {
	const char	*name;
	enum type	type;
	size_t		offset;
	double		min, max;
	bool		effective;
};

#define AT(field)	offsetof(struct tkc_settings, field)
#define MAX_SECONDS	3600
#define MAX_MIB		(1024 * 1024)

static const struct key keys[] = {
	{ "group", STRING, AT(group), 0, 0, true },
	{ "filename", PATH, AT(filename), 0, 0, true },
	{ "uri", STRING, AT(uri), 0, 0, true },
	{ "sha256", STRING, AT(sha256), 0, 0, true },
	{ "key", STRING, AT(key), 0, 0, true },
	{ "start", FLAG, AT(start), 0, 0, true },
	{ "max_boot_time", NUMBER, AT(max_boot_time), 0.001, MAX_SECONDS,
	    true },
	{ "max_request_time", NUMBER, AT(max_request_time), 0.001,
	    MAX_SECONDS, true },
	{ "max_storage_time", NUMBER, AT(max_storage_time), 0.001,
	    MAX_SECONDS, true },
	{ "max_queue_time", NUMBER, AT(max_queue_time), 0, MAX_SECONDS, true },
	{ "max_queue", COUNT, AT(max_queue), 0, 1000000, true },
	{ "max_memory", NUMBER, AT(max_memory), 1, MAX_MIB, true },
	{ "address_space", NUMBER, 0, 0, MAX_MIB, false },
	{ "max_request_memory", NUMBER, AT(max_request_memory), 1, MAX_MIB,
	    true },
	{ "max_stream", NUMBER, AT(max_stream), 1, MAX_MIB, true },
	{ "max_stream_time", NUMBER, AT(max_stream_time), 0.001, MAX_SECONDS,
	    true },
	{ "req_mem_limit_after_reset", NUMBER, AT(req_mem_limit_after_reset),
	    0, MAX_MIB, true },
	{ "shared_memory", NUMBER, AT(shared_memory), 0, MAX_MIB, true },
	{ "concurrency", COUNT, AT(concurrency), 1, 255, true },
	{ "storage", FLAG, AT(storage), 0, 0, true },
	{ "state_directory", DIRECTORY, AT(state_directory), 0, 0, true },
	{ "hugepages", FLAG, 0, 0, 0, false },
	{ "transparent_hugepages", FLAG, 0, 0, 0, false },
	{ "hugepage_arena_size", NUMBER, 0, 0, MAX_MIB, false },
	{ "request_hugepages", FLAG, 0, 0, 0, false },
	{ "request_hugepage_arena_size", NUMBER, 0, 0, MAX_MIB, false },
	{ "split_hugepages", FLAG, 0, 0, 0, false },
	{ "ephemeral", FLAG, AT(ephemeral), 0, 0, true },
	{ "ephemeral_keep_working_memory", FLAG,
	    AT(ephemeral_keep_working_memory), 0, 0, true },
	{ "control_ephemeral", FLAG, AT(control_ephemeral), 0, 0, true },
	{ "main_arguments", STRINGS, AT(main_arguments), 0, 0, true },
	{ "environment", STRINGS, AT(environment), 0, 0, true },
	{ "allowed_fetch", STRINGS, AT(allowed_fetch), 0, 0, true },
	{ "allowed_paths", PATHS, AT(allowed_paths), 0, 0, true },
	{ "current_working_directory", DIRECTORY, AT(cwd), 0, 0, true },
	{ "executable_heap", FLAG, AT(executable_heap), 0, 0, true },
	{ "remapping", ANY, 0, 0, 0, false },
	{ "blackout_area", ANY, 0, 0, 0, false },
	{ "smp", COUNT, AT(smp), 0, 16, true },
	{ "stdout", FLAG, AT(to_stdout), 0, 0, true },
	{ "verbose_syscalls", FLAG, AT(verbose_syscalls), 0, 0, true },
	{ "allow_debug", FLAG, AT(allow_debug), 0, 0, true },
	{ "remote_debug_on_exception", FLAG, AT(remote_debug_on_exception), 0,
	    0, true },
	{ "debug_requests", FLAG, AT(debug_requests), 0, 0, true },
	{ "debug_port", COUNT, AT(debug_port), 0, 65535, true },
	{ "debug_wait", NUMBER, AT(debug_wait), 0, MAX_SECONDS, true },
	{ "warmup", WARMUP, AT(warmup), 0, 0, true },
	{ "cold_start_file", STRING, 0, 0, 0, false },
	{ "server", ENDPOINT, AT(server), 0, 0, true },
	{ "websocket_server", ENDPOINT, AT(websocket_server), 0, 0, true },
};
#define N_KEYS	(sizeof keys / sizeof keys[0])

void
tkc_error_fill(struct tkc_error *err, enum tkc_reason reason,
    const char *fmt, ...)
{
	va_list ap;

	if (err == NULL)
		return;
	err->reason = reason;
	va_start(ap, fmt);
	(void)vsnprintf(err->text, sizeof err->text, fmt, ap);
	va_end(ap);
}

/*--------------------------------------------------------------------
 * Lists of strings
 */

tkc_strings
tkc_strings_copy(const char *const *from, unsigned n)
{
	tkc_strings s;
	unsigned i;

	s = calloc(n + 1, sizeof *s);
	for (i = 0; s != NULL && i < n; i++) {
		s[i] = strdup(from[i]);
		if (s[i] == NULL)
			tkc_strings_free(&s);
	}
	return (s);
}

void
tkc_strings_free(tkc_strings *ps)
{
	unsigned i;

	if (*ps == NULL)
		return;
	for (i = 0; (*ps)[i] != NULL; i++)
		free((*ps)[i]);
	free(*ps);
	*ps = NULL;
}

tkc_strings
tkc_strings_from_json(const json_t *list)
{
	size_t i, n = json_array_size(list);
	tkc_strings s = calloc(n + 1, sizeof *s);

	for (i = 0; s != NULL && i < n; i++) {
		s[i] = strdup(json_string_value(json_array_get(list, i)));
		if (s[i] == NULL)
			tkc_strings_free(&s);
	}
	return (s);
}

/*--------------------------------------------------------------------*/

/* Comments become blanks, so that lines and columns in errors stay true. */
static void
blank_comments(char *s)
{
	bool in_string = false;

	while (*s != '\0') {
		if (in_string) {
			if (*s == '\\' && s[1] != '\0')
				s++;
			else if (*s == '"')
				in_string = false;
			s++;
		} else if (s[0] == '/' && s[1] == '/') {
			while (*s != '\0' && *s != '\n')
				*s++ = ' ';
		} else if (s[0] == '/' && s[1] == '*') {
			while (*s != '\0' && !(s[0] == '*' && s[1] == '/')) {
				if (*s != '\n')
					*s = ' ';
				s++;
			}
			if (*s != '\0') {
				*s++ = ' ';
				*s++ = ' ';
			}
		} else {
			in_string = *s == '"';
			s++;
		}
	}
}

/*
 * Deeper than settings ever are. The parser calls itself for each level, and a
 * worker's stack is small.
 */
#define MAX_DEPTH	32

static bool
too_deep(const char *p)
{
	bool in_string = false;
	unsigned depth = 0;

	for (; *p != '\0'; p++) {
		if (*p == '"')
			in_string = !in_string;
		else if (in_string) {
			if (*p == '\\' && p[1] != '\0')
				p++;
		} else if (*p == '[' || *p == '{') {
			if (++depth > MAX_DEPTH)
				return (true);
		} else if ((*p == ']' || *p == '}') && depth > 0)
			depth--;
	}
	return (false);
}

json_t *
tkc_json_parse(const char *text, size_t len, const char *origin,
    struct tkc_error *err)
{
	json_error_t je;
	json_t *j;
	char *copy;

	if (memchr(text, '\0', len) != NULL) {
		(void)tkc_fail(err, TKC_SETTINGS, "%s: a NUL byte in JSON",
		    origin);
		return (NULL);
	}
	copy = strndup(text, len);
	if (copy == NULL) {
		(void)tkc_fail(err, TKC_ENVIRONMENT, "Out of memory");
		return (NULL);
	}
	blank_comments(copy);
	if (too_deep(copy)) {
		free(copy);
		(void)tkc_fail(err, TKC_SETTINGS, "%s: JSON of more than %d "
		    "levels", origin, MAX_DEPTH);
		return (NULL);
	}
	j = json_loads(copy, JSON_REJECT_DUPLICATES, &je);
	free(copy);
	if (j == NULL)
		(void)tkc_fail(err, TKC_SETTINGS, "%s, line %d, column %d: %s",
		    origin, je.line, je.column, je.text);
	else if (!json_is_object(j)) {
		json_decref(j);
		j = NULL;
		(void)tkc_fail(err, TKC_SETTINGS,
		    "%s: the settings are a JSON object: { ... }", origin);
	}
	return (j);
}

/* How many letters two names share at their start and end: for suggestions. */
static size_t
likeness(const char *a, const char *b)
{
	size_t n = 0, la = strlen(a), lb = strlen(b), tail = 0;

	while (a[n] != '\0' && a[n] == b[n])
		n++;
	while (tail + n < la && tail + n < lb &&
	    a[la - 1 - tail] == b[lb - 1 - tail])
		tail++;
	return (n + tail);
}

static const struct key *
find_key(const char *name)
{
	size_t i;

	for (i = 0; i < N_KEYS; i++)
		if (strcmp(keys[i].name, name) == 0)
			return (&keys[i]);
	return (NULL);
}

static int
unknown_key(const char *what, const char *name, struct tkc_error *err)
{
	const char *nearest = NULL;
	size_t i, best = strlen(name) / 2, n;

	for (i = 0; i < N_KEYS; i++) {
		n = likeness(keys[i].name, name);
		if (n > best) {
			best = n;
			nearest = keys[i].name;
		}
	}
	if (nearest == NULL)
		return (tkc_fail(err, TKC_SETTINGS,
		    "%s: there is no setting \"%.64s\"", what, name));
	return (tkc_fail(err, TKC_SETTINGS, "%s: there is no setting "
	    "\"%.64s\"; did you mean \"%s\"?", what, name, nearest));
}

static int
check_directory(const char *what, const struct key *k, const char *text,
    struct tkc_error *err)
{
	char *path = tkc_expand_path(text);
	bool good = path != NULL && path[0] == '/' && strlen(path) < PATH_MAX;

	free(path);
	return (good ? 0 : tkc_fail(err, TKC_SETTINGS, "%s: \"%s\" is an "
	    "absolute path of less than %d bytes", what, k->name, PATH_MAX));
}

static int
check_value(const char *what, const struct key *k, const json_t *v,
    struct tkc_error *err)
{
	size_t i;
	double d;

	switch (k->type) {
	case PATHS:
		return (tkc_paths_check(what, v, err));
	case WARMUP:
		return (tkc_warmup_check(what, v, err));
	case ENDPOINT:
		return (tkc_endpoint_check(what, k->name, v, err));
	case STRING:
	case PATH:
	case DIRECTORY:
		if (!json_is_string(v))
			return (tkc_fail(err, TKC_SETTINGS,
			    "%s: \"%s\" is a string", what, k->name));
		if (k->type != STRING && json_string_length(v) == 0)
			return (tkc_fail(err, TKC_SETTINGS,
			    "%s: \"%s\" is empty", what, k->name));
		if (k->type == DIRECTORY)
			return (check_directory(what, k, json_string_value(v),
			    err));
		break;
	case FLAG:
		if (!json_is_boolean(v))
			return (tkc_fail(err, TKC_SETTINGS,
			    "%s: \"%s\" is true or false", what, k->name));
		break;
	case NUMBER:
		d = json_number_value(v);
		if (!json_is_number(v) || !(d >= k->min && d <= k->max))
			return (tkc_fail(err, TKC_SETTINGS, "%s: \"%s\" is a "
			    "number from %g to %g", what, k->name, k->min,
			    k->max));
		break;
	case COUNT:
		d = json_number_value(v);
		if (!json_is_integer(v) || !(d >= k->min && d <= k->max))
			return (tkc_fail(err, TKC_SETTINGS, "%s: \"%s\" is a "
			    "whole number from %g to %g", what, k->name,
			    k->min, k->max));
		break;
	case STRINGS:
		if (!json_is_array(v))
			return (tkc_fail(err, TKC_SETTINGS,
			    "%s: \"%s\" is a list of strings", what, k->name));
		for (i = 0; i < json_array_size(v); i++)
			if (!json_is_string(json_array_get(v, i)))
				return (tkc_fail(err, TKC_SETTINGS, "%s: "
				    "\"%s\" is a list of strings", what,
				    k->name));
		if (k->offset == AT(allowed_fetch))
			return (tkc_allow_check(what, v, err));
		break;
	case ANY:
		break;
	}
	return (0);
}

int
tkc_settings_check(const char *what, const json_t *j, struct tkc_error *err)
{
	const struct key *k;
	const char *name;
	json_t *v;
	int e;

	if (!json_is_object(j))
		return (tkc_fail(err, TKC_SETTINGS,
		    "%s: its settings are a JSON object: { ... }", what));
	json_object_foreach((json_t *)(uintptr_t)j, name, v) {
		k = find_key(name);
		if (k == NULL)
			return (unknown_key(what, name, err));
		e = check_value(what, k, v, err);
		if (e != 0)
			return (e);
	}
	return (0);
}

static bool
assign(struct tkc_settings *s, const struct key *k, const json_t *v)
{
	char *field = (char *)s + k->offset;
	struct tkc_paths paths;
	tkc_strings list;
	char *text;

	if (!k->effective)
		return (true);
	switch (k->type) {
	case STRING:
	case PATH:
	case DIRECTORY:
		text = k->type != STRING ? tkc_expand_path(json_string_value(v)) :
		    strdup(json_string_value(v));
		if (text == NULL)
			return (false);
		free(*(char **)field);
		*(char **)field = text;
		break;
	case FLAG:
		*(bool *)field = json_is_true(v);
		break;
	case COUNT:
	case NUMBER:
		*(double *)field = json_number_value(v);
		break;
	case STRINGS:
		list = tkc_strings_from_json(v);
		if (list == NULL)
			return (false);
		tkc_strings_free((tkc_strings *)field);
		*(tkc_strings *)field = list;
		break;
	case PATHS:
		if (!tkc_paths_read(&paths, v))
			return (false);
		tkc_paths_fini((struct tkc_paths *)(void *)field);
		*(struct tkc_paths *)(void *)field = paths;
		break;
	case WARMUP:
		return (tkc_warmup_read((struct tkc_warmup *)(void *)field,
		    v));
	case ENDPOINT:
		return (tkc_endpoint_read((struct tkc_endpoint *)(void *)field,
		    v));
	case ANY:
		break;
	}
	return (true);
}

static bool
assign_all(struct tkc_settings *s, const json_t *j)
{
	const char *name;
	json_t *v;

	json_object_foreach((json_t *)(uintptr_t)j, name, v)
		if (!assign(s, find_key(name), v))
			return (false);
	return (true);
}

int
tkc_settings_read(struct tkc_settings *s, const char *what,
    const json_t *group, const json_t *own, struct tkc_error *err)
{
	int e;

	memset(s, 0, sizeof *s);
	e = group != NULL ? tkc_settings_check(what, group, err) : 0;
	if (e == 0)
		e = tkc_settings_check(what, own, err);
	if (e != 0)
		return (e);
	s->max_boot_time = 16;
	s->max_request_time = 8;
	s->max_storage_time = 10;
	s->max_queue_time = 60;
	s->max_queue = 256;
	s->max_memory = 256;
	s->max_request_memory = 64;
	s->max_stream = 1024;
	s->max_stream_time = 60;
	s->concurrency = 2;
	s->debug_wait = 60;
	s->ephemeral = s->ephemeral_keep_working_memory = true;
	s->group = strdup("test");
	s->cwd = strdup("/");
	s->main_arguments = tkc_strings_copy(NULL, 0);
	s->environment = tkc_strings_copy(NULL, 0);
	s->allowed_fetch = tkc_strings_copy(NULL, 0);
	if (s->group == NULL || s->cwd == NULL || s->main_arguments == NULL ||
	    s->environment == NULL || s->allowed_fetch == NULL || (group != NULL &&
	    !assign_all(s, group)) || !assign_all(s, own)) {
		tkc_settings_fini(s);
		return (tkc_fail(err, TKC_ENVIRONMENT, "Out of memory"));
	}
	return (0);
}

void
tkc_settings_fini(struct tkc_settings *s)
{

	free(s->group);
	free(s->filename);
	free(s->uri);
	free(s->sha256);
	free(s->key);
	free(s->cwd);
	free(s->state_directory);
	tkc_paths_fini(&s->allowed_paths);
	tkc_warmup_fini(&s->warmup);
	tkc_endpoint_fini(&s->server);
	tkc_endpoint_fini(&s->websocket_server);
	tkc_strings_free(&s->main_arguments);
	tkc_strings_free(&s->environment);
	tkc_strings_free(&s->allowed_fetch);
	memset(s, 0, sizeof *s);
}

void
tkc_settings_inert(const json_t *j, void (*each)(void *, const char *),
    void *arg)
{
	const struct key *k;
	const char *name;
	json_t *v;

	json_object_foreach((json_t *)(uintptr_t)j, name, v) {
		k = find_key(name);
		if (k != NULL && !k->effective && !json_is_false(v))
			each(arg, name);
	}
}
