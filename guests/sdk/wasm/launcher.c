/*-
 * SPDX-License-Identifier: BSD-2-Clause
 *
 * WebAssembly as a guest, by wasm3. What modules see is in kvm_wasm.h. All
 * functions are compiled to wasm3's code before the freeze.
 */

#include <m3_env.h>
#include <wasm3.h>

#include "answer.h"
#include "embed.h"

#define STACK_BYTES	(256 * 1024)	/* wasm3's own, beside the CPU's */

static struct kvm_answer answer;
static const struct kvm_request *current;
static IM3Runtime runtime;
static IM3Function handle;
static uint64_t random_state[2];

static void
failed(const char *what, M3Result result)
{
	M3ErrorInfo info;
	static char text[512];

	m3_GetErrorInfo(runtime, &info);
	(void)snprintf(text, sizeof text, "%s: %s%s%s", what, result,
	    info.message != NULL && *info.message ? ": " : "",
	    info.message != NULL ? info.message : "");
	if (current != NULL)
		kvm_answer_failed(text);
	kvm_boot_failed(text);
}

static size_t
copy_out(void *out, size_t room, const void *from, size_t len)
{

	memcpy(out, from, len < room ? len : room);
	return (len);
}

m3ApiRawFunction(f_part)
{
	m3ApiReturnType(uint32_t)
	m3ApiGetArg(uint32_t, part)
	m3ApiGetArgMem(char *, out)
	m3ApiGetArg(uint32_t, size)
	const struct kvm_request *r = current;
	size_t n = 0;

	m3ApiCheckMem(out, size);
	if (r != NULL) {
		switch (part) {
		case 0: n = copy_out(out, size, r->method, r->method_len);
			break;
		case 1: n = copy_out(out, size, r->url, r->url_len);
			break;
		case 2: n = copy_out(out, size, r->arg, r->arg_len);
			break;
		case 3: n = copy_out(out, size, r->content_type,
			    r->content_type_len);
			break;
		case 4: n = copy_out(out, size, r->content, r->content_len);
			break;
		default:
			m3ApiTrap("kvm.part: there is no such part");
		}
	}
	m3ApiReturn((uint32_t)n);
}

m3ApiRawFunction(f_header)
{
	m3ApiReturnType(int32_t)
	m3ApiGetArgMem(const char *, name)
	m3ApiGetArg(uint32_t, len)
	m3ApiGetArgMem(char *, out)
	m3ApiGetArg(uint32_t, size)
	const char *value;
	char text[256];

	m3ApiCheckMem(name, len);
	m3ApiCheckMem(out, size);
	if (current == NULL || len >= sizeof text)
		m3ApiReturn(-1);
	memcpy(text, name, len);
	text[len] = '\0';
	value = kvm_header(current, text);
	if (value == NULL)
		m3ApiReturn(-1);
	m3ApiReturn((int32_t)copy_out(out, size, value, strlen(value)));
}

m3ApiRawFunction(f_set_header)
{
	m3ApiGetArgMem(const char *, field)
	m3ApiGetArg(uint32_t, len)
	struct ResponseHeader *h;
	char *copy;

	m3ApiCheckMem(field, len);
	if (answer.extra.num_headers == KVM_ANSWER_HEADERS)
		m3ApiTrap("kvm.set_header: too many headers");
	/* The module may use its buffer again, and its memory may move. */
	copy = malloc((size_t)len + 1);
	if (copy == NULL)
		m3ApiTrap("kvm.set_header: out of memory");
	memcpy(copy, field, len);
	h = &answer.header[answer.extra.num_headers++];
	h->field = copy;
	h->field_len = len;
	m3ApiSuccess();
}

m3ApiRawFunction(f_set_ttl)
{
	m3ApiGetArg(int32_t, ms)

	kvm_answer_cache(&answer, ms / 1e3, 0, 0);
	m3ApiSuccess();
}

