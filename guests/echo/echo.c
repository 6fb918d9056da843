/*-
 * SPDX-License-Identifier: BSD-2-Clause
 *
 * Answers with the request itself, as JSON.
 */

#include <stdlib.h>

#include "kvm_api.h"

struct text {
	char	*s;
	size_t	len, room;
};

static void
add(struct text *t, const char *s, size_t len)
{
	size_t want;
	char *more;

	if (t->len + len > t->room) {
		want = (t->len + len) * 2;
		more = realloc(t->s, want);
		if (more == NULL)
			respond_text(500, "out of memory\n");
		t->s = more;
		t->room = want;
	}
	memcpy(t->s + t->len, s, len);
	t->len += len;
}

#define LITERAL(t, s)	add((t), (s), sizeof(s) - 1)

/* The length of the UTF-8 sequence at s, 0 when it is none (RFC 3629). */
static size_t
utf8(const unsigned char *s, size_t left)
{
	size_t n, i;
	unsigned long c;

	if (s[0] < 0x80)
		return (1);
	n = s[0] >= 0xf0 ? 4 : s[0] >= 0xe0 ? 3 : s[0] >= 0xc2 ? 2 : 0;
	if (n == 0 || n > left || s[0] > 0xf4)
		return (0);
	c = s[0] & (0xff >> (n + 1));
	for (i = 1; i < n; i++) {
		if ((s[i] & 0xc0) != 0x80)
			return (0);
		c = c << 6 | (s[i] & 0x3f);
	}
	if ((n == 3 && (c < 0x800 || (c >= 0xd800 && c < 0xe000))) ||
	    (n == 4 && (c < 0x10000 || c > 0x10ffff)))
		return (0);
	return (n);
}

static int
is_utf8(const unsigned char *s, size_t len)
{
	size_t i, n;

	for (i = 0; i < len; i += n) {
		n = utf8(s + i, len - i);
		if (n == 0)
			return (0);
	}
	return (1);
}

/* A JSON string; bytes that are no UTF-8 become U+FFFD. */
static void
add_string(struct text *t, const char *str, size_t len)
{
	const unsigned char *s = (const unsigned char *)str;
	size_t i, n;
	char hex[8];

	LITERAL(t, "\"");
	for (i = 0; i < len; i += n) {
		n = utf8(s + i, len - i);
		if (n == 0) {
			LITERAL(t, "\\ufffd");
			n = 1;
		} else if (s[i] == '"' || s[i] == '\\') {
			LITERAL(t, "\\");
			add(t, str + i, 1);
		} else if (s[i] < 0x20) {
			snprintf(hex, sizeof hex, "\\u%04x", s[i]);
			add(t, hex, 6);
		} else
			add(t, str + i, n);
	}
	LITERAL(t, "\"");
}

static void
add_base64(struct text *t, const uint8_t *p, size_t len)
{
	static const char digits[] =
	    "ABCDEFGHIJKLMNOPQRSTUVWXYZabcdefghijklmnopqrstuvwxyz0123456789+/";
	unsigned long v;
	size_t i;
	char q[4];

	LITERAL(t, "\"");
	for (i = 0; i < len; i += 3) {
		v = (unsigned long)p[i] << 16;
		if (i + 1 < len)
			v |= (unsigned long)p[i + 1] << 8;
		if (i + 2 < len)
			v |= p[i + 2];
		q[0] = digits[v >> 18];
		q[1] = digits[v >> 12 & 63];
		q[2] = i + 1 < len ? digits[v >> 6 & 63] : '=';
		q[3] = i + 2 < len ? digits[v & 63] : '=';
		add(t, q, 4);
	}
	LITERAL(t, "\"");
}

static void
on_request(const struct kvm_request *r)
{
	struct text t = { NULL, 0, 0 };
	unsigned i;

	LITERAL(&t, "{\"method\":");
	add_string(&t, r->method, r->method_len);
	LITERAL(&t, ",\"url\":");
	add_string(&t, r->url, r->url_len);
	LITERAL(&t, ",\"arg\":");
	add_string(&t, r->arg, r->arg_len);
	LITERAL(&t, ",\"content_type\":");
	add_string(&t, r->content_type, r->content_type_len);
	LITERAL(&t, ",\"headers\":[");
	for (i = 0; i < r->num_headers; i++) {
		if (i > 0)
			LITERAL(&t, ",");
		add_string(&t, r->headers[i].field, r->headers[i].field_len);
	}
	if (is_utf8(r->content, r->content_len)) {
		LITERAL(&t, "],\"body\":");
		add_string(&t, (const char *)r->content, r->content_len);
	} else {
		LITERAL(&t, "],\"body_base64\":");
		add_base64(&t, r->content, r->content_len);
	}
	LITERAL(&t, "}\n");
	respond(200, "application/json", t.s, t.len);
}

int
main(void)
{

	kvm_serve(on_request);
}
