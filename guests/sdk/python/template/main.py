import kvm

# What takes long belongs here: it happens once.


@kvm.serve
def handle(request):
    return f"Hello from @NAME@: {request.method} {request.url}\n"
