/*-
 * SPDX-License-Identifier: BSD-2-Clause
 *
 * Another executable takes a program's place while requests come:
 *
 *	boot		the new one boots and the old one serves
 *	pause		new requests wait; those in the old one end (a second)
 *	hand over	the old storage's serialise() -> the new one's
 *			restore(); without these handlers the new one boots once
 *			more, from the state file that is final now
 *	switch		the new one serves
 *
 * There is a pause only when both have storage. Whatever fails, the old one goes
 * on as if nothing had been.
 */

#include <stdlib.h>
#include <string.h>

#include "object.h"
#include "source.h"
#include "sockets/sockets.h"
#include "state.h"
#include "storage.h"

#define DRAIN_NS	TKC_NS
#define DRAIN_POLL_NS	2000000ULL

/* Attempts with a key: so many at once, then one a second. */
#define MAX_TOKENS	5.0

/*
 * A key of this length, 128 bits in hexadecimal digits, is not found at any
 * speed: it needs no token, so that nobody keeps its owner out by wrong ones,
 * which do. A shorter one would be found if the right one were let through
 * while wrong ones are many; so it waits as they do, and an ACL is what keeps
 * others from making it wait.
 */
#define LONG_KEY	32

/*--------------------------------------------------------------------
 * Who may
 */

/* The time it takes depends on the length of what was given only. */
static bool
same_key(const char *given, const char *key)
{
	size_t i, n = strlen(given), len = strlen(key);
	volatile size_t differs = n ^ len;

	for (i = 0; i < n; i++)
		differs |= (unsigned char)given[i] ^ (unsigned char)
		    key[len > 0 ? i % len : 0];
	return (differs == 0);
}

/* Lock held. */
static bool
take_token(struct tkc_program *p)
{
	uint64_t now = tkc_now();

	if (p->update_at == 0)
		p->update_tokens = MAX_TOKENS;
	else
		p->update_tokens += (double)(now - p->update_at) /
		    (double)TKC_NS;
	p->update_at = now;
	if (p->update_tokens > MAX_TOKENS)
		p->update_tokens = MAX_TOKENS;
	if (p->update_tokens < 1)
		return (false);
	p->update_tokens -= 1;
	return (true);
}

int
tkc_may_update(struct tkc_program *p, const char *key, struct tkc_error *err)
{
	const char *want;
	bool right, known;
	int e;

	TK_CHECK_OBJ(p, TKC_PROGRAM_MAGIC);
	(void)pthread_mutex_lock(&p->lock);
	want = p->settings.key;
	right = want != NULL && same_key(key, want);
	known = right && strlen(want) >= LONG_KEY;
	if (want == NULL || *want == '\0')
		e = tkc_fail(err, TKC_DENIED, "%s: live updates are not "
		    "allowed: its settings have no \"key\"", p->name);
	else if (!known && !take_token(p))
		e = tkc_fail(err, TKC_BUSY, "%s: too many live updates: one "
		    "a second", p->name);
	else if (!right)
		e = tkc_fail(err, TKC_DENIED, "%s: live update with a wrong "
		    "key", p->name);
	else
		e = 0;
	(void)pthread_mutex_unlock(&p->lock);
	return (e);
}

/*--------------------------------------------------------------------
 * Handing over. The old storage is held.
 */

static bool
has_handlers(const struct tkc_storage *from, const struct tkc_storage *to)
{

	return (from->handler[TKC_ON_SERIALISE] != 0 &&
	    to->handler[TKC_ON_RESTORE] != 0);
}

static int
restore(struct tkc_storage *to, void *data, uint64_t len,
    struct tkc_error *err)
{
	struct tkc_storage_call c;
	uint64_t size, waited;
	tk_gva input;
	int e;

	/* What it wrote while it booted was about an older state. */
	if (!tkc_state_undo(to->state))
		return (tkc_fail(err, TKC_ENVIRONMENT, "%s: its state cannot "
		    "be read", to->instance->program->name));
	memset(&c, 0, sizeof c);
	c.kind = TKC_RESTORE;
	c.data = data;
	c.len = len;
	input = tk_input_area(to->vm, &size);
	c.call.function = to->handler[TKC_ON_RESTORE];
	c.call.args[0] = len;
	if (len <= size) {
		if (!tk_write(to->vm, input, data, len))
			return (tkc_fail(err, TKC_ENVIRONMENT, "%s: no memory "
			    "for the state of storage",
			    to->instance->program->name));
		c.call.args[1] = input;
	}
	tk_assert(tkc_storage_take(to, 1, &waited));
	e = tkc_storage_run(to, &c, to->seconds, err);
	tkc_storage_give(to);
	return (e);
}

static int
transfer(struct tkc_storage *from, struct tkc_storage *to, uint64_t *bytes,
    struct tkc_error *err)
{
	struct tkc_storage_call c;
	int e;

