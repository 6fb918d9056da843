# SPDX-License-Identifier: BSD-2-Clause

import json
import sys

import kvm


@kvm.serve
def handle(request):
    if request.url == "/fail":
        raise ValueError("asked to fail")
    if request.url == "/json":
        return kvm.Response(json.dumps({"python": sys.version_info[:2]}),
                            type="application/json")
    return f"Hello from Python! {request.header('user-agent')}\n"
