/*-
 * SPDX-License-Identifier: BSD-2-Clause
 *
 * What a program may do to its own address space, and what that may cost.
 */

#include <errno.h>
#include <fcntl.h>
#include <sys/mman.h>
#include <sys/syscall.h>

#include "file_vm.h"
#include "image.h"
#include "one_fork.h"
#include "parallel.h"

static struct file_vm vm;

#define ANONYMOUS	(MAP_PRIVATE | MAP_ANONYMOUS | MAP_NORESERVE)
#define TERABYTES	(UINT64_C(16) << 40)

static int64_t
map(uint64_t len, uint64_t prot, uint64_t flags, int64_t fd)
{

	return (file_vm_call(&vm, SYS_mmap, 0, len, prot, flags,
	    (uint64_t)fd));
}

/* Text is shared by all forks, also where a program may make its own code. */
static void
text_stays_read_only(void)
{
	tk_gva text;
	unsigned i;

	file_vm_init(&vm, false);
	text = vm.g.at[FILE_AT_CALL] & ~(tk_gva)(TK_PAGE - 1);
	for (i = 0; i < 2; i++) {
		CHECK(SYS(&vm, mprotect, text, TK_PAGE, PROT_READ |
		    PROT_WRITE) == -EACCES);
		CHECK(SYS(&vm, mprotect, text, TK_PAGE, PROT_READ |
		    PROT_WRITE | PROT_EXEC) == -EACCES);
		CHECK(SYS(&vm, getrandom, text, 64, 0) == -EFAULT);
		/* As "executable_heap" does. */
		vm.m->space.allow_wx = true;
	}
	file_vm_fini(&vm);
}

/* Whatever the permission is by now, and back as it was after the request. */
static void
what_is_given_up_is_zero(void)
{
	static const uint64_t prots[] = { PROT_READ, PROT_NONE };
	uint8_t b[64], zeros[64] = { 0 };
	int64_t at;
	unsigned i;

	file_vm_init(&vm, false);
	for (i = 0; i < 2; i++) {
		at = map(2 * TK_PAGE, PROT_READ | PROT_WRITE, ANONYMOUS, -1);
		CHECK(at > 0);
		CHECK(SYS(&vm, getrandom, at + TK_PAGE, 64, 0) == 64);
		CHECK(SYS(&vm, mprotect, at, 2 * TK_PAGE, prots[i]) == 0);
		CHECK(SYS(&vm, madvise, at, 2 * TK_PAGE, MADV_DONTNEED) == 0);
		CHECK(SYS(&vm, mprotect, at, 2 * TK_PAGE, PROT_READ) == 0);
		CHECK(tk_read(vm.m, b, (tk_gva)at + TK_PAGE, sizeof b));
		CHECK(memcmp(b, zeros, sizeof b) == 0);
	}
	/* With a hole before it: an error, and given up all the same. */
	at = map(2 * TK_PAGE, PROT_READ | PROT_WRITE, ANONYMOUS, -1);
	CHECK(SYS(&vm, getrandom, at + TK_PAGE, 64, 0) == 64);
	CHECK(SYS(&vm, munmap, at, TK_PAGE, 0) == 0);
	CHECK(SYS(&vm, madvise, at, 2 * TK_PAGE, MADV_DONTNEED) == -ENOMEM);
	CHECK(tk_read(vm.m, b, (tk_gva)at + TK_PAGE, sizeof b));
	CHECK(memcmp(b, zeros, sizeof b) == 0);
	/* What came with the program is as it came: Linux has it in a file. */
	at = (int64_t)vm.g.at[FILE_AT_CALL] & ~(int64_t)(TK_PAGE - 1);
	CHECK(SYS(&vm, madvise, at, TK_PAGE, MADV_DONTNEED) == 0);
	CHECK(tk_read(vm.m, b, vm.g.at[FILE_AT_CALL], sizeof b));
	CHECK(memcmp(b, zeros, sizeof b) != 0);
	file_vm_fini(&vm);
}

/*
 * Memory that calls find mapped, and did not touch, is not written: it would be
 * of the working set, and count as what the request wrote.
 */
