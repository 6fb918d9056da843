/*-
 * SPDX-License-Identifier: BSD-2-Clause
 *
 * The file guest from the host's side, and the directory that it works in:
 *
 *	data/		allowed, writable, as /data
 *	data2/		allowed, read-only, as /ro
 *	secret		beside them: not allowed
 */

#ifndef TESTS_FILE_VM_H_INCLUDED
#define TESTS_FILE_VM_H_INCLUDED

#include "file_ops.h"
#include "vm.h"

struct file_vm {
	struct guest		g;
	struct tk_machine	*m;
	char			root[64];	/* of the host */
};

/* Makes the directory, boots, forks. frozen: with what boot() opens. */
void file_vm_init(struct file_vm *, bool frozen);
void file_vm_fini(struct file_vm *);

/* A call in the fork that must end well; its result. */
int64_t file_vm_run(struct file_vm *, unsigned scenario);
int64_t file_vm_call(struct file_vm *, long number, uint64_t a, uint64_t b,
    uint64_t c, uint64_t d, uint64_t e);
/* The same, whatever comes of it. */
int file_vm_try(struct file_vm *, struct tk_error *, long number, uint64_t a,
    uint64_t b, uint64_t c, uint64_t d, uint64_t e);

/* Puts a string into the guest, at one of 16 places; its address there. */
tk_gva file_vm_text(struct file_vm *, unsigned place, const char *);
/* The guest's buffer, apart from these. */
tk_gva file_vm_buffer(const struct file_vm *);

#define SYS(vm, n, a, b, c)	file_vm_call((vm), SYS_##n, (uint64_t)(a), \
    (uint64_t)(b), (uint64_t)(c), 0, 0)
#define PATH(vm, p)		file_vm_text((vm), 0, (p))

/* A file of the host. */
void write_host(const char *root, const char *name, const char *text);

#endif /* TESTS_FILE_VM_H_INCLUDED */
