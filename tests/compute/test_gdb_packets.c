/*-
 * SPDX-License-Identifier: BSD-2-Clause
 *
 * Packets of GDB's protocol, and what only looks like them.
 */

#include "gdb_machine.h"
#include "harness.h"

static struct tkc_gdb g;

static void
set_up(void)
{

	memset(&g, 0, sizeof g);
	g.magic = TKC_GDB_MAGIC;
	g.stop.reason = TK_DEBUG_BREAKPOINT;
	g.stop.signal = 5;
	g.stop.thread = g.thread = 11;
}

static enum tkc_gdb_event
feed(const char *bytes, size_t len)
{
	enum tkc_gdb_event e = TKC_GDB_NONE;
	size_t i;

	for (i = 0; i < len; i++)
		e = tkc_gdb_feed(&g.parser, (uint8_t)bytes[i]);
	return (e);
}

/* As a packet; true when the guest is to go on. */
static bool
ask_bytes(const char *data, size_t len)
{
	uint8_t sum = 0;
	char end[4];
	size_t i;

	for (i = 0; i < len; i++)
		sum = (uint8_t)(sum + (uint8_t)data[i]);
	snprintf(end, sizeof end, "#%02x", sum);
	CHECK(feed("$", 1) == TKC_GDB_NONE);
	CHECK(feed(data, len) == TKC_GDB_NONE || len == 0);
	CHECK(feed(end, 3) == TKC_GDB_COMMAND);
	return (tkc_gdb_command(&g));
}

static bool
says(const char *packet, const char *reply)
{
	bool going = ask_bytes(packet, strlen(packet));

	CHECK_MSG(g.reply.len == strlen(reply) &&
	    memcmp(g.reply.data, reply, g.reply.len) == 0,
	    "%s: \"%.*s\", not \"%s\"", packet, (int)g.reply.len,
	    g.reply.data, reply);
	return (going);
}

static void
framing(void)
{

	set_up();
	CHECK(feed("+$?#3f", 6) == TKC_GDB_COMMAND);
	CHECK(g.parser.len == 1 && g.parser.data[0] == '?');
	CHECK(feed("$?#40", 5) == TKC_GDB_BAD);
	CHECK(feed("$?#3g", 5) == TKC_GDB_BAD);
	CHECK(feed("$?#g3", 5) == TKC_GDB_BAD);
	CHECK(feed("\3", 1) == TKC_GDB_INTERRUPT);
	CHECK(feed("-", 1) == TKC_GDB_AGAIN);
	/* A packet whose end was lost, and the next. */
	CHECK(feed("$qSuppor$?#3f", 13) == TKC_GDB_COMMAND);
	CHECK(g.parser.len == 1);
	/* In a packet they are data. */
	CHECK(feed("$\3-#30", 6) == TKC_GDB_COMMAND);
}

static void
packets_are_bounded(void)
{
	static char big[TKC_GDB_PACKET + 2];

	set_up();
	memset(big, 0, sizeof big);
	CHECK(!ask_bytes(big, TKC_GDB_PACKET));
	CHECK(feed("$", 1) == TKC_GDB_NONE);
	CHECK(feed(big, TKC_GDB_PACKET + 1) == TKC_GDB_NONE);
	CHECK(feed("#00", 3) == TKC_GDB_BAD);
	CHECK(feed("$?#3f", 5) == TKC_GDB_COMMAND);
}

