// SPDX-License-Identifier: BSD-2-Clause
//
//! The guest API for Zig.
//!
//!     const kvm = @import("kvm");
//!
//!     fn onRequest(r: *const kvm.Request) kvm.Response {
//!         return .{ .body = "Hello\n" };
//!     }
//!     pub fn main() void {
//!         kvm.serve(onRequest);
//!     }
//!
//! Memory that a handler allocates need not be freed: the end of the request
//! takes it back. A generator of random numbers that was seeded before
//! serve() repeats itself in every request: seed it with Request.seed().

const std = @import("std");

/// One request header: "Name: value".
pub const Field = extern struct {
    text: [*]const u8,
    colon: u32,
    len: u32,

    pub fn name(self: Field) []const u8 {
        return self.text[0..self.colon];
    }

    pub fn value(self: Field) []const u8 {
        return std.mem.trim(u8, self.text[self.colon + 1 .. self.len], " \t");
    }
};

/// What is asked. Slices live until the answer.
pub const Request = extern struct {
    method_ptr: [*]const u8,
    url_ptr: [*]const u8,
    arg_ptr: [*]const u8,
    type_ptr: [*]const u8,
    method_len: u16,
    url_len: u16,
    arg_len: u16,
    type_len: u16,
    content_ptr: ?[*]const u8,
    content_len: usize,
    headers_ptr: ?[*]const Field,
    num_headers: u16,
    info_flags: u16,
    reserved0: u32,
    /// Fresh random bits.
    prng: [2]u64,
    reserved1: [2]u64,

    pub fn method(self: *const Request) []const u8 {
        return self.method_ptr[0..self.method_len];
    }

    pub fn url(self: *const Request) []const u8 {
        return self.url_ptr[0..self.url_len];
    }

    /// The argument beside the URL, from VCL.
    pub fn arg(self: *const Request) []const u8 {
        return self.arg_ptr[0..self.arg_len];
    }

    pub fn contentType(self: *const Request) []const u8 {
        return self.type_ptr[0..self.type_len];
    }

    pub fn body(self: *const Request) []const u8 {
        const p = self.content_ptr orelse return "";
        return p[0..self.content_len];
    }

    pub fn headers(self: *const Request) []const Field {
        const p = self.headers_ptr orelse return &.{};
        return p[0..self.num_headers];
    }

    /// The value of the first header of that name, in any case.
    pub fn header(self: *const Request, name: []const u8) ?[]const u8 {
        for (self.headers()) |h| {
            if (std.ascii.eqlIgnoreCase(h.name(), name)) return h.value();
        }
        return null;
    }

    /// A seed for a generator of random numbers, new in every request.
    pub fn seed(self: *const Request) u64 {
        return self.prng[0] ^ self.prng[1];
    }

    /// A warm-up, not a client.
    pub fn isWarmup(self: *const Request) bool {
        return self.info_flags & 1 != 0;
    }
};

/// One header of the answer: "Name: value".
pub const ResponseHeader = extern struct {
    ptr: [*]const u8,
    len: usize,

    pub fn init(text: []const u8) ResponseHeader {
        return .{ .ptr = text.ptr, .len = text.len };
    }
};

/// For how long the answer may be cached, in seconds.
pub const Cache = struct { ttl: f32, grace: f32 = 0, keep: f32 = 0 };

pub const Response = struct {
    status: u16 = 200,
    content_type: []const u8 = "text/plain; charset=utf-8",
    body: []const u8 = "",
    /// At most 64.
    headers: []const ResponseHeader = &.{},
    cache: ?Cache = null,
};

const Extra = extern struct {
    headers: ?[*]const ResponseHeader,
    num_headers: u16,
    cached: bool,
    ttl: f32,
    grace: f32,
    keep: f32,
    reserved: [4]u64 = .{ 0, 0, 0, 0 },
};

comptime {
    std.debug.assert(@sizeOf(Request) == 104);
    std.debug.assert(@sizeOf(Field) == 16);
    std.debug.assert(@sizeOf(Extra) == 56);
}

/// Any call of the guest API by its number.
pub fn call(number: u32, args: [6]usize) isize {
    return asm volatile ("outl %%eax, $0"
        : [ret] "={rax}" (-> isize),
        : [number] "{rax}" (@as(usize, number)),
          [a] "{rdi}" (args[0]),
          [b] "{rsi}" (args[1]),
          [c] "{rdx}" (args[2]),
          [d] "{rcx}" (args[3]),
          [e] "{r8}" (args[4]),
          [f] "{r9}" (args[5]),
        : .{ .memory = true });
}

/// A line in the Varnish log.
pub fn log(text: []const u8) void {
    _ = call(0x7F000, .{ @intFromPtr(text.ptr), text.len, 0, 0, 0, 0 });
}

/// Ends the request.
pub fn respond(r: Response) noreturn {
    var extra: Extra = .{
        .headers = r.headers.ptr,
        .num_headers = @intCast(r.headers.len),
        .cached = false,
        .ttl = 0,
        .grace = 0,
        .keep = 0,
    };
    if (r.cache) |c| {
        extra.cached = c.ttl > 0;
        extra.ttl = if (c.ttl > 0) c.ttl else 0.001;
        extra.grace = c.grace;
        extra.keep = c.keep;
    }
    _ = call(0x10010, .{
        r.status,
        @intFromPtr(r.content_type.ptr),
        r.content_type.len,
        @intFromPtr(r.body.ptr),
        r.body.len,
        @intFromPtr(&extra),
    });
    unreachable;
}

/// Waits for requests; does not return. The handler may return an error: that
/// is status 500 and its name in the log.
pub fn serve(comptime handler: anytype) noreturn {
    const Entry = struct {
        fn enter(r: *const Request) callconv(.c) noreturn {
            const result = handler(r);
            if (@typeInfo(@TypeOf(result)) == .error_union) {
                respond(result catch |e| failed(@errorName(e)));
            } else {
                respond(result);
            }
        }

        fn failed(what: []const u8) Response {
            log(what);
            return .{
                .status = 500,
                .body = "The program failed; its log says why.\n",
            };
        }
    };
    _ = call(0x10000, .{ 3, @intFromPtr(&Entry.enter), 0, 0, 0, 0 });
    _ = call(0x10001, .{ 0, 0, 0, 0, 0, 0 });
    unreachable;
}
