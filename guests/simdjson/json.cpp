// SPDX-License-Identifier: BSD-2-Clause
//
// POST JSON: /validate says whether it is, /minify answers without white
// space, /get?p=/a/0/b the part that a JSON pointer (RFC 6901) names.

#include <cstdlib>
#include <string>

#include "kvm_api.h"
#include "simdjson.h"

using namespace simdjson;

static dom::parser parser;		// with its buffers, before the freeze
static char *padded;
static const size_t room = 4 << 20;	// the largest body

[[noreturn]] static void
answer(int status, const std::string &text)
{

	respond(status, "application/json", text.data(), text.size());
}

[[noreturn]] static void
bad(error_code e)
{

	answer(400, std::string("{\"error\":\"") + error_message(e) + "\"}\n");
}

// simdjson reads behind the end: the body moves to where that is allowed.
static dom::element
parse(const kvm_request *r)
{
	dom::element root;

	if (r->content_len > room)
		answer(413, "{\"error\":\"more than 4 MiB\"}\n");
	memcpy(padded, r->content, r->content_len);
	memset(padded + r->content_len, 0, SIMDJSON_PADDING);
	error_code e = parser.parse(padded, r->content_len, false).get(root);
	if (e)
		bad(e);
	return (root);
}

static void
on_request(const kvm_request *r)
{
	std::string url(r->url, r->url_len);

	if (url == "/engine")
		answer(200, "\"" + active_implementation->name() + "\"\n");
	if (url == "/minify") {
		char *out = (char *)malloc(r->content_len + SIMDJSON_PADDING);
		size_t len;

		(void)parse(r);
		error_code e = minify((const char *)padded, r->content_len,
		    out, len);
		if (e)
			bad(e);
		respond(200, "application/json", out, len);
	}
	dom::element root = parse(r), part;
	if (url.compare(0, 7, "/get?p=") != 0)
		answer(200, "{\"valid\":true}\n");
	error_code e = root.at_pointer(url.substr(7)).get(part);
	if (e)
		bad(e);
	answer(200, minify(part) + "\n");
}

int
main()
{

	padded = (char *)malloc(room + SIMDJSON_PADDING);
	if (parser.allocate(room) != simdjson::SUCCESS)
		return (1);
	kvm_serve(on_request);
}
