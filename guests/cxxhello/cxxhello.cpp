// SPDX-License-Identifier: BSD-2-Clause
//
// The C++ runtime in a guest: containers, streams, exceptions.

#include <algorithm>
#include <map>
#include <sstream>
#include <stdexcept>
#include <string>

#include "kvm_api.h"

static std::map<std::string, int> words;	// filled before the freeze

static std::string
answer(const std::string &url)
{
	std::ostringstream out;

	if (url == "/throw")
		throw std::runtime_error("thrown and caught");
	for (const auto &[word, n] : words)
		out << word << '=' << n << '\n';
	return (out.str());
}

static void
on_request(const kvm_request *r)
{
	try {
		std::string text = answer(r->url);

		respond(200, "text/plain", text.data(), text.size());
	} catch (const std::exception &e) {
		respondf(418, "%s\n", e.what());
	}
}

int
main()
{
	std::istringstream in("one two two three three three");
	std::string word;

	while (in >> word)
		words[word]++;
	kvm_serve(on_request);
}
