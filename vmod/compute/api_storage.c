/*-
 * SPDX-License-Identifier: BSD-2-Clause
 *
 * What requests ask of storage, and what storage asks itself.
 */

#include <errno.h>
#include <stdlib.h>
#include <string.h>

#include "api.h"
#include "guest_abi.h"
#include "object.h"
#include "storage.h"

#define ROUND16(x)	(((x) + 15) & ~(uint64_t)15)

typedef unsigned long long ull;

/*--------------------------------------------------------------------
 * storage_callv(function, n, buffers, result, size)
 */

struct buffers {
	struct guest_buffer	at[TKC_MAX_BUFFERS];	/* the caller's */
	unsigned		n;
	uint64_t		bytes;	/* in storage, with the list */
};

/* Copies the list and checks all that it says. */
static enum tk_verdict
read_buffers(struct tk_machine *m, struct buffers *b, uint64_t room)
{
	uint64_t n = tk_arg(m, 1);
	tk_gva list = tk_arg(m, 2);
	unsigned i;

	if (n > TKC_MAX_BUFFERS)
		return (tk_fail(m, list, "storage_callv with %llu buffers: at "
		    "most %d", (ull)n, TKC_MAX_BUFFERS));
	b->n = (unsigned)n;
	if (!tk_read(m, b->at, list, n * sizeof b->at[0]))
		return (tk_fail(m, list, "storage_callv: the list of buffers "
		    "at 0x%llx is not the program's memory", (ull)list));
	b->bytes = n * sizeof b->at[0];
	for (i = 0; i < b->n; i++) {
		if (b->at[i].len > room ||
		    ROUND16(b->at[i].len) > room - b->bytes)
			return (tk_fail(m, list, "storage_callv with more "
			    "than %llu MiB in its buffers: raise "
			    "max_request_memory", (ull)room >> 20));
		b->bytes += ROUND16(b->at[i].len);
		if (!tk_readable(m, b->at[i].data, b->at[i].len))
			return (tk_fail(m, b->at[i].data, "storage_callv: "
			    "buffer %u, %llu bytes at 0x%llx, is not the "
			    "program's memory", i, (ull)b->at[i].len,
			    (ull)b->at[i].data));
	}
	return (TK_RESUME);
}

/* From one machine to the other. False: not its memory, any more. */
static bool
copy_between(struct tk_machine *to, tk_gva dst, const struct tk_machine *from,
    tk_gva src, uint64_t len)
{
	const void *p;
	size_t n;

	for (; len > 0; len -= n) {
		p = tk_view(from, src, len, &n);
		if (p == NULL || !tk_write(to, dst, p, n))
			return (false);
		src += n;
		dst += n;
	}
	return (true);
}

/*
 * The list, then the contents, to the start of storage's input area. They fit,
 * and both ends were checked.
 */
static bool
write_buffers(struct tkc_storage *st, const struct tk_machine *m,
    const struct buffers *b, tk_gva input)
{
	struct guest_buffer there[TKC_MAX_BUFFERS];
	tk_gva at = input + b->n * sizeof there[0];
	unsigned i;

	for (i = 0; i < b->n; i++) {
		there[i].data = at;
		there[i].len = b->at[i].len;
		if (!copy_between(st->vm, at, m, b->at[i].data, b->at[i].len))
			return (false);
		at += ROUND16(b->at[i].len);
	}
	return (tk_write(st->vm, input, there, b->n * sizeof there[0]));
}

/* With storage taken. 0, or a reason. */
static int
call(struct tkc_storage *st, struct tk_machine *m, const struct buffers *b,
    tk_gva input, struct tkc_storage_call *c, struct tkc_error *err)
{

	if (!write_buffers(st, m, b, input))
		return (tkc_fail(err, TKC_ENVIRONMENT, "%s: storage: no memory "
		    "for the buffers of a call", st->instance->program->name));
	memset(c, 0, sizeof *c);
	c->kind = TKC_CALL;
	c->caller = m;
	c->call.function = tk_arg(m, 0);
	c->call.args[0] = b->n;
	c->call.args[1] = input;
	c->call.args[2] = c->result_size = tk_arg(m, 4);
	c->result = tk_arg(m, 3);
	return (tkc_storage_run(st, c, st->seconds, err));
}

/* As long as the request may run, at most. */
static double
patience(const struct tkc_storage *st, const struct tk_machine *m)
{
	double left = tk_seconds_left(m);

	return (left < st->seconds ? left : st->seconds);
}

/* 0: no storage. */
static struct tkc_storage *
storage_of(struct tk_machine *m, const struct tkc_invocation *inv,
    const char *what)
{

	if (inv->instance->storage == NULL) {
		tkc_program_refused(inv->instance->program, what);
		tk_set_result(m, (uint64_t)-1);
	}
	return (inv->instance->storage);
}

static enum tk_verdict
not_allowed(struct tk_machine *m, const char *call_name, tk_gva function)
{

	return (tk_fail(m, function, "%s: storage does not allow the function "
	    "at 0x%llx to be called (sys_storage_allow)", call_name,
	    (ull)function));
}

