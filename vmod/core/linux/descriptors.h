/*-
 * SPDX-License-Identifier: BSD-2-Clause
 *
 * A guest's descriptors and what they stand for.
 *
 *	descriptor	a number of the guest: struct tk_fd
 *	file		an open file description: what dup() shares. Its
 *			type's functions read, write and tell readiness.
 *	stream		bytes on their way: a pipe, each direction of a pair
 *			of sockets
 *
 * All of it is plain data in one table per machine. The booting machine's table
 * is frozen into the master with its host descriptors; a fork starts from a
 * copy, and a reset puts back exactly the files and streams that were touched.
 *
 * Offsets are kept here: a host descriptor is shared by all forks and is read
 * and written at explicit offsets only.
 */

#ifndef TK_DESCRIPTORS_H_INCLUDED
#define TK_DESCRIPTORS_H_INCLUDED

#include <sys/stat.h>

#include "../tinykvm.h"

#define TK_MAX_FDS	1024		/* as RLIMIT_NOFILE tells guests */
/* Of the host's, per machine: forks of many programs share one process. */
#define TK_MAX_HOST_FDS	256
/* All that pipes, listings, generated and anonymous files hold, per machine. */
#define TK_MAX_BUFFERED	((size_t)16 << 20)
#define TK_PATH_MAX	4096		/* PATH_MAX, with the NUL */
#define TK_STREAM_ROOM	65536		/* of a pipe: pipe(7) */
#define TK_MAX_INCOMING	8
/* What one call of a type's function moves at most. */
#define TK_PIECE	65536

struct tk_machine;
struct tk_policy;
struct tk_connection;
struct tk_file;

struct tk_bytes {
	uint8_t			*data;
	size_t			len, room;
};

struct tk_io {
	uint64_t		offset;	/* of files that have one */
	bool			peek;	/* sockets: leave it there */
};

/*
 * read and write move up to len bytes between a file and host memory, where
 * len is at most TK_PIECE. They never wait: -EAGAIN says that they would. They
 * may return TK_CALL_DONE and TK_CALL_ENDED. All may be NULL.
 */
struct tk_file_type {
	const char		*name;
	mode_t			mode;	/* S_IFMT and permissions */
	dev_t			rdev;
	size_t			record;	/* shorter reads, writes: EINVAL */
	bool			seekable;
	int64_t			(*read)(struct tk_machine *, struct tk_file *,
				    void *, size_t len, const struct tk_io *);
	int64_t			(*write)(struct tk_machine *, struct tk_file *,
				    const void *, size_t len,
				    const struct tk_io *);
	/* POLLIN and so on, now. NULL: always ready, and no epoll. */
	uint32_t		(*poll)(const struct tk_machine *,
				    const struct tk_file *);
	/*
	 * A number that grows whenever something of the mask (POLLIN,
	 * POLLOUT) becomes ready again: the edges of epoll(7).
	 */
	uint64_t		(*edges)(const struct tk_machine *,
				    const struct tk_file *, uint32_t mask);
	/* Over the type's own mode and rdev. 0 or -errno. */
	int64_t			(*stat)(const struct tk_machine *,
				    const struct tk_file *, struct stat *);
	/* The last descriptor is gone. 0, TK_CALL_DONE or TK_CALL_ENDED. */
	int64_t			(*close)(struct tk_machine *,
				    struct tk_file *);
};

enum tk_socket_state {
	TK_SOCKET_NEW,
	TK_SOCKET_BOUND,
	TK_SOCKET_LISTENING,
	TK_SOCKET_PAIR,		/* one of socketpair() */
	TK_SOCKET_ACCEPTED,	/* a struct tk_connection */
	TK_SOCKET_DEAD		/* its connection did not outlive the freeze */
};

struct tk_socket {
	uint8_t			state;
	bool			no_read, no_write;	/* shutdown() */
	uint16_t		family;
	uint16_t		port;
	uint8_t			address[16];
	uint32_t		options;
	uint16_t		rx, tx;		/* streams of a pair */
	uint64_t		wait_ns;	/* SO_RCVTIMEO; 0: for ever */
	struct tk_connection	*connection;
	size_t			taken;		/* of its input; connections */
};

