# SPDX-License-Identifier: BSD-2-Clause
"""The protocol of varnishd's command line: varnish-cli(7).

    -> vcl.use "a name"\\n
    <- 200 12      \\n      status in 3, length in 8 characters
       ............\\n      so many bytes, and a newline that is not counted

A line that ends in `<< WORD` goes on until a line that is WORD alone.
"""

import hashlib
import re
import socket
import time
from dataclasses import dataclass

#: Status codes: include/vcli.h of Varnish.
OK, TRUNCATED, AUTHENTICATE, COMMUNICATION = 200, 201, 107, 400
HEADER_BYTES = 13
#: No answer is longer: varnishd truncates at its parameter cli_limit.
_LONGEST = 256 * 1024 * 1024
_HEADER = re.compile(rb"(\d{3}) (\d{1,8}) *\n")
_PLAIN = re.compile(r"[A-Za-z0-9_.,:/=+@%-]+")


class ProtocolError(Exception):
    """The other side does not speak as varnishd does, or not at all."""


@dataclass(frozen=True)
class Answer:
    """status: 200 done; 201 done, truncated; 1xx, 3xx, 4xx, 5xx not done."""

    status: int
    text: str


def quoted(word: str) -> str:
    """A word as varnishd's parser takes it, whatever is in it."""
    if _PLAIN.fullmatch(word):
        return word
    out = []
    # What was no UTF-8 in a file's name arrives as it was.
    for byte in word.encode(errors="surrogateescape"):
        if byte in b'"\\':
            out.append("\\" + chr(byte))
        elif 32 <= byte < 127:
            out.append(chr(byte))
        else:
            out.append(f"\\x{byte:02x}")
    return '"' + "".join(out) + '"'


def here(text: str) -> str:
    """A last word of many lines. Its end is a line that the text has not."""
    end = "kvmctl_" + hashlib.sha256(text.encode()).hexdigest()[:16]
    return f"<< {end}\n{text.rstrip()}\n{end}"


def response(challenge: str, secret: bytes) -> str:
    """What answers an authentication challenge: varnish-cli(7)."""
    word = challenge[:32].encode() + b"\n"
    return hashlib.sha256(word + secret + word).hexdigest()


class Conversation:
    """Questions and answers on one connected socket.

    Every method takes a deadline (time.monotonic()) and raises ProtocolError,
    or TimeoutError when the deadline has passed.
    """

    def __init__(self, connection: socket.socket) -> None:
        self._socket = connection

    def _receive(self, size: int, deadline: float) -> bytes:
        parts, missing = [], size
        while missing:
            self._wait(deadline)
            try:
                data = self._socket.recv(min(missing, 65536))
            except ConnectionError as e:
                raise ProtocolError(f"the connection broke: {e.strerror}"
                                    ) from None
            if not data:
                raise ProtocolError("the connection ended")
            parts.append(data)
            missing -= len(data)
        return b"".join(parts)

    def _wait(self, deadline: float) -> None:
        left = deadline - time.monotonic()
        if left <= 0:
            raise TimeoutError
        self._socket.settimeout(left)

    def read(self, deadline: float) -> Answer:
        """The next answer; the first one comes unasked."""
        head = self._receive(HEADER_BYTES, deadline)
        found = _HEADER.fullmatch(head)
        if found is None:
            raise ProtocolError("it does not speak varnishd's command line "
                                f"protocol: {head!r}")
        status, length = int(found[1]), int(found[2])
        if length > _LONGEST:
            raise ProtocolError(f"an answer of {length} bytes")
        body = self._receive(length + 1, deadline)
        return Answer(status, body[:-1].decode(errors="replace"))

    def ask(self, line: str, deadline: float) -> Answer:
        """Sends a line (or one with a `here` text); its answer."""
        self._wait(deadline)
        try:
            self._socket.sendall(line.encode() + b"\n")
        except ConnectionError as e:
            raise ProtocolError(f"the connection broke: {e.strerror}"
                                ) from None
        return self.read(deadline)
