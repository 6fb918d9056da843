-- SPDX-License-Identifier: BSD-2-Clause
--
-- Writes JSON: strings, numbers, booleans, lists, tables by sorted name.

local M = {}

local escapes = { ['"'] = '\\"', ["\\"] = "\\\\", ["\n"] = "\\n",
    ["\r"] = "\\r", ["\t"] = "\\t" }

local function quoted(s)
	return '"' .. s:gsub('[%c"\\]', function(c)
		return escapes[c] or string.format("\\u%04x", c:byte())
	end) .. '"'
end

function M.encode(v)
	if type(v) == "string" then
		return quoted(v)
	elseif type(v) ~= "table" then
		return tostring(v)
	end
	local parts = {}
	if #v > 0 then
		for i, item in ipairs(v) do
			parts[i] = M.encode(item)
		end
		return "[" .. table.concat(parts, ",") .. "]"
	end
	local names = {}
	for name in pairs(v) do
		names[#names + 1] = name
	end
	table.sort(names)
	for i, name in ipairs(names) do
		parts[i] = quoted(name) .. ":" .. M.encode(v[name])
	end
	return "{" .. table.concat(parts, ",") .. "}"
end

return M
