/*-
 * SPDX-License-Identifier: BSD-2-Clause
 */

#define PCRE2_CODE_UNIT_WIDTH	8
#include <ctype.h>
#include <pcre2.h>
#include <pthread.h>
#include <signal.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include "guest_regex.h"
#include "object.h"
#include "program.h"

/* Varnish's own default (pcre2_match_limit), per start position. */
#define MATCH_LIMIT	10000
#define HEAP_LIMIT	(16 * 1024)	/* KiB, for backtracking */

/*
 * Time is looked at in callouts, and between two of them there is one item,
 * which may go over the whole subject: a*+, \1*+, [^\d...]*+. What it costs was
 * measured, with PCRE2 10.42 on the development machine, in ns for each byte:
 *
 *	a*+, .*+, \w*+, \p{L}*+, (a)\1*+, (?i)		at most 10
 *	a class with Unicode's properties, or of characters beyond
 *	the 256th: looked through one by one			10, and at
 *					most 2.5 for each byte of the pattern
 *	\X, where flags (regional indicators) follow each other	the square
 *
 * So the subject is the shorter the more the pattern may cost, and one item
 * takes ITEM_NS at most; a short subject has many before the next look.
 */
#define BYTE_NS		10
#define CLASS_BYTE_NS	3		/* for each byte of the pattern */
#define ITEM_NS		(100 * 1000 * 1000)
#define LOOK_NS		(1000 * 1000)
#define MAX_SUBJECT	(8 * 1024 * 1024)
#define MAX_CLUSTERS	(16 * 1024)
/* Callouts between two looks, at most. */
#define STEPS		256

struct pattern {
	pcre2_code		*code;
	char			*text;
	size_t			len;
	uint64_t		byte_ns;	/* of an item, at most */
	size_t			most;		/* bytes of a subject */
};

struct tkc_regexes {
	unsigned		magic;
#define TKC_REGEXES_MAGIC	0x4e0d79c3
	const struct tkc_regexes *base;
	struct pattern		slot[TKC_MAX_REGEXES];
	uint64_t		dropped;	/* of base, in this request */
	pcre2_match_context	*context;
	pcre2_match_data	*data;
	/* Of the match under way. */
	const struct tk_machine	*vm;
	uint64_t		steps, weight;	/* of each callout */
};

/*
 * Patterns are compiled with a callout at each item, which costs some speed and
 * makes sure that the clock is looked at, whatever the pattern. The just-in-time
 * compiler is not used: its code has other limits, and no such place.
 */
static int
on_callout(pcre2_callout_block *block, void *priv)
{
	struct tkc_regexes *x = priv;

	(void)block;
	x->steps += x->weight;
	if (x->steps < STEPS)
		return (0);
	x->steps = 0;
	return (tk_seconds_left(x->vm) > 0 ? 0 : PCRE2_ERROR_CALLOUT);
}

struct tkc_regexes *
tkc_regexes_new(const struct tkc_regexes *base)
{
	struct tkc_regexes *x;

	TK_ALLOC_OBJ(x, TKC_REGEXES_MAGIC);
	if (x == NULL)
		return (NULL);
	x->base = base;
	x->context = pcre2_match_context_create(NULL);
	if (x->context == NULL) {
		TK_FREE_OBJ(x);
		return (NULL);
	}
	(void)pcre2_set_match_limit(x->context, MATCH_LIMIT);
	(void)pcre2_set_heap_limit(x->context, HEAP_LIMIT);
	(void)pcre2_set_callout(x->context, on_callout, x);
	return (x);
}

static void
clear(struct pattern *p)
{

	pcre2_code_free(p->code);
	free(p->text);
	memset(p, 0, sizeof *p);
}

void
tkc_regexes_forget(struct tkc_regexes *x)
{
	unsigned i;

	TK_CHECK_OBJ(x, TKC_REGEXES_MAGIC);
	for (i = 0; i < TKC_MAX_REGEXES; i++)
		clear(&x->slot[i]);
	x->dropped = 0;
	pcre2_match_data_free(x->data);
	x->data = NULL;
}

void
tkc_regexes_free(struct tkc_regexes **px)
{
	struct tkc_regexes *x;

	TK_TAKE_OBJ(x, px, TKC_REGEXES_MAGIC);
	tkc_regexes_forget(x);
	pcre2_match_context_free(x->context);
	TK_FREE_OBJ(x);
}

/* What a handle stands for, or NULL. */
static const struct pattern *
lookup(const struct tkc_regexes *x, unsigned h)
{

	if (x->slot[h].code != NULL)
		return (&x->slot[h]);
	if (x->base != NULL && x->base->slot[h].code != NULL &&
	    !(x->dropped & 1ULL << h))
		return (&x->base->slot[h]);
	return (NULL);
}

