/*-
 * SPDX-License-Identifier: BSD-2-Clause
 *
 * Any call, with any arguments, at any moment: the URL says which.
 *
 *	/sys_log,=Hello,len
 *	/sys_regex_compile,=a+,len/sys_regex_match,r1,wild,100
 *	/in-storage/sys_http_find,0,=Host,len,room,100
 *
 * A URL is a row of calls, by name or number, each with its arguments: numbers,
 * places (words.c), texts (=..., with %XX), structures of 64-bit words
 * (a,b,...), sums of these (a+b); "len" is the length of the last text, "r1"
 * what the first call returned; "times,9" says how often to do the next one.
 * The answer is what all of them returned, and what they wrote to `room`. The
 * first word may say where it happens.
 */

#include <stdlib.h>

#include "anycall.h"

char answer[8192];

static char source[70000], at_boot[sizeof answer];
static char *at;
static uint64_t arena[16384], results[1024];
static unsigned used, n_results;
static size_t last_len;
static volatile unsigned ran;

static uint64_t value(void);

/*--------------------------------------------------------------------
 * Arguments
 */

static int
digit(char c)
{

	return (c <= '9' ? c - '0' : (c | 32) - 'a' + 10);
}

static uint64_t
string(void)
{
	char *start = (char *)(arena + used), *to = start;

	for (at++; *at != '\0' && strchr(",)/", *at) == NULL; at++) {
		*to = *at;
		if (*at == '%' && at[1] != '\0' && at[2] != '\0') {
			*to = (char)(digit(at[1]) << 4 | digit(at[2]));
			at += 2;
		}
		to++;
	}
	*to = '\0';
	last_len = (size_t)(to - start);
	used += (unsigned)last_len / 8 + 1;
	return ((uintptr_t)start);
}

/* With zeros behind: as large as the largest of the interface. */
static uint64_t
structure(void)
{
	uint64_t w[64] = { 0 }, *to;
	unsigned n = 0;

	at++;
	while (*at != ')' && *at != '\0' && n < 64) {
		w[n++] = value();
		if (*at == ',')
			at++;
	}
	if (*at == ')')
		at++;
	to = arena + used;
	memcpy(to, w, sizeof w);
	used += n > 32 ? n : 32;
	return ((uintptr_t)to);
}

static uint64_t
look_up(const struct word *w, const char *name, size_t len)
{

	for (; w->name != NULL; w++)
		if (strlen(w->name) == len && memcmp(w->name, name, len) == 0)
			return (w->value);
	return (strtoull(name, NULL, 0));
}

static uint64_t
term(void)
{
	char *start = at;
	size_t len;

	if (*at == '=')
		return (string());
	if (*at == '(')
		return (structure());
	len = strcspn(at, ",)/+");
	at += len;
	if (len == 3 && memcmp(start, "len", 3) == 0)
		return (last_len);
	if (len == 4 && memcmp(start, "edge", 4) == 0)
		return (edge);
	if (*start == 'r' && digit(start[1]) < 10)
		return (results[(atoi(start + 1) - 1) & 1023]);
	return (look_up(places, start, len));
}

static uint64_t
value(void)
{
	uint64_t v = term();

	while (*at == '+') {
		at++;
		v += term();
	}
	return (v);
}

/*--------------------------------------------------------------------
 * Calls
 */

static bool
is(const char *name, const char *word)
{
	size_t len = strlen(word);

	return (strncmp(name, word, len) == 0 && (name[len] == '\0' ||
	    name[len] == ',' || name[len] == '/'));
}

/* One of its own, or a call of the host. */
static uint64_t
perform(const char *name, uint64_t number, const uint64_t a[6])
{

	if (is(name, "ok"))
		return (0);
	if (is(name, "poke"))
		return (*(uint64_t *)a[0] = a[1]);
	if (is(name, "peek"))
		return (*(uint64_t *)a[0]);
	if (is(name, "fill")) {
		memset((void *)a[0], (int)a[2], a[1]);
		return (a[1]);
	}
	if (is(name, "ran"))
		return (ran);
	while (is(name, "spin"))
		continue;
	return ((uint64_t)kvm_call((long)number, (long)a[0], (long)a[1],
	    (long)a[2], (long)a[3], (long)a[4], (long)a[5]));
}

static void
one(void)
{
	uint64_t a[6] = { 0 }, number;
	const char *name = at;
	size_t len = strcspn(at, ",/");
	unsigned n = 0;

	number = look_up(calls, name, len);
	at += len;
	while (*at == ',') {
		at++;
		a[n++ % 6] = value();
	}
	results[n_results & 1023] = perform(name, number, a);
}

static void
next(void)
{

	while (*at != '\0' && *at++ != '/')
		continue;
}

