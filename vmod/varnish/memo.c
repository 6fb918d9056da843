/*-
 * SPDX-License-Identifier: BSD-2-Clause
 *
 * What a task remembers: the programs that chain() has queued, and forks that
 * are kept for its next call. All of it is given back when the task ends,
 * however it does.
 */

#include <string.h>

#include "vmod_tinykvm.h"

static void
memo_fini(VRT_CTX, void *priv)
{
	struct tk_memo *m;

	(void)ctx;
	CAST_OBJ_NOTNULL(m, priv, TK_MEMO_MAGIC);
	while (m->n_kept > 0)
		tkc_release(&m->kept[--m->n_kept], NULL);
}

static const struct vmod_priv_methods memo_methods[1] = {{
	.magic =	VMOD_PRIV_METHODS_MAGIC,
	.type =		"tinykvm_memo",
	.fini =		memo_fini,
}};

struct tk_memo *
tk_memo_get(VRT_CTX, const struct vmod_tinykvm *vt)
{
	const struct vmod_priv *p;
	struct tk_memo *m;

	p = VRT_priv_task_get(ctx, vt);
	if (p == NULL || p->priv == NULL)
		return (NULL);
	CAST_OBJ_NOTNULL(m, p->priv, TK_MEMO_MAGIC);
	return (m);
}

struct tk_memo *
tk_memo(VRT_CTX, const struct vmod_tinykvm *vt, const char *function)
{
	struct vmod_priv *p;
	struct tk_memo *m;

	p = VRT_priv_task(ctx, vt);
	if (p != NULL && p->priv != NULL) {
		CAST_OBJ_NOTNULL(m, p->priv, TK_MEMO_MAGIC);
		return (m);
	}
	m = p != NULL ? WS_Alloc(ctx->ws, sizeof *m) : NULL;
	if (m == NULL) {
		VRT_fail(ctx, "tinykvm.%s(): the workspace is too small: "
		    "raise workspace_client or workspace_backend", function);
		return (NULL);
	}
	INIT_OBJ(m, TK_MEMO_MAGIC);
	p->priv = m;
	p->methods = memo_methods;
	return (m);
}

struct tkc_invocation *
tk_memo_take(struct tk_memo *m, const struct tkc_program *p)
{
	struct tkc_invocation *inv;
	unsigned i;

	if (m == NULL)
		return (NULL);
	for (i = 0; i < m->n_kept; i++) {
		inv = m->kept[i];
		if (tkc_program_of(inv) != p)
			continue;
		m->kept[i] = m->kept[--m->n_kept];
		return (inv);
	}
	return (NULL);
}

void
tk_memo_keep(VRT_CTX, const struct vmod_tinykvm *vt,
    struct tkc_invocation **inv)
{
	struct tk_memo *m;

	m = tk_memo(ctx, vt, "soft_reset");
	if (m != NULL && m->n_kept < TK_MAX_KEPT) {
		tkc_keep(inv);
		if (*inv != NULL)
			m->kept[m->n_kept++] = *inv;
		*inv = NULL;
		return;
	}
	if (m != NULL)
		tk_log(ctx, "tinykvm: soft_reset: a task keeps at most %d "
		    "forks; this one is reset", TK_MAX_KEPT);
	tkc_release(inv, NULL);
}

unsigned
tk_memo_chain(VRT_CTX, struct tk_memo *m, unsigned method,
    struct tk_step step[TK_MAX_CHAIN])
{
	unsigned n;

	if (m == NULL)
		return (0);
	n = m->n_steps;
	m->n_steps = 0;
	if (n > 0 && m->method != method) {
		tk_log(ctx, "tinykvm: %u programs that chain() queued in "
		    "another sub are dropped", n);
		return (0);
	}
	memcpy(step, m->step, n * sizeof *step);
	return (n);
}
