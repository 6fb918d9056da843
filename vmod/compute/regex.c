/*-
 * SPDX-License-Identifier: BSD-2-Clause
 */

#define PCRE2_CODE_UNIT_WIDTH	8
#include <pcre2.h>
#include <stdlib.h>
#include <string.h>

#include "regex.h"
#include "settings.h"

struct tkc_regex {
	pcre2_code		*code;
	pcre2_match_data	*match;
};

struct tkc_regex *
tkc_regex_new(const char *pattern, struct tkc_error *err)
{
	struct tkc_regex *re;
	PCRE2_UCHAR text[128];
	PCRE2_SIZE at;
	int e;

	re = calloc(1, sizeof *re);
	if (re == NULL) {
		(void)tkc_fail(err, TKC_ENVIRONMENT, "Out of memory");
		return (NULL);
	}
	re->code = pcre2_compile((PCRE2_SPTR)pattern, PCRE2_ZERO_TERMINATED, 0,
	    &e, &at, NULL);
	if (re->code == NULL) {
		(void)pcre2_get_error_message(e, text, sizeof text);
		(void)tkc_fail(err, TKC_SETTINGS, "regular expression "
		    "\"%.200s\", offset %zu: %s", pattern, at, (char *)text);
		tkc_regex_free(&re);
		return (NULL);
	}
	re->match = pcre2_match_data_create(1, NULL);
	if (re->match == NULL) {
		(void)tkc_fail(err, TKC_ENVIRONMENT, "Out of memory");
		tkc_regex_free(&re);
	}
	return (re);
}

bool
tkc_regex_match(const struct tkc_regex *re, const char *subject)
{

	return (pcre2_match(re->code, (PCRE2_SPTR)subject, strlen(subject), 0,
	    0, re->match, NULL) >= 0);
}

void
tkc_regex_free(struct tkc_regex **pre)
{
	struct tkc_regex *re = *pre;

	*pre = NULL;
	if (re == NULL)
		return;
	pcre2_match_data_free(re->match);
	pcre2_code_free(re->code);
	free(re);
}
