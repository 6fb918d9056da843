/*-
 * SPDX-License-Identifier: BSD-2-Clause
 *
 * Copies of what was fetched, for the next start and for days without a
 * network. For each URI there are two files:
 *
 *	<sha256 of the URI>.json	its validators, and the content's name
 *	<sha256 of the content>		the content
 *
 * Both are replaced by rename(), so that several Varnishes may share a
 * directory; a content that does not have its own name's sum is none.
 */

#include <errno.h>
#include <fcntl.h>
#include <openssl/evp.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/stat.h>
#include <unistd.h>

#include "source.h"

#define VARIABLE	"TINYKVM_CACHE_DIR"
#define DEFAULT_DIR	"/var/cache/tinykvm"
#define MAX_META	65536

bool
tkc_sha256(const void *data, size_t len, char hex[65])
{
	unsigned char sum[EVP_MAX_MD_SIZE];
	unsigned n, i;

	if (EVP_Digest(data, len, sum, &n, EVP_sha256(), NULL) != 1)
		return (false);
	for (i = 0; i < n && i < 32; i++)
		(void)snprintf(hex + 2 * i, 3, "%02x", sum[i]);
	return (true);
}

bool
tkc_is_sha256(const char *hex)
{

	return (strlen(hex) == 64 &&
	    strspn(hex, "0123456789abcdefABCDEF") == 64);
}

/*
 * The variable is the operator's own word, and made if need be; systemd's
 * CacheDirectory= and the default are used when they are there. Paths are
 * malloc()ed: a program may boot on the small stack of a worker.
 */
static char *
cache_dir(char *why, size_t room)
{
	const char *name = getenv(VARIABLE), *systemd;
	struct stat st;
	char *dir;

	if (name != NULL)
		(void)mkdir(name, 0700);
	systemd = getenv("CACHE_DIRECTORY");
	if (name != NULL)
		dir = strdup(name);
	else if (systemd != NULL)
		dir = strndup(systemd, strcspn(systemd, ":"));
	else
		dir = strdup(DEFAULT_DIR);
	if (dir == NULL) {
		(void)snprintf(why, room, "no memory");
		return (NULL);
	}
	if (stat(dir, &st) != 0 || !S_ISDIR(st.st_mode) ||
	    access(dir, W_OK | X_OK) != 0)
		(void)snprintf(why, room, "\"%.200s\" is not a directory that "
		    "Varnish's user can write: make one, or name another in "
		    VARIABLE, dir);
	else if (st.st_mode & S_IWOTH)
		(void)snprintf(why, room, "everybody can write %.200s: "
		    "programs are not taken from there", dir);
	else
		return (dir);
	free(dir);
	return (NULL);
}

static char *
path_of(const char *dir, const char *name, const char *suffix)
{
	char *path;

	if (asprintf(&path, "%s/%s%s", dir, name, suffix) < 0)
		return (NULL);
	return (path);
}

/* The path of what is known of a URI. */
static char *
meta_path(const char *dir, const char *uri)
{
	char name[65];

	if (!tkc_sha256(uri, strlen(uri), name))
		return (NULL);
	return (path_of(dir, name, ".json"));
}

static char *
copy_string(const json_t *j, const char *key)
{
	const char *s = json_string_value(json_object_get(j, key));

	return (s != NULL ? strdup(s) : NULL);
}

void
tkc_cached_fini(struct tkc_cached *c)
{

	free(c->etag);
	free(c->last_modified);
	free(c->blob.data);
	memset(c, 0, sizeof *c);
}

static json_t *
read_meta(const char *path, const char *uri)
{
	struct tkc_error err;
	struct tkc_blob b;
	const char *s;
	json_t *j;

	if (tkc_file_read("", path, MAX_META, &b, &err))
		return (NULL);
	j = json_loadb(b.data, b.len, 0, NULL);
	free(b.data);
	s = json_string_value(json_object_get(j, "uri"));
	if (s != NULL && strcmp(s, uri) == 0)
		return (j);
	json_decref(j);
	return (NULL);
}

