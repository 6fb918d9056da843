/*-
 * SPDX-License-Identifier: BSD-2-Clause
 *
 * HTTP for guests, by libcurl. What a guest names is taken for hostile: each
 * URL, that of every redirect too, and each address that is connected to is
 * held against the program's allow-list.
 *
 * A fetcher belongs to one fork, to storage or to a booting program, and is
 * used by one thread at a time. Its connections end with the boot, the request,
 * the call of storage or the batch of events that they were opened in: what a
 * server says on one, or whom it takes the other side for, belongs to nobody
 * else. What stays is names, for a minute, TLS sessions, and the authorities that
 * are trusted; libcurl keeps no cookies, passwords, HSTS or Alt-Svc unless asked
 * to.
 */

#ifndef TKC_FETCH_H_INCLUDED
#define TKC_FETCH_H_INCLUDED

#include "allow.h"

#define TKC_FETCH_TYPE		128	/* bytes of a content type, NUL too */

struct tkc_fetcher;

/* Where URLs that begin with "/" go; one for each registry. */
struct tkc_self {
	unsigned		magic;
#define TKC_SELF_MAGIC		0x11f7a06e
	char			*socket;	/* path, or NULL: by TCP */
	char			*prefix;	/* "http://host:port" */
	struct tkc_origin	origin;		/* of the prefix */
	unsigned		most;		/* at the same time */
	_Atomic unsigned	running;
};

struct tkc_fetch {
	/* What is asked. */
	const char		*url;
	const char		*method;	/* NULL: GET, or POST */
	struct curl_slist	*fields;	/* "Name: value", checked */
	bool			to_self;	/* the URL is a path */
	bool			follow;		/* redirects */
	bool			no_body;	/* HEAD */
	bool			verify_host;
	bool			fast_open;
	bool			has_post;
	uint64_t		post_len;
	double			seconds;	/* in all */
	unsigned		depth;		/* of the request we serve */
	/* The body to send: bytes copied to buf from offset; 0 fails. */
	size_t			(*send)(void *priv, char *buf, size_t room,
				    uint64_t offset);
	/* A piece of the answer; length: of all of it, 0 unknown. */
	bool			(*receive)(void *priv, const char *, size_t,
				    uint64_t length);
	/* Asked all the time: is the time over before seconds are? */
	bool			(*over)(void *priv);
	void			*priv;
	bool			want_headers;

	/* What came. */
	unsigned		status;
	char			type[TKC_FETCH_TYPE];
	char			*headers;	/* malloc()ed, with a NUL */
	size_t			headers_len;
	bool			refused;	/* by policy, not by the net */
	char			why[400];	/* when it failed */
};

/* NULL: no memory. */
struct tkc_fetcher *tkc_fetcher_new(void);
void tkc_fetcher_free(struct tkc_fetcher **);
/* Closes its connections. */
void tkc_fetcher_rest(struct tkc_fetcher *);

/*
 * 0, or a CURLcode and .why. What is asked is the caller's, .headers is his to
 * free.
 */
CURLcode tkc_fetch(struct tkc_fetcher *, struct tkc_fetch *,
    const struct tkc_allow *, struct tkc_self *);

/* NULL with what is wrong: the end of a sentence. socket may be "". */
struct tkc_self *tkc_self_new(const char *socket, const char *prefix,
    unsigned most, const char **wrong);
void tkc_self_free(struct tkc_self **);

/*
 * The field that says so, or its name alone. Guests neither see nor change it:
 * it is a secret.
 */
bool tkc_fetch_is_depth(const char *field, size_t len);

/*
 * A field that we send ourselves or that belongs to a connection, or the name of
 * one.
 */
bool tkc_fetch_field_is_ours(const char *field, size_t len);

/*
 * How deep the request of these header fields is in requests of programs to
 * Varnish: 0 for a client's.
 */
unsigned tkc_fetch_depth(const struct tkc_span *, unsigned n);

/* Once, before anything of libcurl. */
void tkc_curl_init(void);
/* Whom a connection trusts: $TINYKVM_CA_FILE, else the system's authorities. */
void tkc_curl_trust(void *curl);

#endif /* TKC_FETCH_H_INCLUDED */
