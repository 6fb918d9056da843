/*-
 * SPDX-License-Identifier: BSD-2-Clause
 *
 * The programs file, one program's settings, main()'s arguments, patterns. The
 * first byte says which.
 */

#include "compute.h"
#include "fuzz.h"

int
LLVMFuzzerTestOneInput(const uint8_t *data, size_t len)
{
	static const struct tkc_host_interface none;
	struct tkc_registry *r;
	struct tkc_error err;
	const char *arguments[1];
	char *text, *stats;
	int e;

	if (len == 0)
		return (0);
	r = tkc_registry_new(&none, NULL);
	text = malloc(len);
	PROMISE(r != NULL && text != NULL);
	memcpy(text, data + 1, len - 1);
	text[len - 1] = '\0';
	err.reason = 0;
	err.text[0] = '\0';
	switch (data[0] % 4) {
	case 0:
		e = tkc_library(r, text, len - 1, "fuzz", &err);
		break;
	case 1:
		e = tkc_configure(r, "program", text, &err);
		break;
	case 2:
		arguments[0] = text;
		e = tkc_main_arguments(r, text, arguments, 1, &err);
		break;
	default:
		e = tkc_invalidate(r, text, &err) < 0;
		stats = tkc_stats(r, text, 2, &err);
		PROMISE((stats != NULL) == (e == 0));
		tkc_stats_free(stats);
	}
	PROMISE(e == 0 || err.text[0] != '\0');
	free(text);
	tkc_registry_free(&r);
	return (0);
}
