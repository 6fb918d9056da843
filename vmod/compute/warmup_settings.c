/*-
 * SPDX-License-Identifier: BSD-2-Clause
 */

#include <stdlib.h>
#include <string.h>

#include "api.h"
#include "settings.h"

#define MAX_REQUESTS	100000
#define MAX_HEADERS	256

static int
check_headers(const char *what, const json_t *v, struct tkc_error *err)
{
	const json_t *h;
	size_t i;

	if (!json_is_array(v) || json_array_size(v) > MAX_HEADERS)
		return (tkc_fail(err, TKC_SETTINGS, "%s: \"headers\" of "
		    "\"warmup\" is a list of at most %d strings", what,
		    MAX_HEADERS));
	json_array_foreach((json_t *)(uintptr_t)v, i, h)
		if (!json_is_string(h) || !tkc_field_ok(json_string_value(h),
		    json_string_length(h), true))
			return (tkc_fail(err, TKC_SETTINGS, "%s: \"headers\" "
			    "of \"warmup\", number %zu: a string \"Name: "
			    "value\" is expected", what, i + 1));
	return (0);
}

static int
check_text(const char *what, const char *name, const json_t *v,
    struct tkc_error *err)
{

	if (!json_is_string(v) || json_string_length(v) == 0 ||
	    json_string_length(v) > 65535 ||
	    strlen(json_string_value(v)) != json_string_length(v))
		return (tkc_fail(err, TKC_SETTINGS, "%s: \"%s\" of "
		    "\"warmup\" is a string, not empty", what, name));
	return (0);
}

int
tkc_warmup_check(const char *what, const json_t *j, struct tkc_error *err)
{
	const char *name;
	const json_t *v;
	json_int_t n;
	int e = 0;

	if (!json_is_object(j))
		return (tkc_fail(err, TKC_SETTINGS, "%s: \"warmup\" is an "
		    "object: { \"num_requests\", \"url\", \"method\", "
		    "\"headers\" }", what));
	json_object_foreach((json_t *)(uintptr_t)j, name, v) {
		if (strcmp(name, "num_requests") == 0) {
			n = json_integer_value(v);
			if (!json_is_integer(v) || n < 0 || n > MAX_REQUESTS)
				e = tkc_fail(err, TKC_SETTINGS, "%s: "
				    "\"num_requests\" of \"warmup\" is a "
				    "whole number from 0 to %d", what,
				    MAX_REQUESTS);
		} else if (strcmp(name, "url") == 0 ||
		    strcmp(name, "method") == 0)
			e = check_text(what, name, v, err);
		else if (strcmp(name, "headers") == 0)
			e = check_headers(what, v, err);
		else
			e = tkc_fail(err, TKC_SETTINGS, "%s: there is no "
			    "\"%.64s\" in \"warmup\": \"num_requests\", "
			    "\"url\", \"method\" and \"headers\" are", what,
			    name);
		if (e != 0)
			return (e);
	}
	return (0);
}

static char *
text(const json_t *v, const char *otherwise)
{

	return (strdup(v != NULL ? json_string_value(v) : otherwise));
}

bool
tkc_warmup_read(struct tkc_warmup *to, const json_t *j)
{
	const json_t *n = json_object_get(j, "num_requests");
	struct tkc_warmup w;

	w.num_requests = n != NULL ? (unsigned)json_integer_value(n) : 20;
	w.url = text(json_object_get(j, "url"), "/");
	w.method = text(json_object_get(j, "method"), "GET");
	w.headers = tkc_strings_from_json(json_object_get(j, "headers"));
	if (w.url == NULL || w.method == NULL || w.headers == NULL) {
		tkc_warmup_fini(&w);
		return (false);
	}
	tkc_warmup_fini(to);
	*to = w;
	return (true);
}

void
tkc_warmup_fini(struct tkc_warmup *w)
{

	free(w->url);
	free(w->method);
	tkc_strings_free(&w->headers);
	memset(w, 0, sizeof *w);
}
