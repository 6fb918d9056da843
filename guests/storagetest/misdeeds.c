/*-
 * SPDX-License-Identifier: BSD-2-Clause
 *
 * Storage as it is not meant.
 */

#include <fcntl.h>
#include <unistd.h>

#include "storagetest.h"

#define WILD	((void *)0x123456789000)

static volatile int never;

/*--------------------------------------------------------------------
 * In storage
 */

static void
crash(size_t n, const struct virtbuffer *in, size_t size)
{

	(void)n;
	(void)in;
	(void)size;
	total += 100;
	*(volatile int *)8 = 1;
}

static void
spin(size_t n, const struct virtbuffer *in, size_t size)
{

	(void)n;
	(void)in;
	(void)size;
	total += 100;
	while (!never)
		continue;
}

static void
sleep_long(size_t n, const struct virtbuffer *in, size_t size)
{

	(void)n;
	(void)in;
	(void)size;
	sleep(3600);
}

static void
twice(size_t n, const struct virtbuffer *in, size_t size)
{

	(void)n;
	(void)in;
	(void)size;
	storage_return(&total, sizeof total);
	storage_return(&total, sizeof total);
}

static void
answer_and_spin(size_t n, const struct virtbuffer *in, size_t size)
{

	storage_return(&total, sizeof total);
	spin(n, in, size);
}

static void
answer_and_crash(size_t n, const struct virtbuffer *in, size_t size)
{

	storage_return(&total, sizeof total);
	crash(n, in, size);
}

static void
silent(size_t n, const struct virtbuffer *in, size_t size)
{

	(void)n;
	(void)in;
	(void)size;
}

static void
answer_wildly(size_t n, const struct virtbuffer *in, size_t size)
{

	(void)n;
	(void)in;
	(void)size;
	storage_return(WILD, 8);
}

static void
answer_hugely(size_t n, const struct virtbuffer *in, size_t size)
{

	(void)n;
	(void)in;
	(void)size;
	storage_return(&total, (size_t)1 << 62);
}

static void
call_itself(size_t n, const struct virtbuffer *in, size_t size)
{

	(void)n;
	(void)in;
	(void)size;
	storage_call(add, &total, sizeof total, &total, sizeof total);
}

static void
respond_in_storage(size_t n, const struct virtbuffer *in, size_t size)
{

	(void)n;
	(void)in;
	(void)size;
	respond_text(200, "nobody asked\n");
}

/* A byte to the port: KVM is left in the middle of an access. */
static void
break_machine(size_t n, const struct virtbuffer *in, size_t size)
{

	(void)n;
	(void)in;
	(void)size;
	__asm__ volatile ("outb %%al, $0" :: "a" (0));
}

static void
half_a_state(size_t n, const struct virtbuffer *in, size_t size)
{
	int fd = open("state", O_WRONLY | O_CREAT | O_TRUNC, 0600);

	(void)!write(fd, "half", 4);
	crash(n, in, size);
}

static void
write_for_ever(size_t n, const struct virtbuffer *in, size_t size)
{
	static char zeros[65536];
	int fd = open("state", O_WRONLY | O_CREAT, 0600);
	long written = 0;
	ssize_t k;

	(void)n;
	(void)in;
	(void)size;
	while ((k = write(fd, zeros, sizeof zeros)) > 0)
		written += k;
	(void)!ftruncate(fd, 0);
	storage_answer(&written, sizeof written);
}

static void
remove_state(size_t n, const struct virtbuffer *in, size_t size)
{
	long r = unlink("state") == 0 || rename("state", "other") == 0 ||
	    ftruncate(open("state", O_WRONLY), 1L << 40) == 0 ||
	    truncate("state", 1L << 40) == 0;

	(void)n;
	(void)in;
	(void)size;
	storage_answer(&r, sizeof r);
}

static void
crash_later(const void *data, size_t len)
{

	(void)data;
	(void)len;
	*(volatile int *)8 = 1;
}

