/*-
 * SPDX-License-Identifier: BSD-2-Clause
 *
 * shared_memory_area(): memory that all machines of a program share, storage
 * among them. It is neither copied on write nor put back by a reset.
 */

#include "api.h"

enum tk_verdict
tkc_api_shared_memory(struct tk_machine *m)
{
	uint64_t size;
	tk_gva begin;

	begin = tk_shared_area(m, &size);
	if (size == 0)
		begin = 0;
	tk_set_result(m, begin);
	tk_set_result2(m, begin + size);
	return (TK_RESUME);
}
