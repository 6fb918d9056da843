# SPDX-License-Identifier: BSD-2-Clause

import json
import sys

import kvm


@kvm.serve
def handle(request):
    if request.url.startswith("/fail"):
        raise ValueError(f"asked to fail by {request.url}")
    if request.url.startswith("/url/"):
        return kvm.Response(request.url, headers={"X-Url": request.url})
    if request.url == "/json":
        return kvm.Response(json.dumps({"python": sys.version_info[:2]}),
                            type="application/json")
    return f"Hello from Python! {request.header('user-agent')}\n"
