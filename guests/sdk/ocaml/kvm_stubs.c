/*-
 * SPDX-License-Identifier: BSD-2-Clause
 *
 * What kvm.ml needs in C. A request calls back into OCaml from its own stack,
 * which OCaml takes for a continuation of main's.
 */

#include <caml/alloc.h>
#include <caml/callback.h>
#include <caml/memory.h>
#include <caml/mlvalues.h>

#include "answer.h"

static const value *handler;

static value
text(const char *s, size_t len)
{

	return (caml_alloc_initialized_string(len, s));
}

static value
new_request(const struct kvm_request *r)
{
	CAMLparam0();
	CAMLlocal2(q, headers);
	unsigned i;

	headers = caml_alloc(r->num_headers, 0);
	for (i = 0; i < r->num_headers; i++)
		Store_field(headers, i, text(r->headers[i].field,
		    r->headers[i].field_len));
	q = caml_alloc(7, 0);
	Store_field(q, 0, text(r->method, r->method_len));
	Store_field(q, 1, text(r->url, r->url_len));
	Store_field(q, 2, text(r->arg, r->arg_len));
	Store_field(q, 3, text(r->content_type, r->content_type_len));
	Store_field(q, 4, text((const char *)r->content, r->content_len));
	Store_field(q, 5, r->num_headers > 0 ? headers : Atom(0));
	Store_field(q, 6, Val_long(r->prng[0] >> 2));
	CAMLreturn(q);
}

static void
on_request(const struct kvm_request *r)
{
	static struct kvm_answer a;
	value v, fields;
	mlsize_t i;

	kvm_answer_init(&a);
	/* From here to the answer nothing is allocated in OCaml's heap. */
	v = caml_callback(*handler, new_request(r));
	a.status = (int)Long_val(Field(v, 0));
	a.type = String_val(Field(v, 1));
	a.body = String_val(Field(v, 2));
	a.body_len = caml_string_length(Field(v, 2));
	fields = Field(v, 3);
	/* Kvm.serve has seen to it that there are no more. */
	for (i = 0; i < Wosize_val(fields) && i < KVM_ANSWER_HEADERS; i++) {
		a.header[i].field = String_val(Field(fields, i));
		a.header[i].field_len = caml_string_length(Field(fields, i));
	}
	a.extra.num_headers = (uint16_t)i;
	if (Double_val(Field(v, 4)) >= 0)
		kvm_answer_cache(&a, Double_val(Field(v, 4)), 0, 0);
	kvm_answer_send(&a);
}

value
kvm_ml_log(value line)
{

	sys_log(String_val(line), caml_string_length(line));
	return (Val_unit);
}

value
kvm_ml_wait(value unit)
{

	(void)unit;
	handler = caml_named_value("kvm_answer");
	kvm_keep_heap(KVM_LAUNCHER_HEAP);
	kvm_serve(on_request);
}
