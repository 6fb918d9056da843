/*-
 * SPDX-License-Identifier: BSD-2-Clause
 *
 * The guest API: what a program asks by `out %eax, $0`. HTTP calls are in
 * api_http.c.
 */

#include <errno.h>
#include <stdio.h>
#include <string.h>

#include "api.h"
#include "debugging.h"
#include "guest_abi.h"
#include "object.h"
#include "sockets/sockets.h"
#include "storage.h"

#define MAX_LOG		65536

/*--------------------------------------------------------------------
 * Output, by lines
 */

static void
collect(const struct tkc_program *p, char *line, size_t *have,
    const char *text, size_t len)
{
	size_t i;

	for (i = 0; i < len; i++) {
		if (text[i] == '\n' || *have == TKC_LOG_LINE) {
			if (*have > 0)
				tkc_log(p, TKC_LOG_GUEST, line, *have);
			*have = 0;
		}
		if (text[i] != '\n')
			line[(*have)++] = text[i];
	}
}

/* All kinds of `priv` begin with their magic number. */
static struct tkc_storage *
storage_of(void *priv)
{

	return (*(unsigned *)priv == TKC_STORAGE_MAGIC ? priv : NULL);
}

/* *inv NULL: storage, or the program does not wait for requests yet. */
static struct tkc_instance *
instance_of(void *priv, struct tkc_invocation **inv)
{
	unsigned magic = *(unsigned *)priv;

	*inv = NULL;
	if (magic == TKC_STORAGE_MAGIC)
		return (storage_of(priv)->instance);
	if (magic == TKC_INSTANCE_MAGIC) {
		*inv = ((struct tkc_instance *)priv)->warming;
		return (priv);
	}
	*inv = priv;
	TK_CHECK_OBJ(*inv, TKC_INVOCATION_MAGIC);
	return ((*inv)->instance);
}

static void
on_output(int fd, const char *text, size_t len, void *priv)
{
	struct tkc_invocation *inv;
	struct tkc_instance *in = instance_of(priv, &inv);
	struct tkc_storage *st = storage_of(priv);

	if (in->program->settings.to_stdout)
		(void)fwrite(text, 1, len, fd == 2 ? stderr : stdout);
	if (st != NULL)
		collect(in->program, st->line, &st->line_len, text, len);
	else if (inv != NULL)
		collect(in->program, inv->line, &inv->line_len, text, len);
	else
		collect(in->program, in->line, &in->line_len, text, len);
}

static void
on_unknown(const char *name, void *priv)
{
	struct tkc_invocation *inv;
	struct tkc_instance *in = instance_of(priv, &inv);

	tkc_program_unknown(in->program, name);
}

static void
on_refused(const char *what, void *priv)
{
	struct tkc_invocation *inv;
	struct tkc_instance *in = instance_of(priv, &inv);

	tkc_program_refused(in->program, what);
}

static void
on_failing(struct tk_machine *m, const struct tk_error *err, void *priv)
{
	struct tkc_invocation *inv;

	tkc_debug_failing(m, instance_of(priv, &inv), err);
}

static void
on_trace(const char *line, void *priv)
{
	struct tkc_invocation *inv;
	struct tkc_instance *in = instance_of(priv, &inv);

	tkc_log(in->program, TKC_LOG_TRACE, line, strlen(line));
}

/*--------------------------------------------------------------------
 * Calls that a program makes before it waits for requests
 */

enum tk_verdict
tkc_api_register(struct tk_machine *m, tk_gva handler[TKC_HANDLERS])
{
	uint64_t index = tk_arg(m, 0), function = tk_arg(m, 1);

	switch (index) {
	case TKC_ON_GET:
	case TKC_ON_POST:
	case TKC_ON_METHOD:
	case TKC_ON_STREAM_POST:
	case TKC_ON_ERROR:
	case TKC_ON_SERIALISE:
	case TKC_ON_RESTORE:
	case TKC_ON_PREPARE_PAUSE:
		break;
	default:
		return (tk_fail(m, index, "register_func: there is no handler "
		    "number %llu", (unsigned long long)index));
	}
	if (!tk_executable(m, function))
		return (tk_fail(m, function, "register_func: 0x%llx is no "
		    "function", (unsigned long long)function));
	handler[index] = function;
	tk_set_result(m, 0);
	return (TK_RESUME);
}

