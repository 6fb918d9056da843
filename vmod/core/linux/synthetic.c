/*-
 * SPDX-License-Identifier: BSD-2-Clause
 *
 * Each row was seen to be read by some runtime or common library.
 */

#include "../object.h"
#include "linux.h"
#include "path.h"

static const struct tk_synthetic files[] = {
	/* Opening the program itself: EACCES, unless policy names it. */
	{ .path = TK_PROGRAM_PATH },
	{ .path = "/dev/full", .device = &tk_type_full },
	{ .path = "/dev/null", .device = &tk_type_null },
	{ .path = "/dev/random", .device = &tk_type_random },
	{ .path = "/dev/urandom", .device = &tk_type_random },
	{ .path = "/dev/zero", .device = &tk_type_zero },
	{ .path = "/proc/cpuinfo", .make = tk_make_cpuinfo },
	{ .path = "/proc/filesystems", .text = "nodev\tproc\nnodev\ttmpfs\n" },
	{ .path = "/proc/loadavg", .text = "0.00 0.00 0.00 1/1 1\n" },
	{ .path = "/proc/meminfo", .make = tk_make_meminfo },
	{ .path = "/proc/self/cmdline", .make = tk_make_cmdline },
	{ .path = "/proc/self/comm", .text = "program\n" },
	{ .path = "/proc/self/cwd", .link = "" },
	{ .path = "/proc/self/exe", .link = TK_PROGRAM_PATH },
	{ .path = "/proc/self/limits", .make = tk_make_limits },
	{ .path = "/proc/self/maps", .make = tk_make_maps },
	{ .path = "/proc/self/oom_score_adj", .text = "0\n" },
	{ .path = "/proc/self/root", .link = "/" },
	{ .path = "/proc/self/stat", .make = tk_make_process_stat },
	{ .path = "/proc/self/statm", .make = tk_make_statm },
	{ .path = "/proc/self/status", .make = tk_make_status },
	{ .path = "/proc/stat", .make = tk_make_stat },
	{ .path = "/proc/sys/fs/file-max", .text = "1024\n" },
	{ .path = "/proc/sys/fs/nr_open", .text = "1024\n" },
	{ .path = "/proc/sys/fs/pipe-max-size", .text = "65536\n" },
	{ .path = "/proc/sys/kernel/cap_last_cap", .text = "40\n" },
	{ .path = "/proc/sys/kernel/hostname", .text = "tinykvm\n" },
	{ .path = "/proc/sys/kernel/ngroups_max", .text = "65536\n" },
	{ .path = "/proc/sys/kernel/osrelease", .text = "6.1.0-tinykvm\n" },
	{ .path = "/proc/sys/kernel/ostype", .text = "Linux\n" },
	{ .path = "/proc/sys/kernel/pid_max", .text = "32768\n" },
	{ .path = "/proc/sys/kernel/random/boot_id", .make = tk_make_uuid },
	{ .path = "/proc/sys/kernel/random/uuid", .make = tk_make_uuid },
	{ .path = "/proc/sys/kernel/threads-max", .text = "1024\n" },
	{ .path = "/proc/sys/kernel/version", .text = "#1 TinyKVM\n" },
	{ .path = "/proc/sys/net/core/somaxconn", .text = "4096\n" },
	{ .path = "/proc/sys/vm/max_map_count", .text = "65530\n" },
	{ .path = "/proc/sys/vm/mmap_min_addr", .text = "65536\n" },
	{ .path = "/proc/sys/vm/overcommit_memory", .text = "0\n" },
	{ .path = "/proc/uptime", .make = tk_make_uptime },
	{ .path = "/proc/version", .text = "Linux version 6.1.0-tinykvm\n" },
	{ .path = "/sys/devices/system/cpu/online", .text = "0\n" },
	{ .path = "/sys/devices/system/cpu/possible", .text = "0\n" },
	{ .path = "/sys/devices/system/cpu/present", .text = "0\n" },
	{ .path = "/sys/kernel/mm/transparent_hugepage/enabled",
	    .text = "always madvise [never]\n" },
	{ .path = "/sys/kernel/mm/transparent_hugepage/hpage_pmd_size",
	    .text = "2097152\n" },
};
#define N_FILES	(sizeof files / sizeof files[0])

const struct tk_synthetic *
tk_synthetic_nth(unsigned n)
{

	return (n < N_FILES ? &files[n] : NULL);
}

const struct tk_synthetic *
tk_synthetic_find(const char *path)
{
	unsigned i;

	for (i = 0; i < N_FILES; i++)
		if (strcmp(files[i].path, path) == 0)
			return (&files[i]);
	return (NULL);
}

bool
tk_synthetic_above(const char *path)
{
	size_t n = strlen(path);
	unsigned i;

	for (i = 0; i < N_FILES; i++)
		if (strncmp(files[i].path, path, n) == 0 &&
		    files[i].path[n] == '/')
			return (true);
	return (false);
}
