/*-
 * SPDX-License-Identifier: BSD-2-Clause
 *
 * What all that uses libcurl begins with: fetches of guests, and downloads of
 * programs.
 */

#include <pthread.h>
#include <stdlib.h>
#include <unistd.h>

#include "fetch.h"

static pthread_once_t curl_once = PTHREAD_ONCE_INIT;

static void
curl_start(void)
{

	(void)curl_global_init(CURL_GLOBAL_DEFAULT);
}

void
tkc_curl_init(void)
{

	(void)pthread_once(&curl_once, curl_start);
}

void
tkc_curl_trust(void *curl)
{
	const char *file = getenv("TINYKVM_CA_FILE");
	const curl_version_info_data *v = curl_version_info(CURLVERSION_NOW);

	if (file != NULL)
		(void)curl_easy_setopt(curl, CURLOPT_CAINFO, file);
	/*
	 * That file instead of the system's, not besides them. And without a
	 * directory libcurl reads the system's file, 40 to 100 ms of work,
	 * once for a handle and not for each connection.
	 */
	if (file != NULL || (v->age >= CURLVERSION_SEVENTH &&
	    v->cainfo != NULL && access(v->cainfo, R_OK) == 0))
		(void)curl_easy_setopt(curl, CURLOPT_CAPATH, NULL);
}
