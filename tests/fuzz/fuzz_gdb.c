/*-
 * SPDX-License-Identifier: BSD-2-Clause
 *
 * The GDB stub: bytes as they come, or lines as packets with their sums.
 */

#include "gdb_machine.h"
#include "fuzz.h"

static struct tkc_gdb g;

static void
feed(const uint8_t *bytes, size_t len)
{
	size_t i;

	for (i = 0; i < len; i++)
		if (tkc_gdb_feed(&g.parser, bytes[i]) == TKC_GDB_COMMAND) {
			(void)tkc_gdb_command(&g);
			PROMISE(g.reply.len <= sizeof g.reply.data);
		}
}

static void
packet(const uint8_t *data, size_t len)
{
	uint8_t sum = 0;
	char end[4];
	size_t i;

	for (i = 0; i < len; i++)
		sum = (uint8_t)(sum + data[i]);
	snprintf(end, sizeof end, "#%02x", sum);
	feed((const uint8_t *)"$", 1);
	feed(data, len);
	feed((const uint8_t *)end, 3);
}

int
LLVMFuzzerTestOneInput(const uint8_t *data, size_t len)
{
	const uint8_t *end;

	memset(&g, 0, sizeof g);
	g.magic = TKC_GDB_MAGIC;
	g.stop.reason = TK_DEBUG_BREAKPOINT;
	g.stop.signal = 5;
	g.stop.thread = g.thread = 11;
	if (len == 0 || data[0] == 0) {
		feed(data, len);
		return (0);
	}
	while (len > 0) {
		end = memchr(data, '\n', len);
		if (end == NULL)
			end = data + len;
		packet(data, (size_t)(end - data));
		len -= (size_t)(end - data);
		data = end;
		if (len > 0) {
			data++;
			len--;
		}
	}
	return (0);
}
