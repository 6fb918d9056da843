/*-
 * SPDX-License-Identifier: BSD-2-Clause
 *
 * libtinykvm: Linux programs in KVM virtual machines that fork and reset.
 *
 * The public face of the core. It knows nothing of HTTP, JSON or Varnish.
 *
 *	tk_boot()	loads an executable, runs main() until the embedder's
 *			host_call() says it is ready, and freezes it: a master
 *	tk_fork()	a machine that sees the master's memory copy-on-write
 *	tk_call()	one entry into guest code
 *	tk_reset()	puts the fork back to the master's state
 *
 * Threads: a master may be shared by any number of threads; a fork is used by
 * one thread at a time, not always the same one.
 *
 * Errors: functions that return int return 0 or an enum tk_failure and fill in
 * the struct tk_error. Nothing that a guest or an executable can do makes the
 * library abort; assertions are for bugs of the library and its embedder.
 */

#ifndef TINYKVM_H_INCLUDED
#define TINYKVM_H_INCLUDED

#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>

typedef uint64_t tk_gva;	/* guest virtual address */
typedef uint64_t tk_gpa;	/* guest physical address */

enum tk_failure {
	TK_OK = 0,
	TK_BAD_PROGRAM,		/* not an executable that can run here */
	TK_FAULT,		/* the guest did what the CPU forbids */
	TK_MISUSE,		/* the guest misused a host call */
	TK_EXITED,		/* the guest ended itself */
	TK_TIMEOUT,		/* the guest ran longer than allowed */
	TK_OUT_OF_MEMORY,	/* the guest wrote more than allowed */
	TK_HOST			/* KVM, memory or descriptors of this host */
};

/* address: of the fault or misuse in the guest, 0 when there is none. */
struct tk_error {
	enum tk_failure		kind;
	tk_gva			address;
	char			text[500];
};

struct tk_host;
struct tk_master;
struct tk_machine;

/*--------------------------------------------------------------------
 * The host: /dev/kvm, opened once per process.
 */

/* What the self-test found out about this host's KVM. */
struct tk_host_facts {
	int			api_version;
	bool			syscall_lands_in_ring3;
	bool			rip_after_out;	/* at KVM_EXIT_IO */
	bool			guest_tsc_is_host_tsc;
	uint64_t		xcr0;
	char			kernel[64];	/* uname release */
};

/*
 * Opens the host at the first call, later ones return the same. The result
 * lives as long as the process. NULL with a sentence that says how to mend it
 * (device missing, permission, capability missing); then the next call tries
 * again. From then on the process takes no SIGXFSZ whose action is the default.
 */
const struct tk_host *tk_host(struct tk_error *);
const struct tk_host_facts *tk_host_facts(const struct tk_host *);

/* One Linux call as far as it is implemented. */
struct tk_linux_row {
	const char		*name;		/* NULL: ENOSYS */
	const char		*support;	/* "full", "partial", "refused" */
	const char		*note;
};

/* Number by number, until it returns false. */
bool tk_linux_row(unsigned number, struct tk_linux_row *);

/*--------------------------------------------------------------------
 * What the embedder gives a program
 */

enum tk_verdict {
	TK_RESUME,		/* back into the guest */
	TK_DONE,		/* the boot or the call is complete */
	TK_FAIL			/* as tk_fail() said */
};

struct tk_guest_ops {
	/*
	 * The guest executed `out %eax, $0`. Arguments by tk_arg(), results
	 * by tk_set_result(). `priv` is the machine's.
	 */
	enum tk_verdict (*host_call)(struct tk_machine *, uint32_t number,
	    void *priv);
	/* The guest wrote to fd 1 or 2. Not NUL-terminated. */
	void	(*output)(int fd, const char *text, size_t len, void *priv);
	/* A Linux call without an implementation. name: "clone3", "#451" */
	void	(*unknown_call)(const char *name, void *priv);
	/* Each Linux call with its result, as strace does; may be NULL. */
	void	(*trace)(const char *line, void *priv);
	/* What policy denied, in words: "open /etc/shadow: not allowed". */
	void	(*refused)(const char *what, void *priv);
	/*
	 * The boot or the call is about to end with this error, and all stands
	 * still: the moment for tk_debug_attach(). Not for errors of the host,
	 * nor where a debugger is attached already. May be NULL.
	 */
	void	(*failing)(struct tk_machine *, const struct tk_error *,
		    void *priv);
	/*
	 * True: the time of the boot or the call under way is over, and of all
	 * that follow. Asked some hundred times a second, from another thread,
	 * while one is under way; it must not wait. May be NULL.
	 */
	bool	(*stopped)(void *priv);
};

