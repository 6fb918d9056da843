// What takes long belongs here: it happens once.

kvm.serve(request => ({
    status: 200,
    type: "text/plain; charset=utf-8",
    body: `Hello from @NAME@: ${request.method} ${request.url}\n`,
}));
