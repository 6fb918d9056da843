/*-
 * SPDX-License-Identifier: BSD-2-Clause
 */

#include <arpa/inet.h>
#include <netinet/in.h>
#include <pthread.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <strings.h>
#include <sys/random.h>
#include <sys/un.h>

#include "object.h"
#include "program.h"
#include "self.h"

/*
 * The field that tells how deep a request is. It carries a word that only this
 * process knows, so that a client cannot make a program's requests fail by
 * sending one of its own. Guests do not see it.
 */
#define DEPTH_FIELD	"X-TinyKVM-Depth"

static char secret[33];
static pthread_once_t secret_once = PTHREAD_ONCE_INIT;

static void
make_secret(void)
{
	uint8_t random[16] = { 0 };
	unsigned i;

	/* Of 16 bytes it fails with no entropy only; then a clock will do. */
	if (getrandom(random, sizeof random, 0) != (ssize_t)sizeof random) {
		uint64_t now = tkc_now();

		memcpy(random, &now, sizeof now);
	}
	for (i = 0; i < sizeof random; i++)
		(void)snprintf(secret + 2 * i, 3, "%02x", random[i]);
}

static bool
is_field(const char *field, size_t len, const char *name)
{
	size_t n = strlen(name);

	return (len > n && field[n] == ':' && strncasecmp(field, name, n) == 0);
}

/* The field, or its name alone. */
static bool
is_named(const char *field, size_t len, const char *name)
{
	size_t n = strlen(name);

	return (len >= n && (len == n || field[n] == ':') &&
	    strncasecmp(field, name, n) == 0);
}

bool
tkc_fetch_is_depth(const char *field, size_t len)
{

	return (is_named(field, len, DEPTH_FIELD));
}

unsigned
tkc_fetch_depth(const struct tkc_span *h, unsigned n)
{
	char value[64], want[64];
	unsigned i, d;
	size_t len;

	(void)pthread_once(&secret_once, make_secret);
	for (i = 0; i < n; i++) {
		if (!is_field(h[i].ptr, h[i].len, DEPTH_FIELD))
			continue;
		len = h[i].len - strlen(DEPTH_FIELD) - 1;
		if (len >= sizeof value)
			continue;
		memcpy(value, (const char *)h[i].ptr + h[i].len - len, len);
		value[len] = '\0';
		for (d = 1; d <= TKC_MAX_DEPTH; d++) {
			(void)snprintf(want, sizeof want, " %u %s", d, secret);
			if (strcmp(value, want) == 0)
				return (d);
		}
	}
	return (0);
}

bool
tkc_fetch_field_is_ours(const char *field, size_t len)
{
	static const char *const names[] = { "Connection", "Keep-Alive",
	    "Proxy-Connection", "Proxy-Authorization", "TE", "Trailer",
	    "Transfer-Encoding", "Upgrade", "Content-Length", "Expect",
	    DEPTH_FIELD };
	size_t i;

	for (i = 0; i < sizeof names / sizeof names[0]; i++)
		if (is_named(field, len, names[i]))
			return (true);
	return (false);
}

struct curl_slist *
tkc_depth_fields(const struct curl_slist *from, unsigned depth)
{
	struct curl_slist *list, *more;
	char field[100];

	(void)pthread_once(&secret_once, make_secret);
	(void)snprintf(field, sizeof field, "%s: %u %s", DEPTH_FIELD, depth,
	    secret);
	list = curl_slist_append(NULL, field);
	for (; list != NULL && from != NULL; from = from->next) {
		more = curl_slist_append(list, from->data);
		if (more == NULL) {
			curl_slist_free_all(list);
			return (NULL);
		}
		list = more;
	}
	return (list);
}

const char *
tkc_field_value(const struct curl_slist *list, const char *name)
{
	const char *v;

	for (; list != NULL; list = list->next)
		if (is_field(list->data, strlen(list->data), name)) {
			v = list->data + strlen(name) + 1;
			return (v + strspn(v, " \t"));
		}
	return (NULL);
}

