/*-
 * SPDX-License-Identifier: BSD-2-Clause
 *
 * Guest memory: mappings come, change, move and go, among them those that all
 * forks share, and between them the accessors are asked for any address and
 * length. A table of pages says what they must answer, and every byte that is
 * mapped what it must be. No machine runs.
 */

#include <errno.h>

#include "fuzz.h"
#include "machine.h"

#define PAGES		640		/* more than a lazy mapping has */
#define BASE		0x40000000ULL
#define SIZE		(PAGES * (uint64_t)TK_PAGE)
#define MOST		5000		/* bytes of one access */
/* What all forks share: pages of the table. */
#define TEXT		100
#define TEXT_PAGES	16
#define TEXT_BYTE	0xc3

enum { MAP, UNMAP, PROTECT, SHRINK, MOVE, ZERO, WRITE, READ, VIEW, KINDS };

struct op {
	uint8_t		kind, prot;
	uint16_t	page, pages;
	uint16_t	offset;
	uint64_t	far;		/* when prot's top bit is set */
};

static struct tk_machine m;
/* What must be: permission, or UNMAPPED, and contents. */
#define UNMAPPED	0xff
static uint8_t prot_of[PAGES], bytes[PAGES][TK_PAGE];
static bool used[PAGES], shared[PAGES];

static void
set_up_text(void)
{
	const uint64_t len = TEXT_PAGES * TK_PAGE;
	unsigned i;

	PROMISE(tk_space_map_at(&m.space, BASE + TEXT * TK_PAGE, len,
	    TK_PROT_R | TK_PROT_X, TK_VMA_PROGRAM, TK_RO_GPA) == 0);
	memset(tk_memory_at(&m.mem, TK_RO_GPA), TEXT_BYTE, len);
	for (i = TEXT; i < TEXT + TEXT_PAGES; i++) {
		prot_of[i] = TK_PROT_R | TK_PROT_X;
		used[i] = shared[i] = true;
		memset(bytes[i], TEXT_BYTE, TK_PAGE);
	}
}

static void
set_up(void)
{

	memset(&m, 0, sizeof m);
	PROMISE(tk_memory_new(&m.mem, TK_HUGE, 16 << 20) == 0);
	tk_space_init(&m.space, &m.mem);
	PROMISE(tk_ws_init(&m.ws, &m.mem) == 0);
	m.space.pages.ws = &m.ws;
	m.magic = TK_MACHINE_MAGIC;
	memset(prot_of, UNMAPPED, sizeof prot_of);
	set_up_text();
}

static void
tear_down(void)
{
	unsigned i;

	for (i = 0; i < PAGES; i++)
		if (used[i])
			memset(bytes[i], 0, TK_PAGE);
	memset(used, 0, sizeof used);
	memset(shared, 0, sizeof shared);
	tk_ws_fini(&m.ws);
	tk_space_fini(&m.space);
	tk_memory_free(&m.mem);
}

/*--------------------------------------------------------------------
 * The model. Addresses outside of the table are nobody's.
 */

static bool
allows(tk_gva gva, unsigned prot)
{
	uint64_t page = (gva - BASE) / TK_PAGE;

	return (gva >= BASE && page < PAGES && prot_of[page] != UNMAPPED &&
	    (prot_of[page] & prot) == prot);
}

/* How many bytes from gva on, len at most, may be used so. */
static size_t
allowed(tk_gva gva, size_t len, unsigned prot)
{
	size_t n = 0;

	while (n < len && allows(gva + n, prot))
		n += TK_PAGE - (gva + n) % TK_PAGE;
	return (n < len ? n : len);
}

/* All of it; of nothing, that it begins where there may be something. */
static bool
all_allowed(tk_gva gva, size_t len, unsigned prot)
{

	return (len == 0 ? gva <= TK_USER_END : allowed(gva, len, prot) == len);
}

static uint8_t *
model(tk_gva gva)
{
	uint64_t page = (gva - BASE) / TK_PAGE;

	used[page] = true;
	return (&bytes[page][gva % TK_PAGE]);
}

/* Other memory, none, or none any more: without what was there. */
static void
renew(unsigned page, unsigned pages, unsigned prot)
{

	for (; pages > 0; pages--, page++) {
		if (used[page])
			memset(bytes[page], 0, TK_PAGE);
		shared[page] = false;
		prot_of[page] = (uint8_t)prot;
	}
}

static void
zero(unsigned page, unsigned pages)
{

	for (; pages > 0; pages--, page++)
		if (used[page] && !shared[page])
			memset(bytes[page], 0, TK_PAGE);
}

