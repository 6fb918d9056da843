/*-
 * SPDX-License-Identifier: BSD-2-Clause
 */

#include <errno.h>

#include "list.h"
#include "object.h"
#include "threads.h"

static bool
room_for(struct tk_threads *t, unsigned n)
{

	return (tk_reserve((void **)&t->thread, n, &t->room,
	    sizeof *t->thread) && (n < 2 || tk_reserve((void **)&t->fpu, n,
	    &t->room_fpu, sizeof *t->fpu)));
}

int
tk_threads_init(struct tk_threads *t)
{

	memset(t, 0, sizeof *t);
	t->next_tid = 1;
	return (tk_threads_add(t) == NULL ? ENOMEM : 0);
}

void
tk_threads_fini(struct tk_threads *t)
{

	free(t->thread);
	free(t->fpu);
	memset(t, 0, sizeof *t);
}

int
tk_threads_copy(struct tk_threads *t, const struct tk_threads *from)
{

	if (!room_for(t, from->n))
		return (ENOMEM);
	if (from->n > 0)
		memcpy(t->thread, from->thread, from->n * sizeof *t->thread);
	if (from->n > 1)
		memcpy(t->fpu, from->fpu, from->n * sizeof *t->fpu);
	t->n = from->n;
	t->alive = from->alive;
	t->current = from->current;
	t->next_tid = from->next_tid;
	t->frozen_at = from->frozen_at;
	return (0);
}

struct tk_thread *
tk_threads_add(struct tk_threads *t)
{
	unsigned i;

	for (i = 0; i < t->n; i++)
		if (t->thread[i].state == TK_THREAD_NONE)
			break;
	if (i == TK_MAX_THREADS || (i == t->n && !room_for(t, i + 1)))
		return (NULL);
	if (i == t->n)
		t->n++;
	memset(&t->thread[i], 0, sizeof t->thread[i]);
	t->thread[i].state = TK_THREAD_RUNNABLE;
	t->thread[i].deadline = TK_FOREVER;
	t->thread[i].tid = t->next_tid++;
	t->alive++;
	return (&t->thread[i]);
}

struct tk_thread *
tk_threads_find(const struct tk_threads *t, uint32_t tid)
{
	unsigned i;

	for (i = 0; i < t->n; i++)
		if (t->thread[i].state != TK_THREAD_NONE &&
		    t->thread[i].tid == tid)
			return (&t->thread[i]);
	return (NULL);
}

bool
tk_threads_settle(struct tk_threads *t, const struct tk_threads *from)
{
	struct tk_thread *c = tk_current(t);

	if (t->current != from->current || c->state == TK_THREAD_NONE)
		return (false);
	c->state = TK_THREAD_RUNNABLE;
	c->blocked = tk_current(from)->blocked;
	c->mask_saved = false;
	c->deadline = TK_FOREVER;
	c->futex = 0;
	c->again = c->retry = false;
	return (true);
}
