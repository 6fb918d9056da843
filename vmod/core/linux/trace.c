/*-
 * SPDX-License-Identifier: BSD-2-Clause
 *
 * System calls in words, in the manner of strace(1).
 */

#include <errno.h>
#include <stdarg.h>
#include <stdio.h>

#include "../object.h"
#include "linux.h"

#define MAX_STRING	80

struct line {
	char	text[512];
	size_t	len;
};

static void __attribute__((format(printf, 2, 3)))
add(struct line *l, const char *fmt, ...)
{
	va_list ap;
	int n;

	va_start(ap, fmt);
	n = vsnprintf(l->text + l->len, sizeof l->text - l->len, fmt, ap);
	va_end(ap);
	if (n > 0)
		l->len += (size_t)n;
	if (l->len >= sizeof l->text)
		l->len = sizeof l->text - 1;
}

/* A string of the guest: its beginning, with what cannot be printed hidden. */
static void
add_string(struct line *l, const struct tk_machine *m, tk_gva gva)
{
	unsigned i;
	char c;

	if (!tk_read(m, &c, gva, 1)) {
		add(l, "0x%llx", (unsigned long long)gva);
		return;
	}
	add(l, "\"");
	for (i = 0; i < MAX_STRING && tk_read(m, &c, gva + i, 1) && c != '\0';
	    i++)
		add(l, "%c", c >= ' ' && c < 0x7f && c != '"' ? c : '.');
	add(l, i == MAX_STRING ? "\"..." : "\"");
}

static void
add_argument(struct line *l, const struct tk_machine *m, char kind,
    uint64_t a)
{

	switch (kind) {
	case 's':
		add_string(l, m, a);
		break;
	case 'd':
		add(l, "%d", (int)a);
		break;
	case 'u':
		add(l, "%llu", (unsigned long long)a);
		break;
	case 'o':
		add(l, "0%llo", (unsigned long long)a);
		break;
	default:
		if (a == 0)
			add(l, "0");
		else
			add(l, "0x%llx", (unsigned long long)a);
	}
}

void
tk_trace_call(struct tk_machine *m, uint64_t number, const uint64_t arg[6],
    int64_t result)
{
	struct line l = { "", 0 };
	const char *kinds = tk_linux_arguments(number);
	char name[24];
	unsigned i;

	if (m->threads.alive > 1)
		add(&l, "[%u] ", tk_current(&m->threads)->tid);
	add(&l, "%s(", tk_linux_name(number, name, sizeof name));
	for (i = 0; kinds[i] != '\0' && i < 6; i++) {
		if (i > 0)
			add(&l, ", ");
		add_argument(&l, m, kinds[i], arg[i]);
	}
	switch (result) {
	case TK_CALL_ENDED:
		add(&l, ") ends the program");
		break;
	case TK_CALL_RESUMED:
		add(&l, ")");
		break;
	case TK_CALL_BLOCKED:
		add(&l, ") waits");
		break;
	case TK_CALL_DONE:
		add(&l, ") completes the answer");
		break;
	default:
		if (result < 0 && result > -4096)
			add(&l, ") = -%s", strerrorname_np((int)-result) ?
			    strerrorname_np((int)-result) : "?");
		else if (result < 0 || result > 0xffffff)
			add(&l, ") = 0x%llx", (unsigned long long)result);
		else
			add(&l, ") = %lld", (long long)result);
	}
	m->ops->trace(l.text, m->priv);
}
