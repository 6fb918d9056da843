/*-
 * SPDX-License-Identifier: BSD-2-Clause
 *
 * The setting "allowed_paths": which files and directories of the host a
 * program may open.
 *
 *	"/srv/data"			a file, or a directory with its tree
 *	{ "real": "/srv/data",		the same under another name
 *	  "virtual": "/data",
 *	  "prefix": true,		with its tree; default: if a directory
 *	  "writable": false,
 *	  "symlink": false }		seen as a symbolic link to "real"
 */

#ifndef TKC_PATHS_H_INCLUDED
#define TKC_PATHS_H_INCLUDED

#include <jansson.h>

#include "compute.h"
#include "tinykvm.h"

struct tkc_paths {
	struct tk_path		*path;		/* strings are its own */
	bool			*tree_unknown;	/* "prefix" was not given */
	unsigned		n;
};

/* 0 or TKC_SETTINGS with an error that names the entry; what: the program. */
int tkc_paths_check(const char *what, const json_t *, struct tkc_error *);

/* A checked list. False without memory. */
bool tkc_paths_read(struct tkc_paths *, const json_t *);
void tkc_paths_fini(struct tkc_paths *);

/* Looks which are directories now, where the settings did not say. */
void tkc_paths_look(struct tkc_paths *);

/* $HOME and $PWD at the start of a path; the caller frees. NULL: no memory. */
char *tkc_expand_path(const char *);

#endif /* TKC_PATHS_H_INCLUDED */
