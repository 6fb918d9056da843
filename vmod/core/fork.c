/*-
 * SPDX-License-Identifier: BSD-2-Clause
 *
 * Fork, call, reset: the hot path.
 */

#include <errno.h>
#include <stdatomic.h>
#include <sys/resource.h>

#include "error.h"
#include "guest_kernel.h"
#include "guest_layout.h"
#include "linux/linux.h"
#include "linux/socket.h"
#include "machine.h"
#include "object.h"
#include "parallel.h"

/*--------------------------------------------------------------------
 * Which pages did a call make private? KVM's dirty log knows, at a price that
 * grows with the memory's size. In steady state there is nothing new in it:
 * a page of the master becomes private to the fork only through a page fault,
 * taken on the thread that runs the vCPU (there is no in-kernel interrupt
 * controller, so KVM handles none of them on other threads), or through the
 * accessors, which add it themselves. So the log is read when the thread took
 * a fault since the call began, when another thread made the call, and after
 * every call that did not end in the ordinary way. Hardware page-modification
 * logging does not change this: it reports pages that were private before,
 * and these are members already.
 */

static _Thread_local uint64_t thread_id;	/* never used twice */
static _Thread_local uint64_t faults_seen;

static uint64_t
my_thread_id(void)
{
	static _Atomic uint64_t last;

	if (thread_id == 0)
		thread_id = ++last;
	return (thread_id);
}

static uint64_t
count_faults(void)
{
	struct rusage ru;

	if (getrusage(RUSAGE_THREAD, &ru))
		return (UINT64_MAX);
	faults_seen = (uint64_t)ru.ru_minflt + (uint64_t)ru.ru_majflt;
	return (faults_seen);
}

static void
note_thread(struct tk_machine *m)
{
	uint64_t id = my_thread_id();

	if (m->fault_thread == 0) {
		m->fault_thread = id;
		/* Not more than the true count now, and that is enough. */
		m->fault_count = faults_seen;
	} else if (m->fault_thread != id)
		m->scan = true;
}

static bool
must_read_log(struct tk_machine *m)
{
	uint64_t faults = count_faults();

	return (m->scan || m->fault_thread != my_thread_id() ||
	    faults == UINT64_MAX || faults != m->fault_count);
}

/* What the call wrote is of the working set. */
static void
learn(struct tk_machine *m)
{

	if (!must_read_log(m))
		return;
	if (tk_vcpu_dirty_log(m->vcpu, m->ws.log))
		m->broken = true;
	tk_ws_learn(&m->ws);
}

/*--------------------------------------------------------------------
 * The watchdog asks: has this call written too much? Its pages are in the
 * dirty log, or the host wrote them and made them members of the working set;
 * those that the fork had before are there, too.
 */

static bool
overused(struct tk_watch *w)
{
	struct tk_machine *m = (struct tk_machine *)((char *)w -
	    offsetof(struct tk_machine, watch));
	uint64_t pages = 0;
	unsigned i;

	TK_CHECK_OBJ(m, TK_MACHINE_MAGIC);
	if (tk_vcpu_dirty_log(m->vcpu, m->ws.log))
		return (false);
	for (i = 0; i < (m->ws.size + 63) / 64; i++)
		pages += (uint64_t)__builtin_popcountll(m->ws.log[i] |
		    m->ws.member[i]);
	return (pages > m->pages_before + m->request_pages);
}

/*--------------------------------------------------------------------*/

static void
fork_destroy(struct tk_machine *m)
{

	tk_watch_remove(&m->watch);
	if (m->vcpu != NULL)
		tk_vcpu_put(&m->vcpu);
	tk_files_fini(&m->files, false);
	tk_space_fini(&m->space);
	tk_threads_fini(&m->threads);
	tk_parallel_free(m);
	tk_ws_fini(&m->ws);
	free(m->journal.change);
	if (m->mem.is_private)
		tk_memory_free(&m->mem);
	if (m->master != NULL)
		m->master->forks--;
	TK_FREE_OBJ(m);
}

int
tk_fork(struct tk_master *ma, struct tk_machine **pm, void *priv,
    struct tk_error *err)
{
	struct tk_machine *m;
	int e;

