/*-
 * SPDX-License-Identifier: BSD-2-Clause
 *
 * Answers, and does nothing else: what `kvmctl bench` measures as the floor.
 */

#include "kvm_api.h"

static void
on_request(const struct kvm_request *r)
{
	(void)r;
	respond_text(200, "");
}

int
main(void)
{
	kvm_serve(on_request);
}
