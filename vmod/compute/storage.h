/*-
 * SPDX-License-Identifier: BSD-2-Clause
 *
 * Storage: the one long-lived virtual machine of a program, never reset, into
 * which requests call one at a time. Private to the compute layer.
 *
 *	request VM ---- storage_callv() ----.
 *	request VM ---- storage_callv() -----+--> queue --> function in storage
 *	tasks, timers ---- their thread ----'    (first come, first served)
 *
 * It runs on the thread of whoever calls. Who holds it has it to himself: the
 * machine, the call under way and the state file. The lock guards the queue and
 * the tasks, for an instant only; the program's lock may be held around it, and
 * is never taken under it.
 *
 *	tkc_storage	belongs to one instance of the program, from its boot
 *			until the last fork of the instance is gone
 */

#ifndef TKC_STORAGE_H_INCLUDED
#define TKC_STORAGE_H_INCLUDED

#include "program.h"

#define TKC_MAX_BUFFERS	64		/* of one call */
#define TKC_MAX_ALLOWED	256		/* functions in the allow-list */
#define TKC_MAX_TIMERS	15
#define TKC_MAX_TASKS	64		/* that wait for their turn */
#define TKC_MAX_TASK	(2 << 20)	/* bytes of data of one, */
#define TKC_MAX_TASK_BYTES (16 << 20)	/* and of all that wait */
#define TKC_REST_SECONDS 1.0		/* behind storage_return(), at most */

struct tkc_state_file;
struct tkc_task;
struct tkc_waiter;

enum tkc_call_kind {
	TKC_CALL,		/* of a request: the result is copied to it */
	TKC_TASK,		/* nobody waits for a result */
	TKC_SERIALISE,		/* the result is kept here, in the host */
	TKC_RESTORE		/* storage_return() says where to copy it */
};

/* What is done in storage for somebody, while it is done. */
struct tkc_storage_call {
	enum tkc_call_kind	kind;
	struct tk_call		call;
	/* TKC_CALL */
	struct tk_machine	*caller;
	tk_gva			result;
	uint64_t		result_size;
	/* TKC_SERIALISE, malloc()ed; TKC_RESTORE, somebody else's */
	void			*data;
	uint64_t		len;
	/* What became of it. */
	bool			answered;
	bool			bad_result;	/* is not the caller's memory */
	uint64_t		bytes;		/* of the result */
};

struct tkc_storage {
	unsigned		magic;
#define TKC_STORAGE_MAGIC	0x6e1d0c35
	struct tkc_instance	*instance;
	/*
	 * Its regular expressions and connections, where a booting program has
	 * them: apart from those that requests use.
	 */
	struct tkc_instance	own;
	struct tk_master	*master;
	struct tk_machine	*vm;		/* NULL while it boots */
	tk_gva			handler[TKC_HANDLERS];
	tk_gva			*allowed;	/* none: all functions are */
	unsigned		n_allowed;
	double			seconds;	/* max_storage_time */
	struct tkc_state_file	*state;
	struct tkc_storage_call	*call;		/* under way */
	char			line[TKC_LOG_LINE];
	size_t			line_len;

	pthread_mutex_t		lock;
	bool			busy;		/* somebody holds it */
	bool			closed;		/* nobody gets it any more */
	/* Program's lock: in its loud_storages; saves no state any more. */
	bool			counted, at_rest;
	struct tkc_waiter	*first, **last;
	_Atomic unsigned	n_waiting;
	_Atomic bool		dead;		/* its machine is broken, */
						/* or its state unknown */

	/* Tasks, by their thread: tasks.c */
	pthread_cond_t		work;
	pthread_t		thread;
	bool			has_thread, stop, thread_ended;
	struct tkc_task		*tasks;
	unsigned		n_tasks;	/* without timers */
	_Atomic unsigned	n_timers;
	size_t			task_bytes;
	uint64_t		running;	/* the timer's id, or 0 */
	uint64_t		next_id;
};

/*--------------------------------------------------------------------
 * storage.c
 */

/*
 * Boots in->storage, before the instance's own master. Waits until an earlier
 * storage of the program has come to rest, so that its state file is final.
 */
int tkc_storage_boot(struct tkc_instance *, const void *image, size_t len,
    struct tkc_error *);
/* The instance is gone; no call is under way but perhaps a task. */
void tkc_storage_free(struct tkc_storage **);

/*
 * The instance serves no longer: who waits is turned away, tasks end, state is
 * not saved by anybody who begins now. Program's lock held.
 */
void tkc_storage_retire(struct tkc_storage *);

/*
 * Takes storage, waiting for at most so long. False: in vain, or it is closed.
 * *waited in ns.
 */
bool tkc_storage_take(struct tkc_storage *, double seconds,
    uint64_t *waited);
/* The next in line has it. */
void tkc_storage_give(struct tkc_storage *);
/* Whoever wanted to take it is turned away, now and later. */
void tkc_storage_close(struct tkc_storage *);

/*
 * Calls into storage, which the caller holds, and saves the state that it
 * changed. 0, or a reason: then the state is as before.
 */
int tkc_storage_run(struct tkc_storage *, struct tkc_storage_call *,
    double seconds, struct tkc_error *);
/*
 * After giving back: a storage that cannot go on takes the program's instance
 * with it; the next request boots both anew.
 */
void tkc_storage_mourn(struct tkc_storage *);

bool tkc_storage_allows(const struct tkc_storage *, tk_gva function);

/*--------------------------------------------------------------------
 * tasks.c
 */

/* Starts the thread. 0 or TKC_ENVIRONMENT. */
int tkc_tasks_start(struct tkc_storage *, struct tkc_error *);
/* No further task begins. Storage's lock held. */
void tkc_tasks_stop(struct tkc_storage *);
/*
 * Waits for the thread's end; a task under way is ended when the instance's
 * time is over: tkc_instance_stopped().
 */
void tkc_tasks_join(struct tkc_storage *);
/*
 * Another one; data is malloc()ed and becomes its own in any case. Times in
 * ms. 0, the id of a timer, or -1: too many.
 */
int64_t tkc_tasks_add(struct tkc_storage *, tk_gva function, void *data,
    size_t len, uint64_t start, uint64_t period);
/* 1: it is no more. */
int tkc_tasks_remove(struct tkc_storage *, uint64_t id);

/*--------------------------------------------------------------------
 * api_storage.c: what guests ask
 */

/* In storage itself, also while it boots. */
enum tk_verdict tkc_api_in_storage(struct tk_machine *, uint32_t number,
    struct tkc_storage *);

#endif /* TKC_STORAGE_H_INCLUDED */
