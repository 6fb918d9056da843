/*-
 * SPDX-License-Identifier: BSD-2-Clause
 */

#include <stdlib.h>
#include <string.h>
#include <strings.h>

#include "object.h"
#include "source.h"

/* The command line waits for a VCL's load, for a minute by default. */
#define LIBRARY_SECONDS	30
#define PROGRAM_SECONDS	300

static bool
is_http(const char *uri)
{

	return (strncasecmp(uri, "http://", 7) == 0 ||
	    strncasecmp(uri, "https://", 8) == 0);
}

/* The path of a file:// URI or of a path, NULL for others. */
static const char *
local_path(const char *uri)
{

	if (strncasecmp(uri, "file://", 7) == 0)
		uri += 7;
	return (uri[0] == '/' ? uri : NULL);
}

static bool
is_cold(void *priv)
{
	const struct tkc_registry *r = priv;

	return (!r->warm);
}

static void
tell(const struct tkc_registry *r, const struct tkc_download *d)
{

	if (d->note[0] != '\0' && r->iface.log != NULL)
		r->iface.log(r->host, d->what, d->warning ? TKC_LOG_ERROR :
		    TKC_LOG_INFO, d->note, strlen(d->note));
}

/* Any path, with the checksum that the settings name, if they do. */
static int
read_path(const struct tkc_download *d, const char *path, struct tkc_blob *b,
    struct tkc_error *err)
{
	char sum[65];
	int e;

	e = tkc_file_read(d->what, path, d->most, b, err);
	if (e != 0 || d->sha256 == NULL)
		return (e);
	if (!tkc_sha256(b->data, b->len, sum))
		e = tkc_fail(err, TKC_ENVIRONMENT, "%s: the SHA-256 of %s "
		    "could not be made", d->what, path);
	else if (strcasecmp(sum, d->sha256) != 0)
		e = tkc_fail(err, TKC_SETTINGS, "%s: %s has the SHA-256 %s, "
		    "not that of the setting \"sha256\"", d->what, path, sum);
	if (e != 0)
		free(b->data);
	return (e);
}

static int
read_file(const struct tkc_download *d, struct tkc_blob *b,
    struct tkc_error *err)
{
	const char *path = local_path(d->uri);

	if (path == NULL)
		return (tkc_fail(err, TKC_SETTINGS, "%s: \"%.200s\" is not an "
		    "http://, https:// or file:// URI", d->what, d->uri));
	return (read_path(d, path, b, err));
}

/* Reads what the URI names, without its fragment. */
static int
read_uri(struct tkc_registry *r, struct tkc_download *d, struct tkc_blob *b,
    struct tkc_error *err)
{

	if (!is_http(d->uri))
		return (read_file(d, b, err));
	d->stop = is_cold;
	d->priv = r;
	return (tkc_download(d, b, err));
}

/* The file in the archive, when it is one. *file may become *b. */
static int
unpack(const char *what, const char *member, size_t most, struct tkc_blob *b,
    struct tkc_blob *file, struct tkc_error *err)
{

	if (tkc_is_archive(b))
		return (tkc_unpack(what, b, member, most, file, err));
	*file = *b;
	if (member == NULL)
		return (0);
	return (tkc_fail(err, TKC_SETTINGS, "%s: \"#%.100s\" names a file in "
	    "an archive, but it is none: .tar.gz, .tar.xz, .tar or .zip are",
	    what, member));
}

/* What is fetched must be good for: 0 or a reason. */
typedef int check_fn(const struct tkc_program *, const char *uri,
    const struct tkc_blob *, struct tkc_error *);

static int
from_uri(struct tkc_registry *r, const struct tkc_program *p,
    struct tkc_download *d, const char *uri, check_fn *check,
    struct tkc_blob *file, struct tkc_error *err)
{
	struct tkc_blob b;
	char *plain, *member;
	int e;

	plain = strdup(uri);
	if (plain == NULL)
		return (tkc_fail(err, TKC_ENVIRONMENT, "Out of memory"));
	member = strchr(plain, '#');
	if (member != NULL)
		*member++ = '\0';
	if (member != NULL && *member == '\0')
		member = NULL;
	d->uri = plain;
	e = read_uri(r, d, &b, err);
	if (e == 0) {
		memset(file, 0, sizeof *file);
		e = unpack(d->what, member, d->most, &b, file, err);
		if (e == 0)
			e = check(p, uri, file, err);
		if (e == 0)
			tkc_download_keep(d, &b);
		if (e != 0 && file->data != b.data)
			free(file->data);
		if (e != 0 || file->data != b.data)
			free(b.data);
	}
	tell(r, d);
	tkc_download_fini(d);
	free(plain);
	return (e);
}

