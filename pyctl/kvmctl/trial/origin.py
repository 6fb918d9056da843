# SPDX-License-Identifier: BSD-2-Clause
"""Servers that tests declare: what a program fetches, on loopback."""

import threading
import time
from collections.abc import Iterator, Sequence
from contextlib import contextmanager
from dataclasses import dataclass
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer

from kvmctl.decimals import decimal

_PIECE = 1 << 20                        # bytes


@dataclass(frozen=True)
class Answer:
    """What is answered to requests that fit; None fits all."""

    path: str | None = None             # with its query
    method: str | None = None
    status: int = 200
    headers: tuple[str, ...] = ()       # "Name: value"
    body: bytes = b""
    delay: float = 0                    # seconds, before it

    def fits(self, method: str, path: str) -> bool:
        return self.path in (None, path) and self.method in (None, method)


class Origin:
    """A server on 127.0.0.1; remembers what it was asked."""

    def __init__(self, name: str, answers: Sequence[Answer]) -> None:
        self.name = name
        self._answers = answers
        self._lock = threading.Lock()
        self._asked: list[str] = []
        self.url = ""

    def take_asked(self) -> list[str]:
        """"METHOD /path" of each request since the last call."""
        with self._lock:
            asked, self._asked = self._asked, []
            return asked

    def answer(self, it: BaseHTTPRequestHandler) -> None:
        with self._lock:
            self._asked.append(f"{it.command} {it.path}")
        left = decimal(it.headers.get("Content-Length", "0")) or 0
        # Piece by piece: a program may say any length.
        while left > 0 and (piece := it.rfile.read(min(left, _PIECE))):
            left -= len(piece)
        found = next((a for a in self._answers
                      if a.fits(it.command, it.path)),
                     Answer(status=404, body=b"The tests have no answer.\n"))
        time.sleep(found.delay)
        it.send_response_only(found.status)
        for header in found.headers:
            name, _, value = header.partition(":")
            it.send_header(name.strip(), value.strip())
        it.send_header("Content-Length", str(len(found.body)))
        it.end_headers()
        if it.command != "HEAD":
            it.wfile.write(found.body)

    @contextmanager
    def serving(self) -> Iterator["Origin"]:
        """Serves until the block ends."""
        origin = self

        class Handler(BaseHTTPRequestHandler):
            protocol_version = "HTTP/1.1"
            timeout = 30
            # Else the body waits for the headers' delayed ACK.
            disable_nagle_algorithm = True

            def __getattr__(self, name: str) -> object:
                if name.startswith("do_"):      # any method
                    return self._any
                raise AttributeError(name)

            def _any(self) -> None:
                try:
                    origin.answer(self)
                except (BrokenPipeError, ConnectionResetError):
                    self.close_connection = True

            def log_message(self, *_: object) -> None:
                pass

        server = ThreadingHTTPServer(("127.0.0.1", 0), Handler)
        server.daemon_threads = True
        thread = threading.Thread(target=server.serve_forever, args=(0.02,))
        thread.start()
        self.url = f"http://127.0.0.1:{server.server_address[1]}"
        try:
            yield self
        finally:
            server.shutdown()
            thread.join()
            server.server_close()
