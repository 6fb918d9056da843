/* SPDX-License-Identifier: BSD-2-Clause */
#include "kvm_wasm.h"

static char text[4096];
static unsigned sum;

KVM_EXPORT(init) void
init(void)
{
	unsigned i;

	for (i = 1; i <= 100; i++)
		sum += i;
}

static size_t
add(size_t n, const char *s)
{

	while (*s != '\0' && n < sizeof text)
		text[n++] = *s++;
	return (n);
}

KVM_EXPORT(handle) void
handle(void)
{
	size_t n = 0, len;

	len = kvm_part(KVM_PART_URL, text, sizeof text);
	if (len == 5 && text[1] == 'f')
		__builtin_trap();
	n = add(n, "Hello from WebAssembly! ");
	if (sum == 5050)
		n = add(n, "5050\n");
	kvm_respond(200, "text/plain", 10, text, n);
}
