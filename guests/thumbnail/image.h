/*-
 * SPDX-License-Identifier: BSD-2-Clause
 *
 * Pictures in memory: 8-bit RGBA, rows without padding. Functions that return
 * a text return NULL when all is well.
 */

#ifndef IMAGE_H_INCLUDED
#define IMAGE_H_INCLUDED

#include <stddef.h>
#include <stdint.h>

/* More would be a decompression bomb, or not fit the program's memory. */
#define IMAGE_MAX_PIXELS	(16 * 1024 * 1024)

struct image {
	int		width, height;
	uint8_t		*rgba;
};

extern const char image_too_large[], image_too_high[];

const char *image_read_png(struct image *, const uint8_t *, size_t);
const char *image_read_jpeg(struct image *, const uint8_t *, size_t);

/* Averages areas; keeps the aspect. */
const char *image_shrink(struct image *, const struct image *, int width);

/* Bytes of *webp, 0 on failure. quality 0..100. */
size_t image_write_webp(const struct image *, float quality, uint8_t **webp);

/* Tables that codecs build at their first use. */
void image_warm_up(void);

#endif /* IMAGE_H_INCLUDED */
