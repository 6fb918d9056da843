/*-
 * SPDX-License-Identifier: BSD-2-Clause
 */

#include <fcntl.h>
#include <stdarg.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <strings.h>
#include <sys/un.h>
#include <unistd.h>

#include "clock.h"
#include "fetch.h"
#include "object.h"
#include "self.h"

#define MAX_REDIRECTS	10
#define MAX_HEADERS	65536		/* bytes of an answer's head */
#define CONNECT_MS	5000L
#define KEEP_CONNECTIONS 4L

struct tkc_fetcher {
	unsigned		magic;
#define TKC_FETCHER_MAGIC	0x2d80b35c
	CURL			*curl;
	/* The connections of one request, opened for one entry. */
	CURLSH			*kept;
	const struct tkc_allow_entry *kept_for;
	char			error[CURL_ERROR_SIZE];
	/* Of the fetch under way. */
	struct tkc_fetch	*f;
	const struct tkc_allow	*allow;
	const struct tkc_allow_entry *entry;	/* NULL: to ourselves */
	bool			by_socket;
	bool			located;	/* the answer has a Location */
	bool			over;		/* f->over() said so */
	uint64_t		sent;
	char			refused[200];	/* an address, and why */
};

struct tkc_fetcher *
tkc_fetcher_new(void)
{
	struct tkc_fetcher *x;

	tkc_curl_init();
	TK_ALLOC_OBJ(x, TKC_FETCHER_MAGIC);
	if (x == NULL)
		return (NULL);
	x->curl = curl_easy_init();
	if (x->curl == NULL)
		TK_FREE_OBJ(x);
	return (x);
}

void
tkc_fetcher_free(struct tkc_fetcher **px)
{
	struct tkc_fetcher *x;

	TK_TAKE_OBJ(x, px, TKC_FETCHER_MAGIC);
	tkc_fetcher_rest(x);
	curl_easy_cleanup(x->curl);
	TK_FREE_OBJ(x);
}

void
tkc_fetcher_rest(struct tkc_fetcher *x)
{

	TK_CHECK_OBJ(x, TKC_FETCHER_MAGIC);
	if (x->kept == NULL)
		return;
	(void)curl_easy_setopt(x->curl, CURLOPT_SHARE, NULL);
	(void)curl_share_cleanup(x->kept);
	x->kept = NULL;
}

static CURLcode __attribute__((format(printf, 3, 4)))
fail(struct tkc_fetch *f, CURLcode code, const char *fmt, ...)
{
	va_list ap;

	va_start(ap, fmt);
	(void)vsnprintf(f->why, sizeof f->why, fmt, ap);
	va_end(ap);
	return (code);
}

static CURLcode __attribute__((format(printf, 2, 3)))
refuse(struct tkc_fetch *f, const char *fmt, ...)
{
	va_list ap;

	f->refused = true;
	va_start(ap, fmt);
	(void)vsnprintf(f->why, sizeof f->why, fmt, ap);
	va_end(ap);
	return (CURLE_REMOTE_ACCESS_DENIED);
}

/*--------------------------------------------------------------------
 * What libcurl calls
 */

/* Where the rules meet the address that a name has led to. */
static curl_socket_t
on_socket(void *priv, curlsocktype purpose, struct curl_sockaddr *a)
{
	struct tkc_fetcher *x = priv;
	char text[64] = "?";

	(void)purpose;
	if (a->family == AF_UNIX ? !x->by_socket : x->entry != NULL &&
	    !tkc_allow_address(x->allow, x->entry, &a->addr)) {
		tkc_address_text(&a->addr, text, sizeof text);
		(void)snprintf(x->refused, sizeof x->refused, "%s is not a "
		    "public address, and allowed_fetch does not name it",
		    text);
		return (CURL_SOCKET_BAD);
	}
	return (socket(a->family, a->socktype | SOCK_CLOEXEC, a->protocol));
}

static size_t
on_send(char *buf, size_t size, size_t n, void *priv)
{
	struct tkc_fetcher *x = priv;
	struct tkc_fetch *f = x->f;
	uint64_t left = f->post_len - x->sent;

	n *= size;
	if (n > left)
		n = left;
	if (n == 0)
		return (0);
	n = f->send(f->priv, buf, n, x->sent);
	if (n == 0)
		return (CURL_READFUNC_ABORT);
	x->sent += n;
	return (n);
}

