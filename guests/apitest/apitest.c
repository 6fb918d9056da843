/*-
 * SPDX-License-Identifier: BSD-2-Clause
 *
 * The guest API, one behaviour per URL.
 */

#include "apitest.h"

const char *
value(const struct kvm_request *r, const char *name)
{
	const char *v = kvm_header(r, name);

	return (v != NULL ? v : "");
}

long
number(const struct kvm_request *r, const char *name, long otherwise)
{
	const char *v = kvm_header(r, name);

	return (v != NULL ? strtol(v, NULL, 0) : otherwise);
}

static void
look_for(const struct behaviour *b, const struct kvm_request *r)
{

	for (; b->url != NULL; b++)
		if (strcmp(b->url, r->url) == 0)
			b->f(r);
}

static void
on_request(const struct kvm_request *r)
{

	look_for(http_calls, r);
	look_for(regex_calls, r);
	look_for(fetch_calls, r);
	respondf(404, "no such behaviour: %s\n", r->url);
}

static void
on_error(const char *url, const char *arg, const char *what)
{

	(void)url;
	/* What it changes itself is for good, unless it fails, too. */
	if (strncmp(arg, "X-", 2) == 0)
		(void)sys_http_append(KVM_HTTP_REQUEST_HEADERS, arg,
		    strlen(arg));
	if (strstr(arg, "fault") != NULL)
		*(volatile char *)8 = 1;
	respondf(500, "%s\n", what);
}

int
main(int argc, char **argv)
{

	regex_init();
	fetch_init(argc, argv);
	if (getenv("NO_ERROR_HANDLER") == NULL)
		set_on_error(on_error);
	kvm_serve(on_request);
}
