/*-
 * SPDX-License-Identifier: BSD-2-Clause
 */

#include <errno.h>
#include <fcntl.h>
#include <stdio.h>

#include "../object.h"
#include "linux.h"
#include "path.h"

int64_t
tk_read_string(const struct tk_machine *m, char *to, size_t size, tk_gva gva)
{
	size_t done = 0, have, i;
	const char *p;

	while (done < size) {
		p = tk_view(m, gva + done, size - done, &have);
		if (p == NULL)
			return (-EFAULT);
		/* Another thread of the guest may write there: one look. */
		for (i = 0; i < have; i++) {
			to[done + i] = p[i];
			if (to[done + i] == '\0')
				return (0);
		}
		done += have;
	}
	return (-ENAMETOOLONG);
}

/* Other names of what lies elsewhere. */
static void
rename_aliases(char *path)
{
	static const struct {
		const char *from, *to;
	} alias[] = {
		{ "/proc/1", "/proc/self" },
		{ "/proc/thread-self", "/proc/self" },
		{ "/dev/stdin", "/proc/self/fd/0" },
		{ "/dev/stdout", "/proc/self/fd/1" },
		{ "/dev/stderr", "/proc/self/fd/2" },
		{ "/dev/fd", "/proc/self/fd" },
	};
	size_t n, len = strlen(path), to;
	unsigned i;

	for (i = 0; i < sizeof alias / sizeof alias[0]; i++) {
		n = strlen(alias[i].from);
		to = strlen(alias[i].to);
		if (strncmp(path, alias[i].from, n) != 0 ||
		    (path[n] != '\0' && path[n] != '/') ||
		    len - n + to >= TK_PATH_MAX)
			continue;
		memmove(path + to, path + n, len - n + 1);
		memcpy(path, alias[i].to, to);
		return;
	}
}

#define FD_DIRECTORY	"/proc/self/fd"

static bool
names_descriptor(const char *path, unsigned *fd)
{
	size_t n = sizeof FD_DIRECTORY - 1;
	const char *p;

	if (strncmp(path, FD_DIRECTORY "/", n + 1) != 0 || path[n + 1] == '\0')
		return (false);
	*fd = 0;
	for (p = path + n + 1; *p != '\0'; p++) {
		if (*p < '0' || *p > '9' || *fd >= TK_MAX_FDS)
			return (false);
		*fd = *fd * 10 + (unsigned)(*p - '0');
	}
	return (true);
}

static void
classify(const struct tk_machine *m, struct tk_name *name)
{
	const struct tk_policy *po = m->files.policy;

	name->kind = TK_NAME_NONE;
	name->allowed = NULL;
	name->synthetic = NULL;
	rename_aliases(name->path);
	if (names_descriptor(name->path, &name->fd)) {
		if (tk_file_at(m, name->fd) != NULL)
			name->kind = TK_NAME_DESCRIPTOR;
		return;
	}
	/* Ours come first: the host's would tell of the host. */
	name->synthetic = tk_synthetic_find(name->path);
	name->allowed = tk_policy_find(po, name->path);
	if (name->synthetic != NULL && (name->allowed == NULL ||
	    strcmp(name->path, TK_PROGRAM_PATH) != 0)) {
		name->kind = TK_NAME_SYNTHETIC;
		return;
	}
	if (name->allowed != NULL) {
		name->kind = TK_NAME_HOST;
		if (!name->allowed->prefix)
			name->rest = name->allowed->leaf;
		else {
			name->rest = name->path + (name->allowed->len == 1 ?
			    0 : name->allowed->len);
			while (*name->rest == '/')
				name->rest++;
		}
		return;
	}
	if (strcmp(name->path, FD_DIRECTORY) == 0 ||
	    tk_policy_above(po, name->path) || tk_synthetic_above(name->path))
		name->kind = TK_NAME_DIRECTORY;
}

int64_t
tk_name_of(const struct tk_machine *m, const char *base, const char *text,
    struct tk_name *name)
{
	size_t len = strlen(text);
	int e;

	e = tk_path_normalise(name->path, base, text);
	if (e != 0)
		return (-e);
	name->directory = (len >= 1 && text[len - 1] == '/') ||
	    (len >= 2 && strcmp(text + len - 2, "/.") == 0);
	classify(m, name);
	return (0);
}

int64_t
tk_name_read(const struct tk_machine *m, uint64_t dirfd, tk_gva gva,
    bool follow, struct tk_name *name)
{
	char text[TK_PATH_MAX];
	const struct tk_file *f;
	const char *base;
	int64_t e;

	e = tk_read_string(m, text, sizeof text, gva);
	if (e != 0)
		return (e);
	/* Empty is asked first: with AT_EMPTY_PATH dirfd is the file itself. */
	if (text[0] == '\0')
		return (-ENOENT);
	base = m->files.cwd;
	if (text[0] != '/' && (int)dirfd != AT_FDCWD) {
		f = tk_file_at(m, dirfd);
		if (f == NULL)
			return (-EBADF);
		if (f->type != &tk_type_directory)
			return (-ENOTDIR);
		base = f->path;
	}
	e = tk_name_of(m, base, text, name);
	return (e != 0 ? e : tk_host_settle(m, name, follow));
}

void
tk_refused_name(struct tk_machine *m, const char *verb, const char *path,
    const char *why)
{
	char text[200];
	size_t i;

	for (i = 0; path[i] != '\0' && i < sizeof text - 4; i++)
		text[i] = (char)(path[i] >= ' ' && path[i] < 127 ? path[i] :
		    '?');
	(void)snprintf(text + i, sizeof text - i, "%s",
	    path[i] != '\0' ? "..." : "");
	tk_refused(m, "%s %s: %s", verb, text, why);
}

int64_t
tk_no_such_name(struct tk_machine *m, const char *verb,
    const struct tk_name *name)
{

	/* What a kernel may or may not have is no question of policy. */
	if (strncmp(name->path, "/proc/", 6) != 0 &&
	    strncmp(name->path, "/sys/", 5) != 0)
		tk_refused_name(m, verb, name->path, "not in allowed_paths");
	return (-ENOENT);
}
