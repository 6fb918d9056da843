-- SPDX-License-Identifier: BSD-2-Clause
--
-- What wrk saw, as one line of JSON: every answer's latency in microseconds
-- with how many there were of it. wrk's own percentiles are not used: wrk adds
-- answers that it would have expected in the time of a slow one.

function done(summary, latency, requests)
	local counts, first = {}, true
	for i = 1, #latency do
		local value, count = latency(i)
		counts[#counts + 1] = string.format("[%d,%d]", value, count)
	end
	local e = summary.errors
	io.write(string.format(
	    '{"requests":%d,"duration_us":%d,"errors":%d,"latency":[%s]}\n',
	    summary.requests, summary.duration,
	    e.connect + e.read + e.write + e.status + e.timeout,
	    table.concat(counts, ",")))
end
