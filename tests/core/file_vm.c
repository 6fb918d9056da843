/*-
 * SPDX-License-Identifier: BSD-2-Clause
 */

#include <fcntl.h>
#include <sys/stat.h>
#include <unistd.h>

#include "file_vm.h"

#define TEXT_ROOM	2048

void
write_host(const char *root, const char *name, const char *text)
{
	char path[256];
	FILE *f;

	snprintf(path, sizeof path, "%s/%s", root, name);
	f = fopen(path, "w");
	CHECK(f != NULL && fputs(text, f) >= 0 && fclose(f) == 0);
}

static void
make_directory(const char *root, const char *name)
{
	char path[256];

	snprintf(path, sizeof path, "%s/%s", root, name);
	CHECK(mkdir(path, 0755) == 0);
}

static void
make_link(const char *root, const char *name, const char *to)
{
	char path[256];

	snprintf(path, sizeof path, "%s/%s", root, name);
	CHECK(symlink(to, path) == 0);
}

static void
fill(const char *root)
{
	char name[64], pages[9001];
	unsigned i;

	make_directory(root, "data");
	make_directory(root, "data/sub");
	make_directory(root, "data/many");
	make_directory(root, "data2");
	make_directory(root, "data2/deep");
	make_directory(root, "data3");
	make_directory(root, "data3/other");
	make_directory(root, "data3/conf");
	make_directory(root, "data3/conf/ro");
	write_host(root, "data3/conf/ro/file", "kept\n");
	write_host(root, "secret", "secret\n");
	write_host(root, "data/hello", "hello, world\n");
	write_host(root, "data/sub/a", "this is a\n");
	write_host(root, "data/sub/b", "b\n");
	write_host(root, "data2/deep/file", "deep\n");
	make_link(root, "data3/names", "conf");
	make_link(root, "data3/name", "one");
	write_host(root, "data3/one", "one\n");
	for (i = 0; i < 9000; i++)
		pages[i] = (char)('A' + (i * i / 7) % 50);
	pages[9000] = '\0';
	write_host(root, "data/pages", pages);
	for (i = 0; i < 1500; i++) {
		snprintf(name, sizeof name, "data/many/file-number-%u", i);
		write_host(root, name, "");
	}
	make_link(root, "data/link", "hello");
	make_link(root, "data/dangling", "nowhere");
	make_link(root, "data/inner", "sub/a");
	make_link(root, "data/up", "../secret");
	make_link(root, "data/out", "/etc/passwd");
	make_link(root, "data/root", "/");
	make_link(root, "data/parent", "..");
	make_link(root, "data/loop", "loop");
	make_link(root, "data/across", "/ro/deep/file");
	make_link(root, "data/circle", "/data/circle");
	make_link(root, "data/self", "/proc/self/root");
	snprintf(name, sizeof name, "%s/data/fifo", root);
	CHECK(mkfifo(name, 0644) == 0);
}

static void
boot_file_guest(struct file_vm *vm, bool frozen)
{
	char data[128], data2[128], data3[128], inner[128], program[512];
	char none[128];
	struct tk_path paths[] = {
		{ .virtual_path = "/data", .real_path = data, .prefix = true,
		    .writable = true },
		{ .virtual_path = "/ro", .real_path = data2, .prefix = true },
		{ .virtual_path = "/room", .real_path = data3, .prefix = true,
		    .writable = true },
		{ .virtual_path = "/room/conf/ro", .real_path = inner,
		    .prefix = true },
		{ .virtual_path = "/etc/one", .real_path = program },
		{ .virtual_path = "/etc/link", .real_path = program,
		    .symlink = true },
		{ .virtual_path = "/absent", .real_path = none,
		    .prefix = true },
		{ .virtual_path = "/hostproc", .real_path = "/proc",
		    .prefix = true },
		{ .virtual_path = "/hostdev", .real_path = "/dev",
		    .prefix = true },
	};
	struct boot b = {
		.file = program, .cwd = "/data", .paths = paths,
		.n_paths = sizeof paths / sizeof paths[0],
		/* A second argument tells it to open nothing. */
		.in_use = frozen ? NULL : "0",
	};
	const char *tests = getenv("TK_TESTS");
	struct tk_error err;

	snprintf(data, sizeof data, "%s/data", vm->root);
	snprintf(data2, sizeof data2, "%s/data2/../data2", vm->root);
	snprintf(data3, sizeof data3, "%s/data3", vm->root);
	snprintf(inner, sizeof inner, "%s/data3/conf/ro", vm->root);
	snprintf(none, sizeof none, "%s/none", vm->root);
	CHECK_MSG(tests != NULL, "TK_TESTS is not set");
	snprintf(program, sizeof program, "%s/file_guest", tests);
	guest_boot(&vm->g, &b);
	CHECK(!frozen || vm->g.at[FILE_AT_BOOT_OK] == 1);
	CHECK(tk_fork(vm->g.master, &vm->m, &vm->g, &err) == 0);
}

void
file_vm_init(struct file_vm *vm, bool frozen)
{

	memset(vm, 0, sizeof *vm);
	snprintf(vm->root, sizeof vm->root, "/tmp/tk-files-XXXXXX");
	CHECK(mkdtemp(vm->root) != NULL);
	fill(vm->root);
	boot_file_guest(vm, frozen);
}

void
file_vm_fini(struct file_vm *vm)
{
	char line[128];

	tk_fork_free(&vm->m);
	guest_free(&vm->g);
	snprintf(line, sizeof line, "rm -rf %s", vm->root);
	CHECK(system(line) == 0);
}

static int
enter(struct file_vm *vm, struct tk_error *err, unsigned at,
    const uint64_t args[6])
{
	struct tk_call call;

	memset(&call, 0, sizeof call);
	call.function = vm->g.at[at];
	memcpy(call.args, args, sizeof call.args);
	call.seconds = 20;
	vm->g.result = INT64_MIN;
	return (tk_call(vm->m, &call, err));
}

int64_t
file_vm_run(struct file_vm *vm, unsigned n)
{
	const uint64_t args[6] = { n };
	struct tk_error err;

	CHECK_MSG(enter(vm, &err, FILE_AT_RUN, args) == 0, "%s", err.text);
	return (vm->g.result);
}

int
file_vm_try(struct file_vm *vm, struct tk_error *err, long number, uint64_t a,
    uint64_t b, uint64_t c, uint64_t d, uint64_t e)
{
	const uint64_t args[6] = { (uint64_t)number, a, b, c, d, e };

	return (enter(vm, err, FILE_AT_CALL, args));
}

int64_t
file_vm_call(struct file_vm *vm, long number, uint64_t a, uint64_t b,
    uint64_t c, uint64_t d, uint64_t e)
{
	struct tk_error err;

	CHECK_MSG(file_vm_try(vm, &err, number, a, b, c, d, e) == 0,
	    "call %ld: %s", number, err.text);
	return (vm->g.result);
}

tk_gva
file_vm_text(struct file_vm *vm, unsigned place, const char *text)
{
	tk_gva at = vm->g.at[FILE_AT_AREA] + place % 16 * TEXT_ROOM;

	CHECK(strlen(text) < 16 * TEXT_ROOM);
	CHECK(tk_write(vm->m, at, text, strlen(text) + 1));
	return (at);
}

tk_gva
file_vm_buffer(const struct file_vm *vm)
{

	return (vm->g.at[FILE_AT_AREA] + 16 * TEXT_ROOM);
}
