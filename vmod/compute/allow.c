/*-
 * SPDX-License-Identifier: BSD-2-Clause
 */

#include <arpa/inet.h>
#include <ctype.h>
#include <netinet/in.h>
#include <stdlib.h>
#include <string.h>
#include <strings.h>

#include "allow.h"
#include "object.h"

/* So often a path is decoded; one that goes on is not looked at further. */
#define MAX_DECODED	4

struct network {
	uint8_t		address[16];	/* IPv4 as ::ffff:a.b.c.d */
	unsigned	bits;		/* of the 128 */
};

struct tkc_allow_entry {
	char		scheme[8];	/* "": both */
	char		host[256];	/* "*": all; ".x": subdomains of x */
	unsigned	port;		/* 0: the scheme's own */
	char		*path;		/* "": all */
	bool		is_network;
	bool		is_address;	/* the host is one, or localhost */
	struct network	network;	/* also of an address */
};

struct tkc_allow {
	unsigned		magic;
#define TKC_ALLOW_MAGIC		0x6a95c1d2
	unsigned		n;
	struct tkc_allow_entry	entry[];
};

/*--------------------------------------------------------------------
 * Addresses
 */

static bool
within(const struct network *n, const uint8_t address[16])
{
	unsigned bytes = n->bits / 8, rest = n->bits % 8;

	if (memcmp(n->address, address, bytes) != 0)
		return (false);
	return (rest == 0 || (n->address[bytes] >> (8 - rest)) ==
	    (address[bytes] >> (8 - rest)));
}

static void
from_v4(uint8_t to[16], const void *v4)
{

	memset(to, 0, 10);
	to[10] = to[11] = 0xff;
	memcpy(to + 12, v4, 4);
}

/* False for what is neither IPv4 nor IPv6. */
static bool
from_sockaddr(uint8_t to[16], const struct sockaddr *sa)
{

	switch (sa->sa_family) {
	case AF_INET:
		from_v4(to, &((const struct sockaddr_in *)(const void *)
		    sa)->sin_addr);
		return (true);
	case AF_INET6:
		memcpy(to, &((const struct sockaddr_in6 *)(const void *)
		    sa)->sin6_addr, 16);
		return (true);
	default:
		return (false);
	}
}

static bool
read_address(const char *text, struct network *n)
{
	struct in_addr v4;

	n->bits = 128;
	if (inet_pton(AF_INET, text, &v4) == 1) {
		from_v4(n->address, &v4);
		return (true);
	}
	return (inet_pton(AF_INET6, text, n->address) == 1);
}

/* "10.0.0.0/8" or "fc00::/7". */
static bool
read_network(const char *text, struct network *n)
{
	const char *slash = strchr(text, '/');
	char address[64], *end;
	unsigned long bits;
	bool v4;

	if (slash == NULL || (size_t)(slash - text) >= sizeof address ||
	    !isdigit((unsigned char)slash[1]))
		return (false);
	memcpy(address, text, (size_t)(slash - text));
	address[slash - text] = '\0';
	if (!read_address(address, n))
		return (false);
	v4 = strchr(address, ':') == NULL;
	bits = strtoul(slash + 1, &end, 10);
	if (*end != '\0' || bits > (v4 ? 32 : 128))
		return (false);
	n->bits = (unsigned)bits + (v4 ? 96 : 0);
	return (true);
}

/*
 * IANA's special-purpose address registries, IPv4 and IPv6, and multicast: what
 * is not globally reachable. Last those that lead to an IPv4 address inside.
 */
static const char *const not_public[] = {
	"0.0.0.0/8", "10.0.0.0/8", "100.64.0.0/10", "127.0.0.0/8",
	"169.254.0.0/16", "172.16.0.0/12", "192.0.0.0/24", "192.0.2.0/24",
	"192.88.99.0/24", "192.168.0.0/16", "198.18.0.0/15",
	"198.51.100.0/24", "203.0.113.0/24", "224.0.0.0/3",
	"::/96", "64:ff9b:1::/48", "100::/64", "2001::/23", "2001:db8::/32",
	"3fff::/20", "5f00::/16", "fc00::/7", "fe80::/9", "ff00::/8",
	"2002::/16", "64:ff9b::/96",
};

