/*-
 * SPDX-License-Identifier: BSD-2-Clause
 *
 * The host as the rest of the core sees it.
 */

#ifndef TK_KVM_HOST_H_INCLUDED
#define TK_KVM_HOST_H_INCLUDED

#include <linux/kvm.h>

#include "tinykvm.h"

/* KVM_GET_SUPPORTED_CPUID fails with E2BIG when there is too little room. */
#define TK_CPUID_ROOM	256

struct tk_host {
	unsigned		magic;
#define TK_HOST_MAGIC		0x2f8a11c3
	int			kvm_fd;
	size_t			run_size;	/* of the vCPU's shared page */
	struct tk_host_facts	facts;
	bool			self_tested;
	bool			has_smep;
	bool			has_umip;
	/* Protection keys in ring 3, whatever CPUID and CR4 say to guests. */
	bool			has_keys;
	/* Their bit in XSTATE_BV, where KVM_SET_XSAVE takes it; else 0. */
	uint64_t		xsave_keys;
	const void		*clock_page;
	struct {
		struct kvm_cpuid2	head;
		struct kvm_cpuid_entry2	entry[TK_CPUID_ROOM];
	}			cpuid;
};

/*
 * Finds out what only running a guest can tell: fills in the facts. Returns 0
 * or TK_HOST.
 */
int tk_self_test(struct tk_host *, struct tk_error *);

#endif /* TK_KVM_HOST_H_INCLUDED */
