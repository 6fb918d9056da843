/*-
 * SPDX-License-Identifier: BSD-2-Clause
 *
 * Which files of the host a program may open, and under which names: made from
 * the boot options, kept by the master, read by all its forks.
 */

#ifndef TK_POLICY_H_INCLUDED
#define TK_POLICY_H_INCLUDED

#include "../tinykvm.h"

struct tk_allowed {
	char			*virtual_path;	/* absolute, normalised */
	size_t			len;		/* of it */
	char			*real_path;
	/*
	 * An O_PATH descriptor of the tree's root, or of the directory that
	 * the file `leaf` is in. -1: nothing was there at boot.
	 */
	int			root;
	char			*leaf;
	bool			prefix, writable, symlink;
	bool			holds_others;	/* entries below it */
	struct tk_given_file	*given;		/* no root then */
};

struct tk_policy {
	struct tk_allowed	*allowed;
	unsigned		n;
	/* What the program is told about itself. */
	char			*cmdline;	/* with NULs */
	size_t			cmdline_len;
	/* The host process may not write beyond: RLIMIT_FSIZE. */
	uint64_t		max_file;
};

/* 0 or TK_HOST. The paths are opened now. */
int tk_policy_new(struct tk_policy **, const struct tk_boot_options *,
    struct tk_error *);
void tk_policy_free(struct tk_policy **);

/*
 * Path to an absolute one without ".", ".." and doubled slashes, by its text
 * alone; `to` has TK_PATH_MAX bytes. It starts from base, absolute and
 * normalised, unless it is absolute itself. 0, or an errno value.
 */
int tk_path_normalise(char *to, const char *base, const char *path);

/* The entry that decides about a normalised path: the longest. Or NULL. */
const struct tk_allowed *tk_policy_find(const struct tk_policy *,
    const char *path);
/* Is it a directory on the way to something allowed? */
bool tk_policy_above(const struct tk_policy *, const char *path);

#endif /* TK_POLICY_H_INCLUDED */
