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

/* /dice: a number that nobody saw before. */
static void
dice(void)
{
	unsigned long long r = kvm_random();
	size_t n;

	for (n = 0; n < 16; n++, r >>= 4)
		text[n] = "0123456789abcdef"[r & 15];
	kvm_respond(200, "text/plain", 10, text, n);
}

/* /headers: two from one buffer, in a memory that moves as it grows. */
static void
headers(void)
{

	(void)add(0, "X-Which: 1");
	kvm_set_header(text, 10);
	if (__builtin_wasm_memory_grow(0, 16) == (size_t)-1)
		__builtin_trap();
	text[9] = '2';
	kvm_set_header(text, 10);
	kvm_respond(200, "text/plain", 10, "", 0);
}

KVM_EXPORT(handle) void
handle(void)
{
	size_t n = 0, len;

	len = kvm_part(KVM_PART_URL, text, sizeof text);
	if (len == 5 && text[1] == 'f')
		__builtin_trap();
	if (len == 5 && text[1] == 'd') {
		dice();
		return;
	}
	if (len == 8 && text[1] == 'h') {
		headers();
		return;
	}
	n = add(n, "Hello from WebAssembly! ");
	if (sum == 5050)
		n = add(n, "5050\n");
	kvm_respond(200, "text/plain", 10, text, n);
}
