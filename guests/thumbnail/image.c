/*-
 * SPDX-License-Identifier: BSD-2-Clause
 */

#include <png.h>
#include <setjmp.h>
#include <stdbool.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <webp/encode.h>

#include <jpeglib.h>
#include <jerror.h>

#include "image.h"

const char image_too_large[] = "the image has too many pixels";
const char image_too_high[] = "the image would be higher than WebP can be";

static const char *
image_new(struct image *im, unsigned long width, unsigned long height)
{

	if (width == 0 || height == 0 || width > IMAGE_MAX_PIXELS ||
	    height > IMAGE_MAX_PIXELS / width)
		return (image_too_large);
	im->width = (int)width;
	im->height = (int)height;
	im->rgba = malloc(width * height * 4);
	return (im->rgba == NULL ? image_too_large : NULL);
}

const char *
image_read_png(struct image *im, const uint8_t *data, size_t len)
{
	const char *error;
	png_image png;

	memset(&png, 0, sizeof png);
	png.version = PNG_IMAGE_VERSION;
	if (!png_image_begin_read_from_memory(&png, data, len))
		return ("the PNG is damaged");
	error = image_new(im, png.width, png.height);
	png.format = PNG_FORMAT_RGBA;
	if (error == NULL &&
	    !png_image_finish_read(&png, NULL, im->rgba, 0, NULL))
		error = "the PNG is damaged";
	png_image_free(&png);
	return (error);
}

/* libjpeg's own way out is exit(). */
struct jpeg_failure {
	struct jpeg_error_mgr	base;
	jmp_buf			out;
};

static void
jpeg_failed(j_common_ptr c)
{
	struct jpeg_failure *f = (struct jpeg_failure *)(void *)c->err;

	longjmp(f->out, 1);
}

static void
jpeg_silent(j_common_ptr c)
{

	(void)c;
}

/* What is missing libjpeg makes up, in grey, and only warns. */
static void
jpeg_warns(j_common_ptr c, int level)
{

	if (level < 0 && c->err->msg_code == JWRN_HIT_MARKER)
		jpeg_failed(c);
}

/*
 * The four colours of print, which libjpeg leaves as they are; Adobe's programs
 * write them inverted.
 */
static void
from_cmyk(uint8_t *p, size_t n, bool inverted)
{
	unsigned k, c;

	for (; n > 0; n--, p += 4) {
		k = inverted ? p[3] : 255U - p[3];
		for (c = 0; c < 3; c++)
			p[c] = (uint8_t)((inverted ? p[c] : 255U - p[c]) * k /
			    255);
		p[3] = 255;
	}
}

const char *
image_read_jpeg(struct image *im, const uint8_t *data, size_t len)
{
	struct jpeg_decompress_struct j;
	struct jpeg_failure failure;
	const char *error;
	JSAMPROW row;

	j.err = jpeg_std_error(&failure.base);
	failure.base.error_exit = jpeg_failed;
	failure.base.output_message = jpeg_silent;
	failure.base.emit_message = jpeg_warns;
	if (setjmp(failure.out)) {
		jpeg_destroy_decompress(&j);
		return ("the JPEG is damaged");
	}
	jpeg_create_decompress(&j);
	jpeg_mem_src(&j, data, len);
	(void)jpeg_read_header(&j, TRUE);
	error = image_new(im, j.image_width, j.image_height);
	if (error != NULL) {
		jpeg_destroy_decompress(&j);
		return (error);
	}
	j.out_color_space = j.num_components == 4 ? JCS_CMYK : JCS_EXT_RGBA;
	(void)jpeg_start_decompress(&j);
	while (j.output_scanline < j.output_height) {
		row = im->rgba + (size_t)j.output_scanline * j.output_width * 4;
		(void)jpeg_read_scanlines(&j, &row, 1);
		if (j.out_color_space == JCS_CMYK)
			from_cmyk(row, j.output_width, j.saw_Adobe_marker);
	}
	(void)jpeg_finish_decompress(&j);
	jpeg_destroy_decompress(&j);
	return (NULL);
}

/*
 * The average of the source rectangle that an output pixel covers, colours
 * weighted by alpha, so that transparent pixels do not bleed.
 */
static void
average(const struct image *from, int x0, int x1, int y0, int y1,
    uint8_t *out)
{
	uint64_t sum[3] = { 0, 0, 0 }, alpha = 0, n;
	const uint8_t *p;
	int x, y, c;

	for (y = y0; y < y1; y++) {
		p = from->rgba + ((size_t)y * from->width + x0) * 4;
		for (x = x0; x < x1; x++, p += 4) {
			for (c = 0; c < 3; c++)
				sum[c] += (uint64_t)p[c] * p[3];
			alpha += p[3];
		}
	}
	n = (uint64_t)(x1 - x0) * (uint64_t)(y1 - y0);
	for (c = 0; c < 3; c++)
		out[c] = alpha ? (uint8_t)((sum[c] + alpha / 2) / alpha) : 0;
	out[3] = (uint8_t)((alpha + n / 2) / n);
}

const char *
image_shrink(struct image *to, const struct image *from, int width)
{
	long height = ((long)from->height * width + from->width / 2) /
	    from->width;
	const char *error;
	int x, y, x0, x1, y0, y1;

	if (height < 1)
		height = 1;
	if (height > WEBP_MAX_DIMENSION)
		return (image_too_high);
	error = image_new(to, (unsigned long)width, (unsigned long)height);
	if (error != NULL)
		return (error);
	for (y = 0; y < to->height; y++) {
		y0 = (int)((long)y * from->height / to->height);
		y1 = (int)((long)(y + 1) * from->height / to->height);
		for (x = 0; x < width; x++) {
			x0 = (int)((long)x * from->width / width);
			x1 = (int)((long)(x + 1) * from->width / width);
			average(from, x0, x1 > x0 ? x1 : x0 + 1, y0,
			    y1 > y0 ? y1 : y0 + 1,
			    to->rgba + ((size_t)y * width + x) * 4);
		}
	}
	return (NULL);
}

size_t
image_write_webp(const struct image *im, float quality, uint8_t **webp)
{

	*webp = NULL;
	return (WebPEncodeRGBA(im->rgba, im->width, im->height, im->width * 4,
	    quality, webp));
}

void
image_warm_up(void)
{
	static uint8_t grey[32 * 32 * 4];
	struct image im = { 32, 32, grey };
	uint8_t *webp;

	memset(grey, 0x7f, sizeof grey);
	if (image_write_webp(&im, 80, &webp) > 0)
		WebPFree(webp);
}