/*
 * A client's connection to a program: to one that listens by itself, or given
 * by tk_connect(). It and what it points at are the embedder's, and stay valid
 * until the call has ended, or until tk_disconnect(); after a reset nothing
 * refers to it.
 */
struct tk_connection {
	/* What the client has sent, in host memory. */
	const uint8_t		*in;
	size_t			in_len;
	/* More could follow: after `in` a read waits, instead of the end. */
	bool			keep_open;
	uint16_t		port;	/* of the listener; 0: the first */
	/*
	 * The guest wrote: a copy, at most 64 KiB. len 0: it has ended its
	 * side, told once. TK_DONE completes the call at once, TK_FAIL ends it
	 * as tk_fail() said.
	 */
	enum tk_verdict		(*output)(void *priv, const uint8_t *data,
				    size_t len);
	/* Bytes that output() takes now, 0: a write waits. NULL: any. */
	const size_t		*room;
	void			*priv;
};

/*
 * A file or directory that a program may open. Nothing else of the host's file
 * system exists for it. Symbolic links below real_path are followed as long as
 * they stay below it. Only regular files and directories can be opened.
 */
struct tk_path {
	const char		*virtual_path;	/* absolute: the program's */
	const char		*real_path;	/* absolute: the host's */
	bool			prefix;		/* a directory, with its tree */
	bool			writable;	/* not only for reading */
	/* The program sees a symbolic link to real_path there. */
	bool			symlink;
	/* Instead of what is at real_path, which then is only a name. */
	struct tk_given_file	*given;
};

/*
 * One open file that a program sees under a name. The embedder's; outlives the
 * master and its forks, which change it only while they run.
 */
struct tk_given_file {
	int			fd;		/* regular, to read and write */
	uint64_t		max_size;	/* bytes, EFBIG beyond */
	bool			exists;		/* else O_CREAT makes it so */
	uint64_t		changes;	/* how often it was changed */
};

struct tk_boot_options {
	const void		*elf;		/* only read during tk_boot() */
	size_t			elf_len;
	const char *const	*argv;		/* NULL-terminated */
	const char *const	*envp;		/* NULL-terminated */
	uint64_t		memory;		/* bytes the program may map */
	uint64_t		request_memory;	/* bytes a call may write */
	uint64_t		input_size;	/* bytes of the input area */
	uint64_t		shared_memory;	/* bytes that all forks share */
	/* Share its memory instead; it outlives this one. */
	const struct tk_master	*shared_of;
	double			seconds;	/* for main() until ready */
	bool			executable_heap; /* W and X memory allowed */
	bool			may_serve;	/* ready at a listening socket */
	/*
	 * Text and read-only data are each fork's own, copied on write, so
	 * that a debugger can set breakpoints. Costs what sharing saves.
	 */
	bool			private_text;
	const struct tk_path	*paths;		/* only read during tk_boot(), */
	unsigned		n_paths;	/* which opens them */
	const char		*cwd;		/* NULL: "/" */
	const struct tk_guest_ops *ops;		/* outlives the master */
	void			*priv;		/* of the booting machine */
	/*
	 * The program waits and is not frozen yet: this may tk_call() or
	 * tk_resume() it, and what that changes is frozen with it. Not 0: the
	 * boot fails with this enum tk_failure. May be NULL; not called for a
	 * program that serves connections.
	 */
	int			(*warm)(struct tk_machine *, void *priv,
				    struct tk_error *);
};

/*--------------------------------------------------------------------
 * Masters
 */

/*
 * Checks an executable without running it: what tk_boot() would refuse is
 * refused here with the same words. has_files: it may open some, so that it
 * may be a dynamic one.
 */
int tk_check_program(const void *elf, size_t len, bool has_files,
    struct tk_error *);

int tk_boot(struct tk_master **, const struct tk_boot_options *,
    struct tk_error *);

