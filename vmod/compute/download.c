/*-
 * SPDX-License-Identifier: BSD-2-Clause
 *
 * What operators name: libraries and executables of programs at http(s) URIs.
 * Their proxies (http_proxy, ...) are used and their networks reached; it is
 * programs that are kept from these, not those who set Varnish up.
 */

#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <strings.h>

#include "fetch.h"
#include "source.h"

#define CONNECT_SECONDS	10L
#define STALL_SECONDS	15L		/* with less than so many bytes a */
#define STALL_BYTES	1000L		/* second: given up */

struct transfer {
	struct tkc_download	*d;
	struct tkc_cached	got;
	size_t			room;
	bool			too_large, no_memory;
	long			status;
	char			error[CURL_ERROR_SIZE];
	char			shown[400];	/* the URI without a password */
};

static size_t
on_body(char *data, size_t size, size_t n, void *priv)
{
	struct transfer *t = priv;
	struct tkc_blob *b = &t->got.blob;
	char *more;

	n *= size;
	if (n > t->d->most - b->len) {
		t->too_large = true;
		return (0);
	}
	if (n > t->room - b->len) {
		t->room = (t->room + n) * 2;
		more = realloc(b->data, t->room);
		if (more == NULL) {
			t->no_memory = true;
			return (0);
		}
		b->data = more;
	}
	memcpy((char *)b->data + b->len, data, n);
	b->len += n;
	return (n);
}

static void
keep(char **to, const char *line, size_t n, const char *name)
{
	size_t len = strlen(name);

	if (n <= len || strncasecmp(line, name, len) != 0)
		return;
	line += len;
	n -= len;
	while (n > 0 && (*line == ' ' || *line == '\t')) {
		line++;
		n--;
	}
	while (n > 0 && (unsigned char)line[n - 1] <= ' ')
		n--;
	free(*to);
	*to = strndup(line, n);
}

static size_t
on_header(char *line, size_t size, size_t n, void *priv)
{
	struct transfer *t = priv;

	n *= size;
	if (n > 5 && strncmp(line, "HTTP/", 5) == 0) {
		/* That of a redirect was another's. */
		free(t->got.etag);
		free(t->got.last_modified);
		t->got.etag = t->got.last_modified = NULL;
	}
	keep(&t->got.etag, line, n, "ETag:");
	keep(&t->got.last_modified, line, n, "Last-Modified:");
	return (n);
}

static int
on_progress(void *priv, curl_off_t dltotal, curl_off_t dlnow,
    curl_off_t ultotal, curl_off_t ulnow)
{
	struct transfer *t = priv;

	(void)dltotal;
	(void)dlnow;
	(void)ultotal;
	(void)ulnow;
	return (t->d->stop != NULL && t->d->stop(t->d->priv));
}

/* For messages: without what must not be in a log. */
static void
show(struct transfer *t)
{
	CURLU *u = curl_url();
	char *text = NULL;

	if (u != NULL && curl_url_set(u, CURLUPART_URL, t->d->uri, 0) == 0) {
		(void)curl_url_set(u, CURLUPART_USER, NULL, 0);
		(void)curl_url_set(u, CURLUPART_PASSWORD, NULL, 0);
		(void)curl_url_get(u, CURLUPART_URL, &text, 0);
	}
	(void)snprintf(t->shown, sizeof t->shown, "%s",
	    text != NULL ? text : "the URI");
	curl_free(text);
	curl_url_cleanup(u);
}

