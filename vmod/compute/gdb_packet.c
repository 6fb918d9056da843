/*-
 * SPDX-License-Identifier: BSD-2-Clause
 */

#include <stdarg.h>
#include <stdio.h>
#include <string.h>

#include "gdb.h"

static int
hex_digit(uint8_t c)
{

	if (c >= '0' && c <= '9')
		return (c - '0');
	if (c >= 'a' && c <= 'f')
		return (c - 'a' + 10);
	if (c >= 'A' && c <= 'F')
		return (c - 'A' + 10);
	return (-1);
}

/* "$data#sum": the sum of all bytes of data, in two hex digits. */
enum tkc_gdb_event
tkc_gdb_feed(struct tkc_gdb_parser *p, uint8_t c)
{
	int digit;

	switch (p->state) {
	case TKC_GDB_BETWEEN:
		if (c == 3)
			return (TKC_GDB_INTERRUPT);
		if (c == '-')
			return (TKC_GDB_AGAIN);
		if (c == '$') {
			p->state = TKC_GDB_DATA;
			p->len = 0;
			p->sum = 0;
			p->bad = false;
		}
		break;
	case TKC_GDB_DATA:
		if (c == '#') {
			p->state = TKC_GDB_SUM1;
			break;
		}
		/* A new one begins where the end of the last was lost. */
		if (c == '$') {
			p->len = 0;
			p->sum = 0;
			p->bad = false;
			break;
		}
		p->sum = (uint8_t)(p->sum + c);
		if (p->len < TKC_GDB_PACKET)
			p->data[p->len++] = (char)c;
		else
			p->bad = true;
		break;
	case TKC_GDB_SUM1:
	case TKC_GDB_SUM2:
		digit = hex_digit(c);
		if (digit < 0) {
			p->bad = true;
			digit = 0;
		}
		if (p->state == TKC_GDB_SUM1) {
			p->told = (uint8_t)(digit << 4);
			p->state = TKC_GDB_SUM2;
			break;
		}
		p->state = TKC_GDB_BETWEEN;
		if (p->bad || (p->told | digit) != p->sum)
			return (TKC_GDB_BAD);
		p->data[p->len] = '\0';
		return (TKC_GDB_COMMAND);
	}
	return (TKC_GDB_NONE);
}

/*--------------------------------------------------------------------*/

bool
tkc_gdb_word(struct tkc_gdb_text *t, const char *word)
{
	size_t n = strlen(word);

	if ((size_t)(t->end - t->at) < n || memcmp(t->at, word, n) != 0)
		return (false);
	t->at += n;
	return (true);
}

bool
tkc_gdb_number(struct tkc_gdb_text *t, uint64_t *n)
{
	unsigned digits = 0;

	*n = 0;
	while (t->at < t->end && hex_digit((uint8_t)*t->at) >= 0) {
		if (++digits > 16)
			return (false);
		*n = *n << 4 | (uint64_t)hex_digit((uint8_t)*t->at++);
	}
	return (digits > 0);
}

bool
tkc_gdb_bytes(struct tkc_gdb_text *t, uint8_t *to, size_t len)
{
	int high, low;

	if ((size_t)(t->end - t->at) / 2 < len)
		return (false);
	for (; len > 0; len--) {
		high = hex_digit((uint8_t)*t->at++);
		low = hex_digit((uint8_t)*t->at++);
		if (high < 0 || low < 0)
			return (false);
		*to++ = (uint8_t)(high << 4 | low);
	}
	return (true);
}

/*--------------------------------------------------------------------*/

void
tkc_gdb_say(struct tkc_gdb_reply *r, const char *fmt, ...)
{
	size_t room = sizeof r->data - r->len;
	va_list ap;
	int n;

	va_start(ap, fmt);
	n = vsnprintf(r->data + r->len, room, fmt, ap);
	va_end(ap);
	if (n < 0 || (size_t)n >= room)
		r->full = true;
	else
		r->len += (size_t)n;
}

void
tkc_gdb_say_hex(struct tkc_gdb_reply *r, const void *from, size_t len)
{
	static const char digits[] = "0123456789abcdef";
	const uint8_t *in = from;

	if ((sizeof r->data - r->len) / 2 < len) {
		r->full = true;
		return;
	}
	for (; len > 0; len--, in++) {
		r->data[r->len++] = digits[*in >> 4];
		r->data[r->len++] = digits[*in & 15];
	}
}

size_t
tkc_gdb_say_binary(struct tkc_gdb_reply *r, const void *from, size_t len)
{
	const uint8_t *in = from;
	size_t i;

	for (i = 0; i < len && r->len + 2 <= sizeof r->data; i++) {
		if (in[i] == '#' || in[i] == '$' || in[i] == '}' ||
		    in[i] == '*') {
			r->data[r->len++] = '}';
			r->data[r->len++] = (char)(in[i] ^ 0x20);
		} else
			r->data[r->len++] = (char)in[i];
	}
	return (i);
}