m3ApiRawFunction(f_respond)
{
	m3ApiGetArg(int32_t, status)
	m3ApiGetArgMem(const char *, type)
	m3ApiGetArg(uint32_t, type_len)
	m3ApiGetArgMem(const char *, body)
	m3ApiGetArg(uint32_t, body_len)

	m3ApiCheckMem(type, type_len);
	m3ApiCheckMem(body, body_len);
	if (current == NULL)
		m3ApiTrap("kvm.respond: no request");
	answer.type = strndup(type, type_len);
	if (answer.type == NULL)
		m3ApiTrap("kvm.respond: out of memory");
	answer.status = status;
	answer.body = body;
	answer.body_len = body_len;
	/* Back to on_request(): nothing is left on wasm3's stack. */
	m3ApiTrap(m3Err_trapExit);
}

m3ApiRawFunction(f_log)
{
	m3ApiGetArgMem(const char *, text)
	m3ApiGetArg(uint32_t, len)

	m3ApiCheckMem(text, len);
	sys_log(text, len);
	m3ApiSuccess();
}

/* xorshift128+, seeded by the host for every request. */
m3ApiRawFunction(f_random)
{
	m3ApiReturnType(uint64_t)
	uint64_t x = random_state[0], y = random_state[1];

	random_state[0] = y;
	x ^= x << 23;
	random_state[1] = x ^ y ^ (x >> 17) ^ (y >> 26);
	m3ApiReturn(random_state[1] + y);
}

static const struct {
	const char	*name, *signature;
	M3RawCall	call;
} imports[] = {
	{ "part", "i(i*i)", f_part },
	{ "header", "i(*i*i)", f_header },
	{ "set_header", "v(*i)", f_set_header },
	{ "set_ttl", "v(i)", f_set_ttl },
	{ "respond", "v(i*i*i)", f_respond },
	{ "log", "v(*i)", f_log },
	{ "random", "I()", f_random },
};

static void
on_request(const struct kvm_request *r)
{
	M3Result e;

	current = r;
	kvm_answer_free(&answer);
	kvm_answer_init(&answer);
	memcpy(random_state, r->prng, sizeof random_state);
	random_state[0] |= 1;
	e = m3_CallV(handle);
	if (e == m3Err_trapExit)
		kvm_answer_send(&answer);
	if (e != m3Err_none)
		failed("handle()", e);
	kvm_answer_failed("handle() ended without respond()");
}

int
main(void)
{
	IM3Environment env = m3_NewEnvironment();
	IM3Module module;
	IM3Function init;
	M3Result e;
	size_t i;

	runtime = m3_NewRuntime(env, STACK_BYTES, NULL);
	e = m3_ParseModule(env, &module, (const uint8_t *)kvm_files[0].data,
	    (uint32_t)kvm_files[0].len);
	if (e != m3Err_none)
		failed("the module", e);
	e = m3_LoadModule(runtime, module);
	if (e != m3Err_none)
		failed("the module", e);
	for (i = 0; i < sizeof imports / sizeof imports[0]; i++) {
		e = m3_LinkRawFunction(module, "kvm", imports[i].name,
		    imports[i].signature, imports[i].call);
		/* Not every module imports all. */
		if (e != m3Err_none && e != m3Err_functionLookupFailed)
			failed(imports[i].name, e);
	}
	e = m3_CompileModule(module);
	if (e != m3Err_none)
		failed("the module", e);
	e = m3_RunStart(module);
	if (e != m3Err_none)
		failed("start", e);
	if (m3_FindFunction(&init, runtime, "init") == m3Err_none) {
		e = m3_CallV(init);
		if (e != m3Err_none)
			failed("init()", e);
	}
	e = m3_FindFunction(&handle, runtime, "handle");
	if (e != m3Err_none)
		failed("the export handle()", e);
	kvm_keep_heap(KVM_LAUNCHER_HEAP);
	kvm_serve(on_request);
}
