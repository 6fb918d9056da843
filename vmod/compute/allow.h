/*-
 * SPDX-License-Identifier: BSD-2-Clause
 *
 * The setting "allowed_fetch": which URLs a program may fetch, and which
 * addresses that are not public it may reach thereby.
 *
 *	"https://api.example.com/v1/"	URLs that begin so
 *	"https://api.example.com"	all of that scheme, host and port
 *	"api.example.com"		by http or https, on their own ports
 *	"api.example.com:8080"		by http or https, on this port
 *	"*.example.com"			subdomains; not example.com itself
 *	"*", "https://" and "*"		every host
 *	"http://127.0.0.1:9000"		this address, although it is not public
 *	"10.1.0.0/16"			what may be fetched may lie in there
 *
 * An address that is not public (loopback, private, link-local, ...) is
 * reached only where the entry names the very address (or localhost), or a
 * network entry holds it. That is asked when the connection is made, so a name
 * that resolves to such an address gains nothing.
 */

#ifndef TKC_ALLOW_H_INCLUDED
#define TKC_ALLOW_H_INCLUDED

#include <curl/curl.h>
#include <jansson.h>
#include <sys/socket.h>

#include "settings.h"

struct tkc_allow;		/* a list, in the form that is asked */
struct tkc_allow_entry;

/* Scheme, host and port of a URL, as libcurl will use them. */
struct tkc_origin {
	char			scheme[8];	/* "http" or "https" */
	char			host[256];	/* lower case, no brackets */
	unsigned		port;
};

/*
 * Reads a URL that libcurl has parsed. NULL, or what is wrong with it: the end
 * of a sentence.
 */
const char *tkc_origin_read(struct tkc_origin *, CURLU *);
bool tkc_origin_same(const struct tkc_origin *, const struct tkc_origin *);

/* The setting's value. 0 or TKC_SETTINGS; what: the program. */
int tkc_allow_check(const char *what, const json_t *, struct tkc_error *);

/* From a checked list. NULL: no memory. */
struct tkc_allow *tkc_allow_new(tkc_strings);
void tkc_allow_free(struct tkc_allow **);

/* The entry that allows it, NULL when none does. path: with its slash. */
const struct tkc_allow_entry *tkc_allow_find(const struct tkc_allow *,
    const struct tkc_origin *, const char *path);

/* May the URL that this entry allowed be fetched from this address? */
bool tkc_allow_address(const struct tkc_allow *,
    const struct tkc_allow_entry *, const struct sockaddr *);

#endif /* TKC_ALLOW_H_INCLUDED */
