-- SPDX-License-Identifier: BSD-2-Clause

kvm.serve(function(request)
	if request.url == "/fail" then
		error("asked to fail")
	end
	if request.url == "/dice" then
		return tostring(math.random())
	end
	return "Hello from " .. _VERSION .. "!\n"
end)
