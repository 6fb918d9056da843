/* SPDX-License-Identifier: BSD-2-Clause
 *
 * Regular expressions that read well, with the syntax of VCL:
 *
 *	static kvm_regex digits;
 *
 *	int
 *	main(void)
 *	{
 *		digits = regex("[0-9]+");	// compiled once, for all requests
 *		kvm_serve(on_request);
 *	}
 *
 *	if (regex_matches(digits, r->url)) ...
 */

#ifndef KVM_REGEX_H
#define KVM_REGEX_H

#include "kvm_api.h"

typedef int kvm_regex;

/* A pattern that is none ends the program, or the request. */
static inline kvm_regex
regex(const char *pattern)
{

	return (sys_regex_compile(pattern, strlen(pattern)));
}

static inline bool
regex_matches(kvm_regex re, const char *text)
{

	return (sys_regex_match(re, text, strlen(text)) > 0);
}

/* The first match replaced; out, or NULL when size is too small for all. */
static inline char *
regex_sub(kvm_regex re, const char *text, const char *replacement, char *out,
    size_t size)
{

	return (sys_regex_subst(re, text, replacement, out, size, 0) < 0 ?
	    NULL : out);
}

/* All matches replaced. */
static inline char *
regex_sub_all(kvm_regex re, const char *text, const char *replacement,
    char *out, size_t size)
{

	return (sys_regex_subst(re, text, replacement, out, size, 1) < 0 ?
	    NULL : out);
}

#endif /* KVM_REGEX_H */
