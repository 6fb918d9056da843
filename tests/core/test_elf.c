/*-
 * SPDX-License-Identifier: BSD-2-Clause
 *
 * Executables as an attacker, or a careless build, would make them: refused
 * with a reason, never a crash.
 */

#include <sys/mman.h>
#include <unistd.h>

#include "guest_layout.h"
#include "image.h"

static void
refused(const struct image *im, const char *why)
{
	struct tk_error err;
	int e;

	e = tk_check_program(im, sizeof *im, false, &err);
	CHECK_MSG(e == TK_BAD_PROGRAM, "%d, wanted: %s", e, why);
	CHECK_STR(err.text, why);
}

static void
good_image(void)
{
	struct tk_error err;
	struct image im;

	image_init(&im);
	CHECK_MSG(tk_check_program(&im, sizeof im, false, &err) == 0, "%s", err.text);
}

#define SPOIL(change, why)						\
	do {								\
		image_init(&im);					\
		change;							\
		refused(&im, why);					\
	} while (0)

static void
bad_headers(void)
{
	struct image im;

	SPOIL(im.eh.e_ident[0] = 'M', "not an ELF");
	SPOIL(im.eh.e_ident[EI_CLASS] = ELFCLASS32, "32-bit");
	SPOIL(im.eh.e_ident[EI_CLASS] = 9, "not a 64-bit");
	SPOIL(im.eh.e_ident[EI_DATA] = ELFDATA2MSB, "little-endian");
	SPOIL(im.eh.e_machine = EM_AARCH64, "64-bit Arm");
	SPOIL(im.eh.e_machine = 0xfffe, "another architecture");
	SPOIL(im.eh.e_type = ET_REL, "link it");
	SPOIL(im.eh.e_type = ET_CORE, "not an executable");
	SPOIL(im.eh.e_phentsize = 1, "no program headers");
	SPOIL(im.eh.e_phnum = 0, "no program headers");
	SPOIL(im.eh.e_phnum = 0xffff, "outside the file");
	SPOIL(im.eh.e_phoff = UINT64_MAX, "outside the file");
	SPOIL(im.eh.e_phoff = UINT64_MAX - 100, "outside the file");
	SPOIL(im.eh.e_entry = 0, "entry point");
	SPOIL(im.eh.e_entry = TEXT_AT + 0x10000, "entry point");
	SPOIL(im.eh.e_entry = UINT64_MAX, "entry point");
}

static void
bad_segments(void)
{
	struct image im;

	SPOIL(im.ph[0].p_type = im.ph[1].p_type = PT_NULL, "nothing to load");
	SPOIL(im.ph[1].p_flags = PF_R | PF_W | PF_X, "writable and executable");
	SPOIL(im.ph[1].p_filesz = 0x4000, "larger in the file");
	SPOIL(im.ph[1].p_filesz = im.ph[1].p_memsz = UINT64_MAX, "outside");
	SPOIL(im.ph[1].p_offset = UINT64_MAX - 4, "outside the file");
	SPOIL(im.ph[1].p_offset = sizeof im - 4, "outside the file");
	SPOIL(im.ph[1].p_vaddr = TEXT_AT + 8, "overlap");
	SPOIL(im.ph[1].p_vaddr = TEXT_AT - 0x10000, "overlap");
	SPOIL(im.ph[1].p_vaddr = TK_KERNEL, "not a program's");
	SPOIL(im.ph[1].p_vaddr = TK_USER_END - 4, "not a program's");
	SPOIL(im.ph[1].p_memsz = UINT64_MAX - 0x1000, "not a program's");
	SPOIL(im.ph[1].p_vaddr = TK_STUB_ALIAS - 0x1000, "reserved");
	SPOIL(im.ph[0].p_vaddr = 0x1000; im.eh.e_entry = 0x1000, "below 64 KiB");
}

static void
dynamic_is_refused_by_name(void)
{
	static const char name[] = "/lib64/ld-linux-x86-64.so.2";
	struct image im;

	image_init(&im);
	im.ph[1].p_type = PT_INTERP;
	im.ph[1].p_filesz = sizeof name;
	memcpy(im.text, name, sizeof name);
	refused(&im, name);
	/* Its own name is outside the file, or endless. */
	im.ph[1].p_offset = UINT64_MAX;
	refused(&im, "interpreter is damaged");
	im.ph[1].p_offset = 0;
	im.ph[1].p_filesz = sizeof im;
	refused(&im, "interpreter is damaged");
}

/* The file ends where an unreadable page begins: a read beyond is a crash. */
static uint8_t *
guarded(size_t size)
{
	size_t page = (size_t)sysconf(_SC_PAGESIZE);
	size_t room = (size + page - 1) / page * page;
	uint8_t *p;

	p = mmap(NULL, room + page, PROT_READ | PROT_WRITE,
	    MAP_PRIVATE | MAP_ANONYMOUS, -1, 0);
	CHECK(p != MAP_FAILED);
	CHECK(mprotect(p + room, page, PROT_NONE) == 0);
	return (p + room - size);
}

