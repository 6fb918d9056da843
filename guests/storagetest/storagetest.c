/*-
 * SPDX-License-Identifier: BSD-2-Clause
 *
 * Storage as it is meant. Every request is "/verb" with a number or a text as
 * its body, or as its argument when it has none.
 */

#include <errno.h>
#include <fcntl.h>
#include <stdlib.h>
#include <time.h>
#include <unistd.h>

#include "storagetest.h"

long total;
static long ticks;

void
tell(long bytes, long value)
{

	if (bytes < 0)
		respondf(503, "%ld\n", bytes);
	respondf(200, "%ld\n", bytes == 0 ? 0 : value);
}

static const char *
text_of(const struct kvm_request *r)
{
	char *copy;

	if (r->content_len == 0)
		return (r->arg);
	copy = calloc(1, r->content_len + 1);
	memcpy(copy, r->content, r->content_len);
	return (copy);
}

static long
number_of(const struct kvm_request *r)
{

	return (atol(text_of(r)));
}

void
spin_for(long ms)
{
	struct timespec a, b;

	clock_gettime(CLOCK_MONOTONIC, &a);
	do
		clock_gettime(CLOCK_MONOTONIC, &b);
	while ((b.tv_sec - a.tv_sec) * 1000 +
	    (b.tv_nsec - a.tv_nsec) / 1000000 < ms);
}

/*--------------------------------------------------------------------
 * In storage
 */

void
add(size_t n, const struct virtbuffer *in, size_t size)
{

	(void)n;
	(void)size;
	total += *(const long *)in[0].data;
	storage_answer(&total, sizeof total);
}

/* The same, going on behind its answer. */
static void
add_and_return(size_t n, const struct virtbuffer *in, size_t size)
{

	(void)n;
	(void)size;
	total += *(const long *)in[0].data;
	storage_return(&total, sizeof total);
}

/* What takes its time says when it begins: tests wait for that. */
static void
begin(void)
{

	sys_log("begins", 6);
}

static void
slow(size_t n, const struct virtbuffer *in, size_t size)
{

	(void)n;
	(void)size;
	begin();
	spin_for(*(const long *)in[0].data);
	total++;
	storage_answer(&total, sizeof total);
}

static void
sleeps(size_t n, const struct virtbuffer *in, size_t size)
{

	(void)n;
	(void)size;
	usleep((useconds_t)*(const long *)in[0].data * 1000);
	total++;
	storage_answer(&total, sizeof total);
}

/* All buffers, one behind the other. */
static void
join(size_t n, const struct virtbuffer *in, size_t size)
{
	static char all[8 << 20];
	size_t i, len = 0;

	(void)size;
	for (i = 0; i < n; i++) {
		memcpy(all + len, in[i].data, in[i].len);
		len += in[i].len;
	}
	storage_answer(all, len);
}

static void
is_storage(size_t n, const struct virtbuffer *in, size_t size)
{
	long yes = sys_is_storage() && strcmp(getenv("KVM_TYPE"),
	    "storage") == 0;

	(void)n;
	(void)in;
	(void)size;
	storage_answer(&yes, sizeof yes);
}

static void
look_at_ticks(size_t n, const struct virtbuffer *in, size_t size)
{

	(void)n;
	(void)in;
	(void)size;
	storage_answer(&ticks, sizeof ticks);
}

static void
tick(const void *data, size_t len)
{

	(void)data;
	(void)len;
	ticks++;
}

static void
add_later(const void *data, size_t len)
{

	if (len == sizeof(long))
		total += *(const long *)data;
}

static void
slow_task(const void *data, size_t len)
{

	(void)len;
	begin();
	spin_for(*(const long *)data);
	total++;
}

/* A task that makes a task, as many times as it is told. */
static void
chain(const void *data, size_t len)
{
	long left = *(const long *)data - 1;

	(void)len;
	total++;
	if (left > 0)
		storage_task(chain, &left, sizeof left);
}

static long
write_state(const void *data, size_t len)
{
	int fd = open(getenv("KVM_STATE"), O_WRONLY | O_CREAT | O_TRUNC, 0600);
	ssize_t n;

	if (fd < 0)
		return (-errno);
	n = write(fd, data, len);
	return (close(fd) == 0 ? n : -1);
}

static void
save(size_t n, const struct virtbuffer *in, size_t size)
{
	long r = write_state(in[0].data, in[0].len);

	(void)n;
	(void)size;
	storage_answer(&r, sizeof r);
}