static bool
is_public(const uint8_t address[16])
{
	struct network n;
	size_t i;

	for (i = 0; i < sizeof not_public / sizeof not_public[0]; i++) {
		tk_assert(read_network(not_public[i], &n));
		if (within(&n, address))
			return (false);
	}
	return (true);
}

bool
tkc_allow_address(const struct tkc_allow *a, const struct tkc_allow_entry *e,
    const struct sockaddr *sa)
{
	uint8_t address[16];
	unsigned i;

	TK_CHECK_OBJ(a, TKC_ALLOW_MAGIC);
	if (!from_sockaddr(address, sa))
		return (false);
	if (is_public(address))
		return (true);
	if (e->is_address && within(&e->network, address))
		return (true);
	if (strcmp(e->host, "localhost") == 0 && address[15] == 1) {
		static const struct network v6 = { { [15] = 1 }, 128 };

		if (within(&v6, address))
			return (true);
	}
	for (i = 0; i < a->n; i++)
		if (a->entry[i].is_network &&
		    within(&a->entry[i].network, address))
			return (true);
	return (false);
}

/*--------------------------------------------------------------------
 * Entries
 */

/* Letters of a host name; the rest of the entry is behind them. */
static size_t
host_length(const char *s)
{
	size_t n = 0;

	if (*s == '[') {
		n = strcspn(s, "]");
		return (s[n] == ']' ? n + 1 : 0);
	}
	while (isalnum((unsigned char)s[n]) || (s[n] != '\0' &&
	    strchr("-._*", s[n]) != NULL))
		n++;
	return (n);
}

static void
lower(char *s)
{

	for (; *s != '\0'; s++)
		*s = (char)tolower((unsigned char)*s);
}

/* NULL, or what is wrong with the host. */
static const char *
read_host(struct tkc_allow_entry *e, const char *s, size_t n)
{

	if (n == 0 || n >= sizeof e->host)
		return ("no host is named");
	if (s[0] == '[') {
		s++;
		n -= 2;
	}
	memcpy(e->host, s, n);
	e->host[n] = '\0';
	lower(e->host);
	if (strcmp(e->host, "*") != 0 && strncmp(e->host, "*.", 2) == 0) {
		/* "*.x" is kept as ".x". */
		memmove(e->host, e->host + 1, n);
		if (e->host[1] == '\0')
			return ("no host is named");
	} else if (strcmp(e->host, "localhost") == 0) {
		e->is_address = true;
		(void)read_network("127.0.0.0/8", &e->network);
	} else if (read_address(e->host, &e->network))
		e->is_address = true;
	if (strcmp(e->host, "*") != 0 && strchr(e->host, '*') != NULL)
		return ("a * stands for all hosts, or in front of a dot for "
		    "all subdomains");
	return (NULL);
}

/* NULL, or what is wrong. The path is malloc()ed. */
static const char *
read_entry(struct tkc_allow_entry *e, const char *text)
{
	const char *s = text, *wrong;
	unsigned long port;
	char *end;
	size_t n;

	memset(e, 0, sizeof *e);
	if (read_network(text, &e->network)) {
		e->is_network = true;
		e->path = strdup("");
		return (NULL);
	}
	end = strstr(s, "://");
	if (end != NULL) {
		n = (size_t)(end - s);
		if (!(n == 4 && strncasecmp(s, "http", 4) == 0) &&
		    !(n == 5 && strncasecmp(s, "https", 5) == 0))
			return ("only http and https can be allowed");
		memcpy(e->scheme, s, n);
		lower(e->scheme);
		s = end + 3;
	}
	n = host_length(s);
	wrong = read_host(e, s, n);
	if (wrong != NULL)
		return (wrong);
	s += n;
	if (*s == ':') {
		port = strtoul(s + 1, &end, 10);
		if (!isdigit((unsigned char)s[1]) || port == 0 || port > 65535)
			return ("the port is a number from 1 to 65535");
		e->port = (unsigned)port;
		s = end;
	}
	if (*s != '\0' && *s != '/')
		return ("it is a URL, a host with or without a port, or a "
		    "network");
	if (strpbrk(s, "?#*") != NULL)
		return ("its path has a ?, # or *");
	e->path = strdup(strcmp(s, "/") == 0 ? "" : s);
	return (NULL);
}

