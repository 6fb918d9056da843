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
	/* Files */
	[__NR_read] = tk_sys_read,
	[__NR_readv] = tk_sys_readv,
	[__NR_write] = tk_sys_write,
	[__NR_writev] = tk_sys_writev,
	[__NR_pread64] = tk_sys_pread64,
	[__NR_pwrite64] = tk_sys_pwrite64,
	[__NR_preadv] = tk_sys_preadv,
	[__NR_pwritev] = tk_sys_pwritev,
	[__NR_preadv2] = tk_sys_preadv2,
	[__NR_pwritev2] = tk_sys_pwritev2,
	[__NR_sendfile] = tk_sys_sendfile,
	[__NR_close] = tk_sys_close,
	[__NR_close_range] = tk_sys_close_range,
	[__NR_dup] = tk_sys_dup,
	[__NR_dup2] = tk_sys_dup2,
	[__NR_dup3] = tk_sys_dup3,
	[__NR_fcntl] = tk_sys_fcntl,
	[__NR_ioctl] = tk_sys_ioctl,
	[__NR_lseek] = tk_sys_lseek,
	[__NR_fsync] = tk_sys_fsync,
	[__NR_fdatasync] = tk_sys_fsync,
	[__NR_ftruncate] = tk_sys_ftruncate,
	[__NR_fadvise64] = tk_sys_fadvise64,
	[__NR_fallocate] = tk_sys_fallocate,
	[__NR_flock] = tk_sys_flock,
	[__NR_umask] = tk_sys_umask,
	[__NR_stat] = tk_sys_stat,
	[__NR_lstat] = tk_sys_lstat,
	[__NR_fstat] = tk_sys_fstat,
	[__NR_newfstatat] = tk_sys_newfstatat,
	[__NR_statx] = tk_sys_statx,
	[__NR_access] = tk_sys_access,
	[__NR_faccessat] = tk_sys_faccessat,
	[__NR_faccessat2] = tk_sys_faccessat2,
	[__NR_readlink] = tk_sys_readlink,
	[__NR_readlinkat] = tk_sys_readlinkat,
	[__NR_getcwd] = tk_sys_getcwd,
	[__NR_chdir] = tk_sys_chdir,
	[__NR_fchdir] = tk_sys_fchdir,
	[__NR_statfs] = tk_sys_statfs,
	[__NR_fstatfs] = tk_sys_fstatfs,
	[__NR_getdents64] = tk_sys_getdents64,
	[__NR_open] = tk_sys_open,
	[__NR_openat] = tk_sys_openat,
	[__NR_creat] = tk_sys_creat,
	[__NR_memfd_create] = tk_sys_memfd_create,
	[__NR_mkdir] = tk_sys_mkdir,
	[__NR_mkdirat] = tk_sys_mkdirat,
	[__NR_rmdir] = tk_sys_rmdir,
	[__NR_unlink] = tk_sys_unlink,
	[__NR_unlinkat] = tk_sys_unlinkat,
	[__NR_rename] = tk_sys_rename,
	[__NR_renameat] = tk_sys_renameat,
	[__NR_renameat2] = tk_sys_renameat2,
	[__NR_truncate] = tk_sys_truncate,
	[__NR_chmod] = tk_sys_chmod,
	[__NR_fchmod] = tk_sys_fchmod,
	[__NR_fchmodat] = tk_sys_fchmodat,
	[__NR_chown] = tk_sys_chmod,
	[__NR_lchown] = tk_sys_chmod,
	[__NR_fchown] = tk_sys_fchmod,
	[__NR_fchownat] = tk_sys_fchmodat,
	[__NR_utimensat] = tk_sys_fchmodat,
	[__NR_link] = tk_sys_not_allowed,
	[__NR_linkat] = tk_sys_not_allowed,
	[__NR_symlink] = tk_sys_not_allowed,
	[__NR_symlinkat] = tk_sys_not_allowed,
	[__NR_mknod] = tk_sys_not_allowed,
	[__NR_mknodat] = tk_sys_not_allowed,
	[__NR_splice] = tk_sys_invalid,
	[__NR_tee] = tk_sys_invalid,
	[__NR_copy_file_range] = tk_sys_invalid,
	[__NR_inotify_init1] = tk_sys_absent,
	[__NR_signalfd4] = tk_sys_absent,
	[__NR_openat2] = tk_sys_absent,
	/* Descriptors that tell events */
	[__NR_pipe] = tk_sys_pipe,
	[__NR_pipe2] = tk_sys_pipe2,
	[__NR_eventfd] = tk_sys_eventfd,
	[__NR_eventfd2] = tk_sys_eventfd2,
	[__NR_timerfd_create] = tk_sys_timerfd_create,
	[__NR_timerfd_settime] = tk_sys_timerfd_settime,
	[__NR_timerfd_gettime] = tk_sys_timerfd_gettime,
	[__NR_epoll_create] = tk_sys_epoll_create,
	[__NR_epoll_create1] = tk_sys_epoll_create1,
	[__NR_epoll_ctl] = tk_sys_epoll_ctl,
	[__NR_epoll_wait] = tk_sys_epoll_wait,
	[__NR_epoll_pwait] = tk_sys_epoll_pwait,
	[__NR_epoll_pwait2] = tk_sys_epoll_pwait2,
	[__NR_poll] = tk_sys_poll,
	[__NR_ppoll] = tk_sys_ppoll,
	[__NR_select] = tk_sys_select,
	[__NR_pselect6] = tk_sys_pselect6,
	/* Sockets, virtual ones */
	[__NR_socket] = tk_sys_socket,
	[__NR_socketpair] = tk_sys_socketpair,
	[__NR_bind] = tk_sys_bind,
	[__NR_listen] = tk_sys_listen,
	[__NR_accept] = tk_sys_accept,
	[__NR_accept4] = tk_sys_accept4,
	[__NR_connect] = tk_sys_connect,
	[__NR_getsockname] = tk_sys_getsockname,
	[__NR_getpeername] = tk_sys_getpeername,
	[__NR_shutdown] = tk_sys_shutdown,
	[__NR_recvfrom] = tk_sys_recvfrom,
	[__NR_recvmsg] = tk_sys_recvmsg,
	[__NR_sendto] = tk_sys_sendto,
	[__NR_sendmsg] = tk_sys_sendmsg,
	[__NR_setsockopt] = tk_sys_setsockopt,
	[__NR_getsockopt] = tk_sys_getsockopt,
	/* Time: mostly answered by the vDSO */
	[__NR_clock_gettime] = tk_sys_clock_gettime,
	[__NR_clock_getres] = tk_sys_clock_getres,
	[__NR_gettimeofday] = tk_sys_gettimeofday,
	[__NR_time] = tk_sys_time,
	[__NR_nanosleep] = tk_sys_nanosleep,
	[__NR_clock_nanosleep] = tk_sys_clock_nanosleep,
	/* The process */
	[__NR_exit] = tk_sys_exit,
	[__NR_exit_group] = tk_sys_exit,
	[__NR_getpid] = tk_sys_one,
	[__NR_gettid] = tk_sys_one,
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
	[__NR_sched_yield] = tk_sys_zero,
	[__NR_sched_getaffinity] = tk_sys_sched_getaffinity,
	[__NR_getcpu] = tk_sys_getcpu,
	[__NR_futex] = tk_sys_futex,
	/* Every libc goes on without these. */
	[__NR_rseq] = tk_sys_absent,
	[__NR_clone3] = tk_sys_absent,
	[__NR_clone] = tk_sys_again,
	[__NR_fork] = tk_sys_again,
	[__NR_vfork] = tk_sys_again,
	[__NR_execve] = tk_sys_not_allowed,
	[__NR_execveat] = tk_sys_not_allowed,
	/* Signals */
	[__NR_rt_sigaction] = tk_sys_rt_sigaction,
	[__NR_rt_sigprocmask] = tk_sys_rt_sigprocmask,
	[__NR_rt_sigreturn] = tk_sys_rt_sigreturn,
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

