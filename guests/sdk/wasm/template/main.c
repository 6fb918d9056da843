#include "kvm_wasm.h"

#define HELLO "Hello from @NAME@: "

static char text[4096] = HELLO;

/* What takes long belongs into init(): it happens once. */

/* Appends a part of the request, and one character; as much as fits. */
static size_t
add(size_t n, enum kvm_part part, char end)
{
	size_t room = sizeof text - n - 1, len;

	/* The whole length, also where that is more. */
	len = kvm_part(part, text + n, room);
	n += len < room ? len : room;
	text[n] = end;
	return (n < sizeof text - 1 ? n + 1 : n);
}

KVM_EXPORT(handle) void
handle(void)
{
	size_t n = sizeof HELLO - 1;

	n = add(n, KVM_PART_METHOD, ' ');
	n = add(n, KVM_PART_URL, '\n');
	kvm_respond(200, "text/plain", 10, text, n);
}
