-- SPDX-License-Identifier: BSD-2-Clause
--
-- Patterns are Lua's. Edit, `kvmctl deploy`, done.

return {
	{
		name = "old shop",
		when = { path = "^/shop/item/%d+$" },
		act = { rewrite = { "^/shop/item/(%d+)$", "/products/%1" },
		    backend = "shop" },
	},
	{
		name = "robots",
		when = { headers = { ["user-agent"] = "bot" } },
		act = { backend = "static", set = { ["X-Robot"] = "1" },
		    unset = { "Cookie" } },
	},
	{
		name = "bare domain",
		when = { host = "example.com" },
		act = { status = 301,
		    location = "https://www.example.com/" },
	},
	{
		name = "admin",
		when = { path = "^/admin" },
		act = { status = 403 },
	},
}