static void
given_up_untouched(void)
{
	const uint64_t len = 8 << 20;
	unsigned before, i;
	uint8_t b[64], zeros[64] = { 0 };
	int64_t at;

	file_vm_init(&vm, false);
	for (i = 0; i < 2; i++) {
		at = map(len, PROT_READ | PROT_WRITE, ANONYMOUS, -1);
		CHECK(at > 0 && (tk_gva)at >= vm.m->space.arena &&
		    (tk_gva)at + len <= vm.m->space.arena_end);
		CHECK(SYS(&vm, getrandom, at + TK_PAGE, 64, 0) == 64);
		before = tk_working_set(vm.m);
		CHECK(SYS(&vm, madvise, at, len, MADV_DONTNEED) == 0);
		CHECK_MSG(tk_working_set(vm.m) == before, "%u pages more",
		    tk_working_set(vm.m) - before);
		CHECK(tk_read(vm.m, b, (tk_gva)at + TK_PAGE, sizeof b));
		CHECK(memcmp(b, zeros, sizeof b) == 0);
		(void)tk_reset(vm.m);
	}
	file_vm_fini(&vm);
}

/* Within the time limit: none of them looks at each page. */
static void
terabytes(void)
{
	int64_t a, b;

	file_vm_init(&vm, false);
	a = map(TERABYTES, PROT_NONE, ANONYMOUS, -1);
	CHECK(a > 0);
	CHECK(SYS(&vm, mprotect, a, TERABYTES, PROT_READ | PROT_WRITE) == 0);
	CHECK(SYS(&vm, getrandom, a + (1LL << 40), 64, 0) == 64);
	CHECK(SYS(&vm, madvise, a, TERABYTES, MADV_DONTNEED) == 0);
	CHECK(SYS(&vm, getrandom, a + (1LL << 40), 64, 0) == 64);
	b = file_vm_call(&vm, SYS_mremap, (uint64_t)a, TERABYTES,
	    2 * TERABYTES, MREMAP_MAYMOVE, 0);
	CHECK(b > 0);
	CHECK(SYS(&vm, munmap, b, 2 * TERABYTES, 0) == 0);
	a = map(TERABYTES, PROT_NONE, ANONYMOUS, -1);
	/* In the way, so that it must move. */
	CHECK(a > 0 && file_vm_call(&vm, SYS_mmap, (uint64_t)a + TERABYTES,
	    TK_PAGE, PROT_NONE, ANONYMOUS | MAP_FIXED, UINT64_MAX) > 0);
	b = file_vm_call(&vm, SYS_mremap, (uint64_t)a, TERABYTES,
	    2 * TERABYTES, MREMAP_MAYMOVE, 0);
	CHECK(b > 0 && b != a);
	file_vm_fini(&vm);
}

/* What a program can write is not a library, whichever way it was opened. */
static void
no_code_from_writable_files(void)
{
	int64_t fd;

	file_vm_init(&vm, false);
	fd = SYS(&vm, open, PATH(&vm, "/data/pages"), O_RDONLY, 0);
	CHECK(fd >= 0);
	CHECK(map(TK_PAGE, PROT_READ, MAP_PRIVATE, fd) > 0);
	CHECK(map(TK_PAGE, PROT_READ | PROT_EXEC, MAP_PRIVATE, fd) == -EACCES);
	fd = SYS(&vm, open, PATH(&vm, "/ro/deep/file"), O_RDONLY, 0);
	CHECK(fd >= 0);
	CHECK(map(TK_PAGE, PROT_READ | PROT_EXEC, MAP_PRIVATE, fd) > 0);
	file_vm_fini(&vm);
}

/* A heap that cannot be is refused before memory is looked for. */
static void
heaps_that_do_not_fit(void)
{
	tk_gva brk, limit;
	unsigned unused;
	uint64_t left;

	file_vm_init(&vm, false);
	unused = vm.m->space.pages.n_unused;
	brk = (tk_gva)SYS(&vm, brk, 0, 0, 0);
	limit = vm.m->space.heap_end;
	left = tk_pool_free(&vm.m->space.pages);
	CHECK(limit > brk && left > TK_PAGE);
	CHECK(SYS(&vm, brk, limit + left + 1, 0, 0) == (int64_t)brk);
	CHECK(SYS(&vm, brk, brk + TERABYTES, 0, 0) == (int64_t)brk);
	CHECK(tk_pool_free(&vm.m->space.pages) == left);
	CHECK(vm.m->space.pages.n_unused == unused);
	/* All that is there can be had. */
	CHECK(SYS(&vm, brk, limit + left, 0, 0) == (int64_t)(limit + left));
	CHECK(tk_pool_free(&vm.m->space.pages) == 0);
	CHECK(SYS(&vm, brk, limit, 0, 0) == (int64_t)limit);
	CHECK(tk_pool_free(&vm.m->space.pages) == left);
	CHECK(SYS(&vm, brk, limit + 1, 0, 0) == (int64_t)limit + 1);
	(void)tk_reset(vm.m);
	CHECK(!tk_broken(vm.m));
	file_vm_fini(&vm);
}