/* A kept connection turned out to be dead: the body goes out again. */
static int
on_seek(void *priv, curl_off_t offset, int whence)
{
	struct tkc_fetcher *x = priv;

	if (whence != SEEK_SET || offset < 0 ||
	    (uint64_t)offset > x->f->post_len)
		return (CURL_SEEKFUNC_FAIL);
	x->sent = (uint64_t)offset;
	return (CURL_SEEKFUNC_OK);
}

static int
on_progress(void *priv, curl_off_t dltotal, curl_off_t dlnow,
    curl_off_t ultotal, curl_off_t ulnow)
{
	struct tkc_fetcher *x = priv;

	(void)dltotal;
	(void)dlnow;
	(void)ultotal;
	(void)ulnow;
	x->over = x->f->over(x->f->priv);
	return (x->over);
}

static bool
redirects(struct tkc_fetcher *x)
{
	long status = 0;

	(void)curl_easy_getinfo(x->curl, CURLINFO_RESPONSE_CODE, &status);
	return (x->f->follow && x->located && (status == 301 ||
	    status == 302 || status == 303 || status == 307 || status == 308));
}

static size_t
on_body(char *data, size_t size, size_t n, void *priv)
{
	struct tkc_fetcher *x = priv;
	curl_off_t length = -1;

	n *= size;
	if (n == 0 || redirects(x))
		return (n);
	(void)curl_easy_getinfo(x->curl, CURLINFO_CONTENT_LENGTH_DOWNLOAD_T,
	    &length);
	if (!x->f->receive(x->f->priv, data, n,
	    length > 0 ? (uint64_t)length : 0))
		return (0);
	return (n);
}

static size_t
on_header(char *line, size_t size, size_t n, void *priv)
{
	struct tkc_fetcher *x = priv;
	struct tkc_fetch *f = x->f;
	char *more;

	n *= size;
	if (n > 5 && strncmp(line, "HTTP/", 5) == 0) {
		/* Behind a 100 Continue follows the answer. */
		f->headers_len = 0;
		x->located = false;
	}
	if (n > 9 && strncasecmp(line, "Location:", 9) == 0)
		x->located = true;
	if (!f->want_headers)
		return (n);
	if (f->headers_len + n > MAX_HEADERS) {
		(void)fail(f, CURLE_FILESIZE_EXCEEDED, "the answer's header "
		    "fields are more than %d bytes", MAX_HEADERS);
		return (0);
	}
	more = realloc(f->headers, f->headers_len + n + 1);
	if (more == NULL)
		return (0);
	memcpy(more + f->headers_len, line, n);
	f->headers = more;
	f->headers_len += n;
	f->headers[f->headers_len] = '\0';
	return (n);
}

/*--------------------------------------------------------------------
 * One request and its answer
 */

/*
 * Does everybody see the end of this request and of its answer where we do? A
 * body that a server did not expect, or that we do not read, would be taken for
 * the next request or answer on this connection.
 */
static bool
ends_plainly(const struct tkc_fetch *f)
{
	static const char *const without[] = { "GET", "DELETE", NULL };
	static const char *const with[] = { "POST", "PUT", "PATCH", NULL };
	const char *const *m = f->has_post ? with : without;

	if (f->no_body)
		return (false);
	if (f->method == NULL)
		return (true);
	while (*m != NULL && strcmp(*m, f->method) != 0)
		m++;
	return (*m != NULL);
}

/*
 * on_socket() is not asked about a connection that is there already: none is
 * used for what another entry allows.
 */
static void
set_connections(struct tkc_fetcher *x, const struct tkc_fetch *f)
{

	if (x->kept_for != x->entry)
		tkc_fetcher_rest(x);
	x->kept_for = x->entry;
	if (x->kept == NULL)
		x->kept = curl_share_init();
	if (x->kept != NULL)
		(void)curl_share_setopt(x->kept, CURLSHOPT_SHARE,
		    CURL_LOCK_DATA_CONNECT);
	(void)curl_easy_setopt(x->curl, CURLOPT_SHARE, x->kept);
	(void)curl_easy_setopt(x->curl, CURLOPT_MAXCONNECTS, KEEP_CONNECTIONS);
	(void)curl_easy_setopt(x->curl, CURLOPT_FORBID_REUSE,
	    x->kept != NULL && ends_plainly(f) ? 0L : 1L);
}

