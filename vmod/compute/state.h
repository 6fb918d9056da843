/*-
 * SPDX-License-Identifier: BSD-2-Clause
 *
 * The file named "state": what a program's storage keeps beyond its own life.
 *
 *	storage writes	a private copy in memory (a memfd)
 *	requests read	the file on the host, NAME.state, beside the program
 *			or in "state_directory"
 *
 * When a call into storage has ended well and has changed the copy, the copy
 * becomes the file: written under another name, synced, renamed over the old
 * one, the directory synced. So whatever happens at whatever moment, the file
 * is what it was before or after one whole call. When the call failed, the copy
 * becomes what the file is; and when that cannot be read, nothing is built on
 * the copy any more: storage boots anew.
 */

#ifndef TKC_STATE_H_INCLUDED
#define TKC_STATE_H_INCLUDED

#include "program.h"

struct tkc_state_file {
	unsigned		magic;
#define TKC_STATE_MAGIC		0x1f8a62d9
	struct tkc_program	*program;
	char			*directory, *name, *temporary;
	struct tk_given_file	copy;
	uint64_t		saved;		/* copy.changes of the file */
	uint64_t		failed_at;	/* ns; 0: it did not */
	/* The file as we left it: another one's was there before. */
	uint64_t		inode;
	/* Its directory was not there: neither was it read, nor written. */
	bool			unread;
};

/* Where the file is; the caller frees. NULL: out of memory. */
char *tkc_state_path(const struct tkc_program *);

/* Reads the file, if there is one. 0 or a reason. */
int tkc_state_open(struct tkc_state_file **, struct tkc_program *,
    uint64_t max_size, struct tkc_error *);
void tkc_state_close(struct tkc_state_file **);

static inline bool
tkc_state_changed(const struct tkc_state_file *s)
{

	return (s->copy.changes != s->saved);
}

/*
 * The copy becomes the file. After a failure, which is told and counted, it is
 * tried again in later calls, not more often than once a second unless
 * `last`.
 */
void tkc_state_save(struct tkc_state_file *, bool last);
/*
 * The file becomes the copy. False, which is told: it could not be read, and
 * the copy is nothing that may become the file.
 */
bool tkc_state_undo(struct tkc_state_file *);

#endif /* TKC_STATE_H_INCLUDED */
