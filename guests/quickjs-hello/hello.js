// SPDX-License-Identifier: BSD-2-Clause

kvm.serve(request => {
    if (request.url === "/fail")
        throw new Error("asked to fail");
    if (request.url === "/symbol")
        return Symbol("no text");
    if (request.url === "/thrower")
        return { body: { toString() { throw new Error("no text"); } } };
    if (request.url === "/array")
        return ["no text"];
    if (request.url === "/error")
        return new Error("asked to fail");
    if (request.url === "/floats")
        return { body: new Float32Array(2) };
    if (request.url === "/cookies")
        return { headers: { "Set-Cookie": ["a=1", "b=2"], "X-One": 1 } };
    if (request.url === "/dice")
        return String(Math.random());
    return `Hello from JavaScript! ${request.headers["user-agent"]}\n`;
});