static void
set_method(struct tkc_fetcher *x, const struct tkc_fetch *f)
{
	CURL *c = x->curl;

	if (f->has_post) {
		(void)curl_easy_setopt(c, CURLOPT_POST, 1L);
		(void)curl_easy_setopt(c, CURLOPT_POSTFIELDSIZE_LARGE,
		    (curl_off_t)f->post_len);
		(void)curl_easy_setopt(c, CURLOPT_READFUNCTION, on_send);
		(void)curl_easy_setopt(c, CURLOPT_READDATA, x);
		(void)curl_easy_setopt(c, CURLOPT_SEEKFUNCTION, on_seek);
		(void)curl_easy_setopt(c, CURLOPT_SEEKDATA, x);
	} else if (f->no_body)
		(void)curl_easy_setopt(c, CURLOPT_NOBODY, 1L);
	if (f->method != NULL)
		(void)curl_easy_setopt(c, CURLOPT_CUSTOMREQUEST, f->method);
}

static void
set_options(struct tkc_fetcher *x, const struct tkc_fetch *f, CURLU *url,
    struct curl_slist *fields, const struct tkc_self *self, double seconds)
{
	/* libcurl counts in ms: not a moment before the request's own end. */
	long ms = (long)(seconds * 1000) + 5;
	CURL *c = x->curl;

	curl_easy_reset(c);
	(void)curl_easy_setopt(c, CURLOPT_CURLU, url);
	/* Threads: no signals. */
	(void)curl_easy_setopt(c, CURLOPT_NOSIGNAL, 1L);
	/* A proxy would hide the address that is asked about. */
	(void)curl_easy_setopt(c, CURLOPT_PROXY, "");
#if LIBCURL_VERSION_NUM >= 0x075500
	(void)curl_easy_setopt(c, CURLOPT_PROTOCOLS_STR, "http,https");
#else
	(void)curl_easy_setopt(c, CURLOPT_PROTOCOLS,
	    (long)(CURLPROTO_HTTP | CURLPROTO_HTTPS));
#endif
#if LIBCURL_VERSION_NUM >= 0x075700
	/* Not to wait for a name server when the time is over. */
	(void)curl_easy_setopt(c, CURLOPT_QUICK_EXIT, 1L);
#endif
	(void)curl_easy_setopt(c, CURLOPT_ERRORBUFFER, x->error);
	(void)curl_easy_setopt(c, CURLOPT_USERAGENT, "TinyKVM");
	(void)curl_easy_setopt(c, CURLOPT_TIMEOUT_MS, ms > 0 ? ms : 1L);
	(void)curl_easy_setopt(c, CURLOPT_CONNECTTIMEOUT_MS, CONNECT_MS);
	(void)curl_easy_setopt(c, CURLOPT_OPENSOCKETFUNCTION, on_socket);
	(void)curl_easy_setopt(c, CURLOPT_OPENSOCKETDATA, x);
	(void)curl_easy_setopt(c, CURLOPT_WRITEFUNCTION, on_body);
	(void)curl_easy_setopt(c, CURLOPT_WRITEDATA, x);
	(void)curl_easy_setopt(c, CURLOPT_HEADERFUNCTION, on_header);
	(void)curl_easy_setopt(c, CURLOPT_HEADERDATA, x);
	(void)curl_easy_setopt(c, CURLOPT_XFERINFOFUNCTION, on_progress);
	(void)curl_easy_setopt(c, CURLOPT_XFERINFODATA, x);
	(void)curl_easy_setopt(c, CURLOPT_NOPROGRESS, 0L);
	(void)curl_easy_setopt(c, CURLOPT_HTTPHEADER, fields);
	(void)curl_easy_setopt(c, CURLOPT_SSL_VERIFYHOST,
	    f->verify_host ? 2L : 0L);
	tkc_curl_trust(c);
	if (f->fast_open)
		(void)curl_easy_setopt(c, CURLOPT_TCP_FASTOPEN, 1L);
	if (self != NULL && self->socket != NULL)
		(void)curl_easy_setopt(c, CURLOPT_UNIX_SOCKET_PATH,
		    self->socket);
	set_connections(x, f);
	set_method(x, f);
}

