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
#define TK_CALL_BLOCKED	(INT64_MIN + 2)	/* tk_block() was called */

/* The guest executed `syscall`. */
enum tk_verdict tk_linux_call(struct tk_machine *);

/* The name of a call, "#451" in buf for one that is not known. */
const char *tk_linux_name(uint64_t number, char *buf, size_t size);

/*
 * Hands a fault to the program's own handler. False when there is none, or it
 * cannot be called.
 */
bool tk_signal_fault(struct tk_machine *, const struct tk_user_regs *,
    int sig, tk_gva address);

/*
 * The calling thread waits: for a change of any descriptor (tk_woken()), for a
 * signal, at most for timeout_ns from the first time it asked (UINT64_MAX: for
 * ever). Returns TK_CALL_BLOCKED, which the implementation returns as it is:
 * the same call is made again, from its start, when there is something to look
 * at. Returns 0 when the time is over.
 */
int64_t tk_block(struct tk_machine *, uint64_t timeout_ns);

/* Policy denies what the program asked: told to the embedder in words. */
void tk_refused(struct tk_machine *, const char *fmt, ...)
    __attribute__((format(printf, 2, 3)));

/* A descriptor changed: whoever waits in tk_block() looks again. */
void tk_woken(struct tk_machine *);

/* memory_calls.c */
tk_linux_fn tk_sys_brk, tk_sys_mmap, tk_sys_munmap, tk_sys_mremap,
    tk_sys_mprotect, tk_sys_madvise;
/* file_calls.c */
tk_linux_fn tk_sys_read, tk_sys_write, tk_sys_writev, tk_sys_readv,
    tk_sys_close, tk_sys_fstat, tk_sys_newfstatat, tk_sys_lseek,
    tk_sys_ioctl, tk_sys_fcntl, tk_sys_no_file, tk_sys_no_file_at,
    tk_sys_getcwd, tk_sys_poll, tk_sys_dup;
/* time_calls.c */
tk_linux_fn tk_sys_clock_gettime, tk_sys_clock_getres, tk_sys_gettimeofday,
    tk_sys_time, tk_sys_nanosleep, tk_sys_clock_nanosleep;
/* process_calls.c */
tk_linux_fn tk_sys_exit, tk_sys_one, tk_sys_zero, tk_sys_arch_prctl,
    tk_sys_set_tid_address, tk_sys_uname, tk_sys_sysinfo, tk_sys_prlimit64,
    tk_sys_getrlimit, tk_sys_getrandom, tk_sys_sched_getaffinity,
    tk_sys_futex, tk_sys_again, tk_sys_not_allowed, tk_sys_absent,
    tk_sys_getcpu;
/* signal_calls.c */
tk_linux_fn tk_sys_rt_sigaction, tk_sys_rt_sigprocmask, tk_sys_rt_sigreturn,
    tk_sys_sigaltstack, tk_sys_kill, tk_sys_tkill, tk_sys_tgkill;

#endif /* TK_LINUX_H_INCLUDED */