static bool
any_shared(unsigned page, unsigned pages)
{

	for (; pages > 0; pages--, page++)
		if (shared[page])
			return (true);
	return (false);
}

/* Every page of the range is mapped. */
static bool
all_mapped(unsigned page, unsigned pages)
{

	for (; pages > 0; pages--, page++)
		if (prot_of[page] == UNMAPPED)
			return (false);
	return (true);
}

/*--------------------------------------------------------------------
 * Mappings
 */

static void equal(tk_gva, const uint8_t *, size_t);

/* What was moved is as it was, and what was added is empty. */
static void
check_moved(unsigned page, unsigned pages, tk_gva to, unsigned more)
{
	static const uint8_t zeros[TK_PAGE];
	static uint8_t data[TK_PAGE];
	unsigned i;

	if (!(prot_of[page] & TK_PROT_R))
		return;
	for (i = 0; i < pages + more; i++) {
		PROMISE(tk_read(&m, data, to + i * (uint64_t)TK_PAGE,
		    TK_PAGE));
		if (i < pages)
			equal(BASE + (page + i) * (uint64_t)TK_PAGE, data,
			    TK_PAGE);
		else
			PROMISE(memcmp(data, zeros, TK_PAGE) == 0);
	}
}

/* So many pages more, wherever; what left the table is given up. */
static void
do_move(unsigned page, unsigned pages, unsigned more)
{
	tk_gva at = BASE + page * (uint64_t)TK_PAGE;
	uint64_t len = pages * (uint64_t)TK_PAGE;
	uint64_t add = more * (uint64_t)TK_PAGE;
	unsigned inside = PAGES - page - pages < more ? PAGES - page - pages :
	    more;
	bool were_shared = any_shared(page, pages);
	int64_t to;

	to = tk_space_remap(&m.space, at, len, len + add, true);
	if (to < 0)
		return;
	PROMISE(all_mapped(page, pages));
	check_moved(page, pages, (tk_gva)to, more);
	if (to == (int64_t)at) {
		renew(page + pages, inside, prot_of[page]);
		if (inside < more)
			PROMISE(tk_space_unmap(&m.space, BASE + SIZE,
			    (more - inside) * (uint64_t)TK_PAGE) == 0);
		return;
	}
	PROMISE(!were_shared);
	PROMISE(tk_space_unmap(&m.space, (tk_gva)to, len + add) == 0);
	renew(page, pages, UNMAPPED);
}

static void
do_mapping(const struct op *o, unsigned prot)
{
	unsigned page = o->page % PAGES, pages = 1 + o->pages % (PAGES - page);
	tk_gva at = BASE + page * (uint64_t)TK_PAGE;
	uint64_t len = pages * (uint64_t)TK_PAGE;
	bool mapped = all_mapped(page, pages), x = m.space.allow_wx;
	bool fixed = (prot & TK_PROT_W) && any_shared(page, pages);
	unsigned i;

	switch (o->kind % KINDS) {
	case MAP:
		if (tk_space_map(&m.space, at, len, prot, TK_VMA_MMAP, true,
		    true) == (int64_t)at) {
			PROMISE(x || !(prot & TK_PROT_X));
			renew(page, pages, prot);
		} else
			PROMISE(!x && (prot & TK_PROT_X));
		break;
	case UNMAP:
		PROMISE(tk_space_unmap(&m.space, at, len) == 0);
		renew(page, pages, UNMAPPED);
		break;
	case PROTECT:
		/* What was not executable does not become it. */
		for (i = page; mapped && !x && i < page + pages; i++)
			if (!(prot_of[i] & TK_PROT_X))
				break;
		x = x || (mapped && i == page + pages);
		if (tk_space_protect(&m.space, at, len, prot) == 0) {
			PROMISE(mapped && !fixed &&
			    (x || !(prot & TK_PROT_X)));
			memset(prot_of + page, (int)prot, pages);
		} else
			PROMISE(!mapped || fixed ||
			    (!x && (prot & TK_PROT_X)));
		break;
	case SHRINK:
		if (pages < 2 || tk_space_remap(&m.space, at, len, TK_PAGE,
		    false) != (int64_t)at)
			break;
		PROMISE(mapped);
		renew(page + 1, pages - 1, UNMAPPED);
		break;
	case MOVE:
		do_move(page, pages, 1 + o->offset % 64);
		break;
	case ZERO:
		PROMISE(tk_space_zero(&m.space, at, len) ==
		    (mapped ? 0 : ENOMEM));
		zero(page, pages);
		break;
	}
}

/*--------------------------------------------------------------------
 * Accesses
 */

