/*-
 * SPDX-License-Identifier: BSD-2-Clause
 *
 * Directors: one per program that program() was asked for. What they do when
 * they are asked is in fetch.c.
 */

#include <stdlib.h>
#include <string.h>

#include "vmod_tinykvm.h"

static VCL_BOOL v_matchproto_(vdi_healthy_f)
be_healthy(VRT_CTX, VCL_BACKEND dir, VCL_TIME *changed)
{

	(void)ctx;
	(void)dir;
	if (changed != NULL)
		*changed = 0;
	return (1);
}

static void v_matchproto_(vdi_list_f)
be_list(VRT_CTX, VCL_BACKEND dir, struct vsb *vsb, int pflag, int jflag)
{
	const struct tk_backend *be;
	struct tkc_counters c;

	(void)ctx;
	CAST_OBJ_NOTNULL(be, dir->priv, TK_BACKEND_MAGIC);
	memset(&c, 0, sizeof c);
	if (be->program != NULL)
		tkc_counters(be->program, &c);
	if (jflag)
		VSB_printf(vsb, "[%ju, %ju, \"healthy\"]",
		    (uintmax_t)c.forks_busy, (uintmax_t)c.forks);
	else if (pflag)
		VSB_printf(vsb, "\n\t%ju of %ju forks busy, %ju waiting\n",
		    (uintmax_t)c.forks_busy, (uintmax_t)c.forks,
		    (uintmax_t)c.queue_length);
	else
		VSB_printf(vsb, "%ju/%ju\thealthy", (uintmax_t)c.forks_busy,
		    (uintmax_t)c.forks);
}

static void v_matchproto_(vdi_panic_f)
be_panic(VCL_BACKEND dir, struct vsb *vsb)
{
	const struct tk_backend *be = dir->priv;

	VSB_printf(vsb, "program = \"%s\",\n", be->name);
}

static void v_matchproto_(vdi_destroy_f)
be_destroy(VCL_BACKEND dir)
{
	struct tk_backend *be;

	CAST_OBJ_NOTNULL(be, dir->priv, TK_BACKEND_MAGIC);
	free(be->name);
	FREE_OBJ(be);
}

static const struct vdi_methods be_methods[1] = {{
	.magic =	VDI_METHODS_MAGIC,
	.type =		"tinykvm",
	.gethdrs =	tk_fetch_headers,
	.finish =	tk_fetch_finish,
	.healthy =	be_healthy,
	.list =		be_list,
	.panic =	be_panic,
	.destroy =	be_destroy,
}};

/*--------------------------------------------------------------------*/

static struct tk_backend *
lookup(struct vmod_tinykvm *vt, const char *name)
{
	struct tk_backend *be;

	AZ(pthread_mutex_lock(&vt->lock));
	for (be = vt->backends; be != NULL; be = be->next)
		if (strcmp(be->name, name) == 0)
			break;
	AZ(pthread_mutex_unlock(&vt->lock));
	return (be);
}

VCL_BACKEND
tk_backend_get(VRT_CTX, struct vmod_tinykvm *vt, const char *name)
{
	struct tk_backend *be, *other;
	struct tkc_program *p;
	struct tkc_error err;

	be = lookup(vt, name);
	if (be != NULL)
		return (be->director);
	p = tk_find(ctx, vt, name, &err);
	if (p == NULL)
		name = "";
	if (p == NULL && (be = lookup(vt, name)) != NULL)
		return (be->director);
	ALLOC_OBJ(be, TK_BACKEND_MAGIC);
	if (be != NULL)
		be->name = strdup(name);
	if (be == NULL || be->name == NULL) {
		free(be);
		VRT_fail(ctx, "tinykvm.program(): out of memory");
		return (NULL);
	}
	be->vmod = vt;
	be->program = p;
	be->director = VRT_AddDirector(ctx, be_methods, be, "tinykvm_%s",
	    *name != '\0' ? name : "unknown");
	if (be->director == NULL) {
		free(be->name);
		FREE_OBJ(be);
		VRT_fail(ctx, "tinykvm.program(): no backend could be made");
		return (NULL);
	}
	AZ(pthread_mutex_lock(&vt->lock));
	for (other = vt->backends; other != NULL; other = other->next)
		if (strcmp(other->name, name) == 0)
			break;
	if (other == NULL) {
		be->next = vt->backends;
		vt->backends = be;
	}
	AZ(pthread_mutex_unlock(&vt->lock));
	if (other != NULL) {
		/* Another thread was faster. */
		VRT_DelDirector(&be->director);
		be = other;
	}
	return (be->director);
}

void
tk_backends_delete(struct vmod_tinykvm *vt)
{
	struct tk_backend *be;

	/* The VCL has no tasks any more; each frees itself in destroy. */
	while ((be = vt->backends) != NULL) {
		VCL_BACKEND dir = be->director;

		vt->backends = be->next;
		VRT_DelDirector(&dir);
	}
}
