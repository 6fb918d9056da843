/*-
 * SPDX-License-Identifier: BSD-2-Clause
 *
 * Plain computing, to compare with the same file as a process: /sha256?n=KIB,
 * /matrix?n=SIZE&with=avx2 or avx512. The answer is a checksum.
 */

#include <immintrin.h>
#include <openssl/sha.h>
#include <stdlib.h>

#include "kvm_api.h"

#define MAX_SIZE	512
#define MAX_KIB		4096

typedef float vec8 __attribute__((vector_size(32)));
typedef float vec16 __attribute__((vector_size(64)));

static float a[MAX_SIZE * MAX_SIZE] __attribute__((aligned(64)));
static float b[MAX_SIZE * MAX_SIZE] __attribute__((aligned(64)));
static float c[MAX_SIZE * MAX_SIZE] __attribute__((aligned(64)));
static unsigned char text[MAX_KIB * 1024];

/* c = a * b, a row of c at a time. */
static void __attribute__((target("avx2,fma")))
product_avx2(long n)
{
	long i, j, k;
	vec8 x, *row;

	memset(c, 0, (size_t)(n * n) * sizeof *c);
	for (i = 0; i < n; i++)
		for (k = 0; k < n; k++) {
			x = (vec8)_mm256_set1_ps(a[i * n + k]);
			row = (vec8 *)(void *)(c + i * n);
			for (j = 0; j < n / 8; j++)
				row[j] += x * ((vec8 *)(void *)(b + k * n))[j];
		}
}

static void __attribute__((target("avx512f")))
product_avx512(long n)
{
	long i, j, k;
	vec16 x, *row;

	memset(c, 0, (size_t)(n * n) * sizeof *c);
	for (i = 0; i < n; i++)
		for (k = 0; k < n; k++) {
			x = (vec16)_mm512_set1_ps(a[i * n + k]);
			row = (vec16 *)(void *)(c + i * n);
			for (j = 0; j < n / 16; j++)
				row[j] += x * ((vec16 *)(void *)(b + k * n))[j];
		}
}

/* XCR0 and CPUID, as the operating system of a process would look. */
static int
has_avx512(void)
{
	unsigned eax, ebx, ecx, edx;

	__asm__ volatile ("xgetbv" : "=a" (eax), "=d" (edx) : "c" (0));
	if ((eax & 0xe6) != 0xe6)
		return (0);
	__asm__ volatile ("cpuid" : "=a" (eax), "=b" (ebx), "=c" (ecx),
	    "=d" (edx) : "a" (7), "c" (0));
	return ((ebx >> 16 & 1) != 0);
}

static long
number(const char *url, const char *name, long most)
{
	const char *p = strstr(url, name);
	long n = p != NULL ? atol(p + strlen(name)) : 0;

	return (n < 16 ? 16 : n > most ? most : n & ~15L);
}

static void
sha256(const char *url)
{
	unsigned char digest[SHA256_DIGEST_LENGTH];
	char hex[2 * SHA256_DIGEST_LENGTH + 1];
	unsigned i;

	SHA256(text, (size_t)number(url, "n=", MAX_KIB) * 1024, digest);
	for (i = 0; i < sizeof digest; i++)
		snprintf(hex + 2 * i, 3, "%02x", digest[i]);
	respondf(200, "%s\n", hex);
}

static void
matrix(const char *url)
{
	long n = number(url, "n=", MAX_SIZE), i;
	double sum = 0;

	if (strstr(url, "avx512") == NULL)
		product_avx2(n);
	else if (has_avx512())
		product_avx512(n);
	else
		respond_text(501, "no AVX-512 here\n");
	for (i = 0; i < n * n; i++)
		sum += (double)c[i];
	respondf(200, "%.6g\n", sum);
}

static void
on_get(const char *url, const char *arg)
{

	(void)arg;
	if (strncmp(url, "/sha256", 7) == 0)
		sha256(url);
	else if (strncmp(url, "/matrix", 7) == 0)
		matrix(url);
	respond_text(404, "/sha256?n= or /matrix?n=&with=\n");
}

int
main(void)
{
	long i;

	for (i = 0; i < MAX_SIZE * MAX_SIZE; i++) {
		a[i] = (float)(i % 97) / 97;
		b[i] = (float)(i % 89) / 89;
		c[i] = 1;
	}
	for (i = 0; i < (long)sizeof text; i++)
		text[i] = (unsigned char)(i * 31 >> 3);
	/* OpenSSL sets itself up at its first use: once, not in each request. */
	SHA256(text, 1, (unsigned char[SHA256_DIGEST_LENGTH]){ 0 });
	set_backend_get(on_get);
	wait_for_requests();
}
