/*-
 * SPDX-License-Identifier: BSD-2-Clause
 */

#include <errno.h>
#include <fcntl.h>
#include <unistd.h>

#include "../object.h"
#include "epoll.h"
#include "linux.h"

/*--------------------------------------------------------------------
 * The chunks of files and streams: made when first needed, kept after.
 */

struct tk_file *
tk_file_nth(const struct tk_files *fs, unsigned i)
{

	tk_assert(i < TK_MAX_FDS && fs->file[i / TK_FILE_CHUNK] != NULL);
	return (&fs->file[i / TK_FILE_CHUNK][i % TK_FILE_CHUNK]);
}

unsigned
tk_file_index(const struct tk_files *fs, const struct tk_file *f)
{
	unsigned i;

	for (i = 0; i < TK_FILE_CHUNKS; i++)
		if (fs->file[i] != NULL && f >= fs->file[i] &&
		    f < fs->file[i] + TK_FILE_CHUNK)
			return (i * TK_FILE_CHUNK +
			    (unsigned)(f - fs->file[i]));
	tk_assert(!"a file of this table");
	return (0);
}

static bool
room_for_file(struct tk_files *fs, unsigned i)
{
	struct tk_file **chunk = &fs->file[i / TK_FILE_CHUNK];

	if (*chunk == NULL)
		*chunk = calloc(TK_FILE_CHUNK, sizeof **chunk);
	return (*chunk != NULL);
}

static bool
room_for_stream(struct tk_files *fs, unsigned i)
{
	struct tk_stream **chunk = &fs->stream[i / TK_FILE_CHUNK];

	if (*chunk == NULL)
		*chunk = calloc(TK_FILE_CHUNK, sizeof **chunk);
	return (*chunk != NULL);
}

uint8_t *
tk_scratch(struct tk_machine *m)
{

	if (m->files.scratch == NULL)
		m->files.scratch = malloc(TK_PIECE);
	return (m->files.scratch);
}

/*--------------------------------------------------------------------
 * Files
 */

static struct tk_file *
new_file(struct tk_files *fs, const struct tk_file_type *type, uint32_t flags)
{
	struct tk_file *f;
	unsigned i;

	for (i = 0; i < fs->n_files; i++)
		if (tk_file_nth(fs, i)->type == NULL)
			break;
	if (i == TK_MAX_FDS || !room_for_file(fs, i))
		return (NULL);
	if (i == fs->n_files)
		fs->n_files++;
	f = tk_file_nth(fs, i);
	memset(f, 0, sizeof *f);
	f->type = type;
	f->flags = flags;
	f->host_fd = -1;
	tk_file_touch(fs, f);
	return (f);
}

struct tk_file *
tk_file_new(struct tk_machine *m, const struct tk_file_type *type,
    uint32_t flags)
{

	return (new_file(&m->files, type, flags));
}

/* Gives back what the file itself holds; it stays in the table, nobody's. */
static void
release(struct tk_files *fs, struct tk_file *f)
{

	if (!f->of_master) {
		if (f->host_fd >= 0) {
			(void)close(f->host_fd);
			fs->host_fds--;
		}
		free(f->path);
	}
	tk_bytes_free(fs, &f->data);
	memset(f, 0, sizeof *f);
	f->host_fd = -1;
}

static void
drop(struct tk_files *fs, struct tk_file *f)
{

	release(fs, f);
	tk_file_touch(fs, f);
}

void
tk_file_undo(struct tk_machine *m, struct tk_file *f)
{

	tk_assert(f->refs == 0);
	if (f->type->close != NULL)
		(void)f->type->close(m, f);
	drop(&m->files, f);
}

/* A descriptor less. */
static int64_t
put(struct tk_machine *m, struct tk_file *f)
{
	int64_t r = 0;

	tk_file_touch(&m->files, f);
	tk_assert(f->refs > 0);
	if (--f->refs > 0)
		return (0);
	if (f->watched)
		tk_epoll_forget(m, tk_file_index(&m->files, f));
	if (f->type->close != NULL)
		r = f->type->close(m, f);
	drop(&m->files, f);
	return (r);
}

struct tk_file *
tk_file_at(const struct tk_machine *m, uint64_t fd)
{
	const struct tk_files *fs = &m->files;

	/* The kernel takes the lower half of the register. */
	fd = (uint32_t)fd;
	if (fd >= fs->n_fds || fs->fd[fd].file == 0)
		return (NULL);
	return (tk_file_nth(fs, fs->fd[fd].file - 1u));
}