static void
spin_later(const void *data, size_t len)
{

	(void)data;
	(void)len;
	while (!never)
		continue;
}

static void
break_later(const void *data, size_t len)
{

	(void)data;
	(void)len;
	__asm__ volatile ("outb %%al, $0" :: "a" (0));
}

/*--------------------------------------------------------------------
 * Requests
 */

static void
plain(kvm_storage_fn *f)
{
	long one = 1, result = -2, bytes;

	bytes = storage_call(f, &one, sizeof one, &result, sizeof result);
	tell(bytes, result);
}

#define PLAIN(f)	static void						\
			do_##f(const struct kvm_request *r)			\
			{							\
				(void)r;					\
				plain(f);					\
			}
PLAIN(crash)
PLAIN(spin)
PLAIN(sleep_long)
PLAIN(twice)
PLAIN(answer_and_spin)
PLAIN(answer_and_crash)
PLAIN(silent)
PLAIN(answer_wildly)
PLAIN(answer_hugely)
PLAIN(call_itself)
PLAIN(respond_in_storage)
PLAIN(break_machine)
PLAIN(half_a_state)
PLAIN(write_for_ever)
PLAIN(remove_state)

/* f(n, list, result, size) with something wrong about it. */
static void
wrong(void *f, size_t n, const void *list, void *result, size_t size)
{
	long r = storage_callv(f, n, (const struct virtbuffer *)list, result,
	    size);

	tell(r, 0);
}

static long value;
static char text[4096];
static struct virtbuffer good[100] = { { &value, sizeof value } };

static void
do_no_function(const struct kvm_request *r)
{

	(void)r;
	wrong(WILD, 1, good, &value, sizeof value);
}

static void
do_data_function(const struct kvm_request *r)
{

	(void)r;
	wrong(text, 1, good, &value, sizeof value);
}

static void
do_null_function(const struct kvm_request *r)
{

	(void)r;
	wrong(NULL, 1, good, &value, sizeof value);
}

static void
do_65(const struct kvm_request *r)
{

	(void)r;
	wrong((void *)add, 65, good, &value, sizeof value);
}

static void
do_many(const struct kvm_request *r)
{

	(void)r;
	wrong((void *)add, (size_t)-1, good, &value, sizeof value);
}

static void
do_wild_list(const struct kvm_request *r)
{

	(void)r;
	wrong((void *)add, 1, WILD, &value, sizeof value);
}

static void
do_wild_buffer(const struct kvm_request *r)
{
	struct virtbuffer b[2] = { good[0], { WILD, 8 } };

	(void)r;
	wrong((void *)add, 2, b, &value, sizeof value);
}

static void
do_kernel_buffer(const struct kvm_request *r)
{
	struct virtbuffer b = { (void *)0xffffffff80000000, 8 };

	(void)r;
	wrong((void *)add, 1, &b, &value, sizeof value);
}

static void
do_huge_buffer(const struct kvm_request *r)
{
	struct virtbuffer b = { text, (size_t)-1 };

	(void)r;
	wrong((void *)add, 1, &b, &value, sizeof value);
}

/* Each is small enough, their sum wraps around. */
static void
do_huge_sum(const struct kvm_request *r)
{
	struct virtbuffer b[64];
	int i;

	(void)r;
	for (i = 0; i < 64; i++) {
		b[i].data = text;
		b[i].len = (size_t)1 << 58;
	}
	wrong((void *)add, 64, b, &value, sizeof value);
}

static void
do_long_sum(const struct kvm_request *r)
{
	static char large[1 << 20];
	struct virtbuffer b[64];
	int i;

	(void)r;
	for (i = 0; i < 64; i++) {
		b[i].data = large;
		b[i].len = sizeof large;
	}
	wrong((void *)add, 64, b, &value, sizeof value);
}

static void
do_wild_result(const struct kvm_request *r)
{

	(void)r;
	wrong((void *)add, 1, good, WILD, 8);
}

static void
do_text_result(const struct kvm_request *r)
{

	(void)r;
	wrong((void *)add, 1, good, (void *)do_text_result, 8);
}

