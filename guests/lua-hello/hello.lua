-- SPDX-License-Identifier: BSD-2-Clause

kvm.serve(function(request)
	if request.url == "/fail" then
		error("asked to fail")
	end
	if request.url == "/cookies" then
		return { headers = { ["Set-Cookie"] = { "a=1", "b=2" },
		    ["X-One"] = 1 } }
	end
	if request.url == "/list" then
		return { "no text" }
	end
	if request.url == "/dice" then
		return tostring(math.random())
	end
	return "Hello from " .. _VERSION .. "!\n"
end)
