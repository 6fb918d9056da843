-- SPDX-License-Identifier: BSD-2-Clause

kvm.serve(function(request)
	if request.url == "/fail" then
		error("asked to fail")
	end
	return "Hello from " .. _VERSION .. "!\n"
end)
