-- SPDX-License-Identifier: BSD-2-Clause
--
-- Clients that think for 10 ms before they ask again.

function delay()
	return 10
end
