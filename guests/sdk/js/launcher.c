/*-
 * SPDX-License-Identifier: BSD-2-Clause
 *
 * JavaScript as a guest, by QuickJS. The main file is a module and runs once,
 * before the freeze:
 *
 *	kvm.serve(request => ({ body: `Hello ${request.url}` }));
 *
 * request: method, url, arg, type, body (strings), headers (names in lower
 * case), bytes (the body as an ArrayBuffer). The answer, or a promise of it,
 * is a string, an ArrayBuffer or Uint8Array, or an object with any of status,
 * type, body, headers, ttl, grace, keep (seconds; ttl 0 forbids caching). A
 * list among the headers is a field of each. What is thrown, or an Error that
 * is answered, is status 500 and its message in the log.
 *
 * kvm.log(text) and console.log() write to the log. import finds the guest's
 * other files. Math.random() is seeded anew for every request.
 */

#include <ctype.h>

#include <quickjs.h>

#include "answer.h"
#include "embed.h"

/* Of the call's 1 MiB; the launcher and the host's calls need little. */
#define MAX_STACK	(768 * 1024)
/* Cycles are looked for after so much more memory; requests end before. */
#define GC_ROOM		((size_t)8 << 20)

static JSRuntime *rt;
static JSContext *js;
static JSValue handler, request_proto;
static const struct kvm_request *current;
static uint64_t random_state[2];

/* The text and stack of the exception that is pending; never freed. */
static const char *
exception_text(void)
{
	JSValue e = JS_GetException(js), stack;
	const char *text, *trace;
	char *both;

	text = JS_ToCString(js, e);
	if (text == NULL)
		return ("an exception without a text");
	stack = JS_IsError(e) ? JS_GetPropertyStr(js, e, "stack") :
	    JS_UNDEFINED;
	trace = JS_IsString(stack) ? JS_ToCString(js, stack) : NULL;
	if (trace == NULL || asprintf(&both, "%s\n%s", text, trace) < 0)
		return (text);
	return (both);
}

/*--------------------------------------------------------------------
 * Globals
 */

static JSValue
f_serve(JSContext *ctx, JSValueConst self, int argc, JSValueConst *argv)
{

	(void)self;
	if (argc < 1 || !JS_IsFunction(ctx, argv[0]))
		return (JS_ThrowTypeError(ctx,
		    "kvm.serve() wants a function"));
	JS_FreeValue(ctx, handler);
	handler = JS_DupValue(ctx, argv[0]);
	return (JS_UNDEFINED);
}

static JSValue
f_log(JSContext *ctx, JSValueConst self, int argc, JSValueConst *argv)
{
	const char *text;
	char line[4096];
	size_t len, n = 0;
	int i;

	(void)self;
	for (i = 0; i < argc; i++) {
		text = JS_ToCStringLen(ctx, &len, argv[i]);
		if (text == NULL)
			return (JS_EXCEPTION);
		if (i > 0 && n < sizeof line)
			line[n++] = ' ';
		if (len > sizeof line - n)
			len = sizeof line - n;
		memcpy(line + n, text, len);
		n += len;
		JS_FreeCString(ctx, text);
	}
	sys_log(line, n);
	return (JS_UNDEFINED);
}

/* xorshift128+, the upper 53 bits. */
static JSValue
f_random(JSContext *ctx, JSValueConst self, int argc, JSValueConst *argv)
{
	uint64_t x = random_state[0], y = random_state[1];

	(void)self;
	(void)argc;
	(void)argv;
	random_state[0] = y;
	x ^= x << 23;
	random_state[1] = x ^ y ^ (x >> 17) ^ (y >> 26);
	return (JS_NewFloat64(ctx, (double)((random_state[1] + y) >> 11) *
	    0x1p-53));
}

static JSValue
f_bytes(JSContext *ctx, JSValueConst self)
{

	(void)self;
	if (current == NULL)
		return (JS_UNDEFINED);
	return (JS_NewArrayBufferCopy(ctx, current->content,
	    current->content_len));
}

static JSModuleDef *
load_module(JSContext *ctx, const char *name, void *priv,
    JSValueConst attributes)
{
	const struct kvm_file *f = kvm_file_find(name);
	JSValue v;

	(void)priv;
	(void)attributes;
	if (f == NULL) {
		JS_ThrowReferenceError(ctx, "the guest has no file '%s'",
		    name);
		return (NULL);
	}
	v = JS_Eval(ctx, f->data, f->len, name, JS_EVAL_TYPE_MODULE |
	    JS_EVAL_FLAG_COMPILE_ONLY);
	if (JS_IsException(v))
		return (NULL);
	return (JS_VALUE_GET_PTR(v));
}

static void
set_function(JSValueConst object, const char *name, JSCFunction *f, int args)
{

	JS_SetPropertyStr(js, object, name, JS_NewCFunction(js, f, name,
	    args));
}

