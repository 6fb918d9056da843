/*-
 * SPDX-License-Identifier: BSD-2-Clause
 *
 * Files that are made up: what programs read of /proc, /sys and /dev. They
 * tell of the virtual machine, never of the host.
 */

#ifndef TK_SYNTHETIC_H_INCLUDED
#define TK_SYNTHETIC_H_INCLUDED

#include "descriptors.h"

struct tk_synthetic {
	const char		*path;
	/* One of: its contents when it is opened; a constant; a device; a
	 * symbolic link. */
	bool			(*make)(struct tk_machine *, struct tk_bytes *);
	const char		*text;
	const struct tk_file_type *device;
	const char		*link;
};

/* By normalised path; NULL when there is none. */
const struct tk_synthetic *tk_synthetic_find(const char *path);
bool tk_synthetic_above(const char *path);
/* The nth, NULL after the last. */
const struct tk_synthetic *tk_synthetic_nth(unsigned);

/* cpuinfo.c, process_files.c */
bool tk_make_cpuinfo(struct tk_machine *, struct tk_bytes *);
bool tk_make_maps(struct tk_machine *, struct tk_bytes *);
bool tk_make_status(struct tk_machine *, struct tk_bytes *);
bool tk_make_process_stat(struct tk_machine *, struct tk_bytes *);
bool tk_make_statm(struct tk_machine *, struct tk_bytes *);
bool tk_make_cmdline(struct tk_machine *, struct tk_bytes *);
bool tk_make_limits(struct tk_machine *, struct tk_bytes *);
bool tk_make_meminfo(struct tk_machine *, struct tk_bytes *);
bool tk_make_stat(struct tk_machine *, struct tk_bytes *);
bool tk_make_uptime(struct tk_machine *, struct tk_bytes *);
bool tk_make_uuid(struct tk_machine *, struct tk_bytes *);

#endif /* TK_SYNTHETIC_H_INCLUDED */
