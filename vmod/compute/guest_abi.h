/*-
 * SPDX-License-Identifier: BSD-2-Clause
 *
 * The guest's side of the interface: numbers and structures as programs were
 * compiled against them. guests/sdk/kvm_api.h is the same for programs.
 */

#ifndef TKC_GUEST_ABI_H_INCLUDED
#define TKC_GUEST_ABI_H_INCLUDED

#include <stddef.h>
#include <stdint.h>

enum tkc_host_call {
	HC_REGISTER_FUNC	= 0x10000,
	HC_WAIT_FOR_REQUESTS	= 0x10001,
	HC_WAIT_PAUSED		= 0x10002,
	HC_SET_CACHEABLE	= 0x10005,
	HC_BACKEND_RESPONSE	= 0x10010,
	HC_STORAGE_RETURN	= 0x10011,
	HC_BEGIN_STREAMING	= 0x10012,
	HC_STORAGE_NORETURN	= 0x10013,
	HC_HTTP_APPEND		= 0x10020,
	HC_HTTP_SET		= 0x10021,
	HC_HTTP_FIND		= 0x10022,
	HC_HTTP_METHOD		= 0x10023,
	HC_REGEX_COMPILE	= 0x10030,
	HC_REGEX_FREE		= 0x10031,
	HC_REGEX_MATCH		= 0x10032,
	HC_REGEX_SUBST		= 0x10033,
	HC_REGEX_COPYTO		= 0x10035,
	HC_SOCKETS_WRITE	= 0x10500,
	HC_SHARED_MEMORY	= 0x10700,
	HC_MAKE_EPHEMERAL	= 0x10703,
	HC_IS_STORAGE		= 0x10706,
	HC_STORAGE_ALLOW	= 0x10707,
	HC_STORAGE_CALLV	= 0x10708,
	HC_STORAGE_TASK		= 0x10709,
	HC_STOP_STORAGE_TASK	= 0x1070A,
	HC_MULTIPROCESS		= 0x10710,
	HC_MULTIPROCESS_ARRAY	= 0x10711,
	HC_MULTIPROCESS_CLONE	= 0x10712,
	HC_MULTIPROCESS_WAIT	= 0x10713,
	HC_MEMINFO		= 0x10A00,
	HC_FETCH		= 0x20000,
	HC_REQUEST		= 0x20001,
	HC_FETCH_METHOD		= 0x30400,	/* ours */
	HC_LOG			= 0x7F000,
	HC_IS_DEBUG		= 0x7FDEB,
	HC_BREAKPOINT		= 0x7F7F7,
	HC_RETURN		= 0xFFFF
};

struct guest_request {
	uint64_t	method, url, arg, content_type;
	uint16_t	method_len, url_len, arg_len, content_type_len;
	uint64_t	content, content_len;
	uint64_t	headers;
	uint16_t	num_headers, info_flags;
	uint32_t	reserved0;
	uint64_t	prng[2];
	uint64_t	reserved1[2];
};
_Static_assert(sizeof(struct guest_request) == 104, "guest ABI");
_Static_assert(offsetof(struct guest_request, content) == 40, "guest ABI");
_Static_assert(offsetof(struct guest_request, prng) == 72, "guest ABI");

#define GUEST_REQUEST_WARMUP	1

struct guest_header {
	uint64_t	field;
	uint32_t	colon, len;
};
_Static_assert(sizeof(struct guest_header) == 16, "guest ABI");

struct guest_extra {
	uint64_t	headers;
	uint16_t	num_headers;
	uint8_t		cached;
	uint8_t		pad;
	float		ttl, grace, keep;
	uint64_t	reserved[4];
};
_Static_assert(sizeof(struct guest_extra) == 56, "guest ABI");
_Static_assert(offsetof(struct guest_extra, ttl) == 12, "guest ABI");

struct guest_socket_event {
	int32_t		fd, event;
	uint64_t	remote, arg;
	uint64_t	data, data_len;
};
_Static_assert(sizeof(struct guest_socket_event) == 40, "guest ABI");

struct guest_buffer {
	uint64_t	data, len;
};

struct guest_curl_op {
	uint32_t	status, post_len;
	uint64_t	post;
	uint64_t	headers;
	uint32_t	headers_len, unused;
	uint64_t	content;
	uint32_t	content_len, ctype_len;
	char		ctype[128];
};
_Static_assert(sizeof(struct guest_curl_op) == 176, "guest ABI");
_Static_assert(offsetof(struct guest_curl_op, content) == 32, "guest ABI");

#define GUEST_CURL_FIELDS	12
struct guest_curl_fields {
	uint64_t	ptr[GUEST_CURL_FIELDS];
	uint16_t	len[GUEST_CURL_FIELDS];
};
_Static_assert(sizeof(struct guest_curl_fields) == 120, "guest ABI");

struct guest_curl_options {
	uint64_t	interface, unused0;
	int8_t		follow_location, dummy_fetch, tcp_fast_open;
	int8_t		dont_verify_host;
	uint32_t	unused1;
};
_Static_assert(sizeof(struct guest_curl_options) == 24, "guest ABI");

#endif /* TKC_GUEST_ABI_H_INCLUDED */
