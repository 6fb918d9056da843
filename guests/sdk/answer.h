/* SPDX-License-Identifier: BSD-2-Clause
 *
 * An answer put together piece by piece: what launchers of interpreters need.
 * The end of the request takes its memory back; where nothing is reset, the next
 * request frees it.
 */

#ifndef KVM_ANSWER_H
#define KVM_ANSWER_H

#include <stdlib.h>

#include "heap.h"
#include "kvm_api.h"

#define KVM_LAUNCHER_HEAP	((size_t)4 << 20)

#define KVM_ANSWER_HEADERS	64

struct kvm_answer {
	int			status;
	const char		*type;
	const void		*body;
	size_t			body_len;
	struct BackendResponseExtra extra;
	struct ResponseHeader	header[KVM_ANSWER_HEADERS];
};

static inline void
kvm_answer_init(struct kvm_answer *a)
{

	memset(&a->extra, 0, sizeof a->extra);
	a->status = 200;
	a->type = "text/plain; charset=utf-8";
	a->body = "";
	a->body_len = 0;
}

/* Of the answer before, if it is still there. */
static inline void
kvm_answer_free(struct kvm_answer *a)
{
	unsigned n;

	for (n = 0; n < a->extra.num_headers; n++)
		free((void *)(uintptr_t)a->header[n].field);
	a->extra.num_headers = 0;
}

/* A copy of "name: value". 0, or -1 when there are too many. */
static inline int
kvm_answer_header(struct kvm_answer *a, const char *name, size_t name_len,
    const char *value, size_t value_len)
{
	struct ResponseHeader *h = &a->header[a->extra.num_headers];
	char *field;

	if (a->extra.num_headers == KVM_ANSWER_HEADERS)
		return (-1);
	field = malloc(name_len + value_len + 2);
	if (field == NULL)
		return (-1);
	memcpy(field, name, name_len);
	memcpy(field + name_len, ": ", 2);
	memcpy(field + name_len + 2, value, value_len);
	h->field = field;
	h->field_len = name_len + value_len + 2;
	a->extra.num_headers++;
	return (0);
}

/* Caching by these seconds; 0 for ttl forbids it. */
static inline void
kvm_answer_cache(struct kvm_answer *a, double ttl, double grace, double keep)
{

	a->extra.cached = ttl > 0;
	a->extra.ttl = ttl > 0 ? (float)ttl : 0.001f;
	a->extra.grace = (float)grace;
	a->extra.keep = (float)keep;
}

static inline KVM_NORETURN void
kvm_answer_send(struct kvm_answer *a)
{

	if (a->status < 200 || a->status > 599) {
		static const char text[] = "The status of the answer is not "
		    "200 to 599.\n";

		sys_log(text, sizeof text - 2);
		respond_text(500, text);
	}
	a->extra.headers = a->header;
	sys_backend_response((int16_t)a->status, a->type, strlen(a->type),
	    a->body, a->body_len, &a->extra);
}

/* 500, and what went wrong in the log: clients are not told. */
static inline KVM_NORETURN void
kvm_answer_failed(const char *what)
{

	sys_log(what, strlen(what));
	respond_text(500, "The program failed; its log says why.\n");
}

/* Before waiting: tells why, and gives up. */
static inline KVM_NORETURN void
kvm_boot_failed(const char *what)
{

	sys_log(what, strlen(what));
	exit(1);
}

#endif /* KVM_ANSWER_H */
