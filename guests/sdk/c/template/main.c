#include "kvm_api.h"

static void
on_request(const struct kvm_request *r)
{
	respondf(200, "Hello from @NAME@: %s %s\n", r->method, r->url);
}

int
main(void)
{
	/* What takes long belongs here: it happens once. */
	kvm_serve(on_request);
}