/* Behind what the state is already. */
static void
append(size_t n, const struct virtbuffer *in, size_t size)
{
	int fd = open("state", O_WRONLY | O_CREAT | O_APPEND, 0600);
	long r = write(fd, in[0].data, in[0].len);

	(void)n;
	(void)size;
	(void)close(fd);
	storage_answer(&r, sizeof r);
}

static void
save_task(const void *data, size_t len)
{

	(void)write_state(data, len);
}

/* Compiled once; the handle lasts as everything does. */
static void
match(size_t n, const struct virtbuffer *in, size_t size)
{
	static int handle = -1;
	long r;

	(void)n;
	(void)size;
	if (handle < 0)
		handle = sys_regex_compile("^b+$", 4);
	r = sys_regex_match(handle, in[0].data, in[0].len);
	storage_answer(&r, sizeof r);
}

/*--------------------------------------------------------------------
 * Requests
 */

static void
with_number(const struct kvm_request *r, kvm_storage_fn *f)
{
	long n = number_of(r), value = -2, bytes;

	bytes = storage_call(f, &n, sizeof n, &value, sizeof value);
	tell(bytes, value);
}

static void do_add(const struct kvm_request *r) { with_number(r, add); }
static void do_slow(const struct kvm_request *r) { with_number(r, slow); }
static void do_sleep(const struct kvm_request *r) { with_number(r, sleeps); }
static void do_is(const struct kvm_request *r) { with_number(r, is_storage); }
static void
do_ticks(const struct kvm_request *r)
{

	with_number(r, look_at_ticks);
}

static void
do_add_and_return(const struct kvm_request *r)
{

	with_number(r, add_and_return);
}

/* The body in three pieces, of which one is empty. */
static void
do_join(const struct kvm_request *r)
{
	static char result[8 << 20];
	size_t half = r->content_len / 2;
	struct virtbuffer b[3] = {
		{ (void *)(uintptr_t)r->content, half }, { NULL, 0 },
		{ (void *)(uintptr_t)(r->content + half),
		    r->content_len - half },
	};
	long n = storage_callv((void *)join, 3, b, result, sizeof result);

	if (n < 0)
		tell(n, 0);
	respond(200, "application/octet-stream", result, (size_t)n);
}

/* A result that is longer than its place. */
static void
do_cut(const struct kvm_request *r)
{
	char result[9] = "........";
	long n = storage_call(join, "0123456789", 10, result, 4);

	(void)r;
	respondf(200, "%ld %s\n", n, result);
}

static void
do_task(const struct kvm_request *r)
{
	long n = number_of(r);

	respondf(200, "%d\n", storage_task(add_later, &n, sizeof n));
}

static void
do_chain(const struct kvm_request *r)
{
	long n = number_of(r);

	respondf(200, "%d\n", storage_task(chain, &n, sizeof n));
}

static void
do_slow_task(const struct kvm_request *r)
{
	long n = number_of(r);

	respondf(200, "%d\n", storage_task(slow_task, &n, sizeof n));
}

static void
do_timer(const struct kvm_request *r)
{

	respondf(200, "%ld\n", storage_timer(tick, 1, number_of(r)));
}

static void
do_stop(const struct kvm_request *r)
{

	respondf(200, "%d\n", stop_storage_task(number_of(r)));
}

static void
with_text(const struct kvm_request *r, kvm_storage_fn *f)
{
	const char *text = text_of(r);
	long value = -2, bytes;

	bytes = storage_call(f, text, strlen(text), &value, sizeof value);
	tell(bytes, value);
}

static void do_save(const struct kvm_request *r) { with_text(r, save); }
static void do_append(const struct kvm_request *r) { with_text(r, append); }

/* With another pattern of its own, under the same handle. */
static void
do_match(const struct kvm_request *r)
{
	const char *text = text_of(r);
	int handle = sys_regex_compile("^a+$", 4);
	long value = -2;

	(void)storage_call(match, text, strlen(text), &value, sizeof value);
	respondf(200, "%d %ld\n", sys_regex_match(handle, text,
	    strlen(text)), value);
}

static void
do_save_task(const struct kvm_request *r)
{
	const char *text = text_of(r);

	respondf(200, "%d\n", storage_task(save_task, text, strlen(text)));
}

static void
do_load(const struct kvm_request *r)
{
	static char text[1 << 20];
	int fd = open(getenv("KVM_STATE"), O_RDONLY);
	ssize_t n = fd < 0 ? -1 : read(fd, text, sizeof text);

	(void)r;
	if (n < 0)
		respondf(404, "%s\n", strerror(errno));
	respond(200, "text/plain", text, (size_t)n);
}