static void
install(struct tk_files *fs, struct tk_file *f, unsigned fd, bool cloexec)
{

	tk_file_touch(fs, f);
	f->refs++;
	fs->fd[fd].file = (uint16_t)(tk_file_index(fs, f) + 1);
	fs->fd[fd].cloexec = cloexec;
	if (fd >= fs->n_fds)
		fs->n_fds = fd + 1;
}

int64_t
tk_fd_new(struct tk_machine *m, struct tk_file *f, unsigned from, bool cloexec)
{
	struct tk_files *fs = &m->files;
	unsigned fd;

	for (fd = from; fd < fs->n_fds; fd++)
		if (fs->fd[fd].file == 0)
			break;
	if (fd >= TK_MAX_FDS) {
		if (f->refs == 0)
			tk_file_undo(m, f);
		return (-EMFILE);
	}
	install(fs, f, fd, cloexec);
	return (fd);
}

static void
clear_fd(struct tk_files *fs, unsigned fd)
{

	fs->changed = true;
	fs->fd[fd].file = 0;
	fs->fd[fd].cloexec = 0;
	while (fs->n_fds > 0 && fs->fd[fs->n_fds - 1].file == 0)
		fs->n_fds--;
}

int64_t
tk_fd_close(struct tk_machine *m, uint64_t fd)
{
	struct tk_file *f = tk_file_at(m, fd);

	if (f == NULL)
		return (-EBADF);
	clear_fd(&m->files, (uint32_t)fd);
	return (put(m, f));
}

int64_t
tk_fd_replace(struct tk_machine *m, struct tk_file *f, unsigned fd,
    bool cloexec)
{
	int64_t r = 0;

	tk_assert(fd < TK_MAX_FDS);
	f->refs++;		/* it may be what is closed */
	if (tk_file_at(m, fd) != NULL)
		r = tk_fd_close(m, fd);
	f->refs--;
	install(&m->files, f, fd, cloexec);
	return (r != 0 ? r : (int64_t)fd);
}

void
tk_file_stat_base(const struct tk_machine *m, const struct tk_file *f,
    struct stat *st)
{

	memset(st, 0, sizeof *st);
	st->st_dev = 1;
	st->st_ino = 1000 + tk_file_index(&m->files, f);
	st->st_nlink = 1;
	st->st_mode = f->type->mode;
	st->st_rdev = f->type->rdev;
	st->st_blksize = 4096;
	st->st_size = (off_t)f->data.len;
}

int64_t
tk_file_stat(const struct tk_machine *m, const struct tk_file *f,
    struct stat *st)
{

	tk_file_stat_base(m, f, st);
	return (f->type->stat != NULL ? f->type->stat(m, f, st) : 0);
}

/*--------------------------------------------------------------------
 * The table's life
 */

int
tk_files_init(struct tk_files *fs, const struct tk_policy *policy,
    const char *cwd)
{
	struct tk_file *f;
	unsigned fd;

	memset(fs, 0, sizeof *fs);
	fs->policy = policy;
	fs->umask = 022;
	tk_assert(strlen(cwd) < sizeof fs->cwd);
	memcpy(fs->cwd, cwd, strlen(cwd) + 1);
	for (fd = 0; fd < 3; fd++) {
		f = new_file(fs, &tk_type_standard, fd == 0 ? O_RDONLY :
		    O_WRONLY);
		if (f == NULL)
			return (ENOMEM);
		f->standard = (int)fd;
		install(fs, f, fd, false);
	}
	return (0);
}

void
tk_files_freeze(struct tk_files *ma, struct tk_files *fs)
{
	struct tk_file *f;
	unsigned i;

	for (i = 0; i < fs->n_files; i++) {
		f = tk_file_nth(fs, i);
		f->touched = false;
		f->of_master = f->type != NULL;
		if (f->type == &tk_type_socket &&
		    f->socket.state == TK_SOCKET_ACCEPTED) {
			f->socket.state = TK_SOCKET_DEAD;
			f->socket.connection = NULL;
			f->socket.taken = 0;
		}
	}
	for (i = 0; i < fs->n_streams; i++)
		tk_stream_nth(fs, (uint16_t)(i + 1))->touched = false;
	fs->changed = false;
	fs->host_fds = 0;
	memset(fs->incoming, 0, sizeof fs->incoming);
	fs->n_incoming = 0;
	free(fs->scratch);
	fs->scratch = NULL;
	*ma = *fs;
	memset(fs, 0, sizeof *fs);
}

/* Takes over what `from` holds; the buffer is this one's own. */
static int
copy_file(struct tk_files *fs, struct tk_file *f, const struct tk_file *from)
{
	struct tk_bytes keep = f->data;

	*f = *from;
	f->data = keep;
	return (tk_bytes_copy(fs, &f->data, &from->data) ? 0 : ENOMEM);
}

