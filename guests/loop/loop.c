/* SPDX-License-Identifier: BSD-2-Clause */
#include "kvm_api.h"

int
main(void)
{
	struct kvm_request request;
	unsigned long requests = 0;

	for (;;) {
		wait_for_requests_paused(&request);
		respondf(200, "%s %s, %zu bytes, request %lu\n",
		    request.method, request.url, request.content_len,
		    ++requests);
	}
}
