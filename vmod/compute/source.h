/*-
 * SPDX-License-Identifier: BSD-2-Clause
 *
 * Where executables and libraries of programs come from: files, and http(s)
 * URIs, in archives or not.
 *
 *	file.c		reads a file
 *	download.c	fetches a URI, or finds that the copy is still good
 *	cache.c		copies on disk of what was fetched
 *	archive.c	the one file in an archive that is meant
 *	source.c	puts these together
 */

#ifndef TKC_SOURCE_H_INCLUDED
#define TKC_SOURCE_H_INCLUDED

#include "program.h"

#define TKC_MAX_PROGRAM	(1ULL << 30)		/* bytes of an executable */
#define TKC_MAX_LIBRARY	(16 * 1024 * 1024)	/* bytes of JSON */

/* Bytes that are malloc()ed, and free()d by whoever has them. */
struct tkc_blob {
	void			*data;
	size_t			len;
};

/*
 * All of these return 0 or a reason with a sentence in *err; what is its
 * beginning, the program's name for one.
 */
int tkc_file_read(const char *what, const char *path, size_t most,
    struct tkc_blob *, struct tkc_error *);

struct tkc_download {
	const char		*what;
	const char		*uri;		/* without a fragment */
	const char		*sha256;	/* hex, or NULL: any */
	size_t			most;		/* bytes */
	double			seconds;
	bool			(*stop)(void *);	/* in a hurry? */
	void			*priv;
	char			note[600];	/* "" or what to log, */
	bool			warning;	/* as an error */
	/* What came is new: its validators, malloc()ed, for the copy. */
	bool			fresh;
	char			*etag, *last_modified;
	char			got[65];
};
int tkc_download(struct tkc_download *, struct tkc_blob *, struct tkc_error *);
/* It proved good: a copy is kept, when it is new. May set the note. */
void tkc_download_keep(struct tkc_download *, const struct tkc_blob *);
void tkc_download_fini(struct tkc_download *);

/* What is kept; strings are malloc()ed, NULL when unknown. */
struct tkc_cached {
	char			*etag, *last_modified;
	char			sha256[65];
	struct tkc_blob		blob;
};
/* False when there is none that is whole. */
bool tkc_cache_get(const char *uri, size_t most, struct tkc_cached *);
/* Keeps it; NULL, or why not: a sentence. */
const char *tkc_cache_put(const char *uri, const struct tkc_cached *,
    char *why, size_t room);
void tkc_cached_fini(struct tkc_cached *);

/* Lower-case hex and a NUL. False: no memory. */
bool tkc_sha256(const void *, size_t, char hex[65]);
bool tkc_is_sha256(const char *);

/* A tar, compressed or not, or a zip: by its first bytes. */
bool tkc_is_archive(const struct tkc_blob *);
/* The file of that name, or with NULL the first one. */
int tkc_unpack(const char *what, const struct tkc_blob *archive,
    const char *member, size_t most, struct tkc_blob *, struct tkc_error *);

/* source.c: the executable of a program */
int tkc_source_program(struct tkc_program *, struct tkc_blob *,
    struct tkc_error *);
/* Is the setting "uri" one? And can what is local of it be read? */
int tkc_source_check(struct tkc_program *, struct tkc_error *);

#endif /* TKC_SOURCE_H_INCLUDED */