struct tk_timer {
	uint64_t		due;		/* CLOCK_MONOTONIC ns, 0: off */
	uint64_t		interval;
	uint64_t		total;		/* expirations read so far */
	int			clock;
};

struct tk_counter {
	uint64_t		value;
	uint64_t		ins, outs;	/* edges */
	bool			semaphore;
};

struct tk_file {
	const struct tk_file_type *type;	/* NULL: nobody's */
	uint32_t		refs;		/* descriptors */
	uint32_t		flags;		/* O_ACCMODE, O_NONBLOCK ... */
	bool			touched;	/* differs from the master's */
	bool			of_master;	/* host_fd and path are its */
	bool			writable;	/* by policy: not read-only */
	bool			watched;	/* some epoll has it */
	int			host_fd;	/* or -1 */
	struct tk_given_file	*given;		/* what it is, or NULL */
	uint64_t		offset;
	char			*path;		/* as the guest names it */
	struct tk_bytes		data;
	union {
		int			standard;	/* 0, 1, 2 */
		uint16_t		stream;		/* pipes */
		struct tk_counter	counter;
		struct tk_timer		timer;
		struct tk_socket	socket;
	};
};

struct tk_stream {
	bool			used, touched;
	uint16_t		readers, writers;	/* files */
	uint64_t		ins, outs;	/* edges: written to, read */
	size_t			start;		/* of what is in data */
	struct tk_bytes		data;
};

struct tk_fd {
	uint16_t		file;		/* its index + 1, 0: closed */
	uint8_t			cloexec;
};

#define TK_FILE_CHUNK	64
#define TK_FILE_CHUNKS	(TK_MAX_FDS / TK_FILE_CHUNK)

struct tk_files {
	bool			changed;	/* something was touched */
	struct tk_fd		fd[TK_MAX_FDS];
	unsigned		n_fds;		/* none is open from here on */
	struct tk_file		*file[TK_FILE_CHUNKS];
	unsigned		n_files;
	struct tk_stream	*stream[TK_FILE_CHUNKS];
	unsigned		n_streams;
	unsigned		host_fds;	/* not counting the master's */
	size_t			buffered;
	uint32_t		umask;
	uint32_t		last_port;	/* given to bind() to port 0 */
	const struct tk_policy	*policy;	/* the master's */
	char			cwd[TK_PATH_MAX];
	/* Of the host, during one call: gone at the reset. */
	struct {
		struct tk_connection	*connection;
		uint16_t		file;	/* that listens */
	}			incoming[TK_MAX_INCOMING];
	unsigned		n_incoming;
	uint8_t			*scratch;	/* TK_PIECE bytes, made late */
};

/*--------------------------------------------------------------------
 * The table's life. int: 0 or ENOMEM.
 */

/* 0, 1 and 2 are open; cwd is absolute and normalised. */
int tk_files_init(struct tk_files *, const struct tk_policy *, const char *cwd);
/* Moves all that the booting machine has open to the master. */
void tk_files_freeze(struct tk_files *master, struct tk_files *booting);
int tk_files_fork(struct tk_files *, const struct tk_files *master);
/* After an error the fork cannot be used any more. */
int tk_files_reset(struct tk_files *, const struct tk_files *master);
/* Closes what is its own; `master`: it is the master's table. */
void tk_files_fini(struct tk_files *, bool master);

/*--------------------------------------------------------------------
 * Files and descriptors
 */

/* NULL: the descriptor is not open. */
struct tk_file *tk_file_at(const struct tk_machine *, uint64_t fd);
/* The file with this index, and the other way. */
struct tk_file *tk_file_nth(const struct tk_files *, unsigned index);
unsigned tk_file_index(const struct tk_files *, const struct tk_file *);

