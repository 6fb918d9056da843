/*-
 * SPDX-License-Identifier: BSD-2-Clause
 *
 * PNG or JPEG in (POST), a smaller WebP out. ?w=200 in the URL is the width.
 */

#include <stdlib.h>

#include "image.h"
#include "kvm_api.h"

#define DEFAULT_WIDTH	256
#define MAX_WIDTH	4096
#define QUALITY		80

static int
wanted_width(const char *url)
{
	const char *q = strchr(url, '?');
	long w;

	while (q != NULL) {
		q++;
		if (strncmp(q, "w=", 2) == 0) {
			w = strtol(q + 2, NULL, 10);
			if (w < 1 || w > MAX_WIDTH)
				respondf(400, "w is a width from 1 to %d\n",
				    MAX_WIDTH);
			return ((int)w);
		}
		q = strchr(q, '&');
	}
	return (DEFAULT_WIDTH);
}

static void
on_get(const char *url, const char *arg)
{

	(void)url;
	(void)arg;
	respond_text(400, "POST a PNG or JPEG; ?w=200 is the width\n");
}

static void
on_post(const char *url, const char *arg, const char *type,
    const uint8_t *data, size_t len)
{
	struct image in, out;
	const char *error;
	uint8_t *webp;
	size_t size;
	int width = wanted_width(url);

	(void)arg;
	(void)type;
	if (len >= 8 && memcmp(data, "\x89PNG\r\n\x1a\n", 8) == 0)
		error = image_read_png(&in, data, len);
	else if (len >= 3 && memcmp(data, "\xff\xd8\xff", 3) == 0)
		error = image_read_jpeg(&in, data, len);
	else
		respond_text(415, "neither a PNG nor a JPEG\n");
	if (error != NULL)
		respondf(error == image_too_large ? 413 : 400, "%s\n", error);
	if (width > in.width)
		width = in.width;
	error = image_shrink(&out, &in, width);
	if (error != NULL)
		respondf(413, "%s\n", error);
	size = image_write_webp(&out, QUALITY, &webp);
	if (size == 0)
		respond_text(500, "the WebP encoder failed\n");
	respond(200, "image/webp", webp, size);
}

int
main(void)
{

	image_warm_up();
	set_backend_get(on_get);
	set_backend_post(on_post);
	wait_for_requests();
}
