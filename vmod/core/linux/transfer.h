/*-
 * SPDX-License-Identifier: BSD-2-Clause
 *
 * Bytes between files and buffers of the guest.
 */

#ifndef TK_TRANSFER_H_INCLUDED
#define TK_TRANSFER_H_INCLUDED

#include "descriptors.h"

/* One buffer, or a list of struct iovec in guest memory: as far as it went. */
struct tk_vector {
	tk_gva			list;		/* of what follows */
	uint64_t		n;
	tk_gva			base;		/* the current one */
	uint64_t		len;
};

struct tk_vector tk_vector_of(tk_gva base, uint64_t len);
/* 0, or -EINVAL, -EFAULT. */
int64_t tk_vector_read(const struct tk_machine *, struct tk_vector *,
    tk_gva list, uint64_t n);

struct tk_transfer {
	struct tk_vector	vector;
	bool			at;	/* at io.offset, not the file's own */
	bool			no_wait;	/* MSG_DONTWAIT */
	struct tk_io		io;
};

/*
 * read(2), write(2) and their kin; the call's result. When the file is not
 * ready and nothing was moved, they wait: tk_block().
 */
int64_t tk_transfer_in(struct tk_machine *, struct tk_file *,
    struct tk_transfer *);
int64_t tk_transfer_out(struct tk_machine *, struct tk_file *,
    struct tk_transfer *);

#endif /* TK_TRANSFER_H_INCLUDED */
