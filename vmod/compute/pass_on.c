/*-
 * SPDX-License-Identifier: BSD-2-Clause
 *
 * From one program to the next: a response's body becomes a request's.
 *
 * Usually there is an idle fork of the next program, and the body is copied
 * once, from the one fork's memory into the other's. When there is none, the
 * body is taken out and the first fork given back before anything is waited
 * for: whoever waits for a fork in here holds none, so that chains cannot wait
 * for each other in a circle, whatever programs they name, and how often. Only
 * whether a large body may wait at all, the next program has to be up to know.
 */

#include <stdlib.h>

#include "object.h"
#include "program.h"

#define EACH	((size_t)1 << 30)

static int
copy(struct tkc_invocation *from, struct tkc_invocation *to,
    const struct tkc_request *q, struct tkc_error *err)
{
	struct tkc_span s;
	int e;

	for (;;) {
		e = tkc_body_next(from, EACH, &s, err);
		if (e != 0 || s.len == 0)
			return (e);
		/* Why it stopped, tkc_invoke() will tell. */
		if (!tkc_body_append(to, q, s.ptr, s.len))
			return (0);
	}
}

/*
 * May the body wait with us? What an idle fork would refuse is refused; one that
 * takes pieces has no limit of its own. A body that is there already is no
 * larger than the memory that it is in; one that is yet to be made can be.
 */
static int
may_wait(const struct tkc_invocation *from, struct tkc_program *to,
    uint64_t all, struct tkc_error *err)
{

	if (all <= tkc_body_limit(to))
		return (0);
	if (!tkc_program_takes_pieces(to))
		return (tkc_fail(err, TKC_TOOBIG, "%s: a request body of %llu "
		    "bytes: more than max_request_memory (%g MiB)", to->name,
		    (unsigned long long)all, to->settings.max_request_memory));
	if (from->stream.callback == 0 ||
	    all <= (uint64_t)(from->instance->request_memory * 1048576))
		return (0);
	return (tkc_fail(err, TKC_QUEUE, "%s: no fork is free, and a request "
	    "body of %llu bytes is too large to wait for one: more than the "
	    "max_request_memory of %s (%g MiB)", to->name,
	    (unsigned long long)all, from->instance->program->name,
	    from->instance->request_memory));
}

/*
 * All of the body, in memory of ours, which all that wait for the program share;
 * one that is larger than all of it has it to itself. *room is to be given back.
 */
static int
take_out(struct tkc_invocation *from, struct tkc_program *to, char **body,
    size_t *len, uint64_t *room, struct tkc_error *err)
{
	uint64_t all = from->out_len - from->out_at;
	uint64_t most = tkc_waiting_limit(to), want = all < most ? all : most;
	struct tkc_span s;
	int e;

	*len = 0;
	e = may_wait(from, to, all, err);
	if (e != 0)
		return (e);
	if (!tkc_waiting_take(to, want))
		return (tkc_fail(err, TKC_QUEUE, "%s: no fork is free, and so "
		    "much of request bodies waits for one already as "
		    "max_memory allows (%g MiB)", to->name,
		    to->settings.max_memory));
	*room = want;
	*body = malloc(all + 1);
	if (*body == NULL)
		return (tkc_fail(err, TKC_ENVIRONMENT, "Out of memory"));
	do {
		e = tkc_body_next(from, EACH, &s, err);
		if (e == 0 && s.len > 0)
			memcpy(*body + *len, s.ptr, s.len);
		*len += s.len;
	} while (e == 0 && s.len > 0);
	return (e);
}

/* If not, it was waited for all the time that there is. */
static bool
is_up(struct tkc_program *p)
{
	bool up;

	(void)pthread_mutex_lock(&p->lock);
	up = p->state == TKC_UP;
	(void)pthread_mutex_unlock(&p->lock);
	return (up);
}

int
tkc_pass_on(struct tkc_invocation **from, struct tkc_program *program,
    struct tkc_invocation **to, const struct tkc_request *q, int wait,
    struct tkc_error *err)
{
	char *body = NULL;
	uint64_t room = 0;
	size_t len;
	bool large;
	int e;

	TK_CHECK_OBJ(*from, TKC_INVOCATION_MAGIC);
	TK_CHECK_OBJ(program, TKC_PROGRAM_MAGIC);
	large = (*from)->out_len - (*from)->out_at > tkc_body_limit(program);
	if (*to != NULL)
		e = 0;
	else if (wait && !large)
		e = tkc_reserve_at_once(program, to, err);
	else
		e = tkc_reserve_idle(program, to, err);
	if (e == 0) {
		e = copy(*from, *to, q, err);
		tkc_release(from, NULL);
		return (e);
	}
	if (!wait || e != TKC_QUEUE || (large && !is_up(program)))
		return (e);
	e = take_out(*from, program, &body, &len, &room, err);
	tkc_release(from, NULL);
	if (e == 0)
		e = tkc_reserve(program, to, err);
	if (e == 0 && len > 0)
		(void)tkc_body_append(*to, q, body, len);
	free(body);
	tkc_waiting_give(program, room);
	return (e);
}
