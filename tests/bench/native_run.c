/*-
 * SPDX-License-Identifier: BSD-2-Clause
 *
 * Runs a guest's executable as an ordinary Linux process: the very file that
 * runs in the virtual machine, traced. `out %eax, $0` is a general protection
 * fault there; what it asks for is done here, as far as a benchmark needs it:
 *
 *	native_run PROGRAM COUNT URL [METHOD [BODY [TYPE [ARG]]]]
 *
 * (BODY: @FILE reads it) asks COUNT times and prints, as JSON, microseconds
 * from start to waiting for requests, and per request: the mean and the best. Nothing is reset in between. A request costs one
 * stop of the tracer on top: measure an empty handler too, and subtract.
 */

#define _GNU_SOURCE

#include <errno.h>
#include <sched.h>
#include <signal.h>
#include <stdarg.h>
#include <stdint.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/mman.h>
#include <sys/ptrace.h>
#include <sys/syscall.h>
#include <sys/uio.h>
#include <sys/user.h>
#include <sys/wait.h>
#include <time.h>
#include <unistd.h>

#include "kvm_api.h"

#define STACK		((size_t)1 << 20)
#define WARM		20
#define LIMIT_SECONDS	60

static pid_t child;
static unsigned long handlers[16];
static const char *url, *method = "GET", *body = "", *type = "", *arg = "";
static size_t body_len;

static void __attribute__((noreturn, format(printf, 1, 2)))
fail(const char *fmt, ...)
{
	va_list ap;

	va_start(ap, fmt);
	vfprintf(stderr, fmt, ap);
	va_end(ap);
	fputc('\n', stderr);
	if (child > 0)
		(void)kill(child, SIGKILL);
	exit(1);
}

static double
now(void)
{
	struct timespec ts;

	clock_gettime(CLOCK_MONOTONIC, &ts);
	return ((double)ts.tv_sec * 1e6 + (double)ts.tv_nsec / 1e3);
}

static void
on_alarm(int sig)
{

	(void)sig;
	(void)kill(child, SIGKILL);
	_exit(3);
}

static void
put(unsigned long where, const void *from, size_t len)
{
	struct iovec l = { (void *)(uintptr_t)from, len };
	struct iovec r = { (void *)where, len };

	if (process_vm_writev(child, &l, 1, &r, 1, 0) != (ssize_t)len)
		fail("cannot write at 0x%lx: %s", where, strerror(errno));
}

static void
get(unsigned long where, void *to, size_t len)
{
	struct iovec l = { to, len }, r = { (void *)where, len };

	if (process_vm_readv(child, &l, 1, &r, 1, 0) != (ssize_t)len)
		memset(to, 0, len);
}

/* The child's mmap, by a system call in the place of the `out` at rip. */
static unsigned long
map(const struct user_regs_struct *at, size_t len)
{
	struct user_regs_struct r = *at;
	long old;
	int status;

	errno = 0;
	old = ptrace(PTRACE_PEEKTEXT, child, r.rip, NULL);
	ptrace(PTRACE_POKETEXT, child, r.rip, (old & ~0xffffL) | 0x050f);
	r.rax = SYS_mmap;
	r.rdi = 0;
	r.rsi = len;
	r.rdx = PROT_READ | PROT_WRITE;
	r.r10 = MAP_PRIVATE | MAP_ANONYMOUS;
	r.r8 = (unsigned long)-1;
	r.r9 = 0;
	r.orig_rax = (unsigned long)-1;
	ptrace(PTRACE_SETREGS, child, NULL, &r);
	ptrace(PTRACE_SINGLESTEP, child, NULL, NULL);
	if (waitpid(child, &status, __WALL) < 0 || !WIFSTOPPED(status))
		fail("mmap in the program failed");
	ptrace(PTRACE_GETREGS, child, NULL, &r);
	ptrace(PTRACE_POKETEXT, child, at->rip, old);
	if (r.rax > (unsigned long)-4096)
		fail("mmap in the program failed");
	return (r.rax);
}

/* A string in the child; the next free address in *at. */
static const char *
text(unsigned long *at, const char *s, size_t len)
{
	unsigned long where = *at;

	put(where, s, len);
	put(where + len, "", 1);
	*at = (where + len + 16) & ~15UL;
	return ((const char *)where);
}

