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

struct row {
	tk_linux_fn		*make;
	const char		*arguments;	/* tk_linux_arguments() */
	enum tk_support		support;
	const char		*note;		/* how far, or the error number */
};

#define ROW(name, function, arguments, support, note)			\
	[__NR_##name] = { function, arguments, TK_CALL_##support, note }

static const struct row calls[MAX_CALL] = {
	/* Memory */
	ROW(brk, tk_sys_brk, "x", FULL, ""),
	ROW(mmap, tk_sys_mmap, "xuxxdx", PARTIAL,
	    "a copy of what is in the file then, MAP_SHARED only to read; "
	    "other memory with X only with executable_heap; shared between "
	    "the threads of the VM alone"),
	ROW(munmap, tk_sys_munmap, "xu", FULL, ""),
	ROW(mremap, tk_sys_mremap, "xuuxx", PARTIAL,
	    "not MREMAP_FIXED, MREMAP_DONTUNMAP"),
	ROW(mprotect, tk_sys_mprotect, "xux", PARTIAL,
	    "W with X, and X after W, only with executable_heap"),
	ROW(madvise, tk_sys_madvise, "xud", PARTIAL,
	    "DONTNEED zeroes; hints are taken and ignored"),
	/* Files */
	ROW(read, tk_sys_read, "dxu", FULL, ""),
	ROW(readv, tk_sys_readv, "dxd", FULL, ""),
	ROW(write, tk_sys_write, "dxu", FULL, ""),
	ROW(writev, tk_sys_writev, "dxd", FULL, ""),
	ROW(pread64, tk_sys_pread64, "dxud", FULL, ""),
	ROW(pwrite64, tk_sys_pwrite64, "dxud", FULL, ""),
	ROW(preadv, tk_sys_preadv, "dxdu", FULL, ""),
	ROW(pwritev, tk_sys_pwritev, "dxdu", FULL, ""),
	ROW(preadv2, tk_sys_preadv2, "dxduxx", PARTIAL, "no flags"),
	ROW(pwritev2, tk_sys_pwritev2, "dxduxx", PARTIAL, "no flags"),
	ROW(sendfile, tk_sys_sendfile, "ddxu", PARTIAL,
	    "not into files, EINVAL: programs read and write instead"),
	ROW(close, tk_sys_close, "d", FULL, ""),
	ROW(close_range, tk_sys_close_range, "uux", FULL, ""),
	ROW(dup, tk_sys_dup, "d", FULL, ""),
	ROW(dup2, tk_sys_dup2, "dd", FULL, ""),
	ROW(dup3, tk_sys_dup3, "ddx", FULL, ""),
	ROW(fcntl, tk_sys_fcntl, "ddx", PARTIAL,
	    "locks of writable files that a request opened hold against "
	    "other requests, with EDEADLK in place of waiting; all else "
	    "is granted; no signals, leases, seals"),
	ROW(ioctl, tk_sys_ioctl, "dxx", PARTIAL,
	    "FIONBIO, FIONREAD, FIOCLEX, FIONCLEX; nothing is a terminal"),
	ROW(lseek, tk_sys_lseek, "ddd", FULL, ""),
	ROW(fsync, tk_sys_fsync, "d", FULL, ""),
	ROW(fdatasync, tk_sys_fsync, "d", FULL, ""),
	ROW(ftruncate, tk_sys_ftruncate, "du", FULL, ""),
	ROW(fadvise64, tk_sys_fadvise64, "duud", PARTIAL, "ignored"),
	ROW(fallocate, tk_sys_fallocate, "dxuu", REFUSED,
	    "EOPNOTSUPP: the libc writes the bytes itself"),
	ROW(flock, tk_sys_flock, "dd", PARTIAL,
	    "as locks of fcntl, with ENOLCK in place of waiting"),
	ROW(umask, tk_sys_umask, "o", FULL, ""),
	ROW(stat, tk_sys_stat, "sx", FULL, ""),
	ROW(lstat, tk_sys_lstat, "sx", FULL, ""),
	ROW(fstat, tk_sys_fstat, "dx", FULL, ""),
	ROW(newfstatat, tk_sys_newfstatat, "dsxx", FULL, ""),
	ROW(statx, tk_sys_statx, "dsxxx", PARTIAL, "the fields of stat"),
	ROW(access, tk_sys_access, "so", FULL, ""),
	ROW(faccessat, tk_sys_faccessat, "dso", FULL, ""),
	ROW(faccessat2, tk_sys_faccessat2, "dsox", FULL, ""),
	ROW(readlink, tk_sys_readlink, "sxu", FULL, ""),
	ROW(readlinkat, tk_sys_readlinkat, "dsxu", FULL, ""),
	ROW(getcwd, tk_sys_getcwd, "xu", FULL, ""),
	ROW(chdir, tk_sys_chdir, "s", FULL, ""),
	ROW(fchdir, tk_sys_fchdir, "d", FULL, ""),
	ROW(statfs, tk_sys_statfs, "sx", PARTIAL, "plausible figures"),
	ROW(fstatfs, tk_sys_fstatfs, "dx", PARTIAL, "plausible figures"),
	ROW(getdents64, tk_sys_getdents64, "dxu", FULL, ""),
	ROW(open, tk_sys_open, "sxo", FULL, ""),
	ROW(openat, tk_sys_openat, "dsxo", FULL, ""),
	ROW(creat, tk_sys_creat, "so", FULL, ""),
	ROW(memfd_create, tk_sys_memfd_create, "sx", PARTIAL, "no seals"),
	ROW(mkdir, tk_sys_mkdir, "so", FULL, ""),
	ROW(mkdirat, tk_sys_mkdirat, "dso", FULL, ""),
	ROW(rmdir, tk_sys_rmdir, "s", FULL, ""),
	ROW(unlink, tk_sys_unlink, "s", FULL, ""),
	ROW(unlinkat, tk_sys_unlinkat, "dsx", FULL, ""),
	ROW(rename, tk_sys_rename, "ss", FULL, ""),
	ROW(renameat, tk_sys_renameat, "dsds", FULL, ""),
	ROW(renameat2, tk_sys_renameat2, "dsdsx", PARTIAL,
	    "no RENAME_WHITEOUT"),
	ROW(truncate, tk_sys_truncate, "su", FULL, ""),
	ROW(chmod, tk_sys_chmod, "so", PARTIAL,
	    "taken and ignored where writable"),
	ROW(fchmod, tk_sys_fchmod, "do", PARTIAL,
	    "taken and ignored where writable"),
	ROW(fchmodat, tk_sys_fchmodat, "dso", PARTIAL,
	    "taken and ignored where writable"),
	ROW(chown, tk_sys_chmod, "sdd", PARTIAL,
	    "taken and ignored where writable"),
	ROW(lchown, tk_sys_chmod, "sdd", PARTIAL,
	    "taken and ignored where writable"),
	ROW(fchown, tk_sys_fchmod, "ddd", PARTIAL,
	    "taken and ignored where writable"),
	ROW(fchownat, tk_sys_fchmodat, "dsddx", PARTIAL,
	    "taken and ignored where writable"),
	ROW(utimensat, tk_sys_fchmodat, "dsxx", PARTIAL,
	    "taken and ignored where writable"),
	ROW(link, tk_sys_not_allowed, "ss", REFUSED, "EACCES"),
	ROW(linkat, tk_sys_not_allowed, "dsdsx", REFUSED, "EACCES"),
	ROW(symlink, tk_sys_not_allowed, "ss", REFUSED, "EACCES"),
	ROW(symlinkat, tk_sys_not_allowed, "sds", REFUSED, "EACCES"),
	ROW(mknod, tk_sys_not_allowed, "sox", REFUSED, "EACCES"),
	ROW(mknodat, tk_sys_not_allowed, "dsox", REFUSED, "EACCES"),
	ROW(splice, tk_sys_invalid, "dxdxux", REFUSED, "EINVAL"),
	ROW(tee, tk_sys_invalid, "ddux", REFUSED, "EINVAL"),
	ROW(copy_file_range, tk_sys_invalid, "dxdxux", REFUSED,
	    "EINVAL: programs read and write instead"),
	ROW(getxattr, tk_sys_unsupported, "ssxu", REFUSED, "EOPNOTSUPP"),
	ROW(lgetxattr, tk_sys_unsupported, "ssxu", REFUSED, "EOPNOTSUPP"),
	ROW(fgetxattr, tk_sys_unsupported, "dsxu", REFUSED, "EOPNOTSUPP"),
	ROW(listxattr, tk_sys_unsupported, "sxu", REFUSED, "EOPNOTSUPP"),
	ROW(llistxattr, tk_sys_unsupported, "sxu", REFUSED, "EOPNOTSUPP"),
	ROW(flistxattr, tk_sys_unsupported, "dxu", REFUSED, "EOPNOTSUPP"),
	ROW(setxattr, tk_sys_unsupported, "ssxux", REFUSED, "EOPNOTSUPP"),
	ROW(lsetxattr, tk_sys_unsupported, "ssxux", REFUSED, "EOPNOTSUPP"),
	ROW(fsetxattr, tk_sys_unsupported, "dsxux", REFUSED, "EOPNOTSUPP"),
	ROW(inotify_init1, tk_sys_absent, "x", REFUSED, "ENOSYS"),
	ROW(signalfd4, tk_sys_absent, "dxux", REFUSED, "ENOSYS"),
	ROW(openat2, tk_sys_absent, "dsxu", REFUSED, "ENOSYS"),
	/* Descriptors that tell events */
	ROW(pipe, tk_sys_pipe, "x", FULL, ""),
	ROW(pipe2, tk_sys_pipe2, "xx", PARTIAL, "no O_DIRECT"),
	ROW(eventfd, tk_sys_eventfd, "u", FULL, ""),
	ROW(eventfd2, tk_sys_eventfd2, "ux", FULL, ""),
	ROW(timerfd_create, tk_sys_timerfd_create, "dx", PARTIAL,
	    "not the alarm clocks"),
	ROW(timerfd_settime, tk_sys_timerfd_settime, "dxxx", PARTIAL,
	    "a wall clock that is set changes nothing"),
	ROW(timerfd_gettime, tk_sys_timerfd_gettime, "dx", FULL, ""),
	ROW(epoll_create, tk_sys_epoll_create, "d", FULL, ""),
	ROW(epoll_create1, tk_sys_epoll_create1, "x", FULL, ""),
	ROW(epoll_ctl, tk_sys_epoll_ctl, "dddx", PARTIAL,
	    "no EPOLLEXCLUSIVE, no nesting"),
	ROW(epoll_wait, tk_sys_epoll_wait, "dxdd", FULL, ""),
	ROW(epoll_pwait, tk_sys_epoll_pwait, "dxddx", PARTIAL,
	    "the mask is ignored"),
	ROW(epoll_pwait2, tk_sys_epoll_pwait2, "dxdxx", PARTIAL,
	    "the mask is ignored"),
	ROW(poll, tk_sys_poll, "xud", FULL, ""),
	ROW(ppoll, tk_sys_ppoll, "xuxx", PARTIAL, "the mask is ignored"),
	ROW(select, tk_sys_select, "dxxxx", FULL, ""),
	ROW(pselect6, tk_sys_pselect6, "dxxxxx", PARTIAL,
	    "the mask is ignored"),
	/* Sockets, virtual ones */
	ROW(socket, tk_sys_socket, "ddd", PARTIAL,
	    "streams of AF_INET, AF_INET6; they reach no network"),
	ROW(socketpair, tk_sys_socketpair, "dddx", PARTIAL,
	    "streams of AF_UNIX"),
	ROW(bind, tk_sys_bind, "dxu", PARTIAL,
	    "any port; nobody outside sees it"),
	ROW(listen, tk_sys_listen, "dd", PARTIAL, "requests arrive there"),
	ROW(accept, tk_sys_accept, "dxx", FULL, ""),
	ROW(accept4, tk_sys_accept4, "dxxx", FULL, ""),
	ROW(connect, tk_sys_connect, "dxu", REFUSED, "ECONNREFUSED"),
	ROW(getsockname, tk_sys_getsockname, "dxx", FULL, ""),
	ROW(getpeername, tk_sys_getpeername, "dxx", FULL, ""),
	ROW(shutdown, tk_sys_shutdown, "dd", FULL, ""),
	ROW(recvfrom, tk_sys_recvfrom, "dxuxxx", PARTIAL,
	    "MSG_PEEK, MSG_DONTWAIT, MSG_WAITALL"),
	ROW(recvmsg, tk_sys_recvmsg, "dxx", PARTIAL, "no control messages"),
	ROW(sendto, tk_sys_sendto, "dxuxxu", FULL, ""),
	ROW(sendmsg, tk_sys_sendmsg, "dxx", PARTIAL, "no control messages"),
	ROW(setsockopt, tk_sys_setsockopt, "dddxu", PARTIAL,
	    "the usual ones are taken"),
	ROW(getsockopt, tk_sys_getsockopt, "dddxx", PARTIAL, "the usual ones"),
	/* Time: mostly answered by the vDSO */
	ROW(clock_gettime, tk_sys_clock_gettime, "dx", FULL,
	    "mostly answered by the vDSO, without an exit"),
	ROW(clock_getres, tk_sys_clock_getres, "dx", FULL, "as clock_gettime"),
	ROW(gettimeofday, tk_sys_gettimeofday, "xx", FULL, "as clock_gettime"),
	ROW(time, tk_sys_time, "x", FULL, "as clock_gettime"),
	ROW(nanosleep, tk_sys_nanosleep, "xx", PARTIAL,
	    "the rest of an interrupted sleep is not told"),
	ROW(clock_nanosleep, tk_sys_clock_nanosleep, "ddxx", PARTIAL,
	    "as nanosleep"),
	/* The process */
	ROW(exit, tk_sys_exit, "d", FULL, ""),
	ROW(exit_group, tk_sys_exit_group, "d", FULL, "ends the request"),
	ROW(getpid, tk_sys_one, "", FULL, "1"),
	ROW(gettid, tk_sys_gettid, "", FULL, ""),
	ROW(getppid, tk_sys_zero, "", FULL, "0"),
	ROW(getuid, tk_sys_zero, "", FULL, "0"),
	ROW(geteuid, tk_sys_zero, "", FULL, "0"),
	ROW(getgid, tk_sys_zero, "", FULL, "0"),
	ROW(getegid, tk_sys_zero, "", FULL, "0"),
	ROW(arch_prctl, tk_sys_arch_prctl, "xx", PARTIAL, "FS and GS"),
	ROW(set_tid_address, tk_sys_set_tid_address, "x", FULL, ""),
	ROW(set_robust_list, tk_sys_zero, "xu", PARTIAL,
	    "taken; robust locks of ended threads stay locked"),
	ROW(uname, tk_sys_uname, "x", FULL, ""),
	ROW(sysinfo, tk_sys_sysinfo, "x", PARTIAL, "the memory of the VM"),
	ROW(prlimit64, tk_sys_prlimit64, "ddxx", PARTIAL,
	    "limits are read; setting them is EPERM"),
	ROW(getrlimit, tk_sys_getrlimit, "dx", FULL, ""),
	ROW(getrandom, tk_sys_getrandom, "xux", FULL,
	    "fresh in every request"),
	ROW(sched_yield, tk_sys_sched_yield, "", FULL, ""),
	ROW(sched_getaffinity, tk_sys_sched_getaffinity, "dux", FULL,
	    "one CPU"),
	ROW(getcpu, tk_sys_getcpu, "xxx", FULL, "CPU 0"),
	ROW(futex, tk_sys_futex, "xddxxu", PARTIAL, "no priority inheritance"),
	ROW(times, tk_sys_times, "x", PARTIAL, "no children"),
	ROW(getrusage, tk_sys_getrusage, "dx", PARTIAL,
	    "times and peak memory"),
	ROW(prctl, tk_sys_prctl, "dxxxx", PARTIAL, "names and hints"),
	ROW(getpgid, tk_sys_one, "d", FULL, "1"),
	ROW(getpgrp, tk_sys_one, "", FULL, "1"),
	ROW(getsid, tk_sys_one, "d", FULL, "1"),
	ROW(sched_getparam, tk_sys_sched_getparam, "dx", FULL, ""),
	ROW(sched_getscheduler, tk_sys_zero, "d", FULL, "SCHED_OTHER"),
	ROW(sched_setaffinity, tk_sys_zero, "dux", PARTIAL,
	    "taken: there is one CPU"),
	ROW(getpriority, tk_sys_get_priority, "dd", FULL, ""),
	ROW(setpriority, tk_sys_zero, "ddd", PARTIAL, "taken and ignored"),
	ROW(membarrier, tk_sys_membarrier, "dxd", FULL, "one vCPU"),
	ROW(get_robust_list, tk_sys_absent, "dxx", REFUSED, "ENOSYS"),
	/* Every libc goes on without these. */
	ROW(rseq, tk_sys_absent, "xuxx", REFUSED,
	    "ENOSYS: every libc goes on without"),
	ROW(clone3, tk_sys_clone3, "xu", PARTIAL, "threads"),
	ROW(clone, tk_sys_clone, "xxxxx", PARTIAL, "threads"),
	ROW(fork, tk_sys_no_process, "", REFUSED, "ENOSYS"),
	ROW(vfork, tk_sys_no_process, "", REFUSED, "ENOSYS"),
	ROW(execve, tk_sys_no_exec, "sxx", REFUSED, "EACCES"),
	ROW(execveat, tk_sys_no_exec, "dsxxx", REFUSED, "EACCES"),
	/* Signals */
	ROW(rt_sigaction, tk_sys_rt_sigaction, "dxxu", FULL, ""),
	ROW(rt_sigprocmask, tk_sys_rt_sigprocmask, "dxxu", FULL, ""),
	ROW(rt_sigreturn, tk_sys_rt_sigreturn, "", FULL, ""),
	ROW(rt_sigpending, tk_sys_rt_sigpending, "xu", FULL, ""),
	ROW(pause, tk_sys_pause, "", FULL, ""),
	ROW(rt_sigsuspend, tk_sys_rt_sigsuspend, "xu", FULL, ""),
	ROW(rt_sigtimedwait, tk_sys_rt_sigtimedwait, "xxxu", FULL, ""),
	ROW(sigaltstack, tk_sys_sigaltstack, "xx", FULL, ""),
	ROW(kill, tk_sys_kill, "dd", PARTIAL, "the process itself"),
	ROW(tkill, tk_sys_tkill, "dd", FULL, ""),
	ROW(tgkill, tk_sys_tgkill, "ddd", FULL, ""),
};

const char *
tk_linux_name(uint64_t number, char *buf, size_t size)
{

	if (number < MAX_CALL && names[number] != NULL)
		return (names[number]);
	(void)snprintf(buf, size, "#%llu", (unsigned long long)number);
	return (buf);
}

const char *
tk_linux_arguments(uint64_t number)
{

	if (number < MAX_CALL && calls[number].make != NULL)
		return (calls[number].arguments);
	return ("xxxxxx");
}

bool
tk_linux_row(unsigned number, struct tk_linux_row *row)
{
	static const char *const words[] = { "full", "partial", "refused" };

	if (number >= MAX_CALL)
		return (false);
	row->name = calls[number].make != NULL ? names[number] : NULL;
	if (row->name != NULL) {
		row->support = words[calls[number].support];
		row->note = calls[number].note;
	}
	return (true);
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
	int64_t result;

	arg[0] = r->rdi;
	arg[1] = r->rsi;
	arg[2] = r->rdx;
	arg[3] = r->r10;
	arg[4] = r->r8;
	arg[5] = r->r9;
	if (number < MAX_CALL && calls[number].make != NULL)
		result = calls[number].make(m, arg);
	else {
		result = -ENOSYS;
		if (m->ops->unknown_call != NULL)
			m->ops->unknown_call(tk_linux_name(number, buf,
			    sizeof buf), m->priv);
	}
	if (__builtin_expect(m->ops->trace != NULL, 0))
		tk_trace_call(m, number, arg, result);
	return (result);
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
	m->fault_at = 0;
	tk_thaw(m);
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
