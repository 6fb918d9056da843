/*-
 * SPDX-License-Identifier: BSD-2-Clause
 *
 * Boot and freeze.
 */

#include <errno.h>
#include <stdio.h>

#include "elf_loader.h"
#include "error.h"
#include "guest_kernel.h"
#include "guest_layout.h"
#include "initial_stack.h"
#include "linux/linux.h"
#include "linux/path.h"
#include "machine.h"
#include "object.h"
#include "parallel.h"

static int
parse(struct tk_elf *elf, const void *image, size_t len, bool has_files,
    struct tk_error *err)
{
	int e;

	e = tk_elf_parse(elf, image, len, err);
	if (e == 0 && elf->interpreter[0] != '\0' && !has_files)
		e = tk_error(err, TK_BAD_PROGRAM, 0, "dynamically linked, "
		    "wants the interpreter %s: link it statically (-static or "
		    "-static-pie), or allow the interpreter and its libraries "
		    "(allowed_paths)", elf->interpreter);
	return (e);
}

int
tk_check_program(const void *image, size_t len, bool has_files,
    struct tk_error *err)
{
	struct tk_elf elf;

	return (parse(&elf, image, len, has_files, err));
}

static int
no_room(struct tk_error *err, const char *what)
{

	return (tk_error(err, TK_BAD_PROGRAM, 0, "the program's %s does not "
	    "fit into its memory: raise max_memory", what));
}

/* The stacks, and where the embedder writes what it gives to calls. */
static int
map_fixed_areas(struct tk_master *ma, struct tk_space *sp,
    struct tk_error *err)
{
	const unsigned rw = TK_PROT_R | TK_PROT_W;
	int64_t r;

	r = tk_space_map(sp, TK_STACK_TOP - TK_STACK_SIZE, TK_STACK_SIZE, rw,
	    TK_VMA_STACK, true, false);
	if (r > 0)
		r = tk_space_map(sp, TK_CALL_STACK_TOP - TK_CALL_STACK_SIZE,
		    TK_CALL_STACK_SIZE, rw, TK_VMA_FIXED, true, false);
	if (r > 0) {
		r = tk_space_map(sp, 0, ma->input_size, rw, TK_VMA_FIXED,
		    false, false);
		ma->input = (tk_gva)r;
	}
	if (r > 0 && ma->mem.shared_size > 0 && !tk_vmas_is_free(&sp->vmas,
	    TK_SHARED_ADDR, ma->mem.shared_size))
		return (tk_error(err, TK_BAD_PROGRAM, TK_SHARED_ADDR, "a "
		    "segment lies where its shared memory (shared_memory) "
		    "goes, at 0x%llx: link it elsewhere",
		    (unsigned long long)TK_SHARED_ADDR));
	if (r > 0 && ma->mem.shared_size > 0 && tk_space_map_at(sp,
	    TK_SHARED_ADDR, ma->mem.shared_size, rw, TK_VMA_FIXED,
	    ma->mem.end) != 0)
		r = -ENOMEM;
	return (r < 0 ? no_room(err, "stack") : 0);
}

static struct tk_machine *
booting_machine(const struct tk_master *ma, const struct tk_boot_options *o,
    struct tk_error *err)
{
	struct tk_machine *m;

	TK_ALLOC_OBJ(m, TK_MACHINE_MAGIC);
	if (m == NULL) {
		(void)tk_error(err, TK_HOST, 0, "Out of memory");
		return (NULL);
	}
	m->host = ma->host;
	m->ops = ma->ops;
	m->priv = o->priv;
	m->symbols = ma->symbols;
	m->mem = ma->mem;
	tk_space_init(&m->space, &m->mem);
	if (tk_threads_init(&m->threads)) {
		TK_FREE_OBJ(m);
		(void)tk_error(err, TK_HOST, 0, "Out of memory");
		return (NULL);
	}
	m->watch.stopped = tk_is_stopped;
	tk_watch_add(&m->watch);
	return (m);
}