static void
truncated_at_every_length(void)
{
	struct tk_error err;
	struct image im;
	uint8_t *p;
	size_t n;

	image_init(&im);
	for (n = 0; n < sizeof im; n++) {
		p = guarded(n);
		memcpy(p, &im, n);
		CHECK_MSG(tk_check_program(p, n, false, &err) == TK_BAD_PROGRAM,
		    "%zu bytes", n);
		CHECK(err.text[0] != '\0');
		if (n % 64 == 0 && n > sizeof im.eh + sizeof im.ph)
			n += 63;
	}
}

/* Random changes of headers: an answer, whatever it is, and no crash. */
static void
mutated_headers(void)
{
	static const uint64_t nasty[] = { 0, 1, 0xfff, 0x1000, 0x7fffffff,
	    0x80000000, 0x7ffffffff000, 0x8000000000000000, UINT64_MAX - 0xfff,
	    UINT64_MAX };
	uint64_t seed = 0x1234567, v, r;
	unsigned i, k, good = 0;
	struct tk_error err;
	struct image *im;
	size_t at, width;

	im = (struct image *)(void *)guarded(sizeof *im);
	for (i = 0; i < 300000; i++) {
		image_init(im);
		for (k = 1 + (unsigned)(test_random(&seed) % 3); k > 0; k--) {
			r = test_random(&seed);
			at = r % (sizeof im->eh + sizeof im->ph);
			width = (size_t)1 << (r >> 32) % 4;
			v = r >> 40 & 1 ? nasty[(r >> 48) % 10] :
			    test_random(&seed);
			memcpy((uint8_t *)im + at, &v, width);
		}
		if (tk_check_program(im, sizeof *im, false, &err) == 0)
			good++;
		else
			CHECK(err.text[0] != '\0');
	}
	/* Both answers were seen often, or the test would test nothing. */
	CHECK_MSG(good > 1000 && good < 290000, "%u accepted", good);
}

static int
boot_image(const void *elf, size_t size, struct tk_error *err)
{
	struct guest g;
	int e;

	e = image_boot(&g, elf, size, 0.05, err);
	if (e == 0)
		tk_master_free(&g.master);
	return (e);
}

/* What is accepted is also booted: it ends in an error of the guest's. */
static void
mutants_boot(unsigned rounds)
{
	size_t size, at;
	uint64_t seed = 99;
	unsigned i, k, booted = 0;
	struct tk_error err;
	uint8_t *good, *bad;
	int e;

	good = read_file(getenv("TK_TEST_GUEST"), &size);
	bad = malloc(size);
	CHECK(bad != NULL);
	for (i = 0; i < rounds; i++) {
		memcpy(bad, good, size);
		for (k = 0; k < 4; k++) {
			/* Headers mostly, then anything. */
			at = test_random(&seed) % (k < 2 ? 64 + 56 * 8 : size);
			bad[at] = (uint8_t)test_random(&seed);
		}
		e = boot_image(bad, size, &err);
		CHECK(e == 0 || err.text[0] != '\0');
		CHECK_MSG(e != TK_HOST, "%s", err.text);
		booted += e != TK_BAD_PROGRAM;
	}
	CHECK_MSG(booted > rounds / 20, "only %u of %u passed the checks",
	    booted, rounds);
	free(good);
	free(bad);
}

static void
mutants_boot_short(void)
{

	mutants_boot(200);
}

static void
mutants_boot_long(void)
{

	mutants_boot(20000);
}

/* The images that the checks accept do run, if only into their ud2. */
static void
small_image_runs(void)
{
	struct tk_error err;
	struct image im;

	image_init(&im);
	CHECK(boot_image(&im, sizeof im, &err) == TK_FAULT);
	CHECK_STR(err.text, "invalid instruction");
	/* A segment of which nothing fits. */
	im.ph[1].p_vaddr = 1ULL << 32;
	im.ph[1].p_memsz = 1ULL << 40;
	CHECK(boot_image(&im, sizeof im, &err) == TK_BAD_PROGRAM);
	CHECK_STR(err.text, "max_memory");
}

/* Where we put something of our own: an error, too. */
static void
segments_in_our_places(void)
{
	static const uint64_t place[] = { TK_SHARED_ADDR,
	    TK_SHARED_ADDR + TK_HUGE, TK_SHARED_ADDR + (4 << 20) - TK_PAGE,
	    TK_STACK_TOP - TK_PAGE, TK_CALL_STACK_TOP - TK_PAGE,
	    TK_VDSO_ADDR };
	struct tk_error err;
	struct image im;
	unsigned i;

	for (i = 0; i < sizeof place / sizeof place[0]; i++) {
		image_init(&im);
		im.eh.e_type = ET_DYN;
		im.ph[1].p_vaddr = place[i] - TK_PIE_BASE;
		im.ph[1].p_memsz = 0x1000;
		CHECK_MSG(boot_image(&im, sizeof im, &err) == TK_BAD_PROGRAM,
		    "0x%lx: %s", (unsigned long)place[i], err.text);
	}
}

TESTS(
	T(good_image),
	T(bad_headers),
	T(bad_segments),
	T(dynamic_is_refused_by_name),
	T(truncated_at_every_length),
	T(mutated_headers),
	T_KVM(small_image_runs),
	T_KVM(segments_in_our_places),
	T_KVM(mutants_boot_short),
	T_LONG(mutants_boot_long)
)
