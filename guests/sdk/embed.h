/* SPDX-License-Identifier: BSD-2-Clause
 *
 * Files that kvmctl put into the executable: a guest's scripts.
 */

#ifndef KVM_EMBED_H
#define KVM_EMBED_H

#include <stddef.h>
#include <string.h>

struct kvm_file {
	const char	*name;		/* path from the guest's directory */
	const char	*data;		/* a NUL follows that is not counted */
	size_t		len;
};

/* The main script first; ends with an element whose name is NULL. */
extern const struct kvm_file kvm_files[];

static inline const struct kvm_file *
kvm_file_find(const char *name)
{
	const struct kvm_file *f;

	for (f = kvm_files; f->name != NULL; f++)
		if (strcmp(f->name, name) == 0)
			return (f);
	return (NULL);
}

#endif /* KVM_EMBED_H */
