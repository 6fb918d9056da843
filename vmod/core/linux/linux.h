/*-
 * SPDX-License-Identifier: BSD-2-Clause
 *
 * The Linux system calls that guests make. table.c says which there are; the
 * families have a file each.
 */

#ifndef TK_LINUX_H_INCLUDED
#define TK_LINUX_H_INCLUDED

#include "../exception.h"
#include "../machine.h"

/*
 * An implementation: arguments in the order of the manual page; returns the
 * result, or an error number negated, or one of:
 */
typedef int64_t tk_linux_fn(struct tk_machine *, const uint64_t arg[6]);

#define TK_CALL_ENDED	INT64_MIN	/* tk_end() was called */
#define TK_CALL_RESUMED	(INT64_MIN + 1)	/* tk_user_resume() was called */
#define TK_CALL_BLOCKED	(INT64_MIN + 2)	/* the thread waits, or ended */
#define TK_CALL_DONE	(INT64_MIN + 3)	/* the request is answered */

/* The guest executed `syscall`. */
enum tk_verdict tk_linux_call(struct tk_machine *);

/* Makes the call that the registers say; what its implementation returned. */
int64_t tk_linux_make(struct tk_machine *);

/* The name of a call, "#451" in buf for one that is not known. */
const char *tk_linux_name(uint64_t number, char *buf, size_t size);

enum tk_support {
	TK_CALL_FULL,			/* as Linux does it */
	TK_CALL_PARTIAL,
	TK_CALL_REFUSED
};

/*
 * Its arguments' kinds: s string, d int, u unsigned, o octal, x others.
 */
const char *tk_linux_arguments(uint64_t number);

/* trace.c: tells the embedder of a call, made with these arguments. */
void tk_trace_call(struct tk_machine *, uint64_t number,
    const uint64_t arg[6], int64_t result);

/* Policy denies what the program asked: told to the embedder in words. */
void tk_refused(struct tk_machine *, const char *fmt, ...)
    __attribute__((format(printf, 2, 3)));

/*--------------------------------------------------------------------
 * schedule.c
 */

/*
 * The calling thread waits: for a change of any descriptor (tk_woken()), for a
 * signal, at most for timeout_ns from the first time it asked (UINT64_MAX: for
 * ever). Returns TK_CALL_BLOCKED, which the implementation returns as it is:
 * the same call is made again, from its start, when there is something to look
 * at. Returns 0 when the time is over.
 */
int64_t tk_block(struct tk_machine *, uint64_t timeout_ns);

/* A descriptor changed: whoever waits in tk_block() looks again. */
void tk_woken(struct tk_machine *);

/*
 * The calling thread gives the vCPU up in the middle of a system call, its
 * registers kept as they will be behind it; blocked until somebody says so.
 */
void tk_stop_current(struct tk_machine *);

/*
 * Gives the vCPU to a thread that can run, waiting until there is one. To be
 * called when the current one cannot go on, or its registers are kept.
 */
enum tk_verdict tk_schedule(struct tk_machine *);

/* Deadlines of frozen threads become true ones; before a new one is set. */
void tk_thaw(struct tk_machine *);

/* The current thread's turn begins now, and ended. */
void tk_slice_begin(struct tk_machine *);
enum tk_verdict tk_slice_over(struct tk_machine *);

/*--------------------------------------------------------------------
 * signal_calls.c
 */

/*
 * Hands a fault to the program's own handler. False when there is none, or it
 * cannot be called.
 */
bool tk_signal_fault(struct tk_machine *, const struct kvm_regs *, int sig,
    int code, tk_gva address);

/* The current thread has signals that it does not block. */
bool tk_signals_due(const struct tk_machine *);

/* A thread was woken by a signal: what its call returns, or is it made anew. */
void tk_signal_interrupts(struct tk_machine *, struct tk_thread *);

/*
 * The current thread, on the vCPU, goes on with these registers, into handlers
 * of its signals first.
 */
enum tk_verdict tk_user_continue(struct tk_machine *, const struct kvm_regs *);

/* time_calls.c: nanoseconds; 0 or an error number negated. */
int64_t tk_read_timespec(const struct tk_machine *, tk_gva, uint64_t *ns);

/* memory_calls.c */
tk_linux_fn tk_sys_brk, tk_sys_mmap, tk_sys_munmap, tk_sys_mremap,
    tk_sys_mprotect, tk_sys_madvise;
/* file_calls.c */
bool tk_files_listening(const struct tk_machine *);
/* A connection waits for the guest's accept(). 0 or an errno value. */
int tk_files_connect(struct tk_machine *, struct tk_connection *);
tk_linux_fn tk_sys_read, tk_sys_write, tk_sys_writev, tk_sys_readv,
    tk_sys_close, tk_sys_fstat, tk_sys_newfstatat, tk_sys_lseek,
    tk_sys_ioctl, tk_sys_fcntl, tk_sys_no_file, tk_sys_no_file_at,
    tk_sys_getcwd, tk_sys_poll, tk_sys_dup;
/* time_calls.c */
tk_linux_fn tk_sys_clock_gettime, tk_sys_clock_getres, tk_sys_gettimeofday,
    tk_sys_time, tk_sys_nanosleep, tk_sys_clock_nanosleep;
/* process_calls.c */
tk_linux_fn tk_sys_one, tk_sys_zero, tk_sys_arch_prctl, tk_sys_uname,
    tk_sys_sysinfo, tk_sys_prlimit64, tk_sys_getrlimit, tk_sys_getrandom,
    tk_sys_sched_getaffinity, tk_sys_not_allowed, tk_sys_absent,
    tk_sys_getcpu, tk_sys_no_exec, tk_sys_times, tk_sys_getrusage,
    tk_sys_prctl, tk_sys_membarrier, tk_sys_sched_getparam,
    tk_sys_get_priority;
/* thread_calls.c */
tk_linux_fn tk_sys_clone, tk_sys_clone3, tk_sys_no_process, tk_sys_exit,
    tk_sys_exit_group, tk_sys_futex, tk_sys_gettid, tk_sys_set_tid_address,
    tk_sys_sched_yield;
/* signal_calls.c */
tk_linux_fn tk_sys_rt_sigaction, tk_sys_rt_sigprocmask, tk_sys_rt_sigreturn,
    tk_sys_rt_sigpending, tk_sys_rt_sigsuspend, tk_sys_rt_sigtimedwait,
    tk_sys_sigaltstack, tk_sys_kill, tk_sys_tkill, tk_sys_tgkill;

#endif /* TK_LINUX_H_INCLUDED */
