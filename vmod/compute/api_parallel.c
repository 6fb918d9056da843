/*-
 * SPDX-License-Identifier: BSD-2-Clause
 *
 * More vCPUs: multiprocess(n, ...) makes n of them compute, the caller's own
 * included, at most as many as the setting "smp" says.
 */

#include "api.h"
#include "guest_abi.h"

#define SECONDS		8.0		/* the guest ABI */
#define MAX_CPUS	16

/* How many more; 0 when it may not. */
static unsigned
more_cpus(const struct tk_machine *m, const struct tkc_invocation *inv)
{
	uint64_t n = tk_arg(m, 0);

	if (n < 2 || n > MAX_CPUS || n > inv->instance->smp)
		return (0);
	return ((unsigned)n - 1);
}

static enum tk_verdict
result(struct tk_machine *m, int e)
{

	tk_set_result(m, e == 0 ? 0 : (uint64_t)-1);
	return (TK_RESUME);
}

static enum tk_verdict
start(struct tk_machine *m, struct tkc_invocation *inv,
    const uint64_t (*args)[3], const char *call)
{
	tk_gva function = tk_arg(m, 1);
	unsigned n = more_cpus(m, inv);

	if (!tk_executable(m, function))
		return (tk_fail(m, function, "%s: 0x%llx is no function", call,
		    (unsigned long long)function));
	return (result(m, n == 0 ? -1 : tk_parallel_start(m, n, function,
	    args, SECONDS)));
}

enum tk_verdict
tkc_api_multiprocess(struct tk_machine *m, struct tkc_invocation *inv)
{
	uint64_t args[MAX_CPUS - 1][3] = { { 0 } };
	unsigned i;

	for (i = 0; i < MAX_CPUS - 1; i++)
		args[i][0] = tk_arg(m, 2);
	return (start(m, inv, args, "multiprocess"));
}

/* function(cpu, element, size): cpu 0 is the caller, with the first element. */
enum tk_verdict
tkc_api_multiprocess_array(struct tk_machine *m, struct tkc_invocation *inv)
{
	uint64_t args[MAX_CPUS - 1][3], size = tk_arg(m, 3);
	unsigned i;

	for (i = 0; i < MAX_CPUS - 1; i++) {
		args[i][0] = i + 1;
		args[i][1] = tk_arg(m, 2) + (i + 1) * size;
		args[i][2] = size;
	}
	return (start(m, inv, args, "multiprocess_array"));
}

enum tk_verdict
tkc_api_multiprocess_clone(struct tk_machine *m, struct tkc_invocation *inv)
{
	unsigned n = more_cpus(m, inv);

	return (result(m, n == 0 ? -1 : tk_parallel_clone(m, n, tk_arg(m, 1),
	    tk_arg(m, 2), SECONDS)));
}

enum tk_verdict
tkc_api_multiprocess_wait(struct tk_machine *m, struct tkc_invocation *inv)
{

	(void)inv;
	return (result(m, tk_parallel_wait(m)));
}