/* The content of that name, whole. */
static bool
read_content(const char *dir, const char *sum, size_t most,
    struct tkc_blob *b)
{
	char *path = path_of(dir, sum, ""), have[65];
	struct tkc_error err;
	bool ok;

	ok = path != NULL && tkc_file_read("", path, most, b, &err) == 0;
	free(path);
	return (ok && tkc_sha256(b->data, b->len, have) &&
	    strcmp(sum, have) == 0);
}

bool
tkc_cache_get(const char *uri, size_t most, struct tkc_cached *c)
{
	char *dir, *meta, why[300];
	bool ok = false;
	const char *s;
	json_t *j;

	memset(c, 0, sizeof *c);
	dir = cache_dir(why, sizeof why);
	if (dir == NULL)
		return (false);
	meta = meta_path(dir, uri);
	j = meta != NULL ? read_meta(meta, uri) : NULL;
	s = json_string_value(json_object_get(j, "sha256"));
	if (s != NULL && tkc_is_sha256(s)) {
		(void)snprintf(c->sha256, sizeof c->sha256, "%s", s);
		c->etag = copy_string(j, "etag");
		c->last_modified = copy_string(j, "last_modified");
		ok = read_content(dir, c->sha256, most, &c->blob);
	}
	json_decref(j);
	free(meta);
	free(dir);
	if (!ok)
		tkc_cached_fini(c);
	return (ok);
}

static int
write_all(int fd, const char *data, size_t len)
{
	ssize_t n;

	while (len > 0) {
		n = write(fd, data, len);
		if (n <= 0)
			return (n < 0 ? errno : EIO);
		data += n;
		len -= (size_t)n;
	}
	return (fsync(fd) != 0 ? errno : 0);
}

/* A file under its name at once, or not at all. 0 or errno. */
static int
write_file(const char *dir, const char *path, const void *data, size_t len)
{
	char *temporary = path_of(dir, ".new-XXXXXX", "");
	int fd, e;

	if (temporary == NULL || path == NULL) {
		free(temporary);
		return (ENOMEM);
	}
	fd = mkostemp(temporary, O_CLOEXEC);
	e = fd < 0 ? errno : write_all(fd, data, len);
	if (fd >= 0)
		(void)close(fd);
	if (e == 0 && rename(temporary, path) != 0)
		e = errno;
	if (e != 0 && fd >= 0)
		(void)unlink(temporary);
	free(temporary);
	return (e);
}

/* What the URI's content was before, if it was another. */
static void
forget_old(const char *dir, const char *meta, const char *uri,
    const char *now)
{
	json_t *j = read_meta(meta, uri);
	const char *s = json_string_value(json_object_get(j, "sha256"));
	char *path;

	if (s != NULL && tkc_is_sha256(s) && strcmp(s, now) != 0 &&
	    (path = path_of(dir, s, "")) != NULL) {
		(void)unlink(path);
		free(path);
	}
	json_decref(j);
}

const char *
tkc_cache_put(const char *uri, const struct tkc_cached *c, char *why,
    size_t room)
{
	char *dir, *meta, *path, *text;
	json_t *j;
	int e;

	dir = cache_dir(why, room);
	if (dir == NULL)
		return (why);
	j = json_pack("{s:s, s:s, s:s*, s:s*}", "uri", uri, "sha256",
	    c->sha256, "etag", c->etag, "last_modified", c->last_modified);
	text = json_dumps(j, JSON_INDENT(1));
	json_decref(j);
	meta = meta_path(dir, uri);
	path = path_of(dir, c->sha256, "");
	e = text == NULL || meta == NULL ? ENOMEM :
	    write_file(dir, path, c->blob.data, c->blob.len);
	if (e == 0) {
		forget_old(dir, meta, uri, c->sha256);
		e = write_file(dir, meta, text, strlen(text));
	}
	if (e != 0)
		(void)snprintf(why, room, "cannot write into %.200s: %s", dir,
		    strerror(e));
	free(path);
	free(meta);
	free(text);
	free(dir);
	return (e == 0 ? NULL : why);
}
