/*-
 * SPDX-License-Identifier: BSD-2-Clause
 *
 * The loop between guest and host, and what a host call may ask.
 */

#include <stdarg.h>
#include <stdio.h>

#include "debug.h"
#include "error.h"
#include "guest_layout.h"
#include "linux/linux.h"
#include "machine.h"
#include "object.h"
#include "parallel.h"

static void
end_with(struct tk_machine *m, enum tk_failure kind, tk_gva address,
    const char *fmt, va_list ap)
{

	tk_assert(m->error != NULL);
	m->error->kind = kind;
	m->error->address = address;
	(void)vsnprintf(m->error->text, sizeof m->error->text, fmt, ap);
}

enum tk_verdict
tk_end(struct tk_machine *m, enum tk_failure kind, tk_gva address,
    const char *fmt, ...)
{
	va_list ap;

	va_start(ap, fmt);
	end_with(m, kind, address, fmt, ap);
	va_end(ap);
	return (TK_FAIL);
}

enum tk_verdict
tk_fail(struct tk_machine *m, tk_gva address, const char *fmt, ...)
{
	va_list ap;

	TK_CHECK_OBJ(m, TK_MACHINE_MAGIC);
	/* The embedder saw memory that could not be written: that is why. */
	if (tk_ws_full(&m->ws))
		return (tk_end(m, TK_OUT_OF_MEMORY, address, TK_WROTE_TOO_MUCH));
	va_start(ap, fmt);
	end_with(m, TK_MISUSE, address, fmt, ap);
	va_end(ap);
	return (TK_FAIL);
}

bool
tk_is_stopped(struct tk_watch *w)
{
	struct tk_machine *m = (struct tk_machine *)((char *)w -
	    offsetof(struct tk_machine, watch));

	TK_CHECK_OBJ(m, TK_MACHINE_MAGIC);
	return (m->ops->stopped != NULL && m->ops->stopped(m->priv));
}

static enum tk_verdict
kicked(struct tk_machine *m, double seconds)
{
	enum tk_verdict v;

	if (m->watch.over)
		return (tk_end(m, TK_OUT_OF_MEMORY, 0, "wrote more than the "
		    "%llu MiB of memory that a request may "
		    "(max_request_memory)", (unsigned long long)
		    (m->request_pages >> (20 - TK_PAGE_SHIFT))));
	if (tk_now() >= m->watch.deadline) {
		char where[160];

		(void)tk_symbols_name(m->symbols, m->vcpu->regs->rip, where,
		    sizeof where);
		if (m->watch.deadline == 0)
			return (tk_end(m, TK_TIMEOUT, m->vcpu->regs->rip,
			    "was to end, stopped in %s", where));
		return (tk_end(m, TK_TIMEOUT, m->vcpu->regs->rip, "ran longer "
		    "than %g s, stopped in %s", seconds, where));
	}
	if (__builtin_expect(m->debug != NULL, 0) &&
	    tk_debug_kicked(m, &v))
		return (v);
	/* The slice is over; or somebody else's signal, or a late one. */
	return (tk_slice_over(m));
}

static enum tk_verdict
host_call(struct tk_machine *m)
{
	uint32_t number = (uint32_t)m->vcpu->regs->rax;

	/* A guest may say the number, too: that completes nothing. */
	if (number == TK_HC_EMPTY && m->in_empty_call)
		return (TK_DONE);
	return (m->ops->host_call(m, number, m->priv));
}

static enum tk_verdict
other_exit(struct tk_machine *m, enum tk_exit x)
{
	char what[128], where[160];
	tk_gva rip = m->vcpu->regs->rip;

	m->broken = true;
	tk_vcpu_describe(m->vcpu, x, what, sizeof what);
	return (tk_end(m, x == TK_EXIT_ERROR ? TK_HOST : TK_FAULT, rip,
	    "%s in %s", what, tk_symbols_name(m->symbols, rip, where,
	    sizeof where)));
}

