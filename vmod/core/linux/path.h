/*-
 * SPDX-License-Identifier: BSD-2-Clause
 *
 * Names of files: from a guest's string to what it may stand for.
 *
 * A program's file system consists of what its policy allows, of the generated
 * files in synthetic.c, and of the directories on the way to them. Nothing else
 * exists: looking up another name is ENOENT, and making one EACCES. Each
 * refusal is told to the embedder.
 *
 * Dots are taken from the text of a name, before any link is looked at. A
 * symbolic link of the host means what it would in a chroot: its target is a
 * name of the program's file system, where policy decides again.
 */

#ifndef TK_PATH_H_INCLUDED
#define TK_PATH_H_INCLUDED

#include "descriptors.h"
#include "policy.h"
#include "synthetic.h"

#define TK_PROGRAM_PATH	"/program"	/* what /proc/self/exe says */

enum tk_name_kind {
	TK_NAME_NONE,
	TK_NAME_HOST,			/* policy allows it */
	TK_NAME_DIRECTORY,		/* on the way to something */
	TK_NAME_SYNTHETIC,
	TK_NAME_DESCRIPTOR		/* /proc/self/fd/N */
};

struct tk_name {
	char			path[TK_PATH_MAX];	/* normalised */
	enum tk_name_kind	kind;
	bool			directory;	/* ended in a slash */
	const struct tk_allowed	*allowed;
	const char		*rest;		/* below allowed, or its leaf */
	const struct tk_synthetic *synthetic;
	unsigned		fd;
};

/* A NUL-terminated string of the guest. 0, -EFAULT, -ENAMETOOLONG. */
int64_t tk_read_string(const struct tk_machine *, char *, size_t, tk_gva);

/*
 * The name at gva, relative to dirfd (a descriptor, or AT_FDCWD). follow: of
 * links that lead out of what is allowed, the last component too. 0 or a
 * negated errno value; -ENOENT for an empty name.
 */
int64_t tk_name_read(const struct tk_machine *, uint64_t dirfd, tk_gva,
    bool follow, struct tk_name *);
/* For a string of the host, relative to base; links are not looked at. */
int64_t tk_name_of(const struct tk_machine *, const char *base, const char *,
    struct tk_name *);

/* Tells the embedder "verb path: why"; unprintable characters are hidden. */
void tk_refused_name(struct tk_machine *, const char *verb, const char *path,
    const char *why);
/* The same, for names that exist nowhere; its result is -ENOENT. */
int64_t tk_no_such_name(struct tk_machine *, const char *verb,
    const struct tk_name *);

/*
 * On the host, beneath what policy allows. All return a descriptor or 0, or a
 * negated errno value; what was refused is told to the embedder with the verb.
 */

/* Goes where links lead that leave what is allowed. 0 or -errno. */
int64_t tk_host_settle(const struct tk_machine *, struct tk_name *,
    bool follow);
/* O_PATH; follow: the last component may be a symbolic link. */
int tk_host_find(struct tk_machine *, const char *verb, const struct tk_name *,
    bool follow, struct stat *);
/* A regular file or a directory, with flags of open(2). */
int tk_host_open(struct tk_machine *, const struct tk_name *, uint32_t flags,
    mode_t mode, struct stat *);
/*
 * The directory that a name is in, for changes there; its last component goes
 * to *leaf, which points into the name. -EROFS where policy says read-only.
 */
int tk_host_parent(struct tk_machine *, const char *verb,
    const struct tk_name *, const char **leaf);

/*
 * Reads a whole regular file of at most max bytes, named as the guest names it.
 * *image is malloc()ed. 0 or an errno value.
 */
int tk_host_read(struct tk_machine *, const char *path, size_t max,
    void **image, size_t *len);

#endif /* TK_PATH_H_INCLUDED */
