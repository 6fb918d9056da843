/*-
 * SPDX-License-Identifier: BSD-2-Clause
 *
 * Compresses the body for a client. The request's argument is its
 * Accept-Encoding (RFC 9110, section 12.5.3): zstd, br or gzip, whichever it
 * likes best and, of equals, compresses best. ?level=N sets the effort.
 */

#include <ctype.h>
#include <stdlib.h>

#include <brotli/encode.h>
#include <libdeflate.h>
#include <zstd.h>

#include "heap.h"
#include "kvm_api.h"

enum coding { IDENTITY, GZIP, BROTLI, ZSTD, N_CODINGS };

static const char *const names[N_CODINGS] = { "identity", "gzip", "br",
    "zstd" };
static const int levels[N_CODINGS][2] = { { 0, 0 }, { 6, 12 }, { 5, 11 },
    { 3, 19 } };			/* usual, highest */

/* The weight of a coding, in thousandths; -1 when it is not named. */
static int
weight(const char *accept, const char *name)
{
	size_t len = strlen(name);
	const char *p = accept, *q;
	int found = -1;

	while (*p != '\0') {
		p += strspn(p, " \t,");
		q = p + strcspn(p, " \t,;");
		if ((size_t)(q - p) == len && strncasecmp(p, name, len) == 0) {
			found = 1000;
			q += strspn(q, " \t;");
			if (strncasecmp(q, "q=", 2) == 0)
				found = (int)(strtod(q + 2, NULL) * 1000);
			return (found);
		}
		p += strcspn(p, ",");
	}
	return (found);
}

static enum coding
choose(const char *accept)
{
	static const enum coding order[] = { ZSTD, BROTLI, GZIP };
	enum coding best = IDENTITY;
	int most = 0, w, any = weight(accept, "*");
	int plain = weight(accept, names[IDENTITY]);
	unsigned i;

	for (i = 0; i < 3; i++) {
		w = weight(accept, names[order[i]]);
		if (w < 0)
			w = any;
		if (w > most && w >= plain) {
			most = w;
			best = order[i];
		}
	}
	return (best);
}

/* Compressed into *out; its length, 0 when that failed. */
static size_t
compress(enum coding c, int level, const void *in, size_t len, void **out)
{
	struct libdeflate_compressor *deflate;
	size_t room;

	switch (c) {
	case ZSTD:
		room = ZSTD_compressBound(len);
		*out = malloc(room);
		if (*out == NULL)
			return (0);
		len = ZSTD_compress(*out, room, in, len, level);
		return (ZSTD_isError(len) ? 0 : len);
	case BROTLI:
		room = BrotliEncoderMaxCompressedSize(len);
		*out = malloc(room);
		if (*out == NULL || !BrotliEncoderCompress(level,
		    BROTLI_DEFAULT_WINDOW, BROTLI_MODE_TEXT, len, in, &room,
		    *out))
			return (0);
		return (room);
	default:
		deflate = libdeflate_alloc_compressor(level);
		if (deflate == NULL)
			return (0);
		room = libdeflate_gzip_compress_bound(deflate, len);
		*out = malloc(room);
		if (*out == NULL)
			return (0);
		return (libdeflate_gzip_compress(deflate, in, len, *out,
		    room));
	}
}

static void
on_request(const struct kvm_request *r)
{
	enum coding c = choose(r->arg);
	struct BackendResponseExtra extra = { 0 };
	struct ResponseHeader h[2];
	const char *type = r->content_type_len > 0 ? r->content_type :
	    "application/octet-stream", *given;
	char field[64];
	void *out;
	size_t len;
	int level;

	h[0].field = "Vary: Accept-Encoding";
	h[0].field_len = strlen(h[0].field);
	extra.headers = h;
	extra.num_headers = 1;
	if (c == IDENTITY)
		sys_backend_response(200, type, strlen(type), r->content,
		    r->content_len, &extra);
	level = levels[c][0];
	given = strstr(r->url, "level=");
	if (given != NULL) {
		level = atoi(given + 6);
		if (level < 1 || level > levels[c][1])
			respondf(400, "the level of %s is 1 to %d\n", names[c],
			    levels[c][1]);
	}
	len = compress(c, level, r->content, r->content_len, &out);
	if (len == 0)
		respond_text(500, "compression failed\n");
	h[1].field = field;
	h[1].field_len = (size_t)snprintf(field, sizeof field,
	    "Content-Encoding: %s", names[c]);
	extra.num_headers = 2;
	sys_backend_response(200, type, strlen(type), out, len, &extra);
}

int
main(void)
{

	kvm_keep_heap(16 << 20);
	kvm_serve(on_request);
}