static void
open_globals(void)
{
	static const JSCFunctionListEntry getters[] = {
		JS_CGETSET_DEF("bytes", f_bytes, NULL)
	};
	JSValue global = JS_GetGlobalObject(js), o;

	o = JS_NewObject(js);
	set_function(o, "serve", f_serve, 1);
	set_function(o, "log", f_log, 1);
	JS_SetPropertyStr(js, global, "kvm", o);
	o = JS_NewObject(js);
	set_function(o, "log", f_log, 1);
	set_function(o, "warn", f_log, 1);
	set_function(o, "error", f_log, 1);
	JS_SetPropertyStr(js, global, "console", o);
	o = JS_GetPropertyStr(js, global, "Math");
	set_function(o, "random", f_random, 0);
	JS_FreeValue(js, o);
	JS_FreeValue(js, global);
	request_proto = JS_NewObject(js);
	JS_SetPropertyFunctionList(js, request_proto, getters, 1);
}

/*--------------------------------------------------------------------
 * Requests
 */

static void
set_text(JSValueConst object, const char *name, const void *text, size_t len)
{

	JS_SetPropertyStr(js, object, name, JS_NewStringLen(js, text, len));
}

/* Values of one name are joined by ", ". */
static JSValue
new_headers(const struct kvm_request *r)
{
	JSValue o = JS_NewObject(js), old;
	const struct kvm_request_header *h;
	const char *value, *before;
	char name[256], *both;
	unsigned n, i;

	for (n = 0; n < r->num_headers; n++) {
		h = &r->headers[n];
		if (h->field_colon >= sizeof name)
			continue;
		for (i = 0; i < h->field_colon; i++)
			name[i] = (char)tolower((unsigned char)h->field[i]);
		name[i] = '\0';
		value = h->field + h->field_colon + 1;
		while (*value == ' ' || *value == '\t')
			value++;
		old = JS_GetPropertyStr(js, o, name);
		if (JS_IsString(old)) {
			before = JS_ToCString(js, old);
			if (before != NULL && asprintf(&both, "%s, %s",
			    before, value) >= 0)
				value = both;
		}
		JS_FreeValue(js, old);
		/* Defined, not set: a header may be called __proto__. */
		JS_DefinePropertyValueStr(js, o, name, JS_NewString(js,
		    value), JS_PROP_C_W_E);
	}
	return (o);
}

static JSValue
new_request(const struct kvm_request *r)
{
	JSValue o = JS_NewObjectProto(js, request_proto);

	set_text(o, "method", r->method, r->method_len);
	set_text(o, "url", r->url, r->url_len);
	set_text(o, "arg", r->arg, r->arg_len);
	set_text(o, "type", r->content_type, r->content_type_len);
	set_text(o, "body", r->content, r->content_len);
	JS_SetPropertyStr(js, o, "headers", new_headers(r));
	return (o);
}

static bool
is_there(JSValueConst v)
{

	return (!JS_IsUndefined(v) && !JS_IsNull(v));
}

/* A body: string, ArrayBuffer, Uint8Array. False: an exception is pending. */
static bool
take_body(struct kvm_answer *a, JSValueConst v)
{

	if (JS_IsArrayBuffer(v))
		a->body = JS_GetArrayBuffer(js, &a->body_len, v);
	else if (JS_GetTypedArrayType(v) == JS_TYPED_ARRAY_UINT8)
		a->body = JS_GetUint8Array(js, &a->body_len, v);
	else if (JS_GetTypedArrayType(v) >= 0) {
		/* As a text they would be numbers with commas. */
		JS_ThrowTypeError(js, "of typed arrays a body is a Uint8Array");
		return (false);
	} else
		a->body = JS_ToCStringLen(js, &a->body_len, v);
	/* An empty buffer has no address. */
	return (a->body != NULL || !JS_HasException(js));
}

static double
number(JSValueConst object, const char *name, double otherwise)
{
	JSValue v = JS_GetPropertyStr(js, object, name);
	double d = otherwise;

	if (is_there(v) && JS_ToFloat64(js, &d, v) < 0)
		kvm_answer_failed(exception_text());
	return (d);
}

static void
take_header(struct kvm_answer *a, JSAtom of, JSValueConst v)
{
	const char *name, *value;
	size_t name_len, value_len;

	name = JS_AtomToCStringLen(js, &name_len, of);
	value = JS_ToCStringLen(js, &value_len, v);
	if (name == NULL || value == NULL)
		kvm_answer_failed(exception_text());
	if (kvm_answer_header(a, name, name_len, value, value_len))
		kvm_answer_failed("too many headers in the answer");
}