static void
in_working_set(tk_gva gva)
{
	uint64_t left, pte = tk_pt_walk(&m.space.pt, gva, &left);
	uint64_t n = ((pte & TK_PTE_ADDR) - m.mem.rw_gpa) / TK_PAGE;

	PROMISE(pte != 0 && n < m.ws.size);
	PROMISE(m.ws.member[n / 64] >> n % 64 & 1);
}

static void
equal(tk_gva gva, const uint8_t *p, size_t len)
{
	size_t n;

	for (; len > 0; len -= n, gva += n, p += n) {
		n = TK_PAGE - gva % TK_PAGE;
		if (n > len)
			n = len;
		PROMISE(memcmp(p, model(gva), n) == 0);
	}
}

static bool
writable(tk_gva gva, size_t len)
{
	uint64_t left;

	for (; len > 0; gva += left, len -= left) {
		if (!tk_space_writable(&m.space, gva, &left))
			return (false);
		if (left >= len)
			break;
	}
	return (true);
}

static void
do_write(tk_gva gva, size_t len, uint8_t fill)
{
	static uint8_t data[MOST];
	size_t i, n = allowed(gva, len, TK_PROT_W);
	bool all = all_allowed(gva, len, TK_PROT_W);

	PROMISE(writable(gva, len) == (n == len));
	if (len > MOST)
		return;
	for (i = 0; i < len; i++)
		data[i] = (uint8_t)(fill + i);
	PROMISE(tk_write(&m, gva, data, len) == all);
	/* Up to where it failed, unless the range ends nowhere. */
	if (!all && (gva > TK_USER_END || len > TK_USER_END - gva))
		return;
	for (i = 0; i < n; i++)
		*model(gva + i) = data[i];
	for (i = 0; i < n; i += TK_PAGE)
		in_working_set(gva + i);
	if (n > 0)
		in_working_set(gva + n - 1);
}

static void
do_read(tk_gva gva, size_t len)
{
	static uint8_t data[MOST];
	bool all = all_allowed(gva, len, TK_PROT_R);

	PROMISE(tk_readable(&m, gva, len) == all);
	if (len > MOST)
		return;
	PROMISE(tk_read(&m, data, gva, len) == all);
	if (all)
		equal(gva, data, len);
}

static void
do_view(tk_gva gva, size_t len)
{
	const uint8_t *p;
	size_t have;

	if (len == 0)
		return;
	p = tk_view(&m, gva, len, &have);
	PROMISE((p != NULL) == allows(gva, TK_PROT_R));
	if (p == NULL)
		return;
	PROMISE(have > 0 && have <= len);
	PROMISE(allowed(gva, have, TK_PROT_R) == have);
	equal(gva, p, have);
}

static void
do_access(const struct op *o)
{
	tk_gva gva = BASE + o->page % PAGES * (uint64_t)TK_PAGE + o->offset;
	size_t len = o->pages;

	/* Anywhere, of any length: one of the two, or both. */
	if (o->prot & 0x80)
		gva = o->far;
	if (o->prot & 0x40)
		len = (size_t)(o->prot & 0x80 ? o->far * 0x9e3779b97f4a7c15 :
		    o->far);
	switch (o->kind % KINDS) {
	case WRITE:
		do_write(gva, len, o->prot);
		break;
	case READ:
		do_read(gva, len);
		break;
	default:
		do_view(gva, len);
		/* It says no where nothing was touched: there is no code. */
		PROMISE(!tk_executable(&m, gva) || allows(gva, TK_PROT_X));
	}
}

/* All of it, page by page. */
static void
check_all(void)
{
	unsigned i;
	tk_gva at;

	for (i = 0; i < PAGES; i++) {
		at = BASE + i * (uint64_t)TK_PAGE;
		if (!used[i] && prot_of[i] == UNMAPPED)
			continue;
		do_view(at, TK_PAGE);
		PROMISE(tk_readable(&m, at, TK_PAGE) ==
		    allows(at, TK_PROT_R));
		PROMISE(writable(at, TK_PAGE) ==
		    allows(at, TK_PROT_W));
	}
	PROMISE(!m.space.stale);
}

int
LLVMFuzzerTestOneInput(const uint8_t *data, size_t len)
{
	static const uint8_t prots[] = { 0, TK_PROT_R, TK_PROT_R | TK_PROT_W,
	    TK_PROT_R | TK_PROT_X };
	struct op o;

	set_up();
	m.space.allow_wx = len > 0 && (data[0] & 0x80);
	for (; len >= sizeof o; data += sizeof o, len -= sizeof o) {
		memcpy(&o, data, sizeof o);
		if (o.kind % KINDS < WRITE)
			do_mapping(&o, prots[o.prot % 4]);
		else
			do_access(&o);
	}
	check_all();
	tear_down();
	return (0);
}
