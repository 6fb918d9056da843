/*-
 * SPDX-License-Identifier: BSD-2-Clause
 *
 * Executables: what a program file, an archive or a live update brings. What
 * the check lets pass is booted, for an instant, in a real machine.
 */

#include "fuzz.h"
#include "tinykvm.h"

static enum tk_verdict
on_call(struct tk_machine *m, uint32_t number, void *priv)
{

	(void)priv;
	if (number == 0x10001)
		return (TK_DONE);
	tk_set_result(m, (uint64_t)-38);
	return (TK_RESUME);
}

static void
on_output(int fd, const char *text, size_t len, void *priv)
{

	(void)fd;
	(void)text;
	(void)len;
	(void)priv;
}

static const struct tk_guest_ops ops = {
	.host_call = on_call,
	.output = on_output,
};

int
LLVMFuzzerTestOneInput(const uint8_t *data, size_t len)
{
	static const char *const argv[] = { "fuzz", NULL };
	static const char *const envp[] = { NULL };
	struct tk_boot_options o;
	struct tk_machine *m;
	struct tk_master *ma;
	struct tk_error err;

	(void)tk_check_program(data, len, false, &err);
	if (tk_check_program(data, len, true, &err))
		return (0);
	memset(&o, 0, sizeof o);
	o.elf = data;
	o.elf_len = len;
	o.argv = argv;
	o.envp = envp;
	o.memory = 16 << 20;
	o.request_memory = 1 << 20;
	o.input_size = 4096;
	o.shared_memory = 4 << 20;
	o.seconds = 0.01;
	o.ops = &ops;
	if (tk_boot(&ma, &o, &err) == 0) {
		if (tk_fork(ma, &m, NULL, &err) == 0) {
			(void)tk_reset(m);
			tk_fork_free(&m);
		}
		tk_master_free(&ma);
	} else
		PROMISE(err.kind != TK_OK && err.text[0] != '\0');
	return (0);
}