static void
take_headers(struct kvm_answer *a, JSValueConst headers)
{
	JSPropertyEnum *names;
	int64_t each, k;
	uint32_t n, i;
	JSValue v;

	if (JS_GetOwnPropertyNames(js, &names, &n, headers,
	    JS_GPN_STRING_MASK | JS_GPN_ENUM_ONLY) < 0)
		kvm_answer_failed(exception_text());
	for (i = 0; i < n; i++) {
		v = JS_GetProperty(js, headers, names[i].atom);
		if (!JS_IsArray(v)) {
			take_header(a, names[i].atom, v);
			continue;
		}
		if (JS_GetLength(js, v, &each) < 0)
			kvm_answer_failed(exception_text());
		for (k = 0; k < each; k++)
			take_header(a, names[i].atom,
			    JS_GetPropertyInt64(js, v, k));
	}
}

static void
take_answer(struct kvm_answer *a, JSValueConst v)
{
	JSValue p;

	if (!JS_IsObject(v) || JS_IsArrayBuffer(v) ||
	    JS_GetTypedArrayType(v) >= 0) {
		if (!is_there(v))
			kvm_answer_failed("the handler answered nothing");
		if (!take_body(a, v))
			kvm_answer_failed(exception_text());
		return;
	}
	if (JS_IsArray(v) || JS_IsFunction(js, v))
		kvm_answer_failed("the handler's answer is an array or a "
		    "function");
	a->status = (int)number(v, "status", 200);
	p = JS_GetPropertyStr(js, v, "type");
	if (is_there(p))
		a->type = JS_ToCString(js, p);
	if (a->type == NULL)
		kvm_answer_failed(exception_text());
	p = JS_GetPropertyStr(js, v, "body");
	if (JS_IsException(p) || (is_there(p) && !take_body(a, p)))
		kvm_answer_failed(exception_text());
	p = JS_GetPropertyStr(js, v, "ttl");
	if (is_there(p))
		kvm_answer_cache(a, number(v, "ttl", 0), number(v, "grace", 0),
		    number(v, "keep", 0));
	p = JS_GetPropertyStr(js, v, "headers");
	if (JS_IsException(p))
		kvm_answer_failed(exception_text());
	if (JS_IsObject(p))
		take_headers(a, p);
}

/* Runs what is pending; the value of a promise, or the value itself. */
static JSValue
settle(JSValue v)
{
	JSContext *ctx;

	while (JS_IsJobPending(rt))
		if (JS_ExecutePendingJob(rt, &ctx) < 0)
			return (JS_EXCEPTION);
	if (!JS_IsPromise(v))
		return (v);
	switch (JS_PromiseState(js, v)) {
	case JS_PROMISE_FULFILLED:
		return (JS_PromiseResult(js, v));
	case JS_PROMISE_REJECTED:
		return (JS_Throw(js, JS_PromiseResult(js, v)));
	default:
		return (JS_ThrowInternalError(js,
		    "a promise that nothing will keep"));
	}
}

static void
on_request(const struct kvm_request *r)
{
	static struct kvm_answer answer;
	JSValue request, result;

	JS_UpdateStackTop(rt);
	current = r;
	memcpy(random_state, r->prng, sizeof random_state);
	random_state[0] |= 1;
	kvm_answer_free(&answer);
	kvm_answer_init(&answer);
	request = new_request(r);
	result = JS_Call(js, handler, JS_UNDEFINED, 1, &request);
	if (!JS_IsException(result))
		result = settle(result);
	if (JS_IsError(result))
		result = JS_Throw(js, result);
	if (JS_IsException(result))
		kvm_answer_failed(exception_text());
	take_answer(&answer, result);
	kvm_answer_send(&answer);
}

int
main(void)
{
	JSMemoryUsage usage;
	JSValue result;

	rt = JS_NewRuntime();
	js = rt != NULL ? JS_NewContext(rt) : NULL;
	if (js == NULL)
		kvm_boot_failed("QuickJS: out of memory");
	JS_SetMaxStackSize(rt, MAX_STACK);
	JS_SetModuleLoaderFunc2(rt, NULL, load_module, NULL, NULL);
	handler = JS_UNDEFINED;
	random_state[0] = 1;
	open_globals();
	result = JS_Eval(js, kvm_files[0].data, kvm_files[0].len,
	    kvm_files[0].name, JS_EVAL_TYPE_MODULE);
	if (!JS_IsException(result))
		result = settle(result);
	if (JS_IsException(result))
		kvm_boot_failed(exception_text());
	if (JS_IsUndefined(handler))
		kvm_boot_failed("the script did not call kvm.serve()");
	JS_RunGC(rt);
	JS_ComputeMemoryUsage(rt, &usage);
	JS_SetGCThreshold(rt, (size_t)usage.malloc_size + GC_ROOM);
	kvm_keep_heap(KVM_LAUNCHER_HEAP);
	kvm_serve(on_request);
}
