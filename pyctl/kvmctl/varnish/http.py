# SPDX-License-Identifier: BSD-2-Clause
"""HTTP requests to a node, over whatever reaches it."""

import contextlib
import http.client
import socket
import threading
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


def _too_late(seconds: float) -> TimeoutError:
    return TimeoutError(0, f"no whole answer in {seconds:.0f} s")


class _Alarm:
    """Ends what waits for the socket when the time is over."""

    def __init__(self, connection: socket.socket, seconds: float) -> None:
        self._socket = connection
        self._timer = threading.Timer(seconds, self._ring)
        self._timer.daemon = True
        self.rang = False

    def _ring(self) -> None:
        self.rang = True
        with contextlib.suppress(OSError):      # it was closed just now
            self._socket.shutdown(socket.SHUT_RDWR)

    def __enter__(self) -> None:
        self._timer.start()

    def __exit__(self, *_: object) -> None:
        self._timer.cancel()


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
        """One request, no redirect followed. Raises OSError.

        seconds are for the whole answer, however slowly it comes.
        """
        began = time.monotonic()
        if self._connection is None or self._connection.sock is None:
            self.close()
            self._stream = self._reach.connect(self._host, self._port, seconds)
            self._connection = http.client.HTTPConnection(self._host,
                                                          self._port)
            self._connection.sock = self._stream.socket
        self._connection.sock.settimeout(seconds)
        late = _Alarm(self._connection.sock, seconds)
        try:
            with late:
                reply = self._answer(self._connection, method, url, headers,
                                     began)
        except (http.client.HTTPException, ValueError, OSError) as e:
            self.close()
            if late.rang:
                raise _too_late(seconds) from None
            if isinstance(e, OSError):
                raise
            raise ConnectionError(0, f"no HTTP: {e!r}") from None
        if late.rang:                   # in the middle of an endless body
            self.close()
            raise _too_late(seconds)
        return reply

    @staticmethod
    def _answer(connection: http.client.HTTPConnection, method: str, url: str,
                headers: Mapping[str, str], began: float) -> Reply:
        connection.request(method, url, headers=dict(headers))
        with connection.getresponse() as response:
            body = response.read(_MOST_BYTES)
            if not response.isclosed():
                # What was not read would be taken for the next answer.
                connection.close()
            fields = {k.lower(): v for k, v in response.getheaders()}
            return Reply(response.status, response.reason, fields, body,
                         time.monotonic() - began)
