#include <exception>
#include <string>

#include "kvm_api.h"

static std::string
answer(const std::string &method, const std::string &url)
{
	return "Hello from @NAME@: " + method + " " + url + "\n";
}

static void
on_request(const kvm_request *r)
{
	try {
		const std::string text = answer(r->method, r->url);

		respond(200, "text/plain", text.data(), text.size());
	} catch (const std::exception &e) {
		sys_log(e.what(), strlen(e.what()));
		respond_text(500, "The program failed; its log says why.\n");
	}
}

int
main()
{
	// What takes long belongs here: it happens once.
	kvm_serve(on_request);
}