static inline enum tk_verdict
handle_exit(struct tk_machine *m, enum tk_exit x, unsigned vector,
    double seconds)
{

	if (__builtin_expect(x == TK_EXIT_HOST_CALL, 1)) {
		m->exits++;
		m->in_ring0 = false;
		return (host_call(m));
	}
	switch (x) {
	case TK_EXIT_SYSCALL:
		m->exits++;
		m->in_ring0 = !m->host->facts.syscall_lands_in_ring3;
		return (tk_linux_call(m));
	case TK_EXIT_EXCEPTION:
		m->exits++;
		m->scan = true;
		m->in_ring0 = true;
		return (tk_exception(m, vector));
	case TK_EXIT_KICK:
		return (kicked(m, seconds));
	default:
		return (other_exit(m, x));
	}
}

int
tk_run(struct tk_machine *m, double seconds, enum tk_verdict (*first)(
    struct tk_machine *), struct tk_error *err)
{
	enum tk_verdict verdict = TK_RESUME;
	struct tk_error local, *error = err != NULL ? err : &local;
	enum tk_exit x = TK_EXIT_HOST_CALL;
	unsigned vector = 0;

	error->kind = TK_OK;
	m->error = error;
	m->in_ring0 = false;
	m->fault_at = 0;
	m->pages_before += m->ws.n - m->pages_seen;
	m->ws.limit = m->pages_before + m->request_pages;
	tk_watch_begin(&m->watch, tk_now() + (uint64_t)(seconds * 1e9));
	if (m->threads.alive > 1)
		tk_slice_begin(m);
	if (first != NULL)
		verdict = first(m);
	if (__builtin_expect(m->debug != NULL, 0) && verdict == TK_RESUME)
		verdict = tk_debug_start(m);
	/* A machine that had more vCPUs once locks around every exit. */
	while (verdict == TK_RESUME) {
		x = tk_vcpu_run(m->vcpu, &vector);
		if (__builtin_expect(m->parallel != NULL, 0))
			tk_parallel_lock(m);
		verdict = handle_exit(m, x, vector, seconds);
		if (__builtin_expect(m->debug != NULL, 0))
			verdict = tk_debug_after(m, x, verdict);
		/* Made meanwhile, it was made locked. */
		if (__builtin_expect(m->parallel != NULL, 0))
			tk_parallel_unlock(m);
	}
	tk_parallel_stop(m);
	if (__builtin_expect(verdict == TK_FAIL, 0))
		tk_debug_failed(m, x, vector);
	if (__builtin_expect(m->debug != NULL, 0))
		tk_debug_end(m, verdict == TK_DONE ? TK_DEBUG_DONE :
		    TK_DEBUG_ENDED);
	tk_watch_end(&m->watch);
	/* What the embedder brings for the next one is not theirs. */
	m->pages_seen = m->ws.n;
	m->ws.limit = UINT64_MAX;
	/*
	 * Ended elsewhere than at a host call from ring 3: the vCPU may be in
	 * ring 0, or anywhere.
	 */
	if (verdict != TK_DONE || x != TK_EXIT_HOST_CALL) {
		m->vcpu->sregs_dirty = true;
		m->scan = true;
	}
	/* A kick may have come while the CPU delivered an exception. */
	if (x == TK_EXIT_KICK && tk_vcpu_drop_events(m->vcpu))
		m->broken = true;
	m->error = NULL;
	if (verdict == TK_DONE)
		return (TK_OK);
	return ((int)error->kind);
}

/*--------------------------------------------------------------------*/

tk_gva
tk_after_host_call(const struct tk_machine *m)
{
	tk_gva rip = m->vcpu->regs->rip;
	uint8_t opcode = 0;

	/* OUT: E7 has its port behind it, EF in DX (Intel SDM vol. 2). */
	if (!m->host->facts.rip_after_out && tk_read(m, &opcode, rip, 1))
		rip += opcode == 0xe7 ? 2 : 1;
	return (rip);
}

uint64_t
tk_arg(const struct tk_machine *m, unsigned n)
{
	const struct kvm_regs *r = m->vcpu->regs;

	switch (n) {
	case 0: return (r->rdi);
	case 1: return (r->rsi);
	case 2: return (r->rdx);
	case 3: return (r->rcx);
	case 4: return (r->r8);
	case 5: return (r->r9);
	default: tk_assert(n < 6);
	}
	return (0);
}

void
tk_set_result(struct tk_machine *m, uint64_t rax)
{

	m->vcpu->regs->rax = rax;
}

uint64_t
tk_result(const struct tk_machine *m)
{

	return (m->vcpu->regs->rax);
}

