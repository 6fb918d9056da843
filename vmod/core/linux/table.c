/*-
 * SPDX-License-Identifier: BSD-2-Clause
 */

#include <asm/unistd_64.h>
#include <errno.h>
#include <stdarg.h>
#include <stdio.h>

#include "../guest_layout.h"
#include "../object.h"
#include "linux.h"

#define MAX_CALL	512

/* Made from the kernel's own header at build time. */
static const char *const names[MAX_CALL] = {
#include "syscall_names.inc"
};

static tk_linux_fn *const calls[MAX_CALL] = {
	/* Memory */
	[__NR_brk] = tk_sys_brk,
	[__NR_mmap] = tk_sys_mmap,
	[__NR_munmap] = tk_sys_munmap,
	[__NR_mremap] = tk_sys_mremap,
	[__NR_mprotect] = tk_sys_mprotect,
	[__NR_madvise] = tk_sys_madvise,
	/* Files: the standard streams; no others yet */
	[__NR_read] = tk_sys_read,
	[__NR_readv] = tk_sys_readv,
	[__NR_write] = tk_sys_write,
	[__NR_writev] = tk_sys_writev,
	[__NR_close] = tk_sys_close,
	[__NR_fstat] = tk_sys_fstat,
	[__NR_newfstatat] = tk_sys_newfstatat,
	[__NR_lseek] = tk_sys_lseek,
	[__NR_ioctl] = tk_sys_ioctl,
	[__NR_fcntl] = tk_sys_fcntl,
	[__NR_poll] = tk_sys_poll,
	[__NR_dup] = tk_sys_dup,
	[__NR_open] = tk_sys_no_file,
	[__NR_stat] = tk_sys_no_file,
	[__NR_lstat] = tk_sys_no_file,
	[__NR_access] = tk_sys_no_file,
	[__NR_readlink] = tk_sys_no_file,
	[__NR_openat] = tk_sys_no_file_at,
	[__NR_faccessat] = tk_sys_no_file_at,
	[__NR_faccessat2] = tk_sys_no_file_at,
	[__NR_readlinkat] = tk_sys_no_file_at,
	[__NR_getcwd] = tk_sys_getcwd,
	/* Time: mostly answered by the vDSO */
	[__NR_clock_gettime] = tk_sys_clock_gettime,
	[__NR_clock_getres] = tk_sys_clock_getres,
	[__NR_gettimeofday] = tk_sys_gettimeofday,
	[__NR_time] = tk_sys_time,
	[__NR_nanosleep] = tk_sys_nanosleep,
	[__NR_clock_nanosleep] = tk_sys_clock_nanosleep,
	/* The process */
	[__NR_exit] = tk_sys_exit,
	[__NR_exit_group] = tk_sys_exit_group,
	[__NR_getpid] = tk_sys_one,
	[__NR_gettid] = tk_sys_gettid,
	[__NR_getppid] = tk_sys_zero,
	[__NR_getuid] = tk_sys_zero,
	[__NR_geteuid] = tk_sys_zero,
	[__NR_getgid] = tk_sys_zero,
	[__NR_getegid] = tk_sys_zero,
	[__NR_arch_prctl] = tk_sys_arch_prctl,
	[__NR_set_tid_address] = tk_sys_set_tid_address,
	[__NR_set_robust_list] = tk_sys_zero,
	[__NR_uname] = tk_sys_uname,
	[__NR_sysinfo] = tk_sys_sysinfo,
	[__NR_prlimit64] = tk_sys_prlimit64,
	[__NR_getrlimit] = tk_sys_getrlimit,
	[__NR_getrandom] = tk_sys_getrandom,
	[__NR_sched_yield] = tk_sys_sched_yield,
	[__NR_sched_getaffinity] = tk_sys_sched_getaffinity,
	[__NR_getcpu] = tk_sys_getcpu,
	[__NR_futex] = tk_sys_futex,
	[__NR_times] = tk_sys_times,
	[__NR_getrusage] = tk_sys_getrusage,
	[__NR_prctl] = tk_sys_prctl,
	[__NR_getpgid] = tk_sys_one,
	[__NR_getpgrp] = tk_sys_one,
	[__NR_getsid] = tk_sys_one,
	[__NR_sched_getparam] = tk_sys_sched_getparam,
	[__NR_sched_getscheduler] = tk_sys_zero,
	[__NR_sched_setaffinity] = tk_sys_zero,
	[__NR_getpriority] = tk_sys_get_priority,
	[__NR_setpriority] = tk_sys_zero,
	[__NR_membarrier] = tk_sys_membarrier,
	[__NR_get_robust_list] = tk_sys_absent,
	/* Every libc goes on without these. */
	[__NR_rseq] = tk_sys_absent,
	[__NR_clone3] = tk_sys_clone3,
	[__NR_clone] = tk_sys_clone,
	[__NR_fork] = tk_sys_no_process,
	[__NR_vfork] = tk_sys_no_process,
	[__NR_execve] = tk_sys_no_exec,
	[__NR_execveat] = tk_sys_no_exec,
	[__NR_socket] = tk_sys_not_allowed,
	/* Signals */
	[__NR_rt_sigaction] = tk_sys_rt_sigaction,
	[__NR_rt_sigprocmask] = tk_sys_rt_sigprocmask,
	[__NR_rt_sigreturn] = tk_sys_rt_sigreturn,
	[__NR_rt_sigpending] = tk_sys_rt_sigpending,
	[__NR_rt_sigsuspend] = tk_sys_rt_sigsuspend,
	[__NR_rt_sigtimedwait] = tk_sys_rt_sigtimedwait,
	[__NR_sigaltstack] = tk_sys_sigaltstack,
	[__NR_kill] = tk_sys_kill,
	[__NR_tkill] = tk_sys_tkill,
	[__NR_tgkill] = tk_sys_tgkill,
};