static void
make_request(struct kvm_request *r, unsigned long at)
{
	static const char *const fields[] = { "Host: localhost",
	    "User-Agent: test/1", "Accept: */*" };
	struct kvm_request_header h[3];
	unsigned i;

	memset(r, 0, sizeof *r);
	r->method = text(&at, method, strlen(method));
	r->method_len = (uint16_t)strlen(method);
	r->url = text(&at, url, strlen(url));
	r->url_len = (uint16_t)strlen(url);
	r->arg = text(&at, arg, strlen(arg));
	r->arg_len = (uint16_t)strlen(arg);
	r->content_type = text(&at, type, strlen(type));
	r->content_type_len = (uint16_t)strlen(type);
	r->content = (const uint8_t *)text(&at, body, body_len);
	r->content_len = body_len;
	for (i = 0; i < 3; i++) {
		h[i].field = text(&at, fields[i], strlen(fields[i]));
		h[i].field_colon = (uint32_t)(strchr(fields[i], ':') -
		    fields[i]);
		h[i].field_len = (uint32_t)strlen(fields[i]);
	}
	put(at, h, sizeof h);
	r->headers = (const struct kvm_request_header *)at;
	r->num_headers = 3;
	r->prng[0] = 0x0123456789abcdef;
	r->prng[1] = 0xfedcba9876543210;
}

/* Registers with which a request begins. */
static struct user_regs_struct
enter(struct user_regs_struct r, bool paused)
{
	struct kvm_request q;
	unsigned long area, at;

	area = map(&r, STACK + 65536 + body_len);
	at = area + STACK;
	make_request(&q, at + sizeof q);
	if (paused) {
		put(r.rdi, &q, sizeof q);
		r.rip += 2;
		r.rax = 0;
		return (r);
	}
	put(at, &q, sizeof q);
	r.rsp = area + STACK - 64 - 8;
	r.rbp = 0;
	if (handlers[KVM_ON_METHOD] != 0) {
		r.rip = handlers[KVM_ON_METHOD];
		r.rdi = at;
	} else if (body_len > 0 && handlers[KVM_ON_POST] != 0) {
		r.rip = handlers[KVM_ON_POST];
		r.rdi = (unsigned long)q.url;
		r.rsi = (unsigned long)q.arg;
		r.rdx = (unsigned long)q.content_type;
		r.rcx = (unsigned long)q.content;
		r.r8 = q.content_len;
	} else if (handlers[KVM_ON_GET] != 0) {
		r.rip = handlers[KVM_ON_GET];
		r.rdi = (unsigned long)q.url;
		r.rsi = (unsigned long)q.arg;
	} else
		fail("waits for requests but registered no handler");
	return (r);
}

/*
 * Behind a paused wait a request goes on with the stack as it was: the frames
 * that called the wait, as far as later calls may have written there.
 */
static void
keep_stack(const struct user_regs_struct *r, bool paused, bool restore)
{
	static unsigned char frame[256];

	if (paused && restore)
		put(r->rsp, frame, sizeof frame);
	else if (paused)
		get(r->rsp, frame, sizeof frame);
}

static void
proceed(const struct user_regs_struct *r)
{

	/* No system call is to be started anew. */
	struct user_regs_struct regs = *r;

	regs.orig_rax = (unsigned long)-1;
	ptrace(PTRACE_SETREGS, child, NULL, &regs);
	ptrace(PTRACE_CONT, child, NULL, NULL);
}

/* The signal with which the child stopped, and its registers. */
static int
stopped(struct user_regs_struct *r)
{
	int status;

	if (waitpid(child, &status, __WALL) < 0)
		fail("waitpid: %s", strerror(errno));
	if (!WIFSTOPPED(status)) {
		child = 0;
		fail("the program ended: %s %d", WIFEXITED(status) ? "status" :
		    "signal", WIFEXITED(status) ? WEXITSTATUS(status) :
		    WTERMSIG(status));
	}
	ptrace(PTRACE_GETREGS, child, NULL, r);
	return (WSTOPSIG(status));
}

