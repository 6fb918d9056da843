// SPDX-License-Identifier: BSD-2-Clause

kvm.serve(request => {
    if (request.url === "/fail")
        throw new Error("asked to fail");
    if (request.url === "/symbol")
        return Symbol("no text");
    if (request.url === "/thrower")
        return { body: { toString() { throw new Error("no text"); } } };
    if (request.url === "/dice")
        return String(Math.random());
    return `Hello from JavaScript! ${request.headers["user-agent"]}\n`;
});