static void
do_huge_result(const struct kvm_request *r)
{
	long n;

	(void)r;
	n = storage_callv((void *)add, 1, good, &value, (size_t)-1);
	tell(n, value);
}

static void
do_return_outside(const struct kvm_request *r)
{

	(void)r;
	storage_return(&value, sizeof value);
}

static void
do_allow_late(const struct kvm_request *r)
{

	(void)r;
	sys_storage_allow((void *)add);
}

static void
task(void *f, const void *data, size_t len, long start, long period)
{

	respondf(200, "%ld\n", sys_storage_task(f, data, len, start, period));
}

static void
do_wild_task(const struct kvm_request *r)
{

	(void)r;
	task((void *)crash_later, WILD, 8, 0, 0);
}

static void
do_large_task(const struct kvm_request *r)
{

	(void)r;
	task((void *)crash_later, text, (2 << 20) + 1, 0, 0);
}

static void
do_null_task(const struct kvm_request *r)
{

	(void)r;
	task(NULL, text, 8, 0, 0);
}

static void
do_negative_timer(const struct kvm_request *r)
{

	(void)r;
	task((void *)crash_later, NULL, 0, -1, -1);
}

static void
do_crash_task(const struct kvm_request *r)
{

	(void)r;
	task((void *)crash_later, NULL, 0, 0, 0);
}

static void
do_spin_task(const struct kvm_request *r)
{

	(void)r;
	task((void *)spin_later, NULL, 0, 0, 0);
}

static void
do_break_task(const struct kvm_request *r)
{

	(void)r;
	task((void *)break_later, NULL, 0, 0, 0);
}

/* Many more tasks, and timers, than there may be; each of 1 MiB. */
static void
do_storm(const struct kvm_request *r)
{
	static char large[1 << 20];
	long i, tasks = 0, timers = 0;

	(void)r;
	for (i = 0; i < 500; i++)
		if (sys_storage_task((void *)spin_for, large, sizeof large, 0,
		    0) == 0)
			tasks++;
	for (i = 0; i < 100; i++)
		if (sys_storage_task((void *)spin_for, NULL, 0, 1, 1) > 0)
			timers++;
	respondf(200, "%ld %ld\n", tasks, timers);
}

const struct op misdeeds[] = {
	{ "crash", do_crash }, { "spin", do_spin },
	{ "sleep-long", do_sleep_long }, { "twice", do_twice },
	{ "answer-and-spin", do_answer_and_spin },
	{ "answer-and-crash", do_answer_and_crash }, { "silent", do_silent },
	{ "answer-wildly", do_answer_wildly },
	{ "answer-hugely", do_answer_hugely },
	{ "call-itself", do_call_itself },
	{ "respond-in-storage", do_respond_in_storage },
	{ "break-machine", do_break_machine },
	{ "half-a-state", do_half_a_state },
	{ "write-for-ever", do_write_for_ever },
	{ "remove-state", do_remove_state },
	{ "no-function", do_no_function },
	{ "data-function", do_data_function },
	{ "null-function", do_null_function }, { "65", do_65 },
	{ "many", do_many }, { "wild-list", do_wild_list },
	{ "wild-buffer", do_wild_buffer },
	{ "kernel-buffer", do_kernel_buffer },
	{ "huge-buffer", do_huge_buffer }, { "huge-sum", do_huge_sum },
	{ "long-sum", do_long_sum }, { "wild-result", do_wild_result },
	{ "text-result", do_text_result }, { "huge-result", do_huge_result },
	{ "return-outside", do_return_outside },
	{ "allow-late", do_allow_late }, { "wild-task", do_wild_task },
	{ "large-task", do_large_task }, { "null-task", do_null_task },
	{ "negative-timer", do_negative_timer },
	{ "crash-task", do_crash_task }, { "spin-task", do_spin_task },
	{ "break-task", do_break_task }, { "storm", do_storm },
	{ NULL, NULL }
};
