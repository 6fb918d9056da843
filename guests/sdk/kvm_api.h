/*-
 * SPDX-License-Identifier: BSD-2-Clause
 *
 * The guest API of TinyKVM: what a program says to its host. One header, no
 * library:
 *
 *	gcc -static -O2 -I sdk hello.c -o hello
 *
 * A program registers its handlers in main() and waits for requests; main()
 * never goes on. Every request enters a handler with a fresh stack and with
 * memory exactly as it was when the program began to wait. The handler ends
 * the request with one answer; nothing behind it is reached.
 *
 * A call is a number in EAX and `out %eax, $0`, arguments in RDI RSI RDX RCX
 * R8 R9, the result in RAX. A pointer that is not the program's memory, or a
 * call at the wrong moment ("init" = before waiting), ends the request as an
 * error. The second half of this file are helpers that read well.
 */

#ifndef KVM_API_H
#define KVM_API_H

#include <stddef.h>
#include <stdint.h>
#include <stdarg.h>
#include <stdio.h>
#include <string.h>

#ifdef __cplusplus
extern "C" {
#define KVM_ASSERT_SIZE(type, n) static_assert(sizeof(type) == (n), "ABI")
#else
#include <stdbool.h>
#define KVM_ASSERT_SIZE(type, n) _Static_assert(sizeof(type) == (n), "ABI")
#endif

#define KVM_NORETURN	__attribute__((noreturn))

/*--------------------------------------------------------------------
 * Structures
 */

/* One request header: field is "Name: value", NUL-terminated. */
struct kvm_request_header {
	const char	*field;
	uint32_t	field_colon;	/* index of the colon */
	uint32_t	field_len;	/* without the NUL */
};
KVM_ASSERT_SIZE(struct kvm_request_header, 16);

/* One request. Strings are NUL-terminated; content need not be. */
struct kvm_request {
	const char	*method;
	const char	*url;
	const char	*arg;
	const char	*content_type;
	uint16_t	method_len;
	uint16_t	url_len;
	uint16_t	arg_len;
	uint16_t	content_type_len;
	const uint8_t	*content;
	size_t		content_len;
	const struct kvm_request_header *headers;
	uint16_t	num_headers;
	uint16_t	info_flags;	/* KVM_INFO_* */
	uint32_t	reserved0;
	uint64_t	prng[2];	/* fresh random bits in every request */
	uint64_t	reserved1[2];
};
KVM_ASSERT_SIZE(struct kvm_request, 104);

#define KVM_INFO_WARMUP	1		/* a warm-up, not a client */

struct ResponseHeader {
	const char	*field;		/* "Name: value" */
	size_t		field_len;
};

struct BackendResponseExtra {
	const struct ResponseHeader *headers;
	uint16_t	num_headers;	/* <= 64 */
	bool		cached;
	float		ttl;		/* seconds */
	float		grace;
	float		keep;
	uint64_t	reserved[4];
};
KVM_ASSERT_SIZE(struct BackendResponseExtra, 56);

struct virtbuffer {
	void		*data;
	size_t		len;
};

struct streaming_content {		/* returned in RAX and RDX */
	const void	*data;
	size_t		len;
};

struct curl_op {
	uint32_t	status;
	uint32_t	post_buflen;
	const void	*post_buffer;
	void		*headers;
	uint32_t	headers_length;
	uint32_t	unused;
	void		*content;
	uint32_t	content_length;
	uint32_t	ctlen;
	char		ctype[128];
};
KVM_ASSERT_SIZE(struct curl_op, 176);

struct curl_fields {
	const char	*ptr[12];
	uint16_t	len[12];
};
KVM_ASSERT_SIZE(struct curl_fields, 120);

struct curl_options {
	const char	*interface;
	const char	*unused0;
	int8_t		follow_location;
	int8_t		dummy_fetch;
	int8_t		tcp_fast_open;
	int8_t		dont_verify_host;
	uint32_t	unused1;
};
KVM_ASSERT_SIZE(struct curl_options, 24);

enum kvm_socket_event_type {
	SOCKET_CONNECT, SOCKET_READ, SOCKET_WRITABLE, SOCKET_DISCONNECT
};

struct kvm_socket_event {
	int		fd;
	enum kvm_socket_event_type event;
	const char	*remote;
	const char	*arg;
	const uint8_t	*data;
	size_t		data_len;
};
KVM_ASSERT_SIZE(struct kvm_socket_event, 40);

/*--------------------------------------------------------------------
 * Numbers
 */

enum kvm_host_call {
	KVM_RETURN			= 0xFFFF,
	KVM_REGISTER_FUNC		= 0x10000,
	KVM_WAIT_FOR_REQUESTS		= 0x10001,
	KVM_WAIT_FOR_REQUESTS_PAUSED	= 0x10002,
	KVM_SET_CACHEABLE		= 0x10005,
	KVM_BACKEND_RESPONSE		= 0x10010,
	KVM_STORAGE_RETURN		= 0x10011,
	KVM_BEGIN_STREAMING		= 0x10012,
	KVM_STORAGE_NORETURN		= 0x10013,
	KVM_HTTP_APPEND			= 0x10020,
	KVM_HTTP_SET			= 0x10021,
	KVM_HTTP_FIND			= 0x10022,
	KVM_HTTP_METHOD			= 0x10023,
	KVM_REGEX_COMPILE		= 0x10030,
	KVM_REGEX_FREE			= 0x10031,
	KVM_REGEX_MATCH			= 0x10032,
	KVM_REGEX_SUBST			= 0x10033,
	KVM_REGEX_COPYTO		= 0x10035,
	KVM_SOCKETS_WRITE		= 0x10500,
	KVM_SHARED_MEMORY_AREA		= 0x10700,
	KVM_MAKE_EPHEMERAL		= 0x10703,
	KVM_IS_STORAGE			= 0x10706,
	KVM_STORAGE_ALLOW		= 0x10707,
	KVM_STORAGE_CALLV		= 0x10708,
	KVM_STORAGE_TASK		= 0x10709,
	KVM_STOP_STORAGE_TASK		= 0x1070A,
	KVM_MULTIPROCESS		= 0x10710,
	KVM_MULTIPROCESS_ARRAY		= 0x10711,
	KVM_MULTIPROCESS_CLONE		= 0x10712,
	KVM_MULTIPROCESS_WAIT		= 0x10713,
	KVM_MEMINFO			= 0x10A00,
	KVM_FETCH			= 0x20000,
	KVM_REQUEST			= 0x20001,
	KVM_FETCH_METHOD		= 0x30400,
	KVM_LOG				= 0x7F000,
	KVM_IS_DEBUG			= 0x7FDEB,
	KVM_BREAKPOINT			= 0x7F7F7
};

enum kvm_handler {
	KVM_ON_GET = 1, KVM_ON_POST = 2, KVM_ON_METHOD = 3,
	KVM_ON_STREAM_POST = 4, KVM_ON_ERROR = 5, KVM_ON_SERIALISE = 6,
	KVM_ON_RESTORE = 7,
	KVM_ON_PREPARE_PAUSE = 12
};

/* Any call. Six arguments; those that a call does not have are ignored. */
static inline long
kvm_call(long number, long a, long b, long c, long d, long e, long f)
{
	register long rcx __asm__("rcx") = d;
	register long r8 __asm__("r8") = e;
	register long r9 __asm__("r9") = f;
	long result;

	__asm__ volatile ("out %%eax, $0" : "=a" (result)
	    : "a" (number), "D" (a), "S" (b), "d" (c), "r" (rcx), "r" (r8),
	      "r" (r9) : "memory");
	return (result);
}

/*--------------------------------------------------------------------
 * Before waiting (init)
 */

/* Registers a handler by its index; see the typed helpers below. */
static inline void
register_func(enum kvm_handler index, void *function)
{

	(void)kvm_call(KVM_REGISTER_FUNC, index, (long)function, 0, 0, 0, 0);
}

/* The program is ready. Does not return. */
static inline KVM_NORETURN void
wait_for_requests(void)
{

	(void)kvm_call(KVM_WAIT_FOR_REQUESTS, 0, 0, 0, 0, 0, 0);
	__builtin_unreachable();
}

/* Every request goes on behind this call, with *request filled in. */
static inline void
wait_for_requests_paused(struct kvm_request *request)
{

	(void)kvm_call(KVM_WAIT_FOR_REQUESTS_PAUSED, (long)request, 0, 0, 0, 0,
	    0);
}

/*
 * Reset after every request (the default), or not: then a request finds what
 * others have left. -1: not permitted, see the setting control_ephemeral.
 */
static inline int
sys_make_ephemeral(int yes)
{

	return ((int)kvm_call(KVM_MAKE_EPHEMERAL, yes, 0, 0, 0, 0, 0));
}

/*--------------------------------------------------------------------
 * Answers
 */

/*
 * Ends the request. status 200..599; type_len below 4096; the body stays where
 * it is and is sent from there. extra may be NULL.
 */
static inline KVM_NORETURN void
sys_backend_response(int16_t status, const char *type, size_t type_len,
    const void *body, size_t body_len,
    const struct BackendResponseExtra *extra)
{

	(void)kvm_call(KVM_BACKEND_RESPONSE, status, (long)type,
	    (long)type_len, (long)body, (long)body_len, (long)extra);
	__builtin_unreachable();
}

/*
 * The answer is pulled: callback(arg, max, written, total) gives the next
 * piece, of at most max bytes; an empty one fails the delivery. total is at most
 * max_stream of the program's settings. Each call has the time limit of a
 * request for itself, and all of them together max_stream_time. Nothing is
 * reset in between, and the stack of this handler stays as it is: arg may point
 * there.
 */
static inline KVM_NORETURN void
begin_streaming_response(int16_t status, const char *type, size_t type_len,
    size_t total, struct streaming_content (*callback)(void *, size_t, size_t,
    size_t), void *arg)
{
	register long rcx __asm__("rcx") = (long)total;
	register long r8 __asm__("r8") = (long)callback;
	register long r9 __asm__("r9") = (long)arg;

	__asm__ volatile ("out %%eax, $0" :: "a" (KVM_BEGIN_STREAMING),
	    "D" ((long)status), "S" (type), "d" (type_len), "r" (rcx),
	    "r" (r8), "r" (r9) : "memory");
	__builtin_unreachable();
}

/*
 * How long the fetched object may be cached; milliseconds, less than 2^32 (49
 * days). An answer without a body knows whole seconds, upwards, and no keep. 0,
 * or -1 when this is no backend request.
 */
static inline int
sys_set_cacheable(bool cached, long ttl_ms, long grace_ms, long keep_ms)
{

	return ((int)kvm_call(KVM_SET_CACHEABLE, cached, ttl_ms, grace_ms,
	    keep_ms, 0, 0));
}

/*--------------------------------------------------------------------
 * HTTP. where: KVM_HTTP_REQUEST or KVM_HTTP_RESPONSE.
 */

enum kvm_http_where { KVM_HTTP_REQUEST_HEADERS = 0,
    KVM_HTTP_RESPONSE_HEADERS = 1 };

/*
 * Appends "Name: value". Its index, or -1: there is no room, or it is a second
 * Host or a field of the connection (Content-Length, Transfer-Encoding, ...).
 */
static inline long
sys_http_append(enum kvm_http_where where, const char *field, size_t len)
{

	return (kvm_call(KVM_HTTP_APPEND, where, (long)field, (long)len, 0, 0,
	    0));
}

/*
 * With a colon replaces or appends, without unsets. Its index, or 0: there is
 * none, no room, or it is a field of the connection.
 */
static inline long
sys_http_set(enum kvm_http_where where, const char *text, size_t len)
{

	return (kvm_call(KVM_HTTP_SET, where, (long)text, (long)len, 0, 0, 0));
}

/*
 * Copies the first field of that name, whole ("Name: value"), to out. Its
 * length; 0 when there is none or size is too small. out NULL: length only.
 */
static inline size_t
sys_http_find(enum kvm_http_where where, const char *name, size_t len,
    char *out, size_t size)
{

	return ((size_t)kvm_call(KVM_HTTP_FIND, where, (long)name, (long)len,
	    (long)out, (long)size, 0));
}

/* The method; its length, 0 when size is too small. out NULL: length only. */
static inline size_t
sys_http_method(char *out, size_t size)
{

	return ((size_t)kvm_call(KVM_HTTP_METHOD, (long)out, (long)size, 0, 0,
	    0, 0));
}

/*--------------------------------------------------------------------
 * Regular expressions (PCRE2), with VCL's syntax and limits. kvm_regex.h has
 * helpers that read better.
 */

/*
 * A handle, 0 to 63; the same pattern has the same one. Those compiled before
 * waiting serve every request; others are gone at the end of theirs. A pattern
 * that is none, of more than 16384 bytes or one too many ends the request.
 */
static inline int
sys_regex_compile(const char *pattern, size_t len)
{

	return ((int)kvm_call(KVM_REGEX_COMPILE, (long)pattern, (long)len, 0,
	    0, 0, 0));
}

static inline void
sys_regex_free(int handle)
{

	(void)kvm_call(KVM_REGEX_FREE, handle, 0, 0, 0, 0, 0);
}

/*
 * Captures, or negative when there is no match. A subject of more than 8 MiB
 * ends the request; so does a shorter one where a pattern is costly: one with a
 * class ([...]) that uses (*UTF), (*UCP) or \p may have 100,000,000 bytes
 * divided by 10 + 3 times its own length, one with \X behind (*UTF) 16 KiB.
 */
static inline int
sys_regex_match(int handle, const char *subject, size_t len)
{

	return ((int)kvm_call(KVM_REGEX_MATCH, handle, (long)subject,
	    (long)len, 0, 0, 0));
}

/*
 * As regsub() of VCL, with flags 1 as regsuball(): \0 to \9 in the replacement
 * are captures. The texts end with a NUL. Bytes written, with the NUL; -1 when
 * there is no room for all, another negative number when the match failed. The
 * subject's size is limited as that of a match.
 */
static inline int
sys_regex_subst(int handle, const char *subject, const char *replacement,
    char *out, size_t size, unsigned flags)
{

	return ((int)kvm_call(KVM_REGEX_SUBST, handle, (long)subject,
	    (long)replacement, (long)out, (long)size, flags));
}

/* Copies matching header fields from one table to the other; how many. */
static inline int
sys_regex_copyto(int handle, enum kvm_http_where from,
    enum kvm_http_where to)
{

	return ((int)kvm_call(KVM_REGEX_COPYTO, handle, from, to, 0, 0, 0));
}

/*--------------------------------------------------------------------
 * Storage, shared memory, more vCPUs
 */

static inline int
sys_is_storage(void)
{

	return ((int)kvm_call(KVM_IS_STORAGE, 0, 0, 0, 0, 0, 0));
}

/* Storage, init: the function may be called. None named: all may. */
static inline void
sys_storage_allow(void *function)
{

	(void)kvm_call(KVM_STORAGE_ALLOW, (long)function, 0, 0, 0, 0, 0);
}

/* Calls function(n, buffers, result_size) in storage. Bytes, or -1. */
static inline long
storage_callv(void *function, size_t n, const struct virtbuffer *buffers,
    void *result, size_t result_size)
{

	return (kvm_call(KVM_STORAGE_CALLV, (long)function, (long)n,
	    (long)buffers, (long)result, (long)result_size, 0));
}

/* The result of a storage call; the function then runs to its end. */
static inline void
storage_return(const void *data, size_t len)
{

	(void)kvm_call(KVM_STORAGE_RETURN, (long)data, (long)len, 0, 0, 0, 0);
}

static inline void
storage_noreturn(const void *data, size_t len)
{

	(void)kvm_call(KVM_STORAGE_NORETURN, (long)data, (long)len, 0, 0, 0,
	    0);
}

/* Asynchronous; a timer (its id) when start or period is set. */
static inline long
sys_storage_task(void *function, const void *data, size_t len, long start_ms,
    long period_ms)
{

	return (kvm_call(KVM_STORAGE_TASK, (long)function, (long)data,
	    (long)len, start_ms, period_ms, 0));
}

static inline int
stop_storage_task(long id)
{

	return ((int)kvm_call(KVM_STOP_STORAGE_TASK, id, 0, 0, 0, 0, 0));
}

/* Memory that all VMs of the program share. */
static inline struct virtbuffer
shared_memory_area(void)
{
	struct virtbuffer area;
	char *begin, *end;

	__asm__ volatile ("out %%eax, $0" : "=a" (begin), "=d" (end)
	    : "a" (KVM_SHARED_MEMORY_AREA) : "memory");
	area.data = begin;
	area.len = (size_t)(end - begin);
	return (area);
}

/* Runs function(arg) on n-1 more vCPUs. 0 or -1. */
static inline int
multiprocess(size_t n, void (*function)(void *), void *arg)
{

	return ((int)kvm_call(KVM_MULTIPROCESS, (long)n, (long)function,
	    (long)arg, 0, 0, 0));
}

static inline int
multiprocess_array(size_t n, void (*function)(int, void *, size_t),
    void *array, size_t element_size)
{

	return ((int)kvm_call(KVM_MULTIPROCESS_ARRAY, (long)n, (long)function,
	    (long)array, (long)element_size, 0, 0));
}

static inline int
multiprocess_clone(size_t n, void *stacks, size_t stack_size)
{

	return ((int)kvm_call(KVM_MULTIPROCESS_CLONE, (long)n, (long)stacks,
	    (long)stack_size, 0, 0, 0));
}

static inline int
multiprocess_wait(void)
{

	return ((int)kvm_call(KVM_MULTIPROCESS_WAIT, 0, 0, 0, 0, 0, 0));
}

/*--------------------------------------------------------------------
 * Network
 */

/*
 * Fetches a URL of those that allowed_fetch has; "/..." asks Varnish itself. It
 * lasts no longer than the request may. 0, or one of the errors below, the log
 * has the reason. kvm_fetch.h has helpers that read better.
 *
 * In op: post_buffer and post_buflen make it a POST, ctype and ctlen name the
 * type. content NULL: memory is found for it, with a NUL behind; else it is the
 * room for it, and content_length its size. headers NULL and headers_length 0:
 * so, too; else the room and its size, less than 64: none are wanted.
 * Afterwards lengths are without the NUL behind headers, type and memory found.
 *
 * Without options redirects are followed; each is asked about as the first URL.
 */
enum kvm_fetch_error {
	KVM_FETCH_BAD_URL	= -3,
	KVM_FETCH_UNRESOLVED	= -6,
	KVM_FETCH_UNREACHABLE	= -7,
	KVM_FETCH_DENIED	= -9,	/* by allowed_fetch */
	KVM_FETCH_TIMEOUT	= -28,
	KVM_FETCH_LOOP		= -47,	/* of redirects or self-requests */
	KVM_FETCH_BAD_TLS	= -60,
	KVM_FETCH_TOO_LARGE	= -63,
	KVM_FETCH_BUSY		= -81	/* too many self-requests */
};

static inline long
sys_fetch(const char *url, size_t len, struct curl_op *op,
    const struct curl_fields *fields, const struct curl_options *options)
{

	return (kvm_call(KVM_FETCH, (long)url, (long)len, (long)op,
	    (long)fields, (long)options, 0));
}

/* With a method, "PUT" for one. The method ends with a NUL. */
static inline long
sys_fetch_method(const char *method, const char *url, size_t len,
    struct curl_op *op, const struct curl_fields *fields,
    const struct curl_options *options)
{

	return (kvm_call(KVM_FETCH_METHOD, (long)method, (long)url, (long)len,
	    (long)op, (long)fields, (long)options));
}

/* As sys_fetch(); the URL is a path of Varnish itself. */
static inline long
sys_request(const char *url, size_t len, struct curl_op *op,
    const struct curl_fields *fields, const struct curl_options *options)
{

	return (kvm_call(KVM_REQUEST, (long)url, (long)len, (long)op,
	    (long)fields, (long)options, 0));
}

/*--------------------------------------------------------------------
 * Clients of the settings "server" and "websocket_server"
 */

/*
 * Before it waits for requests: function(number) runs once in each machine that
 * serves such clients, and waits for their events in a loop for ever.
 */
static inline void
set_socket_prepare_for_pause(void (*function)(int number))
{

	register_func(KVM_ON_PREPARE_PAUSE, (void *)function);
}

/*
 * Waits for at least one event, and fills in at most n of them (64 at once):
 * their number. What they point at is valid until the next wait, texts end with
 * a NUL. fd is an open descriptor: write() to it, shutdown() and close() it.
 *
 *	SOCKET_CONNECT		remote: "address:port"; arg: of a WebSocket its URL
 *	SOCKET_READ		data; arg: of a WebSocket message "text" or "binary"
 *	SOCKET_WRITABLE		after each SOCKET_READ, and when there is room for
 *				more after a write that was cut or EAGAIN
 *	SOCKET_DISCONNECT	the client sends no more; what is written now is
 *				still sent, then fd is closed
 */
static inline int
wait_for_socket_events_paused(struct kvm_socket_event *events, size_t n)
{

	return ((int)kvm_call(KVM_WAIT_FOR_REQUESTS_PAUSED, (long)events,
	    (long)n, 0, 0, 0, 0));
}

/*
 * Writes data to fd, for each element; fd becomes bytes, or -errno. To a
 * WebSocket each write is a message, as the client's last one was, or as arg
 * ("text" or "binary") says.
 */
static inline long
sys_sockets_write(struct kvm_socket_event *events, size_t n)
{

	return (kvm_call(KVM_SOCKETS_WRITE, (long)events, (long)n, 0, 0, 0,
	    0));
}

/*--------------------------------------------------------------------
 * Any time
 */

/* A line in the Varnish log. */
static inline void
sys_log(const char *text, size_t len)
{

	(void)kvm_call(KVM_LOG, (long)text, (long)len, 0, 0, 0, 0);
}

/* Bytes: max memory, max request memory, its capacity, in use. */
static inline void
get_meminfo(uint64_t info[4])
{

	(void)kvm_call(KVM_MEMINFO, (long)info, 0, 0, 0, 0, 0);
}

static inline int
sys_is_debug(void)
{

	return ((int)kvm_call(KVM_IS_DEBUG, 0, 0, 0, 0, 0, 0));
}

static inline void
sys_breakpoint(void)
{

	(void)kvm_call(KVM_BREAKPOINT, 0, 0, 0, 0, 0, 0);
}

/*--------------------------------------------------------------------
 * Helpers that read well
 */

typedef void kvm_get_fn(const char *url, const char *arg);
typedef void kvm_post_fn(const char *url, const char *arg, const char *type,
    const uint8_t *data, size_t len);
typedef void kvm_method_fn(const struct kvm_request *);
typedef void kvm_error_fn(const char *url, const char *arg, const char *what);
typedef long kvm_stream_post_fn(const char *url, const char *arg,
    const char *type, const uint8_t *data, size_t len, size_t offset);

static inline void
set_backend_get(kvm_get_fn *f)
{

	register_func(KVM_ON_GET, (void *)f);
}

static inline void
set_backend_post(kvm_post_fn *f)
{

	register_func(KVM_ON_POST, (void *)f);
}

/*
 * Called for the body of a request, piece by piece, as it comes: 1 MiB each
 * but for the last. A negative result refuses the request; a response ends it
 * at once. When all is there the handler for POST is called, with the length of
 * the whole, and with its address if it fits into the request's memory: NULL
 * otherwise.
 */
static inline void
set_backend_stream_post(kvm_stream_post_fn *f)
{

	register_func(KVM_ON_STREAM_POST, (void *)f);
}

/* Any method; takes all requests when it is set. */
static inline void
set_on_method(kvm_method_fn *f)
{

	register_func(KVM_ON_METHOD, (void *)f);
}

/* Called, for at most a second, after another handler failed. */
static inline void
set_on_error(kvm_error_fn *f)
{

	register_func(KVM_ON_ERROR, (void *)f);
}

/* Registers one handler for everything, and waits. */
static inline KVM_NORETURN void
kvm_serve(kvm_method_fn *f)
{

	set_on_method(f);
	wait_for_requests();
}

static inline KVM_NORETURN void
respond(int status, const char *type, const void *body, size_t len)
{

	sys_backend_response((int16_t)status, type, strlen(type), body, len,
	    NULL);
}

static inline KVM_NORETURN void
respond_text(int status, const char *text)
{

	respond(status, "text/plain; charset=utf-8", text, strlen(text));
}

/* As printf; at most 4095 bytes. */
static inline KVM_NORETURN void __attribute__((format(printf, 2, 3)))
respondf(int status, const char *fmt, ...)
{
	static char text[4096];
	va_list ap;

	va_start(ap, fmt);
	(void)vsnprintf(text, sizeof text, fmt, ap);
	va_end(ap);
	respond_text(status, text);
}

/*--------------------------------------------------------------------
 * Storage. The same program runs as storage, too: what main() registers there,
 * and what functions there keep in memory, lasts. A request calls in:
 *
 *	static void add(size_t n, const struct virtbuffer *in, size_t size)
 *	{
 *		total += *(const long *)in[0].data;
 *		storage_answer(&total, sizeof total);
 *	}
 *	...
 *	storage_call(add, &one, sizeof one, &total, sizeof total);
 */

/* n buffers, copies of the caller's until the function ends. */
typedef void kvm_storage_fn(size_t n, const struct virtbuffer *in,
    size_t result_size);
typedef void kvm_task_fn(const void *data, size_t len);

static inline void
storage_allow(kvm_storage_fn *f)
{

	sys_storage_allow((void *)f);
}

/* With one buffer. Bytes of the result, cut to size, or -1. */
static inline long
storage_call(kvm_storage_fn *f, const void *data, size_t len, void *result,
    size_t size)
{
	struct virtbuffer b;

	b.data = (void *)(uintptr_t)data;
	b.len = len;
	return (storage_callv((void *)f, 1, &b, result, size));
}

/* In storage: the result, and the end of the function. */
static inline KVM_NORETURN void
storage_answer(const void *data, size_t len)
{

	storage_noreturn(data, len);
	__builtin_unreachable();
}

/* Runs f(data, len) in storage, soon. 0, or -1: too many wait. */
static inline int
storage_task(kvm_task_fn *f, const void *data, size_t len)
{

	return ((int)sys_storage_task((void *)f, data, len, 0, 0));
}

/*
 * Runs f in storage after start_ms, then every period_ms (0: once). Its id for
 * stop_storage_task(), or -1: there are 15.
 */
static inline long
storage_timer(kvm_task_fn *f, long start_ms, long period_ms)
{

	return (sys_storage_task((void *)f, NULL, 0, start_ms, period_ms));
}

/*
 * Live update, in storage. The old program's handler says what is to be kept:
 * storage_answer(data, len). The new one's gets it; data is NULL when it is
 * larger than max_request_memory: then storage_return(buffer, len) has it
 * copied there.
 */
static inline void
set_on_live_update(void (*f)(void))
{

	register_func(KVM_ON_SERIALISE, (void *)f);
}

static inline void
set_on_resume_update(void (*f)(size_t len, const void *data))
{

	register_func(KVM_ON_RESTORE, (void *)f);
}

/*
 * The value of a request header, NULL when there is none. The name without a
 * colon, in any case.
 */
static inline const char *
kvm_header(const struct kvm_request *r, const char *name)
{
	const struct kvm_request_header *h;
	size_t len = strlen(name), i;
	unsigned n;
	const char *v;

	for (n = 0; n < r->num_headers; n++) {
		h = &r->headers[n];
		if (h->field_colon != len)
			continue;
		for (i = 0; i < len; i++)
			if ((h->field[i] | 32) != (name[i] | 32))
				break;
		if (i < len)
			continue;
		for (v = h->field + len + 1; *v == ' ' || *v == '\t'; v++)
			continue;
		return (v);
	}
	return (NULL);
}

#ifdef __cplusplus
}
#endif

#endif /* KVM_API_H */