void
tkc_drop_fields(struct curl_slist **plist, const char *name)
{
	struct curl_slist *one;

	while ((one = *plist) != NULL) {
		/* "Name;" is libcurl's word for an empty field. */
		if (!is_field(one->data, strlen(one->data), name)) {
			plist = &one->next;
			continue;
		}
		*plist = one->next;
		one->next = NULL;
		curl_slist_free_all(one);
	}
}

bool
tkc_origin_with_host(struct tkc_origin *o, const struct tkc_origin *from,
    const char *host)
{
	bool ok = false;
	char *text;
	CURLU *u;

	if (strpbrk(host, "/?#@\\ \t") != NULL ||
	    asprintf(&text, "%s://%s/", from->scheme, host) < 0)
		return (false);
	u = curl_url();
	if (u != NULL && curl_url_set(u, CURLUPART_URL, text, 0) == CURLUE_OK)
		ok = tkc_origin_read(o, u) == NULL;
	curl_url_cleanup(u);
	free(text);
	/* A Host field without a port says nothing about the port. */
	if (ok && strchr(host, ':') == NULL)
		o->port = from->port;
	return (ok);
}

void
tkc_address_text(const struct sockaddr *sa, char *text, size_t room)
{
	const void *a = NULL;

	if (sa->sa_family == AF_INET)
		a = &((const struct sockaddr_in *)(const void *)sa)->sin_addr;
	else if (sa->sa_family == AF_INET6)
		a = &((const struct sockaddr_in6 *)(const void *)
		    sa)->sin6_addr;
	if (a == NULL || inet_ntop(sa->sa_family, a, text,
	    (socklen_t)room) == NULL)
		(void)snprintf(text, room, "what is found");
}

/*--------------------------------------------------------------------
 * Where Varnish listens
 */

static const char *
read_prefix(struct tkc_self *s, const char *prefix)
{
	const char *wrong = NULL;
	char *path = NULL;
	CURLU *u = curl_url();

	if (u == NULL || curl_url_set(u, CURLUPART_URL, prefix, 0))
		wrong = "http_prefix is no URL: http://127.0.0.1:6081 is one";
	else
		wrong = tkc_origin_read(&s->origin, u);
	if (wrong == NULL && curl_url_get(u, CURLUPART_PATH, &path, 0) == 0 &&
	    strcmp(path, "/") != 0)
		wrong = "http_prefix has a path: a host and a port are "
		    "expected";
	curl_free(path);
	curl_url_cleanup(u);
	return (wrong);
}

struct tkc_self *
tkc_self_new(const char *path, const char *prefix, unsigned most,
    const char **wrong)
{
	struct sockaddr_un sun;
	struct tkc_self *s;
	size_t n;

	tkc_curl_init();
	*wrong = "out of memory";
	TK_ALLOC_OBJ(s, TKC_SELF_MAGIC);
	if (s == NULL)
		return (NULL);
	s->most = most;
	s->prefix = strdup(prefix);
	if (path[0] != '\0')
		s->socket = strdup(path);
	if (s->prefix == NULL || (path[0] != '\0' && s->socket == NULL)) {
		tkc_self_free(&s);
		return (NULL);
	}
	n = strlen(s->prefix);
	if (n > 0 && s->prefix[n - 1] == '/')
		s->prefix[n - 1] = '\0';
	if (path[0] != '\0' && path[0] != '/')
		*wrong = "unix_socket is not an absolute path";
	else if (strlen(path) >= sizeof sun.sun_path)
		*wrong = "the path of unix_socket is longer than 107 bytes";
	else
		*wrong = read_prefix(s, prefix);
	if (*wrong != NULL)
		tkc_self_free(&s);
	return (s);
}

void
tkc_self_free(struct tkc_self **ps)
{
	struct tkc_self *s;

	TK_TAKE_OBJ(s, ps, TKC_SELF_MAGIC);
	free(s->socket);
	free(s->prefix);
	TK_FREE_OBJ(s);
}
