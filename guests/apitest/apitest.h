/* SPDX-License-Identifier: BSD-2-Clause */

#ifndef APITEST_H
#define APITEST_H

#include <stdlib.h>

#include "kvm_api.h"

struct behaviour {
	const char		*url;
	void			(*f)(const struct kvm_request *);
};

extern const struct behaviour fetch_calls[], http_calls[], regex_calls[];

/* Before waiting. */
void regex_init(void);
void fetch_init(int argc, char **argv);

/* A header field's value, "" when there is none. */
const char *value(const struct kvm_request *, const char *name);
long number(const struct kvm_request *, const char *name, long otherwise);

#endif /* APITEST_H */
