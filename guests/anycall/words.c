/*-
 * SPDX-License-Identifier: BSD-2-Clause
 *
 * The words of the little language: calls and places.
 */

#include <sys/mman.h>

#include "anycall.h"

char room[65536], big[4 << 20];
uint64_t words[64], op[32];
uint64_t edge;

static const char text[16] = "read only";

const struct word calls[] = {
	{ "register_func", KVM_REGISTER_FUNC },
	{ "wait_for_requests", KVM_WAIT_FOR_REQUESTS },
	{ "wait_for_requests_paused", KVM_WAIT_FOR_REQUESTS_PAUSED },
	{ "sys_set_cacheable", KVM_SET_CACHEABLE },
	{ "sys_backend_response", KVM_BACKEND_RESPONSE },
	{ "storage_return", KVM_STORAGE_RETURN },
	{ "begin_streaming_response", KVM_BEGIN_STREAMING },
	{ "storage_noreturn", KVM_STORAGE_NORETURN },
	{ "sys_http_append", KVM_HTTP_APPEND },
	{ "sys_http_set", KVM_HTTP_SET },
	{ "sys_http_find", KVM_HTTP_FIND },
	{ "sys_http_method", KVM_HTTP_METHOD },
	{ "sys_regex_compile", KVM_REGEX_COMPILE },
	{ "sys_regex_free", KVM_REGEX_FREE },
	{ "sys_regex_match", KVM_REGEX_MATCH },
	{ "sys_regex_subst", KVM_REGEX_SUBST },
	{ "sys_regex_copyto", KVM_REGEX_COPYTO },
	{ "shared_memory_area", KVM_SHARED_MEMORY_AREA },
	{ "sys_make_ephemeral", KVM_MAKE_EPHEMERAL },
	{ "sys_is_storage", KVM_IS_STORAGE },
	{ "sys_storage_allow", KVM_STORAGE_ALLOW },
	{ "storage_callv", KVM_STORAGE_CALLV },
	{ "sys_storage_task", KVM_STORAGE_TASK },
	{ "stop_storage_task", KVM_STOP_STORAGE_TASK },
	{ "multiprocess", KVM_MULTIPROCESS },
	{ "multiprocess_array", KVM_MULTIPROCESS_ARRAY },
	{ "multiprocess_clone", KVM_MULTIPROCESS_CLONE },
	{ "multiprocess_wait", KVM_MULTIPROCESS_WAIT },
	{ "get_meminfo", KVM_MEMINFO },
	{ "sys_fetch", KVM_FETCH },
	{ "sys_request", KVM_REQUEST },
	{ "sys_fetch_method", KVM_FETCH_METHOD },
	{ "sys_log", KVM_LOG },
	{ "sys_is_debug", KVM_IS_DEBUG },
	{ "sys_breakpoint", KVM_BREAKPOINT },
	{ "return", KVM_RETURN },
	{ NULL, 0 }
};

#define PLACE(p)	{ #p, (uintptr_t)(p) }

const struct word places[] = {
	{ "null", 0 },
	{ "wild", 0x123456789000 },
	{ "kernel", 0xffffffff80001000 },
	{ "noncanonical", 1ULL << 63 },
	{ "top", 0x7ffffffff000 },
	{ "code", (uintptr_t)words_init },
	PLACE(text), PLACE(room), PLACE(big), PLACE(words), PLACE(op),
	PLACE(stored), PLACE(task), PLACE(on_vcpu), PLACE(count),
	PLACE(piece), PLACE(on_piece),
	{ NULL, 0 }
};

void
words_init(void)
{
	char *p = mmap(NULL, 8192, PROT_READ | PROT_WRITE,
	    MAP_PRIVATE | MAP_ANONYMOUS, -1, 0);

	(void)munmap(p + 4096, 4096);
	edge = (uintptr_t)p + 4096 - 8;
}