static void
booting_free(struct tk_machine **pm)
{
	struct tk_machine *m;

	TK_TAKE_OBJ(m, pm, TK_MACHINE_MAGIC);
	tk_watch_remove(&m->watch);
	if (m->vcpu != NULL)
		tk_vcpu_put(&m->vcpu);
	tk_files_fini(&m->files, false);
	tk_space_fini(&m->space);
	tk_threads_fini(&m->threads);
	tk_parallel_free(m);
	TK_FREE_OBJ(m);
}

/* Larger than any interpreter. */
#define MAX_INTERPRETER	(64 * 1024 * 1024)

/* Of a dynamic program: reads it as the program itself would, and loads it. */
static int
load_interpreter(struct tk_machine *m, const char *path, struct tk_elf *elf,
    struct tk_error *err)
{
	struct tk_error why = { .text = "" };
	size_t len;
	void *image;
	int e;

	e = tk_host_read(m, path, MAX_INTERPRETER, &image, &len);
	if (e != 0)
		return (tk_error(err, TK_BAD_PROGRAM, 0, "its interpreter %s "
		    "cannot be read (%s): allow it and its libraries "
		    "(allowed_paths), or link the program statically", path,
		    strerror(e)));
	e = tk_elf_parse(elf, image, len, &why);
	if (e == 0)
		e = tk_elf_load_interpreter(elf, &m->space, &why);
	free(image);
	if (e != 0)
		return (tk_error(err, e, 0, "its interpreter %s: %s", path,
		    why.text));
	return (0);
}

static int
load(struct tk_master *ma, struct tk_machine *m, const struct tk_elf *elf,
    const struct tk_boot_options *o, struct tk_error *err)
{
	struct tk_elf interpreter;
	tk_gva base = 0;
	int e;

	if (tk_kernel_install(&m->space, m->host))
		return (no_room(err, "kernel"));
	e = tk_elf_load(elf, &m->space, o->private_text, err);
	if (e != 0)
		return (e);
	e = map_fixed_areas(ma, &m->space, err);
	if (e != 0)
		return (e);
	if (elf->interpreter[0] != '\0') {
		e = load_interpreter(m, elf->interpreter, &interpreter, err);
		if (e != 0)
			return (e);
		base = interpreter.bias;
	}
	ma->image.entry = elf->entry;
	ma->image.phdr = elf->phdr;
	ma->image.phnum = elf->phnum;
	ma->image.base = base;
	m->image = ma->image;
	e = tk_vcpu_get(&m->vcpu, ma->host, m->space.pt.root, err);
	if (e != 0)
		return (e);
	e = tk_vcpu_set_memory(m->vcpu, &m->mem, true, err);
	if (e != 0)
		return (e);
	/* The machine may have run another program before. */
	e = tk_vcpu_settle(m->vcpu);
	if (e != 0)
		return (tk_error(err, TK_HOST, 0, "KVM_RUN, before the first "
		    "entry: %s", strerror(e)));
	e = tk_vcpu_set_fpu(m->vcpu, tk_memory_at(&m->mem, TK_K_FPU));
	if (e != 0)
		return (tk_error(err, TK_HOST, 0, "KVM_SET_XSAVE: %s",
		    strerror(e)));
	m->vcpu->regs->rip = base != 0 ? interpreter.entry : elf->entry;
	m->vcpu->regs->rsp = tk_initial_stack(m, elf, base, o->argv, o->envp);
	if (m->vcpu->regs->rsp == 0)
		return (tk_error(err, TK_BAD_PROGRAM, 0, "the arguments and "
		    "environment are longer than 2 MiB"));
	return (0);
}

