/*-
 * SPDX-License-Identifier: BSD-2-Clause
 *
 * The header tables of the request and the response that the program is part
 * of; they live on the host's side of the table in host.h.
 */

#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <strings.h>

#include "api.h"
#include "fetch.h"
#include "guest_abi.h"

#define MAX_FIELD	65535

/*
 * Copies a text of the guest into the invocation's scratch space; NULL after
 * tk_fail().
 */
static const char *
field(struct tk_machine *m, struct tkc_invocation *inv, const char *call,
    tk_gva gva, uint64_t len)
{

	if (len <= MAX_FIELD && len > inv->scratch_room) {
		char *more = realloc(inv->scratch, MAX_FIELD);

		if (more == NULL) {
			(void)tk_fail(m, gva, "%s: the host has no memory",
			    call);
			return (NULL);
		}
		inv->scratch = more;
		inv->scratch_room = MAX_FIELD;
	}
	if (len == 0 || len > MAX_FIELD) {
		(void)tk_fail(m, gva, "%s: a header field of %llu bytes", call,
		    (unsigned long long)len);
		return (NULL);
	}
	if (!tk_read(m, inv->scratch, gva, len)) {
		(void)tk_fail(m, gva, "%s: %llu bytes at 0x%llx are not the "
		    "program's memory", call, (unsigned long long)len,
		    (unsigned long long)gva);
		return (NULL);
	}
	return (inv->scratch);
}

static bool
where_ok(struct tk_machine *m, const char *call)
{

	if (tk_arg(m, 0) == TKC_HTTP_REQUEST ||
	    tk_arg(m, 0) == TKC_HTTP_RESPONSE)
		return (true);
	(void)tk_fail(m, 0, "%s: there is no header table %llu", call,
	    (unsigned long long)tk_arg(m, 0));
	return (false);
}

static const struct tkc_host_interface *
interface(const struct tkc_invocation *inv)
{

	return (&inv->instance->program->registry->iface);
}

bool
tkc_api_field_is_refused(const struct tkc_invocation *inv, int where,
    const char *f, size_t len, bool another, const char *call)
{
	const struct tkc_host_interface *i = interface(inv);
	const char *found, *colon = memchr(f, ':', len);
	size_t name = colon == NULL ? len : (size_t)(colon - f);
	char what[100];

	if (tkc_fetch_is_depth(f, len))
		(void)snprintf(what, sizeof what, "%s of the field that counts "
		    "requests of programs to Varnish", call);
	else if (tkc_fetch_field_is_ours(f, len))
		(void)snprintf(what, sizeof what, "%s of %.*s, which is the "
		    "connection's", call, (int)name, f);
	else if (another && name == 4 && strncasecmp(f, "Host", 4) == 0 &&
	    i->http_find != NULL &&
	    i->http_find(inv->request->task, where, f, name, &found) > 0)
		(void)snprintf(what, sizeof what, "%s of a second Host", call);
	else
		return (false);
	tkc_program_refused(inv->instance->program, what);
	return (true);
}

enum tk_verdict
tkc_api_http_append(struct tk_machine *m, struct tkc_invocation *inv)
{
	const struct tkc_host_interface *i = interface(inv);
	uint64_t len = tk_arg(m, 2);
	const char *f;

	if (!where_ok(m, "sys_http_append"))
		return (TK_FAIL);
	f = field(m, inv, "sys_http_append", tk_arg(m, 1), len);
	if (f == NULL)
		return (TK_FAIL);
	if (!tkc_field_ok(f, len, true))
		return (tk_fail(m, tk_arg(m, 1), "sys_http_append: not of the "
		    "form \"Name: value\""));
	if (tkc_api_field_is_refused(inv, (int)tk_arg(m, 0), f, len, true,
	    "sys_http_append")) {
		tk_set_result(m, (uint64_t)-1);
		return (TK_RESUME);
	}
	tk_set_result(m, i->http_append == NULL ? 0 : (uint64_t)(int64_t)
	    i->http_append(inv->request->task, (int)tk_arg(m, 0), f, len));
	return (TK_RESUME);
}

enum tk_verdict
tkc_api_http_set(struct tk_machine *m, struct tkc_invocation *inv)
{
	const struct tkc_host_interface *i = interface(inv);
	uint64_t len = tk_arg(m, 2);
	const char *f;

	if (!where_ok(m, "sys_http_set"))
		return (TK_FAIL);
	f = field(m, inv, "sys_http_set", tk_arg(m, 1), len);
	if (f == NULL)
		return (TK_FAIL);
	if (!tkc_field_ok(f, len, memchr(f, ':', len) != NULL))
		return (tk_fail(m, tk_arg(m, 1), "sys_http_set: neither "
		    "\"Name: value\" nor \"Name\""));
	if (tkc_api_field_is_refused(inv, (int)tk_arg(m, 0), f, len, false,
	    "sys_http_set")) {
		tk_set_result(m, 0);
		return (TK_RESUME);
	}
	tk_set_result(m, i->http_set == NULL ? 0 : (uint64_t)(int64_t)
	    i->http_set(inv->request->task, (int)tk_arg(m, 0), f, len));
	return (TK_RESUME);
}

enum tk_verdict
tkc_api_http_find(struct tk_machine *m, struct tkc_invocation *inv)
{
	const struct tkc_host_interface *i = interface(inv);
	uint64_t len = tk_arg(m, 2), room = tk_arg(m, 4);
	tk_gva out = tk_arg(m, 3);
	const char *f, *found = NULL;
	size_t n = 0;

	if (!where_ok(m, "sys_http_find"))
		return (TK_FAIL);
	f = field(m, inv, "sys_http_find", tk_arg(m, 1), len);
	if (f == NULL)
		return (TK_FAIL);
	if (i->http_find != NULL && tkc_field_ok(f, len, false))
		n = i->http_find(inv->request->task, (int)tk_arg(m, 0), f, len,
		    &found);
	if (n > 0 && tkc_fetch_is_depth(found, n))
		n = 0;
	if (n > 0 && out != 0) {
		if (n > room)
			n = 0;
		else if (!tk_write(m, out, found, n))
			return (tk_fail(m, out, "sys_http_find: cannot write "
			    "%zu bytes to 0x%llx", n,
			    (unsigned long long)out));
	}
	tk_set_result(m, n);
	return (TK_RESUME);
}

enum tk_verdict
tkc_api_http_method(struct tk_machine *m, struct tkc_invocation *inv)
{
	const char *method = inv->request->method;
	tk_gva out = tk_arg(m, 0);
	size_t n = strlen(method);

	if (out != 0) {
		if (n > tk_arg(m, 1))
			n = 0;
		else if (!tk_write(m, out, method, n))
			return (tk_fail(m, out, "sys_http_method: cannot write "
			    "%zu bytes to 0x%llx", n,
			    (unsigned long long)out));
	}
	tk_set_result(m, n);
	return (TK_RESUME);
}