/* All its forks must be gone. */
void tk_master_free(struct tk_master **);

/* Bytes of memory that the master itself holds. */
uint64_t tk_master_bytes(const struct tk_master *);

/*--------------------------------------------------------------------
 * Forks
 */

int tk_fork(struct tk_master *, struct tk_machine **, void *priv,
    struct tk_error *);
void tk_fork_free(struct tk_machine **);

#define TK_MAX_STACK_USED	(512 * 1024)

/* One entry. The stack is fresh; stack_used bytes at its top are kept. */
struct tk_call {
	tk_gva			function;
	uint64_t		args[6];	/* RDI RSI RDX RCX R8 R9 */
	uint64_t		stack_used;	/* bytes, <= TK_MAX_STACK_USED */
	double			seconds;	/* > 0 */
};

/* Runs until host_call() says TK_DONE, or fails. */
int tk_call(struct tk_machine *, const struct tk_call *, struct tk_error *);

/*
 * Goes on behind the host call that ended the boot, with this result: same
 * stack, same registers, same thread.
 */
int tk_resume(struct tk_machine *, uint64_t result, double seconds,
    struct tk_error *);

/*
 * Goes on behind the host call that completed the call before, as if it had
 * said TK_RESUME and this result. Since then nothing was reset or kept, and
 * nothing else was called. What the program may write is counted from the last
 * reset. TK_HOST: KVM failed meanwhile, and only a reset is left.
 */
int tk_continue(struct tk_machine *, uint64_t result, double seconds,
    struct tk_error *);

/*
 * Between calls: an open descriptor of the guest for a connection that does not
 * block. >= 0, or -ENFILE, -EMFILE, -ENOMEM.
 */
int tk_connect(struct tk_machine *, struct tk_connection *);
/* Is it still that connection's, or has the guest closed it? */
bool tk_connected(const struct tk_machine *, int fd,
    const struct tk_connection *);
/* Closes it, if the guest has not; nothing refers to the connection then. */
void tk_disconnect(struct tk_machine *, int fd, struct tk_connection *);

/*
 * For a program that serves connections: gives it one, and runs until the
 * connection's output() says TK_DONE. The connection lives as long as the
 * call.
 */
bool tk_serves(const struct tk_master *);
int tk_serve(struct tk_machine *, struct tk_connection *, double seconds,
    struct tk_error *);

/* An entry that only leaves again: the floor of any call, for benchmarks. */
int tk_empty_call(struct tk_machine *, struct tk_error *);

/*
 * Memory and registers as the master's again. Returns the pages copied back.
 * When tk_broken() then says so, the fork must be freed instead of used.
 */
unsigned tk_reset(struct tk_machine *);

/*
 * Instead of a reset: memory, threads and descriptors stay as the call left
 * them, and the next call sees them. The thread that makes calls begins anew
 * at each. False: the call ended on another thread than that, and a next one
 * would take that thread's place in the middle of what it does.
 */
bool tk_keep(struct tk_machine *);

/*
 * After a reset: gives the fork's private pages back to the host. They are
 * made again, at the price of a page fault each, when the next call writes.
 */
void tk_shrink(struct tk_machine *);

/*
 * What happened cannot be put right by a reset: KVM may be in the middle of
 * an emulated access, or the host refused to change a mapping. Rare.
 */
bool tk_broken(const struct tk_machine *);

/* KVM exits since the last reset (or the fork). */
unsigned tk_exits(const struct tk_machine *);
/* Pages that are private to this fork now. */
unsigned tk_working_set(const struct tk_machine *);

/*--------------------------------------------------------------------
 * In a host call
 */

uint64_t tk_arg(const struct tk_machine *, unsigned n);		/* n < 6 */
void tk_set_result(struct tk_machine *, uint64_t rax);
uint64_t tk_result(const struct tk_machine *);
void tk_set_result2(struct tk_machine *, uint64_t rdx);
/* The guest misused a host call: the call ends with TK_MISUSE. */
enum tk_verdict tk_fail(struct tk_machine *, tk_gva address,
    const char *fmt, ...) __attribute__((format(printf, 3, 4)));
