/*-
 * SPDX-License-Identifier: BSD-2-Clause
 *
 * One file out of an archive, by libarchive. Nothing is written to disk. What
 * is passed over is counted as well: a bomb does not go off in front of the
 * file either.
 */

#include <archive.h>
#include <archive_entry.h>
#include <stdlib.h>
#include <string.h>

#include "source.h"

#define MAX_ENTRIES	10000
/* More than any executable was seen to be packed. */
#define MAX_RATIO	200
#define RATIO_FREE	(16 * 1024 * 1024)	/* bytes that it is not asked */
#define PIECE		(256 * 1024)

bool
tkc_is_archive(const struct tkc_blob *b)
{
	const unsigned char *p = b->data;

	return ((b->len > 2 && memcmp(p, "\x1f\x8b", 2) == 0) ||
	    (b->len > 6 && memcmp(p, "\xfd" "7zXZ", 6) == 0) ||
	    (b->len > 4 && memcmp(p, "PK\3\4", 4) == 0) ||
	    (b->len > 512 && memcmp(p + 257, "ustar", 5) == 0));
}

/* Absolute, or with a way up: in no archive of good will. */
static bool
is_bad_name(const char *name)
{
	const char *p;

	if (name == NULL || name[0] == '/' || name[0] == '\0')
		return (true);
	for (p = name; p != NULL; p = strchr(p, '/')) {
		p += *p == '/';
		if (strncmp(p, "..", 2) == 0 && (p[2] == '/' || p[2] == '\0'))
			return (true);
	}
	return (false);
}

static const char *
plain(const char *name)
{

	while (strncmp(name, "./", 2) == 0)
		name += 2;
	return (name);
}

struct unpack {
	const char		*what;
	struct archive		*a;
	uint64_t		total, most_total;
	size_t			most;
	struct tkc_blob		*out;		/* NULL: passed over */
	size_t			room;
	char			*away;		/* PIECE bytes, for that */
	struct tkc_error	*err;
};

static int
bad(const struct unpack *u)
{
	const char *text = archive_error_string(u->a);

	return (tkc_fail(u->err, TKC_SETTINGS, "%s: the archive is damaged: "
	    "%s", u->what, text != NULL ? text : "not readable"));
}

/* Reads what is left of an entry, into *out or away. */
static int
read_entry(struct unpack *u)
{
	struct tkc_blob *b = u->out;
	la_ssize_t n;
	char *more;

	for (;;) {
		if (b != NULL && u->room - b->len < PIECE) {
			u->room = u->room * 2 + PIECE;
			more = realloc(b->data, u->room);
			if (more == NULL)
				return (tkc_fail(u->err, TKC_ENVIRONMENT,
				    "%s: no memory to unpack it", u->what));
			b->data = more;
		}
		n = b != NULL ? archive_read_data(u->a,
		    (char *)b->data + b->len, PIECE) :
		    archive_read_data(u->a, u->away, PIECE);
		if (n < 0)
			return (bad(u));
		if (n == 0)
			return (0);
		u->total += (uint64_t)n;
		if (b != NULL)
			b->len += (size_t)n;
		if (u->total > u->most_total || (b != NULL &&
		    b->len > u->most))
			return (tkc_fail(u->err, TKC_SETTINGS, "%s: the "
			    "archive unpacks to more than %llu MiB, which is "
			    "not that of a program", u->what,
			    (unsigned long long)((b != NULL &&
			    b->len > u->most ? u->most : u->most_total)
			    >> 20)));
	}
}

static int
look(struct unpack *u, const char *member, struct tkc_blob *out)
{
	struct archive_entry *entry;
	const char *name;
	unsigned n;
	int r, e;

	for (n = 0; n < MAX_ENTRIES; n++) {
		r = archive_read_next_header(u->a, &entry);
		if (r == ARCHIVE_EOF)
			break;
		if (r != ARCHIVE_OK && r != ARCHIVE_WARN)
			return (bad(u));
		name = archive_entry_pathname(entry);
		if (is_bad_name(name))
			return (tkc_fail(u->err, TKC_SETTINGS, "%s: the "
			    "archive has a file named \"%.100s\": names are "
			    "relative, without \"..\"", u->what,
			    name != NULL ? name : ""));
		u->out = archive_entry_filetype(entry) == AE_IFREG &&
		    (member == NULL || strcmp(plain(name), plain(member)) ==
		    0) ? out : NULL;
		e = read_entry(u);
		if (e != 0 || u->out != NULL)
			return (e);
	}
	if (member != NULL)
		return (tkc_fail(u->err, TKC_SETTINGS, "%s: there is no file "
		    "\"%.200s\" in the archive", u->what, member));
	return (tkc_fail(u->err, TKC_SETTINGS, "%s: there is no file in the "
	    "archive", u->what));
}

int
tkc_unpack(const char *what, const struct tkc_blob *packed,
    const char *member, size_t most, struct tkc_blob *out,
    struct tkc_error *err)
{
	struct unpack u;
	int e;

	memset(out, 0, sizeof *out);
	memset(&u, 0, sizeof u);
	u.what = what;
	u.most = most;
	u.most_total = RATIO_FREE + (uint64_t)packed->len * MAX_RATIO;
	if (u.most_total > 2 * (uint64_t)most)
		u.most_total = 2 * (uint64_t)most;
	u.err = err;
	u.away = malloc(PIECE);
	u.a = archive_read_new();
	if (u.a == NULL || u.away == NULL) {
		free(u.away);
		(void)archive_read_free(u.a);
		return (tkc_fail(err, TKC_ENVIRONMENT, "Out of memory"));
	}
	(void)archive_read_support_format_tar(u.a);
	(void)archive_read_support_format_zip(u.a);
	(void)archive_read_support_filter_gzip(u.a);
	(void)archive_read_support_filter_xz(u.a);
	e = archive_read_open_memory(u.a, packed->data, packed->len) !=
	    ARCHIVE_OK ? bad(&u) : look(&u, member, out);
	(void)archive_read_free(u.a);
	free(u.away);
	if (e != 0) {
		free(out->data);
		memset(out, 0, sizeof *out);
	}
	return (e);
}