static enum tk_verdict
call_at_boot(struct tk_machine *m, uint32_t number, struct tkc_instance *in)
{
	struct guest_request none;

	switch (number) {
	case HC_REGISTER_FUNC:
		return (tkc_api_register(m, in->handler));
	case HC_WAIT_FOR_REQUESTS:
		return (TK_DONE);
	case HC_WAIT_PAUSED:
		memset(&none, 0, sizeof none);
		in->paused = tk_arg(m, 0);
		if (!tk_write(m, in->paused, &none, sizeof none))
			return (tk_fail(m, in->paused,
			    "wait_for_requests_paused: the request structure "
			    "at 0x%llx is not the program's memory",
			    (unsigned long long)in->paused));
		return (TK_DONE);
	case HC_MAKE_EPHEMERAL:
		if (!in->program->settings.control_ephemeral) {
			tk_set_result(m, (uint64_t)-1);
			return (TK_RESUME);
		}
		in->ephemeral = (uint32_t)tk_arg(m, 0) != 0;
		tk_set_result(m, 0);
		return (TK_RESUME);
	case HC_SET_CACHEABLE:
	case HC_STORAGE_TASK:
		tk_set_result(m, (uint64_t)-1);
		return (TK_RESUME);
	case HC_STORAGE_ALLOW:
		/* Storage's own business: it runs the same main(). */
		tk_set_result(m, 0);
		return (TK_RESUME);
	case HC_STORAGE_CALLV:
	case HC_BACKEND_RESPONSE:
	case HC_BEGIN_STREAMING:
	case HC_HTTP_APPEND:
	case HC_HTTP_SET:
	case HC_HTTP_FIND:
	case HC_HTTP_METHOD:
	case HC_REGEX_COPYTO:
	case HC_SOCKETS_WRITE:
		return (tk_fail(m, 0, "host call 0x%x before the program "
		    "waits for requests: there is no request", number));
	default:
		tk_set_result(m, (uint64_t)-ENOSYS);
		return (TK_RESUME);
	}
}

/*--------------------------------------------------------------------
 * Calls in a request
 */

static enum tk_verdict
set_cacheable(struct tk_machine *m, struct tkc_invocation *inv)
{
	struct tkc_response *r = inv->response;

	if (!inv->request->is_backend) {
		tk_set_result(m, (uint64_t)-1);
		return (TK_RESUME);
	}
	r->cache_set = 1;
	r->cached = tk_arg(m, 0) != 0;
	/* Milliseconds, at most some 49 days. */
	r->ttl = (double)(uint32_t)tk_arg(m, 1) / 1e3;
	r->grace = (double)(uint32_t)tk_arg(m, 2) / 1e3;
	r->keep = (double)(uint32_t)tk_arg(m, 3) / 1e3;
	tk_set_result(m, 0);
	return (TK_RESUME);
}

/* In a request, and in a machine that serves sockets. */
static enum tk_verdict
call_in_fork(struct tk_machine *m, uint32_t number,
    struct tkc_invocation *inv)
{

