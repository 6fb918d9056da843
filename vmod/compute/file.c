/*-
 * SPDX-License-Identifier: BSD-2-Clause
 */

#include <errno.h>
#include <fcntl.h>
#include <stdlib.h>
#include <string.h>
#include <sys/stat.h>
#include <unistd.h>

#include "source.h"

/*
 * Read, not mapped: a file that shrinks while it is parsed must not become a
 * SIGBUS.
 */
static bool
read_all(int fd, struct tkc_blob *b, size_t size)
{
	ssize_t n;

	while (b->len < size) {
		n = read(fd, (char *)b->data + b->len, size - b->len);
		if (n <= 0)
			return (false);
		b->len += (size_t)n;
	}
	return (true);
}

int
tkc_file_read(const char *what, const char *path, size_t most,
    struct tkc_blob *b, struct tkc_error *err)
{
	struct stat st;
	int fd, e = 0;

	memset(b, 0, sizeof *b);
	/* A pipe or device must not make Varnish wait. */
	fd = open(path, O_RDONLY | O_CLOEXEC | O_NONBLOCK | O_NOCTTY);
	if (fd < 0)
		return (tkc_fail(err, TKC_SETTINGS, "%s: cannot open %.512s: %s",
		    what, path, strerror(errno)));
	if (fstat(fd, &st) != 0 || !S_ISREG(st.st_mode) || st.st_size == 0)
		e = tkc_fail(err, TKC_SETTINGS, "%s: %.512s is %s", what, path,
		    S_ISDIR(st.st_mode) ? "a directory" :
		    S_ISREG(st.st_mode) ? "empty" : "not a file");
	else if ((uint64_t)st.st_size > most)
		e = tkc_fail(err, TKC_SETTINGS, "%s: %.512s is larger than %zu "
		    "MiB", what, path, most >> 20);
	else {
		b->data = malloc((size_t)st.st_size);
		if (b->data == NULL)
			e = tkc_fail(err, TKC_ENVIRONMENT, "%s: no memory to "
			    "read %.512s", what, path);
		else if (!read_all(fd, b, (size_t)st.st_size))
			e = tkc_fail(err, TKC_SETTINGS, "%s: cannot read all "
			    "of %.512s", what, path);
	}
	(void)close(fd);
	if (e != 0) {
		free(b->data);
		memset(b, 0, sizeof *b);
	}
	return (e);
}