static void
set_options(CURL *c, struct transfer *t, struct curl_slist *fields)
{
	struct tkc_download *d = t->d;
	bool tls = strncasecmp(d->uri, "https:", 6) == 0;

	(void)curl_easy_setopt(c, CURLOPT_URL, d->uri);
	(void)curl_easy_setopt(c, CURLOPT_NOSIGNAL, 1L);
	(void)curl_easy_setopt(c, CURLOPT_USERAGENT, "TinyKVM");
	tkc_curl_trust(c);
	(void)curl_easy_setopt(c, CURLOPT_FOLLOWLOCATION, 1L);
	(void)curl_easy_setopt(c, CURLOPT_MAXREDIRS, 10L);
	/* What began with TLS does not end without. */
#if LIBCURL_VERSION_NUM >= 0x075500
	(void)curl_easy_setopt(c, CURLOPT_PROTOCOLS_STR, "http,https");
	(void)curl_easy_setopt(c, CURLOPT_REDIR_PROTOCOLS_STR,
	    tls ? "https" : "http,https");
#else
	(void)curl_easy_setopt(c, CURLOPT_PROTOCOLS,
	    (long)(CURLPROTO_HTTP | CURLPROTO_HTTPS));
	(void)curl_easy_setopt(c, CURLOPT_REDIR_PROTOCOLS, (long)(tls ?
	    CURLPROTO_HTTPS : CURLPROTO_HTTP | CURLPROTO_HTTPS));
#endif
#if LIBCURL_VERSION_NUM >= 0x075700
	/* Not to wait for a name server when the VCL becomes cold. */
	(void)curl_easy_setopt(c, CURLOPT_QUICK_EXIT, 1L);
#endif
	(void)curl_easy_setopt(c, CURLOPT_ERRORBUFFER, t->error);
	(void)curl_easy_setopt(c, CURLOPT_HTTPHEADER, fields);
	(void)curl_easy_setopt(c, CURLOPT_CONNECTTIMEOUT, CONNECT_SECONDS);
	(void)curl_easy_setopt(c, CURLOPT_TIMEOUT_MS,
	    (long)(d->seconds * 1000));
	(void)curl_easy_setopt(c, CURLOPT_LOW_SPEED_LIMIT, STALL_BYTES);
	(void)curl_easy_setopt(c, CURLOPT_LOW_SPEED_TIME, STALL_SECONDS);
	(void)curl_easy_setopt(c, CURLOPT_MAXFILESIZE_LARGE,
	    (curl_off_t)d->most);
	(void)curl_easy_setopt(c, CURLOPT_WRITEFUNCTION, on_body);
	(void)curl_easy_setopt(c, CURLOPT_WRITEDATA, t);
	(void)curl_easy_setopt(c, CURLOPT_HEADERFUNCTION, on_header);
	(void)curl_easy_setopt(c, CURLOPT_HEADERDATA, t);
	(void)curl_easy_setopt(c, CURLOPT_XFERINFOFUNCTION, on_progress);
	(void)curl_easy_setopt(c, CURLOPT_XFERINFODATA, t);
	(void)curl_easy_setopt(c, CURLOPT_NOPROGRESS, 0L);
}

static struct curl_slist *
add(struct curl_slist *list, const char *name, const char *value)
{
	struct curl_slist *more;
	char *field;

	if (value == NULL || asprintf(&field, "%s: %s", name, value) < 0)
		return (list);
	more = curl_slist_append(list, field);
	free(field);
	return (more != NULL ? more : list);
}

/* old: what there is, whose validators are asked about; may be NULL. */
static CURLcode
transfer(struct transfer *t, const struct tkc_cached *old)
{
	struct curl_slist *fields = NULL;
	CURLcode e = CURLE_OUT_OF_MEMORY;
	CURL *c;

	tkc_curl_init();
	c = curl_easy_init();
	if (c == NULL)
		return (e);
	if (old != NULL) {
		fields = add(fields, "If-None-Match", old->etag);
		fields = add(fields, "If-Modified-Since",
		    old->last_modified);
	}
	set_options(c, t, fields);
	e = curl_easy_perform(c);
	(void)curl_easy_getinfo(c, CURLINFO_RESPONSE_CODE, &t->status);
	curl_easy_cleanup(c);
	curl_slist_free_all(fields);
	return (e);
}

/* 0 when the answer can be used, or a sentence in *err. */
static int
judge(struct transfer *t, CURLcode e, bool conditional, struct tkc_error *err)
{
	const struct tkc_download *d = t->d;

	if (t->too_large || e == CURLE_FILESIZE_EXCEEDED)
		return (tkc_fail(err, TKC_SETTINGS, "%s: %s is larger than "
		    "%zu MiB", d->what, t->shown, d->most >> 20));
	if (t->no_memory)
		return (tkc_fail(err, TKC_ENVIRONMENT, "%s: no memory for %s",
		    d->what, t->shown));
	if (e == CURLE_ABORTED_BY_CALLBACK)
		return (tkc_fail(err, TKC_STOPPED, "%s: its VCL became cold "
		    "while %s was fetched", d->what, t->shown));
	if (e != CURLE_OK)
		return (tkc_fail(err, TKC_ENVIRONMENT, "%s: cannot fetch %s: "
		    "%s", d->what, t->shown, t->error[0] != '\0' ? t->error :
		    curl_easy_strerror(e)));
	if (conditional && t->status == 304)
		return (0);
	if (t->status != 200)
		return (tkc_fail(err, t->status >= 500 || t->status == 429 ?
		    TKC_ENVIRONMENT : TKC_SETTINGS, "%s: cannot fetch %s: "
		    "status %ld", d->what, t->shown, t->status));
	if (t->got.blob.len == 0)
		return (tkc_fail(err, TKC_SETTINGS, "%s: %s is empty",
		    d->what, t->shown));
	return (0);
}