static int
copy_stream(struct tk_files *fs, struct tk_stream *s,
    const struct tk_stream *from)
{
	struct tk_bytes keep = s->data;

	*s = *from;
	s->data = keep;
	return (tk_bytes_copy(fs, &s->data, &from->data) ? 0 : ENOMEM);
}

static void
copy_rest(struct tk_files *fs, const struct tk_files *ma)
{
	unsigned n = fs->n_fds > ma->n_fds ? fs->n_fds : ma->n_fds;

	memcpy(fs->fd, ma->fd, n * sizeof fs->fd[0]);
	fs->n_fds = ma->n_fds;
	fs->n_files = ma->n_files;
	fs->n_streams = ma->n_streams;
	fs->umask = ma->umask;
	fs->last_port = ma->last_port;
	memcpy(fs->cwd, ma->cwd, strlen(ma->cwd) + 1);
	fs->n_incoming = 0;
	fs->changed = false;
}

int
tk_files_fork(struct tk_files *fs, const struct tk_files *ma)
{
	unsigned i;

	memset(fs, 0, sizeof *fs);
	fs->policy = ma->policy;
	for (i = 0; i < ma->n_files; i++)
		if (!room_for_file(fs, i) || copy_file(fs, tk_file_nth(fs, i),
		    tk_file_nth(ma, i)))
			return (ENOMEM);
	for (i = 0; i < ma->n_streams; i++)
		if (!room_for_stream(fs, i) || copy_stream(fs,
		    tk_stream_nth(fs, (uint16_t)(i + 1)),
		    tk_stream_nth(ma, (uint16_t)(i + 1))))
			return (ENOMEM);
	copy_rest(fs, ma);
	return (0);
}

/* A buffer that the master has a use for may stay, unless it has grown big. */
static void
shrink(struct tk_files *fs, struct tk_bytes *b, const struct tk_bytes *of)
{

	b->len = 0;
	if (of == NULL || of->len == 0 || b->room > of->len + TK_STREAM_ROOM)
		tk_bytes_free(fs, b);
}

static void
reset_file(struct tk_files *fs, const struct tk_files *ma, unsigned i)
{
	struct tk_file *f = tk_file_nth(fs, i);
	struct tk_bytes keep = f->data;

	memset(&f->data, 0, sizeof f->data);
	shrink(fs, &keep, i < ma->n_files ? &tk_file_nth(ma, i)->data : NULL);
	release(fs, f);
	f->data = keep;
	f->touched = true;
}

int
tk_files_reset(struct tk_files *fs, const struct tk_files *ma)
{
	struct tk_stream *s;
	struct tk_file *f;
	unsigned i, id;

	if (!fs->changed)
		return (0);
	/* First give back everything, so that there is room for the old. */
	for (i = 0; i < fs->n_files; i++)
		if (tk_file_nth(fs, i)->touched)
			reset_file(fs, ma, i);
	for (id = 1; id <= fs->n_streams; id++) {
		s = tk_stream_nth(fs, (uint16_t)id);
		if (s->touched)
			shrink(fs, &s->data, id <= ma->n_streams ?
			    &tk_stream_nth(ma, (uint16_t)id)->data : NULL);
	}
	for (i = 0; i < fs->n_files; i++) {
		f = tk_file_nth(fs, i);
		if (!f->touched)
			continue;
		f->touched = false;
		if (i < ma->n_files && copy_file(fs, f, tk_file_nth(ma, i)))
			return (ENOMEM);
	}
	for (id = 1; id <= fs->n_streams; id++) {
		s = tk_stream_nth(fs, (uint16_t)id);
		if (!s->touched)
			continue;
		if (id > ma->n_streams)
			memset(s, 0, sizeof *s);
		else if (copy_stream(fs, s, tk_stream_nth(ma, (uint16_t)id)))
			return (ENOMEM);
	}
	copy_rest(fs, ma);
	return (0);
}

void
tk_files_fini(struct tk_files *fs, bool master)
{
	struct tk_file *f;
	unsigned i, j;

	for (i = 0; i < TK_FILE_CHUNKS; i++) {
		for (j = 0; fs->file[i] != NULL && j < TK_FILE_CHUNK; j++) {
			f = &fs->file[i][j];
			if (f->type == NULL && f->data.data == NULL)
				continue;
			if (master)
				f->of_master = false;
			release(fs, f);
		}
		free(fs->file[i]);
		for (j = 0; fs->stream[i] != NULL && j < TK_FILE_CHUNK; j++)
			tk_bytes_free(fs, &fs->stream[i][j].data);
		free(fs->stream[i]);
	}
	free(fs->scratch);
	memset(fs, 0, sizeof *fs);
}
