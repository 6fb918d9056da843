/*-
 * SPDX-License-Identifier: BSD-2-Clause
 */

#ifndef TK_EPOLL_H_INCLUDED
#define TK_EPOLL_H_INCLUDED

#include "descriptors.h"

/* A file is gone: no epoll watches it any more. */
void tk_epoll_forget(struct tk_machine *, unsigned file);

/* Readiness of a file as poll(2) tells it, for any type. */
uint32_t tk_file_poll(const struct tk_machine *, const struct tk_file *);

#endif /* TK_EPOLL_H_INCLUDED */
