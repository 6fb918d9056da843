/*-
 * SPDX-License-Identifier: BSD-2-Clause
 *
 * What a live update brings, with its key; and the same as it may be fetched,
 * in an archive. The program has storage, so that a new one that boots is
 * paused for and handed over to. Whatever came, a program serves after it.
 *
 * The first byte: 0 an executable, 1 the same after a key, 2 an archive. Key and
 * the name in the archive end with a NUL.
 */

#include <unistd.h>

#include "compute.h"
#include "fuzz.h"
#include "source.h"

#define KEY		"the key"
#define MOST		(1024 * 1024)	/* bytes of what an archive unpacks to */

static struct tkc_registry *registry;
static struct tkc_program *program;
static char directory[64];
static void *first;
static size_t first_len;

static void
remove_directory(void)
{
	char line[128];

	snprintf(line, sizeof line, "rm -rf %s", directory);
	(void)!system(line);
}

static void
set_up(void)
{
	static const struct tkc_host_interface none;
	const char *guest = getenv("TK_FUZZ_GUEST");
	struct tkc_error err;
	struct tkc_blob b;
	char json[1024];

	PROMISE(guest != NULL);
	snprintf(directory, sizeof directory, "/tmp/tk-fuzz-update-XXXXXX");
	PROMISE(mkdtemp(directory) != NULL);
	atexit(remove_directory);
	registry = tkc_registry_new(&none, NULL);
	snprintf(json, sizeof json, "{ \"filename\": \"%s\", \"key\": \"" KEY
	    "\", \"max_memory\": 32, \"max_request_memory\": 4, "
	    "\"max_boot_time\": 0.1, \"max_request_time\": 1, "
	    "\"max_storage_time\": 0.1, \"concurrency\": 1, "
	    "\"storage\": true, \"state_directory\": \"%s\" }", guest,
	    directory);
	PROMISE(tkc_configure(registry, "updated", json, &err) == 0);
	program = tkc_find(registry, "updated", &err);
	PROMISE(tkc_file_read("updated", guest, MOST * 64, &b, &err) == 0);
	first = b.data;
	first_len = b.len;
	if (tkc_start(program, 0, 0, &err)) {
		fprintf(stderr, "%s\n", err.text);
		abort();
	}
}

/* The program that was there at first answers. */
static void
serves(void)
{
	struct tkc_request q = { .method = "GET", .url = "/", .arg = "",
	    .content_type = "", .is_backend = 1, .task = &q };
	struct tkc_invocation *inv;
	struct tkc_response r;
	struct tkc_error err;
	int e;

	e = tkc_reserve(program, &inv, &err);
	if (e == 0) {
		e = tkc_invoke(inv, &q, &r, &err);
		tkc_release(&inv, NULL);
	}
	/* A machine that is busy otherwise may be late. */
	if (e != 0 && e != TKC_TIMEOUT && e != TKC_QUEUE) {
		fprintf(stderr, "%s\n", err.text);
		abort();
	}
}

static void
update(const uint8_t *data, size_t len)
{
	static unsigned long refused;
	struct tkc_error err = { .text = "" };
	int e = tkc_live_update(program, data, len, &err);

	PROMISE(e == 0 || (e == (int)err.reason && err.text[0] != '\0'));
	if (e != 0 && ++refused % 64 != 0)
		return;
	/* It booted, and has the old one's place: which takes it back. */
	while (e == 0 && tkc_live_update(program, first, first_len, &err))
		PROMISE(err.reason == TKC_TIMEOUT || err.reason == TKC_BOOT ||
		    err.reason == TKC_BUSY);
	serves();
}

static void
unpack(const uint8_t *data, size_t len, const char *member)
{
	struct tkc_blob in = { (void *)(uintptr_t)data, len }, out;
	struct tkc_error err = { .text = "" };
	int e;

	if (!tkc_is_archive(&in))
		return;
	e = tkc_unpack("updated", &in, member, MOST, &out, &err);
	PROMISE(e == 0 ? out.len <= MOST : out.data == NULL &&
	    err.text[0] != '\0');
	if (e == 0)
		update(out.data, out.len);
	free(out.data);
}

int
LLVMFuzzerTestOneInput(const uint8_t *data, size_t len)
{
	char text[64];
	struct tkc_error err;
	uint8_t kind;
	size_t n;
	int e;

	if (registry == NULL)
		set_up();
	if (len == 0)
		return (0);
	kind = *data++ % 3;
	len--;
	if (kind != 0) {
		n = strnlen((const char *)data, len);
		if (n == len || n >= sizeof text)
			return (0);
		memcpy(text, data, n + 1);
		data += n + 1;
		len -= n + 1;
	}
	if (kind == 2) {
		unpack(data, len, text[0] != '\0' ? text : NULL);
		return (0);
	}
	if (kind == 1) {
		e = tkc_may_update(program, text, &err);
		PROMISE(e == 0 ? strcmp(text, KEY) == 0 : err.reason ==
		    TKC_BUSY || strcmp(text, KEY) != 0);
	}
	update(data, len);
	return (0);
}
