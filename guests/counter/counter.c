/*-
 * SPDX-License-Identifier: BSD-2-Clause
 *
 * A counter per name, kept in storage.
 */

#include <stdio.h>

#include "kvm_api.h"

#define MAX_NAMES	1000
#define MAX_NAME	64

struct entry {
	char	name[MAX_NAME];
	long	count;
};

/* Storage's; a request's machine has its own, always empty. */
static struct entry table[MAX_NAMES];
static size_t used;
static bool changed;

/*--------------------------------------------------------------------
 * In storage
 */

static struct entry *
find(const char *name)
{
	size_t i;

	for (i = 0; i < used; i++)
		if (strcmp(table[i].name, name) == 0)
			return (&table[i]);
	return (NULL);
}

/* NULL: the table is full. */
static struct entry *
add(const char *name)
{

	if (used == MAX_NAMES)
		return (NULL);
	strncpy(table[used].name, name, MAX_NAME - 1);
	return (&table[used++]);
}

/* The first buffer is the name, the second how much is added. */
static void
count(size_t n, const struct virtbuffer *in, size_t result_size)
{
	struct entry *e = find(in[0].data);
	long by = *(const long *)in[1].data, now = by == 0 ? 0 : -1;

	(void)n;
	(void)result_size;
	/* Who only looks takes no place in the table. */
	if (e == NULL && by != 0)
		e = add(in[0].data);
	if (e != NULL) {
		now = e->count += by;
		changed = changed || by != 0;
	}
	storage_answer(&now, sizeof now);
}

static void
save(const void *data, size_t len)
{
	size_t written;
	FILE *f;

	(void)data;
	(void)len;
	if (!changed)
		return;
	f = fopen("state", "w");
	if (f == NULL)
		return;
	written = fwrite(table, sizeof table[0], used, f);
	if (fclose(f) == 0 && written == used)
		changed = false;
}

static void
load(void)
{
	FILE *f = fopen("state", "r");

	if (f == NULL)
		return;
	used = fread(table, sizeof table[0], MAX_NAMES, f);
	fclose(f);
}

/* A live update: the old program gives its table, the new one takes it. */
static void
give(void)
{

	storage_answer(table, used * sizeof table[0]);
}

static void
take(size_t len, const void *data)
{

	used = len / sizeof table[0];
	if (used > MAX_NAMES)
		used = MAX_NAMES;
	memcpy(table, data, used * sizeof table[0]);
	changed = true;
}

/*--------------------------------------------------------------------
 * In a request
 */

static void
on_request(const struct kvm_request *r)
{
	char name[MAX_NAME] = "";
	long by = strcmp(r->method, "POST") == 0, now = 0;
	struct virtbuffer in[2] = { { name, sizeof name }, { &by, sizeof by } };

	/* Cut off, two names would be one. */
	if (r->url_len >= sizeof name)
		respond_text(414, "the name is too long\n");
	memcpy(name, r->url, r->url_len);
	if (storage_callv((void *)count, 2, in, &now, sizeof now) < 0)
		respond_text(503, "storage is not available\n");
	if (now < 0)
		respond_text(507, "too many names\n");
	respondf(200, "%ld\n", now);
}

int
main(void)
{

	if (sys_is_storage()) {
		load();
		storage_allow(count);
		storage_timer(save, 1000, 1000);
		set_on_live_update(give);
		set_on_resume_update(take);
	}
	kvm_serve(on_request);
}