bool
tkc_regexes_has(const struct tkc_regexes *x, uint64_t handle)
{

	return (handle < TKC_MAX_REGEXES &&
	    lookup(x, (unsigned)handle) != NULL);
}

void
tkc_regexes_drop(struct tkc_regexes *x, unsigned h)
{

	TK_CHECK_OBJ(x, TKC_REGEXES_MAGIC);
	tk_assert(tkc_regexes_has(x, h));
	if (x->slot[h].code != NULL)
		clear(&x->slot[h]);
	else
		x->dropped |= 1ULL << h;
}

/*--------------------------------------------------------------------
 * Compilation, on a stack of its own: PCRE2 recurses at each parenthesis, up to
 * some 190 KiB, and the stack of one of Varnish's workers has 80.
 */

#define COMPILE_STACK	(512 * 1024)

struct job {
	const char		*pattern;
	size_t			len;
	pcre2_code		*code;
	int			error;
	PCRE2_SIZE		at;
};

static void *
compile(void *priv)
{
	struct job *j = priv;

	j->code = pcre2_compile((PCRE2_SPTR)j->pattern, j->len,
	    PCRE2_AUTO_CALLOUT, &j->error, &j->at, NULL);
	return (NULL);
}

static bool
compile_apart(struct job *j)
{
	pthread_attr_t attr;
	pthread_t thread;
	sigset_t all, old;
	int e;

	(void)pthread_attr_init(&attr);
	(void)pthread_attr_setstacksize(&attr, COMPILE_STACK);
	(void)sigfillset(&all);
	(void)pthread_sigmask(SIG_SETMASK, &all, &old);
	e = pthread_create(&thread, &attr, compile, j);
	(void)pthread_sigmask(SIG_SETMASK, &old, NULL);
	(void)pthread_attr_destroy(&attr);
	if (e != 0)
		return (false);
	(void)pthread_join(thread, NULL);
	return (true);
}

static bool
has(const struct pattern *p, const char *what)
{

	return (memmem(p->text, p->len, what, strlen(what)) != NULL);
}

/* Rather more than it costs: what it has may stand where it means nothing. */
static void
estimate(struct pattern *p)
{
	uint32_t options = 0;
	bool unicode;

	(void)pcre2_pattern_info(p->code, PCRE2_INFO_ALLOPTIONS, &options);
	unicode = (options & (PCRE2_UTF | PCRE2_UCP)) != 0;
	p->byte_ns = BYTE_NS;
	if (has(p, "[") && (unicode || has(p, "\\p") || has(p, "\\P")))
		p->byte_ns += CLASS_BYTE_NS * p->len;
	p->most = ITEM_NS / p->byte_ns;
	if (p->most > MAX_SUBJECT)
		p->most = MAX_SUBJECT;
	if ((options & PCRE2_UTF) != 0 && has(p, "\\X") &&
	    p->most > MAX_CLUSTERS)
		p->most = MAX_CLUSTERS;
}

static bool
is(const struct pattern *p, const char *text, size_t len)
{

	return (p->code != NULL && p->len == len &&
	    memcmp(p->text, text, len) == 0);
}

/* The handle of a pattern that is there already, or -1. */
static int
known(struct tkc_regexes *x, const char *text, size_t len)
{
	int h;

	for (h = 0; h < TKC_MAX_REGEXES; h++) {
		if (is(&x->slot[h], text, len))
			return (h);
		if (x->base != NULL && x->slot[h].code == NULL &&
		    is(&x->base->slot[h], text, len)) {
			x->dropped &= ~(1ULL << h);
			return (h);
		}
	}
	return (-1);
}

int
tkc_regexes_compile(struct tkc_regexes *x, const char *pattern, size_t len,
    char *why, size_t why_size)
{
	struct job j = { pattern, len, NULL, 0, 0 };
	PCRE2_UCHAR text[128];
	unsigned h;
	int e;

	TK_CHECK_OBJ(x, TKC_REGEXES_MAGIC);
	e = known(x, pattern, len);
	if (e >= 0)
		return (e);
	for (h = 0; h < TKC_MAX_REGEXES; h++)
		if (lookup(x, h) == NULL)
			break;
	if (h == TKC_MAX_REGEXES) {
		(void)snprintf(why, why_size, "there are %d already: free one "
		    "first", TKC_MAX_REGEXES);
		return (-1);
	}
	x->slot[h].text = malloc(len + 1);
	if (x->slot[h].text == NULL || !compile_apart(&j)) {
		clear(&x->slot[h]);
		(void)snprintf(why, why_size, "the host has no memory for it");
		return (-1);
	}
	if (j.code == NULL) {
		clear(&x->slot[h]);
		(void)pcre2_get_error_message(j.error, text, sizeof text);
		(void)snprintf(why, why_size, "at offset %zu: %s", j.at,
		    (const char *)text);
		return (-1);
	}
	memcpy(x->slot[h].text, pattern, len);
	x->slot[h].len = len;
	x->slot[h].code = j.code;
	estimate(&x->slot[h]);
	return ((int)h);
}