/* The state is not a request's to write. */
static void
do_scribble(const struct kvm_request *r)
{
	int fd = open("state", O_WRONLY | O_TRUNC);

	(void)r;
	if (fd < 0)
		respondf(403, "%s\n", strerror(errno));
	respondf(200, "%zd\n", write(fd, "x", 1));
}

static void
do_share(const struct kvm_request *r)
{
	struct virtbuffer area = shared_memory_area();
	long *p = (long *)area.data;

	if (area.len < sizeof *p)
		respondf(404, "none\n");
	respondf(200, "%ld %zu\n", __atomic_add_fetch(p, number_of(r),
	    __ATOMIC_SEQ_CST), area.len);
}

static void
share(size_t n, const struct virtbuffer *in, size_t size)
{
	long *p = (long *)shared_memory_area().data;
	long value = __atomic_add_fetch(p, *(const long *)in[0].data,
	    __ATOMIC_SEQ_CST);

	(void)n;
	(void)size;
	storage_answer(&value, sizeof value);
}

static void
do_share_storage(const struct kvm_request *r)
{

	with_number(r, share);
}

static void
do_version(const struct kvm_request *r)
{

	(void)r;
	respondf(200, "%d\n", VERSION);
}

/* Takes its time by itself. */
static void
do_linger(const struct kvm_request *r)
{

	begin();
	spin_for(number_of(r));
	respondf(200, "%d\n", VERSION);
}

/* Lingers, then calls storage. */
static void
do_linger_add(const struct kvm_request *r)
{
	long one = 1, value = 0, bytes;

	begin();
	spin_for(number_of(r));
	bytes = storage_call(add, &one, sizeof one, &value, sizeof value);
	tell(bytes, value);
}

static const struct op ops[] = {
	{ "add", do_add }, { "add-and-return", do_add_and_return },
	{ "slow", do_slow }, { "sleep", do_sleep }, { "is", do_is },
	{ "join", do_join }, { "cut", do_cut }, { "task", do_task },
	{ "chain", do_chain }, { "slow-task", do_slow_task },
	{ "timer", do_timer }, { "stop", do_stop }, { "ticks", do_ticks },
	{ "save", do_save }, { "append", do_append }, { "save-task", do_save_task },
	{ "load", do_load }, { "scribble", do_scribble },
	{ "match", do_match }, { "share", do_share }, { "share-storage", do_share_storage },
	{ "version", do_version }, { "linger", do_linger },
	{ "linger-add", do_linger_add },
	{ NULL, NULL }
};

static void
on_request(const struct kvm_request *r)
{
	const struct op *lists[2] = { ops, misdeeds }, *o;
	int i;

	for (i = 0; i < 2; i++)
		for (o = lists[i]; o->url != NULL; o++)
			if (strcmp(o->url, r->url + 1) == 0)
				o->serve(r);
	respondf(404, "no such thing: %s\n", r->url);
}

/*--------------------------------------------------------------------
 * Life
 */

#if !defined(NO_HANDLERS)
static void
serialise(void)
{

#if defined(BAD_SERIALISE)
	__builtin_trap();
#endif
	storage_answer(&total, sizeof total);
}

static void
restore(size_t len, const void *data)
{

#if defined(BAD_RESTORE)
	__builtin_trap();
#endif
#if VERSION == 3
	/* As programs of old do it. */
	(void)data;
	storage_return(&total, len);
#else
	if (len == sizeof total)
		total = *(const long *)data;
#endif
	total += 1000 * (VERSION - 1);
#if defined(SAVES_AT_RESTORE)
	(void)write_state("new", 3);
#endif
}
#endif

int
main(int argc, char **argv)
{
	char text[40] = "";
	int i, fd;

#if defined(BAD_BOOT)
	__builtin_trap();
#endif
	set_on_method(on_request);
	if (sys_is_storage()) {
#if !defined(NO_HANDLERS)
		set_on_live_update(serialise);
		set_on_resume_update(restore);
#endif
		fd = open("state", O_RDONLY);
		if (fd >= 0 && read(fd, text, sizeof text - 1) > 0)
			total = atol(text);
	}
	for (i = 1; i < argc; i++) {
		if (strcmp(argv[i], "allow") == 0)
			storage_allow(add);
		if (strcmp(argv[i], "tick") == 0 && sys_is_storage())
			storage_timer(tick, 0, 10);
		if (strcmp(argv[i], "create") == 0 && sys_is_storage())
			(void)write_state("0", 1);
	}
	wait_for_requests();
}
