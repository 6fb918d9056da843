/*-
 * SPDX-License-Identifier: BSD-2-Clause
 *
 * A program that does not become ready: how, says its first argument.
 */

#include <stdlib.h>

#include "kvm_api.h"

int
main(int argc, char **argv)
{
	const char *how = argc > 1 ? argv[1] : "";

	printf("about to misbehave: %s\n", how);
	fflush(stdout);
	if (strcmp(how, "spin") == 0)
		for (;;)
			__asm__ volatile ("pause");
	if (strcmp(how, "crash") == 0)
		*(volatile int *)8 = 1;
	if (strcmp(how, "abort") == 0)
		abort();
	if (strcmp(how, "no-handler") == 0)
		wait_for_requests();
	if (strcmp(how, "bad-handler") == 0) {
		register_func(KVM_ON_GET, (void *)0x123456789000);
		wait_for_requests();
	}
	if (strcmp(how, "bad-index") == 0)
		register_func((enum kvm_handler)99, (void *)main);
	if (strcmp(how, "answer") == 0)
		respond_text(200, "too early\n");
	if (strcmp(how, "hog") == 0)
		for (;;)
			if (calloc(1, 1 << 20) == NULL)
				abort();
	return (7);
}
