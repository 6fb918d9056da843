/*-
 * SPDX-License-Identifier: BSD-2-Clause
 */

#include <errno.h>
#include <fcntl.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/file.h>
#include <sys/mman.h>
#include <sys/sendfile.h>
#include <sys/stat.h>
#include <unistd.h>

#include "object.h"
#include "state.h"

/* How long a save that failed is not tried again. */
#define RETRY_NS	TKC_NS
/* How often somebody else may rename the temporary file away. */
#define TRIES		16

static bool
is_plain(char c)
{

	return ((c >= '0' && c <= '9') || (c >= 'a' && c <= 'z') ||
	    (c >= 'A' && c <= 'Z') || c == '_' || c == '-' || c == '.');
}

/* The program's name as part of a file's: odd bytes become %XX. */
static char *
file_name(const char *program)
{
	char *name = malloc(strlen(program) * 3 + sizeof ".state"), *to = name;
	const char *c;

	if (name == NULL)
		return (NULL);
	for (c = program; *c != '\0'; c++)
		if (is_plain(*c) && (c > program || *c != '.'))
			*to++ = *c;
		else
			to += sprintf(to, "%%%02X", (unsigned char)*c);
	memcpy(to, ".state", sizeof ".state");
	return (name);
}

static char *
directory_of(const struct tkc_settings *s)
{
	const char *slash;

	if (s->state_directory != NULL)
		return (strdup(s->state_directory));
	/* Of a program from a URI: there is no such directory. */
	if (s->filename == NULL)
		return (strdup("/(no state_directory)"));
	slash = strrchr(s->filename, '/');
	if (slash == NULL)
		return (strdup("."));
	return (strndup(s->filename, slash == s->filename ? 1 :
	    (size_t)(slash - s->filename)));
}

char *
tkc_state_path(const struct tkc_program *p)
{
	char *directory = directory_of(&p->settings);
	char *name = file_name(p->name), *path = NULL, *real = NULL;

	if (directory != NULL && name != NULL) {
		/* Programs see absolute names only. */
		real = realpath(directory, NULL);
		if (asprintf(&path, "%s/%s", real != NULL ? real : directory,
		    name) < 0)
			path = NULL;
	}
	free(real);
	free(directory);
	free(name);
	return (path);
}

/*--------------------------------------------------------------------
 * From the file to the copy
 */

static int
copy_all(int to, int from, uint64_t len)
{
	off_t at = 0;
	ssize_t n;

	while ((uint64_t)at < len) {
		n = sendfile(to, from, &at, len - (uint64_t)at);
		if (n < 0 && errno == EINTR)
			continue;
		if (n < 0)
			return (errno);
		if (n == 0)
			return (EIO);	/* it has become shorter */
	}
	return (0);
}

/* As if there were no file. 0 or an errno value. */
static int
clear(struct tkc_state_file *s)
{

	s->copy.exists = false;
	s->inode = 0;
	if (ftruncate(s->copy.fd, 0) != 0 || lseek(s->copy.fd, 0,
	    SEEK_SET) != 0)
		return (errno);
	return (0);
}

/* 0, also when there is no file; or an errno value. */
static int
load(struct tkc_state_file *s, int directory)
{
	struct stat st;
	int fd, e;

	e = clear(s);
	if (e != 0)
		return (e);
	fd = openat(directory, s->name, O_RDONLY | O_CLOEXEC | O_NOFOLLOW |
	    O_NONBLOCK | O_NOCTTY);
	if (fd < 0)
		return (errno == ENOENT ? 0 : errno);
	if (fstat(fd, &st) != 0)
		e = errno;
	else if (!S_ISREG(st.st_mode))
		e = EINVAL;
	else if ((uint64_t)st.st_size > s->copy.max_size)
		e = EFBIG;
	else
		e = copy_all(s->copy.fd, fd, (uint64_t)st.st_size);
	(void)close(fd);
	if (e == 0) {
		s->copy.exists = true;
		s->inode = st.st_ino;
	}
	return (e);
}

static int
open_directory(const struct tkc_state_file *s)
{

	return (open(s->directory, O_PATH | O_DIRECTORY | O_CLOEXEC));
}

int
tkc_state_open(struct tkc_state_file **ps, struct tkc_program *p,
    uint64_t max_size, struct tkc_error *err)
{
	struct tkc_state_file *s;
	int directory, e = 0;

	*ps = NULL;
	TK_ALLOC_OBJ(s, TKC_STATE_MAGIC);
	if (s == NULL)
		return (tkc_fail(err, TKC_ENVIRONMENT, "Out of memory"));
	s->program = p;
	s->copy.max_size = max_size;
	s->copy.fd = memfd_create("tinykvm-state", MFD_CLOEXEC);
	s->directory = directory_of(&p->settings);
	s->name = file_name(p->name);
	if (s->name == NULL || s->directory == NULL || s->copy.fd < 0 ||
	    asprintf(&s->temporary, ".%s.new", s->name) < 0) {
		s->temporary = NULL;
		tkc_state_close(&s);
		return (tkc_fail(err, TKC_ENVIRONMENT, "%s: no memory or "
		    "descriptor for its state", p->name));
	}
	directory = open_directory(s);
	if (directory < 0 || faccessat(directory, ".", W_OK, AT_EACCESS) != 0)
		tkc_logf(p, TKC_LOG_ERROR, "its state cannot be saved in %s: "
		    "%s: set \"state_directory\" to a directory that the user "
		    "of Varnish's worker may write to", s->directory,
		    strerror(errno));
	s->unread = directory < 0;
	if (directory >= 0) {
		e = load(s, directory);
		(void)close(directory);
	}
	if (e != 0) {
		e = tkc_fail(err, TKC_BOOT, "%s: cannot read its state %s/%s: "
		    "%s%s", p->name, s->directory, s->name, strerror(e),
		    e == EFBIG ? ": raise max_request_memory" : "");
		tkc_state_close(&s);
		return (e);
	}
	*ps = s;
	return (0);
}

