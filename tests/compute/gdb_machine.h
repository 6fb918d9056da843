/*-
 * SPDX-License-Identifier: BSD-2-Clause
 *
 * The GDB stub, and a machine for it that is made up: 64 KiB of memory, three
 * threads.
 */

#include "gdb_packet.c"
#include "gdb_registers.c"
#include "gdb_commands.c"

#define MEMORY_AT	0x400000ULL
#define MEMORY_SIZE	65536ULL

static uint8_t memory[MEMORY_SIZE];
static struct tk_debug_regs regs[3];
static unsigned points;

uint32_t
tk_debug_thread(const struct tk_machine *m, unsigned i, const char **what)
{

	(void)m;
	*what = "can run";
	return (i < 3 ? 10 + i : 0);
}

bool
tk_debug_read_regs(const struct tk_machine *m, uint32_t thread,
    struct tk_debug_regs *r)
{

	(void)m;
	if (thread < 10 || thread > 12)
		return (false);
	*r = regs[thread - 10];
	return (true);
}

bool
tk_debug_write_regs(struct tk_machine *m, uint32_t thread,
    const struct tk_debug_regs *r)
{

	(void)m;
	if (thread < 10 || thread > 12)
		return (false);
	regs[thread - 10] = *r;
	return (true);
}

static bool
inside(tk_gva at, size_t len)
{

	return (at >= MEMORY_AT && len <= MEMORY_SIZE &&
	    at - MEMORY_AT <= MEMORY_SIZE - len);
}

bool
tk_debug_read(const struct tk_machine *m, void *to, tk_gva at, size_t len)
{

	(void)m;
	if (!inside(at, len))
		return (false);
	memcpy(to, memory + (at - MEMORY_AT), len);
	return (true);
}

bool
tk_debug_write(struct tk_machine *m, tk_gva at, const void *from, size_t len)
{

	(void)m;
	if (!inside(at, len))
		return (false);
	memcpy(memory + (at - MEMORY_AT), from, len);
	return (true);
}

int
tk_debug_break(struct tk_machine *m, tk_gva at)
{

	(void)m;
	if (!inside(at, 1))
		return (EFAULT);
	points++;
	return (0);
}

void
tk_debug_unbreak(struct tk_machine *m, tk_gva at)
{

	(void)m;
	if (inside(at, 1) && points > 0)
		points--;
}

void
tk_debug_image(const struct tk_machine *m, struct tk_image *image)
{

	(void)m;
	memset(image, 0, sizeof *image);
	image->entry = 0x401000;
}