	switch (number) {
	case HC_MULTIPROCESS:
		return (tkc_api_multiprocess(m, inv));
	case HC_MULTIPROCESS_ARRAY:
		return (tkc_api_multiprocess_array(m, inv));
	case HC_MULTIPROCESS_CLONE:
		return (tkc_api_multiprocess_clone(m, inv));
	case HC_MULTIPROCESS_WAIT:
		return (tkc_api_multiprocess_wait(m, inv));
	case HC_STORAGE_CALLV:
		return (tkc_api_storage_call(m, inv));
	case HC_STORAGE_TASK:
		return (tkc_api_storage_task(m, inv));
	case HC_STOP_STORAGE_TASK:
		return (tkc_api_stop_storage_task(m, inv));
	case HC_STORAGE_RETURN:
	case HC_STORAGE_NORETURN:
		return (tk_fail(m, 0, "host call 0x%x is only allowed in "
		    "storage", number));
	case HC_STORAGE_ALLOW:
	case HC_REGISTER_FUNC:
	case HC_WAIT_FOR_REQUESTS:
	case HC_WAIT_PAUSED:
	case HC_MAKE_EPHEMERAL:
		return (tk_fail(m, 0, "host call 0x%x is only allowed before "
		    "the program waits for requests", number));
	default:
		tk_set_result(m, (uint64_t)-ENOSYS);
		return (TK_RESUME);
	}
}

static enum tk_verdict
call_in_request(struct tk_machine *m, uint32_t number,
    struct tkc_invocation *inv)
{

	switch (number) {
	case HC_BACKEND_RESPONSE:
		return (tkc_api_response(m, inv));
	case HC_BEGIN_STREAMING:
		return (tkc_api_begin_streaming(m, inv));
	case HC_RETURN:
		return (tkc_api_return(m, inv));
	case HC_SET_CACHEABLE:
		return (set_cacheable(m, inv));
	case HC_HTTP_APPEND:
		return (tkc_api_http_append(m, inv));
	case HC_HTTP_SET:
		return (tkc_api_http_set(m, inv));
	case HC_HTTP_FIND:
		return (tkc_api_http_find(m, inv));
	case HC_HTTP_METHOD:
		return (tkc_api_http_method(m, inv));
	case HC_REGEX_COPYTO:
		return (tkc_api_regex_copyto(m, inv));
	case HC_SOCKETS_WRITE:
		return (tk_fail(m, 0, "host call 0x%x is only allowed to the "
		    "handler of socket events", number));
	default:
		return (call_in_fork(m, number, inv));
	}
}

static enum tk_verdict
call_in_system(struct tk_machine *m, uint32_t number,
    struct tkc_invocation *inv)
{

	switch (number) {
	case HC_WAIT_PAUSED:
		return (tkc_api_wait_for_events(m, inv));
	case HC_SOCKETS_WRITE:
		return (tkc_api_sockets_write(m, inv));
	case HC_RETURN:
		return (tk_fail(m, 0, "the handler of socket events returned, "
		    "instead of waiting for the next ones"));
	case HC_SET_CACHEABLE:
		tk_set_result(m, (uint64_t)-1);
		return (TK_RESUME);
	case HC_BACKEND_RESPONSE:
	case HC_BEGIN_STREAMING:
	case HC_HTTP_APPEND:
	case HC_HTTP_SET:
	case HC_HTTP_FIND:
	case HC_HTTP_METHOD:
	case HC_REGEX_COPYTO:
		return (tk_fail(m, 0, "host call 0x%x while it serves "
		    "connections: there is no request", number));
	default:
		return (call_in_fork(m, number, inv));
	}
}

/*--------------------------------------------------------------------
 * Calls at any time
 */

static enum tk_verdict
guest_log(struct tk_machine *m, const struct tkc_program *p)
{
	char buf[TKC_LOG_LINE];
	tk_gva text = tk_arg(m, 0);
	uint64_t len = tk_arg(m, 1), n;

	if (!tk_readable(m, text, len))
		return (tk_fail(m, text, "sys_log: %llu bytes at 0x%llx are "
		    "not the program's memory", (unsigned long long)len,
		    (unsigned long long)text));
	if (len > MAX_LOG)
		len = MAX_LOG;
	while (len > 0) {
		n = len < sizeof buf ? len : sizeof buf;
		if (!tk_read(m, buf, text, n))
			break;
		tkc_log(p, TKC_LOG_GUEST, buf, n);
		text += n;
		len -= n;
	}
	return (TK_RESUME);
}

