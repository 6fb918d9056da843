-- SPDX-License-Identifier: BSD-2-Clause
--
-- /mandelbrot?size=N: how many points of an N x N grid are in the set.
-- What was compiled while the script loaded is there in every request.

local function mandelbrot(size, limit)
	local inside = 0
	for y = 0, size - 1 do
		local ci = 2 * y / size - 1
		for x = 0, size - 1 do
			local cr = 3 * x / size - 2
			local zr, zi, n = 0, 0, 0
			while n < limit and zr * zr + zi * zi < 4 do
				zr, zi = zr * zr - zi * zi + cr, 2 * zr * zi + ci
				n = n + 1
			end
			if n == limit then
				inside = inside + 1
			end
		end
	end
	return inside
end

mandelbrot(64, 200)		-- warm: traces are compiled before the freeze

kvm.serve(function(request)
	local size = tonumber(request.url:match("size=(%d+)")) or 64
	if size > 1000 then
		return { status = 400, body = "size is at most 1000\n" }
	end
	return string.format("%d of %d points\n", mandelbrot(size, 200),
	    size * size)
end)