bool tk_is_booting(const struct tk_machine *);
/* Of the boot's or the call's time; 0 when it is over. */
double tk_seconds_left(const struct tk_machine *);
/*
 * After a host call that took long: TK_RESUME, or the end of the call with
 * TK_TIMEOUT when its time is over. The watchdog would end it, too, but not at
 * once, and a guest that is quick would still answer.
 */
enum tk_verdict tk_resume_in_time(struct tk_machine *);
/*
 * The call under way may run so long from now on, 0: not at all. From any
 * thread; without effect on calls that begin later.
 */
void tk_set_seconds_left(struct tk_machine *, double);

/*
 * Runs function(args) on `n` more vCPUs, 1 to 15, at the same time as the
 * program goes on, for at most `seconds` or to the end of the call. They have a
 * stack of 512 KiB each, %gs:0 tells their number, and they share the first
 * one's thread-local storage. They compute: system calls and host calls answer
 * -ENOSYS there. args[i] are of vCPU i + 1. 0, or -errno: -EBUSY while others
 * run.
 */
int tk_parallel_start(struct tk_machine *, unsigned n, tk_gva function,
    const uint64_t (*args)[3], double seconds);
/*
 * The same from this host call on, all registers as they are here but for RAX,
 * which is the vCPU's number, and RSP, the end of its part of `stacks`.
 */
int tk_parallel_clone(struct tk_machine *, unsigned n, tk_gva stacks,
    uint64_t stack_size, double seconds);
/* Waits for all. 0, or -1 when one failed, which is told as refused. */
int tk_parallel_wait(struct tk_machine *);

/*--------------------------------------------------------------------
 * Guest memory: every access is checked against what the guest itself may do
 * there; no address that a guest names is used before one of these said yes.
 * They return false when any byte of the range is not the guest's.
 */

bool tk_read(const struct tk_machine *, void *, tk_gva, size_t);
bool tk_write(struct tk_machine *, tk_gva, const void *, size_t);
/*
 * As much of [gva, gva+len) as is contiguous in host memory, from its start;
 * *have is its length, at least 1. For reading only; valid until the next
 * tk_call(), tk_reset() or change of mappings. The guest may change what it
 * points at while it runs: copy first, then check.
 */
const void *tk_view(const struct tk_machine *, tk_gva, size_t len,
    size_t *have);
/*
 * True when all of [gva, gva+len) may be read by the guest, and is not more
 * than all the memory that it could have.
 */
bool tk_readable(const struct tk_machine *, tk_gva, size_t len);
/* True when the guest may execute at gva. */
bool tk_executable(const struct tk_machine *, tk_gva);

/*
 * New memory for the guest, zeroed, to read and write; its own from then on, as
 * if it had called mmap(). 0 when there is none left.
 */
tk_gva tk_alloc(struct tk_machine *, uint64_t len);
/* Gives whole pages of it back: [gva + keep, gva + len), keep rounded up. */
void tk_trim(struct tk_machine *, tk_gva, uint64_t len, uint64_t keep);

/* Where the embedder writes what it gives to a call: its own mapping. */
tk_gva tk_input_area(const struct tk_machine *, uint64_t *size);
/* The memory that all forks and the master share; size 0: there is none. */
tk_gva tk_shared_area(const struct tk_machine *, uint64_t *size);
/* The highest address of the stack that tk_call() uses. */
tk_gva tk_stack_top(const struct tk_machine *);
/* In a host call: the guest's stack pointer, whatever it is worth. */
tk_gva tk_stack_pointer(const struct tk_machine *);

/*--------------------------------------------------------------------
 * Debugging
 *
 * A debugger belongs to one boot or call: attached in host_call(), failing(),
 * or in front of a call, it is gone at the latest when that ends. While it is
 * attached no time limit runs; how much was left runs again when it is gone.
 * Its breakpoints are gone with it, and a reset undoes all else that it
 * changed, except in memory that all forks share.
 *
 * Breakpoints can only be set in a program that booted with private_text. The
 * vCPUs of tk_parallel_start() are no threads: they go on during a stop, and a
 * breakpoint that one of them meets ends that one.
 */

enum tk_debug_reason {
	TK_DEBUG_START,		/* at the call's first instruction */
	TK_DEBUG_CALL,		/* tk_debug_stop() */
	TK_DEBUG_BREAKPOINT,	/* at one of tk_debug_break() */
	TK_DEBUG_STEPPED,
	TK_DEBUG_INTERRUPTED,	/* poll() said so */
	TK_DEBUG_SIGNAL,	/* a fault that the program may handle */
	TK_DEBUG_FAILED		/* the call ends with *error, whatever is said */
};

