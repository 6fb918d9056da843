/*-
 * SPDX-License-Identifier: BSD-2-Clause
 */

#include "vm.h"

static enum tk_verdict
on_call(struct tk_machine *m, uint32_t number, void *priv)
{
	struct guest *g = priv;
	int e;

	switch (number) {
	case 1:
		/* A guest that jumped anywhere may come here too. */
		if (!tk_is_booting(m) || tk_arg(m, 0) >= ADDRESSES)
			return (tk_fail(m, 0, "host call 1 at a wrong time"));
		g->at[tk_arg(m, 0)] = tk_arg(m, 1);
		return (TK_RESUME);
	case 2:
		return (TK_DONE);
	case 3:
		g->result = (int64_t)tk_arg(m, 0);
		return (TK_DONE);
	case 4: {
		uint64_t args[1][3] = { { tk_arg(m, 0), tk_arg(m, 1), 0 } };

		e = tk_parallel_start(m, 1, g->at[ADDRESS_OPERATE],
		    (const uint64_t (*)[3])args, 5);
		if (e == 0)
			e = tk_parallel_wait(m);
		tk_set_result(m, (uint64_t)(int64_t)e);
		return (TK_RESUME);
	}
	default:
		return (tk_fail(m, 0, "host call %u", number));
	}
}

static void
on_output(int fd, const char *text, size_t len, void *priv)
{
	struct guest *g = priv;
	size_t have = strlen(g->output);

	CHECK(fd == 1 || fd == 2);
	if (len < sizeof g->output - have) {
		memcpy(g->output + have, text, len);
		g->output[have + len] = '\0';
	}
}

static void
on_refused(const char *what, void *priv)
{
	struct guest *g = priv;

	snprintf(g->refused, sizeof g->refused, "%s", what);
	g->refusals++;
}

static bool
on_stopped(void *priv)
{
	const struct guest *g = priv;

	return (g->stopped);
}

const struct tk_guest_ops guest_ops = {
	.host_call = on_call,
	.output = on_output,
	.refused = on_refused,
	.stopped = on_stopped,
};

void *
read_file(const char *name, size_t *len)
{
	FILE *f = name != NULL ? fopen(name, "rb") : NULL;
	void *p;

	CHECK_MSG(f != NULL, "%s", name != NULL ? name :
	    "TK_TEST_GUEST is not set");
	CHECK(fseek(f, 0, SEEK_END) == 0);
	*len = (size_t)ftell(f);
	rewind(f);
	p = malloc(*len + 1);
	CHECK(p != NULL && fread(p, 1, *len, f) == *len);
	fclose(f);
	return (p);
}

void
guest_boot(struct guest *g, const struct boot *b)
{
	const char *argv[] = { "guest", "one", b->threads || b->spinner ?
	    "0" : b->in_use, b->threads ? "threads" : b->spinner ? "spinner" :
	    NULL, NULL };
	static const char *const envp[] = { "TEST=yes", NULL };
	struct tk_boot_options o;
	struct tk_error err;
	void *elf;
	int e;

	memset(g, 0, sizeof *g);
	memset(&o, 0, sizeof o);
	elf = read_file(b->file != NULL ? b->file : getenv("TK_TEST_GUEST"),
	    &o.elf_len);
	o.elf = elf;
	o.argv = argv;
	o.envp = envp;
	o.memory = (b->memory ? b->memory : 64) << 20;
	o.request_memory = (b->request_memory ? b->request_memory : 16) << 20;
	o.input_size = 1 << 20;
	o.shared_memory = b->shared << 20;
	o.shared_of = b->shared_of;
	o.seconds = 120;
	o.paths = b->paths;
	o.n_paths = b->n_paths;
	o.cwd = b->cwd;
	o.private_text = b->private_text;
	o.ops = &guest_ops;
	o.priv = g;
	e = tk_boot(&g->master, &o, &err);
	CHECK_MSG(e == 0, "%s", err.text);
	free(elf);
}

void
guest_free(struct guest *g)
{

	tk_master_free(&g->master);
}

int
guest_op(struct guest *g, struct tk_machine *m, struct tk_error *err,
    double seconds, uint64_t op, uint64_t a, uint64_t b, uint64_t c)
{
	struct tk_call call;

	memset(&call, 0, sizeof call);
	call.function = g->at[ADDRESS_OPERATE];
	call.args[0] = op;
	call.args[1] = a;
	call.args[2] = b;
	call.args[3] = c;
	call.seconds = seconds;
	g->result = INT64_MIN;
	return (tk_call(m, &call, err));
}