enum tk_verdict
tkc_api_storage_call(struct tk_machine *m, struct tkc_invocation *inv)
{
	struct tkc_storage *st;
	struct tkc_storage_call c;
	struct tkc_error err;
	struct buffers b;
	uint64_t size, waited, start;
	tk_gva input;
	int e;

	st = storage_of(m, inv, "storage_callv: the program has no storage: "
	    "set \"storage\": true");
	if (st == NULL)
		return (TK_RESUME);
	input = tk_input_area(st->vm, &size);
	if (read_buffers(m, &b, size) == TK_FAIL)
		return (TK_FAIL);
	if (!tkc_storage_allows(st, tk_arg(m, 0)))
		return (not_allowed(m, "storage_callv", tk_arg(m, 0)));
	c.answered = c.bad_result = false;
	start = tkc_now();
	if (tkc_storage_take(st, patience(st, m), &waited)) {
		e = call(st, m, &b, input, &c, &err);
		tkc_storage_give(st);
		tkc_storage_mourn(st);
	} else
		e = tkc_fail(&err, TKC_QUEUE, "%s: storage was not free in "
		    "time, or is unloaded", inv->instance->program->name);
	inv->count.storage_calls++;
	inv->count.storage_wait_ns += waited;
	inv->count.storage_ns += tkc_now() - start - waited;
	if (e != 0) {
		inv->count.storage_errors++;
		tkc_log(inv->instance->program, TKC_LOG_ERROR, err.text,
		    strlen(err.text));
	}
	if (c.bad_result)
		return (tk_fail(m, tk_arg(m, 3), "storage_callv: the result's "
		    "place at 0x%llx is not the program's memory",
		    (ull)tk_arg(m, 3)));
	/* What was answered before a failure is an answer. */
	tk_set_result(m, e == 0 || c.answered ? (c.answered ? c.bytes : 0) :
	    (uint64_t)-1);
	return (tk_resume_in_time(m));
}

/*--------------------------------------------------------------------
 * Tasks: sys_storage_task(function, data, len, start, period)
 */

/* What storage itself asks for needs nobody's leave. */
static enum tk_verdict
add_task(struct tk_machine *m, struct tkc_storage *st, bool own)
{
	tk_gva function = tk_arg(m, 0), data = tk_arg(m, 1);
	uint64_t len = tk_arg(m, 2);
	void *copy;

	if (len > TKC_MAX_TASK)
		return (tk_fail(m, data, "sys_storage_task with %llu bytes: "
		    "at most %d", (ull)len, TKC_MAX_TASK));
	if (!own && !tkc_storage_allows(st, function))
		return (not_allowed(m, "sys_storage_task", function));
	copy = malloc(len + 1);
	if (copy != NULL && !tk_read(m, copy, data, len)) {
		free(copy);
		return (tk_fail(m, data, "sys_storage_task: %llu bytes at "
		    "0x%llx are not the program's memory", (ull)len,
		    (ull)data));
	}
	tk_set_result(m, copy == NULL ? (uint64_t)-1 : (uint64_t)
	    tkc_tasks_add(st, function, copy, len, tk_arg(m, 3),
	    tk_arg(m, 4)));
	return (TK_RESUME);
}

enum tk_verdict
tkc_api_storage_task(struct tk_machine *m, struct tkc_invocation *inv)
{
	struct tkc_storage *st;

	st = storage_of(m, inv, "sys_storage_task: the program has no storage: "
	    "set \"storage\": true");
	return (st == NULL ? TK_RESUME : add_task(m, st, false));
}

enum tk_verdict
tkc_api_stop_storage_task(struct tk_machine *m, struct tkc_invocation *inv)
{
	struct tkc_storage *st = inv->instance->storage;

	tk_set_result(m, st == NULL ? 0 :
	    (uint64_t)tkc_tasks_remove(st, tk_arg(m, 0)));
	return (TK_RESUME);
}

/*--------------------------------------------------------------------
 * In storage
 */

static enum tk_verdict
bad_data(struct tk_machine *m, tk_gva data, uint64_t len)
{

	return (tk_fail(m, data, "storage_return: %llu bytes at 0x%llx are not "
	    "the program's memory", (ull)len, (ull)data));
}

static enum tk_verdict
keep_serialised(struct tk_machine *m, struct tkc_storage_call *c, tk_gva data,
    uint64_t len)
{

	if (!tk_readable(m, data, len))
		return (bad_data(m, data, len));
	c->data = malloc(len + 1);
	if (c->data == NULL)
		return (tk_fail(m, data, "storage_return: no memory for %llu "
		    "bytes of state", (ull)len));
	if (!tk_read(m, c->data, data, len))
		return (bad_data(m, data, len));
	c->len = c->bytes = len;
	return (TK_RESUME);
}