/*--------------------------------------------------------------------*/

#define does(op, a, b)	succeeds(20, (op), (a), (b), 0)

/* Nor by a libc that gives up the stack of a thread when that ends. */
static void
stacks_of_threads(void)
{
	unsigned i;

	set_up(&(struct boot){ .memory = 256, .request_memory = 64,
	    .in_use = "j" });
	for (i = 0; i < 3; i++) {
		(void)does(OP_THREADS, 2, 0);
		CHECK_MSG(tk_working_set(m) < 500, "%u pages",
		    tk_working_set(m));
		(void)tk_reset(m);
		CHECK(!tk_broken(m));
	}
	tear_down();
}

/* A fault that was mended is not the same fault when it comes again. */
static void
the_same_address_again(void)
{

	set_up(&(struct boot){ .request_memory = 64 });
	CHECK(does(OP_MAPS, 30, 4 << 20) == 30);
	CHECK(does(OP_MAPS, 30, 256 << 20) == 30);
	(void)tk_reset(m);
	CHECK(does(OP_MAPS, 30, 256 << 20) == 30);
	tear_down();
}

/* Memory that was short once does not make each fault one of memory. */
static void
a_fault_after_a_shortage(void)
{

	set_up(&(struct boot){ .request_memory = 64 });
	CHECK(does(OP_EXHAUST, 8, 0) == 1);
	(void)tk_reset(m);
	CHECK(does(OP_EXHAUST, 8, 0) == 1);
	tear_down();
}

/* The next owner of the VM would go on in the middle of an instruction. */
static void
spoiled_on_another_vcpu(void)
{

	set_up(&(struct boot){ .request_memory = 64 });
	CHECK(does(OP_SPOIL, OP_NOP, 0) == 0);
	(void)tk_reset(m);
	CHECK(!tk_broken(m) && !m->vcpu->spoiled);
	/* It wants an answer from the port. */
	CHECK(does(OP_SPOIL, OP_IN, 0) == -1);
	(void)tk_reset(m);
	CHECK(tk_broken(m) && m->vcpu->spoiled);
	tear_down();
}

/*
 * What is mapped by entries of 2 MiB cannot be unmapped, protected or replaced:
 * an error, not a success that changes nothing. The ends of it can.
 */
