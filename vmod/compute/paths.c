/*-
 * SPDX-License-Identifier: BSD-2-Clause
 */

#include <limits.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/stat.h>

#include "paths.h"
#include "settings.h"

char *
tkc_expand_path(const char *path)
{
	static const char *const names[] = { "HOME", "PWD" };
	const char *value;
	char *out;
	size_t i, n;

	for (i = 0; i < 2; i++) {
		n = strlen(names[i]);
		if (path[0] != '$' || strncmp(path + 1, names[i], n) != 0)
			continue;
		value = getenv(names[i]);
		if (value == NULL)
			value = "";
		if (asprintf(&out, "%s%s", value, path + 1 + n) < 0)
			return (NULL);
		return (out);
	}
	return (strdup(path));
}

static int
check_name(const char *what, size_t i, const char *text, struct tkc_error *err)
{
	char *path = tkc_expand_path(text);
	int e = 0;

	if (path == NULL)
		return (tkc_fail(err, TKC_ENVIRONMENT, "Out of memory"));
	if (path[0] != '/')
		e = tkc_fail(err, TKC_SETTINGS, "%s: \"allowed_paths\", entry "
		    "%zu: \"%.200s\" is not absolute; it may start with / or "
		    "$HOME or $PWD", what, i + 1, text);
	else if (strlen(path) >= PATH_MAX)
		e = tkc_fail(err, TKC_SETTINGS, "%s: \"allowed_paths\", entry "
		    "%zu: a path is longer than %d bytes", what, i + 1,
		    PATH_MAX);
	free(path);
	return (e);
}

static int
check_object(const char *what, size_t i, const json_t *o,
    struct tkc_error *err)
{
	const char *name;
	bool is_name, is_flag, has_path = false;
	json_t *v;
	int e;

	json_object_foreach((json_t *)(uintptr_t)o, name, v) {
		is_name = strcmp(name, "real") == 0 ||
		    strcmp(name, "virtual") == 0;
		is_flag = strcmp(name, "prefix") == 0 ||
		    strcmp(name, "writable") == 0 ||
		    strcmp(name, "symlink") == 0;
		if (!is_name && !is_flag)
			return (tkc_fail(err, TKC_SETTINGS, "%s: "
			    "\"allowed_paths\", entry %zu: there is no "
			    "\"%.64s\"; there are \"real\", \"virtual\", "
			    "\"prefix\", \"writable\" and \"symlink\"", what,
			    i + 1, name));
		if (is_flag && !json_is_boolean(v))
			return (tkc_fail(err, TKC_SETTINGS, "%s: "
			    "\"allowed_paths\", entry %zu: \"%s\" is true or "
			    "false", what, i + 1, name));
		if (!is_name)
			continue;
		if (!json_is_string(v))
			return (tkc_fail(err, TKC_SETTINGS, "%s: "
			    "\"allowed_paths\", entry %zu: \"%s\" is a string",
			    what, i + 1, name));
		e = check_name(what, i, json_string_value(v), err);
		if (e != 0)
			return (e);
		has_path = true;
	}
	if (!has_path)
		return (tkc_fail(err, TKC_SETTINGS, "%s: \"allowed_paths\", "
		    "entry %zu: neither \"real\" nor \"virtual\" is given",
		    what, i + 1));
	return (0);
}

int
tkc_paths_check(const char *what, const json_t *list, struct tkc_error *err)
{
	const json_t *v;
	size_t i;
	int e = 0;

	if (!json_is_array(list))
		return (tkc_fail(err, TKC_SETTINGS, "%s: \"allowed_paths\" is "
		    "a list of strings and objects", what));
	for (i = 0; i < json_array_size(list) && e == 0; i++) {
		v = json_array_get(list, i);
		if (json_is_string(v))
			e = check_name(what, i, json_string_value(v), err);
		else if (json_is_object(v))
			e = check_object(what, i, v, err);
		else
			e = tkc_fail(err, TKC_SETTINGS, "%s: "
			    "\"allowed_paths\", entry %zu: it is a string or "
			    "an object", what, i + 1);
	}
	return (e);
}

static bool
read_entry(struct tk_path *p, bool *tree_unknown, const json_t *v)
{
	const char *real, *virtual_path;

	if (json_is_string(v)) {
		real = virtual_path = json_string_value(v);
		*tree_unknown = true;
	} else {
		real = json_string_value(json_object_get(v, "real"));
		virtual_path = json_string_value(json_object_get(v,
		    "virtual"));
		if (real == NULL)
			real = virtual_path;
		if (virtual_path == NULL)
			virtual_path = real;
		*tree_unknown = json_object_get(v, "prefix") == NULL;
		p->prefix = json_is_true(json_object_get(v, "prefix"));
		p->writable = json_is_true(json_object_get(v, "writable"));
		p->symlink = json_is_true(json_object_get(v, "symlink"));
	}
	p->real_path = tkc_expand_path(real);
	p->virtual_path = tkc_expand_path(virtual_path);
	return (p->real_path != NULL && p->virtual_path != NULL);
}

bool
tkc_paths_read(struct tkc_paths *ps, const json_t *list)
{
	size_t n = json_array_size(list);

	memset(ps, 0, sizeof *ps);
	ps->path = calloc(n + 1, sizeof *ps->path);
	ps->tree_unknown = calloc(n + 1, sizeof *ps->tree_unknown);
	if (ps->path == NULL || ps->tree_unknown == NULL) {
		tkc_paths_fini(ps);
		return (false);
	}
	for (; ps->n < n; ps->n++)
		if (!read_entry(&ps->path[ps->n], &ps->tree_unknown[ps->n],
		    json_array_get(list, ps->n))) {
			ps->n++;
			tkc_paths_fini(ps);
			return (false);
		}
	return (true);
}

void
tkc_paths_fini(struct tkc_paths *ps)
{
	unsigned i;

	for (i = 0; i < ps->n; i++) {
		free((char *)(uintptr_t)ps->path[i].real_path);
		free((char *)(uintptr_t)ps->path[i].virtual_path);
	}
	free(ps->path);
	free(ps->tree_unknown);
	memset(ps, 0, sizeof *ps);
}

void
tkc_paths_look(struct tkc_paths *ps)
{
	struct stat st;
	unsigned i;

	for (i = 0; i < ps->n; i++)
		if (ps->tree_unknown[i])
			ps->path[i].prefix = stat(ps->path[i].real_path,
			    &st) == 0 && S_ISDIR(st.st_mode);
}