void
tkc_state_close(struct tkc_state_file **ps)
{
	struct tkc_state_file *s;

	TK_TAKE_OBJ(s, ps, TKC_STATE_MAGIC);
	if (s->copy.fd >= 0)
		(void)close(s->copy.fd);
	free(s->directory);
	free(s->name);
	free(s->temporary);
	TK_FREE_OBJ(s);
}

/*--------------------------------------------------------------------
 * From the copy to the file
 */

/*
 * The temporary file, empty and ours alone: several VCLs may have the program,
 * and a process that was killed may have left it. A descriptor or -errno.
 */
static int
make_temporary(const struct tkc_state_file *s, int directory)
{
	struct stat here, there;
	int fd, i, e;

	for (i = 0; i < TRIES; i++) {
		fd = openat(directory, s->temporary, O_WRONLY | O_CREAT |
		    O_CLOEXEC | O_NOFOLLOW | O_NONBLOCK, 0600);
		if (fd < 0)
			return (-errno);
		if (flock(fd, LOCK_EX) != 0 || fstat(fd, &here) != 0) {
			e = errno;
			(void)close(fd);
			return (-e);
		}
		/* Who had the lock before us has renamed it. */
		if (fstatat(directory, s->temporary, &there,
		    AT_SYMLINK_NOFOLLOW) == 0 && here.st_ino == there.st_ino &&
		    here.st_dev == there.st_dev) {
			if (S_ISREG(here.st_mode) && ftruncate(fd, 0) == 0)
				return (fd);
			e = S_ISREG(here.st_mode) ? errno : EEXIST;
			(void)close(fd);
			return (-e);
		}
		(void)close(fd);
	}
	return (-EBUSY);
}

static bool
is_of_another(const struct tkc_state_file *s, int directory)
{
	struct stat st;

	if (fstatat(directory, s->name, &st, AT_SYMLINK_NOFOLLOW) != 0)
		return (false);
	return (st.st_ino != s->inode);
}

/* 0 or an errno value. */
static int
publish(struct tkc_state_file *s, int directory)
{
	struct stat st;
	int fd, e = 0, synced;

	if (s->unread && fstatat(directory, s->name, &st,
	    AT_SYMLINK_NOFOLLOW) == 0)
		return (EEXIST);
	fd = make_temporary(s, directory);
	if (fd < 0)
		return (-fd);
	if (fstat(s->copy.fd, &st) != 0)
		e = errno;
	else
		e = copy_all(fd, s->copy.fd, (uint64_t)st.st_size);
	if (e == 0 && (fsync(fd) != 0 || fstat(fd, &st) != 0))
		e = errno;
	if (e == 0 && is_of_another(s, directory))
		tkc_logf(s->program, TKC_LOG_ERROR, "its state %s/%s was "
		    "written by somebody else since: another VCL or process "
		    "runs the program; what it wrote is replaced",
		    s->directory, s->name);
	if (e == 0 && renameat(directory, s->temporary, directory,
	    s->name) != 0)
		e = errno;
	if (e != 0)
		(void)unlinkat(directory, s->temporary, 0);
	(void)close(fd);
	if (e != 0)
		return (e);
	s->inode = st.st_ino;
	s->unread = false;
	/* An O_PATH descriptor cannot be synced. */
	synced = openat(directory, ".", O_RDONLY | O_DIRECTORY | O_CLOEXEC);
	if (synced < 0 || fsync(synced) != 0)
		e = errno;
	if (synced >= 0)
		(void)close(synced);
	return (e);
}

void
tkc_state_save(struct tkc_state_file *s, bool last)
{
	struct tkc_program *p = s->program;
	uint64_t changes = s->copy.changes;
	int directory, e;

	TK_CHECK_OBJ(s, TKC_STATE_MAGIC);
	if (!last && s->failed_at != 0 && tkc_now() - s->failed_at < RETRY_NS)
		return;
	directory = open_directory(s);
	e = directory < 0 ? errno : publish(s, directory);
	if (directory >= 0)
		(void)close(directory);
	if (e == 0) {
		s->saved = changes;
		s->failed_at = 0;
	} else {
		s->failed_at = tkc_now();
		tkc_logf(p, TKC_LOG_ERROR, "its state could not be saved in "
		    "%s: %s: the file there is the old one; %s", s->directory,
		    s->unread && e == EEXIST ? "there is one by now, which it "
		    "has not read: invalidate the program, to begin from it" :
		    strerror(e), last ? "what changed since is lost" :
		    "later calls try again");
	}
	(void)pthread_mutex_lock(&p->lock);
	if (e == 0)
		p->total.state_saves++;
	else
		p->total.state_errors++;
	tkc_program_publish(p);
	(void)pthread_mutex_unlock(&p->lock);
}

bool
tkc_state_undo(struct tkc_state_file *s)
{
	int directory, e;

	TK_CHECK_OBJ(s, TKC_STATE_MAGIC);
	if (s->unread)
		e = clear(s);
	else if ((directory = open_directory(s)) < 0)
		e = errno;
	else {
		e = load(s, directory);
		(void)close(directory);
	}
	if (e != 0)
		tkc_logf(s->program, TKC_LOG_ERROR, "its state could not be "
		    "put back to what %s/%s says: %s", s->directory, s->name,
		    strerror(e));
	s->saved = s->copy.changes;
	return (e == 0);
}