const char *
tk_linux_name(uint64_t number, char *buf, size_t size)
{

	if (number < MAX_CALL && names[number] != NULL)
		return (names[number]);
	(void)snprintf(buf, size, "#%llu", (unsigned long long)number);
	return (buf);
}

void
tk_refused(struct tk_machine *m, const char *fmt, ...)
{
	char text[512];
	va_list ap;

	if (m->ops->refused == NULL)
		return;
	va_start(ap, fmt);
	(void)vsnprintf(text, sizeof text, fmt, ap);
	va_end(ap);
	m->ops->refused(text, m->priv);
}

int64_t
tk_linux_make(struct tk_machine *m)
{
	const struct kvm_regs *r = m->vcpu->regs;
	uint64_t number = r->rax, arg[6];
	char buf[24];

	arg[0] = r->rdi;
	arg[1] = r->rsi;
	arg[2] = r->rdx;
	arg[3] = r->r10;
	arg[4] = r->r8;
	arg[5] = r->r9;
	if (number < MAX_CALL && calls[number] != NULL)
		return (calls[number](m, arg));
	if (m->ops->unknown_call != NULL)
		m->ops->unknown_call(tk_linux_name(number, buf, sizeof buf),
		    m->priv);
	return (-ENOSYS);
}

enum tk_verdict
tk_linux_call(struct tk_machine *m)
{
	struct kvm_regs *r = m->vcpu->regs, user;
	int64_t result;

	/* sysretq to a non-canonical address would fault in ring 0. */
	if (r->rcx >= TK_USER_END && r->rax != __NR_rt_sigreturn)
		return (tk_end(m, TK_FAULT, r->rcx, "system call from 0x%llx, "
		    "which is not the program's", (unsigned long long)r->rcx));
	m->changed = true;
	result = tk_linux_make(m);
	if (result == TK_CALL_ENDED)
		return (TK_FAIL);
	if (m->space.stale) {
		m->broken = true;
		return (tk_end(m, TK_HOST, 0, "the host could not change its "
		    "memory mappings: raise vm.max_map_count"));
	}
	if (result == TK_CALL_DONE)
		return (TK_DONE);
	if (result == TK_CALL_BLOCKED)
		return (tk_schedule(m));
	if (result == TK_CALL_RESUMED)
		return (TK_RESUME);
	r->rax = (uint64_t)result;
	if (__builtin_expect(!tk_signals_due(m), 1))
		return (TK_RESUME);
	tk_user_at_syscall(m, &user);
	return (tk_user_continue(m, &user));
}
