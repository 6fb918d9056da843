# SPDX-License-Identifier: BSD-2-Clause
"""An ordinary WSGI server of the standard library."""

import hashlib
import sys
from urllib.parse import parse_qs
from wsgiref.simple_server import WSGIRequestHandler, make_server


def app(environ, start_response):
    path = environ["PATH_INFO"]
    status, headers = "200 OK", [("Content-Type", "text/plain")]
    if path == "/hello":
        name = parse_qs(environ["QUERY_STRING"]).get("name", [""])[0]
        body = f"Hello from Python, {name}!\n"
    elif path == "/digest":
        data = environ["wsgi.input"].read(
            int(environ.get("CONTENT_LENGTH") or 0))
        body = f"{len(data)} bytes, {hashlib.sha256(data).hexdigest()}\n"
    elif path == "/headers":
        found = sorted(f"{k}: {v}" for k, v in environ.items()
                       if k.startswith("HTTP_X_TEST"))
        status, body = "202 Accepted", "\n".join(found) + "\n"
        headers.append(("X-Count", str(len(found))))
    elif path == "/long":
        body = "".join(f"line {i} of a long answer\n" for i in range(2000))
    else:
        status, body = "404 Not Found", "404 page not found\n"
    start_response(status, headers)
    return [body.encode()]


class Quiet(WSGIRequestHandler):
    def log_message(self, *_):
        pass


host, _, port = (sys.argv[1:] or ["127.0.0.1:8080"])[0].rpartition(":")
make_server(host, int(port), app, handler_class=Quiet).serve_forever()
