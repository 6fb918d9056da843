/*-
 * SPDX-License-Identifier: BSD-2-Clause
 */

#include <elf.h>
#include <errno.h>
#include <string.h>

#include "gdb.h"
#include "object.h"

#define MOST_BYTES	(TKC_GDB_PACKET / 2 - 8)

typedef struct tkc_gdb_text text;

static void
ok(struct tkc_gdb *g)
{

	tkc_gdb_say(&g->reply, "OK");
}

static void
error(struct tkc_gdb *g, int e)
{

	g->reply.len = 0;
	tkc_gdb_say(&g->reply, "E%02x", (unsigned)e & 0xff);
}

/*--------------------------------------------------------------------
 * Threads
 */

static bool
there_is(const struct tkc_gdb *g, uint64_t tid)
{
	const char *what;
	uint32_t t;
	unsigned i;

	for (i = 0; (t = tk_debug_thread(g->vm, i, &what)) != 0; i++)
		if (t == tid)
			return (true);
	return (false);
}

/* 0 is any thread and -1 are all: then the one that stopped. */
static bool
thread_id(const struct tkc_gdb *g, text *t, uint32_t *tid)
{
	uint64_t n;

	*tid = g->stop.thread;
	if (tkc_gdb_word(t, "-1"))
		return (true);
	if (!tkc_gdb_number(t, &n))
		return (false);
	if (n == 0)
		return (true);
	*tid = (uint32_t)n;
	return (there_is(g, n));
}

static void
list_threads(struct tkc_gdb *g)
{
	const char *what;
	uint32_t t;
	unsigned i;

	for (i = 0; (t = tk_debug_thread(g->vm, i, &what)) != 0; i++)
		tkc_gdb_say(&g->reply, "%c%x", i == 0 ? 'm' : ',', t);
	if (i == 0)
		tkc_gdb_say(&g->reply, "l");
}

static void
thread_info(struct tkc_gdb *g, text *t)
{
	const char *what;
	uint64_t want;
	uint32_t tid;
	unsigned i;

	if (!tkc_gdb_number(t, &want)) {
		error(g, EINVAL);
		return;
	}
	for (i = 0; (tid = tk_debug_thread(g->vm, i, &what)) != 0; i++)
		if (tid == want) {
			tkc_gdb_say_hex(&g->reply, what, strlen(what));
			return;
		}
	error(g, ESRCH);
}

void
tkc_gdb_say_stop(struct tkc_gdb *g)
{

	tkc_gdb_say(&g->reply, "T%02xthread:%x;",
	    (unsigned)tkc_gdb_signal(g->stop.signal), g->stop.thread);
	if (g->stop.reason == TK_DEBUG_BREAKPOINT && g->swbreak)
		tkc_gdb_say(&g->reply, "swbreak:;");
}

/*--------------------------------------------------------------------
 * Registers
 */

static void
read_registers(struct tkc_gdb *g)
{
	struct tk_debug_regs r;
	uint8_t one[16];
	unsigned n;
	size_t size;

	if (!tk_debug_read_regs(g->vm, g->thread, &r)) {
		error(g, ESRCH);
		return;
	}
	for (n = 0; (size = tkc_gdb_register(&r, n, one)) > 0; n++)
		tkc_gdb_say_hex(&g->reply, one, size);
}

static void
write_registers(struct tkc_gdb *g, text *t)
{
	struct tk_debug_regs r;
	uint8_t one[16];
	unsigned n;
	size_t size;

	if (!tk_debug_read_regs(g->vm, g->thread, &r)) {
		error(g, ESRCH);
		return;
	}
	for (n = 0; (size = tkc_gdb_register(&r, n, one)) > 0; n++) {
		if (!tkc_gdb_bytes(t, one, size)) {
			error(g, EINVAL);
			return;
		}
		tkc_gdb_set_register(&r, n, one);
	}
	if (t->at == t->end && tk_debug_write_regs(g->vm, g->thread, &r))
		ok(g);
	else
		error(g, EINVAL);
}

