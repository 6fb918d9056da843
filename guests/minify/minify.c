/*-
 * SPDX-License-Identifier: BSD-2-Clause
 *
 * JSON or CSS in (POST), the same without what only people need.
 */

#include <ctype.h>
#include <stdlib.h>

#include "kvm_api.h"

struct scan {
	const char	*s;
	size_t		len, at;
	char		*out;
	size_t		n;
	const char	*error;
};

/* Where something is wrong: line and column from 1. */
static void __attribute__((noreturn))
complain(const struct scan *c)
{
	size_t line = 1, column = 1, i;

	for (i = 0; i < c->at && i < c->len; i++) {
		column++;
		if (c->s[i] == '\n') {
			line++;
			column = 1;
		}
	}
	respondf(400, "line %zu, column %zu: %s\n", line, column, c->error);
}

static int
is_space(char c)
{

	return (c == ' ' || c == '\t' || c == '\n' || c == '\r');
}

/* Is what stands behind a backslash an escape of JSON? */
static int
is_escape(const struct scan *c)
{
	const char *s = c->s + c->at;
	size_t left = c->len - c->at, i;

	if (*s != 'u')
		return (*s != '\0' && strchr("\"\\/bfnrt", *s) != NULL);
	for (i = 1; i <= 4 && i < left; i++)
		if (!isxdigit((unsigned char)s[i]))
			return (0);
	return (i == 5);
}

/* Copies a quoted string with its quotes; *at stands behind it. */
static int
copy_string(struct scan *c, int css)
{
	char quote = c->s[c->at];
	size_t start = c->at;

	c->out[c->n++] = c->s[c->at++];
	while (c->at < c->len) {
		char ch = c->s[c->at];

		if (ch == '\n' || (!css && (unsigned char)ch < 0x20)) {
			c->error = "a control character in a string";
			return (0);
		}
		c->out[c->n++] = ch;
		c->at++;
		if (ch == quote)
			return (1);
		if (ch == '\\' && c->at < c->len && !css && !is_escape(c)) {
			c->error = "there is no such escape";
			return (0);
		}
		if (ch == '\\' && c->at < c->len)
			c->out[c->n++] = c->s[c->at++];
	}
	c->at = start;
	c->error = "the string does not end";
	return (0);
}

/*--------------------------------------------------------------------
 * JSON (RFC 8259): checked while it is copied.
 */

#define MAX_DEPTH	512

static void
skip(struct scan *c)
{

	while (c->at < c->len && is_space(c->s[c->at]))
		c->at++;
}

static int
digits(struct scan *c)
{
	size_t from = c->at;

	while (c->at < c->len && c->s[c->at] >= '0' && c->s[c->at] <= '9')
		c->out[c->n++] = c->s[c->at++];
	return (c->at > from);
}

static int
number(struct scan *c)
{

	if (c->s[c->at] == '-')
		c->out[c->n++] = c->s[c->at++];
	if (c->at + 1 < c->len && c->s[c->at] == '0' &&
	    c->s[c->at + 1] >= '0' && c->s[c->at + 1] <= '9')
		goto bad;
	if (!digits(c))
		goto bad;
	if (c->at < c->len && c->s[c->at] == '.') {
		c->out[c->n++] = c->s[c->at++];
		if (!digits(c))
			goto bad;
	}
	if (c->at < c->len && (c->s[c->at] == 'e' || c->s[c->at] == 'E')) {
		c->out[c->n++] = c->s[c->at++];
		if (c->at < c->len && (c->s[c->at] == '+' ||
		    c->s[c->at] == '-'))
			c->out[c->n++] = c->s[c->at++];
		if (!digits(c))
			goto bad;
	}
	return (1);
bad:
	c->error = "this is no number";
	return (0);
}

static int
word(struct scan *c, const char *w)
{
	size_t len = strlen(w);

	if (c->len - c->at < len || memcmp(c->s + c->at, w, len) != 0) {
		c->error = "a value is expected";
		return (0);
	}
	memcpy(c->out + c->n, w, len);
	c->n += len;
	c->at += len;
	return (1);
}

static int value(struct scan *, int depth);