	memset(&c, 0, sizeof c);
	c.kind = TKC_SERIALISE;
	c.call.function = from->handler[TKC_ON_SERIALISE];
	e = tkc_storage_run(from, &c, from->seconds, err);
	if (e == 0 && !c.answered)
		e = tkc_fail(err, TKC_EXCEPTION, "%s: storage: the handler "
		    "that serialises ended without storage_return()",
		    from->instance->program->name);
	if (e == 0)
		e = restore(to, c.data, c.len, err);
	*bytes = c.len;
	free(c.data);
	return (e);
}

struct update {
	struct tkc_program	*p;
	const void		*elf;		/* NULL: the file's */
	size_t			len;
	int			debug;
	struct tkc_instance	*fresh;
	uint64_t		bytes;		/* handed over */
};

/* Boots the new one. Lock not held. */
static int
boot(struct update *u, struct tkc_error *err)
{
	struct tkc_program *p = u->p;
	uint64_t start = tkc_now();
	int e;

	e = tkc_instance_new(&u->fresh, p, u->elf, u->len, u->debug, err);
	(void)pthread_mutex_lock(&p->lock);
	p->total.boots++;
	p->total.boot_ns = tkc_now() - start;
	if (e != 0)
		p->total.boot_failures++;
	(void)pthread_mutex_unlock(&p->lock);
	return (e);
}

static int
hand_over(struct update *u, struct tkc_storage *from, struct tkc_error *err)
{

	if (has_handlers(from, u->fresh->storage))
		return (transfer(from, u->fresh->storage, &u->bytes, err));
	if (tkc_state_changed(from->state))
		tkc_state_save(from->state, true);
	tkc_instance_free(&u->fresh);
	return (boot(u, err));
}

/*--------------------------------------------------------------------
 * The order of things
 */

/* Until the requests in it have ended, a second at most. Lock held. */
static void
drain(struct tkc_program *p, const struct tkc_instance *old)
{
	uint64_t until = tkc_now() + DRAIN_NS, now;

	while (old->busy > 0 && (now = tkc_now()) < until)
		(void)tkc_wait_until(&p->changed, &p->lock,
		    now + DRAIN_POLL_NS);
}

/*
 * The new storage begins to live: its state is the program's, once nothing can
 * go wrong any more. Its tasks wait until that is done.
 */
static int
go_live(struct tkc_storage *st, struct tkc_error *err)
{
	uint64_t waited;
	int e;

	tk_assert(tkc_storage_take(st, 1, &waited));
	e = tkc_tasks_start(st, err);
	if (e == 0 && tkc_state_changed(st->state))
		tkc_state_save(st->state, false);
	tkc_storage_give(st);
	return (e);
}

static int
from_storage(struct update *u, struct tkc_storage *from,
    struct tkc_error *err)
{
	uint64_t waited;
	int e;

	if (!tkc_storage_take(from, from->seconds, &waited))
		return (tkc_fail(err, TKC_BUSY, "%s: its storage was not free "
		    "within max_storage_time (%g s)", u->p->name,
		    from->seconds));
	e = hand_over(u, from, err);
	if (e == 0)
		e = go_live(u->fresh->storage, err);
	if (e == 0) {
		/* Its state is another's from now on. */
		tkc_storage_close(from);
		from->state->saved = from->state->copy.changes;
	}
	tkc_storage_give(from);
	return (e);
}

/* The new one has storage. Lock held, given up meanwhile. */
static int
pause_and_hand_over(struct update *u, struct tkc_instance *old,
    struct tkc_error *err)
{
	struct tkc_program *p = u->p;
	int e;

	/* As if it booted: requests wait, old stays p->live. */
	p->state = TKC_BOOTING;
	if (old != NULL && old->storage != NULL) {
		drain(p, old);
		(void)pthread_mutex_unlock(&p->lock);
		e = from_storage(u, old->storage, err);
	} else {
		(void)pthread_mutex_unlock(&p->lock);
		e = go_live(u->fresh->storage, err);
	}
	(void)pthread_mutex_lock(&p->lock);
	p->state = old != NULL ? TKC_UP : TKC_DOWN;
	tkc_program_changed(p);
	return (e);
}

/* Lock held, given up meanwhile. On success the program has u->fresh. */
static int
take_place(struct update *u, struct tkc_error *err)
{
	struct tkc_program *p = u->p;
	struct tkc_error failed;
	int e = 0;

	while (p->state == TKC_BOOTING)
		(void)pthread_cond_wait(&p->changed, &p->lock);
	if (!p->registry->warm)
		return (tkc_fail(err, TKC_STOPPED, "%s: its VCL is cold",
		    p->name));
	if (u->fresh->storage != NULL)
		e = pause_and_hand_over(u, p->live, err);
	if (e != 0)
		return (e);
	/*
	 * While the old one still has its sockets: they are shared, nobody is
	 * turned away, and this has no reason to fail.
	 */
	if (tkc_sockets_start(u->fresh, &failed))
		tkc_log(p, TKC_LOG_ERROR, failed.text, strlen(failed.text));
	tkc_program_replace(p, u->fresh);
	u->fresh = NULL;
	return (0);
}