/*--------------------------------------------------------------------
 * Programs
 */

static int
check_program(const struct tkc_program *p, const char *uri,
    const struct tkc_blob *b, struct tkc_error *err)
{
	struct tk_error core;

	if (tk_check_program(b->data, b->len, p->settings.allowed_paths.n > 0,
	    &core) == 0)
		return (0);
	return (tkc_fail(err, TKC_SETTINGS, "%s: %s: %s", p->name, uri,
	    core.text));
}

static int
from_file(struct tkc_program *p, const char *sha256, struct tkc_blob *b,
    struct tkc_error *err)
{
	const char *path = local_path(p->settings.filename);
	struct tkc_download d;

	memset(&d, 0, sizeof d);
	d.what = p->name;
	d.sha256 = sha256;
	d.most = TKC_MAX_PROGRAM;
	/* A path may also be a relative one. */
	return (read_path(&d, path != NULL ? path : p->settings.filename, b,
	    err));
}

int
tkc_source_program(struct tkc_program *p, struct tkc_blob *b,
    struct tkc_error *err)
{
	const struct tkc_settings *s = &p->settings;
	struct tkc_download d;
	int e;

	if (s->uri == NULL && s->filename == NULL)
		return (tkc_fail(err, TKC_SETTINGS, "%s: neither \"filename\" "
		    "nor \"uri\" is set", p->name));
	if (s->uri == NULL)
		return (from_file(p, s->sha256, b, err));
	memset(&d, 0, sizeof d);
	d.what = p->name;
	d.sha256 = s->sha256;
	d.most = TKC_MAX_PROGRAM;
	d.seconds = PROGRAM_SECONDS;
	e = from_uri(p->registry, p, &d, s->uri, check_program, b, err);
	if (e != TKC_ENVIRONMENT || s->filename == NULL)
		return (e);
	/* The file is for days without a network. */
	tkc_logf(p, TKC_LOG_ERROR, "%s; %s is used instead", err->text,
	    s->filename);
	return (from_file(p, NULL, b, err));
}

int
tkc_source_check(struct tkc_program *p, struct tkc_error *err)
{
	const struct tkc_settings *s = &p->settings;
	struct tkc_blob b;
	int e;

	if (s->sha256 != NULL && !tkc_is_sha256(s->sha256))
		return (tkc_fail(err, TKC_SETTINGS, "%s: \"sha256\" is 64 "
		    "hexadecimal digits", p->name));
	if (s->uri != NULL && is_http(s->uri))
		return (0);
	/* Programs of a group may get theirs later, by configure(). */
	if (s->uri == NULL && s->filename == NULL)
		return (0);
	e = tkc_source_program(p, &b, err);
	if (e != 0)
		return (e);
	e = check_program(p, s->uri != NULL ? s->uri : s->filename, &b,
	    err);
	free(b.data);
	return (e);
}

/*--------------------------------------------------------------------
 * Libraries
 */

static int
check_library(const struct tkc_program *none, const char *uri,
    const struct tkc_blob *b, struct tkc_error *err)
{
	json_t *j = tkc_json_parse(b->data, b->len, uri, err);

	(void)none;
	if (j == NULL)
		return (err->reason);
	json_decref(j);
	return (0);
}

int
tkc_library_uri(struct tkc_registry *r, const char *uri,
    struct tkc_error *err)
{
	struct tkc_download d;
	struct tkc_blob b;
	int e;

	TK_CHECK_OBJ(r, TKC_REGISTRY_MAGIC);
	memset(&d, 0, sizeof d);
	d.what = "library()";
	d.most = TKC_MAX_LIBRARY;
	d.seconds = LIBRARY_SECONDS;
	if (is_http(uri) || local_path(uri) != NULL)
		e = from_uri(r, NULL, &d, uri, check_library, &b, err);
	else
		e = tkc_file_read(d.what, uri, d.most, &b, err);
	if (e != 0)
		return (e);
	e = tkc_library(r, b.data, b.len, uri, err);
	free(b.data);
	return (e);
}
