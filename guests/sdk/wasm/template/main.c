#include "kvm_wasm.h"

#define HELLO "Hello from @NAME@: "

static char text[4096] = HELLO;

/* What takes long belongs into init(): it happens once. */

KVM_EXPORT(handle) void
handle(void)
{
	size_t n = sizeof HELLO - 1;

	n += kvm_part(KVM_PART_METHOD, text + n, 32);
	text[n++] = ' ';
	n += kvm_part(KVM_PART_URL, text + n, sizeof text - n - 1);
	if (n > sizeof text - 1)
		n = sizeof text - 1;
	text[n++] = '\n';
	kvm_respond(200, "text/plain", 10, text, n);
}