/* Where the program goes on: tk_resume(). */
static void
record_registers(struct tk_master *ma, struct tk_machine *m)
{
	struct tk_resume_regs *rec = tk_memory_at(&m->mem, TK_K_RESUME);
	struct kvm_regs *r = &ma->resume;

	*r = *m->vcpu->regs;
	r->rip = tk_after_host_call(m);
	r->rflags = (r->rflags & 0xcd5) | 2;
	rec->rbx = r->rbx;
	rec->rdx = r->rdx;
	rec->r12 = r->r12;
	rec->r13 = r->r13;
	rec->r14 = r->r14;
	rec->r15 = r->r15;
	rec->rip = r->rip;
	ma->serves = m->serves;
}

static uint64_t
least(uint64_t a, uint64_t b)
{

	return (a < b ? a : b);
}

/* Records what every call starts from. */
static int
record(struct tk_master *ma, struct tk_machine *m, struct tk_error *err)
{
	struct kvm_xsave fpu;
	int e;

	record_registers(ma, m);
	if (tk_vcpu_get_bases(m->vcpu, &ma->fs_base, &ma->gs_base))
		return (tk_error(err, TK_HOST, 0, "KVM_GET_SREGS failed"));
	e = tk_vcpu_get_fpu(m->vcpu, &fpu);
	if (e != 0)
		return (tk_error(err, TK_HOST, 0, "KVM_GET_XSAVE: %s",
		    strerror(e)));
	memcpy(tk_memory_at(&m->mem, TK_K_FPU), &fpu, sizeof fpu);
	return (0);
}

/*
 * The embedder's calls into a program that waits. They end where they began:
 * in the thread that waits.
 */
static int
warm(struct tk_master *ma, struct tk_machine *m,
    const struct tk_boot_options *o, struct tk_error *err)
{
	unsigned current = m->threads.current;
	int e;

	m->master = ma;
	e = o->warm(m, o->priv, err);
	m->master = NULL;
	if (e == 0 && m->broken)
		e = tk_error(err, TK_HOST, 0, "KVM was left in the middle of "
		    "an access");
	if (e == 0 && m->threads.current != current)
		e = tk_error(err, TK_MISUSE, 0, "another thread than the one "
		    "that waits is at work afterwards");
	return (e);
}

/* Ends all writing. */
static int
freeze(struct tk_master *ma, struct tk_machine *m, struct tk_error *err)
{
	uint64_t free_bytes;
	int e;

	/* What it may need of each; never so much that none is left. */
	free_bytes = tk_space_free(&m->space);
	if (tk_space_reserve(&m->space, least(ma->request_memory / 4,
	    free_bytes / 8), least(ma->request_memory, free_bytes / 2)))
		return (tk_error(err, TK_HOST, 0, "Out of memory"));
	/* No vCPU may look at the memory while its mapping is replaced. */
	tk_vcpu_put(&m->vcpu);
	ma->space.pt = m->space.pt;
	ma->space.pt.mem = &ma->mem;
	m->threads.frozen_at = tk_now();
	if (tk_space_copy(&ma->space, &m->space) ||
	    tk_threads_copy(&ma->threads, &m->threads))
		return (tk_error(err, TK_HOST, 0, "Out of memory"));
	ma->process = m->process;
	tk_files_freeze(&ma->files, &m->files);
	e = tk_memory_freeze(&ma->mem);
	if (e != 0)
		return (tk_error(err, TK_HOST, 0, "Cannot freeze the memory "
		    "of the program: %s", strerror(e)));
	ma->bytes = tk_memory_resident(&ma->mem);
	return (0);
}

/* What the program may open, and the standard streams. */
static int
open_files(struct tk_master *ma, struct tk_machine *m,
    const struct tk_boot_options *o, struct tk_error *err)
{
	char cwd[TK_PATH_MAX];
	unsigned i;
	int e;

	e = tk_policy_new(&ma->policy, o, err);
	if (e != 0)
		return (e);
	if (tk_path_normalise(cwd, "/", o->cwd != NULL ? o->cwd : "/"))
		return (tk_error(err, TK_HOST, 0, "the current working "
		    "directory's name is too long"));
	if (tk_files_init(&m->files, ma->policy, cwd))
		return (tk_error(err, TK_HOST, 0, "Out of memory"));
	for (i = 0; i < ma->policy->n; i++)
		if (ma->policy->allowed[i].root < 0 &&
		    ma->policy->allowed[i].given == NULL)
			tk_refused(m, "allowed path %s: there is no %s",
			    ma->policy->allowed[i].virtual_path,
			    ma->policy->allowed[i].real_path);
	return (0);
}