static CURLcode
perform(struct tkc_fetcher *x, struct tkc_fetch *f)
{
	const char *type = NULL;
	long status = 0;
	CURLcode e;

	x->error[0] = x->refused[0] = '\0';
	x->located = x->over = false;
	x->sent = 0;
	e = curl_easy_perform(x->curl);
	(void)curl_easy_getinfo(x->curl, CURLINFO_RESPONSE_CODE, &status);
	f->status = (unsigned)status;
	if (e == CURLE_OK) {
		f->type[0] = '\0';
		(void)curl_easy_getinfo(x->curl, CURLINFO_CONTENT_TYPE, &type);
		if (type != NULL)
			(void)snprintf(f->type, sizeof f->type, "%s", type);
		return (CURLE_OK);
	}
	if (e == CURLE_ABORTED_BY_CALLBACK && x->over)
		return (fail(f, CURLE_OPERATION_TIMEDOUT, "its time is over"));
	if (e == CURLE_COULDNT_CONNECT && x->refused[0] != '\0')
		return (refuse(f, "%s", x->refused));
	/* A callback may have said it better, and with another code. */
	if (f->why[0] != '\0')
		return (e == CURLE_WRITE_ERROR ? CURLE_FILESIZE_EXCEEDED : e);
	return (fail(f, e, "%s", x->error[0] != '\0' ? x->error :
	    curl_easy_strerror(e)));
}

/* Is this hop allowed? Sets who may be connected to. */
static CURLcode
check_hop(struct tkc_fetcher *x, struct tkc_fetch *f, CURLU *url, bool to_self)
{
	struct tkc_origin o, by_header;
	const char *wrong, *host;
	char *path = NULL;

	x->entry = NULL;
	x->by_socket = false;
	wrong = tkc_origin_read(&o, url);
	if (wrong != NULL)
		return (fail(f, CURLE_URL_MALFORMAT, "%s", wrong));
	if (to_self)
		return (CURLE_OK);
	if (curl_url_get(url, CURLUPART_PATH, &path, 0) != CURLUE_OK)
		return (fail(f, CURLE_OUT_OF_MEMORY, "no memory"));
	if (x->allow != NULL)
		x->entry = tkc_allow_find(x->allow, &o, path);
	/* A server may go by the Host field instead. */
	host = tkc_field_value(f->fields, "Host");
	if (x->entry != NULL && host != NULL && (
	    !tkc_origin_with_host(&by_header, &o, host) ||
	    tkc_allow_find(x->allow, &by_header, path) == NULL)) {
		curl_free(path);
		return (refuse(f, "the Host field \"%.100s\" is not in "
		    "allowed_fetch", host));
	}
	curl_free(path);
	if (x->entry == NULL)
		return (refuse(f, "%s://%s:%u is not in allowed_fetch",
		    o.scheme, o.host, o.port));
	return (CURLE_OK);
}

/* One hop to ourselves: counted, and marked with its depth. */
static CURLcode
ask_self(struct tkc_fetcher *x, struct tkc_fetch *f, CURLU *url,
    struct tkc_self *self, double seconds)
{
	struct curl_slist *fields;
	CURLcode e;

	if (f->depth >= TKC_MAX_DEPTH)
		return (fail(f, CURLE_TOO_MANY_REDIRECTS, "a loop? This "
		    "request is the %uth of programs that ask Varnish, which "
		    "asks programs", f->depth));
	if (self->running++ >= self->most) {
		self->running--;
		return (fail(f, CURLE_AGAIN, "%u requests to Varnish itself "
		    "are under way (max_concurrent_requests of "
		    "init_self_requests())", self->most));
	}
	x->by_socket = self->socket != NULL;
	fields = tkc_depth_fields(f->fields, f->depth + 1);
	if (fields == NULL)
		e = fail(f, CURLE_OUT_OF_MEMORY, "no memory");
	else {
		set_options(x, f, url, fields, self, seconds);
		e = perform(x, f);
		curl_slist_free_all(fields);
	}
	self->running--;
	return (e);
}

/*--------------------------------------------------------------------
 * Redirects, hop by hop
 */

