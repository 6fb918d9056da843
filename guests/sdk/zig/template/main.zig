const std = @import("std");
const kvm = @import("kvm");

fn onRequest(r: *const kvm.Request) !kvm.Response {
    // Not freed: the end of the request takes it back.
    const text = try std.fmt.allocPrint(
        std.heap.page_allocator,
        "Hello from @NAME@: {s} {s}\n",
        .{ r.method(), r.url() },
    );
    return .{ .body = text };
}

pub fn main() void {
    // What takes long belongs here: it happens once.
    kvm.serve(onRequest);
}