static int
members(struct scan *c, char close, int depth)
{

	c->out[c->n++] = c->s[c->at++];
	skip(c);
	if (c->at < c->len && c->s[c->at] == close) {
		c->out[c->n++] = c->s[c->at++];
		return (1);
	}
	for (;;) {
		skip(c);
		if (close == '}') {
			if (c->at == c->len || c->s[c->at] != '"') {
				c->error = "a name in quotes is expected";
				return (0);
			}
			if (!copy_string(c, 0))
				return (0);
			skip(c);
			if (c->at == c->len || c->s[c->at] != ':') {
				c->error = "a colon is expected";
				return (0);
			}
			c->out[c->n++] = c->s[c->at++];
		}
		if (!value(c, depth + 1))
			return (0);
		skip(c);
		if (c->at < c->len && c->s[c->at] == ',') {
			c->out[c->n++] = c->s[c->at++];
			continue;
		}
		if (c->at < c->len && c->s[c->at] == close) {
			c->out[c->n++] = c->s[c->at++];
			return (1);
		}
		c->error = close == '}' ? "a comma or } is expected" :
		    "a comma or ] is expected";
		return (0);
	}
}

static int
value(struct scan *c, int depth)
{

	skip(c);
	if (c->at == c->len || depth > MAX_DEPTH) {
		c->error = depth > MAX_DEPTH ? "nested too deeply" :
		    "a value is expected";
		return (0);
	}
	switch (c->s[c->at]) {
	case '{':
		return (members(c, '}', depth));
	case '[':
		return (members(c, ']', depth));
	case '"':
		return (copy_string(c, 0));
	case 't':
		return (word(c, "true"));
	case 'f':
		return (word(c, "false"));
	case 'n':
		return (word(c, "null"));
	default:
		return (number(c));
	}
}

static int
minify_json(struct scan *c)
{

	if (!value(c, 0))
		return (0);
	skip(c);
	if (c->at < c->len) {
		c->error = "text after the value";
		return (0);
	}
	return (1);
}

/*--------------------------------------------------------------------
 * CSS: comments and spaces that separate nothing go. Where a comment alone is
 * between two words it keeps them apart, but is no space: an empty one stays.
 */

static int
is_one_of(char c, const char *set)
{

	return (c != '\0' && strchr(set, c) != NULL);
}

static int
minify_css(struct scan *c)
{
	int space = 0, comment = 0;
	char ch, last;

	while (c->at < c->len) {
		ch = c->s[c->at];
		if (ch == '/' && c->at + 1 < c->len && c->s[c->at + 1] == '*') {
			const char *end = memmem(c->s + c->at + 2,
			    c->len - c->at - 2, "*/", 2);

			if (end == NULL) {
				c->error = "the comment does not end";
				return (0);
			}
			c->at = (size_t)(end - c->s) + 2;
			comment = 1;
			continue;
		}
		if (is_space(ch)) {
			space = 1;
			c->at++;
			continue;
		}
		last = c->n > 0 ? c->out[c->n - 1] : '{';
		/* Around + and - a space may matter (calc), before ( and : too. */
		if ((space || comment) && !is_one_of(last, "{};,>~(") &&
		    !is_one_of(ch, "{};,>~)") && last != ':') {
			if (space)
				c->out[c->n++] = ' ';
			else {
				memcpy(c->out + c->n, "/**/", 4);
				c->n += 4;
			}
		}
		space = comment = 0;
		if (ch == '}' && c->n > 0 && c->out[c->n - 1] == ';')
			c->n--;
		if (ch == '"' || ch == '\'') {
			if (!copy_string(c, 1))
				return (0);
			continue;
		}
		c->out[c->n++] = ch;
		c->at++;
	}
	return (1);
}

/*--------------------------------------------------------------------*/

static void
on_post(const char *url, const char *arg, const char *type,
    const uint8_t *data, size_t len)
{
	struct scan c = { (const char *)data, len, 0, NULL, 0, NULL };
	int css = strncmp(type, "text/css", 8) == 0 ||
	    strstr(url, ".css") != NULL;

	(void)arg;
	c.out = malloc(len + 1);
	if (c.out == NULL)
		respond_text(413, "not enough memory\n");
	if (!(css ? minify_css(&c) : minify_json(&c)))
		complain(&c);
	respond(200, css ? "text/css" : "application/json", c.out, c.n);
}

static void
on_get(const char *url, const char *arg)
{

	(void)url;
	(void)arg;
	respond_text(400, "POST JSON, or CSS as text/css\n");
}

int
main(void)
{

	set_backend_get(on_get);
	set_backend_post(on_post);
	wait_for_requests();
}
