-- SPDX-License-Identifier: BSD-2-Clause
--
-- Decisions at the edge, as JSON: which backend, which path, which headers to
-- set or drop. VCL asks with the request's URL and headers (to_string or
-- synth) and acts on the answer.

local json = require("json")
local rules = require("rules")

-- The first rule whose conditions all hold.
local function find(request)
	for _, rule in ipairs(rules) do
		local when, holds = rule.when, true
		if when.path and not request.url:find(when.path) then
			holds = false
		end
		if when.host and request.headers.host ~= when.host then
			holds = false
		end
		for name, pattern in pairs(when.headers or {}) do
			local value = request.headers[name]
			if not value or not value:lower():find(pattern) then
				holds = false
			end
		end
		if holds then
			return rule
		end
	end
end

kvm.serve(function(request)
	local rule = find(request)
	local decision
	if rule then
		local act = rule.act
		decision = { rule = rule.name, backend = act.backend,
		    status = act.status, location = act.location,
		    set = act.set, unset = act.unset }
		if act.rewrite then
			decision.url = request.url:gsub(act.rewrite[1],
			    act.rewrite[2])
		end
	else
		decision = { rule = "none", backend = "default" }
	end
	return { type = "application/json", body = json.encode(decision) ..
	    "\n" }
end)