void
tk_set_result2(struct tk_machine *m, uint64_t rdx)
{

	m->vcpu->regs->rdx = rdx;
}

bool
tk_is_booting(const struct tk_machine *m)
{

	return (m->master == NULL);
}

double
tk_seconds_left(const struct tk_machine *m)
{
	uint64_t now = tk_now(), until = m->watch.deadline;

	return (now < until ? (double)(until - now) / 1e9 : 0);
}

enum tk_verdict
tk_resume_in_time(struct tk_machine *m)
{
	char where[160];

	if (tk_seconds_left(m) > 0)
		return (TK_RESUME);
	return (tk_end(m, TK_TIMEOUT, m->vcpu->regs->rip, "its time was over "
	    "when it had waited for the host, in %s", tk_symbols_name(
	    m->symbols, m->vcpu->regs->rip, where, sizeof where)));
}

void
tk_set_seconds_left(struct tk_machine *m, double seconds)
{

	TK_CHECK_OBJ(m, TK_MACHINE_MAGIC);
	m->watch.deadline = seconds > 0 ? tk_now() +
	    (uint64_t)(seconds * 1e9) : 0;
}

unsigned
tk_exits(const struct tk_machine *m)
{

	return (m->exits);
}

/*--------------------------------------------------------------------
 * Guest memory
 */

const void *
tk_view(const struct tk_machine *m, tk_gva gva, size_t len, size_t *have)
{
	const uint8_t *p, *q;
	uint64_t left, more;

	tk_assert(len > 0);
	p = tk_space_read_at(&m->space, gva, &left);
	if (p == NULL)
		return (NULL);
	while (left < len) {
		q = tk_space_read_at(&m->space, gva + left, &more);
		if (q != p + left)
			break;
		left += more;
	}
	*have = left < len ? left : len;
	return (p);
}

bool
tk_readable(const struct tk_machine *m, tk_gva gva, size_t len)
{
	uint64_t left;

	/*
	 * A mapping of terabytes that nobody touched costs a program nothing:
	 * as its data it would cost others time, and room for a copy.
	 */
	if (len > m->mem.end + m->mem.shared_size ||
	    gva > TK_USER_END - len)
		return (false);
	while (len > 0) {
		if (!tk_space_readable(&m->space, gva, &left))
			return (false);
		if (left >= len)
			return (true);
		gva += left;
		len -= left;
	}
	return (true);
}

bool
tk_executable(const struct tk_machine *m, tk_gva gva)
{

	return (tk_space_executable(&m->space, gva));
}

bool
tk_read(const struct tk_machine *m, void *to, tk_gva gva, size_t len)
{
	const void *p;
	uint8_t *out = to;
	uint64_t left;

	if (len > TK_USER_END || gva > TK_USER_END - len)
		return (false);
	while (len > 0) {
		p = tk_space_read_at(&m->space, gva, &left);
		if (p == NULL)
			return (false);
		if (left > len)
			left = len;
		memcpy(out, p, left);
		out += left;
		gva += left;
		len -= left;
	}
	return (true);
}

bool
tk_write(struct tk_machine *m, tk_gva gva, const void *from, size_t len)
{
	const uint8_t *in = from;
	uint64_t left;
	void *p;

	if (len > TK_USER_END || gva > TK_USER_END - len)
		return (false);
	while (len > 0) {
		p = tk_space_write_at(&m->space, gva, &left);
		if (p == NULL)
			return (false);
		if (left > len)
			left = len;
		memcpy(p, in, left);
		in += left;
		gva += left;
		len -= left;
	}
	return (true);
}

tk_gva
tk_alloc(struct tk_machine *m, uint64_t len)
{
	int64_t r;

	m->changed = true;
	r = tk_space_map(&m->space, 0, len, TK_PROT_R | TK_PROT_W,
	    TK_VMA_MMAP, false, false);
	return (r > 0 ? (tk_gva)r : 0);
}

void
tk_trim(struct tk_machine *m, tk_gva gva, uint64_t len, uint64_t keep)
{

	keep = (keep + TK_PAGE - 1) & ~(uint64_t)(TK_PAGE - 1);
	len = (len + TK_PAGE - 1) & ~(uint64_t)(TK_PAGE - 1);
	if (keep < len)
		(void)tk_space_unmap(&m->space, gva + keep, len - keep);
}
