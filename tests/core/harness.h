/*-
 * SPDX-License-Identifier: BSD-2-Clause
 *
 * A C test is a program whose tests pytest lists (--list: a name and its marks)
 * and runs one by one by name. A failing CHECK says where and ends the program
 * with 1.
 */

#ifndef TESTS_HARNESS_H_INCLUDED
#define TESTS_HARNESS_H_INCLUDED

#include <stdint.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

typedef void test_fn(void);

struct test {
	const char	*name;
	test_fn		*run;
	const char	*marks;		/* of pytest */
};

#define CHECK(e)							\
	do {								\
		if (!(e)) {						\
			fprintf(stderr, "%s:%d: CHECK(%s)\n", __FILE__,	\
			    __LINE__, #e);				\
			exit(1);					\
		}							\
	} while (0)

#define CHECK_MSG(e, ...)						\
	do {								\
		if (!(e)) {						\
			fprintf(stderr, "%s:%d: CHECK(%s): ", __FILE__,	\
			    __LINE__, #e);				\
			fprintf(stderr, __VA_ARGS__);			\
			fputc('\n', stderr);				\
			exit(1);					\
		}							\
	} while (0)

#define CHECK_STR(text, part)						\
	CHECK_MSG(strstr((text), (part)) != NULL, "\"%s\" in \"%s\"",	\
	    (part), (text))

#define TESTS(...)							\
	static const struct test tests[] = { __VA_ARGS__ };		\
	int								\
	main(int argc, char **argv)					\
	{								\
		size_t i, n = sizeof tests / sizeof tests[0];		\
									\
		if (argc == 2 && strcmp(argv[1], "--list") == 0) {	\
			for (i = 0; i < n; i++)				\
				printf("%s %s\n", tests[i].name,	\
				    tests[i].marks);			\
			return (0);					\
		}							\
		for (i = 0; i < n; i++)					\
			if (argc == 2 &&				\
			    strcmp(argv[1], tests[i].name) == 0) {	\
				tests[i].run();				\
				return (0);				\
			}						\
		fprintf(stderr, "no such test\n");			\
		return (2);						\
	}

#define T(name)		{ #name, name, "" }
#define T_KVM(name)	{ #name, name, "kvm" }
#define T_LONG(name)	{ #name, name, "kvm long" }

/* A small, repeatable random number: xorshift64*. */
static inline uint64_t
test_random(uint64_t *state)
{

	*state ^= *state >> 12;
	*state ^= *state << 25;
	*state ^= *state >> 27;
	return (*state * 0x2545f4914f6cdd1dULL);
}

#endif /* TESTS_HARNESS_H_INCLUDED */
