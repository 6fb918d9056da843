/*-
 * SPDX-License-Identifier: BSD-2-Clause
 *
 * What file_guest.c and its tests share.
 */

#ifndef TESTS_FILE_OPS_H_INCLUDED
#define TESTS_FILE_OPS_H_INCLUDED

#define FILE_NOTES	2048
#define FILE_AREA	65536

struct file_notes {
	unsigned	n;
	struct {
		int	line;
		long	value;
	}		note[FILE_NOTES];
};

enum file_address {
	FILE_AT_RUN, FILE_AT_CALL, FILE_AT_NOTES, FILE_AT_AREA,
	FILE_AT_BOOT_OK
};

/* Open at the freeze; pairs take two. */
enum file_boot {
	FILE_BOOT_HELLO = 3,
	FILE_BOOT_DIRECTORY,
	FILE_BOOT_PIPE,
	FILE_BOOT_EVENT = 7,
	FILE_BOOT_TIMER,
	FILE_BOOT_PAIR,
	FILE_BOOT_LISTEN = 11,
	FILE_BOOT_EPOLL,
	FILE_BOOT_STATUS,
	FILE_BOOT_MEMORY,
	FILE_BOOT_LOG,
	FILE_BOOT_NEXT
};

#endif /* TESTS_FILE_OPS_H_INCLUDED */
