/*-
 * SPDX-License-Identifier: BSD-2-Clause
 *
 * Regular expressions of guests. Pattern and subject are hostile: matching is
 * bounded in steps, memory and time, compilation in length, and neither takes
 * much of the caller's stack.
 *
 * A booting program and each of its forks have a table of handles. What the
 * program compiled while it booted is read-only and used by all forks; what a
 * fork compiles is forgotten at its reset.
 */

#ifndef TKC_GUEST_REGEX_H_INCLUDED
#define TKC_GUEST_REGEX_H_INCLUDED

#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>

#define TKC_MAX_REGEXES		64
#define TKC_MAX_PATTERN		16384		/* bytes */

struct tk_machine;
struct tkc_regexes;

/* base: the booted program's, or NULL. NULL: no memory. */
struct tkc_regexes *tkc_regexes_new(const struct tkc_regexes *base);
void tkc_regexes_free(struct tkc_regexes **);
/* The request is over. */
void tkc_regexes_forget(struct tkc_regexes *);

/*
 * The pattern's handle, 0 to 63. On failure -1, and why: a sentence's end.
 */
int tkc_regexes_compile(struct tkc_regexes *, const char *pattern, size_t len,
    char *why, size_t why_size);
bool tkc_regexes_has(const struct tkc_regexes *, uint64_t handle);
/* The handle is one that exists. */
void tkc_regexes_drop(struct tkc_regexes *, unsigned handle);

/*
 * The largest subject that may be given to it, bytes. What a pattern does
 * between two looks at the time grows with it: a class of many characters has
 * shorter subjects than a word.
 */
size_t tkc_regexes_most(const struct tkc_regexes *, unsigned handle);

/*
 * In a host call of the machine, whose time is the match's: it ends within a
 * tenth of a second or so behind that. The number of captures, at least 1, or
 * an error of PCRE2, which is negative; -1 is no match.
 */
int tkc_regexes_match(struct tkc_regexes *, unsigned handle,
    const char *subject, size_t len, const struct tk_machine *);

/*
 * As regsub() and regsuball() of VCL. *out is malloc()ed and NUL-terminated;
 * its length, -1 when there is no room for it in `most` bytes with the NUL, or
 * an error of PCRE2. Without a match the subject is the result.
 */
int64_t tkc_regexes_subst(struct tkc_regexes *, unsigned handle,
    const char *subject, size_t len, const char *replacement, bool all,
    size_t most, const struct tk_machine *, char **out);

#endif /* TKC_GUEST_REGEX_H_INCLUDED */
