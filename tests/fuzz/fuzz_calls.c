/*-
 * SPDX-License-Identifier: BSD-2-Clause
 *
 * Every Linux call and every call of the guest API, with any arguments, from a
 * request in a real machine; after it the machine is as it was frozen.
 */

#include <sys/stat.h>
#include <unistd.h>

#include "compute.h"
#include "fuzz.h"

#define CHECK_EVERY	16
#define CLEAN_EVERY	4096

static struct tkc_registry *registry;
static struct tkc_program *program;
static char directory[64];
static unsigned long runs;
static char said[200];

/* The other tables are not kept: what is told must be of good shape. */
static int
on_field(void *task, int where, const char *field, size_t len)
{
	size_t i;

	(void)task;
	PROMISE(where == 0 || where == 1);
	PROMISE(len > 0 && len <= 65535);
	for (i = 0; i < len; i++)
		PROMISE(field[i] != '\0' && field[i] != '\r' &&
		    field[i] != '\n');
	return (1);
}

static size_t
on_find(void *task, int where, const char *name, size_t len,
    const char **field)
{

	(void)task;
	(void)where;
	PROMISE(name != NULL && len <= 65535);
	*field = "X-Found: here";
	return (13);
}

static size_t
on_nth(void *task, int where, unsigned index, const char **field)
{

	(void)task;
	(void)where;
	*field = "X-Found: here";
	return (index < 3 ? 13 : 0);
}

static const struct tkc_host_interface interface = {
	.http_append = on_field,
	.http_set = on_field,
	.http_find = on_find,
	.http_field = on_nth,
};

static void
clean(void)
{
	char line[128];

	snprintf(line, sizeof line, "rm -rf %s && mkdir -p %s", directory,
	    directory);
	PROMISE(system(line) == 0);
	snprintf(line, sizeof line, "%s/file", directory);
	FILE *f = fopen(line, "w");
	PROMISE(f != NULL && fputs("contents\n", f) >= 0 && fclose(f) == 0);
}

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
	const char *guest = getenv("TK_FUZZ_GUEST");
	struct tkc_error err;
	char json[1024];

	PROMISE(guest != NULL);
	snprintf(directory, sizeof directory, "/tmp/tk-fuzz-%d", getpid());
	clean();
	atexit(remove_directory);
	registry = tkc_registry_new(&interface, NULL);
	snprintf(json, sizeof json, "{ \"filename\": \"%s\", "
	    "\"max_memory\": 32, \"max_request_memory\": 4, "
	    "\"max_request_time\": 0.05, \"max_storage_time\": 0.05, "
	    "\"concurrency\": 1, \"storage\": true, \"smp\": 3, "
	    "\"shared_memory\": 1, \"state_directory\": \"%s\", "
	    "\"allowed_fetch\": [\"http://127.0.0.1:1\"], "
	    "\"allowed_paths\": [{ \"virtual\": \"/tmp\", \"real\": \"%s\", "
	    "\"prefix\": true, \"writable\": true }] }", guest, directory,
	    directory);
	PROMISE(tkc_configure(registry, "caller", json, &err) == 0);
	program = tkc_find(registry, "caller", &err);
	if (tkc_start(program, 0, 0, &err)) {
		fprintf(stderr, "%s\n", err.text);
		abort();
	}
}

/* The end of what it said, in said[]. */
static void
ask(const char *method, const uint8_t *body, size_t len)
{
	struct tkc_request q = { .method = method, .url = "/", .arg = "",
	    .content_type = "", .body_expected = len, .is_backend = 1,
	    .task = &q };
	struct tkc_invocation *inv;
	struct tkc_response r;
	struct tkc_error err;
	struct tkc_span s;
	size_t total = 0;

	strcpy(said, "nothing");
	PROMISE(tkc_reserve(program, &inv, &err) == 0);
	if (len > 0)
		(void)tkc_body_append(inv, &q, body, len);
	if (tkc_invoke(inv, &q, &r, &err) == 0) {
		PROMISE(r.status >= 200 && r.status <= 599);
		PROMISE(r.content_type_len < 4096);
		while (tkc_body_next(inv, 4096, &s, &err) == 0 && s.len > 0 &&
		    (total += s.len) < 1 << 20)
			snprintf(said, sizeof said, "%.*s", (int)s.len,
			    (const char *)s.ptr);
	} else
		snprintf(said, sizeof said, "%d: %s", err.reason, err.text);
	tkc_release(&inv, NULL);
}

static void
check_state(void)
{
	static char frozen[sizeof said];

	/* A machine that is busy otherwise may be late. */
	do
		ask("GET", NULL, 0);
	while (atoi(said) == TKC_TIMEOUT);
	if (frozen[0] == '\0')
		strcpy(frozen, said);
	if (strncmp(said, "as frozen", 9) != 0 || strcmp(said, frozen) != 0) {
		fprintf(stderr, "\"%s\", not \"%s\"\n", said, frozen);
		abort();
	}
}

int
LLVMFuzzerTestOneInput(const uint8_t *data, size_t len)
{

	if (registry == NULL) {
		set_up();
		check_state();
	}
	ask("POST", data, len);
	if (++runs % CHECK_EVERY == 0)
		check_state();
	if (runs % CLEAN_EVERY == 0)
		clean();
	return (0);
}