int
tkc_allow_check(const char *what, const json_t *list, struct tkc_error *err)
{
	struct tkc_allow_entry e;
	const char *text, *wrong;
	size_t i;

	for (i = 0; i < json_array_size(list); i++) {
		text = json_string_value(json_array_get(list, i));
		wrong = text == NULL ? "it is a string" :
		    read_entry(&e, text);
		if (wrong != NULL)
			return (tkc_fail(err, TKC_SETTINGS, "%s: "
			    "\"allowed_fetch\", entry %zu, \"%.200s\": %s",
			    what, i + 1, text != NULL ? text : "", wrong));
		free(e.path);
	}
	return (0);
}

struct tkc_allow *
tkc_allow_new(tkc_strings list)
{
	struct tkc_allow *a;
	unsigned n = 0;

	while (list[n] != NULL)
		n++;
	a = calloc(1, sizeof *a + n * sizeof a->entry[0]);
	if (a == NULL)
		return (NULL);
	a->magic = TKC_ALLOW_MAGIC;
	for (; a->n < n; a->n++)
		if (read_entry(&a->entry[a->n], list[a->n]) != NULL ||
		    a->entry[a->n].path == NULL) {
			tkc_allow_free(&a);
			return (NULL);
		}
	return (a);
}

void
tkc_allow_free(struct tkc_allow **pa)
{
	struct tkc_allow *a;
	unsigned i;

	TK_TAKE_OBJ(a, pa, TKC_ALLOW_MAGIC);
	for (i = 0; i < a->n; i++)
		free(a->entry[i].path);
	TK_FREE_OBJ(a);
}

static bool
host_matches(const struct tkc_allow_entry *e, const char *host)
{
	const char *pattern = e->host;
	struct network other;
	size_t n, m;

	if (strcmp(pattern, "*") == 0)
		return (true);
	/* The same address may be spelled in several ways. */
	if (e->is_address && read_address(host, &other))
		return (strcmp(pattern, "localhost") != 0 &&
		    memcmp(&other, &e->network, sizeof other) == 0);
	if (pattern[0] != '.')
		return (strcmp(pattern, host) == 0);
	n = strlen(host);
	m = strlen(pattern);
	return (n > m && strcmp(host + n - m, pattern) == 0);
}

/*
 * A segment that some server reads as "." or "..": with a path parameter behind
 * it ("..;x", Tomcat's and others'), or what may be decoded to one, to nothing
 * or to an end. Names like ".well-known" are none.
 */
static bool
has_dots(const char *path)
{
	const char *p;
	size_t n;

	for (p = path; *p != '\0'; p++) {
		if (*p != '/')
			continue;
		n = strspn(p + 1, ".");
		if (n > 0 && strchr("/\\;%", p[1 + n]) != NULL)
			return (true);
	}
	return (false);
}

static int
hex(char c)
{

	if (!isxdigit((unsigned char)c))
		return (-1);
	return (c <= '9' ? c - '0' : (c | 32) - 'a' + 10);
}

/* A character in more bytes of UTF-8 than it needs: perhaps a dot or a slash. */
static bool
is_overlong(const char *s)
{
	unsigned char c = (unsigned char)s[0], d = (unsigned char)s[1];

	return (c == 0xc0 || c == 0xc1 || (c == 0xe0 && d < 0xa0) ||
	    (c == 0xf0 && d < 0x90));
}

/*
 * In place. False: what comes out is, or may be, of another shape: dots,
 * slashes, an end in the middle, or a % that nobody but the server knows how to
 * read. Whoever decodes once more takes such a % as it is.
 */
static bool
decode(char *s, bool once_more, bool *changed)
{
	char *from = s, *to = s;
	int c, d;

	*changed = false;
	for (; *from != '\0'; from++, to++) {
		*to = *from;
		if (*from == '%') {
			c = hex(from[1]);
			d = c < 0 ? -1 : hex(from[2]);
			if (d < 0 && once_more)
				continue;
			if (d < 0)
				return (false);
			*to = (char)(c << 4 | d);
			if (*to == '\0' || strchr("./\\", *to) != NULL)
				return (false);
			from += 2;
			*changed = true;
		}
	}
	*to = '\0';
	for (to = s; *to != '\0'; to++)
		if (*to == '\\' || is_overlong(to))
			return (false);
	return (true);
}