struct tk_debug_stop {
	enum tk_debug_reason	reason;
	int			signal;		/* as Linux numbers it */
	uint32_t		thread;		/* in; for TK_DEBUG_STEP: out */
	const struct tk_error	*error;		/* of TK_DEBUG_FAILED */
};

enum tk_debug_go {
	TK_DEBUG_RUN,
	TK_DEBUG_STEP,		/* one instruction of stop->thread */
	TK_DEBUG_PASS,		/* as RUN; the signal takes its way */
	TK_DEBUG_DETACH,	/* goes on as if there had been no debugger */
	TK_DEBUG_KILL		/* the call ends with TK_EXITED */
};

enum tk_debug_poll { TK_DEBUG_NOTHING, TK_DEBUG_INTERRUPT, TK_DEBUG_GONE };

enum tk_debug_end { TK_DEBUG_DETACHED, TK_DEBUG_DONE, TK_DEBUG_ENDED };

struct tk_debugger {
	/* All threads stand still until this returns. */
	enum tk_debug_go (*stopped)(struct tk_machine *,
	    struct tk_debug_stop *, void *priv);
	/* Some hundred times a second while the guest runs. */
	enum tk_debug_poll (*poll)(struct tk_machine *, void *priv);
	/* The last that is heard of it: once for each tk_debug_attach(). */
	void (*ended)(struct tk_machine *, enum tk_debug_end, void *priv);
};

/* 0, EBUSY when there is one already, or ENOMEM. */
int tk_debug_attach(struct tk_machine *, const struct tk_debugger *,
    void *priv);
/* Where one may still be attached to a call that was not made. */
void tk_debug_detach(struct tk_machine *);
bool tk_debug_attached(const struct tk_machine *);
/* In a host call, which is complete but for its result: stops behind it. */
enum tk_verdict tk_debug_stop(struct tk_machine *);

/*
 * What follows is for stopped() only. A thread is a number that
 * tk_debug_thread() gives.
 */

/* The general registers as GDB numbers them. */
enum { TK_RAX, TK_RBX, TK_RCX, TK_RDX, TK_RSI, TK_RDI, TK_RBP, TK_RSP,
    TK_R8, TK_R9, TK_R10, TK_R11, TK_R12, TK_R13, TK_R14, TK_R15,
    TK_GENERAL };

struct tk_debug_regs {
	uint64_t		general[TK_GENERAL];
	uint64_t		rip, rflags, fs_base, gs_base;
	/* x87, MXCSR, XMM: Intel SDM vol. 1, 10.5.1 "FXSAVE area". */
	uint8_t			fxsave[512];
};

/* The i-th thread there is, 0 when there are fewer; *what: what it does. */
uint32_t tk_debug_thread(const struct tk_machine *, unsigned i,
    const char **what);
bool tk_debug_read_regs(const struct tk_machine *, uint32_t thread,
    struct tk_debug_regs *);
/* Not of a thread that waits in a system call. */
bool tk_debug_write_regs(struct tk_machine *, uint32_t thread,
    const struct tk_debug_regs *);

/*
 * The guest's user memory, whatever the guest itself may do there. Breakpoints
 * are not seen. False when any byte of the range is not backed by memory, or,
 * for writing, is the master's; what lies in front of it may be written.
 */
bool tk_debug_read(const struct tk_machine *, void *, tk_gva, size_t);
bool tk_debug_write(struct tk_machine *, tk_gva, const void *, size_t);

/* 0, EFAULT when no breakpoint can be there, or ENOSPC: 1024 are set. */
int tk_debug_break(struct tk_machine *, tk_gva);
void tk_debug_unbreak(struct tk_machine *, tk_gva);

/* Where the program was loaded, as its auxiliary vector says. */
struct tk_image {
	tk_gva			entry, phdr;
	tk_gva			base;		/* of its interpreter, or 0 */
	unsigned		phnum;
};
void tk_debug_image(const struct tk_machine *, struct tk_image *);

#endif /* TINYKVM_H_INCLUDED */