	TK_CHECK_OBJ(ma, TK_MASTER_MAGIC);
	*pm = NULL;
	TK_ALLOC_OBJ(m, TK_MACHINE_MAGIC);
	if (m == NULL)
		return (tk_error(err, TK_HOST, 0, "Out of memory"));
	m->host = ma->host;
	m->ops = ma->ops;
	m->priv = priv;
	m->symbols = ma->symbols;
	m->image = ma->image;
	m->master = ma;
	ma->forks++;
	m->request_pages = ma->request_memory >> TK_PAGE_SHIFT;
	m->process = ma->process;
	tk_watch_add(&m->watch);
	e = tk_memory_fork(&m->mem, &ma->mem);
	if (e != 0)
		m->mem.is_private = false;
	else
		e = tk_ws_init(&m->ws, &m->mem);
	if (e == 0) {
		m->space.pages.mem = &m->mem;
		m->space.pages.ws = &m->ws;
		m->space.pt.mem = &m->mem;
		m->space.pt.journal = &m->journal;
		e = tk_space_copy(&m->space, &ma->space);
		if (e == 0)
			e = tk_threads_copy(&m->threads, &ma->threads);
	}
	if (e == 0)
		e = tk_files_fork(&m->files, &ma->files);
	if (e != 0) {
		fork_destroy(m);
		return (tk_error(err, TK_HOST, 0, "Memory for a fork: %s",
		    strerror(e)));
	}
	e = tk_vcpu_get(&m->vcpu, ma->host, m->space.pt.root, err);
	if (e == 0)
		e = tk_vcpu_set_memory(m->vcpu, &m->mem, false, err);
	if (e != 0) {
		fork_destroy(m);
		return (e);
	}
	m->watch.overused = overused;
	m->watch.stopped = tk_is_stopped;
	m->scan = true;
	*pm = m;
	return (0);
}

void
tk_fork_free(struct tk_machine **pm)
{
	struct tk_machine *m;

	TK_TAKE_OBJ(m, pm, TK_MACHINE_MAGIC);
	fork_destroy(m);
}

tk_gva
tk_input_area(const struct tk_machine *m, uint64_t *size)
{

	TK_CHECK_OBJ(m, TK_MACHINE_MAGIC);
	tk_assert(m->master != NULL);
	*size = m->master->input_size;
	return (m->master->input);
}

tk_gva
tk_shared_area(const struct tk_machine *m, uint64_t *size)
{

	TK_CHECK_OBJ(m, TK_MACHINE_MAGIC);
	*size = m->mem.shared_size;
	return (TK_SHARED_ADDR);
}

tk_gva
tk_stack_top(const struct tk_machine *m)
{

	(void)m;
	return (TK_CALL_STACK_TOP);
}

tk_gva
tk_stack_pointer(const struct tk_machine *m)
{

	return (m->vcpu->regs->rsp);
}

/* The registers that both entry stubs take. */
static void
entry_registers(const struct tk_machine *m, struct kvm_regs *r)
{

	r->r12 = TK_KERNEL + TK_K_FPU;
	r->r13 = m->master->gs_base;
	r->r14 = m->master->fs_base;
}

int
tk_call(struct tk_machine *m, const struct tk_call *c, struct tk_error *err)
{
	struct kvm_regs *r = m->vcpu->regs;
	/* Nobody has called the stub: backtraces end there. */
	const uint64_t back[3] = { tk_return_address(), 0, 0 };

	TK_CHECK_OBJ(m, TK_MACHINE_MAGIC);
	tk_assert(m->master != NULL && !m->broken);
	tk_assert(c->stack_used <= TK_MAX_STACK_USED);
	note_thread(m);
	memset(r, 0, sizeof *r);
	r->rip = tk_entry_address();
	r->rflags = 2;
	/* The stack as after a call instruction: SysV ABI, 3.2.2. */
	r->rsp = ((TK_CALL_STACK_TOP - c->stack_used) & ~15ULL) - sizeof back;
	tk_assert(tk_write(m, r->rsp, back, sizeof back));
	r->rax = c->function;
	r->rdi = c->args[0];
	r->rsi = c->args[1];
	r->rdx = c->args[2];
	r->rcx = c->args[3];
	r->r8 = c->args[4];
	r->r9 = c->args[5];
	entry_registers(m, r);
	return (tk_run(m, c->seconds, NULL, err));
}

int
tk_resume(struct tk_machine *m, uint64_t result, double seconds,
    struct tk_error *err)
{
	struct kvm_regs *r = m->vcpu->regs;

	TK_CHECK_OBJ(m, TK_MACHINE_MAGIC);
	tk_assert(m->master != NULL && !m->broken);
	note_thread(m);
	*r = m->master->resume;
	r->rip = tk_resume_address();
	r->rax = result;
	entry_registers(m, r);
	return (tk_run(m, seconds, NULL, err));
}

int
tk_continue(struct tk_machine *m, uint64_t result, double seconds,
    struct tk_error *err)
{

	TK_CHECK_OBJ(m, TK_MACHINE_MAGIC);
	tk_assert(m->master != NULL);
	/* The call was completed, and yet left nothing to go on from. */
	if (tk_broken(m) || m->vcpu->sregs_dirty)
		return (tk_error(err, TK_HOST, 0, "the machine cannot go on "
		    "from its last call"));
	note_thread(m);
	/* The registers are those that the vCPU left with. */
	tk_set_result(m, result);
	return (tk_run(m, seconds, NULL, err));
}

/*
 * The entry stub and straight back: one entry, for what ioctls would take three
 * to do, and not all of it (selectors, where KVM runs guests in ring 3).
 */