/* Is it the same path to every server, one that decodes it twice included? */
static bool
is_plain(const char *path)
{
	bool changed = true, plain = !has_dots(path);
	char *s = strdup(path);
	unsigned i;

	for (i = 0; i < MAX_DECODED && s != NULL && plain && changed; i++)
		plain = decode(s, i > 0, &changed);
	free(s);
	return (s != NULL && plain && !changed);
}

/*
 * A path prefix ends at a slash. Spellings that a server may read as another
 * path are not matched by one.
 */
static bool
path_matches(const char *prefix, const char *path)
{
	size_t n = strlen(prefix);

	if (n == 0)
		return (true);
	if (strncmp(path, prefix, n) != 0 || (prefix[n - 1] != '/' &&
	    path[n] != '\0' && path[n] != '/'))
		return (false);
	return (is_plain(path));
}

const struct tkc_allow_entry *
tkc_allow_find(const struct tkc_allow *a, const struct tkc_origin *o,
    const char *path)
{
	const struct tkc_allow_entry *e;
	unsigned i, own = strcmp(o->scheme, "https") == 0 ? 443 : 80;

	TK_CHECK_OBJ(a, TKC_ALLOW_MAGIC);
	for (i = 0; i < a->n; i++) {
		e = &a->entry[i];
		if (!e->is_network &&
		    (e->scheme[0] == '\0' || strcmp(e->scheme, o->scheme) == 0)
		    && o->port == (e->port != 0 ? e->port : own) &&
		    host_matches(e, o->host) &&
		    path_matches(e->path, path))
			return (e);
	}
	return (NULL);
}

/*--------------------------------------------------------------------
 * URLs
 */

/* A part of the URL into `to`; false when it is too long. */
static bool
part(CURLU *u, CURLUPart what, char *to, size_t room, unsigned flags)
{
	char *s = NULL;
	bool fits;

	to[0] = '\0';
	if (curl_url_get(u, what, &s, flags) != CURLUE_OK)
		return (true);
	fits = strlen(s) < room;
	if (fits)
		memcpy(to, s, strlen(s) + 1);
	curl_free(s);
	return (fits);
}

const char *
tkc_origin_read(struct tkc_origin *o, CURLU *u)
{
	char user[2], password[2], zone[2], port[8];
	size_t n, i;

	if (!part(u, CURLUPART_SCHEME, o->scheme, sizeof o->scheme, 0) ||
	    (strcmp(o->scheme, "http") != 0 &&
	    strcmp(o->scheme, "https") != 0))
		return ("only http and https are fetched");
	if (!part(u, CURLUPART_USER, user, sizeof user, 0) ||
	    !part(u, CURLUPART_PASSWORD, password, sizeof password, 0) ||
	    user[0] != '\0' || password[0] != '\0')
		return ("a user name belongs into an Authorization header");
	if (!part(u, CURLUPART_ZONEID, zone, sizeof zone, 0) ||
	    zone[0] != '\0')
		return ("an address with a zone");
	if (!part(u, CURLUPART_HOST, o->host, sizeof o->host, 0) ||
	    o->host[0] == '\0')
		return ("a host of no or of more than 255 letters");
	if (!part(u, CURLUPART_PORT, port, sizeof port, CURLU_DEFAULT_PORT))
		return ("a port that is none");
	o->port = (unsigned)strtoul(port, NULL, 10);
	lower(o->host);
	n = strlen(o->host);
	if (o->host[0] == '[' && o->host[n - 1] == ']') {
		memmove(o->host, o->host + 1, n - 2);
		o->host[n - 2] = '\0';
	} else if (n > 1 && o->host[n - 1] == '.')
		o->host[n - 1] = '\0';
	for (i = 0; o->host[i] != '\0'; i++)
		if ((unsigned char)o->host[i] <= ' ' ||
		    (unsigned char)o->host[i] >= 0x7f)
			return ("a host name that is not ASCII: write it as "
			    "xn--...");
	return (NULL);
}

bool
tkc_origin_same(const struct tkc_origin *a, const struct tkc_origin *b)
{

	return (a->port == b->port && strcmp(a->scheme, b->scheme) == 0 &&
	    strcmp(a->host, b->host) == 0);
}