enum tk_verdict
tk_linux_call(struct tk_machine *m)
{
	struct kvm_regs *r = m->vcpu->regs;
	uint64_t number = r->rax, arg[6];
	char buf[24];
	int64_t result;

	/* sysretq to a non-canonical address would fault in ring 0. */
	if (r->rcx >= TK_USER_END && number != __NR_rt_sigreturn)
		return (tk_end(m, TK_FAULT, r->rcx, "system call from 0x%llx, "
		    "which is not the program's", (unsigned long long)r->rcx));
	m->changed = true;
	arg[0] = r->rdi;
	arg[1] = r->rsi;
	arg[2] = r->rdx;
	arg[3] = r->r10;
	arg[4] = r->r8;
	arg[5] = r->r9;
	if (number < MAX_CALL && calls[number] != NULL) {
		do
			result = calls[number](m, arg);
		while (result == TK_CALL_BLOCKED);
	} else {
		result = -ENOSYS;
		if (m->ops->unknown_call != NULL)
			m->ops->unknown_call(tk_linux_name(number, buf,
			    sizeof buf), m->priv);
	}
	if (result == TK_CALL_ENDED)
		return (TK_FAIL);
	if (result == TK_CALL_DONE)
		return (TK_DONE);
	if (m->space.stale) {
		m->broken = true;
		return (tk_end(m, TK_HOST, 0, "the host could not change its "
		    "memory mappings: raise vm.max_map_count"));
	}
	if (result != TK_CALL_RESUMED)
		r->rax = (uint64_t)result;
	return (TK_RESUME);
}