/* p->updating is ours. Lock held, given up meanwhile. */
static int
update(struct update *u, struct tkc_error *err)
{
	struct tkc_program *p = u->p;
	struct tkc_error why;
	struct tk_error core;
	uint64_t start = tkc_now();
	int e;

	while (p->state == TKC_BOOTING)
		(void)pthread_cond_wait(&p->changed, &p->lock);
	u->debug = p->live != NULL && p->live->debug;
	(void)pthread_mutex_unlock(&p->lock);
	if (u->elf != NULL && tk_check_program(u->elf, u->len,
	    p->settings.allowed_paths.n > 0, &core))
		e = tkc_fail(&why, TKC_SETTINGS, "%s: %s", p->name, core.text);
	else
		e = boot(u, &why);
	(void)pthread_mutex_lock(&p->lock);
	if (e == 0)
		e = take_place(u, &why);
	if (e == 0)
		p->total.live_updates++;
	else
		p->total.live_update_failures++;
	tkc_program_publish(p);
	(void)pthread_mutex_unlock(&p->lock);
	if (u->fresh != NULL)
		tkc_instance_free(&u->fresh);
	if (e == 0)
		tkc_logf(p, TKC_LOG_INFO, "live update: serves after %.1f ms, "
		    "%llu bytes of state", (double)(tkc_now() - start) / 1e6,
		    (unsigned long long)u->bytes);
	else {
		tkc_logf(p, TKC_LOG_ERROR, "live update failed, the old "
		    "program stays: %s", why.text);
		if (err != NULL)
			*err = why;
	}
	(void)pthread_mutex_lock(&p->lock);
	return (e);
}

/*
 * Lock held before and after. On success the image becomes the program's; NULL
 * is its file's.
 */
static int
begin(struct tkc_program *p, void *image, size_t len, struct tkc_error *err)
{
	struct update u;
	int e;

	if (p->updating)
		return (tkc_fail(err, TKC_BUSY, "%s: another live update is "
		    "under way", p->name));
	if (!p->registry->warm)
		return (tkc_fail(err, TKC_STOPPED, "%s: its VCL is cold",
		    p->name));
	memset(&u, 0, sizeof u);
	u.p = p;
	u.elf = image;
	u.len = len;
	p->updating = true;
	e = update(&u, err);
	if (e == 0) {
		/* Before anybody may boot it. */
		free(p->image);
		p->image = image;
		p->image_len = len;
	}
	p->updating = false;
	if (p->live != NULL && p->live->forks == 0)
		tkc_program_unload(p);
	tkc_program_changed(p);
	return (e);
}

/* The image becomes the program's, or is freed. */
static int
with_image(struct tkc_program *p, void *image, size_t len,
    struct tkc_error *err)
{
	int e;

	(void)pthread_mutex_lock(&p->lock);
	e = begin(p, image, len, err);
	(void)pthread_mutex_unlock(&p->lock);
	if (e != 0)
		free(image);
	return (e);
}

int
tkc_live_update(struct tkc_program *p, const void *elf, size_t len,
    struct tkc_error *err)
{
	void *image;

	TK_CHECK_OBJ(p, TKC_PROGRAM_MAGIC);
	if (len == 0)
		return (tkc_fail(err, TKC_SETTINGS, "%s: live update without "
		    "an executable", p->name));
	image = malloc(len);
	if (image == NULL)
		return (tkc_fail(err, TKC_ENVIRONMENT, "%s: no memory for an "
		    "executable of %zu bytes", p->name, len));
	memcpy(image, elf, len);
	return (with_image(p, image, len, err));
}

int
tkc_live_update_file(struct tkc_program *p, const char *filename,
    struct tkc_error *err)
{
	struct tkc_blob image;
	int e;

	TK_CHECK_OBJ(p, TKC_PROGRAM_MAGIC);
	e = tkc_file_read(p->name, filename, TKC_MAX_PROGRAM, &image, err);
	return (e != 0 ? e : with_image(p, image.data, image.len, err));
}

/*--------------------------------------------------------------------
 * invalidate
 */

bool
tkc_can_reload(const struct tkc_program *p)
{

	return (p->live != NULL && p->live->storage != NULL &&
	    has_handlers(p->live->storage, p->live->storage));
}

int
tkc_reload(struct tkc_program *p, struct tkc_error *err)
{

	return (begin(p, NULL, 0, err));
}
