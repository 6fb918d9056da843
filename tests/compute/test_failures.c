/*-
 * SPDX-License-Identifier: BSD-2-Clause
 *
 * Every allocation, every mapping and every ioctl of KVM fails once, in all that
 * a program's life is made of: what comes of it is an error with words, and
 * nothing is lost or kept.
 */

#include <errno.h>
#include <jansson.h>
#include <stdarg.h>
#include <stdatomic.h>
#include <sys/ioctl.h>
#include <sys/mman.h>
#include <sys/syscall.h>
#include <unistd.h>

#include "compute.h"
#include "harness.h"

/* glibc's own, below what is defined here. */
extern void *__libc_malloc(size_t);
extern void *__libc_calloc(size_t, size_t);
extern void *__libc_realloc(void *, size_t);

static enum what { ALLOCATION, MAPPING, IOCTL } what;
static int with;			/* errno */
/* A second try of a boot costs a second: after each so manyth failure of one. */
static long number, every = 16;
static long again_tried;
static _Atomic long countdown;		/* 0: none fails */
static _Atomic bool failed;

static bool
fails(enum what w)
{

	if (countdown == 0 || w != what || --countdown != 0)
		return (false);
	failed = true;
	errno = with;
	return (true);
}

void *malloc(size_t);
void *calloc(size_t, size_t);
void *realloc(void *, size_t);

void *
malloc(size_t n)
{

	return (fails(ALLOCATION) ? NULL : __libc_malloc(n));
}

void *
calloc(size_t n, size_t each)
{

	return (fails(ALLOCATION) ? NULL : __libc_calloc(n, each));
}

void *
realloc(void *p, size_t n)
{

	return (fails(ALLOCATION) ? NULL : __libc_realloc(p, n));
}

/* Of our own code: glibc and the libraries have theirs bound otherwise. */
void *
mmap(void *at, size_t n, int prot, int flags, int fd, off_t off)
{

	return (fails(MAPPING) ? MAP_FAILED : (void *)syscall(SYS_mmap, at, n,
	    prot, flags, fd, off));
}

int
mprotect(void *at, size_t n, int prot)
{

	return (fails(MAPPING) ? -1 : (int)syscall(SYS_mprotect, at, n, prot));
}

int
madvise(void *at, size_t n, int advice)
{

	return (fails(MAPPING) ? -1 : (int)syscall(SYS_madvise, at, n, advice));
}

int
ioctl(int fd, unsigned long request, ...)
{
	va_list ap;
	void *arg;

	va_start(ap, request);
	arg = va_arg(ap, void *);
	va_end(ap);
	/* KVM's: Documentation/userspace-api/ioctl/ioctl-number.rst, 0xAE. */
	if (_IOC_TYPE(request) == 0xae && fails(IOCTL))
		return (-1);
	return ((int)syscall(SYS_ioctl, fd, request, arg));
}

static struct tkc_host_interface none;

static int
request(struct tkc_program *p, const char *url, struct tkc_error *err)
{
	static const char body[] = "a body";
	struct tkc_span header = { "X-Test: yes", 11 };
	struct tkc_request q = { .method = "POST", .url = url, .arg = "1",
	    .content_type = "text/plain", .headers = &header,
	    .num_headers = 1, .body_expected = sizeof body, .task = &q };
	struct tkc_invocation *inv;
	struct tkc_response r;
	struct tkc_span s;
	int e;

	e = tkc_reserve(p, &inv, err);
	if (e != 0)
		return (e);
	(void)tkc_body_append(inv, &q, body, sizeof body);
	e = tkc_invoke(inv, &q, &r, err);
	while (e == 0 && (e = tkc_body_next(inv, 4096, &s, err)) == 0 &&
	    s.len > 0)
		continue;
	tkc_release(&inv, NULL);
	return (e);
}

