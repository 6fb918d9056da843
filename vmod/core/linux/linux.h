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

/*
 * pipe.c: gives two new files descriptors and tells them at `to`; all or none.
 */
int64_t tk_install_two(struct tk_machine *, struct tk_file *, struct tk_file *,
    bool cloexec, tk_gva to);

/* socket.c: the next connection that waits, or NULL; shutdown(2). */
bool tk_socket_has_next(const struct tk_machine *, const struct tk_file *);
struct tk_connection *tk_socket_next(struct tk_machine *,
    const struct tk_file *);
int64_t tk_socket_shutdown(struct tk_machine *, struct tk_file *, uint64_t);

/* memory_calls.c */
tk_linux_fn tk_sys_brk, tk_sys_mmap, tk_sys_munmap, tk_sys_mremap,
    tk_sys_mprotect, tk_sys_madvise;
/* transfer.c */
tk_linux_fn tk_sys_read, tk_sys_write, tk_sys_readv, tk_sys_writev,
    tk_sys_pread64, tk_sys_pwrite64, tk_sys_preadv, tk_sys_pwritev,
    tk_sys_preadv2, tk_sys_pwritev2, tk_sys_sendfile;
/* descriptor_calls.c */
tk_linux_fn tk_sys_close, tk_sys_close_range, tk_sys_dup, tk_sys_dup2,
    tk_sys_dup3, tk_sys_fcntl, tk_sys_ioctl, tk_sys_lseek, tk_sys_fsync,
    tk_sys_ftruncate, tk_sys_fadvise64, tk_sys_fallocate, tk_sys_flock,
    tk_sys_umask;
/* path_calls.c, directory.c */
tk_linux_fn tk_sys_stat, tk_sys_lstat, tk_sys_fstat, tk_sys_newfstatat,
    tk_sys_statx, tk_sys_access, tk_sys_faccessat, tk_sys_faccessat2,
    tk_sys_readlink, tk_sys_readlinkat, tk_sys_getcwd, tk_sys_chdir,
    tk_sys_fchdir, tk_sys_statfs, tk_sys_fstatfs, tk_sys_getdents64;
/* open_calls.c */
tk_linux_fn tk_sys_open, tk_sys_openat, tk_sys_creat, tk_sys_memfd_create,
    tk_sys_mkdir, tk_sys_mkdirat, tk_sys_rmdir, tk_sys_unlink, tk_sys_unlinkat,
    tk_sys_rename, tk_sys_renameat, tk_sys_renameat2, tk_sys_truncate,
    tk_sys_chmod, tk_sys_fchmod, tk_sys_fchmodat;
/* pipe.c, eventfd.c, epoll.c, poll.c */
tk_linux_fn tk_sys_pipe, tk_sys_pipe2, tk_sys_eventfd, tk_sys_eventfd2,
    tk_sys_timerfd_create, tk_sys_timerfd_settime, tk_sys_timerfd_gettime,
    tk_sys_epoll_create, tk_sys_epoll_create1, tk_sys_epoll_ctl,
    tk_sys_epoll_wait, tk_sys_epoll_pwait, tk_sys_epoll_pwait2, tk_sys_poll,
    tk_sys_ppoll, tk_sys_select, tk_sys_pselect6;
/* socket_calls.c */
tk_linux_fn tk_sys_socket, tk_sys_socketpair, tk_sys_bind, tk_sys_listen,
    tk_sys_accept, tk_sys_accept4, tk_sys_connect, tk_sys_getsockname,
    tk_sys_getpeername, tk_sys_shutdown, tk_sys_recvfrom, tk_sys_recvmsg,
    tk_sys_sendto, tk_sys_sendmsg, tk_sys_setsockopt, tk_sys_getsockopt;
/* time_calls.c */
tk_linux_fn tk_sys_clock_gettime, tk_sys_clock_getres, tk_sys_gettimeofday,
    tk_sys_time, tk_sys_nanosleep, tk_sys_clock_nanosleep;
/* process_calls.c */
tk_linux_fn tk_sys_one, tk_sys_zero, tk_sys_arch_prctl, tk_sys_uname,
    tk_sys_sysinfo, tk_sys_prlimit64, tk_sys_getrlimit, tk_sys_getrandom,
    tk_sys_sched_getaffinity, tk_sys_not_allowed, tk_sys_absent,
    tk_sys_getcpu, tk_sys_no_exec, tk_sys_times, tk_sys_getrusage,
    tk_sys_prctl, tk_sys_membarrier, tk_sys_sched_getparam,
    tk_sys_get_priority, tk_sys_invalid,
    tk_sys_unsupported;
/* thread_calls.c */
tk_linux_fn tk_sys_clone, tk_sys_clone3, tk_sys_no_process, tk_sys_exit,
    tk_sys_exit_group, tk_sys_futex, tk_sys_gettid, tk_sys_set_tid_address,
    tk_sys_sched_yield;
/* signal_calls.c */
tk_linux_fn tk_sys_rt_sigaction, tk_sys_rt_sigprocmask, tk_sys_rt_sigreturn,
    tk_sys_rt_sigpending, tk_sys_rt_sigsuspend, tk_sys_rt_sigtimedwait,
    tk_sys_pause, tk_sys_sigaltstack, tk_sys_kill, tk_sys_tkill,
    tk_sys_tgkill;

#endif /* TK_LINUX_H_INCLUDED */
