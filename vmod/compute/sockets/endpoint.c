/*-
 * SPDX-License-Identifier: BSD-2-Clause
 */

#include <arpa/inet.h>
#include <stdlib.h>
#include <string.h>
#include <sys/un.h>

#include "../settings.h"
#include "endpoint.h"

#define MAX_SYSTEMS	16
/* What a guest's table of descriptors has room for. */
#define MAX_CONNECTIONS	1000
#define MAX_IDLE	86400

static int
whole(const char *what, const char *key, const char *name, const json_t *v,
    long min, long max, struct tkc_error *err)
{

	if (json_is_integer(v) && json_integer_value(v) >= min &&
	    json_integer_value(v) <= max)
		return (0);
	return (tkc_fail(err, TKC_SETTINGS, "%s: \"%s\" of \"%s\" is a whole "
	    "number from %ld to %ld", what, name, key, min, max));
}

static int
address(const char *what, const char *key, const json_t *v,
    struct tkc_error *err)
{
	const char *text = json_string_value(v);
	unsigned char buf[16];

	if (text != NULL && (inet_pton(AF_INET, text, buf) == 1 ||
	    inet_pton(AF_INET6, text, buf) == 1))
		return (0);
	return (tkc_fail(err, TKC_SETTINGS, "%s: \"address\" of \"%s\" is an "
	    "address in numbers, such as \"127.0.0.1\" or \"::\"", what, key));
}

static int
path(const char *what, const char *key, const json_t *v,
    struct tkc_error *err)
{
	const size_t most = sizeof ((struct sockaddr_un *)0)->sun_path;

	if (json_is_string(v) && json_string_value(v)[0] == '/' &&
	    json_string_length(v) < most)
		return (0);
	return (tkc_fail(err, TKC_SETTINGS, "%s: \"path\" of \"%s\" is an "
	    "absolute path of less than %zu bytes", what, key, most));
}

static int
check_one(const char *what, const char *key, const char *name,
    const json_t *v, struct tkc_error *err)
{

	if (strcmp(name, "port") == 0)
		return (whole(what, key, name, v, 1, 65535, err));
	if (strcmp(name, "systems") == 0)
		return (whole(what, key, name, v, 1, MAX_SYSTEMS, err));
	if (strcmp(name, "max_connections") == 0)
		return (whole(what, key, name, v, 1, MAX_CONNECTIONS, err));
	if (strcmp(name, "address") == 0)
		return (address(what, key, v, err));
	if (strcmp(name, "path") == 0)
		return (path(what, key, v, err));
	if (strcmp(name, "idle_timeout") == 0) {
		if (json_is_number(v) && json_number_value(v) >= 0 &&
		    json_number_value(v) <= MAX_IDLE)
			return (0);
		return (tkc_fail(err, TKC_SETTINGS, "%s: \"idle_timeout\" of "
		    "\"%s\" is a number from 0 to %d", what, key, MAX_IDLE));
	}
	return (tkc_fail(err, TKC_SETTINGS, "%s: there is no \"%.64s\" in "
	    "\"%s\": \"port\", \"address\", \"path\", \"systems\", "
	    "\"max_connections\" and \"idle_timeout\" are", what, name, key));
}

int
tkc_endpoint_check(const char *what, const char *key, const json_t *j,
    struct tkc_error *err)
{
	bool by_port = json_object_get(j, "port") != NULL;
	const char *name;
	const json_t *v;
	int e;

	if (!json_is_object(j) ||
	    by_port == (json_object_get(j, "path") != NULL))
		return (tkc_fail(err, TKC_SETTINGS, "%s: \"%s\" is an object "
		    "with either \"port\" or \"path\"", what, key));
	if (!by_port && json_object_get(j, "address") != NULL)
		return (tkc_fail(err, TKC_SETTINGS, "%s: \"%s\" has an "
		    "\"address\" or a \"path\", not both", what, key));
	json_object_foreach((json_t *)(uintptr_t)j, name, v) {
		e = check_one(what, key, name, v, err);
		if (e != 0)
			return (e);
	}
	return (0);
}

static unsigned
number(const json_t *j, const char *name, unsigned otherwise)
{
	const json_t *v = json_object_get(j, name);

	return (v != NULL ? (unsigned)json_integer_value(v) : otherwise);
}

bool
tkc_endpoint_read(struct tkc_endpoint *to, const json_t *j)
{
	const json_t *p = json_object_get(j, "path");
	const json_t *a = json_object_get(j, "address");
	struct tkc_endpoint e;

	memset(&e, 0, sizeof e);
	if (p != NULL)
		e.path = strdup(json_string_value(p));
	else
		e.address = strdup(a != NULL ? json_string_value(a) :
		    "127.0.0.1");
	if (e.path == NULL && e.address == NULL)
		return (false);
	e.port = number(j, "port", 0);
	e.systems = number(j, "systems", 1);
	e.max_connections = number(j, "max_connections", MAX_CONNECTIONS);
	e.idle_timeout = json_number_value(json_object_get(j,
	    "idle_timeout"));
	tkc_endpoint_fini(to);
	*to = e;
	return (true);
}

void
tkc_endpoint_fini(struct tkc_endpoint *e)
{

	free(e->address);
	free(e->path);
	memset(e, 0, sizeof *e);
}
