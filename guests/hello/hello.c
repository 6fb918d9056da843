/* SPDX-License-Identifier: BSD-2-Clause */
#include "kvm_api.h"

static void
on_get(const char *url, const char *arg)
{

	(void)url;
	(void)arg;
	respond_text(200, "Hello, World!\n");
}

int
main(void)
{

	set_backend_get(on_get);
	wait_for_requests();
}