static void
one_register(struct tkc_gdb *g, text *t, bool write)
{
	struct tk_debug_regs r;
	uint8_t one[16];
	uint64_t n;
	size_t size = 0;

	if (!tkc_gdb_number(t, &n) || n > 1000 ||
	    !tk_debug_read_regs(g->vm, g->thread, &r) ||
	    (size = tkc_gdb_register(&r, (unsigned)n, one)) == 0) {
		error(g, EINVAL);
		return;
	}
	if (!write) {
		tkc_gdb_say_hex(&g->reply, one, size);
		return;
	}
	if (!tkc_gdb_word(t, "=") || !tkc_gdb_bytes(t, one, size)) {
		error(g, EINVAL);
		return;
	}
	tkc_gdb_set_register(&r, (unsigned)n, one);
	if (tk_debug_write_regs(g->vm, g->thread, &r))
		ok(g);
	else
		error(g, EINVAL);
}

/*--------------------------------------------------------------------
 * Memory
 */

static void
read_memory(struct tkc_gdb *g, text *t)
{
	uint8_t page[4096];
	uint64_t at, len, n;

	if (!tkc_gdb_number(t, &at) || !tkc_gdb_word(t, ",") ||
	    !tkc_gdb_number(t, &len)) {
		error(g, EINVAL);
		return;
	}
	if (len > MOST_BYTES)
		len = MOST_BYTES;
	/* As much as there is. */
	for (; len > 0; at += n, len -= n) {
		n = sizeof page - (at & (sizeof page - 1));
		if (n > len)
			n = len;
		if (!tk_debug_read(g->vm, page, at, n))
			break;
		tkc_gdb_say_hex(&g->reply, page, n);
	}
	if (len > 0 && g->reply.len == 0)
		error(g, EFAULT);
}

/* Unescapes a packet's binary data in place; its length. */
static size_t
unescape(char *data, const char *end)
{
	char *to = data;
	const char *from;

	for (from = data; from < end; from++)
		if (*from == '}' && from + 1 < end)
			*to++ = (char)(*++from ^ 0x20);
		else
			*to++ = *from;
	return (size_t)(to - data);
}

static void
write_memory(struct tkc_gdb *g, text *t, bool binary)
{
	char *data;
	uint64_t at, len;

	if (!tkc_gdb_number(t, &at) || !tkc_gdb_word(t, ",") ||
	    !tkc_gdb_number(t, &len) || !tkc_gdb_word(t, ":")) {
		error(g, EINVAL);
		return;
	}
	/* The packet itself is the room: what was said in it is shorter. */
	data = g->parser.data + (t->at - g->parser.data);
	if (binary ? unescape(data, t->end) != len :
	    (size_t)(t->end - t->at) / 2 != len ||
	    !tkc_gdb_bytes(t, (uint8_t *)data, len)) {
		error(g, EINVAL);
		return;
	}
	if (tk_debug_write(g->vm, at, data, len))
		ok(g);
	else
		error(g, EFAULT);
}

/* Z0 and z0: others are not there, which an empty reply says. */
static void
breakpoint(struct tkc_gdb *g, text *t, bool set)
{
	uint64_t at, kind;
	int e = 0;

	if (!tkc_gdb_word(t, "0,"))
		return;
	if (!tkc_gdb_number(t, &at) || !tkc_gdb_word(t, ",") ||
	    !tkc_gdb_number(t, &kind))
		e = EINVAL;
	else if (set)
		e = tk_debug_break(g->vm, at);
	else
		tk_debug_unbreak(g->vm, at);
	if (e == 0)
		ok(g);
	else
		error(g, e);
}

/*--------------------------------------------------------------------
 * What can be asked about
 */