/* Before any change of a file or stream: the reset puts it back. */
static inline void
tk_file_touch(struct tk_files *fs, struct tk_file *f)
{

	fs->changed = f->touched = true;
}

/* A file that has no descriptor yet; NULL: too many, ENFILE. */
struct tk_file *tk_file_new(struct tk_machine *, const struct tk_file_type *,
    uint32_t flags);
/* Frees a file that never got a descriptor. */
void tk_file_undo(struct tk_machine *, struct tk_file *);
/*
 * Gives it the lowest descriptor from `from` on. The descriptor or -EMFILE;
 * then a file without other descriptors is freed.
 */
int64_t tk_fd_new(struct tk_machine *, struct tk_file *, unsigned from,
    bool cloexec);
/* As what the file's type says when its last descriptor goes. -EBADF. */
int64_t tk_fd_close(struct tk_machine *, uint64_t fd);
/* dup2(): fd becomes another descriptor of the file. */
int64_t tk_fd_replace(struct tk_machine *, struct tk_file *, unsigned fd,
    bool cloexec);

/* What fstat() says, without the type's own words. */
void tk_file_stat_base(const struct tk_machine *, const struct tk_file *,
    struct stat *);
int64_t tk_file_stat(const struct tk_machine *, const struct tk_file *,
    struct stat *);
/* A regular file's new size, within its limit. given may be NULL. */
int64_t tk_regular_truncate(struct tk_machine *, int host_fd,
    struct tk_given_file *given, uint64_t size);

/*--------------------------------------------------------------------
 * Streams; tk_stream_nth() of 0 is a bug. Index + 1, 0 when there are too many.
 */

uint16_t tk_stream_new(struct tk_files *);
struct tk_stream *tk_stream_nth(const struct tk_files *, uint16_t id);
/* A reader or writer less; without any the stream is gone. */
void tk_stream_leave(struct tk_machine *, uint16_t id, bool writer);
/* As a type's functions. */
int64_t tk_stream_read(struct tk_machine *, uint16_t id, void *, size_t,
    bool peek);
int64_t tk_stream_write(struct tk_machine *, uint16_t id, const void *,
    size_t);
uint32_t tk_stream_poll_in(const struct tk_files *, uint16_t id);
uint32_t tk_stream_poll_out(const struct tk_files *, uint16_t id);

/*--------------------------------------------------------------------
 * Bytes, within TK_MAX_BUFFERED. false: too many, or no memory.
 */

bool tk_bytes_room(struct tk_files *, struct tk_bytes *, size_t room);
/*
 * The same contents; room is made for no more than these, so that what a master
 * holds fits into its forks, in whatever order it grew there.
 */
bool tk_bytes_copy(struct tk_files *, struct tk_bytes *,
    const struct tk_bytes *from);
bool tk_bytes_add(struct tk_files *, struct tk_bytes *, const void *, size_t);
bool tk_bytes_printf(struct tk_files *, struct tk_bytes *, const char *fmt, ...)
    __attribute__((format(printf, 3, 4)));
void tk_bytes_free(struct tk_files *, struct tk_bytes *);

/* The scratch buffer; NULL without memory. */
uint8_t *tk_scratch(struct tk_machine *);

/*--------------------------------------------------------------------*/

/*
 * When the next timer of a descriptor expires, CLOCK_MONOTONIC ns; UINT64_MAX
 * without any. Always in the future. Who waits in tk_block() looks again then.
 */
uint64_t tk_files_next_due(const struct tk_machine *);
/* The program was frozen for so long: timers are due later. */
void tk_files_thaw(struct tk_machine *, uint64_t ns);

extern const struct tk_file_type tk_type_standard, tk_type_regular,
    tk_type_directory, tk_type_memory, tk_type_null, tk_type_zero,
    tk_type_random, tk_type_full, tk_type_pipe_in, tk_type_pipe_out,
    tk_type_eventfd, tk_type_timerfd, tk_type_epoll, tk_type_socket;

#endif /* TK_DESCRIPTORS_H_INCLUDED */
