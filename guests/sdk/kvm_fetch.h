/* SPDX-License-Identifier: BSD-2-Clause
 *
 * Fetches that read well:
 *
 *	struct kvm_fetched page = fetch("https://api.example.com/v1/prices");
 *
 *	if (page.error != 0 || page.status != 200)
 *		respond_text(502, fetch_error(page.error));
 *	respond(200, page.type, page.content, page.content_len);
 *
 * The program's setting allowed_fetch names who may be asked. What came lies in
 * memory that the end of the request takes back.
 */

#ifndef KVM_FETCH_H
#define KVM_FETCH_H

#include "kvm_api.h"

struct kvm_fetched {
	long		error;		/* 0, or enum kvm_fetch_error */
	int		status;
	const char	*content;	/* not NULL, ends with a NUL */
	size_t		content_len;	/* without it */
	const char	*headers;	/* "HTTP/1.1 200 OK\r\nName: value..." */
	char		type[128];
};

/*
 * Any request. method NULL: GET, or POST with data. fields: "Name: value", at
 * most 12, the last followed by NULL; may be NULL. Redirects are not followed.
 */
static inline struct kvm_fetched
fetch_with(const char *method, const char *url, const char *const *fields,
    const char *type, const void *data, size_t len)
{
	struct curl_options options;
	struct curl_fields list;
	struct kvm_fetched r;
	struct curl_op op;
	int i;

	memset(&options, 0, sizeof options);
	memset(&list, 0, sizeof list);
	memset(&op, 0, sizeof op);
	memset(&r, 0, sizeof r);
	for (i = 0; i < 12 && fields != NULL && fields[i] != NULL; i++) {
		list.ptr[i] = fields[i];
		list.len[i] = (uint16_t)strlen(fields[i]);
	}
	op.post_buffer = data;
	op.post_buflen = (uint32_t)len;
	if (type != NULL && strlen(type) < sizeof op.ctype) {
		op.ctlen = (uint32_t)strlen(type);
		memcpy(op.ctype, type, op.ctlen);
	}
	r.error = method != NULL ?
	    sys_fetch_method(method, url, strlen(url), &op, &list, &options) :
	    sys_fetch(url, strlen(url), &op, &list, &options);
	r.content = r.headers = "";
	if (r.error != 0)
		return (r);
	r.status = (int)op.status;
	if (op.content != NULL)
		r.content = (const char *)op.content;
	r.content_len = op.content_length;
	if (op.headers != NULL)
		r.headers = (const char *)op.headers;
	memcpy(r.type, op.ctype, sizeof r.type);
	return (r);
}

static inline struct kvm_fetched
fetch(const char *url)
{

	return (fetch_with(NULL, url, NULL, NULL, NULL, 0));
}

static inline struct kvm_fetched
fetch_post(const char *url, const char *type, const void *data, size_t len)
{

	/* Nothing to send is no reason to GET. */
	return (fetch_with(len == 0 ? "POST" : NULL, url, NULL, type, data,
	    len));
}

static inline const char *
fetch_error(long error)
{

	switch (error) {
	case 0: return ("no error");
	case KVM_FETCH_BAD_URL: return ("this is no URL");
	case KVM_FETCH_UNRESOLVED: return ("the host is not known");
	case KVM_FETCH_UNREACHABLE: return ("the host cannot be reached");
	case KVM_FETCH_DENIED: return ("not allowed to fetch this");
	case KVM_FETCH_TIMEOUT: return ("no answer in time");
	case KVM_FETCH_LOOP: return ("a loop");
	case KVM_FETCH_BAD_TLS: return ("the certificate is not trusted");
	case KVM_FETCH_TOO_LARGE: return ("the answer is too large");
	case KVM_FETCH_BUSY: return ("too many requests at once");
	default: return ("the fetch failed");
	}
}

#endif /* KVM_FETCH_H */