static int
enter_and_leave(struct tk_machine *m)
{
	struct kvm_regs *r = m->vcpu->regs;
	enum tk_exit x;
	unsigned vector;

	memset(r, 0, sizeof *r);
	r->rip = tk_entry_address();
	r->rax = tk_empty_address();
	r->rflags = 2;
	entry_registers(m, r);
	do
		x = tk_vcpu_run(m->vcpu, &vector);
	while (x == TK_EXIT_KICK);
	return (x == TK_EXIT_HOST_CALL && r->rax == TK_HC_EMPTY ? 0 : EIO);
}

/* All threads wait: the connection makes one go on, whichever it is. */
static enum tk_verdict
first_connection(struct tk_machine *m)
{
	int e;

	e = enter_and_leave(m);
	if (e == 0)
		e = tk_files_connect(m, m->connection);
	if (e != 0) {
		m->broken = true;
		return (tk_end(m, TK_HOST, 0, "no connection could be made: "
		    "%s", strerror(e)));
	}
	return (tk_schedule(m));
}

bool
tk_serves(const struct tk_master *ma)
{

	TK_CHECK_OBJ(ma, TK_MASTER_MAGIC);
	return (ma->serves);
}

int
tk_serve(struct tk_machine *m, struct tk_connection *c, double seconds,
    struct tk_error *err)
{
	int e;

	TK_CHECK_OBJ(m, TK_MACHINE_MAGIC);
	tk_assert(m->master != NULL && m->master->serves && !m->broken);
	note_thread(m);
	m->changed = true;
	m->connection = c;
	e = tk_run(m, seconds, first_connection, err);
	m->connection = NULL;
	return (e);
}

int
tk_empty_call(struct tk_machine *m, struct tk_error *err)
{

	int e;

	TK_CHECK_OBJ(m, TK_MACHINE_MAGIC);
	note_thread(m);
	m->vcpu->regs->rip = tk_empty_address();
	m->vcpu->regs->rflags = 2;
	m->in_empty_call = true;
	e = tk_run(m, 1.0, NULL, err);
	m->in_empty_call = false;
	return (e);
}

/* What is private now is not what the calls to come will write. */
static void
begin_anew(struct tk_machine *m)
{

	m->pages_before = m->pages_seen = m->ws.n;
	m->exits = 0;
	m->fault_thread = 0;
	m->scan = false;
}

/* The private pages are too many: become as the day the fork was made. */
static void
start_over(struct tk_machine *m)
{

	if (tk_vcpu_clear_log(m->vcpu, m->ws.log, m->ws.size) ||
	    tk_memory_drop(&m->mem, m->mem.rw_gpa, m->mem.end -
	    m->mem.rw_gpa))
		m->broken = true;
	tk_ws_forget(&m->ws);
}

/*
 * Too many tables stay in the machine: they can go only together with its
 * memory, which it then gets again.
 */
static void
renew_tables(struct tk_machine *m)
{
	const struct tk_memory *mem = &m->mem;

	if (tk_vcpu_take_memory(m->vcpu) ||
	    tk_memory_drop(mem, mem->pt_gpa, mem->rw_gpa - mem->pt_gpa) ||
	    tk_vcpu_set_memory(m->vcpu, mem, false, NULL))
		m->broken = true;
	m->space.pt.next = m->master->space.pt.next;
}

unsigned
tk_reset(struct tk_machine *m)
{
	const struct tk_master *ma = m->master;
	unsigned pages;

	TK_CHECK_OBJ(m, TK_MACHINE_MAGIC);
	TK_CHECK_OBJ(ma, TK_MASTER_MAGIC);
	learn(m);
	/* The host's own writes may have backed pages, too. */
	if (m->changed || m->journal.n > 0) {
		if (tk_pt_undo(&m->space.pt) ||
		    tk_space_copy(&m->space, &ma->space) ||
		    tk_threads_copy(&m->threads, &ma->threads))
			m->broken = true;
		if (tk_files_reset(&m->files, &ma->files))
			m->broken = true;
		if (tk_pt_is_short(&m->space.pt))
			renew_tables(m);
		m->process = ma->process;
		m->changed = false;
	}
	pages = m->ws.n;
	if (pages > m->request_pages ||
	    !tk_ws_restore(&m->ws, &m->mem, &ma->mem))
		start_over(m);
	begin_anew(m);
	return (pages);
}

bool
tk_keep(struct tk_machine *m)
{

	TK_CHECK_OBJ(m, TK_MACHINE_MAGIC);
	learn(m);
	begin_anew(m);
	return (tk_threads_settle(&m->threads, &m->master->threads));
}

void
tk_shrink(struct tk_machine *m)
{

	TK_CHECK_OBJ(m, TK_MACHINE_MAGIC);
	if (m->ws.n > 0)
		start_over(m);
	begin_anew(m);
}

bool
tk_broken(const struct tk_machine *m)
{

	TK_CHECK_OBJ(m, TK_MACHINE_MAGIC);
	return (m->broken || m->space.stale || m->vcpu->spoiled);
}

unsigned
tk_working_set(const struct tk_machine *m)
{

	return (m->ws.n);
}
