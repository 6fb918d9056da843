/*-
 * SPDX-License-Identifier: BSD-2-Clause
 */

#ifndef STORAGETEST_H_INCLUDED
#define STORAGETEST_H_INCLUDED

#include "kvm_api.h"

#ifndef VERSION
#define VERSION	1
#endif

struct op {
	const char	*url;		/* without its slash */
	void		(*serve)(const struct kvm_request *);
};
extern const struct op misdeeds[];

/* Storage's: how often somebody added, and how much. */
extern long total;

/* Answers with a storage call's result: a long, or its error. */
KVM_NORETURN void tell(long bytes, long value);

void add(size_t, const struct virtbuffer *, size_t);
void spin_for(long ms);

#endif /* STORAGETEST_H_INCLUDED */