/*--------------------------------------------------------------------
 * Matching
 */

size_t
tkc_regexes_most(const struct tkc_regexes *x, unsigned handle)
{
	const struct pattern *p = lookup(x, handle);

	TK_CHECK_OBJ(x, TKC_REGEXES_MAGIC);
	tk_assert(p != NULL);
	return (p->most);
}

static int
match(struct tkc_regexes *x, const struct pattern *p, const char *subject,
    size_t len, size_t at, uint32_t options)
{
	uint32_t captures = 0;

	(void)pcre2_pattern_info(p->code, PCRE2_INFO_CAPTURECOUNT, &captures);
	if (x->data != NULL &&
	    pcre2_get_ovector_count(x->data) < captures + 1) {
		pcre2_match_data_free(x->data);
		x->data = NULL;
	}
	if (x->data == NULL)
		x->data = pcre2_match_data_create(captures + 1, NULL);
	if (x->data == NULL)
		return (PCRE2_ERROR_NOMEMORY);
	x->steps = 0;
	x->weight = 1 + len * p->byte_ns * STEPS / LOOK_NS;
	return (pcre2_match(p->code, (PCRE2_SPTR)subject, len, at, options,
	    x->data, x->context));
}

int
tkc_regexes_match(struct tkc_regexes *x, unsigned handle, const char *subject,
    size_t len, const struct tk_machine *vm)
{
	const struct pattern *p = lookup(x, handle);

	TK_CHECK_OBJ(x, TKC_REGEXES_MAGIC);
	tk_assert(p != NULL);
	x->vm = vm;
	return (match(x, p, subject, len, 0, 0));
}

/* Text that grows to `most` bytes and no further. */
struct text {
	char			*at;
	size_t			used, room, most;
	bool			full;
};

static void
add(struct text *t, const char *s, size_t n)
{
	size_t want;
	char *more;

	if (n == 0 || t->full)
		return;
	if (n > t->most - t->used) {
		t->full = true;
		return;
	}
	if (t->room - t->used < n) {
		want = t->used + n < t->most / 2 ? (t->used + n) * 2 : t->most;
		more = realloc(t->at, want);
		if (more == NULL) {
			t->full = true;
			return;
		}
		t->at = more;
		t->room = want;
	}
	tk_assert(t->at != NULL);
	memcpy(t->at + t->used, s, n);
	t->used += n;
}

/* \0 to \9 are captures; another character behind a backslash is itself. */
static void
add_replacement(struct text *t, const char *r, const char *subject,
    const PCRE2_SIZE *v, int captures)
{
	int n;

	for (; *r != '\0'; r++) {
		if (*r != '\\' || r[1] == '\0') {
			add(t, r, 1);
			continue;
		}
		r++;
		if (!isdigit((unsigned char)*r)) {
			add(t, r, 1);
			continue;
		}
		n = *r - '0';
		if (n < captures && v[2 * n] != PCRE2_UNSET)
			add(t, subject + v[2 * n], v[2 * n + 1] - v[2 * n]);
	}
}

int64_t
tkc_regexes_subst(struct tkc_regexes *x, unsigned handle, const char *subject,
    size_t len, const char *replacement, bool all, size_t most,
    const struct tk_machine *vm, char **out)
{
	const struct pattern *p = lookup(x, handle);
	struct text t = { NULL, 0, 0, most, false };
	const PCRE2_SIZE *v;
	size_t at = 0;
	int n;

	TK_CHECK_OBJ(x, TKC_REGEXES_MAGIC);
	tk_assert(p != NULL);
	*out = NULL;
	x->vm = vm;
	n = match(x, p, subject, len, 0, 0);
	while (n > 0 && !t.full) {
		v = pcre2_get_ovector_pointer(x->data);
		/* \K in a lookahead can put the start behind the end. */
		if (v[0] > v[1] || v[0] < at)
			break;
		add(&t, subject + at, v[0] - at);
		add_replacement(&t, replacement, subject, v, n);
		at = v[1];
		if (!all || at >= len)
			break;
		/* Each looks through what is left for broken UTF-8. */
		n = tk_seconds_left(vm) > 0 ? match(x, p, subject, len, at,
		    PCRE2_NOTEMPTY) : PCRE2_ERROR_CALLOUT;
	}
	if (n < PCRE2_ERROR_NOMATCH) {
		free(t.at);
		return (n);
	}
	add(&t, subject + at, len - at);
	add(&t, "", 1);
	if (t.full) {
		free(t.at);
		return (-1);
	}
	*out = t.at;
	return ((int64_t)t.used - 1);
}
