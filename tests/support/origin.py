# SPDX-License-Identifier: BSD-2-Clause
"""An HTTP server on loopback, for what programs and libraries fetch."""

import ssl
import threading
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from pathlib import Path

Answer = Callable[[BaseHTTPRequestHandler], None]


class _Handler(BaseHTTPRequestHandler):
    protocol_version = "HTTP/1.1"
    # Else the second small write waits for the first one's delayed ACK.
    disable_nagle_algorithm = True
    answer: Answer

    def _any(self) -> None:
        try:
            type(self).answer(self)
        except (BrokenPipeError, ConnectionResetError):
            self.close_connection = True

    do_GET = do_POST = do_PUT = do_HEAD = _any

    def log_message(self, *_: object) -> None:
        pass


def body(data: bytes, status: int = 200, **fields: str) -> Answer:
    """Answers with this."""
    def send(it: BaseHTTPRequestHandler) -> None:
        it.send_response(status)
        for name, value in fields.items():
            it.send_header(name.replace("_", "-"), value)
        it.send_header("Content-Length", str(len(data)))
        it.end_headers()
        it.wfile.write(data)
    return send


def endless(it: BaseHTTPRequestHandler) -> None:
    """Chunks without an end, and without a length."""
    it.send_response(200)
    it.send_header("Transfer-Encoding", "chunked")
    it.end_headers()
    while True:
        it.wfile.write(b"10000\r\n" + bytes(65536) + b"\r\n")


@contextmanager
def serving(answer: Answer, certificate: Path | None = None) -> Iterator[str]:
    """Serves until the block ends; its URL without a path."""
    handler = type("Handler", (_Handler,), {"answer": staticmethod(answer)})
    server = ThreadingHTTPServer(("127.0.0.1", 0), handler)
    server.daemon_threads = True
    scheme = "http"
    if certificate is not None:
        context = ssl.SSLContext(ssl.PROTOCOL_TLS_SERVER)
        context.load_cert_chain(certificate)
        server.socket = context.wrap_socket(server.socket, server_side=True)
        scheme = "https"
    thread = threading.Thread(target=server.serve_forever, args=(0.05,))
    thread.start()
    try:
        yield f"{scheme}://127.0.0.1:{server.server_address[1]}"
    finally:
        server.shutdown()
        thread.join()
        server.server_close()
