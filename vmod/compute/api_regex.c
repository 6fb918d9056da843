/*-
 * SPDX-License-Identifier: BSD-2-Clause
 *
 * Regular expressions for guests, and texts of guests in general.
 */

#include <stdlib.h>
#include <string.h>

#include "api.h"
#include "fetch.h"
#include "guest_abi.h"
#include "guest_regex.h"

#define MAX_RESULT	(16 * 1024 * 1024)	/* of a substitution */
#define MAX_REPLACEMENT	65535
#define SUBST_ALL	1

/*--------------------------------------------------------------------
 * Texts
 */

char *
tkc_api_bytes(struct tk_machine *m, tk_gva gva, uint64_t len, size_t most,
    const char *what)
{
	char *p;

	if (len > most) {
		(void)tk_fail(m, gva, "%s of %llu bytes: at most %zu", what,
		    (unsigned long long)len, most);
		return (NULL);
	}
	if (!tk_readable(m, gva, len)) {
		(void)tk_fail(m, gva, "%s: %llu bytes at 0x%llx are not the "
		    "program's memory", what, (unsigned long long)len,
		    (unsigned long long)gva);
		return (NULL);
	}
	p = malloc(len + 1);
	if (p == NULL || !tk_read(m, p, gva, len)) {
		free(p);
		(void)tk_fail(m, gva, "%s: no memory for a copy of %llu bytes",
		    what, (unsigned long long)len);
		return (NULL);
	}
	p[len] = '\0';
	return (p);
}

char *
tkc_api_string(struct tk_machine *m, tk_gva gva, size_t most,
    const char *what, size_t *len)
{
	const char *p, *end;
	size_t n = 0, have;

	for (;;) {
		p = tk_readable(m, gva + n, 1) ?
		    tk_view(m, gva + n, most + 1 - n, &have) : NULL;
		if (p == NULL) {
			(void)tk_fail(m, gva, "%s: the text at 0x%llx is not "
			    "the program's memory", what,
			    (unsigned long long)gva);
			return (NULL);
		}
		end = memchr(p, '\0', have);
		n += end != NULL ? (size_t)(end - p) : have;
		if (end != NULL)
			break;
		if (n > most) {
			(void)tk_fail(m, gva, "%s: the text at 0x%llx is "
			    "longer than %zu bytes, or has no NUL", what,
			    (unsigned long long)gva, most);
			return (NULL);
		}
	}
	*len = n;
	return (tkc_api_bytes(m, gva, n, most, what));
}

/*--------------------------------------------------------------------*/

static struct tkc_regexes *
table(struct tk_machine *m, struct tkc_instance *in,
    struct tkc_invocation *inv)
{
	struct tkc_regexes **px;

	/* What a warm-up request compiles is frozen with the program. */
	if (in->warming != NULL)
		inv = NULL;
	px = inv != NULL ? &inv->regexes : &in->regexes;
	if (*px == NULL)
		*px = tkc_regexes_new(inv != NULL ? in->regexes : NULL);
	if (*px == NULL)
		(void)tk_fail(m, 0, "the host has no memory for regular "
		    "expressions");
	return (*px);
}

/* The table when the first argument is one of its handles. */
static struct tkc_regexes *
table_of_handle(struct tk_machine *m, struct tkc_instance *in,
    struct tkc_invocation *inv, const char *call)
{
	struct tkc_regexes *x = table(m, in, inv);

	if (x == NULL || tkc_regexes_has(x, tk_arg(m, 0)))
		return (x);
	(void)tk_fail(m, 0, "%s: there is no regular expression %lld", call,
	    (long long)tk_arg(m, 0));
	return (NULL);
}

enum tk_verdict
tkc_api_regex_compile(struct tk_machine *m, struct tkc_instance *in,
    struct tkc_invocation *inv)
{
	struct tkc_regexes *x = table(m, in, inv);
	char why[200], *pattern;
	uint64_t len = tk_arg(m, 1);
	int h;

	if (x == NULL)
		return (TK_FAIL);
	pattern = tkc_api_bytes(m, tk_arg(m, 0), len, TKC_MAX_PATTERN,
	    "sys_regex_compile: a pattern");
	if (pattern == NULL)
		return (TK_FAIL);
	h = tkc_regexes_compile(x, pattern, len, why, sizeof why);
	if (h < 0)
		(void)tk_fail(m, tk_arg(m, 0), "sys_regex_compile \"%.100s\": "
		    "%s", pattern, why);
	free(pattern);
	if (h < 0)
		return (TK_FAIL);
	tk_set_result(m, (uint64_t)h);
	return (TK_RESUME);
}

enum tk_verdict
tkc_api_regex_free(struct tk_machine *m, struct tkc_instance *in,
    struct tkc_invocation *inv)
{
	struct tkc_regexes *x;

	x = table_of_handle(m, in, inv, "sys_regex_free");
	if (x == NULL)
		return (TK_FAIL);
	tkc_regexes_drop(x, (unsigned)tk_arg(m, 0));
	tk_set_result(m, 0);
	return (TK_RESUME);
}

