/*-
 * SPDX-License-Identifier: BSD-2-Clause
 */

#include <stdlib.h>

#include "hostile.h"

long
linux_call(long number, long a, long b, long c, long d, long e, long f)
{
	register long r10 __asm__("r10") = d;
	register long r8 __asm__("r8") = e;
	register long r9 __asm__("r9") = f;
	long result;

	__asm__ volatile ("syscall" : "=a" (result) : "0" (number), "D" (a),
	    "S" (b), "d" (c), "r" (r10), "r" (r8), "r" (r9)
	    : "rcx", "r11", "memory");
	return (result);
}

static void
on_get(const char *url, const char *arg)
{
	static const struct misdeed *const all[] = { memory_misdeeds,
	    cpu_misdeeds, host_call_misdeeds, linux_misdeeds, net_misdeeds };
	const struct misdeed *m;
	size_t i;

	if (strcmp(url, "/ok") == 0)
		respond_text(200, "ok\n");
	for (i = 0; i < sizeof all / sizeof all[0]; i++)
		for (m = all[i]; m->url != NULL; m++)
			if (strcmp(url, m->url) == 0) {
				m->run(arg);
				respond_text(200, "survived\n");
			}
	respond_text(404, "no such misdeed\n");
}

int
main(void)
{

	set_backend_get(on_get);
	wait_for_requests();
}
