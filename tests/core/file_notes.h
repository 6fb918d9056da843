/*-
 * SPDX-License-Identifier: BSD-2-Clause
 *
 * How the scenarios of file_guest.c note what they find.
 */

#ifndef TESTS_FILE_NOTES_H_INCLUDED
#define TESTS_FILE_NOTES_H_INCLUDED

long note(int line, long value);	/* -1 becomes -errno; the value */
void note_text(int line, const void *, long len);

#define T(x)		note(__LINE__, (long)(x))
#define TEXT(p, n)	note_text(__LINE__, (p), (n))

typedef void scenario(void);
extern scenario regular, names, directories, descriptors, mappings, made_up;
extern scenario pipes, counters, epolls, selects, pairs, servers;

#endif /* TESTS_FILE_NOTES_H_INCLUDED */