static void
slice(struct tkc_gdb *g, text *t, const void *data, size_t size)
{
	uint64_t offset, len;
	size_t said;

	if (!tkc_gdb_number(t, &offset) || !tkc_gdb_word(t, ",") ||
	    !tkc_gdb_number(t, &len) || offset > size) {
		error(g, EINVAL);
		return;
	}
	if (len > size - offset)
		len = size - offset;
	tkc_gdb_say(&g->reply, "m");
	said = tkc_gdb_say_binary(&g->reply, (const char *)data + offset, len);
	if (offset + said == size)
		g->reply.data[0] = 'l';
}

/* How GDB finds out where a position-independent program lies. */
static void
auxiliary_vector(struct tkc_gdb *g, text *t)
{
	struct tk_image image;

	tk_debug_image(g->vm, &image);
	{
		const uint64_t aux[] = {
			AT_PAGESZ, 4096, AT_PHDR, image.phdr,
			AT_PHENT, sizeof(Elf64_Phdr), AT_PHNUM, image.phnum,
			AT_BASE, image.base, AT_ENTRY, image.entry, AT_NULL, 0
		};

		slice(g, t, aux, sizeof aux);
	}
}

static bool
contains(const text *t, const char *word)
{

	return (memmem(t->at, (size_t)(t->end - t->at), word, strlen(word)) !=
	    NULL);
}

static void
query(struct tkc_gdb *g, text *t)
{

	if (tkc_gdb_word(t, "Supported")) {
		g->swbreak = contains(t, "swbreak+");
		tkc_gdb_say(&g->reply, "PacketSize=%x;QStartNoAckMode+;"
		    "qXfer:features:read+;qXfer:auxv:read+;swbreak+;"
		    "vContSupported+", TKC_GDB_PACKET);
	} else if (tkc_gdb_word(t, "Xfer:features:read:target.xml:"))
		slice(g, t, tkc_gdb_target, strlen(tkc_gdb_target));
	else if (tkc_gdb_word(t, "Xfer:auxv:read::"))
		auxiliary_vector(g, t);
	else if (tkc_gdb_word(t, "Attached"))
		tkc_gdb_say(&g->reply, "1");
	else if (tkc_gdb_word(t, "fThreadInfo"))
		list_threads(g);
	else if (tkc_gdb_word(t, "sThreadInfo"))
		tkc_gdb_say(&g->reply, "l");
	else if (tkc_gdb_word(t, "ThreadExtraInfo,"))
		thread_info(g, t);
	else if (t->end - t->at == 1 && *t->at == 'C')
		tkc_gdb_say(&g->reply, "QC%x", g->stop.thread);
}

/*--------------------------------------------------------------------
 * Going on
 */

static bool
go(struct tkc_gdb *g, enum tk_debug_go how)
{

	g->go = how;
	return (true);
}

static bool
go_with(struct tkc_gdb *g, char action)
{

	switch (action) {
	case 's':
		return (go(g, TK_DEBUG_STEP));
	case 'C':
	case 'S':
		/* The only signal there can be is the one that stopped it. */
		if (g->stop.reason == TK_DEBUG_SIGNAL)
			return (go(g, TK_DEBUG_PASS));
		return (go(g, action == 'S' ? TK_DEBUG_STEP : TK_DEBUG_RUN));
	default:
		return (go(g, TK_DEBUG_RUN));
	}
}

/* c, s, C and S: [signal][;][address] */
static bool
old_go(struct tkc_gdb *g, text *t, char action)
{
	struct tk_debug_regs r;
	uint64_t n;

	if ((action == 'C' || action == 'S') && (!tkc_gdb_number(t, &n) ||
	    (t->at < t->end && !tkc_gdb_word(t, ";")))) {
		error(g, EINVAL);
		return (false);
	}
	if (t->at < t->end) {
		if (!tkc_gdb_number(t, &n) || !tk_debug_read_regs(g->vm,
		    g->stop.thread, &r)) {
			error(g, EINVAL);
			return (false);
		}
		r.rip = n;
		if (!tk_debug_write_regs(g->vm, g->stop.thread, &r)) {
			error(g, EINVAL);
			return (false);
		}
	}
	return (go_with(g, action));
}