static int
life(const char *json, const char *url, struct tkc_error *err)
{
	struct tkc_registry *r = tkc_registry_new(&none, NULL);
	struct tkc_program *p = NULL;
	const char *arguments[] = { "one", "two" };
	bool up = false;
	unsigned i;
	char *stats;
	int e;

	if (r == NULL) {
		strcpy(err->text, "no registry");
		return (TKC_ENVIRONMENT);
	}
	e = tkc_configure(r, "it", json, err);
	if (e == 0)
		e = tkc_main_arguments(r, "it", arguments, 2, err);
	if (e == 0) {
		p = tkc_find(r, "it", err);
		e = p == NULL ? TKC_NOTFOUND : tkc_start(p, 0, 0, err);
		up = e == 0;
	}
	if (e == 0)
		e = request(p, url, err);
	if (e == 0) {
		stats = tkc_stats(r, "", 1, err);
		e = stats == NULL ? err->reason : 0;
		tkc_stats_free(stats);
	}
	if (e == 0)
		e = tkc_invalidate(r, "it", err) < 0;
	/* Who failed once is not failed for ever. */
	countdown = 0;
	if (p != NULL && failed && (up || number % every == 0)) {
		struct tkc_error second;
		int again;

		/* A failed boot is not tried again within a second. */
		for (i = 0; (again = request(p, url, &second)) != 0 &&
		    strcmp(second.text, err->text) == 0 && i < 40; i++)
			(void)usleep(50000);
		CHECK_MSG(again == 0, "not again: %s", second.text);
		again_tried++;
	}
	tkc_registry_free(&r);
	return (e);
}

static void
every_one(enum what w, int e_with, const char *guest, const char *more,
    const char *url)
{
	char json[512], state[] = "/tmp/tk-memory-XXXXXX", line[64];
	const char *guests = getenv("TK_GUESTS");
	struct tkc_error err;
	long n, errors = 0;
	int e;

	what = w;
	with = e_with;
	again_tried = 0;
	/*
	 * Not jansson's: its lexer (2.14) takes it for granted that the text that
	 * it collects can grow, and reads on behind its end when not.
	 */
	json_set_alloc_funcs(__libc_malloc, free);
	CHECK(guests != NULL && mkdtemp(state) != NULL);
	snprintf(json, sizeof json, "{ \"filename\": \"%s/%s/%s\", "
	    "\"max_memory\": 32, \"max_request_memory\": 4, "
	    "\"concurrency\": 1, \"state_directory\": \"%s\"%s }", guests,
	    guest, guest, state, more);
	/* Once without, for what is made once in a process. */
	e = life(json, url, &err);
	CHECK_MSG(e == 0, "%s", err.text);
	for (n = 1;; n++) {
		memset(&err, 0, sizeof err);
		failed = false;
		countdown = number = n;
		e = life(json, url, &err);
		if (!failed)
			break;
		if (e != 0) {
			errors++;
			CHECK_MSG(err.text[0] != '\0', "number %ld", n);
		}
	}
	CHECK_MSG(e == 0, "%s", err.text);
	CHECK(n > 5 && errors > 2);
	printf("%ld of them, %ld errors, %ld tried again\n", n - 1, errors,
	    again_tried);
	snprintf(line, sizeof line, "rm -rf %s", state);
	CHECK(system(line) == 0);
}

static void
all_lives(enum what w, int e)
{

	every_one(w, e, "echo", ", \"allowed_paths\": [\"/etc\"], "
	    "\"warmup\": { \"num_requests\": 1 }", "/");
	every_one(w, e, "storagetest", ", \"storage\": true", "/add");
	every_one(w, e, "c-server", "", "/hello?name=x");
}

static void allocations(void) { all_lives(ALLOCATION, ENOMEM); }
static void mappings(void) { all_lives(MAPPING, ENOMEM); }
static void kvm_has_no_memory(void) { all_lives(IOCTL, ENOMEM); }
static void kvm_fails(void) { all_lives(IOCTL, EIO); }
static void kvm_is_gone(void) { all_lives(IOCTL, ENODEV); }
static void allocations_each_tried_again(void) { every = 1; allocations(); }
static void mappings_each_tried_again(void) { every = 1; mappings(); }
static void kvm_fails_each_tried_again(void) { every = 1; kvm_fails(); }

TESTS(
	T_KVM(allocations),
	T_KVM(mappings),
	T_KVM(kvm_has_no_memory),
	T_KVM(kvm_fails),
	T_KVM(kvm_is_gone),
	T_LONG(allocations_each_tried_again),
	T_LONG(mappings_each_tried_again),
	T_LONG(kvm_fails_each_tried_again)
)
