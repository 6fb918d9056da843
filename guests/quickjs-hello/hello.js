// SPDX-License-Identifier: BSD-2-Clause

kvm.serve(request => {
    if (request.url === "/fail")
        throw new Error("asked to fail");
    return `Hello from JavaScript! ${request.headers["user-agent"]}\n`;
});
