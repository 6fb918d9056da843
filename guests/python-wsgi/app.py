# SPDX-License-Identifier: BSD-2-Clause
"""A WSGI application: a small catalogue with search, as HTML and JSON."""

import json
import random
from urllib.parse import parse_qs

import kvm
from pages import page

STOCK = [{"id": n, "name": f"Product {n}", "price": n * 1.5}
         for n in range(1, 201)]
BY_ID = {str(p["id"]): p for p in STOCK}


def application(environ, start_response):
    path = environ["PATH_INFO"]
    query = parse_qs(environ["QUERY_STRING"])
    if path == "/api":
        word = query.get("q", [""])[0]
        found = [p for p in STOCK if word in p["name"]][:10]
        body = json.dumps({"found": found}).encode()
        kind = "application/json"
    elif path == "/echo":
        body = environ["wsgi.input"].read().upper()
        kind = environ["CONTENT_TYPE"] or "text/plain"
    elif path == "/dice":
        body = f"{random.getrandbits(64):016x}\n".encode()
        kind = "text/plain"
    elif path.startswith("/product/") and path[9:] in BY_ID:
        body = page(BY_ID[path[9:]]).encode()
        kind = "text/html; charset=utf-8"
    else:
        start_response("404 Not Found", [("Content-Type", "text/plain")])
        return [b"no such page\n"]
    start_response("200 OK", [("Content-Type", kind), ("X-App", "wsgi")])
    return [body]


kvm.serve_wsgi(application)