static void
what_there_is(void)
{
	static char target[8192];

	set_up();
	CHECK(!says("vMustReplyEmpty", ""));
	CHECK(!says("qUnknown", ""));
	CHECK(!says("!", ""));
	CHECK(!says("?", "T05thread:b;"));
	CHECK(!ask_bytes("qSupported:multiprocess+;swbreak+", 33));
	CHECK(!says("?", "T05thread:b;swbreak:;"));
	CHECK(!says("qAttached", "1"));
	CHECK(!says("qC", "QCb"));
	CHECK(!says("qCRC:0,1", ""));
	CHECK(!says("qfThreadInfo", "ma,b,c"));
	CHECK(!says("qsThreadInfo", "l"));
	CHECK(!says("qThreadExtraInfo,b", "63616e2072756e"));
	CHECK(!says("qThreadExtraInfo,d", "E03"));
	CHECK(!says("Ta", "OK"));
	CHECK(!says("Td", "E03"));
	CHECK(!says("T10000000a", "E03"));
	CHECK(!says("vCont?", "vCont;c;C;s;S"));
	CHECK(!says("Z1,400000,1", ""));
	CHECK(!says("QStartNoAckMode", "OK") && g.no_ack);
	/* The description is asked for by parts. */
	CHECK(!ask_bytes("qXfer:features:read:target.xml:0,fffffff", 40));
	CHECK(g.reply.data[0] == 'l');
	memcpy(target, g.reply.data + 1, g.reply.len - 1);
	CHECK_STR(target, "name=\"gs_base\"");
	CHECK(!ask_bytes("qXfer:features:read:target.xml:5,7", 34));
	CHECK(g.reply.len == 8 && memcmp(g.reply.data + 1, target + 5, 7) == 0);
	CHECK(!says("qXfer:features:read:target.xml:fffffff,7", "E16"));
	CHECK(!ask_bytes("qXfer:auxv:read::0,1000", 23));
	CHECK(g.reply.data[0] == 'l');
}

static void
registers(void)
{
	char all[2 * TKC_GDB_REGS + 2] = "G";

	set_up();
	memset(regs, 0, sizeof regs);
	CHECK(!says("P0=8877665544332211", "OK"));
	CHECK(regs[1].general[TK_RAX] == 0x1122334455667788);
	CHECK(!says("p0", "8877665544332211"));
	CHECK(!says("Hga", "OK"));
	CHECK(!says("p0", "0000000000000000"));
	CHECK(!says("P10=0010400000000000", "OK"));
	CHECK(regs[0].rip == 0x401000);
	CHECK(!says("Hgd", "E16"));
	CHECK(!says("Hc-1", "OK"));
	CHECK(!says("p3c", "E16"));
	CHECK(!says("p", "E16"));
	CHECK(!says("P0", "E16"));
	CHECK(!says("P0=88", "E16"));
	CHECK(!says("P0=88776655443322zz", "E16"));
	CHECK(!says("P11111111111111111=00", "E16"));
	CHECK(!says("p12", "33000000"));
	CHECK(!says("Hg0", "OK"));
	/* All of them, there and back. */
	CHECK(!ask_bytes("g", 1));
	CHECK(g.reply.len == 2 * TKC_GDB_REGS);
	memcpy(all + 1, g.reply.data, g.reply.len);
	regs[1].general[TK_RAX] = 1;
	CHECK(!says(all, "OK"));
	CHECK(regs[1].general[TK_RAX] == 0x1122334455667788);
	all[2 * TKC_GDB_REGS] = '\0';
	CHECK(!says(all, "E16"));
}

static void
bytes_of_memory(void)
{

	set_up();
	CHECK(!says("M400000,4:01020304", "OK"));
	CHECK(!says("m400000,4", "01020304"));
	CHECK(!says("m3fffff,4", "E0e"));
	/* As much as there is. */
	CHECK(!says("M40fffe,2:aabb", "OK"));
	CHECK(!says("m40fffe,2", "aabb"));
	CHECK(!says("m410000,1", "E0e"));
	CHECK(!says("mffffffffffffffff,ffffffffffffffff", "E0e"));
	CHECK(!ask_bytes("m400000,ffffffffffffffff", 24));
	CHECK(g.reply.len == 2 * MOST_BYTES);
	CHECK(!says("M400000,ffffffffffffffff:00", "E16"));
	CHECK(!says("M400000,2:00", "E16"));
	CHECK(!says("M400000,2", "E16"));
	CHECK(!says("X400000,0:", "OK"));
	CHECK(!ask_bytes("X400000,3:a}\x03" "b", 14));
	CHECK(memcmp(memory, "a#b", 3) == 0);
	CHECK(!says("X400000,2:abc", "E16"));
	CHECK(!says("Z0,400000,1", "OK"));
	CHECK(!says("Z0,300000,1", "E0e"));
	CHECK(!says("z0,400000,1", "OK"));
	CHECK(!says("Z0,", "E16"));
}