/*
 * ;action[:thread]... Threads take their turns as ever, so all that counts is
 * who steps, and whether the signal is passed.
 */
static bool
vcont(struct tkc_gdb *g, text *t)
{
	char action, chosen = 0;
	uint32_t tid, stepping = g->stop.thread;
	uint64_t sig;

	while (tkc_gdb_word(t, ";")) {
		action = (char)(t->at < t->end ? *t->at++ : 0);
		if ((action == 'C' || action == 'S') &&
		    !tkc_gdb_number(t, &sig))
			action = 0;
		tid = g->stop.thread;
		if (tkc_gdb_word(t, ":") && !thread_id(g, t, &tid))
			action = 0;
		switch (action) {
		case 's':
		case 'S':
			/* Somebody steps, whatever others do. */
			if (chosen != 's' && chosen != 'S') {
				chosen = action;
				stepping = tid;
			}
			break;
		case 'c':
		case 'C':
			if (chosen == 0)
				chosen = action;
			break;
		default:
			error(g, EINVAL);
			return (false);
		}
	}
	if (chosen == 0 || t->at != t->end) {
		error(g, EINVAL);
		return (false);
	}
	g->stop.thread = stepping;
	return (go_with(g, chosen));
}

static bool
long_command(struct tkc_gdb *g, text *t)
{

	if (tkc_gdb_word(t, "Cont?"))
		tkc_gdb_say(&g->reply, "vCont;c;C;s;S");
	else if (tkc_gdb_word(t, "Cont"))
		return (vcont(g, t));
	else if (tkc_gdb_word(t, "Kill")) {
		ok(g);
		g->killed = true;
		return (go(g, TK_DEBUG_KILL));
	}
	return (false);
}

static void
choose_thread(struct tkc_gdb *g, text *t)
{
	bool general = tkc_gdb_word(t, "g");
	uint32_t tid;

	/* Hc is of the packets before vCont: taken, and of no effect. */
	if ((!general && !tkc_gdb_word(t, "c")) || !thread_id(g, t, &tid)) {
		error(g, EINVAL);
		return;
	}
	if (general)
		g->thread = tid;
	ok(g);
}

bool
tkc_gdb_command(struct tkc_gdb *g)
{
	struct tkc_gdb_parser *p = &g->parser;
	text t = { p->data, p->data + p->len };
	uint64_t n;
	char c;

	TK_CHECK_OBJ(g, TKC_GDB_MAGIC);
	g->reply.len = 0;
	g->reply.full = false;
	if (t.at == t.end)
		return (false);
	c = *t.at++;
	switch (c) {
	case '?':
		tkc_gdb_say_stop(g);
		break;
	case 'g':
		read_registers(g);
		break;
	case 'G':
		write_registers(g, &t);
		break;
	case 'p':
	case 'P':
		one_register(g, &t, c == 'P');
		break;
	case 'm':
		read_memory(g, &t);
		break;
	case 'M':
	case 'X':
		write_memory(g, &t, c == 'X');
		break;
	case 'Z':
	case 'z':
		breakpoint(g, &t, c == 'Z');
		break;
	case 'H':
		choose_thread(g, &t);
		break;
	case 'T':
		if (tkc_gdb_number(&t, &n) && there_is(g, n))
			ok(g);
		else
			error(g, ESRCH);
		break;
	case 'q':
		query(g, &t);
		break;
	case 'Q':
		if (tkc_gdb_word(&t, "StartNoAckMode")) {
			g->no_ack = true;
			ok(g);
		}
		break;
	case 'v':
		return (long_command(g, &t));
	case 'c':
	case 's':
	case 'C':
	case 'S':
		return (old_go(g, &t, c));
	case 'D':
		ok(g);
		g->killed = true;
		return (go(g, TK_DEBUG_DETACH));
	case 'k':
		g->killed = true;
		return (go(g, TK_DEBUG_KILL));
	default:
		/* An empty reply: not known here. */
		break;
	}
	if (g->reply.full)
		error(g, ENOSPC);
	return (false);
}
