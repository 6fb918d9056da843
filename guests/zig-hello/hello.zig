// SPDX-License-Identifier: BSD-2-Clause

const std = @import("std");
const kvm = @import("kvm");

var buffer: [65536]u8 = undefined;

fn onRequest(r: *const kvm.Request) !kvm.Response {
    if (std.mem.eql(u8, r.url(), "/fail")) return error.AskedToFail;
    const text = try std.fmt.bufPrint(&buffer, "Hello from Zig! {s}\n", .{
        r.header("user-agent") orelse "no agent",
    });
    return .{ .body = text };
}

pub fn main() void {
    kvm.serve(onRequest);
}