static void
going_on(void)
{

	set_up();
	CHECK(says("c", "") && g.go == TK_DEBUG_RUN);
	CHECK(says("s", "") && g.go == TK_DEBUG_STEP);
	CHECK(says("c401234", "") && regs[1].rip == 0x401234);
	CHECK(!says("cx", "E16"));
	CHECK(says("C0b", "") && g.go == TK_DEBUG_RUN);
	CHECK(says("vCont;c", "") && g.go == TK_DEBUG_RUN);
	CHECK(says("vCont;c:-1", "") && g.go == TK_DEBUG_RUN);
	CHECK(says("vCont;s:c;c", "") && g.go == TK_DEBUG_STEP);
	CHECK(g.stop.thread == 12);
	CHECK(says("vCont;c:a;s:a", "") && g.stop.thread == 10);
	CHECK(!says("vCont", "E16"));
	CHECK(!says("vCont;", "E16"));
	CHECK(!says("vCont;t", "E16"));
	CHECK(!says("vCont;s:99", "E16"));
	CHECK(!says("vCont;cc", "E16"));
	CHECK(!says("vCont;C", "E16"));
	g.stop.reason = TK_DEBUG_SIGNAL;
	CHECK(says("vCont;C0b:b;c", "") && g.go == TK_DEBUG_PASS);
	CHECK(says("vCont;c", "") && g.go == TK_DEBUG_RUN);
	CHECK(says("D", "OK") && g.go == TK_DEBUG_DETACH);
	CHECK(says("k", "") && g.go == TK_DEBUG_KILL);
	CHECK(says("vKill;1", "OK") && g.go == TK_DEBUG_KILL);
}

/*
 * Bytes of all kinds, with the odds on those that mean something; whole
 * packets are made of them now and then, or no sum would ever be right.
 */
static void
nonsense(void)
{
	static const char *const likely[] = { "q", "m400000,", "M400000,2:", "G",
	    "P0=", "vCont;", "s:a", "qXfer:features:read:target.xml:", "Z0,",
	    "Hg", ",", ":", ";", "ffffffffffffffff", "-1", "X400000,1:", "}",
	    "qXfer:auxv:read::", "0", "qThreadExtraInfo,", "c", "C0b" };
	const size_t n_likely = sizeof likely / sizeof likely[0];
	static char packet[4096];
	uint64_t state = 0x9e3779b97f4a7c15, r;
	unsigned i, commands = 0;
	const char *word;
	size_t len, n;

	for (i = 0; i < 200000; i++) {
		if (i % 100 == 0)
			set_up();
		r = test_random(&state);
		if (r % 4 == 0) {
			n = r >> 8 & 63;
			for (len = 0; len < n; len++)
				(void)tkc_gdb_feed(&g.parser,
				    (uint8_t)test_random(&state));
			/* Back to a known place. */
			g.parser.state = TKC_GDB_BETWEEN;
			continue;
		}
		for (len = 0, n = 1 + (r >> 8) % 6; n > 0; n--) {
			word = likely[test_random(&state) % n_likely];
			memcpy(packet + len, word, strlen(word));
			len += strlen(word);
			if (test_random(&state) % 4 == 0)
				packet[len++] = (char)test_random(&state);
		}
		/* Data cannot have the end in it. */
		for (n = 0; n < len; n++)
			if (packet[n] == '#' || packet[n] == '$')
				packet[n] = '0';
		(void)ask_bytes(packet, len);
		CHECK(g.reply.len <= sizeof g.reply.data);
		CHECK(g.thread >= 10 && g.thread <= 12);
		CHECK(g.stop.thread >= 10 && g.stop.thread <= 12);
		commands++;
	}
	CHECK(commands > 100000);
}

TESTS(
	T(framing),
	T(packets_are_bounded),
	T(what_there_is),
	T(registers),
	T(bytes_of_memory),
	T(going_on),
	T(nonsense)
)