static int
check_sum(const struct transfer *t, const struct tkc_cached *c,
    struct tkc_error *err)
{

	if (t->d->sha256 == NULL || strcasecmp(t->d->sha256, c->sha256) == 0)
		return (0);
	return (tkc_fail(err, TKC_SETTINGS, "%s: %s has the SHA-256 %s, not "
	    "that of the setting \"sha256\"", t->d->what, t->shown,
	    c->sha256));
}

static int
take_new(struct transfer *t, struct tkc_blob *b, struct tkc_error *err)
{
	struct tkc_download *d = t->d;
	int e;

	if (!tkc_sha256(t->got.blob.data, t->got.blob.len, t->got.sha256))
		return (tkc_fail(err, TKC_ENVIRONMENT, "Out of memory"));
	e = check_sum(t, &t->got, err);
	if (e != 0)
		return (e);
	d->fresh = true;
	d->etag = t->got.etag;
	d->last_modified = t->got.last_modified;
	memcpy(d->got, t->got.sha256, sizeof d->got);
	*b = t->got.blob;
	memset(&t->got, 0, sizeof t->got);
	return (0);
}

void
tkc_download_keep(struct tkc_download *d, const struct tkc_blob *b)
{
	struct tkc_cached c;
	char why[500];

	if (!d->fresh)
		return;
	c.etag = d->etag;
	c.last_modified = d->last_modified;
	memcpy(c.sha256, d->got, sizeof c.sha256);
	c.blob = *b;
	if (tkc_cache_put(d->uri, &c, why, sizeof why) != NULL)
		(void)snprintf(d->note, sizeof d->note, "no copy of what was "
		    "fetched is kept: %s", why);
}

void
tkc_download_fini(struct tkc_download *d)
{

	free(d->etag);
	free(d->last_modified);
	d->etag = d->last_modified = NULL;
}

static int
fetch(struct transfer *t, struct tkc_cached *old, struct tkc_blob *b,
    struct tkc_error *err)
{
	bool have = old->blob.data != NULL;
	int e;

	e = judge(t, transfer(t, have ? old : NULL), have, err);
	if (e == 0 && t->status == 200)
		return (take_new(t, b, err));
	/* Withdrawn is withdrawn; unreachable is not. */
	if (!have || (e != 0 && e != TKC_ENVIRONMENT))
		return (e);
	if (e != 0) {
		(void)snprintf(t->d->note, sizeof t->d->note, "%.500s; the "
		    "copy from before is used", err->text);
		t->d->warning = true;
	}
	e = check_sum(t, old, err);
	if (e != 0)
		return (e);
	*b = old->blob;
	memset(&old->blob, 0, sizeof old->blob);
	return (0);
}

int
tkc_download(struct tkc_download *d, struct tkc_blob *b,
    struct tkc_error *err)
{
	struct tkc_cached old;
	struct transfer *t;
	int e;

	memset(b, 0, sizeof *b);
	d->note[0] = '\0';
	t = calloc(1, sizeof *t);
	if (t == NULL)
		return (tkc_fail(err, TKC_ENVIRONMENT, "Out of memory"));
	t->d = d;
	show(t);
	(void)tkc_cache_get(d->uri, d->most, &old);
	if (old.blob.data != NULL && d->sha256 != NULL &&
	    strcasecmp(d->sha256, old.sha256) == 0) {
		/* It is what is wanted, whatever the server has by now. */
		*b = old.blob;
		memset(&old.blob, 0, sizeof old.blob);
		e = 0;
	} else
		e = fetch(t, &old, b, err);
	tkc_cached_fini(&old);
	tkc_cached_fini(&t->got);
	free(t);
	return (e);
}