/* storage_return(data, len), by what it is that returns. */
static enum tk_verdict
take_result(struct tk_machine *m, struct tkc_storage_call *c)
{
	tk_gva data = tk_arg(m, 0);
	uint64_t len = tk_arg(m, 1);

	switch (c->kind) {
	case TKC_CALL:
		if (!tk_readable(m, data, len))
			return (bad_data(m, data, len));
		/* More than was asked for is cut off. */
		c->bytes = len < c->result_size ? len : c->result_size;
		c->bad_result = !copy_between(c->caller, c->result, m, data,
		    c->bytes);
		break;
	case TKC_SERIALISE:
		if (keep_serialised(m, c, data, len) == TK_FAIL)
			return (TK_FAIL);
		break;
	case TKC_RESTORE:
		c->bytes = len < c->len ? len : c->len;
		if (!tk_write(m, data, c->data, c->bytes))
			return (bad_data(m, data, c->bytes));
		break;
	case TKC_TASK:
		break;
	}
	c->answered = true;
	tk_set_result(m, c->bytes);
	return (TK_RESUME);
}

static enum tk_verdict
storage_return(struct tk_machine *m, struct tkc_storage *st, bool ends)
{
	struct tkc_storage_call *c = st->call;

	if (c == NULL)
		return (tk_fail(m, 0, "storage_return before storage waits "
		    "for calls: nobody called"));
	if (c->answered)
		return (tk_fail(m, 0, "storage_return for the second time in "
		    "one call"));
	if (take_result(m, c) == TK_FAIL)
		return (TK_FAIL);
	if (ends)
		return (TK_DONE);
	/* Not longer than the call may run. */
	if (c->kind == TKC_CALL && tk_seconds_left(m) > TKC_REST_SECONDS)
		tk_set_seconds_left(m, TKC_REST_SECONDS);
	return (TK_RESUME);
}

static enum tk_verdict
allow(struct tk_machine *m, struct tkc_storage *st)
{
	tk_gva function = tk_arg(m, 0), *more;

	if (!tk_executable(m, function))
		return (tk_fail(m, function, "sys_storage_allow: 0x%llx is no "
		    "function", (ull)function));
	if (st->n_allowed == TKC_MAX_ALLOWED)
		return (tk_fail(m, function, "sys_storage_allow: more than %d "
		    "functions", TKC_MAX_ALLOWED));
	more = realloc(st->allowed, (st->n_allowed + 1) * sizeof *more);
	if (more == NULL)
		return (tk_fail(m, function, "sys_storage_allow: no memory"));
	st->allowed = more;
	st->allowed[st->n_allowed++] = function;
	tk_set_result(m, 0);
	return (TK_RESUME);
}

static enum tk_verdict
at_boot(struct tk_machine *m, uint32_t number, struct tkc_storage *st)
{

	if (!tk_is_booting(m))
		return (tk_fail(m, 0, "host call 0x%x is only allowed before "
		    "storage waits for calls", number));
	switch (number) {
	case HC_REGISTER_FUNC:
		return (tkc_api_register(m, st->handler));
	case HC_STORAGE_ALLOW:
		return (allow(m, st));
	default:
		/* Waits, whichever way: calls begin on a stack of their own. */
		return (TK_DONE);
	}
}

enum tk_verdict
tkc_api_in_storage(struct tk_machine *m, uint32_t number,
    struct tkc_storage *st)
{

	TK_CHECK_OBJ(st, TKC_STORAGE_MAGIC);
	switch (number) {
	case HC_STORAGE_RETURN:
		return (storage_return(m, st, false));
	case HC_STORAGE_NORETURN:
		return (storage_return(m, st, true));
	case HC_RETURN:
		return (TK_DONE);
	case HC_STORAGE_TASK:
		return (add_task(m, st, true));
	case HC_STOP_STORAGE_TASK:
		tk_set_result(m, (uint64_t)tkc_tasks_remove(st,
		    tk_arg(m, 0)));
		return (TK_RESUME);
	case HC_REGISTER_FUNC:
	case HC_STORAGE_ALLOW:
	case HC_WAIT_FOR_REQUESTS:
	case HC_WAIT_PAUSED:
		return (at_boot(m, number, st));
	case HC_MAKE_EPHEMERAL:
	case HC_SET_CACHEABLE:
		tk_set_result(m, (uint64_t)-1);
		return (TK_RESUME);
	case HC_STORAGE_CALLV:
		return (tk_fail(m, 0, "storage_callv in storage itself: it "
		    "would wait for itself; sys_storage_task does it later"));
	case HC_BACKEND_RESPONSE:
	case HC_BEGIN_STREAMING:
	case HC_REGEX_COPYTO:
	case HC_HTTP_APPEND:
	case HC_HTTP_SET:
	case HC_HTTP_FIND:
	case HC_HTTP_METHOD:
		return (tk_fail(m, 0, "host call 0x%x in storage: there is no "
		    "request", number));
	default:
		tk_set_result(m, (uint64_t)-ENOSYS);
		return (TK_RESUME);
	}
}