/* Many times the same; the last result counts. */
static void
times(void)
{
	char *end;
	unsigned long n = strtoul(at + strlen("times,"), &end, 0);
	unsigned before = used;

	for (; n > 0; n--) {
		used = before;
		at = end + 1;
		one();
	}
}

void
run(const char *text)
{
	unsigned i;
	size_t n = 0;

	(void)strncpy(source, text, sizeof source - 1);
	used = n_results = 0;
	for (at = source; *at != '\0';) {
		if (is(at, "times"))
			times();
		else
			one();
		n_results++;
		next();
	}
	for (i = 0; i < n_results && n < 1000; i++)
		n += (size_t)snprintf(answer + n, sizeof answer - n, "%s%ld",
		    i > 0 ? " " : "", (long)results[i]);
	(void)snprintf(answer + n, sizeof answer - n, "%s%.4000s\n",
	    room[0] != '\0' ? " " : "", room);
}

/*--------------------------------------------------------------------
 * Functions that calls may name
 */

/* The first buffer is what to do. */
void
stored(size_t n, const struct virtbuffer *in, size_t size)
{

	(void)size;
	run(n > 0 && in[0].len > 0 ? in[0].data : "ok");
	storage_answer(answer, strlen(answer) + 1);
}

void
task(const void *data, size_t len)
{

	ran++;
	if (len > 0)
		run(data);
}

void
on_vcpu(void *text)
{

	__atomic_add_fetch(&ran, 1, __ATOMIC_SEQ_CST);
	if (text != NULL)
		run(text);
}

/* Whatever the arguments. */
void
count(void)
{

	__atomic_add_fetch(&ran, 1, __ATOMIC_SEQ_CST);
}

struct streaming_content
piece(void *text, size_t max, size_t written, size_t total)
{
	struct streaming_content c = { big, max };

	(void)written;
	(void)total;
	memset(big, '.', max);
	if (text != NULL) {
		run(text);
		memcpy(big, answer, strlen(answer) < max ? strlen(answer) :
		    max);
	}
	return (c);
}

long
on_piece(const char *url, const char *arg, const char *type,
    const uint8_t *data, size_t len, size_t offset)
{

	(void)arg;
	(void)type;
	(void)data;
	(void)offset;
	run(url + 1);
	return ((long)len);
}

/*--------------------------------------------------------------------
 * Moments
 */

static void
in_storage(const char *text)
{
	struct virtbuffer b = { (void *)(uintptr_t)text, strlen(text) + 1 };
	static char result[sizeof answer];
	long n;

	n = storage_callv((void *)stored, 1, &b, result, sizeof result);
	if (n < 0)
		respondf(503, "%ld\n", n);
	respond_text(200, n > 0 ? result : "no answer\n");
}

static void
in_task(const char *text)
{

	respondf(200, "%ld\n", sys_storage_task((void *)task, text,
	    strlen(text) + 1, 0, 0));
}

static void
in_stream(const char *text)
{

	begin_streaming_response(200, "text/plain", 10, 100, piece,
	    (void *)(uintptr_t)text);
}

static void
on_cpu(const char *text)
{
	int e = multiprocess(2, on_vcpu, (void *)(uintptr_t)text);
	int w = multiprocess_wait();

	respondf(200, "%d %d %s", e, w, answer);
}

static const struct {
	const char	*name;
	void		(*f)(const char *);
} moments[] = {
	{ "in-storage/", in_storage }, { "in-task/", in_task },
	{ "in-stream/", in_stream }, { "on-vcpu/", on_cpu },
};

static void
on_request(const struct kvm_request *r)
{
	const char *url = r->url + 1;
	size_t i, n;

	if (strcmp(url, "at-boot") == 0)
		respond_text(200, at_boot);
	for (i = 0; i < sizeof moments / sizeof moments[0]; i++) {
		n = strlen(moments[i].name);
		if (strncmp(url, moments[i].name, n) == 0)
			moments[i].f(url + n);
	}
	run(url);
	respond_text(200, answer);
}

/* What failed; or, when the argument says what, another call. */
static void
on_error(const char *url, const char *arg, const char *what)
{

	(void)url;
	if (*arg == '\0')
		respondf(500, "%s\n", what);
	run(arg);
	respondf(500, "%s", answer);
}

/* Arguments are calls, of storage only behind "storage:". */
int
main(int argc, char **argv)
{
	const char *text;
	int i;

	words_init();
	set_on_method(on_request);
	set_on_error(on_error);
	for (i = 1; i < argc; i++) {
		text = argv[i];
		if (strncmp(text, "storage:", 8) == 0) {
			if (!sys_is_storage())
				continue;
			text += 8;
		}
		run(text);
		memcpy(at_boot, answer, sizeof at_boot);
	}
	memset(room, 0, sizeof room);
	wait_for_requests();
}