static void
large_constants_stay(void)
{
	const tk_gva at = 0x800000, whole = at + TK_HUGE, end = at + 4 * TK_HUGE;
	struct tk_space *sp;
	struct tk_error err;
	struct image *im;
	unsigned i, n;
	uint64_t left;
	uint8_t c;

	im = calloc(1, sizeof *im + 4 * TK_HUGE);
	CHECK(im != NULL);
	image_init(im);
	image_waits(im, 0);
	im->ph[1].p_flags = PF_R;
	im->ph[1].p_offset = sizeof *im;
	im->ph[1].p_vaddr = at - TK_PAGE;
	im->ph[1].p_filesz = im->ph[1].p_memsz = 4 * TK_HUGE;
	memset(im + 1, 0x43, 4 * TK_HUGE);
	CHECK_MSG(image_boot(&g, im, sizeof *im + 4 * TK_HUGE, 5, &err) == 0,
	    "%s", err.text);
	CHECK_MSG(tk_fork(g.master, &m, &g, &err) == 0, "%s", err.text);
	free(im);
	sp = &m->space;
	for (i = 0; i < 2; i++) {
		m->changed = true;
		n = sp->vmas.n;
		CHECK(tk_pt_walk(&sp->pt, whole, &left) & TK_PTE_HUGE);
		CHECK(tk_space_unmap(sp, whole, TK_PAGE) == ENOMEM);
		CHECK(tk_space_unmap(sp, at - TK_PAGE, 4 * TK_HUGE) == ENOMEM);
		CHECK(tk_space_unmap(sp, at - 2 * TK_HUGE, TK_HUGE * 5) ==
		    ENOMEM);
		CHECK(tk_space_protect(sp, whole, TK_PAGE, 0) == ENOMEM);
		CHECK(tk_space_protect(sp, at - TK_PAGE, 2 * TK_PAGE, 0) ==
		    ENOMEM);
		CHECK(tk_space_protect(sp, whole, TK_PAGE, TK_PROT_R |
		    TK_PROT_W) == EACCES);
		CHECK(tk_space_map(sp, whole, TK_PAGE, TK_PROT_R | TK_PROT_W,
		    TK_VMA_MMAP, true, true) == -ENOMEM);
		CHECK(tk_space_map(sp, at, TK_HUGE, TK_PROT_R | TK_PROT_W,
		    TK_VMA_MMAP, true, true) == -ENOMEM);
		CHECK(tk_space_remap(sp, at - TK_PAGE, 2 * TK_HUGE, TK_PAGE,
		    false) == -ENOMEM);
		CHECK(sp->vmas.n == n && m->journal.n == 0);
		/* As it is already. */
		CHECK(tk_space_protect(sp, at - TK_PAGE, 4 * TK_HUGE,
		    TK_PROT_R) == 0);
		CHECK(tk_space_protect(sp, whole, TK_PAGE, TK_PROT_R) == 0);
		CHECK(tk_read(m, &c, whole, 1) && c == 0x43);
		/* Pages before the first and behind the last of these. */
		CHECK(tk_space_protect(sp, at - TK_PAGE, TK_PAGE, 0) == 0);
		CHECK(!tk_read(m, &c, at - TK_PAGE, 1));
		CHECK(tk_space_unmap(sp, end - 2 * TK_PAGE, TK_PAGE) == 0);
		CHECK(!tk_read(m, &c, end - TK_PAGE - 1, 1));
		CHECK(tk_read(m, &c, end - 2 * TK_PAGE - 1, 1) && c == 0x43);
		(void)tk_reset(m);
		CHECK(!tk_broken(m));
		CHECK(tk_read(m, &c, end - TK_PAGE - 1, 1) && c == 0x43);
	}
	tear_down();
}

static uint64_t
mapped(void)
{
	uint64_t n = 0;
	unsigned i;

	for (i = 0; i < m->space.vmas.n; i++)
		n += m->space.vmas.vma[i].end - m->space.vmas.vma[i].start;
	return (n);
}

/* The stack of one that could not be started is given back. */
static void
stacks_of_vcpus(void)
{
	static const uint64_t args[2][3];
	uint64_t before, limit;
	unsigned i;

	set_up(NULL);
	CHECK(does(OP_SPOIL, OP_NOP, 0) == 0);
	(void)tk_reset(m);
	before = mapped();
	limit = m->ws.limit;
	for (i = 0; i < 3; i++) {
		/* As when the request has written all that it may. */
		m->ws.limit = 0;
		tk_parallel_lock(m);
		CHECK(m->ws.n > 0 && tk_parallel_start(m, 2,
		    g.at[ADDRESS_OPERATE], args, 5) == -ENOMEM);
		tk_parallel_unlock(m);
		m->ws.limit = limit;
		CHECK_MSG(mapped() == before, "%lu bytes more",
		    (unsigned long)(mapped() - before));
	}
	(void)tk_reset(m);
	CHECK(does(OP_SPOIL, OP_NOP, 0) == 0);
	tear_down();
}

TESTS(
	T_KVM(text_stays_read_only),
	T_KVM(what_is_given_up_is_zero),
	T_KVM(given_up_untouched),
	T_KVM(stacks_of_threads),
	T_KVM(terabytes),
	T_KVM(no_code_from_writable_files),
	T_KVM(heaps_that_do_not_fit),
	T_KVM(the_same_address_again),
	T_KVM(a_fault_after_a_shortage),
	T_KVM(spoiled_on_another_vcpu),
	T_KVM(stacks_of_vcpus),
	T_KVM(large_constants_stay)
)
