/* SPDX-License-Identifier: BSD-2-Clause
 *
 * The guest API inside WebAssembly: imports of the module "kvm". A module
 * exports handle(), which is called for every request and calls respond(), and
 * may export init(), which runs once before the freeze. Its memory is as it
 * was after init() at the start of every request.
 */

#ifndef KVM_WASM_H
#define KVM_WASM_H

#include <stddef.h>

#define KVM_IMPORT(name) \
	__attribute__((import_module("kvm"), import_name(#name)))
#define KVM_EXPORT(name) __attribute__((export_name(#name)))

enum kvm_part { KVM_PART_METHOD, KVM_PART_URL, KVM_PART_ARG, KVM_PART_TYPE,
    KVM_PART_BODY };

/* A part of the request: at most size bytes of it, its whole length back. */
KVM_IMPORT(part) size_t kvm_part(enum kvm_part, char *out, size_t size);

/*
 * The value of the first request header of that name (in any case); its whole
 * length, or -1 when there is none.
 */
KVM_IMPORT(header) int kvm_wasm_header(const char *name, size_t len, char *out,
    size_t size);

/* Adds "Name: value" to the answer; the field is copied. */
KVM_IMPORT(set_header) void kvm_set_header(const char *field, size_t len);

/* May the answer be cached, for how many milliseconds; 0 forbids it. */
KVM_IMPORT(set_ttl) void kvm_set_ttl(int ms);

/* Ends the request. */
KVM_IMPORT(respond) _Noreturn void kvm_respond(int status, const char *type,
    size_t type_len, const void *body, size_t body_len);

/* A line in the Varnish log. */
KVM_IMPORT(log) void kvm_log(const char *text, size_t len);

/* 64 random bits, new in every request. */
KVM_IMPORT(random) unsigned long long kvm_random(void);

#endif /* KVM_WASM_H */