/* The next URL, in *url. */
static CURLcode
next_hop(struct tkc_fetcher *x, CURLU **url)
{
	char *target = NULL;
	CURLU *next;

	(void)curl_easy_getinfo(x->curl, CURLINFO_REDIRECT_URL, &target);
	next = curl_url();
	if (target == NULL || next == NULL || curl_url_set(next,
	    CURLUPART_URL, target, CURLU_NON_SUPPORT_SCHEME)) {
		curl_url_cleanup(next);
		return (fail(x->f, CURLE_URL_MALFORMAT, "redirected to what "
		    "is no URL"));
	}
	curl_url_cleanup(*url);
	*url = next;
	return (CURLE_OK);
}

/*
 * RFC 9110, 15.4: after 303, and by custom after 301 and 302 to a POST, a GET
 * follows. What was for the first host only is not for another.
 */
static CURLcode
change(struct tkc_fetch *f, const struct tkc_origin *from, CURLU *to)
{
	struct tkc_origin o;
	const char *wrong;

	if ((f->status == 303 && !f->no_body) || ((f->status == 301 ||
	    f->status == 302) && f->has_post && f->method == NULL)) {
		f->has_post = false;
		f->method = NULL;
		tkc_drop_fields(&f->fields, "Content-Type");
	}
	wrong = tkc_origin_read(&o, to);
	if (wrong != NULL)
		return (refuse(f, "redirected: %s", wrong));
	if (!tkc_origin_same(from, &o)) {
		tkc_drop_fields(&f->fields, "Authorization");
		tkc_drop_fields(&f->fields, "Cookie");
		tkc_drop_fields(&f->fields, "Host");
	}
	return (CURLE_OK);
}

static CURLcode
follow(struct tkc_fetcher *x, struct tkc_fetch *f, CURLU **url,
    struct tkc_self *self)
{
	double until = tkc_seconds() + f->seconds;
	struct tkc_origin o;
	bool to_self = f->to_self;
	unsigned hops = 0;
	CURLcode e;

	for (;;) {
		e = check_hop(x, f, *url, to_self);
		if (e != CURLE_OK)
			return (e);
		if (to_self)
			e = ask_self(x, f, *url, self, until - tkc_seconds());
		else {
			set_options(x, f, *url, f->fields, NULL,
			    until - tkc_seconds());
			e = perform(x, f);
		}
		if (e != CURLE_OK || !redirects(x))
			return (e);
		if (++hops > MAX_REDIRECTS)
			return (fail(f, CURLE_TOO_MANY_REDIRECTS, "more than "
			    "%d redirects", MAX_REDIRECTS));
		(void)tkc_origin_read(&o, *url);
		e = next_hop(x, url);
		if (e == CURLE_OK)
			e = change(f, &o, *url);
		if (e != CURLE_OK)
			return (e);
		/* Varnish may lead to itself, nobody else to it. */
		if (to_self) {
			(void)tkc_origin_read(&o, *url);
			to_self = tkc_origin_same(&o, &self->origin);
		}
	}
}

CURLcode
tkc_fetch(struct tkc_fetcher *x, struct tkc_fetch *f,
    const struct tkc_allow *allow, struct tkc_self *self)
{
	char *whole = NULL;
	CURLUcode ue;
	CURLcode e;
	CURLU *url;

	TK_CHECK_OBJ(x, TKC_FETCHER_MAGIC);
	f->why[0] = '\0';
	if (f->to_self && self == NULL)
		return (refuse(f, "where Varnish listens is not known: "
		    "tinykvm.init_self_requests() in vcl_init says it"));
	if (f->to_self && (f->url[0] != '/' ||
	    asprintf(&whole, "%s%s", self->prefix, f->url) < 0))
		return (fail(f, CURLE_URL_MALFORMAT, "a request to Varnish "
		    "itself is a path: it begins with /"));
	url = curl_url();
	ue = url == NULL ? CURLUE_OUT_OF_MEMORY : curl_url_set(url,
	    CURLUPART_URL, whole != NULL ? whole : f->url, 0);
	free(whole);
	if (ue != CURLUE_OK) {
		curl_url_cleanup(url);
		return (fail(f, CURLE_URL_MALFORMAT, "this is no URL: %s",
		    curl_url_strerror(ue)));
	}
	x->f = f;
	x->allow = allow;
	e = follow(x, f, &url, self);
	x->f = NULL;
	/* The handle must not keep what is freed now. */
	curl_easy_reset(x->curl);
	curl_url_cleanup(url);
	return (e);
}