enum tk_verdict
tkc_api_regex_match(struct tk_machine *m, struct tkc_instance *in,
    struct tkc_invocation *inv)
{
	struct tkc_regexes *x;
	uint64_t len = tk_arg(m, 2);
	char *subject;
	int n;

	x = table_of_handle(m, in, inv, "sys_regex_match");
	if (x == NULL)
		return (TK_FAIL);
	subject = tkc_api_bytes(m, tk_arg(m, 1), len,
	    tkc_regexes_most(x, (unsigned)tk_arg(m, 0)),
	    "sys_regex_match: for this pattern a subject");
	if (subject == NULL)
		return (TK_FAIL);
	n = tkc_regexes_match(x, (unsigned)tk_arg(m, 0), subject, len, m);
	free(subject);
	tk_set_result(m, (uint64_t)(int64_t)n);
	return (tk_resume_in_time(m));
}

/* The result goes to the guest with its NUL. */
static enum tk_verdict
subst(struct tk_machine *m, struct tkc_regexes *x, const char *subject,
    size_t len, const char *replacement)
{
	tk_gva to = tk_arg(m, 3);
	uint64_t size = tk_arg(m, 4);
	bool ok = true;
	char *out;
	int64_t n;

	if (size > MAX_RESULT)
		size = MAX_RESULT;
	n = tkc_regexes_subst(x, (unsigned)tk_arg(m, 0), subject, len,
	    replacement, (tk_arg(m, 5) & SUBST_ALL) != 0, size, m, &out);
	if (n >= 0)
		ok = tk_write(m, to, out, (size_t)n + 1);
	free(out);
	if (!ok)
		return (tk_fail(m, to, "sys_regex_subst: cannot write %lld "
		    "bytes to 0x%llx", (long long)n + 1,
		    (unsigned long long)to));
	tk_set_result(m, (uint64_t)(n >= 0 ? n + 1 : n));
	return (tk_resume_in_time(m));
}

enum tk_verdict
tkc_api_regex_subst(struct tk_machine *m, struct tkc_instance *in,
    struct tkc_invocation *inv)
{
	enum tk_verdict v = TK_FAIL;
	char *subject, *replacement = NULL;
	struct tkc_regexes *x;
	size_t len, rlen;

	x = table_of_handle(m, in, inv, "sys_regex_subst");
	if (x == NULL)
		return (TK_FAIL);
	subject = tkc_api_string(m, tk_arg(m, 1),
	    tkc_regexes_most(x, (unsigned)tk_arg(m, 0)),
	    "sys_regex_subst: for this pattern the subject", &len);
	if (subject != NULL)
		replacement = tkc_api_string(m, tk_arg(m, 2), MAX_REPLACEMENT,
		    "sys_regex_subst: the replacement", &rlen);
	if (replacement != NULL)
		v = subst(m, x, subject, len, replacement);
	free(subject);
	free(replacement);
	return (v);
}

/*
 * Fields of one table that match, to the other. A field is copied before the
 * append, which may move the tables.
 */
enum tk_verdict
tkc_api_regex_copyto(struct tk_machine *m, struct tkc_invocation *inv)
{
	const struct tkc_host_interface *i =
	    &inv->instance->program->registry->iface;
	void *task = inv->request->task;
	struct tkc_regexes *x;
	const char *field;
	unsigned n = 0, k, copied = 0;
	size_t len, most;
	char *copy;

	x = table_of_handle(m, inv->instance, inv, "sys_regex_copyto");
	if (x == NULL)
		return (TK_FAIL);
	for (k = 1; k < 3; k++)
		if (tk_arg(m, k) != TKC_HTTP_REQUEST &&
		    tk_arg(m, k) != TKC_HTTP_RESPONSE)
			return (tk_fail(m, 0, "sys_regex_copyto: there is no "
			    "header table %llu",
			    (unsigned long long)tk_arg(m, k)));
	most = tkc_regexes_most(x, (unsigned)tk_arg(m, 0));
	/* As many as there are now: the two may be one. */
	while (i->http_field != NULL && i->http_append != NULL &&
	    i->http_field(task, (int)tk_arg(m, 1), n, &field) > 0)
		n++;
	for (k = 0; k < n; k++) {
		len = i->http_field(task, (int)tk_arg(m, 1), k, &field);
		/* A field that is too long for it does not match. */
		if (len == 0 || tkc_fetch_is_depth(field, len) ||
		    len > most || tkc_regexes_match(x, (unsigned)tk_arg(m, 0),
		    field, len, m) < 1)
			continue;
		copy = malloc(len);
		if (copy == NULL)
			break;
		memcpy(copy, field, len);
		if (tkc_field_ok(copy, len, true) &&
		    !tkc_api_field_is_refused(inv, (int)tk_arg(m, 2), copy, len,
		    true, "sys_regex_copyto") && i->http_append(task,
		    (int)tk_arg(m, 2), copy, len) >= 0)
			copied++;
		free(copy);
	}
	tk_set_result(m, copied);
	return (tk_resume_in_time(m));
}
