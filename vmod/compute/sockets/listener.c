/*-
 * SPDX-License-Identifier: BSD-2-Clause
 */

#include <arpa/inet.h>
#include <errno.h>
#include <netinet/in.h>
#include <pthread.h>
#include <stdatomic.h>
#include <stdio.h>
#include <sys/socket.h>
#include <sys/stat.h>
#include <sys/un.h>
#include <unistd.h>

#include "../settings.h"
#include "listener.h"
#include "object.h"

#define BACKLOG		1024

/* An open socket and its uses, the newest first. */
struct shared {
	char			*name;
	int			fd;
	bool			is_path;
	struct tkc_listener	*newest;
	struct shared		*next;
};

struct tkc_listener {
	unsigned		magic;
#define TKC_LISTENER_MAGIC	0x41d8a6b3
	struct shared		*shared;
	_Atomic bool		accepts;
	void			(*changed)(void *);
	void			*priv;
	struct tkc_listener	*older;
};

static pthread_mutex_t lock = PTHREAD_MUTEX_INITIALIZER;
static struct shared *all;

union address {
	struct sockaddr		any;
	struct sockaddr_in	v4;
	struct sockaddr_in6	v6;
	struct sockaddr_un	path;
};

static socklen_t
fill_address(union address *a, const struct tkc_endpoint *e)
{

	memset(a, 0, sizeof *a);
	if (e->path != NULL) {
		a->path.sun_family = AF_UNIX;
		tk_assert(strlen(e->path) < sizeof a->path.sun_path);
		memcpy(a->path.sun_path, e->path, strlen(e->path) + 1);
		return (sizeof a->path);
	}
	if (inet_pton(AF_INET, e->address, &a->v4.sin_addr) == 1) {
		a->v4.sin_family = AF_INET;
		a->v4.sin_port = htons((uint16_t)e->port);
		return (sizeof a->v4);
	}
	tk_assert(inet_pton(AF_INET6, e->address, &a->v6.sin6_addr) == 1);
	a->v6.sin6_family = AF_INET6;
	a->v6.sin6_port = htons((uint16_t)e->port);
	return (sizeof a->v6);
}

/* Is a socket of that name left over from a process that is no more? */
static bool
left_over(const union address *a, socklen_t len)
{
	struct stat st;
	int s, e;

	if (a->any.sa_family != AF_UNIX ||
	    lstat(a->path.sun_path, &st) != 0 || !S_ISSOCK(st.st_mode))
		return (false);
	s = socket(AF_UNIX, SOCK_STREAM | SOCK_CLOEXEC | SOCK_NONBLOCK, 0);
	if (s < 0)
		return (false);
	e = connect(s, &a->any, len) == 0 ? 0 : errno;
	(void)close(s);
	return (e == ECONNREFUSED);
}

/* A listening socket, or -errno. */
static int
open_socket(const struct tkc_endpoint *ep)
{
	union address a;
	socklen_t len = fill_address(&a, ep);
	int on = 1, s, e;

	s = socket(a.any.sa_family, SOCK_STREAM | SOCK_CLOEXEC |
	    SOCK_NONBLOCK, 0);
	if (s < 0)
		return (-errno);
	/* Connections of a worker that died may still be in TIME_WAIT. */
	(void)setsockopt(s, SOL_SOCKET, SO_REUSEADDR, &on, sizeof on);
	e = bind(s, &a.any, len);
	if (e != 0 && errno == EADDRINUSE && left_over(&a, len)) {
		(void)unlink(ep->path);
		e = bind(s, &a.any, len);
	}
	if (e != 0 || listen(s, BACKLOG) != 0) {
		e = errno;
		(void)close(s);
		return (-e);
	}
	return (s);
}

static char *
name_of(const struct tkc_endpoint *e)
{
	char *name;

	if (e->path != NULL)
		return (strdup(e->path));
	if (asprintf(&name, strchr(e->address, ':') != NULL ? "[%s]:%u" :
	    "%s:%u", e->address, e->port) < 0)
		return (NULL);
	return (name);
}

static void
shared_free(struct shared *s)
{
	struct shared **p;

	for (p = &all; *p != NULL; p = &(*p)->next)
		if (*p == s) {
			*p = s->next;
			break;
		}
	if (s->fd >= 0) {
		(void)close(s->fd);
		if (s->is_path)
			(void)unlink(s->name);
	}
	free(s->name);
	free(s);
}

/* The shared socket of that name, old or new. Lock held. */
static struct shared *
find(const char *what, const struct tkc_endpoint *e, struct tkc_error *err)
{
	char *name = name_of(e);
	struct shared *s;

	for (s = all; s != NULL && name != NULL; s = s->next)
		if (strcmp(s->name, name) == 0) {
			free(name);
			return (s);
		}
	s = calloc(1, sizeof *s);
	if (s == NULL || name == NULL) {
		free(name);
		free(s);
		(void)tkc_fail(err, TKC_ENVIRONMENT, "Out of memory");
		return (NULL);
	}
	s->name = name;
	s->is_path = e->path != NULL;
	s->fd = open_socket(e);
	if (s->fd < 0) {
		(void)tkc_fail(err, TKC_ENVIRONMENT, "%s: cannot listen at "
		    "%s: %s", what, name, strerror(-s->fd));
		shared_free(s);
		return (NULL);
	}
	s->next = all;
	all = s;
	return (s);
}

static void
set_accepting(struct tkc_listener *l, bool accepts)
{

	if (l == NULL)
		return;
	l->accepts = accepts;
	l->changed(l->priv);
}

int
tkc_listener_get(struct tkc_listener **pl, const char *what,
    const struct tkc_endpoint *e, void (*changed)(void *), void *priv,
    struct tkc_error *err)
{
	struct tkc_listener *l;

	*pl = NULL;
	TK_ALLOC_OBJ(l, TKC_LISTENER_MAGIC);
	if (l == NULL)
		return (tkc_fail(err, TKC_ENVIRONMENT, "Out of memory"));
	l->changed = changed;
	l->priv = priv;
	(void)pthread_mutex_lock(&lock);
	l->shared = find(what, e, err);
	if (l->shared != NULL) {
		set_accepting(l->shared->newest, false);
		l->older = l->shared->newest;
		l->shared->newest = l;
		l->accepts = true;
	}
	(void)pthread_mutex_unlock(&lock);
	if (l->shared == NULL) {
		TK_FREE_OBJ(l);
		return (TKC_ENVIRONMENT);
	}
	*pl = l;
	return (0);
}

void
tkc_listener_put(struct tkc_listener **pl)
{
	struct tkc_listener *l, **p;
	struct shared *s;

	TK_TAKE_OBJ(l, pl, TKC_LISTENER_MAGIC);
	s = l->shared;
	(void)pthread_mutex_lock(&lock);
	for (p = &s->newest; *p != l; p = &(*p)->older)
		continue;
	*p = l->older;
	if (s->newest == NULL)
		shared_free(s);
	else if (l->accepts)
		set_accepting(s->newest, true);
	(void)pthread_mutex_unlock(&lock);
	TK_FREE_OBJ(l);
}

int
tkc_listener_fd(const struct tkc_listener *l)
{

	return (l->shared->fd);
}

bool
tkc_listener_accepts(const struct tkc_listener *l)
{

	return (l->accepts);
}

const char *
tkc_listener_name(const struct tkc_listener *l)
{

	return (l->shared->name);
}
