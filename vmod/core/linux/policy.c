/*-
 * SPDX-License-Identifier: BSD-2-Clause
 */

#include <errno.h>
#include <fcntl.h>
#include <limits.h>
#include <sys/resource.h>
#include <unistd.h>

#include "../error.h"
#include "../object.h"
#include "descriptors.h"
#include "policy.h"

int
tk_path_normalise(char *to, const char *base, const char *path)
{
	const char *end;
	size_t n = 0, len;

	if (*path != '/') {
		n = strlen(base);
		if (n == 1)		/* "/" */
			n = 0;
		memcpy(to, base, n);
	}
	while (*path != '\0') {
		while (*path == '/')
			path++;
		end = strchrnul(path, '/');
		len = (size_t)(end - path);
		if (len == 2 && path[0] == '.' && path[1] == '.') {
			while (n > 0 && to[--n] != '/')
				continue;
		} else if (len > 0 && !(len == 1 && path[0] == '.')) {
			if (n + 1 + len >= TK_PATH_MAX)
				return (ENAMETOOLONG);
			to[n++] = '/';
			memcpy(to + n, path, len);
			n += len;
		}
		path = end;
	}
	if (n == 0)
		to[n++] = '/';
	to[n] = '\0';
	return (0);
}

/* Is path at or below dir? Both normalised. */
static bool
is_below(const char *path, const char *dir, size_t len)
{

	if (len == 1)			/* "/" */
		return (true);
	return (strncmp(path, dir, len) == 0 &&
	    (path[len] == '\0' || path[len] == '/'));
}

const struct tk_allowed *
tk_policy_find(const struct tk_policy *po, const char *path)
{
	const struct tk_allowed *a, *best = NULL;
	unsigned i;

	for (i = 0; i < po->n; i++) {
		a = &po->allowed[i];
		if (best != NULL && a->len <= best->len)
			continue;
		if (a->prefix ? is_below(path, a->virtual_path, a->len) :
		    strcmp(path, a->virtual_path) == 0)
			best = a;
	}
	return (best);
}

static bool
holds_entries(const struct tk_policy *po, const char *path, size_t len)
{
	unsigned i;

	for (i = 0; i < po->n; i++)
		if (po->allowed[i].len > len &&
		    is_below(po->allowed[i].virtual_path, path, len))
			return (true);
	return (false);
}

bool
tk_policy_above(const struct tk_policy *po, const char *path)
{
	size_t len = strlen(path);

	return (len == 1 || holds_entries(po, path, len));
}

/*
 * Opens where the entry leads. Links in its own path are the administrator's
 * and are followed; what is not there is no error: it is not there.
 */
static void
open_root(struct tk_allowed *a)
{
	char *real, *slash;

	a->root = -1;
	if (a->prefix) {
		a->root = open(a->real_path, O_PATH | O_DIRECTORY | O_CLOEXEC);
		return;
	}
	real = realpath(a->real_path, NULL);
	if (real == NULL && errno == ENOENT)
		/* A file that the program may make. */
		real = strdup(a->real_path);
	if (real == NULL)
		return;
	slash = strrchr(real, '/');
	if (slash != NULL && slash[1] != '\0') {
		a->leaf = strdup(slash + 1);
		slash[slash == real] = '\0';
		if (a->leaf != NULL && strcmp(a->leaf, "..") != 0)
			a->root = open(real, O_PATH | O_DIRECTORY | O_CLOEXEC);
	}
	free(real);
}

static int
add(struct tk_allowed *a, const struct tk_path *p, struct tk_error *err)
{
	char virtual_path[TK_PATH_MAX];

	a->root = -1;
	if (p->virtual_path == NULL || p->virtual_path[0] != '/' ||
	    p->real_path == NULL || p->real_path[0] != '/')
		return (tk_error(err, TK_HOST, 0, "allowed path %s: it is not "
		    "absolute", p->virtual_path != NULL ? p->virtual_path :
		    "(none)"));
	if (tk_path_normalise(virtual_path, "/", p->virtual_path) ||
	    strlen(p->real_path) >= TK_PATH_MAX)
		return (tk_error(err, TK_HOST, 0, "allowed path %.100s...: it "
		    "is too long", p->virtual_path));
	a->virtual_path = strdup(virtual_path);
	a->real_path = strdup(p->real_path);
	if (a->virtual_path == NULL || a->real_path == NULL)
		return (tk_error(err, TK_HOST, 0, "Out of memory"));
	a->len = strlen(virtual_path);
	a->prefix = p->prefix;
	a->writable = p->writable;
	a->symlink = p->symlink;
	a->given = p->given;
	if (a->given == NULL)
		open_root(a);
	return (0);
}

static bool
keep_cmdline(struct tk_policy *po, const char *const *argv)
{
	size_t n;
	unsigned i;
	char *p;

	for (n = 1, i = 0; argv[i] != NULL; i++)
		n += strlen(argv[i]) + 1;
	po->cmdline = p = malloc(n);
	if (p == NULL)
		return (false);
	for (i = 0; argv[i] != NULL; i++)
		p = stpcpy(p, argv[i]) + 1;
	po->cmdline_len = (size_t)(p - po->cmdline);
	return (true);
}

int
tk_policy_new(struct tk_policy **ppo, const struct tk_boot_options *o,
    struct tk_error *err)
{
	struct tk_policy *po;
	struct rlimit r;
	unsigned i;
	int e = 0;

	*ppo = po = calloc(1, sizeof *po);
	if (po == NULL || !keep_cmdline(po, o->argv) || (o->n_paths > 0 &&
	    (po->allowed = calloc(o->n_paths, sizeof *po->allowed)) == NULL))
		e = tk_error(err, TK_HOST, 0, "Out of memory");
	for (i = 0; e == 0 && i < o->n_paths; i++) {
		po->n = i + 1;
		e = add(&po->allowed[i], &o->paths[i], err);
	}
	if (e != 0) {
		if (po != NULL)
			tk_policy_free(ppo);
		return (e);
	}
	for (i = 0; i < po->n; i++)
		po->allowed[i].holds_others = holds_entries(po,
		    po->allowed[i].virtual_path, po->allowed[i].len);
	po->max_file = INT64_MAX;
	if (getrlimit(RLIMIT_FSIZE, &r) == 0 && r.rlim_cur < po->max_file)
		po->max_file = r.rlim_cur;
	return (0);
}

void
tk_policy_free(struct tk_policy **ppo)
{
	struct tk_policy *po = *ppo;
	struct tk_allowed *a;
	unsigned i;

	*ppo = NULL;
	for (i = 0; i < po->n; i++) {
		a = &po->allowed[i];
		if (a->root >= 0)
			(void)close(a->root);
		free(a->virtual_path);
		free(a->real_path);
		free(a->leaf);
	}
	free(po->allowed);
	free(po->cmdline);
	free(po);
}