static void
show_answer(const struct user_regs_struct *r)
{
	char words[80];
	size_t n = r->r8 < sizeof words ? r->r8 : sizeof words, i;

	get(r->rcx, words, n);
	for (i = 0; i < n; i++)
		if ((unsigned char)words[i] < ' ' || words[i] == '"' ||
		    words[i] == '\\' || words[i] == 0x7f || words[i] & 0x80)
			words[i] = '.';
	printf("\"status\": %d, \"length\": %llu, \"body\": \"%.*s\"}\n",
	    (int)(int16_t)r->rdi, (unsigned long long)r->r8, (int)n, words);
}

static void
set_body(const char *s)
{
	char *all = NULL;
	FILE *f;

	body = s;
	body_len = strlen(s);
	if (*s != '@')
		return;
	f = fopen(s + 1, "rb");
	if (f == NULL)
		fail("%s: %s", s + 1, strerror(errno));
	for (body_len = 0;; ) {
		all = realloc(all, body_len + 65536);
		if (all == NULL)
			fail("out of memory");
		size_t n = fread(all + body_len, 1, 65536, f);

		if (n == 0)
			break;
		body_len += n;
	}
	(void)fclose(f);
	body = all;
}

int
main(int argc, char **argv)
{
	static char *env[] = { "LC_TYPE=C", "LC_ALL=C", "USER=root", NULL };
	struct user_regs_struct r, begin = { 0 };
	double started, ready = 0, t = 0, last = 0, best = 1e18;
	unsigned char code[2];
	long count, done = -WARM;
	bool paused = false;
	cpu_set_t cpu;
	int sig;

	if (argc < 4)
		fail("usage: native_run PROGRAM COUNT URL [METHOD [BODY [TYPE "
		    "[ARG]]]]");
	count = atol(argv[2]);
	url = argv[3];
	if (argc > 4)
		method = argv[4];
	if (argc > 5)
		set_body(argv[5]);
	if (argc > 6)
		type = argv[6];
	if (argc > 7)
		arg = argv[7];
	/* One CPU for both, as a virtual machine has one. */
	CPU_ZERO(&cpu);
	CPU_SET(sched_getcpu(), &cpu);
	(void)sched_setaffinity(0, sizeof cpu, &cpu);
	(void)signal(SIGALRM, on_alarm);
	(void)alarm(LIMIT_SECONDS);
	started = now();
	child = fork();
	if (child == 0) {
		ptrace(PTRACE_TRACEME, 0, NULL, NULL);
		execve(argv[1], argv + 1, env);
		_exit(127);
	}
	sig = stopped(&r);
	ptrace(PTRACE_SETOPTIONS, child, NULL, PTRACE_O_EXITKILL);
	ptrace(PTRACE_CONT, child, NULL, NULL);
	for (;;) {
		sig = stopped(&r);
		if (sig != SIGSEGV) {
			ptrace(PTRACE_CONT, child, NULL, sig);
			continue;
		}
		get(r.rip, code, sizeof code);
		if (code[0] != 0xe7 || code[1] != 0) {
			ptrace(PTRACE_CONT, child, NULL, sig);
			continue;
		}
		switch ((uint32_t)r.rax) {
		case KVM_REGISTER_FUNC:
			if (r.rdi < 16)
				handlers[r.rdi] = r.rsi;
			r.rax = 0;
			break;
		case KVM_WAIT_FOR_REQUESTS:
		case KVM_WAIT_FOR_REQUESTS_PAUSED:
			ready = now() - started;
			paused = (uint32_t)r.rax ==
			    KVM_WAIT_FOR_REQUESTS_PAUSED;
			begin = enter(r, paused);
			keep_stack(&begin, paused, false);
			proceed(&begin);
			continue;
		case KVM_BACKEND_RESPONSE:
			if (++done == 0)
				t = now();
			if (done > 0 && now() - last < best)
				best = now() - last;
			last = now();
			if (done < count) {
				keep_stack(&begin, paused, true);
				proceed(&begin);
				continue;
			}
			printf("{\"start_us\": %.1f, \"request_us\": %.3f, "
			    "\"best_us\": %.3f, ", ready, (now() - t) /
			    (double)count, best);
			show_answer(&r);
			(void)kill(child, SIGKILL);
			return (0);
		case KVM_LOG:
			r.rax = 0;
			break;
		default:
			r.rax = (unsigned long)-ENOSYS;
		}
		r.rip += 2;
		proceed(&r);
	}
}
