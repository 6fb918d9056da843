# SPDX-License-Identifier: BSD-2-Clause
"""HTTP requests to a node, over whatever reaches it."""

import http.client
import time
from collections.abc import Mapping
from dataclasses import dataclass

from kvmctl.varnish.reach import Reach, Stream

#: More of an answer is not looked at.
_MOST_BYTES = 16 * 1024 * 1024


@dataclass(frozen=True)
class Reply:
    """What came back."""

    status: int
    reason: str
    headers: Mapping[str, str]          # by lower-case name
    body: bytes
    seconds: float

    @property
    def text(self) -> str:
        return self.body.decode(errors="replace")


class Client:
    """Requests to one address, on one connection as long as it lives."""

    def __init__(self, reach: Reach, host: str, port: int) -> None:
        self._reach, self._host, self._port = reach, host, port
        self._stream: Stream | None = None
        self._connection: http.client.HTTPConnection | None = None

    def close(self) -> None:
        if self._connection is not None:
            self._connection.close()
        if self._stream is not None:
            self._stream.close()
        self._connection = self._stream = None

    def __enter__(self) -> "Client":
        return self

    def __exit__(self, *_: object) -> None:
        self.close()

    def ask(self, method: str, url: str, headers: Mapping[str, str],
            seconds: float = 30.0) -> Reply:
        """One request, no redirect followed. Raises OSError."""
        began = time.monotonic()
        if self._connection is None or self._connection.sock is None:
            self.close()
            self._stream = self._reach.connect(self._host, self._port, seconds)
            self._connection = http.client.HTTPConnection(self._host,
                                                          self._port)
            self._connection.sock = self._stream.socket
        self._connection.sock.settimeout(seconds)
        try:
            self._connection.request(method, url, headers=dict(headers))
            with self._connection.getresponse() as response:
                body = response.read(_MOST_BYTES)
                fields = {k.lower(): v for k, v in response.getheaders()}
                return Reply(response.status, response.reason, fields, body,
                             time.monotonic() - began)
        except http.client.HTTPException as e:
            self.close()
            raise ConnectionError(0, f"no HTTP: {e!r}") from None
        except OSError:
            self.close()
            raise