static enum tk_verdict
meminfo(struct tk_machine *m, const struct tkc_instance *in)
{
	const double mib = 1024.0 * 1024.0;
	uint64_t info[4];

	info[0] = (uint64_t)(in->memory * mib);
	info[1] = (uint64_t)(in->request_memory * mib);
	info[2] = info[1];
	info[3] = tk_is_booting(m) ? 0 : (uint64_t)tk_working_set(m) << 12;
	if (!tk_write(m, tk_arg(m, 0), info, sizeof info))
		return (tk_fail(m, tk_arg(m, 0), "get_meminfo: 0x%llx is not "
		    "the program's memory",
		    (unsigned long long)tk_arg(m, 0)));
	return (TK_RESUME);
}

static enum tk_verdict
on_host_call(struct tk_machine *m, uint32_t number, void *priv)
{
	struct tkc_invocation *inv;
	struct tkc_instance *in = instance_of(priv, &inv);
	struct tkc_storage *st = storage_of(priv);
	/* Who keeps what the calls leave behind. */
	struct tkc_instance *kept = st != NULL ? &st->own : in;
	enum tk_verdict v;
	char name[24];

	/* The ordinary end of a request first. */
	if (inv != NULL && number == HC_BACKEND_RESPONSE &&
	    inv->system == NULL)
		return (tkc_api_response(m, inv));
	switch (number) {
	case HC_LOG:
		return (guest_log(m, in->program));
	case HC_MEMINFO:
		return (meminfo(m, in));
	case HC_IS_DEBUG:
		tk_set_result(m, in->debug);
		return (TK_RESUME);
	case HC_BREAKPOINT:
		return (tkc_debug_breakpoint(m, in));
	case HC_IS_STORAGE:
		tk_set_result(m, st != NULL);
		return (TK_RESUME);
	case HC_SHARED_MEMORY:
		return (tkc_api_shared_memory(m));
	case HC_REGEX_COMPILE:
		return (tkc_api_regex_compile(m, kept, inv));
	case HC_REGEX_FREE:
		return (tkc_api_regex_free(m, kept, inv));
	case HC_REGEX_MATCH:
		return (tkc_api_regex_match(m, kept, inv));
	case HC_REGEX_SUBST:
		return (tkc_api_regex_subst(m, kept, inv));
	case HC_FETCH:
	case HC_REQUEST:
	case HC_FETCH_METHOD:
		return (tkc_api_fetch(m, number, kept, inv));
	default:
		break;
	}
	v = st != NULL ? tkc_api_in_storage(m, number, st) :
	    inv == NULL ? call_at_boot(m, number, in) :
	    inv->system != NULL ? call_in_system(m, number, inv) :
	    call_in_request(m, number, inv);
	if (v == TK_RESUME && tk_result(m) == (uint64_t)-ENOSYS) {
		(void)snprintf(name, sizeof name, "guest API 0x%x", number);
		tkc_program_unknown(in->program, name);
	}
	return (v);
}

/* As above, each call told: what kvmctl run --trace shows. */
static enum tk_verdict
on_traced_call(struct tk_machine *m, uint32_t number, void *priv)
{
	unsigned long long a = tk_arg(m, 0), b = tk_arg(m, 1), c = tk_arg(m, 2);
	enum tk_verdict v = on_host_call(m, number, priv);
	char line[160];

	(void)snprintf(line, sizeof line, "guest API 0x%x(0x%llx, 0x%llx, "
	    "0x%llx)", number, a, b, c);
	if (v == TK_RESUME)
		(void)snprintf(line + strlen(line), 32, " = %lld",
		    (long long)tk_result(m));
	on_trace(line, priv);
	return (v);
}

const struct tk_guest_ops tkc_guest_ops = {
	.host_call = on_host_call,
	.output = on_output,
	.unknown_call = on_unknown,
	.refused = on_refused,
	.failing = on_failing,
};

const struct tk_guest_ops tkc_traced_ops = {
	.host_call = on_traced_call,
	.output = on_output,
	.unknown_call = on_unknown,
	.refused = on_refused,
	.failing = on_failing,
	.trace = on_trace,
};