static int
boot(struct tk_master *ma, const struct tk_boot_options *o,
    struct tk_error *err)
{
	struct tk_machine *m;
	struct tk_elf elf;
	uint64_t text;
	int e;

	e = parse(&elf, o->elf, o->elf_len, o->n_paths > 0, err);
	if (e != 0)
		return (e);
	ma->symbols = tk_symbols_read(&elf);
	text = o->private_text ? elf.read_only : 0;
	e = tk_memory_new(&ma->mem, elf.read_only - text, o->memory + text +
	    TK_STACK_SIZE + TK_CALL_STACK_SIZE + ma->input_size);
	if (e != 0)
		return (tk_error(err, TK_HOST, 0, "Memory for the program: %s",
		    strerror(e)));
	if (o->shared_of != NULL)
		tk_memory_share_with(&ma->mem, &o->shared_of->mem);
	else if (o->shared_memory > 0 && (e = tk_memory_share(&ma->mem,
	    o->shared_memory)) != 0)
		return (tk_error(err, TK_HOST, 0, "Shared memory for the "
		    "program: %s", strerror(e)));
	m = booting_machine(ma, o, err);
	if (m == NULL)
		return (TK_HOST);
	m->space.allow_wx = o->executable_heap;
	m->may_serve = o->may_serve;
	e = open_files(ma, m, o, err);
	if (e == 0)
		e = load(ma, m, &elf, o, err);
	if (e == 0)
		e = tk_run(m, o->seconds, NULL, err);
	if (e == 0)
		e = record(ma, m, err);
	if (e == 0 && o->warm != NULL && !m->serves)
		e = warm(ma, m, o, err);
	if (e == 0)
		e = freeze(ma, m, err);
	booting_free(&m);
	return (e);
}

int
tk_boot(struct tk_master **pma, const struct tk_boot_options *o,
    struct tk_error *err)
{
	const struct tk_host *h;
	struct tk_master *ma;
	int e;

	*pma = NULL;
	tk_assert(o->argv != NULL && o->argv[0] != NULL && o->envp != NULL);
	h = tk_host(err);
	if (h == NULL)
		return (TK_HOST);
	TK_ALLOC_OBJ(ma, TK_MASTER_MAGIC);
	if (ma == NULL)
		return (tk_error(err, TK_HOST, 0, "Out of memory"));
	ma->host = h;
	ma->ops = o->ops;
	ma->mem.fd = -1;
	ma->input_size = (o->input_size + TK_PAGE - 1) &
	    ~(uint64_t)(TK_PAGE - 1);
	ma->request_memory = o->request_memory;
	e = boot(ma, o, err);
	if (e != 0)
		tk_master_free(&ma);
	*pma = ma;
	return (e);
}

void
tk_master_free(struct tk_master **pma)
{
	struct tk_master *ma;

	TK_TAKE_OBJ(ma, pma, TK_MASTER_MAGIC);
	tk_assert(ma->forks == 0);
	if (ma->mem.magic == TK_MEMORY_MAGIC)
		tk_memory_free(&ma->mem);
	tk_files_fini(&ma->files, true);
	if (ma->policy != NULL)
		tk_policy_free(&ma->policy);
	tk_space_fini(&ma->space);
	tk_threads_fini(&ma->threads);
	tk_symbols_free(ma->symbols);
	TK_FREE_OBJ(ma);
}

uint64_t
tk_master_bytes(const struct tk_master *ma)
{

	TK_CHECK_OBJ(ma, TK_MASTER_MAGIC);
	return (ma->bytes);
}
